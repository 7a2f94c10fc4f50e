"""Pieces of an answer leave on a beat, and none of them is lost, repeated, late at the end or out of order."""

from hypothesis import given
from hypothesis import strategies as st

from gogrid.protocol.codec import STRICT_TEXT, Codec, encode
from gogrid.protocol.job_messages import FailCode, Failed, Finished, Started, TextDone, TokenLogprob, Tokens
from gogrid.protocol.worker_report import DeviceKind
from runner.executor.batches import into_pieces, into_steps
from runner.executor.messages import FromExecutor, Item
from runner.executor.pacing import Beat, Pacer, beat_of

BEAT = Beat(few_s=0.1, many_s=0.2)
DONE = Finished(result=TextDone(finish_reason="stop", prompt_tokens=1, completion_tokens=1))


def tokens(request: int, number: int, text: str = "x") -> Item:
    logprobs = (TokenLogprob(token=text, token_id=number, logprob=-1.0),)
    return Item(request=request, message=Tokens(seq=number, text=text, token_ids=(number,), logprobs=logprobs))


def said(items: tuple[Item, ...], request: int) -> list[int]:
    return [
        number
        for item in items
        if item.request == request and isinstance(item.message, Tokens)
        for number in item.message.token_ids
    ]


def test_the_first_text_of_an_answer_waits_for_nothing() -> None:
    pacer = Pacer(BEAT)
    assert said(pacer.due((tokens(1, 0),), 0.0), 1) == [0]
    assert said(pacer.due((tokens(2, 0, text=""),), 0.01), 2) == []
    assert said(pacer.due((tokens(2, 1),), 0.02), 2) == [0, 1]


def test_tokens_between_two_beats_leave_as_one_message() -> None:
    pacer = Pacer(BEAT)
    pacer.due((tokens(1, 0),), 0.0)
    assert pacer.due((tokens(1, 1),), 0.04) == ()
    assert pacer.due((tokens(1, 2),), 0.08) == ()
    (item,) = pacer.due((tokens(1, 3),), 0.12)
    assert isinstance(item.message, Tokens)
    assert (item.message.text, item.message.token_ids) == ("xxx", (1, 2, 3))
    assert [entry.token_id for entry in item.message.logprobs] == [1, 2, 3]


def test_eight_answers_at_once_leave_half_as_often_and_again_as_often_when_one_has_ended() -> None:
    pacer, eight = Pacer(BEAT), range(8)
    pacer.due(tuple(tokens(request, 0) for request in eight), 0.0)
    assert pacer.due(tuple(tokens(request, 1) for request in eight), 0.15) == ()
    assert [item.request for item in pacer.due((), 0.21)] == list(eight)
    pacer.forget(0)
    assert said(pacer.due((tokens(1, 2),), 0.32), 1) == [2]


def test_a_gpu_is_woken_for_no_longer_beat_because_others_wait_for_no_processor() -> None:
    assert beat_of(DeviceKind.CUDA).many_s == beat_of(DeviceKind.CUDA).few_s < beat_of(DeviceKind.CPU).few_s


def test_the_end_of_an_answer_leaves_at_once_behind_all_its_tokens() -> None:
    pacer = Pacer(BEAT)
    pacer.due((tokens(1, 0), tokens(2, 0)), 0.0)
    pacer.due((tokens(1, 1), tokens(2, 1)), 0.01)
    items = pacer.due((tokens(1, 2), Item(request=1, message=DONE), tokens(2, 2)), 0.02)
    assert said(items, 1) == [1, 2]
    assert said(items, 2) == [1, 2]
    assert [item.message for item in items if item.request == 1][-1] is DONE


def test_a_refusal_is_not_held_back() -> None:
    refusal = Item(request=7, message=Failed(code=FailCode.BAD_REQUEST, message="No."))
    pacer = Pacer(BEAT)
    pacer.due((tokens(1, 0),), 0.0)
    assert pacer.due((refusal,), 0.01) == (refusal,)


def test_pieces_of_an_aborted_request_are_dropped_and_its_number_may_come_again() -> None:
    pacer = Pacer(BEAT)
    pacer.due((tokens(1, 0),), 0.0)
    pacer.due((tokens(1, 1),), 0.01)
    pacer.forget(1)
    assert said(pacer.due((tokens(1, 5),), 0.02), 1) == [5]


