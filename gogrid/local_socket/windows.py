"""A named pipe instead of a Unix socket: its descriptor lets in its own user and the system, and nobody over a network.

Promises: whoever made the name first has it, and another program gets an error instead of a share of it; a client asks
nothing of a pipe that another user made, and lends it no identity. Uses the two pieces of asyncio's own pipe server
that have no public name, because that server would make its pipes readable for everyone.
"""

# ruff: noqa: E402, S101 - type checkers skip the file elsewhere if this is its first statement

import sys

assert sys.platform == "win32"

import _winapi
import asyncio
import hashlib
import os
import time
from asyncio.windows_utils import PipeHandle
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from gogrid.local_socket.errors import LocalSocketError, NobodyListensError
from gogrid.windows.named_pipe import (
    ACCESS_DENIED,
    ANONYMOUS_CLIENT,
    BROKEN_PIPE,
    FILE_NOT_FOUND,
    PIPE_BUSY,
    NameTakenError,
    new_pipe,
)
from gogrid.windows.security import KERNEL_OBJECT, OWNER, described, own_user

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]

_PIECE = 1 << 16
_LOOK_AGAIN_S = 0.05


def pipe_name(path: Path) -> str:
    r"""`\\.\pipe\gogrid-<hash of its folder>-<its name>`; one name however the folder is written."""
    folder = os.path.normcase(os.path.realpath(path.parent))
    return rf"\\.\pipe\gogrid-{hashlib.sha256(folder.encode()).hexdigest()[:16]}-{path.stem}"


class Listener:
    def __init__(self, name: str, accept: Accept, max_line: int) -> None:
        """Raises OSError: the name is taken, or cannot be had."""
        self._name, self._accept, self._max_line = name, accept, max_line
        # Both are private to asyncio; tests/windows holds them to what is used here.
        self._loop = cast(Any, asyncio.get_running_loop())
        self._waiting = _new_pipe(name, first=True)
        self._accepting = self._loop.create_task(self._accept_all())

    def close(self) -> None:
        self._accepting.cancel()
        self._waiting.close()

    async def _accept_all(self) -> None:
        while True:
            connected = self._waiting
            try:
                await self._loop._proactor.accept_pipe(connected)
            except OSError:  # it came and went
                self._waiting = _new_pipe(self._name, first=False)
                connected.close()
                continue
            # The next one is there before this one can go, so that the name is never free.
            self._waiting = _new_pipe(self._name, first=False)
            reader = asyncio.StreamReader(limit=self._max_line)
            protocol = asyncio.StreamReaderProtocol(reader, self._accept)
            self._loop._make_duplex_pipe_transport(connected, protocol)


async def listen(path: Path, accept: Accept, max_line: int) -> Listener:
    """Raises OSError or `LocalSocketError`."""
    return Listener(pipe_name(path), accept, max_line)


def why_refused(writer: asyncio.StreamWriter) -> str | None:
    """Nothing: the system has checked the pipe's descriptor before anything got here."""
    return None


def exchange(path: Path, line: bytes, max_line: int, timeout_s: float) -> bytes:
    """Raises OSError or `LocalSocketError`."""
    deadline = time.monotonic() + timeout_s
    handle = _connected(path, deadline)
    try:
        if described(handle, KERNEL_OBJECT, OWNER) != f"O:{own_user()}":
            raise LocalSocketError(f"The program that listens on {path} is not yours; it is asked nothing.")
        writing, _ = _winapi.WriteFile(handle, line, overlapped=True)
        _finished(writing, deadline)
        answer = b""
        while not answer.endswith(b"\n") and len(answer) < max_line:
            try:
                reading, _ = _winapi.ReadFile(handle, _PIECE, overlapped=True)
                _finished(reading, deadline)
            except BrokenPipeError:
                break
            answer += bytes(reading.getbuffer() or b"")
        return answer
    finally:
        _winapi.CloseHandle(handle)


def _connected(path: Path, deadline: float) -> int:
    name = pipe_name(path)
    while True:
        try:
            return _winapi.CreateFile(
                name,
                _winapi.GENERIC_READ | _winapi.GENERIC_WRITE,
                *(0, _winapi.NULL, _winapi.OPEN_EXISTING),
                *(_winapi.FILE_FLAG_OVERLAPPED | ANONYMOUS_CLIENT, _winapi.NULL),
            )
        except OSError as error:
            if error.winerror == FILE_NOT_FOUND:
                raise NobodyListensError(f"No program listens on {path}.") from None
            if error.winerror == ACCESS_DENIED:
                raise LocalSocketError(
                    f"The program that listens on {path} is not yours; it is asked nothing."
                ) from None
            if error.winerror != PIPE_BUSY or time.monotonic() >= deadline:
                raise
        time.sleep(_LOOK_AGAIN_S)


def _finished(operation: Any, deadline: float) -> None:
    """Raises OSError: the operation failed, or was not done in time."""
    left = max(0, int((deadline - time.monotonic()) * 1000))
    if _winapi.WaitForMultipleObjects([operation.event], False, left) == _winapi.WAIT_TIMEOUT:
        operation.cancel()
        operation.GetOverlappedResult(True)
        raise TimeoutError("it takes too long")
    _, code = operation.GetOverlappedResult(True)
    if code == BROKEN_PIPE:
        raise BrokenPipeError("it hung up")


def _new_pipe(name: str, *, first: bool) -> PipeHandle:
    try:
        return PipeHandle(new_pipe(name, first=first))
    except NameTakenError as error:
        raise LocalSocketError(f"{error}; end it, or give another --data.") from None
