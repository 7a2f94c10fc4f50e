"""A word to a person who waits, if nothing has happened for a while."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def after(seconds: float, say: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Call `say` after that long, from a thread of its own, unless the block ends or what is yielded was called."""
    timer = threading.Timer(seconds, say)
    timer.daemon = True
    timer.start()
    try:
        yield timer.cancel
    finally:
        timer.cancel()
