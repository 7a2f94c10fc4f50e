"""`gogrid run`: a Python script, a folder or a line of code, in a sandbox on somebody's idle machine, its results here.

Output comes live and to the right stream; output files are fetched into a folder; the exit code is the script's. The
job is safe once it is submitted: an answer that got lost is asked for again with the same idempotency key, so nothing
runs twice. Ctrl-C cancels the job, a second one leaves at once.
"""

import argparse
import contextlib
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec import UNSET, UnsetType

from gogrid.client.answers import Job, Limits, LogPiece, PythonRequest
from gogrid.client.bundle import Bundle, of_code, of_path
from gogrid.client.client import GoGrid
from gogrid.client.commands.options import between, command, number, seconds, size, whole
from gogrid.client.errors import ClientError, RefusedError, UnreachableError
from gogrid.client.follow import follow
from gogrid.client.interrupts import as_ctrl_c
from gogrid.client.job_text import stored
from gogrid.client.script_output import ScriptOutput, ending, exit_code
from gogrid.client.shell import Exit, Shell, UsageError
from gogrid.client.waiting import told
from gogrid.terminal import one_line

if TYPE_CHECKING:
    from gogrid.client.shell import Commands

_PAUSES_S = (0.5, 2.0)
_LIMITS = "`limits`: "
T = TypeVar("T")


def add(commands: "Commands") -> None:
    parser = command(commands, "run", "run a Python script, or a folder of them, on the grid", run)
    parser.add_argument(
        "words",
        metavar="SCRIPT [ARGS ...]",
        nargs="*",
        help="the Python file or folder to run, and its arguments; its options go behind --",
    )
    parser.add_argument("-c", dest="code", metavar="CODE", help="run this text instead of a file")
    parser.add_argument(
        "--entry", metavar="FILE", help="of a folder: the file to run (default: main.py, else __main__.py)"
    )
    parser.add_argument(
        "--input",
        dest="inputs",
        metavar="PATH",
        action="append",
        default=[],
        type=Path,
        help="a file or folder that the script needs; it finds it where it works; may be given again",
    )
    parser.add_argument("--gpu", action="store_true", help="run it on a worker that lends its GPU to scripts")
    _limits(parser)
    parser.add_argument(
        "--output", metavar="DIR", type=Path, help="folder for its output files (default: the job's id)"
    )
    parser.add_argument(
        "--priority",
        type=whole(-100, 100),
        default=0,
        metavar="N",
        help="-100 to 100, higher first; above 0 needs an admin's key (default 0)",
    )
    parser.add_argument("--detach", action="store_true", help="submit, print the job's id and end")
    parser.add_argument("--raw", action="store_true", help="pass control characters on to the terminal")
    parser.usage = "gogrid run [options] SCRIPT|FOLDER [ARGS ...] [-- ARGS ...]"
    parser.set_defaults(failure=Exit.GOGRID_FAILED, rest=[])


def _limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--memory",
        type=between(size, 16 << 20, 1 << 42, "from 16MiB to 4TiB"),
        metavar="SIZE",
        help="how much it may use, such as 2GB",
    )
    parser.add_argument("--cpus", type=number(0.01, 1024), metavar="N", help="how many cores it may use")
    parser.add_argument(
        "--timeout",
        type=between(seconds, 1, 7 * 86400, "from 1s to 7d"),
        metavar="TIME",
        help="how long it may run, such as 60 or 15m",
    )
    parser.add_argument(
        "--max-output",
        type=between(size, 1, 1 << 30, "from 1B to 1GiB"),
        metavar="SIZE",
        help="how many bytes of output files it may leave, such as 200MB",
    )
    parser.add_argument("--max-files", type=whole(0, 4000), metavar="N", help="how many output files it may leave")


def run(arguments: argparse.Namespace, shell: Shell) -> int:
    bundle, label, rest = _asked(arguments)
    limits = Limits(
        memory_bytes=_or_default(arguments.memory),
        cpu_cores=_or_default(arguments.cpus),
        wall_s=_or_default(arguments.timeout),
        output_bytes=_or_default(arguments.max_output),
        output_files=_or_default(arguments.max_files),
    )
    request = PythonRequest(
        entry=bundle.entry,
        arguments=rest,
        limits=limits,
        gpu=arguments.gpu,
        label=label,
        priority=arguments.priority,
    )
    with shell.client() as client, as_ctrl_c():
        job = _submit(client, request, bundle.files)
        if arguments.detach:
            if shell.json:
                shell.value({"job": job})
            else:
                shell.line(job.id)
            return Exit.DONE
        return _see_through(client, arguments, shell, job)


