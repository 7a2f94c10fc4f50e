"""A server behind a local socket that says everything again, louder; and somebody who asks it."""

import asyncio
from pathlib import Path

from gogrid.local_socket import LineServer, NotAQuestionError, ask_line

MAX_LINE = 1 << 16


async def _shout(line: bytes) -> bytes:
    if not line.startswith(b"say "):
        raise NotAQuestionError("Not a question.")
    return line[4:].upper()


def _refusal(reason: str) -> bytes:
    return f"no: {reason}\n".encode()


def server_on(path: Path) -> LineServer:
    """Not open yet."""
    return LineServer(path, _shout, refusal=_refusal, max_line=MAX_LINE)


async def asked(path: Path, line: bytes, timeout_s: float = 5.0) -> bytes:
    """The answer to one line."""
    return await asyncio.to_thread(ask_line, path, line, max_line=MAX_LINE, timeout_s=timeout_s)
