"""A job's stream to the coordinator that ends in a list."""

import asyncio

from gogrid.ids import JobId
from gogrid.protocol.job_messages import Failed, Finished, JobMessage


class MemoryStream:
    """Implements `runner.session.JobStream`."""

    def __init__(self, job_id: JobId, epoch: int = 1) -> None:
        self.job_id, self.epoch = job_id, epoch
        self.messages: list[JobMessage] = []
        self.ended = asyncio.Event()
        self.begun = asyncio.Event()
        self.abandoned = False

    def send(self, message: JobMessage) -> None:
        if self.ended.is_set():
            return
        self.messages.append(message)
        self.begun.set()
        if isinstance(message, Finished | Failed):
            self.ended.set()

    def abandon(self) -> None:
        self.abandoned = True

    async def drained(self) -> None:
        return

    @property
    def last(self) -> JobMessage:
        return self.messages[-1]
