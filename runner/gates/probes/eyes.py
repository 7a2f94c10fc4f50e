"""Everything the gates look at, put together: what of it there is on this machine, and what cannot be seen here.

Promises: `owner` and `machine` may be called from two threads, each from one at a time; what is not there is looked for
again every half minute (a session may begin later); nothing is looked at that no setting asks for.
"""

import os
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from runner.gates.observation import MachineSeen
from runner.gates.probes.base import Desktop, LostError, NoAnswerError, Screen
from runner.gates.probes.gamepads import Gamepads
from runner.gates.probes.machine import on_battery, temperatures
from runner.gates.probes.processor import ProcessorLoad
from runner.gates.probes.programs import Programs
from runner.gates.settings import GateSettings
from runner.probes.nvidia_load import GpuLoad, NvidiaLoad
from runner.probes.process_memory import ProcessMemory

_LOOK_AGAIN_S = 30.0
_TEMPERATURES_EVERY_S = 10.0


class _Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Closable)
R = TypeVar("R")


class FirstThatWorks(Generic[T]):
    """One of several things that may be there, the best first; opened when it is needed and when it has been lost."""

    def __init__(self, makers: Sequence[Callable[[], T]], clock: Callable[[], float]) -> None:
        """Each maker may raise `LostError` and `NoAnswerError`. `clock`: monotonic seconds."""
        self._makers, self._clock = makers, clock
        self._opened: T | None = None
        self._again_at = float("-inf")
        self.why_not = ""
        """Why there is none, in words; empty while there is one."""

    def ask(self, question: Callable[[T], R]) -> R | None:
        """Its answer; None: there is nobody to ask. Raises `NoAnswerError`."""
        if self._opened is not None:
            try:
                return question(self._opened)
            except LostError:
                self.close()
        if self._clock() < self._again_at:
            return None
        reasons = []
        for make in self._makers:
            try:
                made = make()
            except (LostError, NoAnswerError) as error:
                reasons.append(str(error))
                continue
            try:
                answer = question(made)
            except (LostError, NoAnswerError) as error:
                made.close()
                reasons.append(str(error))
                continue
            self._opened, self.why_not = made, ""
            return answer
        self.why_not = " ".join(reasons)
        self._again_at = self._clock() + _LOOK_AGAIN_S
        return None

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None


class Eyes:
    def __init__(
        self,
        *,
        desktops: Sequence[Callable[[], Desktop]],
        screens: Sequence[Callable[[], Screen]],
        gamepads: Gamepads | None,
        gpu: NvidiaLoad | None,
        processes: ProcessMemory,
        clock: Callable[[], float],
    ) -> None:
        """`clock`: monotonic seconds."""
        self._desktop = FirstThatWorks(desktops, clock)
        self._screens = [FirstThatWorks((screen,), clock) for screen in screens]
        self._has_desktop, self._gamepads, self._gpu = bool(desktops), gamepads, gpu
        self._processes, self._clock = processes, clock
        self._processor, self._programs = ProcessorLoad(processes), Programs()
        self._hot: dict[str, float] = {}
        self._hot_at = float("-inf")
        self._seen = MachineSeen()

    @property
    def unseen(self) -> tuple[str, ...]:
        """What cannot be looked at here, each in words; complete after both have looked once."""
        if not self._has_desktop or self._desktop.why_not:
            why = self._desktop.why_not or "there is no desktop session here."
            return (f"whether the computer is in use: {why}",)
        found = [] if self._gamepads is not None else ["whether a gamepad is in use"]
        found += ["full-screen programs"] if self._seen.fullscreen is None else []
        found += ["whether a video or a call keeps the screen on"] if self._seen.screen_kept_on is None else []
        return tuple(found)

    def owner(self) -> float | None:
        """Seconds since the owner's last input; None: it cannot be seen. Blocks. Raises `NoAnswerError`."""
        pads = self._gamepads.idle_s() if self._gamepads is not None else None
        try:
            idle_s = self._desktop.ask(lambda desktop: desktop.idle_s())
        except NoAnswerError:
            if pads is None:
                raise
            return pads
        return min((seconds for seconds in (idle_s, pads) if seconds is not None), default=None)

    def machine(self, settings: GateSettings) -> MachineSeen:
        """Everything else. Blocks."""
        wants_load = settings.max_other_load < 1
        hottest = self._temperatures() if settings.max_temperature else {}
        battery = None if settings.run_on_battery else on_battery()
        gpu = self._look_at_gpu(settings) if not battery else self._let_gpu_sleep()
        if gpu.celsius is not None:
            hottest = {**hottest, "GPU": max(gpu.celsius, hottest.get("GPU", gpu.celsius))}
        self._seen = MachineSeen(
            screen_kept_on=self._screen(lambda screen: screen.kept_on()) if settings.pause_on_activity else None,
            fullscreen=self._screen(lambda screen: screen.fullscreen()) if settings.pause_on_fullscreen else None,
            on_battery=battery,
            programs=self._programs.running(settings.exclusive_apps) if settings.exclusive_apps else None,
            others_gpu=gpu.others if wants_load else None,
            others_gpu_memory=gpu.others_memory if wants_load else None,
            others_cpu=self._processor.others() if wants_load else None,
            temperatures=hottest,
        )
        return self._seen

    def close(self) -> None:
        self._desktop.close()
        for screen in self._screens:
            screen.close()
        if self._gamepads is not None:
            self._gamepads.close()
        if self._gpu is not None:
            self._gpu.close()

    def _screen(self, question: Callable[[Screen], bool | None]) -> bool | None:
        """True if any says so; None if none can say."""
        said: list[bool] = []
        for screen in self._screens:
            try:
                answer = screen.ask(question)
            except NoAnswerError:
                continue
            said += [answer] if answer is not None else []
        return any(said) if said else None

    def _look_at_gpu(self, settings: GateSettings) -> GpuLoad:
        if self._gpu is None or (settings.max_other_load >= 1 and not settings.max_temperature):
            return self._let_gpu_sleep()
        return self._gpu.look(self._processes.tree(os.getpid()))

    def _let_gpu_sleep(self) -> GpuLoad:
        """A laptop's GPU is awake for as long as its driver is held open."""
        if self._gpu is not None:
            self._gpu.close()
        return GpuLoad()

    def _temperatures(self) -> dict[str, float]:
        if self._clock() - self._hot_at >= _TEMPERATURES_EVERY_S:
            self._hot, self._hot_at = temperatures(), self._clock()
        return self._hot
