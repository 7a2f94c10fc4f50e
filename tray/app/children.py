"""The app's helpers on the desktop, the icon and the window: processes that hang on their standard input.

Promises: each ends when its standard input does, which the system closes however the app ends; one that does not is
killed. What they complain of is read all the time, so that none of them ever waits for us.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from runner.control_messages import ControlMessage, encode_line
from tray.supervision.windows_job import NO_CONSOLE, hold_child

MAX_LINE = 1 << 16
_END_S = 2.0


async def start_child(command: Sequence[str], *, heard: bool) -> asyncio.subprocess.Process:
    """Args: `heard`: its standard output is read, too. Raises OSError."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE if heard else subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=MAX_LINE,
        creationflags=NO_CONSOLE if sys.platform == "win32" else 0,
    )
    hold_child(process.pid)
    return process


def tell(process: asyncio.subprocess.Process, message: ControlMessage) -> bool:
    """One line to it; whether it could be sent."""
    if process.returncode is not None or process.stdin is None or process.stdin.is_closing():
        return False
    process.stdin.write(encode_line(message))
    return True


async def last_complaint(process: asyncio.subprocess.Process) -> str:
    """The last line of its standard error, when that has ended."""
    last = b""
    async for line in lines_of(process.stderr):
        last = line or last
    return last.decode("utf-8", errors="replace")


async def lines_of(output: asyncio.StreamReader | None) -> AsyncIterator[bytes]:
    """Its lines without what surrounds them, until it ends; one without end is left out. It must be a pipe."""
    assert output is not None  # noqa: S101  # it was asked for as a pipe
    while True:
        try:
            line = await output.readline()
        except ValueError:
            continue  # dropped by the reader, which goes on behind it
        if not line:
            return
        yield line.strip()


async def end_child(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None and process.stdin is not None:
        process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await process.wait()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
