"""How slow an answer may be. Pure: moments of a steady clock are given, in seconds.

Promises: a server that keeps a connection alive with a byte now and then is given up, however long it goes on: every
`window_s` must bring `least` bytes, else the time is over; without `least` one window is all there is.
"""

from dataclasses import dataclass

ANSWER_S = 30.0
"""A small answer must be there by then, from the first attempt to connect to its last byte."""
WINDOW_S, LEAST = 60.0, 256 << 10
"""A download is given up that brings less: some 4 kB a second."""


@dataclass(slots=True)
class Pace:
    began: float
    window_s: float
    least: int | None = None
    _came: int = 0

    def left(self, now: float) -> float:
        """Seconds; none are left: it is too slow."""
        return self.began + self.window_s - now

    def came(self, count: int, now: float) -> None:
        """So many bytes."""
        self._came += count
        if self.least is not None and self._came >= self.least:
            self.began, self._came = now, 0

    @property
    def problem(self) -> str:
        """What it is to be told when none are left."""
        if self.least is None:
            return f"it takes longer than {self.window_s:.0f} s"
        return f"it is too slow, fewer than {self.least} bytes came in {self.window_s:.0f} s"
