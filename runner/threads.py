"""Blocking work off the event loop, in threads that never hold up the end of the process.

Promises: each piece of work has a thread to itself at once, however many others hang; a thread that is done serves the
next piece if one comes within `_SPARE_S`, because looks that repeat several times a second would otherwise spend more
on their threads than on looking.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")
_Body = Callable[[], Callable[[], None]]
"""The work; what it returns tells how it went."""
_SPARE_S = 10.0
"""How long a thread without work is kept."""
_SPARE_NAME = "spare"


async def in_thread(work: Callable[[threading.Event], T], name: str) -> T:
    """Run `work` in a daemon thread and return what it returns or raise what it raises.

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

    def body() -> Callable[[], None]:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work(stop)
        except BaseException as raised:  # noqa: BLE001  # handed to the awaiting task whole
            error = raised

        def tell() -> None:
            with suppress(RuntimeError):  # the loop has ended, so nobody waits
                loop.call_soon_threadsafe(settle, result, error)

        return tell

    _threads.run(body, name)
    try:
        return await outcome
    finally:
        stop.set()


class _Threads:
    """Those that have nothing to do, the last used first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spare: list[_Kept] = []

    def run(self, body: _Body, name: str) -> None:
        with self._lock:
            kept = self._spare.pop() if self._spare else None
        if kept is not None:
            kept.next.put((body, name))
        else:
            _Kept(self, body, name).start()

    def spare(self, kept: "_Kept") -> None:
        with self._lock:
            self._spare.append(kept)

    def leaves(self, kept: "_Kept") -> bool:
        """Whether it may end; not if work was given to it just now."""
        with self._lock:
            if kept not in self._spare:
                return False
            self._spare.remove(kept)
            return True


class _Kept(threading.Thread):
    def __init__(self, threads: _Threads, body: _Body, name: str) -> None:
        super().__init__(daemon=True)
        self._threads = threads
        self.next: SimpleQueue[tuple[_Body, str]] = SimpleQueue()
        self.next.put((body, name))

    def run(self) -> None:
        while True:
            try:
                body, self.name = self.next.get(timeout=_SPARE_S)
            except Empty:
                if self._threads.leaves(self):
                    return
                continue
            tell = body()
            self.name = _SPARE_NAME
            self._threads.spare(self)  # before it tells, so that whoever goes on from there finds it
            tell()
            del body, tell


_threads = _Threads()
