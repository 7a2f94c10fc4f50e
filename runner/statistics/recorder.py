"""Writes down what the worker does: wakes once a minute while idle, every ten seconds while a model is in memory.

Promises: the event loop never waits for a disk or a driver; at most one minute is lost however the process ends; a
GPU that holds nothing of ours is not looked at, so that it may sleep; whatever the disk does, the worker works.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runner.control_messages import Statistics
from runner.probes.nvidia_share import nvidia_share
from runner.statistics.file import HistoryFile
from runner.statistics.history import MINUTE_S, SERIES, History, Row, Span
from runner.statistics.meter import Meter
from runner.statistics.processors import Processors
from runner.threads import in_thread

log = logging.getLogger(__name__)
_BUSY_S = 10.0


@dataclass(frozen=True, slots=True)
class Counters:
    """What the worker says of itself when asked."""

    jobs_done: int
    """Since it started."""
    jobs_failed: int
    memory: int
    """Bytes of the device that its models hold."""
    gpus: tuple[str, ...]
    """UUIDs of the GPUs that are lent."""


class Recorder:
    """Use from one event loop."""

    def __init__(self, path: Path, counters: Callable[[], Counters]) -> None:
        self._file, self._counters = HistoryFile(path), counters
        self._history, self._meter = History(), Meter()
        self._processors = Processors()
        self._at = time.monotonic()

    def tokens(self, count: int) -> None:
        """So many tokens of an answer have been made just now."""
        self._meter.tokens(count, time.monotonic())

    @property
    def tokens_per_s(self) -> float:
        return self._meter.rate(time.monotonic())

    def statistics(self, span: Span) -> Statistics:
        now = self._counters()
        current = self._meter.so_far(now.jobs_done, now.jobs_failed, now.memory)
        return self._history.statistics(span, time.time(), current)

    async def run(self) -> None:
        """Until cancelled; what is not written by then is written by `close`."""
        try:
            self._history = History(await in_thread(lambda _stop: self._file.load(), "statistics"))
            await self._record()
        except Exception:
            log.exception("no statistics are kept from now on")

    async def _record(self) -> None:
        minute_ends = _next_minute(time.time())
        while True:
            await asyncio.sleep(next_look(minute_ends - time.time(), busy=self._counters().memory > 0))
            await self._measure()
            now = time.time()
            if now >= minute_ends or now < minute_ends - MINUTE_S:  # a clock that was set back ends the minute, too
                await self._write(min(now, minute_ends) if now - minute_ends < MINUTE_S else now)
                minute_ends = _next_minute(now)

    async def close(self) -> None:
        """Keep what has happened since the last minute."""
        with suppress(OSError):
            await self._measure()
        await self._write(time.time())
        await in_thread(lambda _stop: self._file.close(), "statistics")

    async def _measure(self) -> None:
        now = self._counters()
        gpus = now.gpus if now.memory > 0 else ()
        cpu_s, gpu = await in_thread(lambda _stop: (self._processors.used(), nvidia_share(gpus)), "measure")
        at = time.monotonic()
        self._meter.measured(
            jobs_done=now.jobs_done,
            jobs_failed=now.jobs_failed,
            cpu_s=cpu_s,
            memory=now.memory,
            gpu=gpu,
            seconds=at - self._at,
        )
        self._at = at

    async def _write(self, ended: float) -> None:
        step = self._meter.take()
        if step.quiet:
            return
        rows: tuple[Row, ...] = self._history.add(ended, step)
        keep = max(series.count for series in SERIES.values())
        await in_thread(lambda _stop: self._file.save(rows, keep), "statistics")


def next_look(left: float, *, busy: bool) -> float:
    """Seconds until things are looked at again, with so many `left` of this minute; a clock that jumps is no hurry."""
    return max(0.05, min(left, _BUSY_S if busy else MINUTE_S))


def _next_minute(now: float) -> float:
    return (now // MINUTE_S + 1) * MINUTE_S
