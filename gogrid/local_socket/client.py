"""The asking side: one line there, one line back, without an event loop."""

import sys
from pathlib import Path

from gogrid.local_socket.errors import LocalSocketError, NoAnswerError

if sys.platform == "win32":
    from gogrid.local_socket.windows import exchange
else:
    from gogrid.local_socket.unix import exchange

TIMEOUT_S = 5.0


def ask_line(path: Path, line: bytes, *, max_line: int, timeout_s: float = TIMEOUT_S) -> bytes:
    """The answer to `line`, both with their newline.

    Raises:
        NobodyListensError: there is nobody to ask.
        NoAnswerError: there is, but no answer within that time, or one longer than `max_line` bytes.
        LocalSocketError: the program that listens there is another user's.
    """
    try:
        answer = exchange(path, line, max_line, timeout_s)
    except LocalSocketError:
        raise
    except OSError as error:
        raise NoAnswerError(f"The program on {path} does not answer: {error.strerror or error}.") from error
    if not answer.endswith(b"\n"):
        raise NoAnswerError(f"The program on {path} ends the connection without an answer.")
    return answer