@given(
    st.lists(
        st.tuples(
            st.sets(st.integers(1, 3)), st.floats(0.0, 0.3), st.sampled_from(["tokens", "started", "silent tokens"])
        ),
        max_size=40,
    )
)
def test_every_token_leaves_once_and_in_order(steps: list[tuple[set[int], float, str]]) -> None:
    pacer = Pacer(BEAT)
    now, made = 0.0, dict.fromkeys((1, 2, 3), 0)
    left: dict[int, list[int]] = {1: [], 2: [], 3: []}
    for requests, passed, kind in steps:
        now += passed
        items = []
        for request in sorted(requests):
            if kind == "started":
                items.append(Item(request=request, message=Started(device="CPU")))
            else:
                items.append(tokens(request, made[request], "" if kind.startswith("silent") else "x"))
                made[request] += 1
        leaving = pacer.due(tuple(items), now)
        for request, numbers in left.items():
            numbers += said(leaving, request)
    leaving = pacer.due(tuple(Item(request=request, message=DONE) for request in made), now)
    for request, numbers in left.items():
        assert numbers + said(leaving, request) == list(range(made[request]))


def test_what_is_held_never_grows_beyond_what_one_message_carries() -> None:
    pacer = Pacer(BEAT)
    pacer.due((tokens(1, 0),), 0.0)
    left = [item for number in range(1, 40) for item in pacer.due((tokens(1, number, "ü" * 3000),), 0.01)]
    left += [item for number in range(40, 300) for item in pacer.due((tokens(1, number),), 0.02)]
    texts = [item.message.text for item in left if isinstance(item.message, Tokens)]
    assert len(texts) > 40
    assert max(len(text.encode()) for text in texts) <= STRICT_TEXT / 2
    assert max(len(item.message.token_ids) for item in left if isinstance(item.message, Tokens)) <= 64
    assert said(tuple(left), 1) == list(range(1, len(said(tuple(left), 1)) + 1))


@given(st.text("aü漢🙂", min_size=1, max_size=7), st.integers(0, 3 * STRICT_TEXT))
def test_a_text_too_long_for_one_message_is_cut_between_characters(pattern: str, size: int) -> None:
    text = (pattern * (size // len(pattern.encode()) + 1)) + "end"
    logprobs = (TokenLogprob(token=text, token_id=7, logprob=-1.0, top=((text, 7, -1.0),)),)
    pieces = into_pieces(Tokens(seq=5, text=text, token_ids=(7, 8), logprobs=logprobs))
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.seq for piece in pieces] == list(range(5, 5 + len(pieces)))
    assert [piece.token_ids for piece in pieces] == [()] * (len(pieces) - 1) + [(7, 8)]
    assert [len(piece.logprobs) for piece in pieces] == [0] * (len(pieces) - 1) + [1]
    assert [piece.more for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    codec: Codec[FromExecutor] = Codec(FromExecutor)
    items = tuple(Item(request=1, message=piece) for piece in pieces)
    assert [item for step in into_steps(items) for item in codec.decode(encode(step)).items] == list(items)  # type: ignore[union-attr]


def test_a_text_of_a_hundred_pieces_is_no_step_that_its_reader_refuses() -> None:
    pieces = into_pieces(Tokens(seq=0, text="🙂" * 500_000, token_ids=(1,)))
    codec: Codec[FromExecutor] = Codec(FromExecutor)
    for step in into_steps(tuple(Item(request=1, message=piece) for piece in pieces)):
        codec.decode(encode(step))


def test_what_follows_a_cut_text_is_numbered_behind_its_pieces() -> None:
    pacer = Pacer(BEAT)
    left = [item.message for item in pacer.due((tokens(1, 0, "x" * 50_000), tokens(1, 1, "y" * 50_000)), 0.0)]
    left += [item.message for item in pacer.due((tokens(1, 2), Item(request=1, message=DONE)), 0.01)]
    numbers = [message.seq for message in left if isinstance(message, Tokens)]
    assert numbers == list(range(9))
    pacer.forget(1)
    (again,) = pacer.due((tokens(1, 0),), 1.0)
    assert isinstance(again.message, Tokens)
    assert again.message.seq == 0
