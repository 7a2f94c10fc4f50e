"""What happened, minute by minute, and the same rolled up to quarters of an hour and to hours.

A core: minutes and the wall clock in, samples out. Promises: nothing is lost or counted twice by rolling up; a step in
which the worker did not run is an empty sample; a clock that is set forward or back moves no total and leaves at most
twice as many steps as are shown; one step lies on the same grid whatever is asked.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from runner.control_messages import Sample, Statistics

Span = Literal["hour", "day", "week"]
MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Step:
    """What is kept of one step of time; the sum of two is one of both."""

    jobs_done: int = 0
    jobs_failed: int = 0
    tokens: int = 0
    cpu_s: float = 0.0
    """Share of all processors (0 to 1), times the seconds that it lasted."""
    gpu_s: float = 0.0
    """The same of the device, over `gpu_seen_s`."""
    gpu_seen_s: float = 0.0
    memory: int = 0
    """Most bytes of the device that models held at once."""

    def plus(self, other: "Step") -> "Step":
        return Step(
            self.jobs_done + other.jobs_done,
            self.jobs_failed + other.jobs_failed,
            self.tokens + other.tokens,
            self.cpu_s + other.cpu_s,
            self.gpu_s + other.gpu_s,
            self.gpu_seen_s + other.gpu_seen_s,
            max(self.memory, other.memory),
        )

    @property
    def quiet(self) -> bool:
        """So little that it reads like an empty step."""
        busy = self.jobs_done or self.jobs_failed or self.tokens or self.memory
        return not busy and self.cpu_s < 0.01 * MINUTE_S and self.gpu_s < 0.01 * MINUTE_S


@dataclass(frozen=True, slots=True)
class Series:
    step_s: int
    count: int
    """How many steps are shown."""


SERIES: dict[Span, Series] = {
    "hour": Series(MINUTE_S, 60),
    "day": Series(15 * MINUTE_S, 96),
    "week": Series(60 * MINUTE_S, 168),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One step as it lies on disk."""

    step_s: int
    index: int
    """Seconds since 1970 of its beginning, by `step_s`."""
    step: Step


class History:
    """Three series of steps in memory: about 300 of them."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._steps: dict[int, dict[int, Step]] = {series.step_s: {} for series in SERIES.values()}
        for row in rows:
            if row.step_s in self._steps:
                self._steps[row.step_s][row.index] = row.step

    def add(self, now: float, minute: Step) -> tuple[Row, ...]:
        """Count what happened in the minute that ends about `now`, wall clock; returns the rows that are new."""
        changed = []
        for series in SERIES.values():
            steps, index = self._steps[series.step_s], _index(now, series.step_s)
            steps[index] = steps.get(index, Step()).plus(minute)
            changed.append(Row(series.step_s, index, steps[index]))
            for far in [at for at in steps if abs(at - index) > series.count]:
                del steps[far]
        return tuple(changed)

    def rows(self) -> tuple[Row, ...]:
        return tuple(
            Row(step_s, index, step) for step_s, steps in self._steps.items() for index, step in sorted(steps.items())
        )

    def statistics(self, span: Span, now: float, current: Step) -> Statistics:
        """The span that ends `now`; `current` is what has happened since the last `add`."""
        series = SERIES[span]
        last = _index(now, series.step_s)
        samples = []
        for index in range(last - series.count + 1, last + 1):
            step = self._steps[series.step_s].get(index, Step())
            samples.append(_sample(index, series.step_s, step.plus(current) if index == last else step))
        return Statistics(
            step_s=series.step_s,
            samples=tuple(samples),
            jobs_done=sum(sample.jobs_done for sample in samples),
            jobs_failed=sum(sample.jobs_failed for sample in samples),
            tokens=sum(sample.tokens for sample in samples),
        )


def _index(now: float, step_s: int) -> int:
    """The step that holds the last moment before `now`: a minute that ends with an hour belongs to that hour."""
    return int(-(-now // step_s)) - 1


def _sample(index: int, step_s: int, step: Step) -> Sample:
    return Sample(
        at=float((index + 1) * step_s),
        jobs_done=step.jobs_done,
        jobs_failed=step.jobs_failed,
        tokens=step.tokens,
        cpu=round(min(1.0, step.cpu_s / step_s), 4),
        gpu=round(min(1.0, step.gpu_s / step.gpu_seen_s), 4) if step.gpu_seen_s > 0 else None,
        memory=step.memory,
    )
