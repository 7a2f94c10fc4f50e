"""What a running coordinator tells the admin's commands on its own machine, over a local socket in its state folder.

Promises: answers nobody but its own user and root, and changes nothing: whoever may ask may read the database anyway.
"""

import logging
from pathlib import Path

import msgspec

from coordinator.errors import CoordinatorError
from coordinator.http.native_schema import WorkerShape, worker_shape
from coordinator.views import LiveState
from gogrid.local_socket import LineServer, LocalSocketError, NobodyListensError, NotAQuestionError, ask_line

log = logging.getLogger(__name__)
_MAX_LINE = 64 << 20
"""Bytes: ten thousand workers with all that they say of themselves."""


class AskWorkers(msgspec.Struct, frozen=True, tag=True):
    """Answered by `Workers`."""


class Workers(msgspec.Struct, frozen=True, tag=True):
    workers: list[WorkerShape]


class Refused(msgspec.Struct, frozen=True, tag=True):
    reason: str


class NoCoordinatorError(CoordinatorError):
    """No coordinator answers here; says why."""


_asks = msgspec.json.Decoder(AskWorkers)
_answers: msgspec.json.Decoder[Workers | Refused] = msgspec.json.Decoder(Workers | Refused)


class LocalChannel:
    """Use from one event loop."""

    def __init__(self, path: Path, live: LiveState) -> None:
        self._live = live
        self._server = LineServer(path, self._answer, refusal=lambda reason: _line(Refused(reason)), max_line=_MAX_LINE)
        self._path = path

    async def open(self) -> None:
        """A coordinator works without it: where it cannot be opened, the log says so."""
        try:
            await self._server.open()
        except LocalSocketError as error:
            log.warning("the admin's commands will not see what workers do now: %s", error)

    async def close(self) -> None:
        await self._server.close()

    async def _answer(self, line: bytes) -> bytes:
        try:
            _asks.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise NotAQuestionError(f"Not a question this coordinator knows: {str(error)[:200]}.") from None
        return _line(Workers([worker_shape(view, for_admin=True) for view in self._live.workers()]))


def ask_workers(path: Path) -> list[WorkerShape]:
    """Every worker, as the coordinator that listens on `path` sees it now.

    Raises:
        NoCoordinatorError: none does, or it gives no answer.
    """
    try:
        answer = _answers.decode(ask_line(path, _line(AskWorkers()), max_line=_MAX_LINE))
    except NobodyListensError:
        raise NoCoordinatorError("no coordinator serves this folder now") from None
    except LocalSocketError as error:
        raise NoCoordinatorError(str(error)) from error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise NoCoordinatorError("the coordinator that runs gives no answer that this version knows") from None
    if isinstance(answer, Refused):
        raise NoCoordinatorError(answer.reason)
    return answer.workers


def _line(message: msgspec.Struct) -> bytes:
    return msgspec.json.encode(message) + b"\n"
