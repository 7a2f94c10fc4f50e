"""Who is inside an executor at once: many requests, or one that has to be alone.

Promises: first come, first served. One that has to be alone waits until those inside have left, and whoever comes
after it waits behind it; neighbours in the queue that do not mind company go in together. Whoever leaves, from inside
or from the queue, lets in who may now: nobody waits for one that is gone. `Queue` decides, `Door` has them wait.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Queue:
    def __init__(self) -> None:
        self._last = 0
        self._waiting: deque[int] = deque()
        self._inside: set[int] = set()
        self._alone: set[int] = set()
        """Those here, waiting or inside, that mind company."""

    @property
    def open(self) -> bool:
        """Whether one that does not mind company would go in at once."""
        return not self._waiting and not self.has_loner

    @property
    def has_loner(self) -> bool:
        """Whether who is inside has to be alone."""
        return not self._alone.isdisjoint(self._inside)

    def come(self, *, alone: bool) -> int:
        """The number of who came; see `is_inside`."""
        self._last += 1
        self._waiting.append(self._last)
        if alone:
            self._alone.add(self._last)
        self._let_in()
        return self._last

    def is_inside(self, number: int) -> bool:
        return number in self._inside

    def leave(self, number: int) -> list[int]:
        """Who goes in instead."""
        if number in self._inside:
            self._inside.remove(number)
        else:
            self._waiting.remove(number)
        self._alone.discard(number)
        return self._let_in()

    def _let_in(self) -> list[int]:
        let_in: list[int] = []
        while self._waiting and not self.has_loner and not (self._inside and self._waiting[0] in self._alone):
            let_in.append(self._waiting.popleft())
            self._inside.add(let_in[-1])
        return let_in


class Door:
    """Use from one event loop."""

    def __init__(self) -> None:
        self._queue = Queue()
        self._waiting: dict[int, asyncio.Future[None]] = {}

    @property
    def open(self) -> bool:
        """Whether one that does not mind company would go in at once."""
        return self._queue.open

    @property
    def has_loner(self) -> bool:
        """Whether who is inside has to be alone."""
        return self._queue.has_loner

    @asynccontextmanager
    async def entered(self, *, alone: bool) -> AsyncIterator[bool]:
        """Be inside. Gives whether one had to wait: then much may have changed."""
        number = self._queue.come(alone=alone)
        waits = not self._queue.is_inside(number)
        try:
            if waits:
                turn = self._waiting[number] = asyncio.get_running_loop().create_future()
                await turn
            yield waits
        finally:
            self._waiting.pop(number, None)
            for other in self._queue.leave(number):
                turn = self._waiting[other]
                if not turn.done():
                    turn.set_result(None)
