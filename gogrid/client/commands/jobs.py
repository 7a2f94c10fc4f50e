"""`gogrid jobs`, `logs` and `cancel`: what became of submitted work."""

import argparse
import contextlib
import time
from typing import TYPE_CHECKING

from gogrid.client.answers import Job, LogPiece
from gogrid.client.commands.options import command, whole
from gogrid.client.follow import follow
from gogrid.client.script_output import ScriptOutput, ending
from gogrid.client.shell import Exit, Shell
from gogrid.client.tables import ago, span, table

if TYPE_CHECKING:
    from gogrid.client.shell import Commands


def add(commands: "Commands") -> None:
    listing = command(commands, "jobs", "list your jobs, newest first", jobs)
    listing.add_argument("--limit", type=whole(1, 1000), default=20, metavar="N", help="how many at most (default 20)")
    listing.add_argument("--all", action="store_true", help="also chats and embeddings, not only Python jobs")
    reading = command(commands, "logs", "show what a job's script wrote", logs)
    reading.add_argument("job", metavar="JOB", help="a job's id")
    reading.add_argument("-f", "--follow", action="store_true", help="go on as it comes, until the job has ended")
    reading.add_argument("--raw", action="store_true", help="pass control characters on to the terminal")
    stopping = command(commands, "cancel", "stop a job", cancel)
    stopping.add_argument("job", metavar="JOB", help="a job's id")


def jobs(arguments: argparse.Namespace, shell: Shell) -> int:
    with shell.client() as client:
        found = client.jobs(limit=arguments.limit, every_kind=arguments.all)
    if shell.json:
        shell.value(found)
    elif not found:
        shell.note("There are no jobs: submit one with `gogrid run script.py`.")
    else:
        now = time.time()
        rows = [_row(job, now) for job in found]
        shell.text(table(("JOB", "KIND", "WHAT", "STATE", "SUBMITTED", "TOOK", "WORKER"), rows))
    return Exit.DONE


def logs(arguments: argparse.Namespace, shell: Shell) -> int:
    output = ScriptOutput(shell, raw=arguments.raw)
    with shell.client() as client:
        stream = (
            follow(client, arguments.job, shell.note) if arguments.follow else client.logs(arguments.job, follow=False)
        )
        with contextlib.closing(stream) as pieces:
            for piece in pieces:
                if isinstance(piece, LogPiece):
                    output.write(piece)
                elif shell.json:
                    shell.value({"job": piece})
                elif sentence := ending(piece):
                    shell.note(f"gogrid: {sentence}")
    output.close()
    return Exit.DONE


def cancel(arguments: argparse.Namespace, shell: Shell) -> int:
    with shell.client() as client:
        job = client.cancel(arguments.job)
    stopped = job.state == "cancelled"
    if shell.json:
        shell.value(job)
    else:
        shell.line(f"{job.id} is cancelled." if stopped else f"{job.id} had ended already: {job.state}.")
    return Exit.DONE if stopped else Exit.REFUSED


def _row(job: Job, now: float) -> tuple[str, ...]:
    took = ""
    if job.started_at is not None:
        took = span((job.finished_at if job.finished_at is not None else now) - job.started_at)
    state = job.state
    if job.queue_position is not None:
        state = f"{state}, {job.queue_position} before it"
    elif job.result is not None and job.result.exit_code:
        state = f"{state}, exit {job.result.exit_code}"
    return (job.id, job.kind, job.label, state, ago(job.created_at, now), took, job.worker or "")
