"""The pure parts of the client: event streams, terminal text, tables."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogrid.client.errors import AnswerError
from gogrid.client.sse import MAX_EVENT_BYTES, EventDecoder, ServerEvent
from gogrid.client.tables import ago, span, table
from gogrid.terminal import one_line, visible

STREAM = (
    b': still here\n\nid: 1\nevent: log\ndata: {"a": 1}\n\ndata:two\r\ndata:  lines\r\n\r\nretry: 5\n\n'
    b"event: job\ndata: \xc3\xa9\n\nevent: nothing\n\ndata: cut"
)
EVENTS = [ServerEvent("log", '{"a": 1}'), ServerEvent("message", "two\n lines"), ServerEvent("job", "é")]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_do_not_depend_on_where_the_bytes_were_split(cuts: list[int]) -> None:
    decoder = EventDecoder()
    edges = [0, *sorted(cuts), len(STREAM)]
    events = [event for start, end in pairwise(edges) for event in decoder.feed(STREAM[start:end])]
    assert events == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_comments_are_told_apart_from_events(cuts: list[int]) -> None:
    told: list[str] = []
    decoder = EventDecoder(told.append)
    edges = [0, *sorted(cuts), len(STREAM)]
    events = [event for start, end in pairwise(edges) for event in decoder.feed(STREAM[start:end])]
    assert (events, told) == (EVENTS, ["still here"])


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_any_bytes_are_events_or_an_answer_error(chunks: list[bytes]) -> None:
    decoder = EventDecoder()
    try:
        for chunk in chunks:
            decoder.feed(chunk)
    except AnswerError:
        pass


def test_a_line_without_end_cannot_fill_the_memory() -> None:
    with pytest.raises(AnswerError, match="8 MB"):
        flood(b"x" * (1 << 20))


def test_an_event_without_end_cannot_fill_the_memory() -> None:
    with pytest.raises(AnswerError, match="8 MB"):
        flood(b"data: " + b"x" * (1 << 20) + b"\n")


def flood(chunk: bytes) -> None:
    decoder = EventDecoder()
    for _ in range(MAX_EVENT_BYTES // (1 << 20) + 1):
        decoder.feed(chunk)


@given(st.text())
def test_nothing_that_a_terminal_obeys_comes_through(text: str) -> None:
    shown = visible(text)
    assert not any(
        (ord(character) < 0x20 and character not in "\n\t") or 0x7F <= ord(character) < 0xA0 for character in shown
    )
    shown.encode()
    assert "\n" not in one_line(text)


@pytest.mark.parametrize("text", ["plain", "größe 数 👩‍👩‍👧", "a\nb\tc", "\\x1b is text", "שלום\u200f"])
def test_plain_text_is_not_changed(text: str) -> None:
    assert visible(text) == text


def test_columns_line_up_for_wide_and_combining_characters_too() -> None:
    assert table(("A", "B", "C"), [("数数", "x", ""), ("e\u0301", "\x1b[2J", "last cell is not padded")]) == (
        "A     B        C\n数数  x        -\ne\u0301     \\x1b[2J  last cell is not padded\n"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3600, "1 h"), (86400 * 3, "3 d"), (-5, "0 s")]
)
def test_spans_of_time(seconds: float, text: str) -> None:
    assert span(seconds) == text
    assert ago(100.0 - seconds, 100.0) == f"{text} ago"


def test_what_has_not_happened_has_no_time() -> None:
    assert ago(None, 100.0) == "-"
