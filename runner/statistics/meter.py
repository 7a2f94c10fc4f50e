"""Counts what happens between two minutes: a core that takes events and monotonic seconds.

Promises: counting one piece of an answer costs one addition; everything counted is handed out exactly once.
"""

from runner.statistics.history import Step

RATE_S = 10
"""Seconds that the rate of tokens looks back."""


class Meter:
    def __init__(self) -> None:
        self._tokens = 0
        self._by_second: dict[int, int] = {}
        self._jobs_done = self._jobs_failed = 0
        """As last told: these counters only grow."""
        self._step = Step()

    def tokens(self, count: int, now: float) -> None:
        """So many tokens of an answer have been made. Args: `now` in monotonic seconds."""
        self._tokens += count
        second = int(now)
        if second in self._by_second:
            self._by_second[second] += count
            return
        self._by_second[second] = count
        for old in [at for at in self._by_second if at <= second - 2 * RATE_S]:
            del self._by_second[old]

    def rate(self, now: float) -> float:
        """Tokens a second over the last ten, without the one that has just begun."""
        second = int(now)
        made = sum(self._by_second.get(at, 0) for at in range(second - RATE_S, second))
        return round(made / RATE_S, 1)

    def measured(
        self,
        *,
        jobs_done: int,
        jobs_failed: int,
        cpu_s: float,
        memory: int,
        gpu: float | None,
        seconds: float,
    ) -> None:
        """How things are now.

        Args:
            jobs_done, jobs_failed: since the worker started.
            cpu_s: share of all processors times seconds, since the last call.
            gpu: share of the device in use, over the `seconds` since the last call.
        """
        seen = seconds if gpu is not None else 0.0
        self._step = self._step.plus(
            Step(
                jobs_done - self._jobs_done,
                jobs_failed - self._jobs_failed,
                0,
                cpu_s,
                (gpu or 0.0) * seen,
                seen,
                memory,
            )
        )
        self._jobs_done, self._jobs_failed = jobs_done, jobs_failed

    def so_far(self, jobs_done: int, jobs_failed: int, memory: int) -> Step:
        """Since the last `take`, without taking it."""
        return self._step.plus(
            Step(jobs_done - self._jobs_done, jobs_failed - self._jobs_failed, self._tokens, memory=memory)
        )

    def take(self) -> Step:
        """Everything since the last call."""
        step = self._step.plus(Step(tokens=self._tokens))
        self._step, self._tokens = Step(), 0
        return step
