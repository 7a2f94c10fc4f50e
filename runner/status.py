"""The answer to `gogrid-worker status`, put together from what the parts say of themselves."""

import os

from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask, PythonTask, Task
from runner.control_messages import ModelState, RunningJob, WorkerStatus
from runner.engine_pack.progress import EngineProgress
from runner.facts import Facts
from runner.models.cache import ModelCache
from runner.serving.pool import ExecutorPool
from runner.work import Work


def worker_status(
    facts: Facts,
    work: Work,
    pool: ExecutorPool | None,
    cache: ModelCache,
    *,
    coordinator: str,
    dashboard: str,
    connection: str,
    now: float,
    tokens_per_s: float,
    unseen: tuple[str, ...],
    engine: EngineProgress,
    settings_trouble: str,
) -> WorkerStatus:
    """Args: `now` in monotonic seconds, as given to `work`."""
    readiness, reason = work.readiness
    return WorkerStatus(
        software=facts.software,
        worker=work.name,
        readiness=readiness,
        reason=reason,
        coordinator=coordinator,
        connected=work.session is not None,
        connection=connection,
        device=facts.device.why,
        devices=facts.devices,
        sandbox=facts.sandbox,
        python_jobs=facts.python_jobs,
        jobs=tuple(
            RunningJob(
                job_id=job.assign.job_id,
                kind=_kind(job.assign.task),
                model="" if isinstance(job.assign.task, PythonTask) else job.assign.task.model.name,
                seconds=round(now - job.since, 1),
            )
            for job in work.jobs
        ),
        models=_models(work, pool, cache),
        jobs_done=work.done,
        jobs_failed=work.failed,
        pid=os.getpid(),
        tokens_per_s=tokens_per_s,
        holds=work.holds.reasons,
        paused_until=work.holds.paused_until,
        order=work.holds.order,
        dashboard=dashboard,
        unseen=unseen,
        engine=engine.words,
        engine_state=engine.state,
        settings_trouble=settings_trouble,
        memory_in_use=pool.memory_held if pool is not None else 0,
    )


def _models(work: Work, pool: ExecutorPool | None, cache: ModelCache) -> tuple[ModelState, ...]:
    loaded = pool.loaded if pool is not None else ()
    found = [
        ModelState(
            digest=model.digest,
            name=work.names.get(model.digest, ""),
            state="loaded",
            memory_bytes=model.memory_bytes,
            running=model.running,
        )
        for model in loaded
    ]
    found += [
        ModelState(
            digest=download.digest,
            name=work.names.get(download.digest, ""),
            state="downloading",
            fraction=round(download.fraction, 3),
        )
        for download in cache.downloads
    ]
    shown = {model.digest for model in found}
    found += [
        ModelState(digest=digest, name=work.names.get(digest, ""), state="cached")
        for digest in cache.cached
        if digest not in shown
    ]
    return tuple(found)


def _kind(task: Task) -> str:
    names = {ChatTask: "chat", CompletionTask: "completion", EmbeddingTask: "embedding", PythonTask: "python"}
    return names[type(task)]
