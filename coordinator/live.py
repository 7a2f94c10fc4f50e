"""The coordinator's live state as others may see it: implements `coordinator.views.LiveState`.

Promises: a worker may fetch only blobs of the catalogue's models and inputs of the jobs leased to it now, and store
only as much output as those jobs may have; tickets are compared in constant time.
"""

import hmac
from collections.abc import Iterable

from coordinator.directory import Directory
from coordinator.dispatch.dispatcher import Connection, Dispatcher
from coordinator.models.catalogue import blobs_of
from coordinator.records import ModelRecord, WorkerRecord
from coordinator.state.blobs import BlobStore
from coordinator.tally import Tally
from coordinator.views import Statistics, WorkerView
from gogrid.ids import JobId, Sha256, WorkerId
from gogrid.protocol.tasks import PythonTask

_UPLOAD_SLACK_BYTES = 1 << 20
"""Above a job's output limit: a worker may send a file again whose acknowledgement was lost."""


class Live:
    """See the module's contract."""

    def __init__(self, directory: Directory, dispatcher: Dispatcher, blobs: BlobStore, tally: Tally) -> None:
        self._directory = directory
        self._dispatcher = dispatcher
        self._blobs = blobs
        self._tally = tally
        self._model_blobs: dict[Sha256, frozenset[str]] = {}
        self._stored: dict[WorkerId, int] = {}
        self._unready = ["the coordinator is starting"]

    def set_unready(self, reasons: list[str]) -> None:
        """What `/readyz` says from now on."""
        self._unready = reasons

    def learn_models(self, models: Iterable[ModelRecord]) -> None:
        """Read the manifests of models that are new; forget those that are gone."""
        known = self._model_blobs
        self._model_blobs = {
            model.digest: known.get(model.digest) or frozenset(blobs_of(model, self._blobs)) for model in models
        }

    @property
    def model_blobs(self) -> frozenset[str]:
        """Every blob of the catalogue's models."""
        return frozenset().union(*self._model_blobs.values())

    # LiveState

    def workers(self) -> list[WorkerView]:
        names = {model.digest: model.name for model in self._directory.catalogue.models()}
        connections = self._dispatcher.connections()
        views = [self._view(record, connections.get(record.id), names) for record in self._directory.workers()]
        return sorted(views, key=lambda view: not view.connected)

    def worker_name(self, worker_id: WorkerId) -> str:
        record = self._directory.worker(worker_id)
        return record.name if record is not None else worker_id

    def holder_of_ticket(self, ticket: str) -> WorkerId | None:
        holder = None
        for worker_id, connection in self._dispatcher.connections().items():
            if hmac.compare_digest(connection.link.ticket.encode(), ticket.encode()):
                holder = worker_id
        return holder

    def may_fetch(self, worker_id: WorkerId, sha256: str) -> bool:
        if any(sha256 in blobs for blobs in self._model_blobs.values()):
            return True
        return any(file.sha256 == sha256 for task in self._scripts(worker_id).values() for file in task.files)

    def may_store(self, worker_id: WorkerId) -> int:
        scripts = self._scripts(worker_id)
        if not scripts:
            self._stored.pop(worker_id, None)
            return 0
        allowed = sum(task.limits.output_bytes + _UPLOAD_SLACK_BYTES for task in scripts.values())
        return max(0, allowed - self._stored.get(worker_id, 0))

    def stored(self, worker_id: WorkerId, size: int) -> None:
        self._stored[worker_id] = self._stored.get(worker_id, 0) + size

    def unready(self) -> list[str]:
        return list(self._unready)

    def statistics(self) -> Statistics:
        tally = self._tally
        return Statistics(
            queued=self._dispatcher.waiting,
            running=self._dispatcher.leased,
            accepted=tally.accepted,
            finished=tally.finished,
            failed=tally.failed,
            cancelled=tally.cancelled,
            tokens_out=tally.tokens_out,
            tokens_in=tally.tokens_in,
            dead=tally.dead,
            crashes=tally.crashes,
            fenced=tally.fenced,
        )

    def _scripts(self, worker_id: WorkerId) -> dict[JobId, PythonTask]:
        return {job_id: task for job_id, task in self._dispatcher.tasks_of(worker_id) if isinstance(task, PythonTask)}

    def _view(self, record: WorkerRecord, connection: Connection | None, names: dict[Sha256, str]) -> WorkerView:
        report = self._dispatcher.report(record.id)
        return WorkerView(
            record=record,
            connected=connection is not None,
            silent=self._dispatcher.is_silent(record.id),
            remote=connection.link.remote if connection is not None else "",
            connected_since=connection.since if connection is not None else None,
            report=report,
            running=tuple(job_id for job_id, _ in self._dispatcher.tasks_of(record.id)),
            models=tuple(names.get(model.digest, model.digest[:12]) for model in report.loaded) if report else (),
        )
