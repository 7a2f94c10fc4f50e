"""How a Python job ended, in one word, one number and one sentence: a pure judgement of what was seen.

What the sandbox said about itself is used only to name the reason; it can make a job look worse or better to its own
submitter, and nothing else.
"""

import re
import signal
from collections.abc import Sequence
from typing import Literal

from gogrid.protocol.messages import OutputFile, PythonDone
from gogrid.protocol.tasks import PythonLimits
from runner.python_job.pipe import Ended

Ending = Literal["exit", "timeout", "memory", "cpu_time", "output_too_large", "crashed", "cancelled", "owner_returned"]
Stop = Literal["timeout", "cancelled"]
"""Why the runner itself ended a job."""

_NAMED = 5
"""So many files with another name are told of."""
KILLED = 128 + signal.SIGKILL
_NEAR = 0.95
"""Of the memory limit: a script that was killed with this much in use was killed for it."""
_OUT_OF_MEMORY = re.compile(rb"^\S*MemoryError\b|an't allocate memory|annot allocate memory", re.MULTILINE)


def cpu_seconds(limits: PythonLimits) -> int:
    """Processor time that each process of the job may use."""
    return max(1, round(limits.wall_s * limits.cpu_cores))


def stopped(why: Stop, limits: PythonLimits, *, logs_truncated: bool) -> PythonDone:
    """The job was killed by this runner."""
    detail = "It was cancelled." if why == "cancelled" else f"It ran longer than its limit of {limits.wall_s:g} s."
    return PythonDone(exit_code=KILLED, ended=why, detail=detail, logs_truncated=logs_truncated)


def broken(detail: str, status: int, *, logs_truncated: bool) -> PythonDone:
    """The sandbox itself went away, or said what no supervisor says."""
    code = 128 - status if status < 0 else max(status, 1)
    return PythonDone(exit_code=code, ended="crashed", detail=detail, logs_truncated=logs_truncated)


def judge(
    seen: Ended,
    limits: PythonLimits,
    errors: bytes,
    files: tuple[OutputFile, ...],
    *,
    logs_truncated: bool,
    renamed: Sequence[tuple[str, str]] = (),
) -> PythonDone:
    """The script ended by itself, or by a limit the kernel enforces.

    Args:
        errors: the last of what it wrote to standard error.
        renamed: the names of files that had to get another one, and that other one.
    """
    ended, detail = _reason(seen, limits, errors)
    if ended == "exit" and seen.too_large:
        ended, detail = "output_too_large", _too_large(limits)
    elif ended == "exit":
        detail = " ".join(filter(None, (_left_out(seen), _renamed(renamed))))
    return PythonDone(
        exit_code=128 + seen.signal if seen.signal else seen.exit_code,
        ended=ended,
        detail=detail,
        files=files,
        logs_truncated=logs_truncated,
    )


def too_large(seen: Ended, limits: PythonLimits, *, logs_truncated: bool) -> PythonDone:
    """More came out of the sandbox than the limits allow, whatever its supervisor said."""
    return PythonDone(
        exit_code=128 + seen.signal if seen.signal else seen.exit_code,
        ended="output_too_large",
        detail=_too_large(limits),
        logs_truncated=logs_truncated,
    )


def _reason(seen: Ended, limits: PythonLimits, errors: bytes) -> tuple[Ending, str]:
    memory: tuple[Ending, str] = ("memory", f"It needed more than its {_size(limits.memory_bytes)} of memory.")
    cpu: tuple[Ending, str] = ("cpu_time", f"It used more than its {cpu_seconds(limits)} s of processor time.")
    if not seen.signal:
        return memory if seen.exit_code and _OUT_OF_MEMORY.search(_last_lines(errors)) else ("exit", "")
    if seen.signal == signal.SIGXCPU:
        return cpu
    if seen.signal == signal.SIGKILL:
        if seen.cpu_ms >= cpu_seconds(limits) * 1000:
            return cpu
        if seen.peak_bytes >= limits.memory_bytes * _NEAR:
            return memory
    return "crashed", f"It was ended by signal {seen.signal} ({signal.strsignal(seen.signal) or 'unknown'})."


def _left_out(seen: Ended) -> str:
    if not seen.left_out:
        return ""
    return f"{seen.left_out} entries of its working folder are not kept: only regular files are."


def _renamed(names: Sequence[tuple[str, str]]) -> str:
    if not names:
        return ""
    told = ", ".join(f"{was!r} is {name!r}" for was, name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"Names that not every system can store were changed: {told}{more}."


def _last_lines(errors: bytes) -> bytes:
    return b"\n".join(errors.rstrip().split(b"\n")[-3:])


def _too_large(limits: PythonLimits) -> str:
    return (
        f"It left more than {_size(limits.output_bytes)} or {limits.output_files} files in its working folder, "
        "so none is kept."
    )


def _size(amount: int) -> str:
    for unit, scale in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if amount >= 1 << scale:
            return f"{amount / (1 << scale):.4g} {unit}"
    return f"{amount} bytes"
