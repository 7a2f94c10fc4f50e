"""What a worker says of itself to its coordinator, put together from its parts."""

from msgspec.structs import replace

from gogrid.protocol.measured import MeasuredSpeed
from gogrid.protocol.worker_report import Readiness, WorkerReport
from runner.facts import Facts
from runner.holds import Holds
from runner.models.cache import ModelCache
from runner.serving.pool import ExecutorPool

_LONGEST_REASON = 1000


def worker_report(
    facts: Facts, holds: Holds, pool: ExecutorPool | None, cache: ModelCache, speed: MeasuredSpeed | None
) -> WorkerReport:
    readiness, reason = holds.readiness(facts.standing)
    return WorkerReport(
        software=facts.software,
        hostname=facts.hostname,
        platform=facts.platform,
        readiness=readiness,
        reason="; ".join(dict.fromkeys(filter(None, (holds.told(reason), facts.engine_note, facts.update_note))))[
            :_LONGEST_REASON
        ],
        devices=facts.devices,
        engines=facts.engines if pool is not None else (),
        sandbox=facts.sandbox,
        python_jobs=facts.python_jobs,
        loaded=pool.loaded if pool is not None else (),
        cached=cache.cached,
        cores=facts.cores,
        loading=pool.loading if pool is not None else (),
        refused=pool.refused if pool is not None else (),
        packages=facts.packages,
        gpu_scripts=facts.gpu_scripts,
        speed=speed,
    )


def bare(report: WorkerReport) -> WorkerReport:
    """The same worker in few bytes, for when all of it fits into no message: nothing is placed on it."""
    ready = report.readiness is Readiness.READY
    return replace(
        report,
        readiness=Readiness.UNABLE if ready else report.readiness,
        reason="its report is longer than any message may be" if ready else report.reason[:_LONGEST_REASON],
        sandbox=report.sandbox[:_LONGEST_REASON],
        devices=(),
        loaded=(),
        cached=(),
        loading=(),
        refused=(),
        packages=(),
    )
