"""What bytes may do to the wire layer: nothing but give messages or `ProtocolError`, within their budget."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gogrid.errors import ProtocolError
from gogrid.ids import JobId, Sha256
from gogrid.protocol.codec import (
    GROWTH,
    STRICT_ROOM,
    TASK_ROOM,
    decode_assigned,
    decode_control,
    decode_job,
    encode,
)
from gogrid.protocol.framing import FrameDecoder, encode_frame
from gogrid.protocol.job_messages import JobStreamMessage, Tokens, Vectors
from gogrid.protocol.messages import Assign, ControlMessage, Ping
from gogrid.protocol.tasks import (
    ChatMessage,
    ChatTask,
    CompletionTask,
    EmbeddingTask,
    ModelRef,
    Resume,
    ResumeMode,
    Sampling,
)

DECODERS = (decode_control, decode_assigned, decode_job)
LONG_TEXT = "x" * 990_000 + "\U0001f600"
MODEL = ModelRef(name="m", digest=Sha256("0" * 64))


# --- frames


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20), st.data())
def test_frames_split_anywhere_are_the_same_frames(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(encode_frame(payload) for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=30)))
    decoder, seen = FrameDecoder(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        seen += decoder.feed(stream[start:end])
    assert seen == payloads
    assert decoder.buffered == 0


def test_a_frame_longer_than_allowed_is_refused_before_its_bytes_come() -> None:
    decoder = FrameDecoder(max_size=10)
    with pytest.raises(ProtocolError, match="11 bytes"):
        decoder.feed((11).to_bytes(4, "big"))
    with pytest.raises(ProtocolError):
        decoder.feed(encode_frame(b"fine"))


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(ProtocolError):
        FrameDecoder().feed(bytes(4))
    with pytest.raises(ProtocolError):
        encode_frame(b"")


@given(st.lists(st.binary(max_size=100), max_size=20))
def test_any_bytes_as_frames_raise_only_protocol_error(pieces: list[bytes]) -> None:
    decoder = FrameDecoder(max_size=1000)
    try:
        for piece in pieces:
            decoder.feed(piece)
    except ProtocolError:
        return
    assert decoder.buffered <= 1004


# --- messages


_json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.binary(max_size=20)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=10), inner, max_size=6),
    max_leaves=60,
)
_tags = st.sampled_from(
    [t.__name__ for t in (*ControlMessage.__args__, *JobStreamMessage.__args__)]  # type: ignore[attr-defined]
)
_field_names = st.sampled_from(
    sorted({field for t in (*ControlMessage.__args__, *JobStreamMessage.__args__) for field in t.__struct_fields__})  # type: ignore[attr-defined]
)
_almost_messages = st.builds(
    lambda tag, fields: msgspec.msgpack.encode({"type": tag, **fields}),
    _tags,
    st.dictionaries(_field_names, _json_like, max_size=6),
)


@given(st.binary(max_size=500) | _almost_messages | _json_like.map(msgspec.msgpack.encode))
@settings(max_examples=200)
def test_any_bytes_as_messages_raise_only_protocol_error(data: bytes) -> None:
    for decode in DECODERS:
        try:
            decode(data)
        except ProtocolError as error:
            assert len(str(error)) < 400  # noqa: PT017 - only the length of what is said matters


@given(st.binary(min_size=1, max_size=3), st.sampled_from([1, 100, 5_000, 20_000]), st.sampled_from(range(4)))
@settings(max_examples=60, deadline=None)
def test_any_bytes_allocate_no_more_than_four_times_their_size(unit: bytes, count: int, place: int) -> None:
    headers = (
        b"\x84\xa4type\xa6Tokens\xa3seq\x01\xa4text\xa0\xa9token_ids\xdd\x7f\xff\xff\xff",
        b"\x84\xa4type\xa6Tokens\xa3seq\x01\xa4text\xa0\xa9token_ids\xdd" + count.to_bytes(4, "big"),
        b"\x83\xa4type\xa9Heartbeat\xa3seq\x01\xa4held\xdd" + count.to_bytes(4, "big"),
        b"",
    )
    data = headers[place] + unit * count
    for decode in (decode_control, decode_job):
        assert peak_of(decode, data) <= GROWTH * len(data) + STRICT_ROOM


_ABC = "abcdefgh"


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "Tokens", "seq": 1, "text": "", "token_ids": [1] * 900_000},
        {"type": "Tokens", "seq": 1, "text": "", "token_ids": [], "logprobs": [["a", 1, 0.5]] * 90_000},
        {"type": "Tokens", "seq": 1, "text": "x" * 900_000 + "\U0001f600", "token_ids": []},
        {"type": "Log", "seq": 1, "stream": "\x01" * 900_000, "data": b""},
        {"type": "\x01" * 900_000},
        {"type": "Heartbeat", "seq": 1, "held": [{"job_id": "jj", "epoch": 1}] * 40_000},
        {"type": "Ping", "seq": 1, "unknown": [[_ABC]] * 90_000},
        {"type": "Finished", "result": {"type": "PythonDone", "files": [{}] * 900_000}},
    ],
    ids=lambda fields: f"{fields['type'][:9]!r}-{list(fields)[-1]}",
)
def test_a_crafted_frame_of_a_megabyte_allocates_no_more_than_four_times_its_size(fields: dict[str, object]) -> None:
    data = msgspec.msgpack.encode(fields)
    for decode in (decode_control, decode_job):
        assert peak_of(decode, data) <= GROWTH * len(data) + STRICT_ROOM


@pytest.mark.parametrize(
    "task",
    [
        ChatTask(
            model=MODEL, messages=(ChatMessage(role="user", content="x" * 990_000 + "\U0001f600"),), sampling=Sampling()
        ),
        CompletionTask(model=MODEL, prompt=tuple(range(65_536, 265_536)), sampling=Sampling()),
        EmbeddingTask(model=MODEL, inputs=("a line of text",) * 60_000),
        EmbeddingTask(model=MODEL, inputs=(tuple(range(65_536, 65_556)),) * 2048),
        ChatTask(model=MODEL, messages=(ChatMessage(role="user", content="x"),) * 4096, sampling=Sampling()),
    ],
    ids=["long text", "token ids", "many inputs", "many inputs of ids", "many messages"],
)
def test_a_worker_has_room_for_the_largest_tasks(task: ChatTask | CompletionTask | EmbeddingTask) -> None:
    message = Assign(job_id=JobId("job_1"), epoch=1, task=task)
    data = encode(message)
    assert decode_assigned(data) == message
    assert peak_of(decode_assigned, data) <= GROWTH * len(data) + TASK_ROOM


_resumes = st.builds(
    Resume,
    token_ids=st.lists(st.integers(0, 300_000), max_size=2_000).map(tuple),
    mode=st.sampled_from(ResumeMode),
)


@given(st.none() | _resumes, st.booleans())
def test_an_answer_to_go_on_with_survives_the_wire(resume: Resume | None, chat: bool) -> None:
    task = (
        ChatTask(model=MODEL, messages=(), sampling=Sampling(), resume=resume)
        if chat
        else CompletionTask(model=MODEL, prompt="once", sampling=Sampling(), echo=True, resume=resume)
    )
    message = Assign(job_id=JobId("job_1"), epoch=2, task=task)
    assert decode_assigned(encode(message)) == message


def test_a_task_without_an_answer_to_go_on_with_looks_as_it_did_before_there_were_any() -> None:
    task = ChatTask(model=MODEL, messages=(), sampling=Sampling())
    assert b"resume" not in encode(Assign(job_id=JobId("job_1"), epoch=1, task=task))


def test_a_frame_full_of_vectors_passes() -> None:
    vectors = Vectors(first=0, width=384, data=bytes(1_000_000))
    assert decode_job(encode(vectors)) == vectors


def test_values_nest_eight_deep_and_no_deeper() -> None:
    def nested(depth: int) -> bytes:
        value: object = 1
        for _ in range(depth - 1):
            value = [value]
        return msgspec.msgpack.encode({"type": "Ping", "seq": 1, "later": value})

    assert decode_control(nested(8)) == Ping(seq=1)
    with pytest.raises(ProtocolError, match="8 deep"):
        decode_control(nested(9))
    with pytest.raises(ProtocolError, match="8 deep"):
        decode_control(b"\x91" * 100_000)


def test_unknown_fields_are_ignored_and_unknown_tags_refused() -> None:
    assert decode_control(msgspec.msgpack.encode({"type": "Ping", "seq": 1, "new": {"a": 1}})) == Ping(seq=1)
    with pytest.raises(ProtocolError, match="Invalid value"):
        decode_control(msgspec.msgpack.encode({"type": "Teleport", "seq": 1}))
    with pytest.raises(ProtocolError):
        decode_control(encode(Tokens(seq=1, text="", token_ids=())))


def test_text_that_is_no_utf8_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        decode_job(b"\x84\xa4type\xa6Tokens\xa3seq\x01\xa4text\xa2\xff\xfe\xa9token_ids\x90")


def test_a_message_that_cannot_be_sent_is_refused_by_name() -> None:
    with pytest.raises(ProtocolError, match="Tokens"):
        encode(Tokens(seq=1, text="\ud800", token_ids=()))
    with pytest.raises(ProtocolError, match="1048576 are allowed"):
        encode(Vectors(first=0, width=1, data=bytes(2 << 20)))


def peak_of(decode: Callable[[bytes], object], data: bytes) -> int:
    """The most bytes that decoding had allocated at any moment."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with contextlib.suppress(ProtocolError):
            decode(data)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
