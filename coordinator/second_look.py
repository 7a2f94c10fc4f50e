"""One more look at the store for whoever is not known: what they hold may have been made a moment ago.

The admin's commands write beside a running coordinator, which notices on a beat. Promises: for everyone who waits here
a look begins after the waiting did; all who wait share one look; however many come, a look begins `SPACING_S` after the
one before it at the earliest; nobody waits longer than `PATIENCE_S`. Whoever is known never comes here.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from coordinator.errors import StoreUnavailableError

SPACING_S = 0.25
PATIENCE_S = 4.0


class SecondLook:
    def __init__(
        self,
        look: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`look` reads what is new in the store; `clock` and `sleep` are in seconds."""
        self._look, self._clock, self._sleep = look, clock, sleep
        self._coming: asyncio.Task[None] | None = None
        """The look that has yet to begin."""
        self._one_at_a_time = asyncio.Lock()
        self._may_begin = clock()

    async def wait(self) -> None:
        """Returns behind a look that began after this was called.

        Raises:
            StoreUnavailableError: the store cannot be read now, or not in time.
        """
        if self._coming is None:
            self._coming = asyncio.create_task(self._look_in_turn())
            self._coming.add_done_callback(_seen)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.shield(self._coming)
        except TimeoutError:
            raise StoreUnavailableError("The coordinator cannot look into its database now; try again soon.") from None

    async def _look_in_turn(self) -> None:
        async with self._one_at_a_time:
            if (early_s := self._may_begin - self._clock()) > 0:
                await self._sleep(early_s)
            self._may_begin = self._clock() + SPACING_S
            self._coming = None
            await self._look()


def _seen(task: asyncio.Task[None]) -> None:
    """An error is told to those who still wait, and to nobody if all have gone."""
    if not task.cancelled():
        task.exception()
