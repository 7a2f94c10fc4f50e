"""What the worker does with the jobs it is leased.

Promises: every assigned job is refused or ends with `Finished` or `Failed`; a lease that is lost or cancelled stops at
once and frees what it held; a newer lease of a job ends the older one. A lost link ends what somebody waits for at that
moment: the coordinator has placed it elsewhere. A durable job goes on until the fence (`fence.py`), says everything
again on the next link (`kept_stream.py`), and its end is told until the coordinator has settled it (`jobs.py`). What
may be taken is decided in `capacity.py`; how one job runs is `job_runner.py`'s.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from typing import Protocol

from gogrid.ids import JobId, Sha256
from gogrid.protocol.job_messages import FailCode, Failed, Finished
from gogrid.protocol.measured import MeasuredSpeed
from gogrid.protocol.messages import Assign, Cancel, Drain, LeaseHeld, Welcome
from gogrid.protocol.tasks import PythonTask
from gogrid.protocol.worker_report import Readiness, WorkerReport
from runner.errors import JobError, RunnerError
from runner.facts import Facts
from runner.holds import Holds, OwnerPause
from runner.job_runner import JobRunner, Scripts
from runner.jobs import Job, Jobs
from runner.link.fence import Fence
from runner.link.kept_stream import KeptStream
from runner.models.cache import ModelCache
from runner.python_job import verdict
from runner.serving.capacity import ScriptRoom, Situation, beyond, refusal
from runner.serving.pool import ExecutorPool
from runner.session import JobStream
from runner.worker_report import worker_report

log = logging.getLogger(__name__)
_SETTLE_S = 2.0
"""How long a worker that stops waits for the coordinator to settle what it has said."""


class RefuseJob(Protocol):
    """See `link.CoordinatorLink.refuse`."""

    def __call__(self, job_id: JobId, epoch: int, reason: str) -> None: ...


class OpenStream(Protocol):
    """See `link.CoordinatorLink.job_stream`."""

    def __call__(self, job_id: JobId, epoch: int) -> JobStream | None: ...


class Work:
    """Implements `runner.session.SessionHandler`."""

    def __init__(
        self,
        facts: Facts,
        *,
        pool: ExecutorPool | None,
        cache: ModelCache,
        scripts: Scripts | None,
        clock: Callable[[], float],
    ) -> None:
        """`pool` and `scripts` are None where no sandbox works: then nothing is taken. `clock`: the event loop's."""
        self._facts, self._pool, self._cache = facts, pool, cache
        self._clock = clock
        self._jobs = Jobs()
        self._job_runner = JobRunner(pool, scripts, clock, lambda tokens: self.made(tokens))
        self._fence = Fence()
        self._fence_timer: asyncio.TimerHandle | None = None
        self.holds = Holds()
        self.names: dict[Sha256, str] = {}
        """What the coordinator calls the models."""
        self.done = 0
        self.failed = 0
        self.name = ""
        """This worker's name at the coordinator."""
        self.session: Welcome | None = None
        self.speed: MeasuredSpeed | None = None
        """Of the device that is lent now, if it was measured."""
        self.refuse: RefuseJob = lambda job_id, epoch, reason: None
        """Gives an assigned job back; the link's, which is made after this."""
        self.open_stream: OpenStream = lambda job_id, epoch: None
        """A new stream for a lease that is older than the connection; the link's, too."""
        self.changed: Callable[[], None] = lambda: None
        """Called when `report` may say something new."""
        self.made: Callable[[int], None] = lambda tokens: None
        """Told how many more tokens of answers have been made."""

    # --- what the link tells ---

    def welcomed(self, welcome: Welcome) -> None:
        self.session, self.name = welcome, welcome.worker_name
        self._fence.opened(self._clock(), welcome.fence_s, holding=bool(self.held()))
        for kept in self._jobs.kept_streams:
            stream = self.open_stream(kept.job_id, kept.epoch)
            if stream is not None:
                log.info("job %s epoch %d goes on over a new connection", kept.job_id, kept.epoch)
                kept.attach(stream)
        self.changed()

    def disconnected(self, reason: str) -> None:
        log.info("disconnected: %s", reason)
        self.session = None
        for kept in self._jobs.kept_streams:
            kept.detach()
        for job in self.jobs:
            if job.kept is None:
                log.warning("job %s epoch %d ends with the connection", job.assign.job_id, job.assign.epoch)
                self._stop(job, "")
        self.changed()

    def assigned(self, assign: Assign, stream: JobStream) -> None:
        if any(held.job_id == assign.job_id and held.epoch >= assign.epoch for held in self.held()):
            return
        self._jobs.forget(assign.job_id)
        reason = refusal(assign.task, self.situation)
        if reason:
            log.info("refusing job %s epoch %d: %s", assign.job_id, assign.epoch, reason)
            self.refuse(assign.job_id, assign.epoch, reason)
            return
        if not isinstance(assign.task, PythonTask):
            self.names[assign.task.model.digest] = assign.task.model.name
        if assign.durable:
            stream = KeptStream(assign.job_id, assign.epoch, stream)
        job = Job(assign, stream, self._clock())
        self._jobs.add(job)
        if self._fence_timer is None:
            self._watch_fence()
        job.task = asyncio.create_task(self._run(job), name=f"job {assign.job_id}")

    def cancelled(self, cancel: Cancel) -> None:
        job = self._jobs.find(cancel.job_id, cancel.epoch)
        if job is None:
            return
        if job.kept is None:
            self._stop(job, cancel.reason or "cancelled", FailCode.CANCELLED)
        else:
            self._stop(job, "")  # its end is on disk already

    def drain(self, drain: Drain) -> None:
        self.holds.drained = (drain.reason or "drained by the coordinator's admin") if drain.on else ""
        self.changed()

    def lost(self, leases: tuple[LeaseHeld, ...]) -> None:
        for lease in leases:
            if lease in self.held():
                log.warning("job %s epoch %d is no longer ours", lease.job_id, lease.epoch)
                self._jobs.forget(lease.job_id)

    def renewed(self, sent_at: float) -> None:
        self._fence.renewed(sent_at)

    def settled(self, leases: tuple[LeaseHeld, ...]) -> None:
        for lease in leases:
            self._jobs.settled(lease)

    def held(self) -> tuple[LeaseHeld, ...]:
        return self._jobs.leases

    def check_fence(self) -> None:
        """Give every job up if the coordinator has not answered for too long."""
        at = self._fence.at
        if at is None or not self.jobs or self._clock() < at:
            return
        log.error("the coordinator has not answered for too long: giving up %d jobs", len(self.jobs))
        for job in self.jobs:
            told = job.kept is not None
            self._stop(job, "The worker could not reach its coordinator and gave the job up." if told else "")

    # --- what the owner tells ---

    def hold(self, pause: OwnerPause | None, gates: tuple[str, ...]) -> None:
        """What the owner says and why gates are closed, from now on.

        Held, it takes nothing new; what runs goes on elsewhere and all memory is free at once, unless it may finish.
        """
        if (pause, gates) == (self.holds.pause, self.holds.gates):
            return
        yielded = self.holds.yielding
        self.holds.pause, self.holds.gates = pause, gates
        with ExitStack() as always:  # the last one first, and each whatever becomes of the others
            always.callback(self.changed)
            if self.holds.yielding and not yielded:
                log.info("the machine is its owner's: %s", "; ".join(self.holds.reasons))
                always.callback(self.leave)
                self._give_back(self.jobs, self.holds.why, to_owner=True)

    def leave(self) -> None:
        """If nothing may stay here now: no model, no download. Only a gate lets the owner's own question go on."""
        if self.holds.yielding and self._pool is not None:
            self._pool.leave(wholly=self.holds.order == "pause")

    def lend(self, facts: Facts) -> None:
        """Other limits hold from now on. What no longer fits gives its memory back at once, and goes on elsewhere."""
        self._facts = facts
        why = "The worker's owner lends less memory now."
        scripts = self._jobs.scripts
        ends = {*beyond([(job.since, script.limits.memory_bytes) for job, script in scripts], facts.script_memory)}
        if not facts.gpu_scripts:
            ends.update(at for at, (_, script) in enumerate(scripts) if script.gpu)
        self._give_back([scripts[index][0] for index in ends], why, to_owner=True)
        if self._pool is not None:
            models = self._pool.relimit(facts.device.cap_bytes, facts.cores)
            self._give_back([job for job in self.jobs if job.model in models], why)
            self._pool.end(models)
        self.changed()

    # --- what others want to know ---

    @property
    def jobs(self) -> tuple[Job, ...]:
        return self._jobs.running

    @property
    def readiness(self) -> tuple[Readiness, str]:
        return self.holds.readiness(self._facts.standing)

    @property
    def situation(self) -> Situation:
        readiness, reason = self.readiness
        refused = {model.digest: model.reason for model in self._pool.refused} if self._pool is not None else {}
        facts = self._facts
        room, running = self._script_room(), [job.assign.task for job in self.jobs]
        cap_bytes, gpu_scripts = facts.device.cap_bytes, facts.gpu_scripts
        return Situation(readiness, reason, facts.python_jobs, cap_bytes, room, refused, running, gpu_scripts)

    @property
    def script_memory_held(self) -> int:
        """Bytes that running scripts may use."""
        return sum(script.limits.memory_bytes for _, script in self._jobs.scripts)

    def report(self) -> WorkerReport:
        return worker_report(self._facts, self.holds, self._pool, self._cache, self.speed)

    async def close(self) -> None:
        """Give every job back: the coordinator places it elsewhere."""
        tasks = [job.task for job in self.jobs if job.task is not None]
        self._give_back(self.jobs, "The worker is stopping.")
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.session is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SETTLE_S):
                    await self._jobs.wait_settled()
        if self._fence_timer is not None:
            self._fence_timer.cancel()

    def _give_back(self, jobs: Iterable[Job], why: str, *, to_owner: bool = False) -> None:
        for job in jobs:
            if to_owner and job.script is not None:
                self._jobs.end(job, Finished(result=verdict.owner_returned(why)))
            else:
                self._stop(job, why, FailCode.YIELDED)

    def _script_room(self) -> ScriptRoom:
        cores = sum(script.limits.cpu_cores for _, script in self._jobs.scripts)
        models = self._pool.memory_kept if self._pool is not None and self._facts.shares_memory else 0
        return ScriptRoom(self._facts.script_memory, self.script_memory_held + models, self._facts.cores, cores)

    def _stop(self, job: Job, reason: str, code: FailCode = FailCode.FENCED) -> None:
        """End a job now; its place is free at once. Without a reason nobody is told: the lease is not ours."""
        self._jobs.end(job, Failed(code=code, message=reason) if reason else None)

    def _watch_fence(self) -> None:
        """One timer, for as long as anything runs."""
        self._fence_timer = None
        self.check_fence()
        if self.jobs and self._fence.at is not None:
            delay = max(0.0, self._fence.at - self._clock())
            self._fence_timer = asyncio.get_running_loop().call_later(delay, self._watch_fence)

    async def _run(self, job: Job) -> None:
        try:
            await self._job_runner.run(job, self._facts, self.script_memory_held)
            self.done += 1
        except JobError as error:
            self._fail(job, Failed(code=error.code, message=str(error), param=error.param, in_company=error.in_company))
        except RunnerError as error:
            self._fail(job, Failed(code=FailCode.INTERNAL, message=str(error)))
        except Exception:
            log.exception("job %s failed in the worker itself", job.assign.job_id)
            message = "The worker failed in itself; its log has the details."
            self._fail(job, Failed(code=FailCode.INTERNAL, message=message))
            raise
        finally:
            self._jobs.leave(job)

    def _fail(self, job: Job, failed: Failed) -> None:
        self.failed += 1
        log.warning("job %s epoch %d failed: %s", job.assign.job_id, job.assign.epoch, failed.message)
        job.stream.send(failed)
