"""The running worker's local socket, in its own messages, and the lock that keeps a second runner away.

Answers are made by the function given; a question that is not one gets one sentence and ends that connection.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType

import msgspec

from gogrid.file_lock import FileLock, LockHeldError
from gogrid.local_socket import LineServer, NotAQuestionError
from runner.control_messages import MAX_LINE, Answer, Ask, Refused, decode_ask, encode_line
from runner.errors import RunnerError

Respond = Callable[[Ask], Awaitable[Answer]]


class ControlServer:
    def __init__(self, path: Path, respond: Respond) -> None:
        self._respond = respond
        self._server = LineServer(path, self._line, refusal=_refusal, max_line=MAX_LINE)

    async def open(self) -> None:
        """Listen. Call with the `RunnerLock` held. Raises `LocalSocketError`."""
        await self._server.open()

    async def close(self) -> None:
        await self._server.close()

    async def _line(self, line: bytes) -> bytes:
        try:
            question = decode_ask(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise NotAQuestionError(f"Not a question this worker knows: {str(error)[:200]}.") from error
        return encode_line(await self._respond(question))


class RunnerLock:
    """One runner for each data folder; let go by the system however the process ends."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, FileLock(path)

    def __enter__(self) -> "RunnerLock":
        """Raises `RunnerError` if another runner holds it, `FileLockError` if there can be no lock."""
        try:
            self._lock.__enter__()
        except LockHeldError as error:
            raise RunnerError(
                f"A worker runs on {self._path.parent} already; see `gogrid-worker status`, or use another --data"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.__exit__(kind, error, trace)


def _refusal(reason: str) -> bytes:
    return encode_line(Refused(reason=reason))
