"""How far a streamed answer has come: what can be gone on with elsewhere, and what cannot."""

import msgspec

from coordinator.interactive.half_said import HalfSaid
from gogrid.ids import JobId
from gogrid.protocol.codec import TASK_ROOM, check_shape, encode_framed
from gogrid.protocol.framing import HEADER_SIZE, MAX_FRAME
from gogrid.protocol.messages import Assign
from gogrid.protocol.tasks import ChatMessage, ResumeMode
from tests.fakes.answer_values import CHAT, said


def test_an_answer_too_long_to_be_sent_again_is_not_sent_again() -> None:
    so_far = HalfSaid(CHAT, ResumeMode.FAST, 1 << 20)
    assert so_far.take(said(*range(200_000)))
    assert so_far.can_move
    so_far.take(said(*range(10_000)))
    assert not so_far.can_move


def test_whatever_can_move_can_be_told_to_a_worker() -> None:
    crowd = tuple(ChatMessage(role="user", content="x") for _ in range(4096))
    so_far = HalfSaid(msgspec.structs.replace(CHAT, messages=crowd), ResumeMode.FAST, 1 << 20)
    so_far.take(said(*range(65_536, 65_536 + 150_000)))
    assert so_far.can_move
    framed = encode_framed(Assign(job_id=JobId("job_1"), epoch=1, task=so_far.task()))
    check_shape(framed[HEADER_SIZE:], TASK_ROOM, MAX_FRAME)
