"""The seam between the QUIC shell of the runner (`link/coordinator_link.py`) and the work it is given."""

from typing import Protocol

from gogrid.ids import JobId
from gogrid.protocol.job_messages import JobMessage
from gogrid.protocol.messages import Assign, Cancel, Drain, LeaseHeld, Welcome


class JobStream(Protocol):
    """A job's own stream to the coordinator; `Finished` or `Failed` ends it. A dead link swallows what is sent."""

    @property
    def job_id(self) -> JobId: ...

    @property
    def epoch(self) -> int: ...

    def send(self, message: JobMessage) -> None: ...

    def abandon(self) -> None:
        """End it without a result: the lease is not ours any more."""

    async def drained(self) -> None:
        """Wait until little enough is unsent for more to be worth producing."""


class SessionHandler(Protocol):
    """What the link tells; called on the event loop, must not block."""

    def welcomed(self, welcome: Welcome) -> None: ...

    def assigned(self, assign: Assign, stream: JobStream) -> None: ...

    def cancelled(self, cancel: Cancel) -> None: ...

    def drain(self, drain: Drain) -> None: ...

    def lost(self, leases: tuple[LeaseHeld, ...]) -> None:
        """These leases are no longer ours: kill that work at once."""

    def renewed(self, sent_at: float) -> None:
        """The coordinator has acknowledged the heartbeat that was sent then, in the event loop's time."""

    def settled(self, leases: tuple[LeaseHeld, ...]) -> None:
        """The coordinator keeps the ends of these durable jobs, or wants them no more: forget them."""

    def held(self) -> tuple[LeaseHeld, ...]:
        """The leases to renew with the next heartbeat; asked right after `welcomed`, too."""

    def disconnected(self, reason: str) -> None: ...
