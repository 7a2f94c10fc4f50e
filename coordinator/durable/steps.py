"""The steps of one job in the store: strictly one after the other, each insisted on while the store refuses.

So a statement never overtakes the one that it depends on, and a full disk delays a job's life but loses nothing of it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from coordinator.errors import CoordinatorError

log = logging.getLogger(__name__)

STORE_RETRY_S = 2.0
"""After the store refused a step (disk full, say), it is tried again this much later."""
Step = Callable[[], Coroutine[None, None, None]]


Item = TypeVar("Item")


class Batch(Generic[Item]):
    """Items of many jobs, done together once in each turn of the event loop, and insisted on."""

    def __init__(
        self, do: Callable[[list[Item]], Coroutine[None, None, None]], running: "set[asyncio.Task[None]]"
    ) -> None:
        """`do` does all items or, by a `CoordinatorError`, none."""
        self._do = do
        self._running = running
        self._items: list[Item] = []
        self._told: list[Callable[[], None]] = []

    def add(self, item: Item, done: Callable[[], None]) -> None:
        """`done` is called when the item has been done."""
        if not self._items:
            task = asyncio.get_running_loop().create_task(self._insist())
            self._running.add(task)
            task.add_done_callback(self._ended)
        self._items.append(item)
        self._told.append(done)

    async def _insist(self) -> None:
        items, self._items = self._items, []  # a task begins in the next turn: these are all of this one
        told, self._told = self._told, []
        try:
            await _insist(partial(self._do, items))
        finally:
            for done in told:
                done()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("steps of jobs failed in themselves", exc_info=task.exception())


class Steps:
    def __init__(self, running: "set[asyncio.Task[None]]") -> None:
        """`running` holds the tasks under way, for whoever waits for them."""
        self._running = running
        self._waiting: deque[Step | _Shared] = deque()
        self._busy = False
        self._held = False

    def hold(self) -> None:
        """Take no step before `go`."""
        self._held = True

    def go(self) -> None:
        self._held = False
        self._start()

    def add(self, step: Step) -> None:
        self._waiting.append(step)
        self._start()

    def add_to(self, batch: Batch[Item], item: Item) -> None:
        """A step that is taken together with those of other jobs."""
        self._waiting.append(_Shared(partial(batch.add, item, self._next)))
        self._start()

    def drop(self) -> None:
        """The job is over: forget what was to be done."""
        self._waiting.clear()

    def _start(self) -> None:
        if not self._waiting or self._busy or self._held:
            return
        self._busy = True
        step = self._waiting.popleft()
        if isinstance(step, _Shared):
            step.begin()
            return
        task = asyncio.get_running_loop().create_task(_insist(step))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _next(self) -> None:
        self._busy = False
        self._start()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a job's step failed in itself", exc_info=task.exception())
        self._next()


@dataclass(frozen=True, slots=True)
class _Shared:
    begin: Callable[[], None]


async def _insist(step: Step) -> None:
    while True:
        try:
            await step()
            return
        except CoordinatorError as error:
            log.error("the store refused a step and will be asked again: %s", error)
            await asyncio.sleep(STORE_RETRY_S)
