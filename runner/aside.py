"""Small files read and written beside the event loop, with a time limit: a disk that hangs holds nothing else up.

Promises: one piece of work at a time, in the order asked; while one hangs, those behind it are refused in words.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from gogrid.errors import ConfigError
from runner.threads import in_thread

LONGEST_S = 3.0
"""Less than whoever asks over the local socket waits."""
T = TypeVar("T")


class Aside:
    """Use from one event loop."""

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        self._longest_s = longest_s
        self._under_way: asyncio.Task[object] | None = None

    async def do(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Raises `ConfigError` if it is not done in time; it goes on all the same."""
        try:
            async with asyncio.timeout(self._longest_s):
                while self._under_way is not None and not self._under_way.done():
                    await asyncio.wait((self._under_way,))
                task = asyncio.create_task(in_thread(lambda _stop: work(), "settings"), name="settings work")
                task.add_done_callback(_heard)
                self._under_way = task
                return await asyncio.shield(task)
        except TimeoutError:
            raise ConfigError(hangs_for(self._longest_s)) from None


def hangs_for(seconds: float) -> str:
    return f"The disk with the settings has not answered for {seconds:g} s; see whether it hangs."


def _heard(task: asyncio.Task[T]) -> None:
    """Nobody waits any more for what came too late."""
    if not task.cancelled():
        task.exception()
