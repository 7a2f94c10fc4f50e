"""A runner that runs one job until it is killed. Standard input: the job's marker, then the path of its script."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from gogrid.ids import Sha256
from gogrid.protocol.job_messages import JobMessage, Log, OutputFile
from gogrid.protocol.tasks import InputFile, PythonTask
from runner.python_job.run import run_python
from runner.sandbox.choose import choose_launcher


async def main() -> None:
    marker, script = sys.stdin.readline().strip(), Path(sys.stdin.readline().strip())
    task = PythonTask(
        files=(InputFile(name="main.py", sha256=Sha256(""), size=1),), entry="main.py", arguments=(marker,)
    )
    await run_python(await choose_launcher(), task, {"main.py": script}, tell, refuse, asyncio.Event())


async def tell(message: JobMessage) -> None:
    if isinstance(message, Log):
        sys.stdout.buffer.write(message.data)  # as it comes: one line of a script may come in several pieces
        sys.stdout.buffer.flush()


async def refuse(name: str, pieces: AsyncIterator[bytes]) -> OutputFile:
    raise AssertionError(name)


asyncio.run(main())
