"""One timer per connection, moved without cost.

QUIC changes its mind about the next deadline with nearly every packet. A timer that comes too early only looks again,
so a deadline that is little later leaves the event loop's timer where it is; one that is much later moves it, because
to wake up for nothing costs more.
"""

import asyncio
from collections.abc import Callable

_MUCH_LATER_S = 0.02


class LazyTimer:
    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        """`callback` finds out by itself what is due; it may come early."""
        self._loop = loop
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None
        self._at = 0.0

    def need_by(self, at: float | None) -> None:
        """Call back at this time of the loop's clock or before; None: no need."""
        if at is None:
            return
        if self._handle is not None:
            if self._at <= at < self._at + _MUCH_LATER_S:
                return
            self._handle.cancel()
        self._at = at
        self._handle = self._loop.call_at(at, self._fire)

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        self._callback()
