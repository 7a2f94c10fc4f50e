"""The steps of one job in the store: strictly one after the other, each insisted on while the store refuses.

So a statement never overtakes the one that it depends on, and a full disk delays a job's life but loses nothing of it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine

from coordinator.errors import CoordinatorError

log = logging.getLogger(__name__)

STORE_RETRY_S = 2.0
"""After the store refused a step (disk full, say), it is tried again this much later."""
Step = Callable[[], Coroutine[None, None, None]]


class Steps:
    def __init__(self, running: "set[asyncio.Task[None]]") -> None:
        """`running` holds the tasks under way, for whoever waits for them."""
        self._running = running
        self._waiting: deque[Step] = deque()
        self._task: asyncio.Task[None] | None = None
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

    def drop(self) -> None:
        """The job is over: forget what was to be done."""
        self._waiting.clear()

    def _start(self) -> None:
        if self._waiting and self._task is None and not self._held:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._running.add(self._task)
            self._task.add_done_callback(self._ended)

    async def _run(self) -> None:
        while self._waiting:
            step = self._waiting.popleft()
            while True:
                try:
                    await step()
                    break
                except CoordinatorError as error:
                    log.error("the store refused a step of a job and will be asked again: %s", error)
                    await asyncio.sleep(STORE_RETRY_S)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._task = None
        if not task.cancelled() and task.exception() is not None:
            log.error("a job's step failed in itself", exc_info=task.exception())
        self._start()
