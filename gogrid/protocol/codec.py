"""Messages to bytes and back: tagged MessagePack, checked before it is believed.

Promises for `Codec.decode`: any bytes give a message or `ProtocolError`, nothing else. Values nest at most `MAX_DEPTH`
deep. Decoding n bytes allocates at most 4·n plus 256 KiB, because lengths are checked against the bytes that are there,
and the cost of the Python values is added up, before any value is made. Unknown fields are ignored, unknown tags are
refused. A codec for tasks, which only ever reads what an authenticated coordinator sends, grants more (`TASK_ROOM`).
"""

from typing import Final, Generic, TypeVar

import msgspec

from gogrid.errors import ProtocolError
from gogrid.protocol.framing import HEADER_SIZE, MAX_FRAME
from gogrid.protocol.job_messages import JobStreamMessage
from gogrid.protocol.messages import ControlMessage
from gogrid.protocol.wire import Wire

M = TypeVar("M")

MAX_DEPTH = 8
GROWTH = 4
"""Bytes of Python values that one byte of input may become, beyond a codec's room."""
STRICT_ROOM = 256 << 10
STRICT_TEXT = 32 << 10
"""Bytes of one piece of text: the decoder quotes a wrong word tenfold before it refuses it."""
TASK_ROOM = 16 << 20
"""Enough for any task that fits into a frame: some 250,000 token ids, or 40,000 short messages."""

_encoder = msgspec.msgpack.Encoder()


def encode(message: Wire) -> bytes:
    """The payload of the frame that carries `message`.

    Raises:
        ProtocolError: it does not fit into one frame, or holds text that has no UTF-8.
    """
    return encode_framed(message)[HEADER_SIZE:]


def encode_framed(message: Wire) -> bytes:
    """The whole frame that carries `message`; raises like `encode`."""
    buffer = bytearray(HEADER_SIZE)
    try:
        _encoder.encode_into(message, buffer, HEADER_SIZE)
    except (UnicodeEncodeError, OverflowError) as error:
        raise ProtocolError(f"A {type(message).__name__} message cannot be sent: {error}.") from None
    size = len(buffer) - HEADER_SIZE
    if size > MAX_FRAME:
        raise ProtocolError(f"A {type(message).__name__} message has {size} bytes; {MAX_FRAME} are allowed.")
    buffer[:HEADER_SIZE] = size.to_bytes(HEADER_SIZE, "big")
    return bytes(buffer)


class Codec(Generic[M]):
    """Decodes the messages of one union, for instance `Codec[FromExecutor](FromExecutor)`."""

    def __init__(self, union: object, *, tasks: bool = False) -> None:
        """`tasks`: these messages carry tasks, long texts and all, from someone trusted to send them."""
        self._decoder: msgspec.msgpack.Decoder[M] = msgspec.msgpack.Decoder(union)
        self._room = TASK_ROOM if tasks else STRICT_ROOM
        self._longest_text = MAX_FRAME if tasks else STRICT_TEXT

    def decode(self, data: bytes) -> M:
        """The message in `data`.

        Raises:
            ProtocolError: it is no message of this union, or costs more than is granted.
        """
        if not _is_small_and_flat(data):
            check_shape(data, self._room, self._longest_text)
        try:
            return self._decoder.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ProtocolError(f"Not a message: {str(error)[:200]}.") from None


_control: Codec[ControlMessage] = Codec(ControlMessage)
_assigned: Codec[ControlMessage] = Codec(ControlMessage, tasks=True)
_job: Codec[JobStreamMessage] = Codec(JobStreamMessage)


def decode_control(data: bytes) -> ControlMessage:
    """A control message as the coordinator takes it from a worker; raises `ProtocolError`."""
    return _control.decode(data)


def decode_assigned(data: bytes) -> ControlMessage:
    """A control message as a worker takes it from its coordinator, with room for a task; raises `ProtocolError`."""
    return _assigned.decode(data)


def decode_job(data: bytes) -> JobStreamMessage:
    """A message of a job stream; raises `ProtocolError`."""
    return _job.decode(data)


# --- what a message would cost ----------------------------------------------------------------------------------------

