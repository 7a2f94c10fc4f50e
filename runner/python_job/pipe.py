"""What the supervisor inside a Python job's sandbox says to the runner, one record in each frame.

A record is one letter and its body. Written and read by hand, because inside it is part of every job's start-up time,
and because reading it is a border: `decode` raises nothing but `ProtocolError`, whatever the bytes. The order is:
`Began`, any number of `Output`, `Ended`, then for each file `FileBegins` and its `FileData`, and `Done` last.
"""

import struct
from typing import NamedTuple

from gogrid.errors import ProtocolError

_ENDED = struct.Struct(">hHQQIB")
_FILE = struct.Struct(">QH")


class Began(NamedTuple):
    """The script's process exists."""


class Output(NamedTuple):
    stream: str
    """`stdout` or `stderr`."""
    data: bytes


class FileBegins(NamedTuple):
    name: str
    size: int
    was: str = ""
    """What the script had called it, if that is not `name`."""


class FileData(NamedTuple):
    data: bytes


class Ended(NamedTuple):
    exit_code: int
    """0..255; meaningless if `signal` is not 0."""
    signal: int
    """What killed the script; 0: it ended by itself."""
    peak_bytes: int
    """Most memory the script, or one of its children, had at once."""
    cpu_ms: int
    left_out: int
    """Things in the working folder that are not regular files and so are not kept."""
    too_large: bool
    """The working folder is over a limit, so none of its files is sent."""


class Done(NamedTuple):
    """Every file was sent."""


Record = Began | Output | Ended | FileBegins | FileData | Done
_STREAMS = {b"o": "stdout", b"e": "stderr"}


def encode(record: Record) -> bytes:
    """The payload of the frame that carries `record`."""
    match record:
        case Began():
            return b"b"
        case Done():
            return b"z"
        case Output():
            return (b"o" if record.stream == "stdout" else b"e") + record.data
        case FileBegins():
            was = record.was.encode()
            return b"f" + _FILE.pack(record.size, len(was)) + was + record.name.encode()
        case FileData():
            return b"d" + record.data
        case Ended():
            return b"x" + _ENDED.pack(
                record.signal,
                record.exit_code,
                record.peak_bytes,
                record.cpu_ms,
                min(record.left_out, 0xFFFFFFFF),
                record.too_large,
            )


def decode(payload: bytes) -> Record:
    """The record of one frame. Raises `ProtocolError`."""
    kind, body = payload[:1], payload[1:]
    try:
        if kind == b"b" and not body:
            return Began()
        if kind == b"z" and not body:
            return Done()
        if kind in _STREAMS:
            return Output(_STREAMS[kind], body)
        if kind == b"f":
            size, length = _FILE.unpack(body[: _FILE.size])
            was, name = body[_FILE.size : _FILE.size + length], body[_FILE.size + length :]
            return FileBegins(name.decode(), size, was.decode())
        if kind == b"d":
            return FileData(body)
        if kind == b"x":
            signal, exit_code, peak_bytes, cpu_ms, left_out, too_large = _ENDED.unpack(body)
            return Ended(exit_code, signal, peak_bytes, cpu_ms, left_out, bool(too_large))
    except (struct.error, UnicodeDecodeError):
        pass
    raise ProtocolError("The sandbox sent a record that no supervisor writes.")
