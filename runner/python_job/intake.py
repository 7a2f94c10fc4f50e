"""What may come out of a Python job's sandbox, and in which order: counts everything, believes nothing.

A pure core: it is given records and says what may be passed on. `ProtocolError` means that the sandbox did what no
supervisor does, and that the job is to be killed.
"""

from gogrid.errors import ProtocolError
from gogrid.protocol.job_messages import Log
from gogrid.protocol.tasks import PythonLimits
from runner.python_job.names import MAX_NAMES_BYTES, check_name
from runner.python_job.pipe import Ended, FileBegins, Output

_TAIL = 4096


class TooMuchOutputError(ProtocolError):
    """More files, bytes or names came than the job may leave."""


class Intake:
    """The state of one job's output."""

    def __init__(self, limits: PythonLimits) -> None:
        self._log_left = limits.log_bytes
        self._bytes_left = limits.output_bytes
        self._files_left = limits.output_files
        self._names_left = MAX_NAMES_BYTES
        self._seq = 0
        self._names: set[str] = set()
        self._errors = b""
        self._began = False
        self.logs_truncated = False
        self.ended: Ended | None = None

    @property
    def errors(self) -> bytes:
        """The last of what came on standard error."""
        return self._errors

    @property
    def has_begun(self) -> bool:
        return self._began

    def begin(self) -> None:
        if self._began:
            raise ProtocolError("The sandbox began its job twice.")
        self._began = True

    def log(self, output: Output) -> Log | None:
        """The part of some output that fits the log limit; None: nothing."""
        self._check(began=True, ended=False)
        if output.stream == "stderr":
            self._errors = (self._errors + output.data)[-_TAIL:]
        kept = output.data[: self._log_left]
        self.logs_truncated |= len(kept) < len(output.data)
        if not kept:
            return None
        self._log_left -= len(kept)
        self._seq += 1
        return Log(seq=self._seq, stream="stdout" if output.stream == "stdout" else "stderr", data=kept)

    def end(self, ended: Ended) -> None:
        self._check(began=True, ended=False)
        if not 0 <= ended.signal <= 64 or not 0 <= ended.exit_code <= 255:
            raise ProtocolError("The sandbox told an exit status that no process has.")
        self.ended = ended

    def file(self, begins: FileBegins) -> None:
        """Raises `TooMuchOutputError` if this file is over a limit."""
        self._check(began=True, ended=True)
        if fault := check_name(begins.name):
            raise ProtocolError(f"The sandbox sent a file whose name {fault}.")
        if begins.name in self._names:
            raise ProtocolError("The sandbox sent two files of one name.")
        self._names.add(begins.name)
        self._files_left -= 1
        self._bytes_left -= begins.size
        self._names_left -= len(begins.name.encode())
        if min(self._files_left, self._bytes_left, self._names_left) < 0:
            raise TooMuchOutputError("The sandbox sent more than its job may leave.")

    def _check(self, *, began: bool, ended: bool) -> None:
        if self._began != began or (self.ended is not None) != ended:
            raise ProtocolError("The sandbox sent a record out of order.")
