"""What one lease says, gathered: repeated messages count once, and nothing grows without bound."""

import pytest

from coordinator.durable import gathering
from coordinator.durable.gathering import Began, Gathering, NoResult, Told
from coordinator.records import JobState, LeaseEnd, LogLine, TextResult, VectorsResult, decode_result
from gogrid.ids import Sha256
from gogrid.protocol.job_messages import (
    LINES_PER_LEASE,
    EmbeddingDone,
    FailCode,
    Failed,
    Finished,
    Log,
    Progress,
    PythonDone,
    PythonEnd,
    Started,
    TextDone,
    Tokens,
    Vectors,
)
from gogrid.protocol.tasks import CompletionTask, EmbeddingTask, ModelRef, PythonTask, Sampling
from gogrid.protocol.worker_report import LoadStage

MODEL = ModelRef(name="m", digest=Sha256("a" * 64))
SCRIPT = PythonTask(files=(), entry="a.py")
TEXT = CompletionTask(model=MODEL, prompt="x", sampling=Sampling())
EMBED = EmbeddingTask(model=MODEL, inputs=("one", "two", "three"))
TEXT_DONE = Finished(result=TextDone(finish_reason="length", prompt_tokens=1, completion_tokens=2))
SCRIPT_DONE = Finished(result=PythonDone(exit_code=0, ended=PythonEnd.OK))


def piece(seq: int, text: str) -> Tokens:
    return Tokens(seq=seq, text=text, token_ids=(seq,))


def log(seq: int) -> Log:
    return Log(seq=seq, stream="stdout", data=b"%d" % seq)


def rows(first: int, *values: int) -> Vectors:
    return Vectors(first=first, width=1, data=b"".join(bytes([value] * 4) for value in values))


def test_lines_said_again_count_once_and_carry_their_lease() -> None:
    gathered = Gathering(SCRIPT, 3)
    assert gathered.take(log(1)) == LogLine(3 * LINES_PER_LEASE + 1, "stdout", b"1")
    assert [gathered.take(log(seq)) for seq in (1, 0)] == [None, None]
    assert gathered.take(log(2)) is not None
    assert gathered.take(log(LINES_PER_LEASE)) is None


def test_a_lease_begins_once_and_progress_changes_nothing() -> None:
    gathered = Gathering(SCRIPT, 1)
    assert gathered.take(Progress(stage=LoadStage.DOWNLOADING, fraction=0.5)) is None
    assert [gathered.take(Started(device="cpu")) for _ in range(2)] == [Began(), None]


def test_a_text_is_whole_however_often_its_link_broke() -> None:
    gathered = Gathering(TEXT, 1)
    for message in (piece(0, "a"), piece(1, "b"), piece(0, "a"), piece(1, "b"), piece(2, "c")):
        assert gathered.take(message) is None
    told = gathered.take(TEXT_DONE)
    assert isinstance(told, Told)
    assert decode_result(told.outcome.result) == TextResult("abc", "length", 1, 2)


def test_vectors_are_whole_however_often_their_link_broke() -> None:
    gathered = Gathering(EMBED, 1)
    for message in (rows(0, 1, 2), rows(0, 1, 2), rows(2, 3), rows(1, 2)):
        assert gathered.take(message) is None
    told = gathered.take(Finished(result=EmbeddingDone(width=1, prompt_tokens=5)))
    assert isinstance(told, Told)
    assert decode_result(told.outcome.result) == VectorsResult(1, b"\1" * 4 + b"\2" * 4 + b"\3" * 4, 5)


@pytest.mark.parametrize(
    "message",
    [
        rows(1, 2),
        rows(0, 1, 2, 3, 4),
        Vectors(first=0, width=2, data=b"\0" * 7),
        Vectors(first=0, width=0, data=b""),
        Vectors(first=0, width=1 << 40, data=b""),
        Finished(result=EmbeddingDone(width=1, prompt_tokens=5)),
        SCRIPT_DONE,
        TEXT_DONE,
    ],
)
def test_what_does_not_answer_the_task_is_a_crash_of_the_worker(message: Vectors | Finished) -> None:
    gathered = Gathering(EMBED, 1).take(message)
    assert isinstance(gathered, NoResult)
    assert gathered.end is LeaseEnd.CRASHED


def test_vectors_for_a_script_or_of_another_width_are_refused() -> None:
    assert isinstance(Gathering(SCRIPT, 1).take(rows(0, 1)), NoResult)
    gathered = Gathering(EMBED, 1)
    gathered.take(rows(0, 1))
    assert isinstance(gathered.take(Vectors(first=1, width=2, data=b"\0" * 8)), NoResult)


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MAX_TEXT", 10)
    gathered = Gathering(TEXT, 1)
    assert gathered.take(piece(0, "x" * 10)) is None
    assert isinstance(gathered.take(piece(1, "x")), NoResult)


@pytest.mark.parametrize(
    ("code", "end"),
    [
        (FailCode.CRASHED, LeaseEnd.CRASHED),
        (FailCode.INTERNAL, LeaseEnd.ERRORED),
        (FailCode.FENCED, LeaseEnd.FENCED),
        (FailCode.YIELDED, LeaseEnd.YIELDED),
        (FailCode.CANCELLED, LeaseEnd.YIELDED),
        (FailCode.NO_ROOM, LeaseEnd.REFUSED),
    ],
)
def test_failures_of_the_worker_are_not_the_jobs(code: FailCode, end: LeaseEnd) -> None:
    assert Gathering(TEXT, 1).take(Failed(code=code, message="why")) == NoResult(end, "why")


def test_failures_of_the_job_are_its_end() -> None:
    told = Gathering(TEXT, 1).take(Failed(code=FailCode.CONTEXT_LENGTH, message="too long"))
    assert isinstance(told, Told)
    assert (told.outcome.state, told.outcome.error_code, told.outcome.error) == (
        JobState.FAILED, "context_length_exceeded", "too long",
    )  # fmt: skip


def test_an_owners_return_is_no_end_of_a_script() -> None:
    done = Finished(result=PythonDone(exit_code=137, ended=PythonEnd.OWNER_RETURNED))
    gathered = Gathering(SCRIPT, 1).take(done)
    assert isinstance(gathered, NoResult)
    assert gathered.end is LeaseEnd.OWNER_RETURNED
    assert gathered.end.is_yield
