"""Run one Python job in a sandbox and report it live.

Promises: `Started` first, then the script's output as it comes, then the files it left; the wall clock, the log limit
and the output limits hold whatever comes out of the sandbox; when this returns or raises, nothing of the job runs any
more. Refuses, by `JobError`, a task whose own words cannot be carried out.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

from gogrid.errors import ProtocolError
from gogrid.protocol.framing import FrameDecoder
from gogrid.protocol.job_messages import FailCode, JobMessage, OutputFile, PythonDone, PythonEnd, Started
from gogrid.protocol.tasks import PythonLimits, PythonTask
from runner.errors import JobError
from runner.python_job import pipe, verdict
from runner.python_job.intake import Intake, TooMuchOutputError
from runner.python_job.names import check_name
from runner.python_job.packages import offered
from runner.sandbox.base import Launcher, Mount, SandboxedProcess, SandboxSpec
from sandbox_profiles import linux

OnMessage = Callable[[JobMessage], Awaitable[None]]
"""Takes each message in order; may wait until there is room for more."""
SaveOutput = Callable[[str, AsyncIterator[bytes]], Awaitable[OutputFile]]
"""Stores one output file: its checked name and its bytes in pieces."""

MAX_ARGUMENT_BYTES = 64 << 10
"""Of all the script's arguments together."""
MAX_INPUT_FILES = 1000

_LEAST_OUT_BYTES = 1 << 20
"""The working folder exists even for a job that may leave nothing in it."""
_READ = 256 << 10
_SILENCE_S = 30.0
"""Longest wait for the next piece of an output file."""
_LONGEST_SHOWN = 100
_KEPT_COMPLAINT = 4096

_log = logging.getLogger(__name__)


async def run_python(
    launcher: Launcher,
    task: PythonTask,
    inputs: Mapping[str, Path],
    on_message: OnMessage,
    save_output: SaveOutput,
    cancel: asyncio.Event,
    gpus: tuple[str, ...] = (),
    packages: tuple[str, ...] | None = None,
) -> PythonDone:
    """Run the script to its end, its limits, or `cancel`.

    Args:
        inputs: where each of `task.files` lies on this machine, by name.
        gpus: UUIDs of the GPUs granted.
        packages: what a script that misses one is told it can import; None: what this program's environment has.

    Raises:
        JobError: the task cannot be carried out as it is, or its sandbox did not start.
        SandboxUnavailableError: no sandbox can be started.
        Whatever `on_message` or `save_output` raises.
    """
    spec = sandbox_spec(task, inputs, gpus)
    process = await launcher.launch(spec)
    run = _Run(process, task.limits, _device(spec), on_message, save_output)
    if packages is not None:
        run.packages = packages
    try:
        process.stdin.close()
        return await run.to_end(cancel)
    finally:
        process.kill()
        await process.wait()


def sandbox_spec(task: PythonTask, inputs: Mapping[str, Path], gpus: tuple[str, ...] = ()) -> SandboxSpec:
    """The sandbox a task asks for. Raises `JobError` naming the parameter at fault."""
    limits = task.limits
    names = tuple(file.name for file in task.files)
    _check_names(names)
    if task.entry not in names:
        raise JobError(f"The script {task.entry!r} is not among the job's files.", FailCode.BAD_REQUEST, "entry")
    if any("\0" in argument for argument in task.arguments):
        raise JobError("An argument has a zero byte in it.", FailCode.BAD_REQUEST, "arguments")
    if sum(len(argument.encode(errors="surrogateescape")) for argument in task.arguments) > MAX_ARGUMENT_BYTES:
        raise JobError(
            f"The arguments are longer than {MAX_ARGUMENT_BYTES} bytes; pass them in a file.",
            FailCode.BAD_REQUEST,
            "arguments",
        )
    missing = [name for name in names if name not in inputs]
    if missing:
        raise JobError(f"The input file {missing[0]!r} did not reach this worker.", FailCode.INTERNAL)
    numbers = (str(limits.log_bytes), str(limits.output_bytes), str(limits.output_files))
    return SandboxSpec(
        arguments=("runner.python_job.inside", task.entry, *numbers, *task.arguments),
        mounts=tuple(Mount(inputs[name], f"{linux.JOB_IN}/{name}") for name in names),
        gpus=gpus,
        memory_bytes=limits.memory_bytes,
        cpu_seconds=verdict.cpu_seconds(limits),
        cpu_cores=math.ceil(limits.cpu_cores),
        cpu_weight=linux.SCRIPT_WEIGHT,
        out_bytes=max(limits.output_bytes, _LEAST_OUT_BYTES),
        threads=max(1, math.ceil(limits.cpu_cores)),
    )


def _device(spec: SandboxSpec) -> str:
    """What the script may compute on, in words."""
    cpu = f"CPU, {spec.threads} thread{'s' if spec.threads > 1 else ''}"
    return f"{len(spec.gpus)} GPU{'s' if len(spec.gpus) > 1 else ''}; {cpu}" if spec.gpus else cpu


def _check_names(names: tuple[str, ...]) -> None:
    if len(names) > MAX_INPUT_FILES:
        raise JobError(f"A job takes at most {MAX_INPUT_FILES} files.", FailCode.BAD_REQUEST, "files")
    folders = {name[:cut] for name in names for cut in range(len(name)) if name[cut] == "/"}
    for name in names:
        if fault := check_name(name):
            raise JobError(
                f"The file {name!r} cannot be given to a job: its name {fault}.", FailCode.BAD_REQUEST, "files"
            )
    twice = len(set(names)) < len(names)
    if twice or folders & set(names):
        raise JobError("Two of the job's files have one name.", FailCode.BAD_REQUEST, "files")


