"""Several tickets read as one: answers in the order they come, in batches of whatever is ready.

Promises: leaving it frees every engine slot that is still held, whatever happened before; the first failure ends all;
no more than `_AHEAD` answers are taken before they are asked for, so that a slow client holds its workers back.
"""

import asyncio
from collections.abc import Sequence

from coordinator.errors import JobFailedError
from coordinator.tickets import Answer, Ticket
from gogrid.protocol.job_messages import FailCode, Finished

_AHEAD = 64

Numbered = tuple[int, Answer]
"""Which ticket, and what came."""


class Gather:
    """Reads all tickets at once; use as a context manager, so that nothing keeps running."""

    def __init__(self, tickets: Sequence[Ticket]) -> None:
        self._tickets = tickets
        self._ready: list[Numbered] = []
        self._waiter: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._failure: BaseException | None = None
        self._open = len(tickets)
        self._why_closed = "the client disconnected"

    def __enter__(self) -> "Gather":
        self._pumps = [asyncio.create_task(self._pump(at, ticket)) for at, ticket in enumerate(self._tickets)]
        return self

    def __exit__(self, *_: object) -> None:
        if self._open:
            for pump in self._pumps:
                pump.cancel()
            for ticket in self._tickets:
                ticket.cancel(self._why_closed)

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """Of the first ticket that no worker has: why, in words; empty: all have one."""
        return next((why for ticket in self._tickets if (why := ticket.waiting_for)), ())

    async def batch(self, patience: float | None = None) -> list[Numbered]:
        """What has come since the last call; waits for the first. Empty: all tickets have finished.

        Raises:
            TimeoutError: nothing came for `patience` seconds.
            CoordinatorError: a ticket failed; what came before it was handed out first.
        """
        if not self._ready and self._open and self._failure is None:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            expiry = None if patience is None else loop.call_later(patience, self._expire, self._waiter)
            try:
                await self._waiter
            finally:
                self._waiter = None
                if expiry is not None:
                    expiry.cancel()
        if self._ready:
            ready, self._ready = self._ready, []
            self._room.set()
            return ready
        if self._failure is not None:
            self._why_closed = "another answer of the same request failed"
            raise self._failure
        return []

    async def _pump(self, at: int, ticket: Ticket) -> None:
        finished = False
        try:
            async for answer in ticket.answers():
                self._ready.append((at, answer))
                finished = isinstance(answer, Finished)
                self._wake()
                if len(self._ready) >= _AHEAD:
                    self._room.clear()
                    await self._room.wait()
            if not finished:
                raise JobFailedError("The answer ended before it was complete.", FailCode.INTERNAL.value)
            self._open -= 1
        except Exception as error:  # noqa: BLE001 - carried to the reader of this request, which raises it
            self._failure = self._failure or error
        self._wake()

    def _expire(self, waiter: "asyncio.Future[None]") -> None:
        if not waiter.done():
            waiter.set_exception(TimeoutError())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
