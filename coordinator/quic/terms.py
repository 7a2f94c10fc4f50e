"""What the coordinator tells every worker that it lets in."""

from dataclasses import dataclass

from coordinator.records import WorkerRecord
from gogrid.protocol.messages import Welcome


@dataclass(frozen=True, slots=True)
class Terms:
    """What the coordinator tells a worker in `Welcome`."""

    name: str
    """The coordinator's display name."""
    https_port: int
    heartbeat_s: float = 10.0
    lease_s: float = 30.0
    fence_s: float = 24.0
    ping_s: float = 5.0
    ping_timeout_s: float = 3.0

    def welcome(self, record: WorkerRecord, session_epoch: int, ticket: str) -> Welcome:
        return Welcome(
            worker_id=record.id,
            worker_name=record.name,
            session_epoch=session_epoch,
            heartbeat_s=self.heartbeat_s,
            lease_s=self.lease_s,
            fence_s=self.fence_s,
            ping_s=self.ping_s,
            ping_timeout_s=self.ping_timeout_s,
            ticket=ticket,
            https_port=self.https_port,
        )
