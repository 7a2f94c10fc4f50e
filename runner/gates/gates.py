"""Every gate of this worker, and why it is closed, in the words its owner reads.

Promises: the worker may work exactly if every gate is open; each closed one gives its sentence, those that matter most
to the owner first, and a sentence does not change while its gate stays closed for the same cause: a number in it is the
one that closed the gate; no gate changes faster than its latch allows. No clock and no I/O in here: `now` is monotonic
seconds, `local` the time on the wall.
"""

from dataclasses import dataclass
from datetime import datetime
from math import ceil

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


@dataclass(frozen=True, slots=True)
class _Cause:
    what: str
    """The same as long as it is the same cause."""
    words: str
    """For people; with the number that was seen."""


_Causes = tuple[_Cause, ...] | None
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
        self._causes: tuple[_Cause, ...] = ()

    @property
    def closed(self) -> bool:
        return self._latch.closed

    def judge(self, causes: _Causes, now: float) -> tuple[str, ...]:
        told = {cause.what: cause for cause in self._causes} if self.closed else {}
        closed = self._latch.seen(None if causes is None else bool(causes), now)
        if causes:
            self._causes = tuple(told.get(cause.what, cause) for cause in causes)
        return tuple(cause.words for cause in self._causes) if closed else ()


def _look(
    gate: str,
    settings: GateSettings,
    owner: OwnerSeen | None,
    machine: MachineSeen,
    now: float,
    local: datetime,
    *,
    closed: bool,
) -> _Causes:
    match gate:
        case "activity":
            return _activity(settings, owner, now)
        case "screen":
            return _if(settings.pause_on_activity, machine.screen_kept_on, SCREEN_KEPT_ON)
        case "fullscreen":
            return _if(settings.pause_on_fullscreen, machine.fullscreen, FULLSCREEN)
        case "programs":
            return tuple(_plain(f"{name} is running") for name in sorted(machine.programs or ()))
        case "battery":
            return _if(not settings.run_on_battery, machine.on_battery, ON_BATTERY)
        case "schedule":
            return _schedule(settings, local)
        case "gpu":
            return _load(settings, machine.others_gpu, "other programs used {} of the GPU", closed=closed)
        case "gpu memory":
            sentence = "other programs held {} of the GPU's memory"
            return _load(settings, machine.others_gpu_memory, sentence, closed=closed)
        case "cpu":
            return _load(settings, machine.others_cpu, "other programs used {} of the processor", closed=closed)
        case _:
            return _temperature(settings, machine, closed=closed)


def _activity(settings: GateSettings, owner: OwnerSeen | None, now: float) -> _Causes:
    if not settings.pause_on_activity or owner is None:
        return None
    if now - owner.at > UNSEEN_AFTER_S:
        return (_plain(UNSEEN),)
    return (_plain(IN_USE),) if now - owner.at + owner.idle_s < settings.activity_idle_s else ()


def _if(wanted: bool, seen: bool | None, sentence: str) -> _Causes:
    if not wanted or seen is None:
        return None
    return (_plain(sentence),) if seen else ()


def _schedule(settings: GateSettings, local: datetime) -> _Causes:
    if open_now(settings.schedule, local):
        return ()
    return (_plain(f"outside its hours: until {next_opening(settings.schedule, local)}"),)


def _load(settings: GateSettings, share: float | None, sentence: str, *, closed: bool) -> _Causes:
    if share is None or settings.max_other_load >= 1:
        return None
    limit = settings.max_other_load * (CALMER if closed else 1.0)
    if share <= limit:
        return ()
    words = f"{sentence.format(f'{_above(share * 100)}%')} ({limit * 100:g}% allowed)"
    return (_Cause(f"{sentence} {settings.max_other_load:g}", words),)


def _temperature(settings: GateSettings, machine: MachineSeen, *, closed: bool) -> _Causes:
    if not settings.max_temperature or not machine.temperatures:
        return None
    limit = settings.max_temperature - (COOLER if closed else 0.0)
    return tuple(
        _Cause(f"{part} {settings.max_temperature}", f"the {part} reached {_above(degrees)} °C ({limit:g} °C allowed)")
        for part, degrees in sorted(machine.temperatures.items())
        if degrees > limit
    )


def _plain(sentence: str) -> _Cause:
    return _Cause(sentence, sentence)


def _above(number: float) -> int:
    """Whole, and not rounded down to a limit that it exceeds."""
    return ceil(round(number, 6))
