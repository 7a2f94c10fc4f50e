"""Watches from outside what every sandbox uses of memory and GPU memory, and has those killed that go over the cap.

Promises: at work it looks off the event loop, so often that whoever goes over is found over twice and hears `over`
within a second (`next_look.py`); at rest (nothing watched) it does nothing at all. A GPU whose memory cannot be read
for a second is not trusted: what runs on it hears `over`, too. A new cap counts from the next look. The kernel's and
the engine's own limits come first where there are any; this one needs neither. Who has to go is decided in
`overuse.py`.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from runner.probes.gpu_memory import GpuMemory, GpuUnreadableError
from runner.probes.process_memory import ProcessMemory, process_memory
from runner.serving.next_look import next_look_s
from runner.serving.overuse import Holding, Overuse, Verdict
from runner.threads import in_thread
from sandbox_profiles import linux

log = logging.getLogger(__name__)
_BLIND_LOOKS = 4


@dataclass(frozen=True, slots=True)
class Caps:
    """Bytes that all sandboxes may use together."""

    memory: int
    gpu_memory: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """What one sandbox was granted; None: it is not counted against that cap."""

    memory: int | None = None
    gpu_memory: int | None = None
    bound: bool = False
    """It may never use more than this (a script). Otherwise it goes only if there is not enough for all."""


@dataclass(slots=True, eq=False)
class Watched:
    """Made by `MemoryGuard.watch`."""

    key: int
    pid: int
    share: Share
    over: Callable[[str], None]
    looked: Callable[[], None]


@dataclass(slots=True)
class _Look:
    """Bytes by key of each sandbox."""

    memory: dict[int, int] = field(default_factory=dict)
    gpu_memory: dict[int, int] = field(default_factory=dict)
    blind: str = ""
    """Why the GPU's memory could not be read."""
    untold: bool = False
    """The driver knows a process of ours and not how much it holds."""


class MemoryGuard:
    """Use from one event loop."""

    def __init__(
        self,
        caps: Caps,
        clock: Callable[[], float],
        gpu: GpuMemory | None = None,
        memory: ProcessMemory | None = None,
    ) -> None:
        """Args: `clock`: monotonic seconds. `gpu`: None where no GPU is lent, or its driver tells nothing."""
        self.caps = caps
        self._clock, self._gpu = clock, gpu
        self._memory = memory if memory is not None else process_memory()
        self._watched: dict[int, Watched] = {}
        self._last_key = 0
        self._overuse = Overuse("memory")
        self._gpu_overuse = Overuse("GPU memory")
        self._blind_looks = 0
        self._untold = False
        self._looking: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        """Others are to be watched than when the next look was planned."""

    def watch(self, pid: int, share: Share, over: Callable[[str], None], looked: Callable[[], None]) -> Watched:
        """Watch a sandbox, by its outermost process, until `forget`.

        Args:
            over: called once if it has to go, with why: `used 9 GB of memory and its owner lends 8 GB`.
            looked: called after every look.
        """
        self._last_key += 1
        watched = self._watched[self._last_key] = Watched(self._last_key, pid, share, over, looked)
        self._news.set()
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look_on(), name="memory guard")
        return watched

    def forget(self, watched: Watched) -> None:
        """It has ended, or is being killed; safe to call twice."""
        if self._watched.pop(watched.key, None) is not None:
            self._news.set()

    @property
    def resting(self) -> bool:
        return self._looking is None

    async def _look_on(self) -> None:
        try:
            look = _Look()
            while True:
                await self._until_due(look)
                if not self._watched:
                    return
                now, watched, caps = self._clock(), tuple(self._watched.values()), self.caps
                look = await in_thread(self._looker(watched, caps), "memory look")
                self._judge(look, now)
                for one in tuple(self._watched.values()):
                    one.looked()
        finally:
            self._looking = None
            if self._gpu is not None:
                self._gpu.close()

    async def _until_due(self, last: _Look) -> None:
        """Let pass what `next_look_s` allows; less when somebody comes whom it did not count with, or all are gone."""
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while self._watched:
            self._news.clear()
            left = looked + self._pause_s(last) - loop.time()
            if left <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._news.wait()

    def _pause_s(self, last: _Look) -> float:
        hasty = any(
            one.share.bound or one.share.gpu_memory is not None or key not in last.memory
            for key, one in self._watched.items()
        )
        return next_look_s(used=sum(last.memory.values()), cap=self.caps.memory, hasty=hasty)

    def _looker(self, watched: Sequence[Watched], caps: Caps) -> Callable[[object], _Look]:
        return lambda _stop: self._look(watched, caps)

    # --- in a thread ---

    def _look(self, watched: Sequence[Watched], caps: Caps) -> _Look:
        look = _Look()
        trees = {one.key: self._memory.tree(one.pid) for one in watched}
        in_memory = [one for one in watched if one.share.memory is not None]
        look.memory = {one.key: _counted(one, self._memory.bound(trees[one.key])) for one in in_memory}
        if _over_somewhere(in_memory, look.memory, caps.memory):
            look.memory = {one.key: _counted(one, self._memory.exact(trees[one.key])) for one in in_memory}
        on_gpu = [one for one in watched if one.share.gpu_memory is not None]
        if on_gpu and self._gpu is not None:
            try:
                held = self._gpu.look().by_pid
            except GpuUnreadableError as error:
                look.blind = str(error)
                return look
            for one in on_gpu:
                uses = [held[pid] for pid in trees[one.key] if pid in held]
                look.untold = look.untold or None in uses
                look.gpu_memory[one.key] = sum(use or 0 for use in uses)
        return look

    # --- on the event loop ---

    def _judge(self, look: _Look, now: float) -> None:
        if look.untold and not self._untold:
            log.warning("the GPU's driver does not tell what each process holds: only the engine's own limit counts")
        self._untold = look.untold
        self._carry_out(self._overuse.judge(self._holdings(look.memory, "memory"), self.caps.memory, now))
        self._blind_looks = self._blind_looks + 1 if look.blind else 0
        if look.blind:
            log.error("%s", look.blind)
            if self._blind_looks >= _BLIND_LOOKS:
                blind = tuple(one.key for one in self._watched.values() if one.share.gpu_memory is not None)
                self._carry_out(tuple(Verdict(key, "used GPU memory that cannot be watched now") for key in blind))
            return
        holdings = self._holdings(look.gpu_memory, "gpu_memory")
        self._carry_out(self._gpu_overuse.judge(holdings, self.caps.gpu_memory, now))

    def _holdings(self, used: dict[int, int], kind: str) -> list[Holding]:
        """Of those that are still there."""
        found = []
        for key, size in used.items():
            one = self._watched.get(key)
            share: int | None = getattr(one.share, kind) if one is not None else None
            if one is not None and share is not None:
                found.append(Holding(key, size, share, one.share.bound))
        return found

    def _carry_out(self, verdicts: tuple[Verdict, ...]) -> None:
        for verdict in verdicts:
            watched = self._watched.pop(verdict.key, None)
            if watched is not None:
                log.error("killing the sandbox of process %d: it %s", watched.pid, verdict.reason)
                watched.over(verdict.reason)


def _counted(one: Watched, held: int) -> int:
    """A script's limit is its own: what the sandbox itself takes is not counted against it."""
    return max(0, held - linux.SUPERVISOR_BYTES) if one.share.bound else held


def _over_somewhere(watched: Sequence[Watched], used: dict[int, int], cap: int) -> bool:
    bound = any(one.share.bound and used[one.key] > (one.share.memory or 0) for one in watched)
    return bound or sum(used.values()) > cap
