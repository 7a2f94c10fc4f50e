"""The loaded models of this worker: one warm executor for each, shared by all its requests.

Promises: one start per model however many wait for it; models and scripts together stay under the owner's cap; a model
nobody wants is closed after a while, and when another one needs its room, as `models/residence.py` decides; a model
whose process keeps crashing is refused for a while (`refusals.py`); no executor outlives the pool. Requests for a model
that has to wait for room are told so, and are served together (`waiting.py`).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

from gogrid.ids import Sha256
from gogrid.protocol.job_messages import FailCode, Progress
from gogrid.protocol.worker_report import LoadedModel, LoadingModel, LoadStage, RefusedModel
from runner.errors import ModelError, RunnerError
from runner.models.cache import ModelCache
from runner.models.disk import ModelDisk
from runner.models.residence import Claim, Turns, crowded_out, plan, unused
from runner.sandbox.base import Launcher
from runner.serving.bring import Bringer, Coming, Engine
from runner.serving.executor_client import ExecutorClient
from runner.serving.refusals import Refusals
from runner.serving.resident import Entries, Entry
from runner.serving.waiting import Report, Waiting, Wanted

log = logging.getLogger(__name__)
_LOOK_EVERY_S = 1.0
"""While somebody waits for room: scripts end without telling."""


class ExecutorPool:
    """Use from one event loop."""

    def __init__(
        self,
        launcher: Launcher,
        cache: ModelCache,
        disk: ModelDisk,
        engine: Engine,
        *,
        held: Callable[[], int],
        clock: Callable[[], float],
        turns: Turns | None = None,
    ) -> None:
        """`held`: bytes that scripts hold of the cap now. `clock`: monotonic seconds."""
        self._cache, self._engine, self._held, self._clock = cache, engine, held, clock
        self.turns = turns if turns is not None else Turns()
        self._bringer = Bringer(launcher, cache, disk, engine, clock)
        self._refusals = Refusals(clock, self._has_changed)
        self._entries = Entries()
        self._waiting = Waiting(clock, self._has_changed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._next_look: asyncio.TimerHandle | None = None
        self._turn_over: asyncio.TimerHandle | None = None
        self._owners: Sha256 | None = None
        self.changed: Callable[[], None] = lambda: None
        """Called when `loaded`, `loading` or `refused` changed."""

    @property
    def loaded(self) -> tuple[LoadedModel, ...]:
        return self._entries.loaded(self._clock(), self.turns)

    @property
    def loading(self) -> tuple[LoadingModel, ...]:
        return self._waiting.loading({entry.digest: entry.memory_bytes for entry in self._entries})

    @property
    def refused(self) -> tuple[RefusedModel, ...]:
        """Models that are not taken for a while."""
        return self._refusals.models

    @property
    def memory_held(self) -> int:
        """Bytes."""
        return self._entries.memory_held

    @property
    def memory_kept(self) -> int:
        """Bytes of models that are on their way, at work or in their turn: the others give way to a script."""
        return self._entries.memory_kept(self._clock(), self.turns)

    def warm(self, digest: Sha256) -> ExecutorClient | None:
        """The model's executor, if it can serve at once."""
        entry = self._entries.get(digest)
        if entry is None or entry.client is None or entry.giving_way or not entry.client.door.open:
            return None
        entry.last_used = self._clock()
        return entry.client

    @asynccontextmanager
    async def use(self, digest: Sha256, report: Report, *, alone: bool = False) -> AsyncIterator[ExecutorClient]:
        """The model's executor, started if need be, its door passed; not closed for being unused while inside.

        What happened to it while others were inside is not the fault of who waited at its door: that one waits for the
        next executor.

        Raises:
            ModelError: it cannot be fetched or loaded, does not fit, or is refused for a while.
            SandboxUnavailableError: no process can be started.
        """
        while True:
            entry = await self._seat(digest, report)
            try:
                client = entry.client
                if client is None:
                    continue
                async with client.door.entered(alone=alone) as waited:
                    if client.alive and not (waited and entry.giving_way):
                        yield client
                        return
            finally:
                self._left(entry)

    @contextmanager
    def asked_by_owner(self, digest: Sha256) -> Iterator[None]:
        """While inside, it is the machine's owner who waits for this model; see `leave`. One at a time."""
        self._owners = digest
        try:
            yield
        finally:
            self._owners = None

    def close_unused(self, idle_s: float) -> None:
        residents = (entry.resident() for entry in self._entries if entry.client is not None)
        for digest in unused(residents, self._clock(), idle_s):
            log.info("closing model %s: nobody asked for it", digest[:12])
            self._drop(self._entries[digest])

    async def close(self) -> None:
        """End every executor; returns when all are gone."""
        self._close_timers()
        for wanted in self._waiting:
            self._waiting.fail(wanted, _stopped())
        entries = list(self._entries)
        starts = [entry.start for entry in entries if entry.start is not None]
        for start in starts:
            start.cancel()
        await asyncio.gather(*starts, return_exceptions=True)
        for entry in entries:
            self._drop(entry)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._close_timers()

    def kill(self, spared: Sha256 | None = None) -> None:
        """End every executor now, but for the one of a model that is `spared`."""
        for entry in self._entries:
            if entry.digest != spared:
                entry.kill()

    def leave(self, *, wholly: bool) -> None:
        """The machine's owner wants it back: end every executor and download now, and start nothing for who waits.

        Args:
            wholly: the owner's own question ends, too; else its model stays, or comes.
        """
        spared = None if wholly else self._owners
        for wanted in self._waiting:
            if wanted.digest != spared:
                self._waiting.fail(wanted, _stopped())
        self.kill(spared)
        self._cache.halt(spared)

    def relimit(self, cap_bytes: int, cores: int) -> frozenset[Sha256]:
        """The owner lends so much from now on; returns the models that hold too much memory for that: `end` them.

        Args:
            cores: for models that are loaded from now on.
        """
        self._engine = replace(self._engine, cap_bytes=cap_bytes, cores=cores)
        self._bringer.relimit(self._engine)
        return frozenset(crowded_out(self._entries.residents, cap_bytes, self._held()))

    def give_way(self, memory_bytes: int) -> None:
        """Free at least so much now, of models that nobody uses and whose turn is over."""
        self._entries.kill_idle(memory_bytes, self._clock(), self.turns)

    def end(self, digests: frozenset[Sha256]) -> None:
        """Free the memory of these models now, whatever they do; then see what fits."""
        for digest in digests:
            entry = self._entries.get(digest)
            if entry is not None:
                log.info("closing model %s: its owner lends less memory now", digest[:12])
                entry.kill()
        self.look()

    def look(self) -> None:
        """Start, close and hand over what can be now; called whenever anything changed, and while models wait."""
        now = self._clock()
        for wanted in self._waiting:
            if wanted.digest not in self._entries and self._waiting.give_up(wanted):
                continue
            if self._refusals.why(wanted.digest):
                self._waiting.fail(wanted, self._refusals.error(wanted.digest))
        claims = [
            Claim(one.digest, one.manifest.memory_bytes, one.since)
            for one in self._waiting
            if one.digest not in self._entries
        ]
        what = plan(self._entries.residents, claims, self._engine.cap_bytes, self._held(), now, self.turns)
        for digest, reason in what.refused.items():
            self._waiting.fail(self._waiting[digest], ModelError(reason, FailCode.NO_ROOM))
        self._give_way(what.giving_way)
        for digest in what.close:
            self._drop(self._entries[digest])
        for digest in what.start:
            self._start(self._waiting[digest], now)
        for entry in self._entries:
            if entry.client is not None and not entry.giving_way:
                self._waiting.serve(entry)
        self._tell_queued(what.look_again, now)

    # --- requests that wait ---

    async def _seat(self, digest: Sha256, report: Report) -> Entry:
        """The model's entry with one more seat taken, once it can serve."""
        manifest = await self._cache.manifest(digest)
        if manifest.engine not in self._engine.engines:
            raise ModelError(f"This worker has no {manifest.engine} engine.", FailCode.NO_ROOM)
        if self._refusals.why(digest):
            raise self._refusals.error(digest)
        entry = self._entries.get(digest)
        if entry is not None and entry.client is not None and not entry.giving_way:
            entry.seats += 1
            return entry
        seat: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        wanted = self._waiting.want(digest, manifest)
        wanted.waiters[seat] = report
        self.look()
        if not seat.done():
            report(wanted.progress)
        try:
            return await seat
        except asyncio.CancelledError:
            if seat.done() and not seat.cancelled() and seat.exception() is None:
                self._left(seat.result())
            raise
        finally:
            wanted.waiters.pop(seat, None)

    def _left(self, entry: Entry) -> None:
        entry.seats -= 1
        self._used(entry)

    def _used(self, entry: Entry) -> None:
        """A request of it has ended."""
        entry.last_used = self._clock()
        self.changed()
        self._await_turns_end()
        if self._waiting:
            self.look()

    def _tell_queued(self, look_again: float | None, now: float) -> None:
        queued = [one for one in self._waiting if one.digest not in self._entries or self._waits(one.digest)]
        for wanted in queued:
            load_s = self._bringer.expected_s(wanted.manifest, wanted.digest)
            known = look_again is not None and load_s is not None
            eta_s = round((look_again or now) - now + (load_s or 0.0), 1) if known else -1.0
            wanted.tell(Progress(stage=LoadStage.QUEUED, fraction=0.0, eta_s=eta_s))
        if queued:
            self._look_in(min(_LOOK_EVERY_S, (look_again or now + _LOOK_EVERY_S) - now))
            self.changed()

    def _waits(self, digest: Sha256) -> bool:
        entry = self._entries.get(digest)
        return entry is not None and entry.start is None

    # --- models that come and go ---

    def _give_way(self, digests: frozenset[Sha256]) -> None:
        for entry in self._entries:
            if entry.giving_way != (entry.digest in digests):
                entry.giving_way = entry.digest in digests
                log.info("model %s %s", entry.digest[:12], "gives way" if entry.giving_way else "stays")
                self.changed()

    def _start(self, wanted: Wanted, now: float) -> None:
        """Count the model's memory from now on."""
        entry = Entry(wanted.digest, wanted.manifest.memory_bytes, now)
        self._entries.add(entry)
        most = self._engine.cap_bytes - self._held() - self.memory_held + entry.memory_bytes
        coming = self._bringer.coming(wanted.digest, wanted.manifest, lambda said: self._progressed(wanted, said))
        entry.start = asyncio.create_task(self._bring(entry, wanted, coming, most), name=f"start {entry.digest[:12]}")
        entry.start.add_done_callback(lambda start: self._start_cancelled(entry) if start.cancelled() else None)

    def _progressed(self, wanted: Wanted, progress: Progress) -> None:
        wanted.tell(progress)
        self.changed()

    async def _bring(self, entry: Entry, wanted: Wanted, coming: Coming, most: int) -> None:
        self._cache.pin(entry.digest)
        try:
            entry.brought = await self._bringer.bring(coming, most)
        except BaseException as error:
            self._cache.unpin(entry.digest)
            self._forget(entry)
            self._not_brought(wanted, error)
            if not isinstance(error, Exception):
                raise
            return
        finally:
            entry.start = None
        entry.memory_bytes = entry.brought.memory_bytes
        entry.ready_at = entry.last_used = self._clock()
        entry.brought.client.on_idle = lambda: self._used(entry)
        self._run(self._watch(entry, entry.brought.client), f"watch {entry.digest[:12]}")
        self._waiting.serve(entry)  # before anything is planned: however short turns are, a load is not for nothing
        self.look()
        self.changed()
        self._await_turns_end()

    def _start_cancelled(self, entry: Entry) -> None:
        """Who asked for the model while its process was ending waits for the next one."""
        self._forget(entry)
        if entry.digest in self._waiting:
            self.look()

    def _not_brought(self, wanted: Wanted, error: BaseException) -> None:
        digest = wanted.digest
        if isinstance(error, ModelError) and error.code is FailCode.CRASHED:
            self._refusals.crashed(digest, str(error).rstrip("."))
        if not isinstance(error, RunnerError | asyncio.CancelledError):
            log.error("model %s: the worker itself failed", digest[:12], exc_info=error)
        if self._waiting.has(wanted):
            self._waiting.fail(wanted, error if isinstance(error, Exception) else _stopped())
        if isinstance(error, Exception):
            self.look()

    async def _watch(self, entry: Entry, client: ExecutorClient) -> None:
        """Keep the entry, and its files in the cache, for as long as its process holds memory."""
        await client.wait()
        if client.answered:
            self._refusals.answered(entry.digest)
        if client.crash and not client.died_of_loner:
            self._refusals.crashed(entry.digest, client.crash)
        self._cache.unpin(entry.digest)
        self._forget(entry)
        self.look()

    def _drop(self, entry: Entry) -> None:
        if entry.client is not None:
            log.info("closing model %s", entry.digest[:12])
            self._run(entry.client.close(), f"close {entry.digest[:12]}")

    def _forget(self, entry: Entry) -> None:
        self._entries.forget(entry)
        self.changed()

    def _run(self, work: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _look_in(self, delay_s: float) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
        self._next_look = asyncio.get_running_loop().call_later(max(0.0, delay_s), self.look)

    def _await_turns_end(self) -> None:
        """Tell when a model that nobody uses gives way to scripts from now on."""
        if self._turn_over is not None:
            self._turn_over.cancel()
        now = self._clock()
        end = self._entries.turn_ends(now, self.turns)
        loop = asyncio.get_running_loop()
        self._turn_over = loop.call_later(end - now, self._turn_ended) if end is not None else None

    def _turn_ended(self) -> None:
        self.changed()
        self._await_turns_end()

    def _close_timers(self) -> None:
        self._refusals.close()
        for timer in (self._next_look, self._turn_over):
            if timer is not None:
                timer.cancel()

    def _has_changed(self) -> None:
        self.changed()


def _stopped() -> ModelError:
    return ModelError("The worker stopped while the model was loading.", FailCode.YIELDED)
