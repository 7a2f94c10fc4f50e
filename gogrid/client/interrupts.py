"""A request to end, or a terminal that is closed, ends a command as Ctrl-C does: what it began is cancelled.

Who has asked for one of these signals to be ignored (`nohup`) is obeyed.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def as_ctrl_c() -> Iterator[None]:
    """Raises KeyboardInterrupt wherever the block is when the signal comes. Use in the main thread."""
    taken = [number for number in _NUMBERS if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
