"""The three pipes of a sandbox: one end of each for the new process, the other as a stream of this event loop."""

import asyncio
import contextlib
import sys
from dataclasses import dataclass
from typing import Any

from runner.errors import SandboxUnavailableError
from runner.sandbox.windows.api import Handle


@dataclass(frozen=True, slots=True)
class Pipes:
    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader
    inside: tuple[Handle, Handle, Handle]
    """Standard input, output and error of the new process; close them once it has them."""
    transports: tuple[asyncio.BaseTransport, ...]

    def close_inside(self) -> None:
        for handle in self.inside:
            handle.close()

    def close(self) -> None:
        """All of them, when no process was started."""
        self.close_inside()
        for transport in self.transports:
            transport.close()


async def open_pipes() -> Pipes:
    """Raises OSError."""
    with contextlib.ExitStack() as undo:
        # Duplex, because asyncio learns from a read that the other end is closed.
        writing, stdin_inside = _pair(undo, duplex=True)
        protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_write_pipe(lambda: protocol, writing)
        undo.callback(transport.close)
        stdout, stdout_inside = await _reader(undo)
        stderr, stderr_inside = await _reader(undo)
        undo.pop_all()
        return Pipes(
            asyncio.StreamWriter(transport, protocol, None, loop),
            stdout.reader,
            stderr.reader,
            inside=(stdin_inside, stdout_inside, stderr_inside),
            transports=(transport, stdout.transport, stderr.transport),
        )


class _EndingProtocol(asyncio.StreamReaderProtocol):
    """Closes its transport at the end of the stream, because nobody else will."""

    def eof_received(self) -> bool:
        super().eof_received()
        return False


@dataclass(frozen=True, slots=True)
class _Reading:
    reader: asyncio.StreamReader
    transport: asyncio.BaseTransport


async def _reader(undo: contextlib.ExitStack) -> tuple[_Reading, Handle]:
    reading, inside = _pair(undo, duplex=False)
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: _EndingProtocol(reader), reading)
    undo.callback(transport.close)
    return _Reading(reader, transport), inside


def _pair(undo: contextlib.ExitStack, *, duplex: bool) -> tuple[Any, Handle]:
    """This process's end, which a transport takes over, and the other one: readable inside if `duplex`."""
    if sys.platform == "win32":
        from asyncio.windows_utils import PipeHandle, pipe

        reading, writing = pipe(overlapped=(False, True) if duplex else (True, False), duplex=duplex)
        here, inside = (writing, reading) if duplex else (reading, writing)
        return undo.enter_context(PipeHandle(here)), undo.enter_context(Handle(inside))
    else:
        raise SandboxUnavailableError("These pipes are those of Windows, and this machine runs another system.")
