"""How a Python job ended, in one word, one number and one sentence: a pure judgement of what was seen.

What the sandbox said about itself is used only to name the reason; it can make a job look worse or better to its own
submitter, and nothing else.
"""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gogrid.protocol.job_messages import OutputFile, PythonDone, PythonEnd
from gogrid.protocol.tasks import PythonLimits
from gogrid.sizes import format_size
from runner.python_job.names import MAX_NAMES_BYTES
from runner.python_job.pipe import Ended

Stop = Literal[PythonEnd.TIMEOUT, PythonEnd.CANCELLED]
"""Why the runner itself ended a job."""

_NAMED = 5
"""So many files with another name are told of."""
_KILL, _TOO_MUCH_CPU, _TOO_LARGE_FILE = 9, 24, 25
"""SIGKILL, SIGXCPU and SIGXFSZ, on Linux as on macOS; Windows, which runs no scripts, has no names for them."""
KILLED = 128 + _KILL
_NEAR = 0.95
"""Of the memory limit: a script that was killed with this much in use was killed for it."""
_OUT_OF_MEMORY = re.compile(rb"^\S*MemoryError\b|an't allocate memory|annot allocate memory", re.MULTILINE)
_NO_MODULE = re.compile(rb"^ModuleNotFoundError: No module named '([\w.]{1,100})'", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What there is beside the supervisor's last record."""

    errors: bytes = b""
    """The last of what the script wrote to standard error."""
    over_memory: str = ""
    """Why something of the job was killed for its memory from outside; empty: nothing was."""
    packages: Sequence[str] = ()
    """What scripts can import on this worker besides the standard library, as `numpy 2.4.6`."""
    renamed: Sequence[tuple[str, str]] = ()
    """Names of files that had to get another one, and that other one."""
    logs_truncated: bool = False


def cpu_seconds(limits: PythonLimits) -> int:
    """Processor time that each process of the job may use."""
    return max(1, round(limits.wall_s * limits.cpu_cores))


def stopped(why: Stop, limits: PythonLimits, *, logs_truncated: bool) -> PythonDone:
    """The job was killed by this runner."""
    cancelled = why is PythonEnd.CANCELLED
    detail = "It was cancelled." if cancelled else f"It ran longer than its limit of {limits.wall_s:g} s."
    return PythonDone(exit_code=KILLED, ended=why, detail=detail, logs_truncated=logs_truncated)


def owner_returned(why: str) -> PythonDone:
    """The worker's owner wants the machine: the job goes to another one."""
    return PythonDone(exit_code=KILLED, ended=PythonEnd.OWNER_RETURNED, detail=why)


def broken(detail: str, status: int, over_memory: str, *, logs_truncated: bool) -> PythonDone:
    """The sandbox itself went away, or said what no supervisor says."""
    if over_memory:
        return PythonDone(exit_code=KILLED, ended=PythonEnd.MEMORY, detail=over_memory, logs_truncated=logs_truncated)
    code = 128 - status if status < 0 else max(status, 1)
    return PythonDone(exit_code=code, ended=PythonEnd.CRASHED, detail=detail, logs_truncated=logs_truncated)


def judge(seen: Ended, limits: PythonLimits, files: tuple[OutputFile, ...], evidence: Evidence) -> PythonDone:
    """The script ended by itself, or by a limit the kernel enforces."""
    ended, detail = _reason(seen, limits, evidence)
    own = ended in (PythonEnd.OK, PythonEnd.FAILED)
    if own and seen.too_large:
        ended, detail = PythonEnd.OUTPUT_TOO_LARGE, _too_large(limits)
    elif own:
        detail = " ".join(filter(None, (detail, _left_out(seen), _renamed(evidence.renamed))))
    return PythonDone(
        exit_code=_exit_code(seen),
        ended=ended,
        detail=detail,
        files=files,
        logs_truncated=evidence.logs_truncated,
        signal=_signal_name(seen.signal) if ended is PythonEnd.CRASHED else "",
    )


def too_large(seen: Ended, limits: PythonLimits, *, logs_truncated: bool) -> PythonDone:
    """More came out of the sandbox than the limits allow, whatever its supervisor said."""
    return PythonDone(
        exit_code=_exit_code(seen),
        ended=PythonEnd.OUTPUT_TOO_LARGE,
        detail=_too_large(limits),
        logs_truncated=logs_truncated,
    )


def _reason(seen: Ended, limits: PythonLimits, evidence: Evidence) -> tuple[PythonEnd, str]:
    memory = (
        PythonEnd.MEMORY,
        evidence.over_memory or f"It needed more than its {format_size(limits.memory_bytes)} of memory.",
    )
    cpu = (PythonEnd.CPU_TIME, f"It used more than its {cpu_seconds(limits)} s of processor time.")
    if not seen.signal:
        if not seen.exit_code:
            return PythonEnd.OK, ""
        if evidence.over_memory or _OUT_OF_MEMORY.search(_last_lines(evidence.errors)):
            return memory
        return PythonEnd.FAILED, _no_module(evidence)
    if seen.signal == _TOO_MUCH_CPU:
        return cpu
    if seen.signal == _TOO_LARGE_FILE:
        return PythonEnd.OUTPUT_TOO_LARGE, "It wrote a file larger than any that it may leave."
    if seen.signal == _KILL:
        if evidence.over_memory:
            return memory
        if seen.cpu_ms >= cpu_seconds(limits) * 1000:
            return cpu
        if seen.peak_bytes >= limits.memory_bytes * _NEAR:
            return memory
    words = signal.strsignal(seen.signal) or "unknown"
    return PythonEnd.CRASHED, f"It was ended by {_signal_name(seen.signal)} ({words})."


def _exit_code(seen: Ended) -> int:
    return 128 + seen.signal if seen.signal else seen.exit_code


def _signal_name(number: int) -> str:
    """`SIGSEGV`; empty for none."""
    if not number:
        return ""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _no_module(evidence: Evidence) -> str:
    """A hint for a script whose last words are that a module is missing."""
    found = _NO_MODULE.search(_last_lines(evidence.errors))
    if found is None:
        return ""
    there = ", ".join(evidence.packages) or "only Python's own modules"
    return (
        f"Its worker has no module {found[1].decode(errors='replace')!r}, but {there}; there is no network to install "
        "others: put modules of pure Python among the job's files."
    )


def _left_out(seen: Ended) -> str:
    if not seen.left_out:
        return ""
    entries = "entry" if seen.left_out == 1 else "entries"
    return f"{seen.left_out} {entries} of its working folder not kept: only regular files are."


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
        f"It left more than {format_size(limits.output_bytes)}, {limits.output_files} files or "
        f"{format_size(MAX_NAMES_BYTES)} of their names in its working folder, so none is kept."
    )
