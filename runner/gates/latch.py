"""A yes or no that does not flutter: it changes only after the other answer has held for a while.

Promises: after it closes, it stays closed for at least `open_after_s`; after it opens, open for `close_after_s`. What
cannot be seen (None) opens it at once.
"""


class Latch:
    def __init__(self, close_after_s: float = 0.0, open_after_s: float = 0.0) -> None:
        self._close_after_s, self._open_after_s = close_after_s, open_after_s
        self._since: float | None = None
        """Since when what is seen has disagreed with `closed`."""
        self.closed = False

    def seen(self, bad: bool | None, now: float) -> bool:
        """Whether it is closed.

        Args:
            now: monotonic seconds.
        """
        if bad is None:
            self.closed, self._since = False, None
        elif bad is self.closed:
            self._since = None
        else:
            self._since = now if self._since is None else self._since
            if now - self._since >= (self._close_after_s if bad else self._open_after_s):
                self.closed, self._since = bad, None
        return self.closed
