"""Slow work in a thread that nobody waits for at the end: a connection that hangs must not hold up an exit."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def apart(deed: Callable[[], T], name: str) -> T:
    """What `deed` returns or raises. Cancelled, it goes on alone and its outcome is lost."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]  # there is a result where there is no error

    def run() -> None:
        result, problem = None, None
        try:
            result = deed()
        except Exception as error:  # noqa: BLE001  # it is raised again where it is waited for
            problem = error
        with suppress(RuntimeError):  # the loop is gone, and with it whoever waited
            loop.call_soon_threadsafe(tell, result, problem)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await outcome
