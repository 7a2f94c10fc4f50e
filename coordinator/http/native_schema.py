"""The native API's shapes of workers and models: what `/api/v1/workers` and `/api/v1/models` give. Pure.

Sizes are bytes, times are seconds; points in time are seconds since 1970.
"""

import msgspec

from coordinator.http.model_status import ModelStatus, model_status
from coordinator.records import ModelRecord
from coordinator.views import WorkerView
from gogrid.protocol.measured import MeasuredSpeed
from gogrid.protocol.worker_report import Readiness


class DeviceShape(msgspec.Struct, frozen=True):
    kind: str
    name: str
    memory_bytes: int
    cap_bytes: int
    usable: bool
    why: str


class SpeedShape(msgspec.Struct, frozen=True):
    tokens_per_s: float
    """Of eight answers at once, together."""
    stream_tokens_per_s: float
    """Of one answer alone."""
    memory_bandwidth: float
    """Bytes each second that the device's memory reads and writes."""


class WorkerShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    status: str
    """`pending`, `approved` or `revoked`."""
    connected: bool
    silent: bool
    draining: bool
    """The admin drains it: it gets nothing new."""
    quarantined: str
    """Why it gets nothing before an admin releases it; empty: it is not."""
    readiness: str
    """`ready`, `paused`, `draining`, `unable`, `quarantined`, or `offline`."""
    reason: str
    platform: str
    software: str
    sandbox: str
    python_jobs: bool
    packages: list[str]
    """What scripts can import there besides the standard library, as far as it is well known: `numpy 2.4.6`."""
    gpu_scripts: bool
    """Whether its owner lends the GPU to scripts."""
    cores: int
    speed: SpeedShape | None
    """As its owner had it measured, with the same model on every worker; null: not yet."""
    devices: list[DeviceShape]
    models: list[str]
    running: int
    """How many jobs run on it now."""
    connected_since: float | None
    joined_at: float
    remote: str | None
    """Its address; for admins only."""
    object: str = "worker"


class WorkerListShape(msgspec.Struct, frozen=True):
    data: list[WorkerShape]
    object: str = "list"


class ModelShape(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    kind: str
    engine: str
    digest: str
    size_bytes: int
    memory_bytes: int
    context_length: int
    width: int
    added_at: float
    workers: list[str]
    """Names of the connected workers that have it loaded."""
    status: ModelStatus
    """Where it is."""
    object: str = "model"


class ModelListShape(msgspec.Struct, frozen=True):
    data: list[ModelShape]
    object: str = "list"


def _speed(speed: MeasuredSpeed) -> SpeedShape:
    return SpeedShape(speed.tokens_per_s, speed.stream_tokens_per_s, speed.memory_bandwidth)


def worker_shape(view: WorkerView, for_admin: bool) -> WorkerShape:
    report = view.report
    devices = report.devices if report else ()
    return WorkerShape(
        id=view.record.id,
        name=view.record.name,
        status=view.record.status.value,
        connected=view.connected,
        silent=view.silent,
        draining=view.record.draining,
        quarantined=view.record.quarantined,
        readiness=_readiness(view),
        reason=_reason(view),
        platform=report.platform if report else "",
        software=report.software if report else "",
        sandbox=report.sandbox if report else "",
        python_jobs=report.python_jobs if report else False,
        packages=list(report.packages) if report else [],
        gpu_scripts=report.gpu_scripts if report else False,
        cores=report.cores if report else 0,
        speed=_speed(report.speed) if report and report.speed else None,
        devices=[DeviceShape(d.kind.value, d.name, d.memory_bytes, d.cap_bytes, d.usable, d.why) for d in devices],
        models=list(view.models),
        running=len(view.running),
        connected_since=view.connected_since,
        joined_at=view.record.joined_at,
        remote=view.remote if for_admin else None,
    )


def _readiness(view: WorkerView) -> str:
    if not view.connected or view.report is None:
        return "offline"
    if view.record.quarantined:
        return "quarantined"
    ready = view.report.readiness is Readiness.READY
    return Readiness.DRAINING.value if ready and view.record.draining else view.report.readiness.value


def _reason(view: WorkerView) -> str:
    if view.record.quarantined:
        return f"{view.record.quarantined}; an admin lets it out: gogrid-coordinator worker release {view.record.id}"
    if not view.connected:
        return "not connected"
    if view.report is None:
        return "has not reported yet"
    if view.silent:
        return "does not answer"
    if view.record.draining:
        return "drained by the admin"
    return view.report.reason


def model_shape(record: ModelRecord, workers: list[WorkerView]) -> ModelShape:
    return ModelShape(
        name=record.name,
        kind=record.kind.value,
        engine=record.engine,
        digest=record.digest,
        size_bytes=record.size_bytes,
        memory_bytes=record.memory_bytes,
        context_length=record.context_length,
        width=record.width,
        added_at=record.added_at,
        workers=[view.record.name for view in workers if view.connected and record.name in view.models],
        status=model_status(record, workers),
    )
