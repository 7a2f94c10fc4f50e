"""A Unix socket: 0600, in a folder that only its owner may enter, and the system's word on who is at the other end."""

import asyncio
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gogrid.local_socket.errors import LocalSocketError, NobodyListensError

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]
_LINUX_CREDENTIALS = struct.Struct("3i")
_MAC_CREDENTIALS = struct.Struct("=IIh2x16I")
_MAC_SOL_LOCAL, _MAC_PEERCRED = 0, 1


class Listener:
    def __init__(self, path: Path, server: asyncio.Server) -> None:
        self._path, self._server = path, server

    def close(self) -> None:
        self._server.close()
        self._path.unlink(missing_ok=True)


async def listen(path: Path, accept: Accept, max_line: int) -> Listener:
    """Raises OSError or `LocalSocketError`."""
    _make_room(path)
    before = os.umask(0o177)
    try:
        return Listener(path, await asyncio.start_unix_server(accept, path, limit=max_line))
    finally:
        os.umask(before)


def why_refused(writer: asyncio.StreamWriter) -> str | None:
    """A sentence for whoever may not ask."""
    connection: socket.socket = writer.get_extra_info("socket")
    if _trusted(peer_user(connection)):
        return None
    return "This is another user's program; only its owner may ask it."


def exchange(path: Path, line: bytes, max_line: int, timeout_s: float) -> bytes:
    """Raises OSError or `LocalSocketError`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            raise NobodyListensError(f"No program listens on {path}.") from None
        if not _trusted(peer_user(connection)):
            raise LocalSocketError(f"The program that listens on {path} is not yours; it is asked nothing.")
        with suppress(BrokenPipeError):  # what it said before it hung up is still there to be read
            connection.sendall(line)
        return connection.makefile("rb").readline(max_line)


def peer_user(connection: socket.socket) -> int:
    """The user id of the process that made, or listened for, this connection. Raises OSError."""
    if sys.platform == "darwin":
        told = connection.getsockopt(_MAC_SOL_LOCAL, _MAC_PEERCRED, _MAC_CREDENTIALS.size)
        return int(_MAC_CREDENTIALS.unpack(told)[1])
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _LINUX_CREDENTIALS.size)
    return int(_LINUX_CREDENTIALS.unpack(told)[1])


def _trusted(user: int) -> bool:
    return user in (os.geteuid(), 0)


def _make_room(path: Path) -> None:
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise LocalSocketError(f"{folder} does not belong to you; remove it, or give another --data.")
    with suppress(PermissionError):
        folder.chmod(0o700)
    path.unlink(missing_ok=True)
