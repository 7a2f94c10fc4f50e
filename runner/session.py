"""The seam between the QUIC shell of the runner (`link.py`) and the work it is given."""

from typing import Protocol

from gogrid.ids import JobId
from gogrid.protocol.messages import Assign, Cancel, Drain, JobMessage, LeaseHeld, Welcome


class JobStream(Protocol):
    """A job's own stream to the coordinator; `Finished` or `Failed` ends it. A dead link swallows what is sent."""

    @property
    def job_id(self) -> JobId: ...

    @property
    def epoch(self) -> int: ...

    def send(self, message: JobMessage) -> None: ...

    async def drained(self) -> None:
        """Wait until little enough is unsent for more to be worth producing."""


class SessionHandler(Protocol):
    """What the link tells; called on the event loop, must not block."""

    def welcomed(self, welcome: Welcome) -> None: ...

    def assigned(self, assign: Assign, stream: JobStream) -> None: ...

    def cancelled(self, cancel: Cancel) -> None: ...

    def drain(self, drain: Drain) -> None: ...

    def lost(self, leases: tuple[LeaseHeld, ...]) -> None:
        """These leases are no longer ours, or (`fence_s` without an answer) none is: kill that work at once."""

    def held(self) -> tuple[LeaseHeld, ...]:
        """The leases to renew with the next heartbeat."""

    def disconnected(self, reason: str) -> None: ...
