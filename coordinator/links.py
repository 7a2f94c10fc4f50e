"""The seam between the QUIC shell and the coordinator's decisions: who may connect, and what a connection can do."""

from typing import Protocol

from coordinator.records import TokenRecord, WorkerRecord
from gogrid.errors import CloseCode
from gogrid.ids import JobId, WorkerId
from gogrid.protocol.job_messages import JobMessage
from gogrid.protocol.messages import Assign, Cancel, Drain, Heartbeat, HeartbeatAck, Refuse, Settled
from gogrid.protocol.worker_report import WorkerReport


class Directory(Protocol):
    """Who may connect; looked up in memory, so that a revocation takes effect at the next frame."""

    def worker(self, worker_id: WorkerId) -> WorkerRecord | None: ...

    def token(self, token_id: str) -> TokenRecord | None: ...

    async def look_again(self) -> None:
        """Somebody is not known: read what is new in the store, at once or soon. Raises `StoreUnavailableError`."""

    async def redeem(self, token_id: str, public_key: bytes, hostname: str) -> WorkerRecord:
        """Raises `TokenRefusedError`."""

    async def open_session(self, worker_id: WorkerId) -> int: ...


class WorkerLink(Protocol):
    """One authenticated worker connection. Calls never block and never raise; a dead link ignores them."""

    @property
    def worker(self) -> WorkerRecord: ...

    @property
    def session_epoch(self) -> int: ...

    @property
    def ticket(self) -> str:
        """The HTTPS bearer that this session's `Welcome` carried."""

    @property
    def remote(self) -> str:
        """`203.0.113.7:51820`, for display only."""

    def send(self, message: Assign | Cancel | Drain | HeartbeatAck | Settled) -> None: ...

    def consumed(self, job_id: JobId, epoch: int, size: int) -> None:
        """The owner of this job's stream has handled `size` bytes: the worker may send as many more."""

    def close(self, code: CloseCode, reason: str) -> None: ...


class LinkHandler(Protocol):
    """What the QUIC shell tells; called on the event loop, must not block."""

    def connected(self, link: WorkerLink) -> None:
        """After authentication. An older link of the same worker has been closed with `FENCED` before."""

    def reported(self, link: WorkerLink, report: WorkerReport) -> None: ...

    def refused(self, link: WorkerLink, refuse: Refuse) -> None: ...

    def heartbeat(self, link: WorkerLink, heartbeat: Heartbeat) -> None:
        """The handler answers with `HeartbeatAck` through `link.send`."""

    def job_message(self, link: WorkerLink, job_id: JobId, epoch: int, message: JobMessage, size: int) -> None:
        """`size` is what `link.consumed` must be told once the message is handled."""

    def job_stream_ended(self, link: WorkerLink, job_id: JobId, epoch: int) -> None:
        """The job's stream closed; without a `Finished` or `Failed` before it, the job is lost."""

    def disconnected(self, link: WorkerLink, reason: str, *, for_good: bool = False) -> None:
        """`for_good`: the worker said that it stops, or was revoked; else it may come back with what it holds."""

    def suspected(self, link: WorkerLink, silent: bool) -> None:
        """The worker missed (`silent`) or resumed answering pings; it stays connected."""
