"""One job in words: what `gogrid jobs show` prints. Pure: the clock is a parameter."""

from collections.abc import Sequence
from pathlib import Path

from gogrid.client.answers import Job, OutputFile
from gogrid.client.tables import ago, span, table
from gogrid.terminal import one_line

_WIDTH = 11
_FILES = 10
"""So many output files are named."""


def story(job: Job, now: float) -> str:
    """One fact a line, its tries as a table below; made harmless for a terminal."""
    facts = [
        ("job", [job.id]),
        ("what", [f"{job.label} ({job.kind})"]),
        ("state", [_state(job)]),
        ("priority", [str(job.priority)]),
        ("waits for", list(job.waiting_for) if job.queue_position is not None else []),
        ("worker", [f"{job.worker_name or job.worker} ({job.worker})"] if job.worker is not None else []),
        ("submitted", [f"{ago(job.created_at, now)}, by {job.owner}" if job.owner else ago(job.created_at, now)]),
        ("took", [_took(job, now)] if job.started_at is not None else []),
        ("attempts", [_attempts(job, now)] if job.attempts else []),
        ("result", _result(job)),
        ("error", [f"{job.error.message} ({job.error.code})"] if job.error is not None else []),
    ]
    text = "".join(_fact(name, lines) for name, lines in facts)
    if job.history:
        rows = [
            (str(one.epoch), one.worker_name, _span_of(one.started_at, one.ended_at), one.ended, one.why)
            for one in job.history
        ]
        text += "\n" + table(("TRY", "WORKER", "TOOK", "ENDED", "WHY"), rows)
    return text


def _fact(name: str, lines: list[str]) -> str:
    heads = [name] + [""] * len(lines)
    return "".join(f"{head:<{_WIDTH}}{one_line(line)}\n" for head, line in zip(heads, lines, strict=False))


def _state(job: Job) -> str:
    if job.queue_position is None:
        return job.state
    start = "" if job.estimated_start_s is None else f", starts in about {span(max(1.0, job.estimated_start_s))}"
    return f"{job.state}, {job.queue_position} before it{start}"


def _took(job: Job, now: float) -> str:
    return _span_of(job.started_at, now if job.finished_at is None else job.finished_at)


def _span_of(begin: float | None, end: float) -> str:
    return "" if begin is None else span(end - begin)


def _attempts(job: Job, now: float) -> str:
    text = str(job.attempts)
    if job.crashes:
        text += f", {job.crashes} crashed"
    if job.not_before is not None and job.not_before > now:
        text += f"; not tried again before {span(max(1.0, job.not_before - now))} have passed"
    return text


def _result(job: Job) -> list[str]:
    if job.result is None:
        return []
    lines = [f"{job.result.word}, exit code {job.result.exit_code}", *filter(None, [job.result.detail])]
    if job.result.files:
        lines.append(f"files: {_names(job.result.files)}")
    return lines


def stored(job: Job, folder: Path) -> str:
    """What was fetched of a job, and where it lies now."""
    files = job.result.files if job.result is not None else ()
    count = "1 output file" if len(files) == 1 else f"{len(files)} output files"
    return f"{count} in {folder}: {_names(files)}"


def _names(files: Sequence[OutputFile]) -> str:
    more = f" and {len(files) - _FILES} more" if len(files) > _FILES else ""
    return ", ".join(file.name for file in files[:_FILES]) + more
