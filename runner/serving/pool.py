"""The loaded models of this worker: one warm executor for each, shared by all its requests.

Promises: one start per model however many wait for it; models and scripts together stay under the owner's cap; a model
nobody wants is closed after a while, and when another one needs its room, as `models/residence.py` decides; a model
whose process keeps crashing is refused for a while; no executor outlives the pool. Requests for a model that has to
wait for room wait here, are told so, and are served together.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

from gogrid.ids import Sha256
from gogrid.manifest import ModelManifest
from gogrid.protocol.messages import FailCode, LoadedModel, LoadingModel, LoadStage, Progress, RefusedModel
from runner.errors import ModelError, RunnerError
from runner.models.cache import ModelCache
from runner.models.crashes import Crashes
from runner.models.disk import ModelDisk
from runner.models.residence import Claim, Turns, crowded_out, plan, unused
from runner.sandbox.base import Launcher
from runner.serving.bring import Bringer, Coming, Engine
from runner.serving.executor_client import ExecutorClient
from runner.serving.resident import Entry, Report, Wanted

log = logging.getLogger(__name__)
_LINGER_S = 15.0
"""A model that was wanted and has to wait for room is still brought if nobody waits any more: a client that was told
to come back later comes back."""
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
        self._crashes = Crashes()
        self._entries: dict[Sha256, Entry] = {}
        self._wanted: dict[Sha256, Wanted] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._owners: Sha256 | None = None
        self.changed: Callable[[], None] = lambda: None
        """Called when `loaded`, `loading` or `refused` changed."""

    @property
    def loaded(self) -> tuple[LoadedModel, ...]:
        return tuple(
            LoadedModel(
                digest=entry.digest,
                memory_bytes=entry.memory_bytes,
                running=entry.client.running,
                slots=entry.brought.slots,
                giving_way=entry.giving_way,
            )
            for entry in self._entries.values()
            if entry.client is not None and entry.brought is not None
        )

    @property
    def loading(self) -> tuple[LoadingModel, ...]:
        return tuple(
            LoadingModel(
                digest=wanted.digest,
                stage=wanted.progress.stage,
                fraction=round(wanted.progress.fraction, 2),
                eta_s=float(round(wanted.progress.eta_s)),
            )
            for wanted in self._wanted.values()
        )

    @property
    def refused(self) -> tuple[RefusedModel, ...]:
        """Models that are not taken for a while."""
        now = self._crashes.refused(self._clock())
        return tuple(RefusedModel(digest=digest, reason=reason) for digest, reason in now.items())

    def refusal(self, digest: Sha256) -> str:
        """Why this model is not taken now, in words; empty: it is."""
        return self._crashes.refusal(digest, self._clock())

    @property
    def memory_held(self) -> int:
        return sum(entry.memory_bytes for entry in self._entries.values())

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
        residents = (entry.resident() for entry in self._entries.values() if entry.client is not None)
        for digest in unused(residents, self._clock(), idle_s):
            log.info("closing model %s: nobody asked for it", digest[:12])
            self._drop(self._entries[digest])

    async def close(self) -> None:
        """End every executor; returns when all are gone."""
        for timer in self._timers.values():
            timer.cancel()
        for wanted in list(self._wanted.values()):
            self._fail(wanted, _stopped())
        entries = list(self._entries.values())
        starts = [entry.start for entry in entries if entry.start is not None]
        for start in starts:
            start.cancel()
        await asyncio.gather(*starts, return_exceptions=True)
        for entry in entries:
            self._drop(entry)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for timer in self._timers.values():
            timer.cancel()

    def kill(self, spared: Sha256 | None = None) -> None:
        """End every executor now, but for the one of a model that is `spared`."""
        for entry in self._entries.values():
            if entry.digest == spared:
                continue
            if entry.start is not None:
                entry.start.cancel()
            if entry.brought is not None:
                entry.brought.client.kill()

    def leave(self, *, wholly: bool) -> None:
        """The machine's owner wants it back: end every executor and download now, and start nothing for who waits.

        Args:
            wholly: the owner's own question ends, too; else its model stays, or comes.
        """
        spared = None if wholly else self._owners
        for wanted in list(self._wanted.values()):
            if wanted.digest != spared:
                self._fail(wanted, _stopped())
        self.kill(spared)
        self._cache.halt(spared)

    def relimit(self, cap_bytes: int, cores: int) -> frozenset[Sha256]:
        """The owner lends so much from now on; returns the models that hold too much memory for that: `end` them.

        Args:
            cores: for models that are loaded from now on.
        """
        self._engine = replace(self._engine, cap_bytes=cap_bytes, cores=cores)
        self._bringer.relimit(self._engine)
        residents = [entry.resident() for entry in self._entries.values()]
        return frozenset(crowded_out(residents, cap_bytes, self._held()))

    @property
    def memory_in_use(self) -> int:
        """Bytes of models that are on their way or at work: the others give way to a script."""
        return sum(entry.memory_bytes for entry in self._entries.values() if not entry.resident().idle)

    def give_way(self, memory_bytes: int) -> None:
        """Free at least so much now, by killing models that nobody uses, the longest unused first."""
        idle = [entry for entry in self._entries.values() if entry.resident().idle]
        for entry in sorted(idle, key=lambda entry: entry.last_used):
            if memory_bytes <= 0:
                return
            log.info("closing model %s: a script needs its memory", entry.digest[:12])
            memory_bytes -= entry.memory_bytes
            if entry.brought is not None:
                entry.brought.client.kill()

    def end(self, digests: frozenset[Sha256]) -> None:
        """Free the memory of these models now, whatever they do; then see what fits."""
        for digest in digests:
            entry = self._entries.get(digest)
            if entry is not None and entry.start is not None:
                entry.start.cancel()
            if entry is not None and entry.brought is not None:
                log.info("closing model %s: its owner lends less memory now", digest[:12])
                entry.brought.client.kill()
        self.look()

    def look(self) -> None:
        """Start, close and hand over what can be now; called whenever anything changed, and while models wait."""
        now = self._clock()
        for wanted in list(self._wanted.values()):
            if wanted.digest not in self._entries and not wanted.waiters and now >= wanted.until:
                del self._wanted[wanted.digest]
            elif self._crashes.refusal(wanted.digest, now):
                self._fail(wanted, self._refused(wanted.digest))
        claims = [
            Claim(one.digest, one.manifest.memory_bytes, one.since)
            for one in self._wanted.values()
            if one.digest not in self._entries
        ]
        residents = [entry.resident() for entry in self._entries.values()]
        what = plan(residents, claims, self._engine.cap_bytes, self._held(), now, self.turns)
        for digest, reason in what.refused.items():
            self._fail(self._wanted[digest], ModelError(reason, FailCode.NO_ROOM))
        self._give_way(what.giving_way)
        for digest in what.close:
            self._drop(self._entries[digest])
        for digest in what.start:
            self._start(self._wanted[digest], now)
        for entry in list(self._entries.values()):
            if entry.client is not None and not entry.giving_way:
                self._serve_waiting(entry)
        self._tell_queued(what.look_again, now)

    # --- requests that wait ---

    async def _seat(self, digest: Sha256, report: Report) -> Entry:
        """The model's entry with one more seat taken, once it can serve."""
        manifest = await self._cache.manifest(digest)
        if manifest.engine not in self._engine.engines:
            raise ModelError(f"This worker has no {manifest.engine} engine.", FailCode.NO_ROOM)
        if self.refusal(digest):
            raise self._refused(digest)
        entry = self._entries.get(digest)
        if entry is not None and entry.client is not None and not entry.giving_way:
            entry.seats += 1
            return entry
        seat: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        wanted = self._want(digest, manifest)
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

    def _want(self, digest: Sha256, manifest: ModelManifest) -> Wanted:
        now = self._clock()
        wanted = self._wanted.get(digest)
        if wanted is None:
            progress = Progress(stage=LoadStage.QUEUED, fraction=0.0)
            wanted = self._wanted[digest] = Wanted(digest, manifest, now, now, progress)
        wanted.until = now + _LINGER_S
        return wanted

    def _serve_waiting(self, entry: Entry) -> None:
        wanted = self._wanted.pop(entry.digest, None)
        if wanted is not None:
            for seat in wanted.waiters:
                if not seat.done():
                    entry.seats += 1
                    seat.set_result(entry)
            entry.last_used = self._clock()
            self.changed()

    def _fail(self, wanted: Wanted, error: Exception) -> None:
        self._wanted.pop(wanted.digest, None)
        for seat in wanted.waiters:
            if not seat.done():
                seat.set_exception(error)
        self.changed()

    def _left(self, entry: Entry) -> None:
        entry.seats -= 1
        self._used(entry)

    def _refused(self, digest: Sha256) -> ModelError:
        return ModelError(f"This worker refuses the model for now: {self.refusal(digest)}.", FailCode.NO_ROOM)

    def _used(self, entry: Entry) -> None:
        """A request of it has ended."""
        entry.last_used = self._clock()
        self.changed()
        if self._wanted:
            self.look()

    def _tell_queued(self, look_again: float | None, now: float) -> None:
        queued = [one for one in self._wanted.values() if one.digest not in self._entries or self._waits(one.digest)]
        for wanted in queued:
            load_s = self._bringer.expected_s(wanted.manifest, wanted.digest)
            known = look_again is not None and load_s is not None
            eta_s = round((look_again or now) - now + (load_s or 0.0), 1) if known else -1.0
            wanted.tell(Progress(stage=LoadStage.QUEUED, fraction=0.0, eta_s=eta_s))
        if queued:
            self._later("look", min(_LOOK_EVERY_S, (look_again or now + _LOOK_EVERY_S) - now), self.look)
            self.changed()

    def _waits(self, digest: Sha256) -> bool:
        entry = self._entries.get(digest)
        return entry is not None and entry.start is None

    # --- models that come and go ---

    def _give_way(self, digests: frozenset[Sha256]) -> None:
        for entry in self._entries.values():
            if entry.giving_way != (entry.digest in digests):
                entry.giving_way = entry.digest in digests
                log.info("model %s %s", entry.digest[:12], "gives way" if entry.giving_way else "stays")
                self.changed()

    def _start(self, wanted: Wanted, now: float) -> None:
        """Count the model's memory from now on."""
        entry = self._entries[wanted.digest] = Entry(wanted.digest, wanted.manifest.memory_bytes, now)
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
        self._serve_waiting(entry)  # before anything is planned: however short turns are, a load is not for nothing
        self.look()
        self.changed()

    def _start_cancelled(self, entry: Entry) -> None:
        """Who asked for the model while its process was ending waits for the next one."""
        self._forget(entry)
        if entry.digest in self._wanted:
            self.look()

    def _not_brought(self, wanted: Wanted, error: BaseException) -> None:
        digest = wanted.digest
        if isinstance(error, ModelError) and error.code is FailCode.CRASHED:
            self._crashed(digest, str(error).rstrip("."))
        if not isinstance(error, RunnerError | asyncio.CancelledError):
            log.error("model %s: the worker itself failed", digest[:12], exc_info=error)
        if self._wanted.get(digest) is wanted:
            self._fail(wanted, error if isinstance(error, Exception) else _stopped())
        if isinstance(error, Exception):
            self.look()

    async def _watch(self, entry: Entry, client: ExecutorClient) -> None:
        """Keep the entry, and its files in the cache, for as long as its process holds memory."""
        await client.wait()
        if client.answered:
            self._crashes.answered(entry.digest)
        if client.crash and not client.died_of_loner:
            self._crashed(entry.digest, client.crash)
        self._cache.unpin(entry.digest)
        self._forget(entry)
        self.look()

    def _crashed(self, digest: Sha256, why: str) -> None:
        now = self._clock()
        self._crashes.crashed(digest, why, now)
        refusal, end = self._crashes.refusal(digest, now), self._crashes.next_end(now)
        if refusal and end is not None:
            log.error("model %s is refused for a while: %s", digest[:12], refusal)
            self._later("refusal", end - now, self.changed)

    def _drop(self, entry: Entry) -> None:
        if entry.client is not None:
            log.info("closing model %s", entry.digest[:12])
            self._run(entry.client.close(), f"close {entry.digest[:12]}")

    def _forget(self, entry: Entry) -> None:
        if self._entries.get(entry.digest) is entry:
            del self._entries[entry.digest]
        self.changed()

    def _run(self, work: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _later(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(max(0.0, delay_s), call)


def _stopped() -> ModelError:
    return ModelError("The worker stopped while the model was loading.", FailCode.YIELDED)
