"""Asks the running worker over its local socket."""

import socket
from pathlib import Path

import msgspec

from gogrid.errors import GoGridError
from runner.control_messages import MAX_LINE, Answer, Ask, decode_answer, encode_line

_TIMEOUT_S = 5.0


class NotRunningError(GoGridError):
    """There is no worker to ask, or it does not answer."""


def ask(path: Path, question: Ask) -> Answer:
    """Raises `NotRunningError`."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(str(path))
            connection.sendall(encode_line(question))
            line = connection.makefile("rb").readline(MAX_LINE)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunningError("No worker is running here; start it with the same options and --headless.") from None
    except OSError as error:
        raise NotRunningError(f"The worker does not answer on {path}: {error}.") from error
    try:
        return decode_answer(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotRunningError(f"The worker on {path} gives no answer that this version knows: {error}.") from error
