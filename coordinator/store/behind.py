"""What waits to be written behind: ended interactive requests and lines of logs, within a bound.

Over the bound the oldest requests, and the newest lines, are given up and counted: history may have holes, memory may
not grow. Plain values; no clock, no database.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.records import JobOutcome, LogLine, NewJob
from gogrid.ids import JobId, WorkerId

_LINE_OVERHEAD = 100
"""Bytes that a line costs beside its data."""


@dataclass(frozen=True, slots=True)
class PendingRequest:
    job: NewJob
    worker: WorkerId | None
    outcome: JobOutcome
    finished_at: float


@dataclass(frozen=True, slots=True)
class PendingLines:
    job_id: JobId
    epoch: int
    lines: tuple[LogLine, ...]

    @property
    def size(self) -> int:
        return sum(len(line.data) + _LINE_OVERHEAD for line in self.lines)


class Behind:
    """Collects; `take` hands over what there is; `done`, `again` or `give_up` says what became of it."""

    def __init__(self, max_requests: int = 4096, max_line_bytes: int = 16 << 20) -> None:
        self._max_requests = max_requests
        self._max_line_bytes = max_line_bytes
        self._requests: deque[PendingRequest] = deque()
        self._lines: deque[PendingLines] = deque()
        self._line_bytes = 0
        self._taken: tuple[tuple[PendingRequest, ...], tuple[PendingLines, ...]] = ((), ())
        self.dropped = 0
        """Requests and batches of lines given up since start."""

    def __len__(self) -> int:
        return len(self._requests) + len(self._lines)

    def add_request(self, request: PendingRequest) -> None:
        if len(self._requests) >= self._max_requests:
            self._requests.popleft()
            self.dropped += 1
        self._requests.append(request)

    def add_lines(self, lines: PendingLines) -> None:
        if self._line_bytes + lines.size > self._max_line_bytes:
            self.dropped += 1
            return
        self._line_bytes += lines.size
        self._lines.append(lines)

    def take(self) -> tuple[tuple[PendingRequest, ...], tuple[PendingLines, ...]]:
        """Everything, in order; nothing more may be taken before its end is told."""
        self._taken = (tuple(self._requests), tuple(self._lines))
        self._requests.clear()
        self._lines.clear()
        return self._taken

    def done(self) -> None:
        """What was taken is stored."""
        self._line_bytes -= sum(lines.size for lines in self._taken[1])
        self._taken = ((), ())

    def again(self) -> None:
        """What was taken was not stored: it waits again, in front."""
        requests, lines = self._taken
        self._requests.extendleft(reversed(requests))
        self._lines.extendleft(reversed(lines))
        self._taken = ((), ())
        while len(self._requests) > self._max_requests:
            self._requests.popleft()
            self.dropped += 1

    def give_up(self) -> None:
        """What was taken can never be stored: something in it is not storable."""
        self.dropped += len(self._taken[0]) + len(self._taken[1])
        self.done()

    def lines_of(self, job_id: JobId) -> Sequence[PendingLines]:
        """What is not known to be stored, oldest first."""
        return [lines for lines in (*self._taken[1], *self._lines) if lines.job_id == job_id]