class _Run:
    """One started sandbox, from its first record to its last."""

    def __init__(
        self,
        process: SandboxedProcess,
        limits: PythonLimits,
        device: str,
        on_message: OnMessage,
        save_output: SaveOutput,
    ) -> None:
        self._process = process
        self._limits = limits
        self._device = device
        self._on_message = on_message
        self._save_output = save_output
        self._intake = Intake(limits)
        self._script_ended = asyncio.Event()
        self._files: list[OutputFile] = []
        self.packages = offered()
        self._renamed: list[tuple[str, str]] = []
        """What the script had called files, and what they are called now."""

    async def to_end(self, cancel: asyncio.Event) -> PythonDone:
        """Race the job against its clock and its submitter."""
        complaint = asyncio.create_task(self._complaint())
        work = asyncio.create_task(self._take_records())
        cancelled = asyncio.create_task(cancel.wait())
        script = asyncio.create_task(self._script_ended.wait())
        try:
            first = asyncio.FIRST_COMPLETED
            await asyncio.wait({work, script, cancelled}, timeout=self._limits.wall_s, return_when=first)
            if not (work.done() or script.done() or cancelled.done()):
                return await self._stop(work, PythonEnd.TIMEOUT)
            await asyncio.wait({work, cancelled}, return_when=first)
            if not work.done():
                return await self._stop(work, PythonEnd.CANCELLED)
            return await self._settle(work, complaint)
        finally:
            self._process.kill()
            for running in (work, cancelled, script, complaint):
                running.cancel()
            await asyncio.gather(work, cancelled, script, complaint, return_exceptions=True)

    async def _stop(self, work: asyncio.Task[None], why: verdict.Stop) -> PythonDone:
        """Kill the job; its last words still come out of the pipe, unless nobody wants them."""
        self._process.kill()
        if why is PythonEnd.CANCELLED:
            work.cancel()
        with contextlib.suppress(ProtocolError, asyncio.CancelledError):
            await work
        return verdict.stopped(why, self._limits, logs_truncated=self._intake.logs_truncated)

    async def _settle(self, work: asyncio.Task[None], complaint: asyncio.Task[bytes]) -> PythonDone:
        limits, truncated = self._limits, self._intake.logs_truncated
        broke = ""
        try:
            await work
        except TooMuchOutputError:
            if self._intake.ended is not None:
                return verdict.too_large(self._intake.ended, limits, logs_truncated=truncated)
        except ProtocolError as error:
            broke = str(error)
        if not broke and self._intake.ended is not None:
            evidence = verdict.Evidence(
                self._intake.errors, self._process.over_memory, self.packages, self._renamed, logs_truncated=truncated
            )
            return verdict.judge(self._intake.ended, limits, tuple(self._files), evidence)
        self._process.kill()
        status = await self._process.wait()
        words = (await complaint).decode(errors="replace").strip()
        _log.warning("A Python job's sandbox ended with status %d: %s", status, broke or words or "it said nothing")
        if not self._intake.has_begun:
            raise JobError("The sandbox did not start on this worker; its log says why.", FailCode.CRASHED)
        why = broke or "Its sandbox ended before it did."
        return verdict.broken(why, status, self._process.over_memory, logs_truncated=truncated)

    async def _take_records(self) -> None:
        """Until the last record. Raises `ProtocolError` on any that should not come, or that does not."""
        records = self._records()
        async for record in records:
            match record:
                case pipe.Began():
                    self._intake.begin()
                    await self._on_message(Started(device=self._device))
                case pipe.Output():
                    if log := self._intake.log(record):
                        await self._on_message(log)
                case pipe.Ended():
                    self._intake.end(record)
                    self._script_ended.set()
                case pipe.FileBegins():
                    self._intake.file(record)
                    pieces = _pieces(records, record.size)
                    self._files.append(await self._save_output(record.name, pieces))
                    if record.was:
                        self._renamed.append((record.was[:_LONGEST_SHOWN], record.name))
                    async for _ in pieces:
                        pass
                case pipe.Done() if self._intake.ended is not None:
                    return
                case _:
                    raise ProtocolError("The sandbox sent a record out of order.")
        if self._intake.ended is not None:
            raise ProtocolError("The sandbox ended before all output files had come.")

    async def _records(self) -> AsyncIterator[pipe.Record]:
        decoder = FrameDecoder()
        while True:
            patience = _SILENCE_S if self._script_ended.is_set() else None
            try:
                async with asyncio.timeout(patience):
                    data = await self._process.stdout.read(_READ)
            except TimeoutError:
                raise ProtocolError("The sandbox stopped sending an output file.") from None
            if not data:
                return
            for payload in decoder.feed(data):
                yield pipe.decode(payload)

    async def _complaint(self) -> bytes:
        """What the sandbox program itself says; all is read, the beginning is kept."""
        kept = b""
        while piece := await self._process.stderr.read(_KEPT_COMPLAINT):
            kept += piece[: _KEPT_COMPLAINT - len(kept)]
        return kept


async def _pieces(records: AsyncIterator[pipe.Record], size: int) -> AsyncIterator[bytes]:
    """Exactly `size` bytes of a file, which are the next records. Raises `ProtocolError` on anything else."""
    left = size
    while left:
        record = await anext(records, None)
        if not isinstance(record, pipe.FileData) or not 0 < len(record.data) <= left:
            raise ProtocolError("The sandbox broke off an output file.")
        left -= len(record.data)
        yield record.data
