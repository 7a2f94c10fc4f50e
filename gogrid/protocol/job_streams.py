"""What a worker says on the streams of its jobs, as the coordinator takes it in, without I/O.

Promises: a job's stream begins with `JobOpen`, ends with at most one `Finished` or `Failed`, and is cut nowhere but
between messages; a lease has one stream, a connection at most `MAX_JOB_STREAMS`. Anything else is a `ProtocolError`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from gogrid.errors import ProtocolError
from gogrid.ids import JobId
from gogrid.protocol.codec import decode_job
from gogrid.protocol.framing import HEADER_SIZE, MAX_FRAME, FrameDecoder
from gogrid.protocol.job_messages import Failed, Finished, JobMessage, JobOpen, JobStreamMessage
from gogrid.protocol.session import MAX_JOB_STREAMS


class JobSaid(msgspec.Struct, frozen=True):
    """A message of a job; `size` bytes are to be credited to `stream_id` once it is handled, 0 of a story."""

    stream_id: int
    job_id: JobId
    epoch: int
    message: JobMessage
    size: int


class JobStreamEnded(msgspec.Struct, frozen=True):
    stream_id: int
    job_id: JobId
    epoch: int


class JobStreams:
    """Those of one connection."""

    def __init__(self, credit: Callable[[int, int], None], over: Callable[[JobId, int], None]) -> None:
        """
        Args:
            credit: told stream and size of what is handled here already.
            over: told of a lease that says nothing more that anybody waits for.
        """
        self._credit, self._over = credit, over
        self._streams: dict[int, _JobStream] = {}

    def has(self, job_id: JobId, epoch: int) -> bool:
        """Whether this lease has a stream."""
        return any(stream.lease == (job_id, epoch) for stream in self._streams.values())

    def receive(self, stream_id: int, data: bytes, end: bool, tell: Callable[[JobSaid | JobStreamEnded], None]) -> None:
        """Bytes came on a stream, `end` if they are its last: `tell` hears each message of them in turn.

        Raises:
            ProtocolError: they have no place there; what came before them was told.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            if len(self._streams) >= MAX_JOB_STREAMS:
                raise ProtocolError(f"More than {MAX_JOB_STREAMS} job streams at once.")
            stream = self._streams[stream_id] = _JobStream()
        for frame in stream.decoder.feed(data):
            message = decode_job(frame)
            size = HEADER_SIZE + len(frame)
            if stream.finished:
                raise ProtocolError(f"A {type(message).__name__} message came after a job's end.")
            if stream.lease is None:
                stream.lease = self._opened(message)
                self._credit(stream_id, size)
                continue
            if isinstance(message, JobOpen):
                raise ProtocolError("A job stream was opened twice.")
            if isinstance(message, Finished | Failed):
                stream.finished = True
                self._over(*stream.lease)
            tell(JobSaid(stream_id, *stream.lease, message, size))
        if end:
            if stream.decoder.buffered or stream.lease is None:
                raise ProtocolError("A job stream ended in the middle of a message.")
            del self._streams[stream_id]
            self._over(*stream.lease)
            tell(JobStreamEnded(stream_id, *stream.lease))

    def reset(self, stream_id: int) -> JobStreamEnded | None:
        """The worker gave up a stream; None: it had said nothing on it."""
        stream = self._streams.pop(stream_id, None)
        if stream is None or stream.lease is None:
            return None
        self._over(*stream.lease)
        return JobStreamEnded(stream_id, *stream.lease)

    def clear(self) -> None:
        self._streams.clear()

    def _opened(self, message: JobStreamMessage) -> tuple[JobId, int]:
        if not isinstance(message, JobOpen):
            raise ProtocolError("A job stream did not begin with JobOpen.")
        if self.has(message.job_id, message.epoch):
            raise ProtocolError("Two streams were opened for one lease.")
        return message.job_id, message.epoch


@dataclass(slots=True, eq=False)
class _JobStream:
    decoder: FrameDecoder = field(default_factory=lambda: FrameDecoder(MAX_FRAME))
    lease: tuple[JobId, int] | None = None
    finished: bool = False
