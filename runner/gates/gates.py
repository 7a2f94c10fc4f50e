"""Every gate of this worker, and why it is closed, in the words its owner reads.

Promises: the worker may work exactly if every gate is open; each closed one gives its sentence, those that matter most
to the owner first, and a sentence does not change while its gate stays closed for the same cause; no gate changes
faster than its latch allows. No clock and no I/O in here: `now` is monotonic seconds, `local` the time on the wall.
"""

from datetime import datetime

from runner.gates.latch import Latch
from runner.gates.observation import MachineSeen, OwnerSeen
from runner.gates.schedule import next_opening, open_now
from runner.gates.settings import GateSettings

IN_USE = "the computer is in use"
SCREEN_KEPT_ON = "a video or a call keeps the screen on"
FULLSCREEN = "a full-screen program is running"
ON_BATTERY = "on battery"
UNSEEN = "it cannot be seen whether the computer is in use"
UNSEEN_AFTER_S = 15.0
"""A desktop that has not answered for so long is one that its owner may be waiting for, too."""
CALMER = 0.8
"""A load counts as gone when it is below this share of what is allowed."""
COOLER = 5.0
"""°C below the limit at which a part counts as cool again."""

_Reasons = tuple[str, ...] | None
"""Why a gate would close by what is seen now; empty: it would not; None: it does not look."""


class Gates:
    def __init__(self) -> None:
        self._gates = {
            "activity": _Gate(Latch()),
            "screen": _Gate(Latch(open_after_s=20)),
            "fullscreen": _Gate(Latch(open_after_s=10)),
            "programs": _Gate(Latch(open_after_s=10)),
            "battery": _Gate(Latch(open_after_s=10)),
            "schedule": _Gate(Latch()),
            "gpu": _Gate(Latch(close_after_s=10, open_after_s=30)),
            "gpu memory": _Gate(Latch(close_after_s=5, open_after_s=30)),
            "cpu": _Gate(Latch(close_after_s=10, open_after_s=30)),
            "temperature": _Gate(Latch(close_after_s=5, open_after_s=60)),
        }

    def judge(
        self, settings: GateSettings, owner: OwnerSeen | None, machine: MachineSeen, now: float, local: datetime
    ) -> tuple[str, ...]:
        """Why the worker may not work now; empty: it may.

        Args:
            owner: None where nobody can be seen, as on a machine without a desktop.
        """
        reasons: tuple[str, ...] = ()
        for name, gate in self._gates.items():
            reasons += gate.judge(_look(name, settings, owner, machine, now, local, closed=gate.closed), now)
        return reasons


class _Gate:
    def __init__(self, latch: Latch) -> None:
        self._latch = latch
        self._reasons: tuple[str, ...] = ()

    @property
    def closed(self) -> bool:
        return self._latch.closed

    def judge(self, reasons: _Reasons, now: float) -> tuple[str, ...]:
        closed = self._latch.seen(None if reasons is None else bool(reasons), now)
        self._reasons = reasons or self._reasons
        return self._reasons if closed else ()


def _look(
    gate: str,
    settings: GateSettings,
    owner: OwnerSeen | None,
    machine: MachineSeen,
    now: float,
    local: datetime,
    *,
    closed: bool,
) -> _Reasons:
    match gate:
        case "activity":
            return _activity(settings, owner, now)
        case "screen":
            return _if(settings.pause_on_activity, machine.screen_kept_on, SCREEN_KEPT_ON)
        case "fullscreen":
            return _if(settings.pause_on_fullscreen, machine.fullscreen, FULLSCREEN)
        case "programs":
            return tuple(f"{name} is running" for name in sorted(machine.programs or ()))
        case "battery":
            return _if(not settings.run_on_battery, machine.on_battery, ON_BATTERY)
        case "schedule":
            return _schedule(settings, local)
        case "gpu":
            return _load(settings, machine.others_gpu, "other programs use more than {} of the GPU", closed=closed)
        case "gpu memory":
            sentence = "other programs hold more than {} of the GPU's memory"
            return _load(settings, machine.others_gpu_memory, sentence, closed=closed)
        case "cpu":
            return _load(
                settings, machine.others_cpu, "other programs use more than {} of the processor", closed=closed
            )
        case _:
            return _temperature(settings, machine, closed=closed)


def _activity(settings: GateSettings, owner: OwnerSeen | None, now: float) -> _Reasons:
    if not settings.pause_on_activity or owner is None:
        return None
    if now - owner.at > UNSEEN_AFTER_S:
        return (UNSEEN,)
    return (IN_USE,) if now - owner.at + owner.idle_s < settings.activity_idle_s else ()


def _if(wanted: bool, seen: bool | None, sentence: str) -> _Reasons:
    if not wanted or seen is None:
        return None
    return (sentence,) if seen else ()


def _schedule(settings: GateSettings, local: datetime) -> _Reasons:
    if open_now(settings.schedule, local):
        return ()
    return (f"outside its hours: until {next_opening(settings.schedule, local)}",)


def _load(settings: GateSettings, share: float | None, sentence: str, *, closed: bool) -> _Reasons:
    if share is None or settings.max_other_load >= 1:
        return None
    limit = settings.max_other_load * (CALMER if closed else 1.0)
    return (sentence.format(f"{settings.max_other_load * 100:g}%"),) if share > limit else ()


def _temperature(settings: GateSettings, machine: MachineSeen, *, closed: bool) -> _Reasons:
    if not settings.max_temperature or not machine.temperatures:
        return None
    limit = settings.max_temperature - (COOLER if closed else 0.0)
    hot = (part for part, degrees in sorted(machine.temperatures.items()) if degrees > limit)
    return tuple(f"the {part} is hotter than {settings.max_temperature} °C" for part in hot)
