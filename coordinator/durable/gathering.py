"""What one lease of a durable job has said, gathered into how the job ended: a core.

Promises: a message that comes again, because its link was lost, counts once; what is gathered is bounded, whatever a
worker says. Judges nothing but the messages: files, epochs and crashes are others' business.
"""

from dataclasses import dataclass

from coordinator.records import (
    JobOutcome,
    JobResult,
    JobState,
    LeaseEnd,
    LogLine,
    TextResult,
    VectorsResult,
    encode_result,
)
from gogrid.protocol.job_messages import (
    LINES_PER_LEASE,
    EmbeddingDone,
    FailCode,
    Failed,
    Finished,
    JobMessage,
    Log,
    PythonDone,
    PythonEnd,
    Started,
    TextDone,
    Tokens,
    Vectors,
)
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask, PythonTask, Task

MAX_TEXT = 8 << 20
"""Characters of one answer."""
MAX_VECTORS = 256 << 20
"""Bytes of one job's vectors."""

_WITHOUT_RESULT = {
    FailCode.NO_ROOM: LeaseEnd.REFUSED,
    FailCode.CRASHED: LeaseEnd.CRASHED,
    FailCode.INTERNAL: LeaseEnd.ERRORED,
    FailCode.YIELDED: LeaseEnd.YIELDED,
    FailCode.CANCELLED: LeaseEnd.YIELDED,
    FailCode.FENCED: LeaseEnd.FENCED,
}
"""Failures that say something of the worker, not of the job."""


@dataclass(frozen=True, slots=True)
class Began:
    """The engine or the script runs."""


@dataclass(frozen=True, slots=True)
class Told:
    """The job's end, as its worker tells it."""

    outcome: JobOutcome
    done: JobResult | None = None


@dataclass(frozen=True, slots=True)
class NoResult:
    """The lease is over and the job is not."""

    end: LeaseEnd
    why: str


Gathered = Began | LogLine | Told | NoResult


class Gathering:
    """Of one lease."""

    def __init__(self, task: Task, epoch: int) -> None:
        self._task = task
        self._epoch = epoch
        self._began = False
        self._last_line = 0
        self._last_piece = -1
        self._text: list[str] = []
        self._text_size = 0
        self._vectors = bytearray()
        self._width = 0

    def take(self, message: JobMessage) -> Gathered | None:
        """What follows from one message; None: nothing, for now."""
        match message:
            case Started() if not self._began:
                self._began = True
                return Began()
            case Log():
                return self._line(message)
            case Tokens():
                return self._piece(message)
            case Vectors():
                return self._rows(message)
            case Finished():
                return self._finished(message.result)
            case Failed(code=FailCode.CRASHED, in_company=True):
                return NoResult(LeaseEnd.IN_COMPANY, message.message)
            case Failed() if message.code in _WITHOUT_RESULT:
                return NoResult(_WITHOUT_RESULT[message.code], message.message)
            case Failed():
                outcome = JobOutcome(JobState.FAILED, error_code=message.code.value, error=message.message)
                return Told(outcome)
            case _:
                return None

    def _line(self, log: Log) -> LogLine | None:
        if not self._last_line < log.seq < LINES_PER_LEASE:
            return None
        self._last_line = log.seq
        return LogLine(self._epoch * LINES_PER_LEASE + log.seq, log.stream, log.data)

    def _piece(self, tokens: Tokens) -> NoResult | None:
        if tokens.seq <= self._last_piece:
            return None
        self._last_piece = tokens.seq
        self._text.append(tokens.text)
        self._text_size += len(tokens.text)
        return _wrong("sent an endless answer") if self._text_size > MAX_TEXT else None

    def _rows(self, vectors: Vectors) -> NoResult | None:
        if not isinstance(self._task, EmbeddingTask) or vectors.width < 1:
            return _wrong("sent vectors that nobody asked for")
        row = vectors.width * 4
        have = len(self._vectors) // row
        self._width = self._width or vectors.width
        size = len(self._task.inputs) * row
        if vectors.width != self._width or vectors.first > have or len(vectors.data) % row or size > MAX_VECTORS:
            return _wrong("sent vectors that do not fit together")
        self._vectors += vectors.data[(have - vectors.first) * row :]
        return _wrong("sent more vectors than were asked for") if len(self._vectors) > size else None

    def _finished(self, done: TextDone | EmbeddingDone | PythonDone) -> Told | NoResult:
        match done:
            case PythonDone() if isinstance(self._task, PythonTask):
                if done.ended is PythonEnd.OWNER_RETURNED:
                    return NoResult(LeaseEnd.OWNER_RETURNED, done.detail or "the owner of the worker came back")
                return Told(script_outcome(done), done)
            case TextDone() if isinstance(self._task, ChatTask | CompletionTask):
                text = "".join(self._text)
                return _told(TextResult(text, done.finish_reason, done.prompt_tokens, done.completion_tokens))
            case EmbeddingDone() if isinstance(self._task, EmbeddingTask):
                if len(self._vectors) != len(self._task.inputs) * done.width * 4:
                    return _wrong("did not send a vector for each text")
                return _told(VectorsResult(done.width, bytes(self._vectors), done.prompt_tokens))
            case _:
                return _wrong("sent the result of another kind of job")


def script_outcome(done: PythonDone) -> JobOutcome:
    """How a script's end is remembered."""
    result = encode_result(done)
    if done.ended is PythonEnd.OK and done.exit_code == 0:
        return JobOutcome(JobState.DONE, result=result)
    if done.ended is PythonEnd.CANCELLED:
        return JobOutcome(JobState.CANCELLED, result=result, error_code=done.ended.value, error=done.detail)
    if done.ended in (PythonEnd.OK, PythonEnd.FAILED):
        error = f"The script ended with exit code {done.exit_code}. {done.detail}".rstrip()
        return JobOutcome(JobState.FAILED, result=result, error_code=PythonEnd.FAILED.value, error=error)
    return JobOutcome(JobState.FAILED, result=result, error_code=done.ended.value, error=done.detail)


def _told(result: JobResult) -> Told:
    return Told(JobOutcome(JobState.DONE, result=encode_result(result)), result)


def _wrong(what: str) -> NoResult:
    return NoResult(LeaseEnd.CRASHED, f"the worker {what}")
