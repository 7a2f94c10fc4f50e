"""Sessions against any bytes, cut anywhere, in any phase."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gogrid.ids import JobId
from gogrid.protocol.codec import encode_framed
from gogrid.protocol.coordinator_session import CoordinatorSession
from gogrid.protocol.job_messages import Finished, JobOpen, TextDone, Tokens
from gogrid.protocol.job_streams import JobSaid, JobStreamEnded
from gogrid.protocol.messages import Goodbye, Heartbeat, Hello, Ping, Pong, Refuse
from gogrid.protocol.session import Close, Ended, Phase
from gogrid.protocol.wire import Wire
from gogrid.protocol.worker_session import WorkerSession
from tests.fakes.session_pair import WELCOME, Pair

_words: st.SearchStrategy[Wire] = st.sampled_from(
    [
        Hello(proto_min=1, proto_max=1, software="x"),
        Ping(seq=1),
        Pong(seq=1),
        Heartbeat(seq=1),
        Goodbye(code=0, reason=""),
        WELCOME,
        Refuse(job_id=JobId("j"), epoch=1, reason=""),
        JobOpen(job_id=JobId("j"), epoch=1),
        Tokens(seq=1, text="a", token_ids=(1,)),
        Finished(result=TextDone(finish_reason="stop", prompt_tokens=1, completion_tokens=1)),
    ]
)
_said = st.tuples(
    st.sampled_from([0, 2, 6, 3, 4]),
    st.binary(max_size=60) | st.lists(_words, max_size=4).map(lambda words: b"".join(map(encode_framed, words))),
    st.booleans(),
    st.floats(0, 30),
)


@given(st.booleans(), st.booleans(), st.lists(_said, max_size=12))
@settings(max_examples=300, deadline=None)
def test_no_bytes_in_any_phase_raise_and_an_end_comes_once(
    open_first: bool, to_worker: bool, said: list[tuple[int, bytes, bool, float]]
) -> None:
    pair = Pair()
    if open_first:
        pair.open()
    elif to_worker:
        pair.worker.start(pair.now)
    session: WorkerSession | CoordinatorSession = pair.worker if to_worker else pair.coordinator
    events: list[object] = []
    for stream_id, data, end, later in said:
        pair.now += later
        events += session.on_deadline(pair.now)
        if isinstance(session, WorkerSession):
            events += session.receive(stream_id, data, end, pair.now)
        else:
            events += session.receive(stream_id, data, end, pair.now, 0.0)
    ends = [event for event in events if isinstance(event, Ended)]
    outputs = session.take_outputs(pair.now) if isinstance(session, WorkerSession) else session.take_outputs()
    closes = [output for output in outputs if isinstance(output, Close)]
    assert len(ends) == len(closes) == (session.phase is Phase.CLOSED)
    if ends:
        assert events[-1] is ends[0]
        assert session.next_deadline() is None


@given(st.integers(1, 7), st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_a_session_cut_into_any_pieces_says_the_same(size: int, count: int) -> None:
    pair = Pair(cut=lambda data: [data[at : at + size] for at in range(0, len(data), size)]).open()
    assert pair.worker_events == [WELCOME]
    pair.worker.open_job(2, JobId("job_1"), 1)
    for seq in range(count):
        pair.worker.send_job(2, Tokens(seq=seq, text="ü" * seq, token_ids=(seq,)))
    pair.worker.send_job(2, Finished(result=TextDone(finish_reason="stop", prompt_tokens=1, completion_tokens=count)))
    pair.run()
    said = [event for event in pair.coordinator_events if isinstance(event, JobSaid)]
    assert [event.message.seq for event in said if isinstance(event.message, Tokens)] == list(range(count))
    assert isinstance(pair.coordinator_events[-1], JobStreamEnded)
