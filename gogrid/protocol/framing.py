"""Length-prefixed frames: four bytes of big-endian payload length, then the payload.

Promises: bytes split anywhere give the same frames; no more is held than one unfinished frame and what was fed last.
Refuses, with `ProtocolError`, a frame that is empty or longer than its limit, as soon as its length is known. After a
refusal the decoder stays refused: a stream that lied once has no next frame.
"""

from gogrid.errors import ProtocolError

MAX_FRAME = 1 << 20
"""Bytes of payload that one frame may carry."""
HEADER_SIZE = 4


def encode_frame(payload: bytes, max_size: int = MAX_FRAME) -> bytes:
    """The frame that carries `payload`.

    Raises:
        ProtocolError: the payload is empty or longer than `max_size` bytes.
    """
    if not 0 < len(payload) <= max_size:
        raise ProtocolError(f"A frame carries 1 to {max_size} bytes, not {len(payload)}.")
    return len(payload).to_bytes(HEADER_SIZE, "big") + payload


class FrameDecoder:
    """Turns the bytes of one stream, as they come, into frames."""

    def __init__(self, max_size: int = MAX_FRAME) -> None:
        self._max_size = max_size
        self._buffer = bytearray()
        self._refusal: str | None = None

    @property
    def buffered(self) -> int:
        """Bytes held of a frame that is not yet whole; 0 when the stream may end here."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that `data` completes, in order.

        Raises:
            ProtocolError: a frame in `data` is empty or too long; the frames before it are lost with the stream.
        """
        if self._refusal is not None:
            raise ProtocolError(self._refusal)
        frames: list[bytes] = []
        if self._buffer:
            self._buffer += data
            position, end = self._split(self._buffer, frames)
            del self._buffer[:position]
        else:
            position, end = self._split(data, frames)
            self._buffer += data[position:end]
        return frames

    def _split(self, data: bytes | bytearray, frames: list[bytes]) -> tuple[int, int]:
        """Append the whole frames of `data`; return where the unfinished rest begins and ends."""
        position, end = 0, len(data)
        while end - position >= HEADER_SIZE:
            body = position + HEADER_SIZE
            size = int.from_bytes(data[position:body], "big")
            if not 0 < size <= self._max_size:
                self._buffer.clear()
                self._refusal = f"A frame of {size} bytes came; 1 to {self._max_size} are allowed."
                raise ProtocolError(self._refusal)
            if end - body < size:
                break
            position = body + size
            frames.append(bytes(data[body:position]))
        return position, end