_SMALL = 4096
"""Below this, no message of the protocol costs more than some 100 KiB: values grow at most 25 times."""
_CONTAINERS = bytes([*range(0x80, 0xA0), *range(0xDC, 0xE0)])
_LONG_CONTAINERS = bytes(range(0xDC, 0xE0))

_SLOT = 8
_NUMBER = 32 + _SLOT
_OBJECT = 64 + _SLOT


class _Kind:
    """How the rest of an item is read, by its first byte."""

    NUMBER, TEXT, BINARY, ARRAY, MAP, REFUSED = range(6)


def _read_table() -> list[tuple[int, int, int]]:
    """For each first byte: kind, width of the length field (or of the number), length held in the byte itself."""
    table = [(_Kind.REFUSED, 0, 0)] * 256
    table[0x00:0x80] = [(_Kind.NUMBER, 0, 0)] * 0x80
    table[0xE0:] = [(_Kind.NUMBER, 0, 0)] * 0x20
    table[0x80:0x90] = [(_Kind.MAP, 0, n) for n in range(16)]
    table[0x90:0xA0] = [(_Kind.ARRAY, 0, n) for n in range(16)]
    table[0xA0:0xC0] = [(_Kind.TEXT, 0, n) for n in range(32)]
    for byte in (0xC0, 0xC2, 0xC3):
        table[byte] = (_Kind.NUMBER, 0, 0)
    for byte, width in zip(range(0xCA, 0xD4), (4, 8, 1, 2, 4, 8, 1, 2, 4, 8), strict=True):
        table[byte] = (_Kind.NUMBER, width, 0)
    for first, kind, widths in (
        (0xC4, _Kind.BINARY, (1, 2, 4)),
        (0xD9, _Kind.TEXT, (1, 2, 4)),
        (0xDC, _Kind.ARRAY, (2, 4)),
        (0xDE, _Kind.MAP, (2, 4)),
    ):
        for offset, width in enumerate(widths):
            table[first + offset] = (kind, width, 0)
    return table


_TABLE: Final = _read_table()


def _is_small_and_flat(data: bytes) -> bool:
    """True for most messages: too few bytes that could open a container to nest deep or to promise much."""
    if len(data) > _SMALL:
        return False
    rest = data.translate(None, _CONTAINERS)
    return len(data) - len(rest) <= MAX_DEPTH and len(data.translate(None, _LONG_CONTAINERS)) == len(data)


def check_shape(data: bytes, room: int, longest_text: int) -> None:
    """Refuse bytes that nest too deep, are not all there, hold too long a text, or would cost more than 4·n + `room`.

    Raises:
        ProtocolError: one of these.
    """
    budget = GROWTH * len(data) + room
    position, end, table = 0, len(data), _TABLE
    waiting = [1]
    while waiting:
        if waiting[-1] == 0:
            waiting.pop()
            continue
        waiting[-1] -= 1
        if position >= end:
            raise ProtocolError("Not a message: it is cut short.")
        kind, width, size = table[data[position]]
        position += 1
        if kind == _Kind.NUMBER:
            position += width
            budget -= _NUMBER
        else:
            if kind == _Kind.REFUSED:
                raise ProtocolError(f"Not a message: byte {data[position - 1]:#04x} opens no value of the protocol.")
            if width:
                size = int.from_bytes(data[position : position + width], "big")
                position += width
            budget -= _OBJECT
            if kind in (_Kind.ARRAY, _Kind.MAP):
                if len(waiting) > MAX_DEPTH:
                    raise ProtocolError(f"Not a message: it nests more than {MAX_DEPTH} deep.")
                waiting.append(size if kind == _Kind.ARRAY else 2 * size)
            else:
                stop = position + size
                if kind == _Kind.TEXT and size > longest_text:
                    raise ProtocolError(f"Not a message: a text of {size} bytes; {longest_text} are allowed.")
                plain = kind == _Kind.BINARY or data[position:stop].isascii()
                budget -= size if plain else 5 * size
                position = stop
        if position > end:
            raise ProtocolError("Not a message: it is cut short.")
        if budget < 0:
            raise ProtocolError(f"Not a message: its {end} bytes hold too many values.")
    if position != end:
        raise ProtocolError("Not a message: bytes follow its end.")
