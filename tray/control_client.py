"""Asks the running worker over its local socket."""

from pathlib import Path

import msgspec

from gogrid.errors import GoGridError
from gogrid.local_socket import LocalSocketError, NobodyListensError, ask_line
from runner.control_messages import MAX_LINE, Answer, Ask, decode_answer, encode_line


class NotRunningError(GoGridError):
    """There is no worker to ask, or it does not answer."""


def ask(path: Path, question: Ask) -> Answer:
    """Raises `NotRunningError`."""
    try:
        line = ask_line(path, encode_line(question), max_line=MAX_LINE)
    except NobodyListensError:
        raise NotRunningError("No worker is running here; start it with the same options and --headless.") from None
    except LocalSocketError as error:
        raise NotRunningError(str(error)) from error
    try:
        return decode_answer(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotRunningError(f"The worker on {path} gives no answer that this version knows: {error}.") from error
