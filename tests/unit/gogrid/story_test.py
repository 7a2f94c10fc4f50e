"""A small job's story on the control stream: what a hostile worker may not make of it."""

from __future__ import annotations

import pytest

from gogrid.errors import CloseCode, ProtocolError
from gogrid.ids import JobId
from gogrid.protocol.codec import encode_framed
from gogrid.protocol.job_messages import Finished, JobOpen, Log, Progress, TextDone
from gogrid.protocol.job_streams import JobSaid
from gogrid.protocol.messages import Said
from gogrid.protocol.session import CONTROL_BURST, CONTROL_STREAM, Ended
from gogrid.protocol.story import STORY_BYTES, read_story
from gogrid.protocol.worker_report import LoadStage
from tests.fakes.session_pair import Pair

JOB = JobId("job_1")
DONE = Finished(result=TextDone(finish_reason="stop", prompt_tokens=1, completion_tokens=1))
PROGRESS = Progress(stage=LoadStage.LOADING, fraction=0.5)
OPEN = JobOpen(job_id=JOB, epoch=1)
LOG = Log(seq=1, stream="stdout", data=bytes(STORY_BYTES))


def story(*messages: Progress | Finished | JobOpen | Log) -> bytes:
    return b"".join(map(encode_framed, messages))


def test_a_story_is_read_in_order() -> None:
    assert read_story(story(PROGRESS, PROGRESS, DONE)) == [PROGRESS, PROGRESS, DONE]


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"", id="empty"),
        pytest.param(story(PROGRESS), id="no end"),
        pytest.param(story(DONE, PROGRESS), id="goes on after its end"),
        pytest.param(story(DONE, DONE), id="ends twice"),
        pytest.param(story(OPEN, DONE), id="opens a stream"),
        pytest.param(story(*[PROGRESS] * 200, DONE), id="too long"),
        pytest.param(story(LOG, DONE), id="one message too long"),
        pytest.param(story(DONE)[:-1], id="cut short"),
        pytest.param(story(DONE) + b"\0", id="bytes after its end"),
        pytest.param(b"\0\0\0\1\xc1", id="no message"),
    ],
)
def test_what_is_no_story_ends_the_connection_and_reaches_nobody(bad: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_story(bad)
    pair = Pair().open()
    said = encode_framed(Said(job_id=JOB, epoch=1, story=bad))
    events = pair.coordinator.receive(CONTROL_STREAM, said, False, pair.now, 0.0)
    assert [type(event) for event in events] == [Ended]
    assert isinstance(events[0], Ended)
    assert events[0].code is CloseCode.PROTOCOL


def test_a_story_for_a_lease_that_has_a_stream_is_refused() -> None:
    pair = Pair().open()
    pair.coordinator.receive(2, encode_framed(OPEN), False, pair.now, 0.0)
    said = encode_framed(Said(job_id=JOB, epoch=1, story=story(DONE)))
    (ended,) = pair.coordinator.receive(CONTROL_STREAM, said, False, pair.now, 0.0)
    assert isinstance(ended, Ended)


def test_stories_that_nobody_asked_for_are_a_flood() -> None:
    pair = Pair().open()
    said = encode_framed(Said(job_id=JOB, epoch=1, story=story(DONE)))
    for _ in range(int(CONTROL_BURST)):
        (event,) = pair.coordinator.receive(CONTROL_STREAM, said, False, pair.now, 0.0)
        assert isinstance(event, JobSaid)
    events = pair.coordinator.receive(CONTROL_STREAM, said * 3, False, pair.now, 0.0)
    assert isinstance(events[-1], Ended)
    assert events[-1].code is CloseCode.TOO_BUSY
