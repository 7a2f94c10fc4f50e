"""Which desktop there may be on this machine, by its platform and its environment."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from runner.gates.probes.base import Desktop, Screen
from runner.gates.probes.eyes import Eyes
from runner.gates.probes.gamepads import Gamepads
from runner.probes.nvidia_load import nvidia_load
from runner.probes.process_memory import process_memory

if TYPE_CHECKING:
    from runner.gates.probes.macos import MacDesktop
    from runner.gates.probes.windows import WindowsDesktop
    from runner.gates.probes.x11 import X11

MakeDesktop = Callable[[], Desktop]
MakeScreen = Callable[[], Screen]
_SYSTEM_BUS = Path("/run/dbus/system_bus_socket")


def find_eyes(environment: Mapping[str, str], user: int, gpus: tuple[str, ...], clock: Callable[[], float]) -> Eyes:
    """For this machine; opens nothing yet.

    Args:
        user: the numeric user id.
        gpus: UUIDs of the NVIDIA GPUs that are lent.
        clock: monotonic seconds.
    """
    desktops: tuple[MakeDesktop, ...]
    screens: tuple[MakeScreen, ...]
    if sys.platform == "win32":
        desktops, screens = (_windows,), (_windows,)
    elif sys.platform == "darwin":
        desktops, screens = (_mac,), (_mac,)
    else:
        desktops, screens = linux_desktops(environment, user), linux_screens(environment)
    return Eyes(
        desktops=desktops,
        screens=screens,
        gamepads=Gamepads(clock) if sys.platform == "linux" else None,
        gpu=nvidia_load(gpus),
        processes=process_memory(),
        clock=clock,
    )


def linux_desktops(environment: Mapping[str, str], user: int) -> tuple[MakeDesktop, ...]:
    """Those that may be there, the best first.

    X11 is not asked in a Wayland session: it knows only of input for X11 programs.
    """
    display, bus = environment.get("DISPLAY", ""), session_bus(environment)
    compositor = wayland_socket(environment)
    wayland = compositor is not None or environment.get("XDG_SESSION_TYPE") == "wayland"
    found: list[MakeDesktop] = []
    if display and not wayland:
        found.append(lambda: _x11(display))
    if bus:
        found.append(lambda: _mutter(bus))
    if compositor is not None:
        found.append(lambda: _wayland(compositor))
    if bus:
        found.append(lambda: _screensaver(bus))
    if login := system_bus(environment):
        found.append(lambda: _logind(user, login))
    return tuple(found)


def linux_screens(environment: Mapping[str, str]) -> tuple[MakeScreen, ...]:
    display, bus = environment.get("DISPLAY", ""), session_bus(environment)
    found: list[MakeScreen] = []
    if display:  # of a Wayland session, too: most games are X11 programs
        found.append(lambda: _x11(display))
    if bus:
        found.append(lambda: _inhibitors(bus))
    return tuple(found)


def session_bus(environment: Mapping[str, str]) -> str:
    """Address of the owner's session bus; empty: there is none."""
    named = environment.get("DBUS_SESSION_BUS_ADDRESS", "")
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    standard = Path(runtime, "bus")
    if named == "disabled:":  # GLib's word for none
        return ""
    return named or (f"unix:path={standard}" if runtime and standard.exists() else "")


def system_bus(environment: Mapping[str, str]) -> str:
    named = environment.get("DBUS_SYSTEM_BUS_ADDRESS", "")
    return named or (f"unix:path={_SYSTEM_BUS}" if _SYSTEM_BUS.exists() else "")


def wayland_socket(environment: Mapping[str, str]) -> Path | None:
    """Of the compositor: a path, or a name in the runtime folder."""
    name, runtime = environment.get("WAYLAND_DISPLAY", ""), environment.get("XDG_RUNTIME_DIR", "")
    if not name or not (name.startswith("/") or runtime):
        return None
    return Path(runtime, name)


# What a machine has not is not imported there: each costs memory or is not installed.


def _windows() -> "WindowsDesktop":
    from runner.gates.probes.windows import WindowsDesktop

    return WindowsDesktop()


def _mac() -> "MacDesktop":
    from runner.gates.probes.macos import MacDesktop

    return MacDesktop()


def _x11(display: str) -> "X11":
    from runner.gates.probes.x11 import X11

    return X11(display)


def _wayland(path: Path) -> Desktop:
    from runner.gates.probes.wayland import Wayland

    return Wayland(path)


def _mutter(bus: str) -> Desktop:
    from runner.gates.probes.idle_services import MutterIdle

    return MutterIdle(bus)


def _screensaver(bus: str) -> Desktop:
    from runner.gates.probes.idle_services import ScreenSaverIdle

    return ScreenSaverIdle(bus)


def _logind(user: int, bus: str) -> Desktop:
    from runner.gates.probes.idle_services import LogindIdle

    return LogindIdle(user, bus)


def _inhibitors(bus: str) -> Screen:
    from runner.gates.probes.inhibitors import Inhibitors

    return Inhibitors(bus)