def _asked(arguments: argparse.Namespace) -> tuple[Bundle, str, tuple[str, ...]]:
    """What to send, what to call it, and the script's arguments."""
    words: list[str] = arguments.words
    if arguments.output is not None and arguments.detach:
        raise UsageError("--output has no use with --detach: fetch the files later with `gogrid jobs files JOB`.")
    if arguments.output is not None and arguments.output.exists() and not arguments.output.is_dir():
        raise UsageError(f"--output {arguments.output} is a file; name a folder.")
    if arguments.code is not None:
        if arguments.entry is not None:
            raise UsageError("--entry is for folders, and -c has none.")
        return of_code(arguments.code, arguments.inputs), "-c", (*words, *arguments.rest)
    if not words:
        raise UsageError("Name a SCRIPT or a FOLDER to run, or give its text with -c CODE.")
    script = Path(words[0])
    bundle = of_path(script, arguments.inputs, arguments.entry)
    return bundle, one_line(script.name or script.resolve().name), (*words[1:], *arguments.rest)


def _or_default(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value


def _submit(client: GoGrid, request: PythonRequest, files: dict[str, bytes]) -> Job:
    key = secrets.token_hex(16)
    pauses = iter(_PAUSES_S)
    while True:
        try:
            return client.submit_script(files, request, idempotency_key=key)
        except (UnreachableError, RefusedError) as error:
            again = not isinstance(error, RefusedError) or error.status in (502, 503, 504)
            pause = next(pauses, None)
            if not again or pause is None:
                raise _in_options(error) from error
            time.sleep(pause)


def _in_options(error: UnreachableError | RefusedError) -> ClientError:
    """A refusal of what the API calls `limits`, in the words of this command."""
    if not isinstance(error, RefusedError) or not str(error).startswith(_LIMITS):
        return error
    words = f"{str(error).removeprefix(_LIMITS)} Ask for less with --memory or --cpus."
    return RefusedError(words, status=error.status, code=error.code, retry_after_s=error.retry_after_s)


def _see_through(client: GoGrid, arguments: argparse.Namespace, shell: Shell, job: Job) -> int:
    try:
        ended = _show(client, arguments, shell, job)
    except KeyboardInterrupt:
        return _cancel(client, shell, job)
    except BrokenPipeError:  # as in `| head -1`
        client.cancel(job.id)
        shell.note(f"gogrid: nobody reads the output any more; cancelled {job.id}.")
        raise
    except ClientError:
        shell.note(f"gogrid: lost sight of {job.id}, which goes on: see `gogrid logs -f {job.id}`.")
        raise
    if sentence := ending(ended):
        shell.note(f"gogrid: {sentence}")
    code = exit_code(ended)
    if ended.result is not None and ended.result.files:
        folder = arguments.output or Path(ended.id)
        client.download(ended, folder)
        if not shell.json:
            shell.note(f"gogrid: {stored(ended, folder)}")
    if shell.json:
        shell.value({"job": ended, "exit_code": code})
    return code


def _show(client: GoGrid, arguments: argparse.Namespace, shell: Shell, job: Job) -> Job:
    output = ScriptOutput(shell, raw=arguments.raw)
    ended = job
    with (
        told(shell, job.id),
        contextlib.closing(follow(client, job.id, shell.note)) as pieces,
    ):
        for piece in pieces:
            if isinstance(piece, LogPiece):
                output.write(piece)
            else:
                ended = piece
    output.close()
    return ended


def _cancel(client: GoGrid, shell: Shell, job: Job) -> int:
    shell.note(f"gogrid: cancelling {job.id} …")
    try:
        client.cancel(job.id)
    except ClientError as error:
        shell.note(f"gogrid: {job.id} could not be cancelled and may go on: {error}")
    return Exit.INTERRUPTED
