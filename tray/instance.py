"""One app for each data folder, and how others ask the one that runs."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from gogrid.errors import GoGridError
from gogrid.local_socket import TIMEOUT_S, LineServer, LocalSocketError, NobodyListensError, NotAQuestionError, ask_line
from runner.control_messages import MAX_LINE, Refused, encode_line
from tray.instance_messages import AppAnswer, AppAsk, HoldRunner, decode_app_answer, decode_app_ask

_CLEAN_END_S = 25.0
"""A runner is given 15 s to end before it is killed."""
Answer = Callable[[AppAsk], Awaitable[AppAnswer]]


class NoAppError(GoGridError):
    """No app runs here, or it does not answer."""


def app_server(path: Path, answer: Answer) -> LineServer:
    """Open it with the app's lock held."""

    async def respond(line: bytes) -> bytes:
        try:
            question = decode_app_ask(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise NotAQuestionError(f"Not a question this app knows: {str(error)[:200]}.") from None
        return encode_line(await answer(question))

    return LineServer(path, respond, refusal=lambda reason: encode_line(Refused(reason=reason)), max_line=MAX_LINE)


def ask_app(path: Path, question: AppAsk) -> AppAnswer:
    """Raises `NoAppError`."""
    timeout_s = _CLEAN_END_S if isinstance(question, HoldRunner) else TIMEOUT_S
    try:
        line = ask_line(path, encode_line(question), max_line=MAX_LINE, timeout_s=timeout_s)
    except NobodyListensError:
        raise NoAppError("No GoGrid app is running here; start it with: gogrid-worker") from None
    except LocalSocketError as error:
        raise NoAppError(str(error)) from error
    try:
        return decode_app_answer(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NoAppError(f"The app on {path} gives no answer that this version knows: {error}.") from error
