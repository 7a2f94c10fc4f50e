"""Asks the running worker over its local socket."""

import os
import sys
from pathlib import Path

import msgspec

from gogrid.errors import GoGridError
from gogrid.local_socket import LocalSocketError, NobodyListensError, ask_line
from runner.control_messages import MAX_LINE, Answer, Ask, decode_answer, encode_line
from tray.app.window_process import has_desktop


class NotRunningError(GoGridError):
    """There is no worker to ask, or it does not answer."""


class NobodyThereError(NotRunningError):
    """Nobody listens at all."""


def ask(path: Path, question: Ask) -> Answer:
    """Raises `NotRunningError`."""
    try:
        line = ask_line(path, encode_line(question), max_line=MAX_LINE)
    except NobodyListensError:
        start = f"gogrid-worker{'' if has_desktop(os.environ, sys.platform) else ' --headless'}"
        raise NobodyThereError(f"No worker is running here; start it with the same options: {start}") from None
    except LocalSocketError as error:
        raise NotRunningError(str(error)) from error
    try:
        return decode_answer(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotRunningError(f"The worker on {path} gives no answer that this version knows: {error}.") from error
