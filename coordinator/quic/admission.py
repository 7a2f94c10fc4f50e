"""Who may come in once a key is proved, and which keys there are to prove."""

from dataclasses import dataclass

from coordinator.links import Directory
from coordinator.records import WorkerRecord, WorkerStatus
from gogrid.errors import CloseCode
from gogrid.ids import WorkerId


@dataclass(frozen=True, slots=True)
class Refusal:
    code: CloseCode
    message: str


def refusal_of(record: WorkerRecord | None) -> Refusal | None:
    """Why a worker that proved its key may not come in; None if it may."""
    if record is None or record.status is WorkerStatus.REVOKED:
        return Refusal(CloseCode.REVOKED, "This worker was revoked by the coordinator's admin.")
    if record.status is WorkerStatus.PENDING:
        return Refusal(CloseCode.PENDING, f"The worker {record.name} waits for the admin's approval.")
    return None


class DirectoryKeys:
    """The directory as a session asks it: implements `gogrid.protocol.entrance.KeyLookup`."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def worker_key(self, worker_id: WorkerId) -> bytes | None:
        record = self._directory.worker(worker_id)
        return None if record is None else record.public_key

    def token_key(self, token_id: str) -> bytes | None:
        record = self._directory.token(token_id)
        return None if record is None else record.public_key
