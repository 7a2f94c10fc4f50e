"""The runner believes nothing that comes out of a Python job's sandbox, even if its supervisor were taken over.

The launcher here is a fake that speaks the real seam: a plain process that plays a hostile supervisor.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gogrid.ids import Sha256
from gogrid.protocol.framing import encode_frame
from gogrid.protocol.job_messages import FailCode, JobMessage, OutputFile, PythonDone
from gogrid.protocol.tasks import InputFile, PythonLimits, PythonTask
from runner.errors import JobError
from runner.python_job import pipe
from runner.python_job.run import run_python
from runner.sandbox.base import SandboxReport, SandboxSpec
from tests.fakes.plain_launcher import PlainProcess

LIMITS = PythonLimits(wall_s=3, log_bytes=1000, output_bytes=1000, output_files=3)
ENDED = pipe.Ended(0, 0, 0, 0, 0, False)
BEGAN = pipe.Began()


@dataclass(frozen=True)
class HostileLauncher:
    """Whatever the task, its process writes `output` and then waits or ends."""

    output: bytes
    end: str = "pass"

    @property
    def report(self) -> SandboxReport:
        return SandboxReport(name="none", layers=(), missing=(), python_jobs=True)

    async def launch(self, spec: SandboxSpec) -> PlainProcess:
        play = f"import os, sys, time; sys.stdout.buffer.write(sys.stdin.buffer.read()); sys.stdout.flush(); {self.end}"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            play,
            stdin=-1,
            stdout=-1,
            stderr=-1,  # all three are pipes
        )
        assert process.stdin is not None
        process.stdin.write(self.output)
        return PlainProcess(process)


async def play(launcher: HostileLauncher) -> tuple[PythonDone, dict[str, bytes], list[JobMessage]]:
    saved: dict[str, bytes] = {}
    messages: list[JobMessage] = []

    async def on_message(message: JobMessage) -> None:
        messages.append(message)

    async def save(name: str, pieces: AsyncIterator[bytes]) -> OutputFile:
        saved[name] = b"".join([piece async for piece in pieces])
        return OutputFile(name=name, sha256=Sha256(""), size=len(saved[name]))

    task = PythonTask(files=(InputFile(name="m", sha256=Sha256(""), size=0),), entry="m", limits=LIMITS)
    done = await run_python(launcher, task, {"m": Path("/dev/null")}, on_message, save, asyncio.Event())
    return done, saved, messages


def said(*records: pipe.Record) -> bytes:
    return b"".join(encode_frame(pipe.encode(record)) for record in records)


@pytest.mark.parametrize(
    "output",
    [
        said(BEGAN) + b"\0\0\0\1?",
        said(BEGAN, BEGAN),
        said(BEGAN, pipe.Done()),
        said(BEGAN, ENDED, ENDED),
        said(BEGAN, ENDED, pipe.FileBegins("../../x", 1), pipe.FileData(b"x"), pipe.Done()),
        said(BEGAN, pipe.FileBegins("early", 1), pipe.FileData(b"x"), ENDED, pipe.Done()),
        said(BEGAN, ENDED, pipe.FileData(b"x"), pipe.Done()),
        said(BEGAN, ENDED, pipe.FileBegins("longer", 1), pipe.FileData(b"xy"), pipe.Done()),
        said(BEGAN, ENDED, pipe.FileBegins("empty pieces", 1), pipe.FileData(b""), pipe.FileData(b"x"), pipe.Done()),
        said(BEGAN, ENDED, pipe.FileBegins("shorter", 2), pipe.FileData(b"x"), pipe.Done()),
        said(BEGAN, ENDED, pipe.FileBegins("cut", 2), pipe.FileData(b"x")),
        said(BEGAN, ENDED),
        said(BEGAN),
    ],
)
async def test_supervisor_that_breaks_the_rules_breaks_only_its_job(
    output: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL):
        done, saved, _ = await play(HostileLauncher(output))
    assert (done.ended, done.files) == ("crashed", ())
    assert "../../x" not in saved
    assert done.exit_code > 0


@pytest.mark.parametrize("output", [b"", b"\xff\xff\xff\xff", b"bwrap: no permission", said(ENDED)])
async def test_sandbox_that_never_began_may_be_tried_elsewhere(output: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL), pytest.raises(JobError, match="did not start") as refusal:
        await play(HostileLauncher(output))
    assert refusal.value.code is FailCode.CRASHED


async def test_supervisor_that_sends_too_much_is_stopped_at_the_limit() -> None:
    for records in (
        [pipe.FileBegins("big", 1001), pipe.FileData(bytes(1001))],
        [record for name in "abcd" for record in (pipe.FileBegins(name, 0),)],
    ):
        done, saved, _ = await play(HostileLauncher(said(BEGAN, ENDED, *records, pipe.Done())))
        assert (done.ended, done.files) == ("output_too_large", ())
        assert "big" not in saved


async def test_supervisor_that_never_ends_is_ended() -> None:
    done, _, messages = await play(HostileLauncher(said(BEGAN, pipe.Output("stdout", b"x")), "time.sleep(60)"))
    assert (done.ended, len(messages)) == ("timeout", 2)


async def test_log_beyond_the_limit_is_dropped_whoever_sends_it() -> None:
    flood = [pipe.Output("stdout", bytes(400))] * 10
    done, _, messages = await play(HostileLauncher(said(BEGAN, *flood, ENDED, pipe.Done())))
    assert (done.ended, done.logs_truncated) == ("ok", True)
    assert sum(len(getattr(message, "data", b"")) for message in messages) == 1000


async def test_failure_to_store_an_output_ends_the_job_and_its_sandbox() -> None:
    class StoreError(Exception):
        pass

    async def ignore(message: JobMessage) -> None:
        pass

    async def fail(name: str, pieces: AsyncIterator[bytes]) -> OutputFile:
        raise StoreError(name)

    task = PythonTask(files=(InputFile(name="m", sha256=Sha256(""), size=0),), entry="m", limits=LIMITS)
    launcher = HostileLauncher(said(BEGAN, ENDED, pipe.FileBegins("a", 1)), "time.sleep(60)")
    with pytest.raises(StoreError):
        await asyncio.wait_for(
            run_python(launcher, task, {"m": Path("/dev/null")}, ignore, fail, asyncio.Event()), timeout=5
        )
