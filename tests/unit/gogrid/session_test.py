"""Who may say what and when, and what silence means; in virtual time."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from gogrid.errors import CloseCode, ProtocolError
from gogrid.ids import JobId, WorkerId
from gogrid.protocol.auth import Binding
from gogrid.protocol.codec import encode_framed
from gogrid.protocol.coordinator_session import CoordinatorSession
from gogrid.protocol.entrance import Authenticated, JoinDoubted, JoinProved
from gogrid.protocol.job_messages import FailCode, Failed, JobOpen, Tokens
from gogrid.protocol.job_streams import JobSaid, JobStreamEnded
from gogrid.protocol.messages import Auth, Challenge, Goodbye, Hello, Ping, Reject, Welcome
from gogrid.protocol.session import Close, Ended, Phase, Send, Suspected
from gogrid.protocol.wire import Wire
from gogrid.protocol.worker_session import HeartbeatDue, KeyProof, Renewed, WorkerSession
from tests.fakes.session_pair import BINDING, KEY_PROOF, PIN, TOKEN_KEY, TOKEN_PROOF, WELCOME, WORKER_KEY, Keys, Pair

JOB = JobId("job_1")
TOKENS = Tokens(seq=0, text="a", token_ids=(1,))


class LateKeys(Keys):
    """Knows the token only from some moment on."""

    known = False

    def token_key(self, token_id: str) -> bytes | None:
        return super().token_key(token_id) if self.known else None


def ended(events: list[object]) -> Ended:
    (event,) = [event for event in events if isinstance(event, Ended)]
    return event


def framed(*messages: Wire) -> bytes:
    return b"".join(encode_framed(message) for message in messages)


# --- getting in


def test_a_worker_that_holds_its_key_is_let_in() -> None:
    pair = Pair().open()
    assert pair.worker_events == [WELCOME]
    assert pair.worker.phase is pair.coordinator.phase is Phase.OPEN


def test_a_join_is_answered_with_who_the_worker_is_and_ends() -> None:
    pair = Pair(proof=TOKEN_PROOF).open()
    assert pair.worker_events[0] == WELCOME
    assert ended(pair.worker_events).code is CloseCode.NORMAL
    assert any(isinstance(event, JoinProved) for event in pair.coordinator_events)


def test_an_unknown_worker_and_a_wrong_key_get_the_same_answer() -> None:
    answers = []
    for proof in (KeyProof(WorkerId("wk_2"), WORKER_KEY), KeyProof(KEY_PROOF.worker_id, TOKEN_KEY)):
        pair = Pair(proof=proof).open()
        answers.append((ended(pair.worker_events), pair.to_worker))
    assert answers[0] == answers[1]
    assert answers[0][0].code is CloseCode.AUTH_FAILED


def test_relay_between_two_coordinators_is_refused() -> None:
    """A coordinator that the worker trusts forwards the other's challenge and the worker's answer."""
    for other in (Binding(b"q" * 32, BINDING.session), Binding(PIN, b"r" * 32)):
        pair = Pair(worker_binding=BINDING, coordinator_binding=other).open()
        assert ended(pair.worker_events).code is CloseCode.AUTH_FAILED


def test_a_join_replayed_on_another_connection_is_refused() -> None:
    first = Pair(proof=TOKEN_PROOF).open()
    sent = [output.data for output in first.to_coordinator if isinstance(output, Send)]
    other = CoordinatorSession("grid", Keys(), replace(BINDING, session=b"r" * 32), b"c" * 32, 0.0)
    events = [event for data in sent for event in other.receive(0, data, False, 0.0, 0.0)]
    assert events == [JoinDoubted()]
    assert ended(other.judge_again()).code is CloseCode.TOKEN_REFUSED
    assert other.judge_again() == []


def test_a_token_that_is_known_only_at_the_second_look_is_as_good_as_any() -> None:
    keys = LateKeys()
    first = Pair(proof=TOKEN_PROOF).open()
    sent = [output.data for output in first.to_coordinator if isinstance(output, Send)]
    late = CoordinatorSession("grid", keys, BINDING, b"c" * 32, 0.0)
    events = [event for data in sent for event in late.receive(0, data, False, 0.0, 0.0)]
    assert events == [JoinDoubted()]
    keys.known = True
    [proved] = late.judge_again()
    assert isinstance(proved, JoinProved)
    assert late.phase is Phase.DECISION


def test_who_is_doubted_has_no_more_time_than_any_stranger() -> None:
    session = CoordinatorSession("grid", LateKeys(), BINDING, b"c" * 32, 0.0)
    for output in Pair(proof=TOKEN_PROOF).open().to_coordinator:
        if isinstance(output, Send):
            session.receive(0, output.data, False, 0.0, 0.0)
    assert session.next_deadline() == 5.0
    assert ended(session.on_deadline(5.0)).code is CloseCode.TIMEOUT
    assert session.judge_again() == []


def test_who_has_proved_a_token_waits_for_the_decision_without_a_deadline() -> None:
    session = CoordinatorSession("grid", Keys(), BINDING, b"c" * 32, 0.0)
    for output in Pair(proof=TOKEN_PROOF).open().to_coordinator:
        if isinstance(output, Send):
            session.receive(0, output.data, False, 0.0, 0.0)
    assert session.next_deadline() is None
    assert session.on_deadline(60.0) == []


def test_who_is_doubted_says_nothing_more() -> None:
    session = CoordinatorSession("grid", LateKeys(), BINDING, b"c" * 32, 0.0)
    sent = [output.data for output in Pair(proof=TOKEN_PROOF).open().to_coordinator if isinstance(output, Send)]
    for data in sent:
        session.receive(0, data, False, 0.0, 0.0)
    assert ended(session.receive(0, sent[-1], False, 0.0, 0.0)).code is CloseCode.PROTOCOL
    assert session.judge_again() == []


def test_who_has_proved_itself_waits_for_the_decision_and_proves_nothing_again() -> None:
    hello, proof = (output.data for output in Pair().open().to_coordinator[:2] if isinstance(output, Send))
    session = CoordinatorSession("grid", Keys(), BINDING, b"c" * 32, 0.0)
    session.receive(0, hello, False, 0.0, 1_700_000_000.0)
    assert session.receive(0, proof, False, 0.0, 0.0) == [Authenticated(KEY_PROOF.worker_id)]
    assert ended(session.receive(0, proof, False, 0.0, 0.0)).code is CloseCode.PROTOCOL


def test_versions_that_do_not_meet_are_refused_with_both_ranges() -> None:
    session = CoordinatorSession("grid", Keys(), BINDING, b"c" * 32, 0.0)
    events = session.receive(0, framed(Hello(proto_min=7, proto_max=9, software="x")), False, 0.0, 0.0)
    assert ended(events).code is CloseCode.VERSION
    assert "1 to 1" in ended(events).reason
    assert "7 to 9" in ended(events).reason


def test_a_worker_does_not_accept_a_version_it_did_not_offer() -> None:
    worker = WorkerSession(KEY_PROOF, BINDING, b"n" * 32, "x")
    worker.start(0.0)
    challenge = Challenge(coordinator="g", server_nonce=b"c" * 32, proto=2, time=0.0)
    assert ended(worker.receive(0, framed(challenge), False, 0.0)).code is CloseCode.PROTOCOL


@pytest.mark.parametrize("first", [Ping(seq=1), Auth(worker_id=WorkerId("w"), session_nonce=b"", signature=b"")])
def test_a_stranger_may_say_only_hello_first(first: Wire) -> None:
    session = CoordinatorSession("grid", Keys(), BINDING, b"c" * 32, 0.0)
    assert ended(session.receive(0, framed(first), False, 0.0, 0.0)).code is CloseCode.PROTOCOL


def test_a_stranger_gets_five_seconds() -> None:
    session = CoordinatorSession("grid", Keys(), BINDING, b"c" * 32, 10.0)
    session.receive(0, framed(Hello(proto_min=1, proto_max=1, software="x")), False, 12.0, 0.0)
    assert session.next_deadline() == 15.0
    assert session.on_deadline(14.9) == []
    assert ended(session.on_deadline(15.0)).code is CloseCode.TIMEOUT


def test_a_stranger_gets_one_stream() -> None:
    session = CoordinatorSession("grid", Keys(), BINDING, b"c" * 32, 0.0)
    assert ended(session.receive(2, b"x", False, 0.0, 0.0)).code is CloseCode.PROTOCOL


def test_a_stranger_gets_four_kilobytes() -> None:
    session = CoordinatorSession("grid", Keys(), BINDING, b"c" * 32, 0.0)
    half_a_frame = (4096).to_bytes(4, "big") + bytes(4092)
    assert session.receive(0, half_a_frame, False, 0.0, 0.0) == []
    assert ended(session.receive(0, b"x", False, 0.0, 0.0)).code is CloseCode.PROTOCOL


def test_a_refusal_is_the_last_word() -> None:
    pair = Pair(proof=KeyProof(WorkerId("wk_2"), WORKER_KEY)).open()
    assert isinstance(pair.to_worker[-1], Close)
    assert pair.coordinator.receive(0, framed(Ping(seq=1)), False, pair.now, 0.0) == []
    assert pair.coordinator.take_outputs() == []
    assert pair.coordinator.next_deadline() is None


# --- silence


def test_a_dead_coordinator_is_noticed_within_eight_seconds() -> None:
    pair = Pair().open()
    pair.pass_time(60.0)
    pair.coordinator_deaf = True
    pair.pass_time(8.0)
    assert ended(pair.worker_events).code is CloseCode.TIMEOUT


def test_a_quiet_session_stays_open() -> None:
    pair = Pair().open()
    pair.pass_time(3600.0)
    assert pair.worker.phase is pair.coordinator.phase is Phase.OPEN
    assert not any(isinstance(event, Suspected) for event in pair.coordinator_events)


def test_a_machine_that_was_itself_held_up_asks_again_before_it_gives_up() -> None:
    pair = Pair().open()
    pair.now += 5.0
    pair.worker.on_deadline(pair.now)
    pair.worker.take_outputs(pair.now)
    pair.now += 300.0
    assert pair.worker.on_deadline(pair.now)[0] == HeartbeatDue()
    assert pair.worker.phase is Phase.OPEN
    pair.pass_time(1.0)
    assert pair.worker.phase is Phase.OPEN


def test_a_silent_worker_is_suspected_within_five_seconds_and_cleared_by_any_word() -> None:
    pair = Pair().open()
    session, now = pair.coordinator, pair.now
    assert session.next_deadline() == now + 3.5
    assert session.on_deadline(now + 3.5) == []
    assert session.on_deadline(now + 5.0) == [Suspected(silent=True)]
    assert session.receive(0, framed(Ping(seq=1)), False, now + 6.0, 0.0) == [Suspected(silent=False)]
    assert session.phase is Phase.OPEN


def test_a_lease_is_renewed_from_when_the_acknowledged_heartbeat_was_sent() -> None:
    pair = Pair().open()
    opened = pair.now
    pair.pass_time(15.0)
    assert [event for event in pair.worker_events if isinstance(event, Renewed)] == [Renewed(opened + 10.0)]
    pair.acknowledge = False
    pair.pass_time(60.0)
    assert sum(isinstance(event, Renewed) for event in pair.worker_events) == 1
    assert pair.worker.phase is Phase.OPEN


def test_heartbeats_come_every_ten_seconds() -> None:
    pair = Pair().open()
    pair.pass_time(60.5)
    assert pair.worker_events.count(HeartbeatDue()) == 6


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_times_that_would_never_rest_are_refused(bad: float) -> None:
    pair = Pair()
    pair.worker.start(pair.now)
    challenge = Challenge(coordinator="g", server_nonce=b"c" * 32, proto=1, time=0.0)
    welcome = msgspec.structs.replace(WELCOME, ping_s=bad)
    events = pair.worker.receive(0, framed(challenge, welcome), False, pair.now)
    assert ended(events).code is CloseCode.PROTOCOL


# --- open


def test_a_flood_of_control_messages_ends_the_session() -> None:
    pair = Pair().open()
    for _ in range(199):
        assert not pair.coordinator.receive(0, framed(Ping(seq=1)), False, pair.now, 0.0)
    events = pair.coordinator.receive(0, framed(*[Ping(seq=1)] * 3), False, pair.now, 0.0)
    assert ended(events).code is CloseCode.TOO_BUSY


def test_a_busy_worker_within_its_rate_is_heard() -> None:
    pair = Pair().open()
    for second in range(60):
        events = pair.coordinator.receive(0, framed(*[Ping(seq=1)] * 50), False, pair.now + second, 0.0)
        assert not any(isinstance(event, Ended) for event in events)


def test_a_thirty_third_job_stream_ends_the_session() -> None:
    pair = Pair().open()
    for number in range(32):
        opened = framed(JobOpen(job_id=JobId(f"job_{number}"), epoch=1))
        assert pair.coordinator.receive(2 + 4 * number, opened, False, pair.now, 0.0) == []
    opened = framed(JobOpen(job_id=JobId("job_32"), epoch=1))
    events = pair.coordinator.receive(2 + 4 * 32, opened, False, pair.now, 0.0)
    assert ended(events).code is CloseCode.PROTOCOL


def test_a_job_stream_tells_its_lease_first_and_its_bytes_are_counted() -> None:
    pair = Pair().open()
    said = framed(JobOpen(job_id=JOB, epoch=4), TOKENS)
    (event,) = pair.coordinator.receive(2, said, False, pair.now, 0.0)
    assert event == JobSaid(2, JOB, 4, TOKENS, len(framed(TOKENS)))
    failed = Failed(code=FailCode.CRASHED, message="gone")
    events = pair.coordinator.receive(2, framed(failed), True, pair.now, 0.0)
    assert events[1] == JobStreamEnded(2, JOB, 4)


@pytest.mark.parametrize(
    ("said", "end"),
    [
        (framed(TOKENS), False),
        (framed(JobOpen(job_id=JOB, epoch=1), JobOpen(job_id=JOB, epoch=1)), False),
        (framed(JobOpen(job_id=JOB, epoch=1), Failed(code=FailCode.CRASHED, message=""), TOKENS), False),
        (framed(JobOpen(job_id=JOB, epoch=1), TOKENS)[:-1], True),
        (b"", True),
        (framed(Ping(seq=1)), False),
    ],
    ids=["no JobOpen", "opened twice", "after the end", "cut short", "empty", "control message"],
)
def test_a_job_stream_out_of_order_ends_the_session(said: bytes, end: bool) -> None:
    pair = Pair().open()
    assert ended(pair.coordinator.receive(2, said, end, pair.now, 0.0)).code is CloseCode.PROTOCOL


def test_two_streams_for_one_lease_end_the_session() -> None:
    pair = Pair().open()
    opened = framed(JobOpen(job_id=JOB, epoch=1))
    pair.coordinator.receive(2, opened, False, pair.now, 0.0)
    assert ended(pair.coordinator.receive(6, opened, False, pair.now, 0.0)).code is CloseCode.PROTOCOL


def test_a_reset_job_stream_is_a_lost_job() -> None:
    pair = Pair().open()
    pair.coordinator.receive(2, framed(JobOpen(job_id=JOB, epoch=1)), False, pair.now, 0.0)
    assert pair.coordinator.stream_reset(2) == [JobStreamEnded(2, JOB, 1)]


def test_either_side_says_why_it_leaves() -> None:
    pair = Pair().open()
    pair.worker.close(CloseCode.SHUTDOWN, "bye")
    pair.run()
    assert ended(pair.coordinator_events) == Ended(CloseCode.SHUTDOWN, "bye", said=True)
    pair = Pair().open()
    pair.coordinator.close(CloseCode.REVOKED, "out")
    pair.run()
    assert ended(pair.worker_events) == Ended(CloseCode.REVOKED, "out")
    assert any(isinstance(output, Send) and b"Goodbye" in output.data for output in pair.to_worker)


def test_an_unknown_close_code_is_understood_as_a_protocol_error() -> None:
    pair = Pair().open()
    events = pair.worker.receive(0, framed(Goodbye(code=99, reason="later")), False, pair.now)
    assert ended(events) == Ended(CloseCode.PROTOCOL, "later")


@pytest.mark.parametrize("message", [Hello(proto_min=1, proto_max=1, software=""), Reject(code=1, message="")])
def test_words_of_the_handshake_have_no_place_in_an_open_session(message: Wire) -> None:
    pair = Pair().open()
    assert ended(pair.coordinator.receive(0, framed(message), False, pair.now, 0.0)).code is CloseCode.PROTOCOL
    pair = Pair().open()
    assert ended(pair.worker.receive(0, framed(message), False, pair.now)).code is CloseCode.PROTOCOL


def test_a_second_welcome_is_refused() -> None:
    pair = Pair().open()
    assert ended(pair.worker.receive(0, framed(Welcome(**msgspec.structs.asdict(WELCOME))), False, 0.0))


def test_what_the_other_side_would_refuse_is_not_sent() -> None:
    pair = Pair().open()
    with pytest.raises(ProtocolError):
        pair.worker.send_job(2, Tokens(seq=1, text="x" * 50_000, token_ids=()))
    assert pair.worker.take_outputs(pair.now) == []
