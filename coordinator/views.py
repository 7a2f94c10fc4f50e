"""What the coordinator shows of its live state: immutable snapshots for the HTTP API and metrics."""

from dataclasses import dataclass
from typing import Protocol

from coordinator.records import WorkerRecord
from gogrid.ids import JobId, WorkerId
from gogrid.protocol.worker_report import WorkerReport


@dataclass(frozen=True, slots=True)
class WorkerView:
    record: WorkerRecord
    connected: bool
    silent: bool
    """Connected, but missing pings: gets no new work."""
    remote: str
    connected_since: float | None
    """Wall clock, seconds since 1970."""
    report: WorkerReport | None
    """None until the first one after connecting."""
    running: tuple[JobId, ...]
    models: tuple[str, ...]
    """Names of the models loaded now."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters since start; all integers grow only."""

    queued: int
    running: int
    accepted: int
    finished: int
    failed: int
    cancelled: int
    tokens_out: int
    tokens_in: int
    dead: int = 0
    """Of the failed ones: durable jobs that were given up because they crash."""
    crashes: int = 0
    """Leases of durable jobs that ended by a crash."""
    fenced: int = 0
    """Ends of durable jobs that came too late and were refused."""


class LiveState(Protocol):
    def workers(self) -> list[WorkerView]:
        """Every worker of the directory, connected ones first."""

    def worker_name(self, worker_id: WorkerId) -> str:
        """Its name, or its id if it is not known any more."""

    def holder_of_ticket(self, ticket: str) -> WorkerId | None:
        """The worker whose live session carries this HTTPS ticket; compared in constant time."""

    def may_fetch(self, worker_id: WorkerId, sha256: str) -> bool:
        """Whether the blob belongs to a model of the catalogue or to a job leased to this worker now."""

    def may_store(self, worker_id: WorkerId) -> int:
        """How many more bytes of output this worker may store now; 0 unless it holds a Python job."""

    def stored(self, worker_id: WorkerId, size: int) -> None:
        """The worker has stored `size` bytes of output: they count against what its Python jobs may still store."""

    def unready(self) -> list[str]:
        """What keeps `/readyz` from being true, in words; empty when ready."""

    def statistics(self) -> Statistics: ...
