"""The client's own log of a run: what it tried, what was acknowledged, what it saw completed.

Append-only JSON lines. `ClientLog.write` returns only when the line is on disk, so that an acknowledgement counts from
then on, whatever dies. A half line at the end, of a client that was killed itself, is no entry.
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec


class Entry(msgspec.Struct, frozen=True, tag_field="what", omit_defaults=True):
    """Base; `op` is the client's own name of one operation, its idempotency key and label."""

    op: str


class Attempted(Entry, frozen=True, tag="attempted"):
    """Written before the first byte is sent."""

    expected: str = "done"
    """The state in which the job has to end."""


class Acknowledged(Entry, frozen=True, tag="acknowledged"):
    """The coordinator has answered with success, once for each time it was asked."""

    job: str


class Completed(Entry, frozen=True, tag="completed"):
    """The API showed the job in a final state."""

    job: str
    state: str
    mark: str
    """What one accepted completion leaves and another would change: its time, its lease, its output's hash."""
    why: str = ""


class Accepted(Entry, frozen=True, tag="accepted"):
    """The coordinator's own record of one attempt whose result it took."""

    job: str
    epoch: int


class Streamed(Entry, frozen=True, tag="streamed"):
    """How one streamed answer went."""

    ok: bool
    """Whole, the expected text, usage right, no error."""
    seconds: float
    first_s: float
    """Until the first text."""
    pause_s: float
    """Longest time without new text, after the first."""
    why: str = ""
    at: float = 0.0
    """Seconds since 1970 at its end."""


AnyEntry = Attempted | Acknowledged | Completed | Accepted | Streamed
_decoder = msgspec.json.Decoder(AnyEntry)


class ClientLog:
    """Safe for several threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._lock = threading.Lock()

    def write(self, entry: AnyEntry) -> None:
        with self._lock:
            self._file.write(msgspec.json.encode(entry) + b"\n")
            os.fdatasync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_log(path: Path) -> Iterator[AnyEntry]:
    """Every whole line.

    Raises:
        msgspec.DecodeError: a line that is none of ours.
    """
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield _decoder.decode(line)
