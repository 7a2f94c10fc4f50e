"""Blocking work off the event loop, in threads that never hold up the end of the process."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[threading.Event], T], name: str) -> T:
    """Run `work` in a daemon thread of its own and return what it returns or raise what it raises.

    Args:
        work: gets an event that is set when the caller is cancelled; it should then end soon, its result is dropped.
        name: shown in thread dumps.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()
    stop = threading.Event()

    def settle(result: T | None, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]  # None only where T allows it

    def body() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work(stop)
        except BaseException as raised:  # noqa: BLE001  # handed to the awaiting task whole
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            return  # the loop has ended, so nobody waits

    threading.Thread(target=body, name=name, daemon=True).start()
    try:
        return await outcome
    finally:
        stop.set()
