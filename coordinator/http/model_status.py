"""Where a model is: loaded, on its way, or in a worker's cache. Shapes of both APIs, made from the workers' reports."""

from typing import Literal

import msgspec

from coordinator.interactive.loading import Loading, loading_of
from coordinator.records import ModelRecord
from coordinator.views import WorkerView
from gogrid.protocol.worker_report import WorkerReport


class LoadingDetail(msgspec.Struct, frozen=True):
    """How far a model is."""

    state: Literal["queued", "downloading", "converting", "loading"]
    progress: float
    """0..1 of this state."""
    eta_s: float | None
    """Seconds until it can answer; null: not known yet."""


class LoadingPlace(msgspec.Struct, frozen=True):
    worker: str
    state: str
    progress: float
    eta_s: float | None


class RefusingPlace(msgspec.Struct, frozen=True):
    worker: str
    reason: str


class ModelStatus(msgspec.Struct, frozen=True):
    state: Literal["loaded", "loading", "cached", "absent"]
    """The nearest to an answer that it is anywhere."""
    loaded: list[str]
    """Names of connected workers."""
    loading: list[LoadingPlace]
    cached: list[str]
    refused: list[RefusingPlace]
    """Workers that do not serve it for a while, and why."""


def loading_detail(loading: Loading) -> LoadingDetail:
    return LoadingDetail(loading.stage.value, round(loading.progress, 3), loading.eta_s)


def model_status(record: ModelRecord, workers: list[WorkerView]) -> ModelStatus:
    reports = [(view.record.name, view.report) for view in workers if view.connected and view.report is not None]
    loaded = [name for name, report in reports if any(one.digest == record.digest for one in report.loaded)]
    loading = [place for name, report in reports for place in _loading(name, report, record)]
    cached = [name for name, report in reports if record.digest in report.cached]
    refused = [
        RefusingPlace(name, one.reason) for name, report in reports for one in report.refused
        if one.digest == record.digest
    ]  # fmt: skip
    state: Literal["loaded", "loading", "cached", "absent"] = (
        "loaded" if loaded else "loading" if loading else "cached" if cached else "absent"
    )
    return ModelStatus(state, loaded, loading, cached, refused)


def _loading(name: str, report: WorkerReport, record: ModelRecord) -> list[LoadingPlace]:
    found = [loading_detail(loading_of(one)) for one in report.loading if one.digest == record.digest]
    return [LoadingPlace(name, one.state, one.progress, one.eta_s) for one in found]
