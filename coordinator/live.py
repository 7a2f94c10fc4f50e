"""The coordinator's live state as others may see it: implements `coordinator.views.LiveState`.

Promises: a worker may fetch only blobs of the catalogue's models and inputs of the jobs leased to it now, and store
only as much output as those jobs may have; tickets are compared in constant time.
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class _Allowance:
    """What a worker may still store: each lease adds its share once, and what is left is no more than all have."""

    leases: frozenset[tuple[JobId, int]] = frozenset()
    left: int = 0


class Live:
    """See the module's contract."""

    def __init__(self, directory: Directory, dispatcher: Dispatcher, blobs: BlobStore, tally: Tally) -> None:
        self._directory = directory
        self._dispatcher = dispatcher
        self._blobs = blobs
        self._tally = tally
        self._model_blobs: dict[Sha256, frozenset[str]] = {}
        self._allowances: dict[WorkerId, _Allowance] = {}
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
        leases = self._dispatcher.leases_of(worker_id).items()
        grants = {
            lease: task.limits.output_bytes + _UPLOAD_SLACK_BYTES
            for lease, task in leases
            if isinstance(task, PythonTask)
        }
        if not grants:
            self._allowances.pop(worker_id, None)
            return 0
        before = self._allowances.get(worker_id, _Allowance())
        left = before.left + sum(grants[lease] for lease in grants.keys() - before.leases)
        allowance = _Allowance(frozenset(grants), min(left, sum(grants.values())))
        self._allowances[worker_id] = allowance
        return allowance.left

    def stored(self, worker_id: WorkerId, size: int) -> None:
        if (before := self._allowances.get(worker_id)) is not None:
            self._allowances[worker_id] = _Allowance(before.leases, max(0, before.left - size))

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
