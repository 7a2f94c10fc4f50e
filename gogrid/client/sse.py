"""Server-sent events from bytes, without I/O.

Promises: the events do not depend on where the bytes were split; a line or an event longer than `MAX_EVENT_BYTES` is
an `AnswerError`, so that a bad server cannot fill the memory. Comments and unknown fields are no events, as the
standard says; who wants comments, which a coordinator makes while an answer waits, is told them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gogrid.client.errors import AnswerError

MAX_EVENT_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class ServerEvent:
    kind: str
    """The `event:` field, `message` where the server gave none."""
    data: str


class EventDecoder:
    """Feed it bytes as they come; it gives back the events that they complete."""

    def __init__(self, commented: Callable[[str], None] | None = None) -> None:
        self._commented = commented
        self._tail = b""
        self._kind = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """Raises: AnswerError, if an event grows too long or is not UTF-8."""
        *lines, self._tail = (self._tail + chunk).split(b"\n")
        if len(self._tail) > MAX_EVENT_BYTES:
            raise AnswerError("The coordinator sent a line of more than 8 MB in an event stream.")
        found = (self._line(line.removesuffix(b"\r")) for line in lines)
        return [event for event in found if event is not None]

    def _line(self, line: bytes) -> ServerEvent | None:
        if not line:
            return self._end_of_event()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not name and self._commented is not None:
            self._commented(_text(value))
        if name == b"event":
            self._kind = _text(value)
        elif name == b"data":
            self._size += len(value)
            if self._size > MAX_EVENT_BYTES:
                raise AnswerError("The coordinator sent an event of more than 8 MB.")
            self._data.append(value)
        return None

    def _end_of_event(self) -> ServerEvent | None:
        kind, data = self._kind or "message", self._data
        self._kind, self._data, self._size = "", [], 0
        return ServerEvent(kind, _text(b"\n".join(data))) if data else None


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise AnswerError("The coordinator sent an event that is not UTF-8 text.") from error
