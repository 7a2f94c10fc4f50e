"""Until when the leases of this worker are its own: a pure core.

Counted from when the last heartbeat was *sent* that the coordinator has acknowledged, through every lost link and every
reconnect: a new session renews nothing by itself. So the worker gives its work up before the coordinator can have given
it to another one.
"""


class Fence:
    def __init__(self) -> None:
        self._fence_s = 0.0
        self._renewed_at: float | None = None

    @property
    def at(self) -> float | None:
        """When every lease has to be given up; None before the first session."""
        return None if self._renewed_at is None else self._renewed_at + self._fence_s

    def opened(self, now: float, fence_s: float, *, holding: bool) -> None:
        """A session opened with these terms; `holding`: leases of an earlier session are still held."""
        self._fence_s = fence_s
        if self._renewed_at is None or not holding:
            self._renewed_at = now

    def renewed(self, sent_at: float) -> None:
        """A heartbeat that was sent then has been acknowledged."""
        if self._renewed_at is None or sent_at > self._renewed_at:
            self._renewed_at = sent_at
