"""The running worker's local socket, and the lock that keeps a second runner away.

A Unix socket that only its owner may open (0600, in a folder only its owner may enter), never TCP. Answers are made by
the function given; a question that is not one gets one sentence and ends that connection. Windows gets a named pipe
behind the same two classes.
"""

import asyncio
import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import msgspec

from runner.control_messages import MAX_LINE, Answer, Ask, Refused, decode_ask, encode_line
from runner.errors import RunnerError

Respond = Callable[[Ask], Answer]


class ControlServer:
    def __init__(self, path: Path, respond: Respond) -> None:
        self._path, self._respond = path, respond
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen. Call with the `RunnerLock` held: a socket that lies there is then nobody's.

        Raises:
            RunnerError: the folder belongs to somebody else, or the socket cannot be made.
        """
        try:
            _private_folder(self._path.parent)
            self._path.unlink(missing_ok=True)
            before = os.umask(0o177)
            try:
                self._server = await asyncio.start_unix_server(self._accept, self._path, limit=MAX_LINE)
            finally:
                os.umask(before)
        except OSError as error:
            raise RunnerError(
                f"The control socket {self._path} cannot be opened: {error.strerror or error}."
            ) from error

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.create_task(self._serve(reader, writer))
        self._talks.add(talk)
        talk.add_done_callback(self._talks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                try:
                    answer = self._respond(decode_ask(line))
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    writer.write(encode_line(Refused(reason=f"Not a question this worker knows: {str(error)[:200]}.")))
                    break
                writer.write(encode_line(answer))
                await writer.drain()
        except (ValueError, ConnectionError):
            pass  # a line without end, or nobody there any more: the connection closes, which says it all
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


class RunnerLock:
    """One runner for each data folder; let go by the system however the process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> "RunnerLock":
        """Raises `RunnerError` if another runner holds it."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self._path.open("a+", encoding="ascii")
        try:
            _lock(file)
        except OSError as error:
            file.close()
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise RunnerError(f"{self._path} cannot be locked: {error.strerror}.") from error
            raise RunnerError(
                f"A worker runs on {self._path.parent} already; see `gogrid-worker status`, or use another --data"
            ) from error
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def _lock(file: IO[str]) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _private_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise RunnerError(f"{folder} does not belong to you; remove it, or give another --data.")
    with suppress(PermissionError):
        folder.chmod(0o700)
