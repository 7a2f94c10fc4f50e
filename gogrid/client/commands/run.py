"""`gogrid run`: a Python script with its files, in a sandbox on somebody's idle machine, its results here.

Output comes live and to the right stream; output files are fetched into a folder; the exit code is the script's. The
job is safe once it is submitted: an answer that got lost is asked for again with the same idempotency key, so nothing
runs twice. Ctrl-C cancels the job, a second one leaves at once.
"""

import argparse
import contextlib
import secrets
import time
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

from msgspec import UNSET

from gogrid.client.answers import Job, Limits, LogPiece
from gogrid.client.client import GoGrid
from gogrid.client.commands.options import between, command, number, seconds, size, whole
from gogrid.client.errors import ClientError, OutputError, RefusedError, UnreachableError
from gogrid.client.follow import follow
from gogrid.client.output import safe_parts
from gogrid.client.patience import after
from gogrid.client.script_output import ScriptOutput, ending
from gogrid.client.shell import Exit, Shell, UsageError
from gogrid.client.tables import span
from gogrid.sizes import format_size

if TYPE_CHECKING:
    from gogrid.client.shell import Commands

MOST_BYTES = 8 << 20
"""All files of one job together, as the coordinator allows."""
_PAUSES_S = (0.5, 2.0)
_PATIENCE_S = 1.5
_NAMED = 10
"""So many output files are named."""


def add(commands: "Commands") -> None:
    parser = command(commands, "run", "run a Python script on the grid", run)
    parser.add_argument("script", metavar="SCRIPT", type=Path, help="the Python file to run")
    parser.add_argument(
        "--file",
        dest="files",
        metavar="IN",
        action="append",
        default=[],
        type=Path,
        help="a file the script needs; it finds it next to itself; may be given again",
    )
    parser.add_argument(
        "--memory",
        type=between(size, 16 << 20, 1 << 42, "from 16MiB to 4TiB"),
        metavar="SIZE",
        help="how much it may use, such as 2GB",
    )
    parser.add_argument("--cpu", type=number(0.01, 1024), metavar="N", help="how many cores it may use")
    parser.add_argument(
        "--timeout",
        type=between(seconds, 1, 7 * 86400, "from 1s to 7d"),
        metavar="TIME",
        help="how long it may run, such as 60 or 15m",
    )
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
    parser.usage = "gogrid run [options] SCRIPT [-- ARGS ...]"
    parser.set_defaults(failure=Exit.GOGRID_FAILED, rest=[])


def run(arguments: argparse.Namespace, shell: Shell) -> int:
    entry, files = _bundle(arguments.script, arguments.files)
    limits = Limits(
        memory_bytes=UNSET if arguments.memory is None else arguments.memory,
        cpu_cores=UNSET if arguments.cpu is None else arguments.cpu,
        wall_s=UNSET if arguments.timeout is None else arguments.timeout,
    )
    with shell.client() as client:
        job = _submit(client, arguments, entry, files, limits)
        if arguments.detach:
            if shell.json:
                shell.value({"job": job})
            else:
                shell.line(job.id)
            return Exit.DONE
        return _see_through(client, arguments, shell, job)


def _bundle(script: Path, more: list[Path]) -> tuple[str, dict[str, bytes]]:
    """The script's name and all files by the name they have in the job."""
    files: dict[str, bytes] = {}
    for path in (script, *more):
        name = script.name if path is script else _name(path)
        if name.casefold() in {known.casefold() for known in files}:
            raise UsageError(f"{path} would be {name!r} in the job, as another file is: rename one of them.")
        if path.is_dir():
            raise UsageError(f"{path} is a folder: name its files, or pack them into one.")
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is not a plain file.")
        try:
            safe_parts(name)
        except OutputError as error:
            raise UsageError(f"{path} cannot be sent: {name!r} is not a plain file name on every system.") from error
        try:
            with path.open("rb") as file:
                files[name] = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
        if sum(map(len, files.values())) > MOST_BYTES:
            raise UsageError(
                f"The script and its files are more than the {format_size(MOST_BYTES)} that a job may have."
            )
    return script.name, files


def _name(path: Path) -> str:
    """Relative paths that stay below this folder are kept, others lose their folder."""
    plain = PurePath(path)
    if plain.is_absolute() or ".." in plain.parts:
        return plain.name
    return PurePosixPath(*plain.parts).as_posix()


def _submit(client: GoGrid, arguments: argparse.Namespace, entry: str, files: dict[str, bytes], limits: Limits) -> Job:
    key = secrets.token_hex(16)
    pauses = iter(_PAUSES_S)
    while True:
        try:
            return client.submit_python(
                files,
                entry,
                arguments=arguments.rest,
                limits=limits,
                label=entry,
                priority=arguments.priority,
                idempotency_key=key,
            )
        except (UnreachableError, RefusedError) as error:
            again = not isinstance(error, RefusedError) or error.status in (502, 503, 504)
            pause = next(pauses, None)
            if not again or pause is None:
                raise
            time.sleep(pause)


def _see_through(client: GoGrid, arguments: argparse.Namespace, shell: Shell, job: Job) -> int:
    try:
        ended = _show(client, arguments, shell, job)
    except KeyboardInterrupt:
        return _cancel(client, shell, job)
    except ClientError:
        shell.note(f"gogrid: lost sight of {job.id}, which goes on: see `gogrid logs -f {job.id}`.")
        raise
    if sentence := ending(ended):
        shell.note(f"gogrid: {sentence}")
    code = _exit_code(ended)
    if ended.result is not None and ended.result.files:
        folder = arguments.output or Path(ended.id)
        client.download(ended, folder)
        if not shell.json:
            shell.note(f"gogrid: {_stored([file.name for file in ended.result.files], folder)}")
    if shell.json:
        shell.value({"job": ended, "exit_code": code})
    return code


def _stored(names: list[str], folder: Path) -> str:
    count = "1 output file" if len(names) == 1 else f"{len(names)} output files"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{count} in {folder}: {', '.join(names[:_NAMED])}{more}"


def _say_what_it_waits_for(shell: Shell, job_id: str) -> None:
    """Advice while nothing happens: if no worker has the job yet, why."""
    with contextlib.suppress(ClientError), shell.client() as client:
        job = client.job(job_id)
        if job.state == "queued":
            why = "; ".join(job.waiting_for) or "all workers are busy"
            start = (
                "" if job.estimated_start_s is None else f", starts in about {span(max(1.0, job.estimated_start_s))}"
            )
            shell.note(f"gogrid: {job_id} waits{start} ({why}). Ctrl-C cancels it.")


def _show(client: GoGrid, arguments: argparse.Namespace, shell: Shell, job: Job) -> Job:
    output = ScriptOutput(shell, raw=arguments.raw)
    ended = job
    with (
        after(_PATIENCE_S, lambda: _say_what_it_waits_for(shell, job.id)),
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


def _exit_code(job: Job) -> int:
    """The script's own; what stopped it otherwise must never look like success."""
    if job.result is None:
        return Exit.GOGRID_FAILED
    if job.result.ended == "ok":
        return job.result.exit_code & 0xFF
    return job.result.exit_code & 0xFF or Exit.GOGRID_FAILED
