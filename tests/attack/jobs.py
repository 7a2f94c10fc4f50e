"""Run a hostile script through the real sandbox, exactly as a submitted job runs."""

import asyncio
import hashlib
import textwrap
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gogrid.ids import Sha256
from gogrid.protocol.job_messages import JobMessage, Log, OutputFile, PythonDone, Started
from gogrid.protocol.tasks import InputFile, PythonLimits, PythonTask
from runner.python_job.run import run_python
from runner.sandbox.base import Launcher


@dataclass
class Job:
    """Everything a job told."""

    done: PythonDone
    messages: list[tuple[float, JobMessage]]
    """With the wall clock at which each came."""
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def stdout(self) -> str:
        return self._stream("stdout")

    @property
    def stderr(self) -> str:
        return self._stream("stderr")

    @property
    def first(self) -> JobMessage:
        return self.messages[0][1]

    def _stream(self, name: str) -> str:
        logs = [message for _, message in self.messages if isinstance(message, Log)]
        return b"".join(log.data for log in logs if log.stream == name).decode(errors="replace")


@dataclass(frozen=True)
class Jobs:
    """Runs scripts with one launcher; `folder` is where their files lie on the host."""

    launcher: Launcher
    folder: Path

    async def run(
        self,
        code: str,
        *,
        limits: PythonLimits = PythonLimits(wall_s=20),  # noqa: B008 - frozen
        inputs: Mapping[str, bytes] | None = None,
        arguments: tuple[str, ...] = (),
        cancel: asyncio.Event | None = None,
        cancel_on: str | None = None,
    ) -> Job:
        """Run `code` as a job to its end; `cancel_on` cancels it when that text appears in its output."""
        contents = {"main.py": textwrap.dedent(code).encode(), **(inputs or {})}
        cancel = cancel or asyncio.Event()
        messages: list[tuple[float, JobMessage]] = []
        files: dict[str, bytes] = {}
        paths = {}
        for number, (name, content) in enumerate(contents.items()):
            paths[name] = self.folder / f"input-{number}"
            paths[name].write_bytes(content)

        async def on_message(message: JobMessage) -> None:
            messages.append((time.time(), message))
            if cancel_on and isinstance(message, Log) and cancel_on.encode() in message.data:
                cancel.set()

        async def save_output(name: str, pieces: AsyncIterator[bytes]) -> OutputFile:
            files[name] = b"".join([piece async for piece in pieces])
            digest = Sha256(hashlib.sha256(files[name]).hexdigest())
            return OutputFile(name=name, sha256=digest, size=len(files[name]))

        task = PythonTask(
            files=tuple(InputFile(name=name, sha256=Sha256(""), size=len(data)) for name, data in contents.items()),
            entry="main.py",
            arguments=arguments,
            limits=limits,
        )
        done = await run_python(self.launcher, task, paths, on_message, save_output, cancel)
        assert isinstance(messages[0][1], Started)
        return Job(done, messages, files)


def processes_with(marker: str) -> list[int]:
    """The processes of this machine that have `marker` in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if marker.encode() in command:
                found.append(int(entry.name))
    return found


async def wait_until_gone(marker: str, within_s: float = 1.0) -> None:
    """Fail if a process with `marker` still exists after `within_s`."""
    deadline = time.monotonic() + within_s
    while left := processes_with(marker):
        assert time.monotonic() < deadline, f"processes {left} are still alive"
        await asyncio.sleep(0.01)
