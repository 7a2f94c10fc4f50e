"""`gogrid jobs`, `logs` and `cancel`: what became of submitted work."""

import argparse
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gogrid.client.answers import Job, LogPiece
from gogrid.client.commands.options import command, whole
from gogrid.client.follow import follow
from gogrid.client.job_text import stored, story
from gogrid.client.script_output import ScriptOutput, ending
from gogrid.client.shell import Exit, Shell, UsageError
from gogrid.client.tables import ago, span, table

if TYPE_CHECKING:
    from gogrid.client.shell import Commands

STATES = ("queued", "leased", "running", "done", "failed", "cancelled", "dead")
_MODEL_KINDS = ("chat", "completion")


def add(commands: "Commands") -> None:
    _add_jobs(commands)
    reading = command(commands, "logs", "show what a job's script wrote", logs)
    _job(reading)
    reading.add_argument("-f", "--follow", action="store_true", help="go on as it comes, until the job has ended")
    reading.add_argument("--raw", action="store_true", help="pass control characters on to the terminal")
    _job(command(commands, "cancel", "stop a job", cancel))


def _add_jobs(commands: "Commands") -> None:
    group = command(commands, "jobs", "list your jobs, newest first; or look at one, or try one again", jobs)
    _listing(group)
    verbs = group.add_subparsers(metavar="VERB")
    _listing(command(verbs, "list", "list your jobs, newest first (what `gogrid jobs` alone does)", jobs))
    _job(command(verbs, "show", "show one job: why it waits, who tried it, how it ended", show))
    fetching = command(verbs, "files", "fetch the output files of a script that has ended", files)
    _job(fetching)
    fetching.add_argument("--output", metavar="DIR", type=Path, help="folder for them (default: the job's id)")
    _job(command(verbs, "requeue", "try a job again that is dead or has failed", requeue))
    _job(command(verbs, "result", "print what a job for a model answered", result))


def _listing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=whole(1, 1000), default=20, metavar="N", help="how many at most (default 20)")
    parser.add_argument("--all", action="store_true", help="also chats and embeddings, not only Python jobs")
    parser.add_argument(
        "--state", action="append", default=None, choices=STATES, metavar="STATE", help="only those; may be given again"
    )


def _job(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="a job's id, or the beginning of it")


def jobs(arguments: argparse.Namespace, shell: Shell) -> int:
    states = arguments.state or ()
    with shell.client() as client:
        found = client.jobs(limit=arguments.limit, states=states, every_kind=arguments.all)
    if shell.json:
        shell.value(found)
    elif not found:
        none = (
            f"There are no {' or '.join(states)} jobs."
            if states
            else "There are no jobs: submit one with `gogrid run`."
        )
        shell.note(none)
    else:
        now = time.time()
        rows = [_row(job, now) for job in found]
        shell.text(table(("JOB", "KIND", "WHAT", "STATE", "SUBMITTED", "TOOK", "WORKER"), rows))
    return Exit.DONE


def show(arguments: argparse.Namespace, shell: Shell) -> int:
    with shell.client() as client:
        job = client.job(arguments.job)
    if shell.json:
        shell.value(job)
    else:
        shell.text(story(job, time.time()))
    return Exit.DONE


def files(arguments: argparse.Namespace, shell: Shell) -> int:
    with shell.client() as client:
        job = client.job(arguments.job)
        if not job.ended:
            raise UsageError(f"{job.id} has not ended: it is {job.state}. `gogrid logs -f {job.id}` waits for it.")
        found = job.result.files if job.result is not None else ()
        folder: Path = arguments.output or Path(job.id)
        if found:
            client.download(job, folder)
    if shell.json:
        shell.value({"job": job.id, "folder": str(folder), "files": found})
    else:
        shell.note(f"gogrid: {stored(job, folder)}" if found else f"gogrid: {job.id} left no output files.")
    return Exit.DONE


def requeue(arguments: argparse.Namespace, shell: Shell) -> int:
    with shell.client() as client:
        job = client.requeue(arguments.job)
    if shell.json:
        shell.value(job)
    else:
        shell.line(f"{job.id} waits again.")
    return Exit.DONE


def result(arguments: argparse.Namespace, shell: Shell) -> int:
    with shell.client() as client:
        job = client.job(arguments.job)
        if job.kind == "embedding":
            shell.value(client.vectors(job.id))
            return Exit.DONE
        if job.kind not in _MODEL_KINDS:
            shell.failure(
                f"{job.id} is a script: see `gogrid jobs show {job.id}` and `gogrid logs {job.id}`.", "no_answer"
            )
            return Exit.REFUSED
        answer = client.text(job.id)
    if shell.json:
        shell.value(answer)
    else:
        shell.line(answer.text)
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
    elif job.result is not None and job.result.ended == "failed":
        state = f"{state}, exit {job.result.exit_code}"
    elif job.result is not None and job.result.ended != "ok":
        state = f"{state}, {job.result.word}"
    return (job.id, job.kind, job.label, state, ago(job.created_at, now), took, job.worker_name or job.worker or "")
