"""A durable job's stream, which outlives the link: what was said on it is said again on the next one.

Promises: after `attach` the coordinator has been sent all of the job's messages, in order, whatever links were lost; it
knows again by their numbers what it has already. What is kept is bounded by the job itself: its log limit, its answer.
"""

from gogrid.ids import JobId
from gogrid.protocol.job_messages import Failed, Finished, JobMessage, Progress
from gogrid.protocol.messages import LeaseHeld
from runner.session import JobStream


class KeptStream:
    """Implements `runner.session.JobStream`."""

    def __init__(self, job_id: JobId, epoch: int, stream: JobStream) -> None:
        self._lease = LeaseHeld(job_id=job_id, epoch=epoch)
        self._stream: JobStream | None = stream
        self._said: list[JobMessage] = []
        self.outcome: Finished | Failed | None = None
        """How the job ended; nothing can be said after it."""

    @property
    def job_id(self) -> JobId:
        return self._lease.job_id

    @property
    def epoch(self) -> int:
        return self._lease.epoch

    @property
    def lease(self) -> LeaseHeld:
        return self._lease

    def send(self, message: JobMessage) -> None:
        if self.outcome is not None:
            return
        if not isinstance(message, Progress):
            self._said.append(message)
        if isinstance(message, Finished | Failed):
            self.outcome = message
        if self._stream is not None:
            self._stream.send(message)

    def attach(self, stream: JobStream) -> None:
        """Go on over a new link."""
        self._stream = stream
        for message in self._said:
            stream.send(message)

    def detach(self) -> None:
        """The link is gone."""
        self._stream = None

    def abandon(self) -> None:
        if self._stream is not None:
            self._stream.abandon()

    async def drained(self) -> None:
        """Without a link there is nothing to wait for: the job goes on, its words are kept."""
        if self._stream is not None:
            await self._stream.drained()
