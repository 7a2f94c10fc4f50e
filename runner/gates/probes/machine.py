"""Battery and temperatures, by psutil; None and nothing where a machine has no such sensor."""

from contextlib import suppress

import psutil

_PROCESSOR = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal")
_GPU = ("amdgpu", "radeon", "nouveau")


def on_battery() -> bool | None:
    """None: there is no battery, or nobody knows."""
    with suppress(OSError, AttributeError, ValueError):
        battery = psutil.sensors_battery()
        return None if battery is None or battery.power_plugged is None else not battery.power_plugged
    return None


def temperatures() -> dict[str, float]:
    """°C of the hottest sensor of each part: `processor`, `GPU`. Takes milliseconds."""
    found: dict[str, float] = {}
    with suppress(OSError, AttributeError, ValueError):
        for chip, sensors in psutil.sensors_temperatures().items():
            part = "processor" if chip in _PROCESSOR else "GPU" if chip in _GPU else ""
            for sensor in sensors if part else ():
                found[part] = max(found.get(part, sensor.current), sensor.current)
    return found
