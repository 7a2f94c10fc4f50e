"""A durable job's words over several links: all of them, in order, on each."""

from gogrid.ids import JobId
from gogrid.protocol.job_messages import FailCode, Failed, Finished, Log, Progress, PythonDone, PythonEnd, Started
from gogrid.protocol.worker_report import LoadStage
from runner.link.kept_stream import KeptStream
from tests.fakes.job_stream import MemoryStream

JOB = JobId("job_x")
STARTED = Started(device="cpu")
DONE = Finished(result=PythonDone(exit_code=0, ended=PythonEnd.OK))


def log(seq: int) -> Log:
    return Log(seq=seq, stream="stdout", data=b"x")


def test_what_was_said_is_said_again_on_the_next_link_but_for_progress() -> None:
    first, second = MemoryStream(JOB), MemoryStream(JOB)
    kept = KeptStream(JOB, 1, first)
    kept.send(Progress(stage=LoadStage.LOADING, fraction=0.5))
    kept.send(STARTED)
    kept.send(log(1))
    kept.detach()
    kept.send(log(2))
    kept.attach(second)
    kept.send(log(3))
    assert len(first.messages) == 3
    assert second.messages == [STARTED, log(1), log(2), log(3)]


def test_nothing_is_said_after_the_end_and_the_end_is_told_on_every_link() -> None:
    streams = [MemoryStream(JOB) for _ in range(3)]
    kept = KeptStream(JOB, 1, streams[0])
    kept.detach()
    kept.send(DONE)
    kept.send(Failed(code=FailCode.FENCED, message="too late"))
    kept.send(log(1))
    assert kept.outcome == DONE
    for stream in streams[1:]:
        kept.attach(stream)
        assert stream.messages == [DONE]


async def test_without_a_link_a_job_waits_for_nothing() -> None:
    kept = KeptStream(JOB, 1, MemoryStream(JOB))
    kept.detach()
    await kept.drained()


def test_a_stream_that_is_given_up_is_ended_where_there_is_a_link() -> None:
    stream = MemoryStream(JOB)
    kept = KeptStream(JOB, 1, stream)
    kept.abandon()
    assert stream.abandoned
    kept.detach()
    kept.abandon()
