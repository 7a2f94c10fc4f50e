"""A worker connection without a network: implements `coordinator.links.WorkerLink` and remembers what it was told."""

from coordinator.records import WorkerRecord, WorkerStatus
from gogrid.errors import CloseCode
from gogrid.ids import JobId, WorkerId
from gogrid.protocol.messages import Assign, Cancel, Drain, HeartbeatAck, LeaseHeld, Settled


class MemoryLink:
    def __init__(self, name: str, *, draining: bool = False) -> None:
        self.worker = WorkerRecord(WorkerId(name), name, b"k" * 32, WorkerStatus.APPROVED, draining, 1, 0.0, "t")
        self.session_epoch = 1
        self.ticket = f"ticket-{name}"
        self.remote = "127.0.0.1:1"
        self.sent: list[Assign | Cancel | Drain | HeartbeatAck | Settled] = []
        self.credit: dict[tuple[JobId, int], int] = {}
        self.closed: CloseCode | None = None

    def send(self, message: Assign | Cancel | Drain | HeartbeatAck | Settled) -> None:
        self.sent.append(message)

    def consumed(self, job_id: JobId, epoch: int, size: int) -> None:
        self.credit[job_id, epoch] = self.credit.get((job_id, epoch), 0) + size

    def close(self, code: CloseCode, reason: str) -> None:
        self.closed = code

    def assigned(self) -> list[Assign]:
        return [message for message in self.sent if isinstance(message, Assign)]

    def cancelled(self) -> list[Cancel]:
        return [message for message in self.sent if isinstance(message, Cancel)]

    def settled(self) -> list[LeaseHeld]:
        return [lease for message in self.sent if isinstance(message, Settled) for lease in message.leases]
