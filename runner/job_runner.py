"""Runs one job to its end: a request with the model's warm executor or the one that is brought for it, or a script.

Promises: whatever the job says goes to its stream, how far a model is no oftener than is worth reading; a request that
is given up is forgotten by its executor. Whether a job may run was decided before (`serving/capacity.py`); what its end
means for its lease is decided after (`work.py`).
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from gogrid.protocol.job_messages import FailCode, Failed, Finished, JobMessage, Progress, Tokens
from gogrid.protocol.tasks import PythonTask
from runner.errors import JobError
from runner.facts import Facts
from runner.jobs import Job
from runner.models.telling import Teller
from runner.serving.executor_client import ExecutorClient, ModelTask
from runner.serving.pool import ExecutorPool
from runner.session import JobStream

_LONGEST_REASON = 1000
"""Characters of what a sandboxed process may say in a failure."""


class Scripts(Protocol):
    """Runs `PythonTask`s; see `scripts.ScriptRunner`."""

    async def run(self, task: PythonTask, stream: JobStream, gpus: tuple[str, ...]) -> Finished:
        """Raises `JobError`."""


class JobRunner:
    def __init__(
        self,
        pool: ExecutorPool | None,
        scripts: Scripts | None,
        clock: Callable[[], float],
        made: Callable[[int], None],
    ) -> None:
        """`made` is told how many more tokens of answers there are."""
        self._pool, self._scripts, self._clock, self._made = pool, scripts, clock, made

    async def run(self, job: Job, facts: Facts, scripts_hold: int) -> None:
        """Returns when its last word has been handed to its stream.

        Args:
            scripts_hold: bytes that running scripts may use, this job's among them.

        Raises:
            RunnerError: it failed; nobody was told so yet.
        """
        if isinstance(job.assign.task, PythonTask):
            await self._run_script(job, job.assign.task, facts, scripts_hold)
        else:
            await self._run_model(job, job.assign.task)

    async def _run_script(self, job: Job, task: PythonTask, facts: Facts, scripts_hold: int) -> None:
        if self._scripts is None:
            raise JobError("This worker runs no scripts.", FailCode.NO_ROOM)
        if task.gpu and self._pool is not None:
            self._pool.kill()  # models that nobody uses now; `capacity.refusal` has seen that none is used
        elif self._pool is not None and facts.shares_memory:
            free = facts.script_memory - scripts_hold - self._pool.memory_held
            self._pool.give_way(-free)
        gpus = facts.device.gpus if task.gpu else ()
        job.stream.send(await self._scripts.run(task, job.stream, gpus))

    async def _run_model(self, job: Job, task: ModelTask) -> None:
        if self._pool is None:
            raise JobError("This worker serves no models.", FailCode.NO_ROOM)
        digest, alone = task.model.digest, job.assign.alone
        warm = None if alone else self._pool.warm(digest)
        if warm is not None:
            async with warm.door.entered(alone=False):
                await self._serve(warm, job, task)
            return
        async with self._pool.use(digest, _progress(job.stream, self._clock), alone=alone) as client:
            await self._serve(client, job, task)

    async def _serve(self, client: ExecutorClient, job: Job, task: ModelTask) -> None:
        """Until the request's last message has been handed to the link, or the job is cancelled."""
        ended: asyncio.Future[Failed | None] = asyncio.get_running_loop().create_future()
        send = job.stream.send

        def sink(message: JobMessage) -> None:
            if isinstance(message, Failed):
                ended.set_result(message)
                return
            send(message)
            if isinstance(message, Tokens):
                self._made(len(message.token_ids))
            if isinstance(message, Finished):
                ended.set_result(None)

        request = client.submit(task, sink)
        try:
            failed = await ended
        finally:
            client.abort(request)
        if failed is not None:
            message, param = failed.message[:_LONGEST_REASON], failed.param[:_LONGEST_REASON]
            raise JobError(message, failed.code, param, in_company=failed.in_company)


def _progress(stream: JobStream, clock: Callable[[], float]) -> Callable[[Progress], None]:
    teller = Teller()

    def report(progress: Progress) -> None:
        if teller.worth(progress, clock()):
            stream.send(progress)

    return report
