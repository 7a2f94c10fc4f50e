"""One job's way to the coordinator over one connection; see `runner.session.JobStream`."""

from typing import Protocol

from gogrid.errors import ProtocolError
from gogrid.ids import JobId
from gogrid.protocol.job_messages import FailCode, Failed, Finished, JobMessage
from gogrid.protocol.story import STORY_BYTES
from gogrid.protocol.worker_session import framed_fitting


class Carrier(Protocol):
    """What a job's stream asks of its connection."""

    def gather(self, stream: "QuicJobStream") -> None:
        """Call `turn_over` at the end of this turn of the event loop."""

    def tell_job(self, job_id: JobId, epoch: int, story: bytes) -> None:
        """Send all of a lease at once."""

    def open_job_stream(self, job_id: JobId, epoch: int) -> int | None:
        """The new stream's id; None on a dead link."""

    def send_job(self, stream_id: int, message: JobMessage) -> None: ...

    def abandon_job(self, stream_id: int) -> None: ...

    async def drained(self, stream_id: int) -> None: ...


class QuicJobStream:
    """Implements `runner.session.JobStream`.

    A job that says little and ends in the turn of the event loop in which it began to speak is told in one message on
    the control stream; any other gets a QUIC stream at the end of that turn.
    """

    def __init__(self, carrier: Carrier, job_id: JobId, epoch: int) -> None:
        self._carrier = carrier
        self._job_id = job_id
        self._epoch = epoch
        self._held: list[JobMessage] = []
        self._story = b""
        """The frames of what is held."""
        self._stream_id: int | None = None
        self._over = False

    @property
    def job_id(self) -> JobId:
        return self._job_id

    @property
    def epoch(self) -> int:
        return self._epoch

    def send(self, message: JobMessage) -> None:
        if self._over:
            return
        if self._stream_id is not None:
            self._write(self._stream_id, message)
            return
        try:
            framed = framed_fitting(message)
        except ProtocolError as error:
            message = _too_large(error)
            framed = framed_fitting(message)
        if not self._held:
            self._carrier.gather(self)
        self._held.append(message)
        self._story += framed
        if len(self._story) > STORY_BYTES:
            self.turn_over()
        elif isinstance(message, Finished | Failed):
            self._carrier.tell_job(self._job_id, self._epoch, self._story)
            self._drop()
            self._over = True

    def turn_over(self) -> None:
        """What is held goes on a stream: the end did not come soon enough."""
        if not self._held:
            return
        held = self._drop()
        self._stream_id = self._carrier.open_job_stream(self._job_id, self._epoch)
        if self._stream_id is None:
            self._over = True
            return
        for message in held:
            self._write(self._stream_id, message)

    def abandon(self) -> None:
        if self._held:
            self.turn_over()
        if self._stream_id is not None and not self._over:
            self._carrier.abandon_job(self._stream_id)
        self._over = True

    async def drained(self) -> None:
        if self._stream_id is not None:
            await self._carrier.drained(self._stream_id)

    def _write(self, stream_id: int, message: JobMessage) -> None:
        try:
            self._carrier.send_job(stream_id, message)
        except ProtocolError as error:
            message = _too_large(error)
            self._carrier.send_job(stream_id, message)
        self._over = isinstance(message, Finished | Failed)

    def _drop(self) -> list[JobMessage]:
        held, self._held, self._story = self._held, [], b""
        return held


def _too_large(error: ProtocolError) -> Failed:
    return Failed(code=FailCode.INTERNAL, message=f"A result was too large to send: {error}"[:500])
