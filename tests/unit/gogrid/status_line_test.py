"""What a terminal is sent so that a sentence below a half-written line can be taken away again.

That the bytes do this was seen in a real terminal (tmux): at the lower edge, behind full rows, over several rows.
"""

import io

import pytest

from gogrid.client.status_line import StatusLine, sentences_can_go

GONE = "\x1b8\x1b[J"


class Screen(io.StringIO):
    def new(self) -> str:
        said = self.getvalue()
        self.seek(0)
        self.truncate()
        return said

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def status(screen: Screen) -> StatusLine:
    return StatusLine(screen, lambda: 10)


def test_a_sentence_moves_and_is_taken_away(status: StatusLine, screen: Screen) -> None:
    status.show("(one)", "")
    assert screen.new() == "\x1b7(one)"
    status.show("(two)", "")
    assert screen.new() == GONE + "\x1b7(two)"
    status.clear()
    assert screen.new() == GONE


@pytest.mark.parametrize(
    ("line", "sentence", "sent"),
    [
        ("abc", "(one)", "\x1bD\x1b[1A\x1b7\r\n(one)"),
        ("abc", "0123456789a", "\x1bD\x1bD\x1b[2A\x1b7\r\n0123456789a"),
        ("", "0123456789a", "\x1bD\x1b[1A\x1b70123456789a"),
        ("0123456789", "(one)", " \b\x1b7(one)"),
        ("五五五五五", "(one)", " \b\x1b7(one)"),
    ],
    ids=["line", "two_rows", "two_rows_at_the_beginning", "full_row", "full_row_of_wide_characters"],
)
def test_room_is_made_before_the_place_is_kept(
    status: StatusLine, screen: Screen, line: str, sentence: str, sent: str
) -> None:
    status.show(sentence, line)
    assert screen.new() == sent


def test_nothing_is_sent_where_nothing_is_shown(status: StatusLine, screen: Screen) -> None:
    status.clear()
    status.show("", "abc")
    status.end()
    assert screen.new() == ""


def test_a_word_that_comes_late_is_not_left_behind(status: StatusLine, screen: Screen) -> None:
    status.show("(one)", "")
    status.end()
    screen.new()
    status.show("(waiting)", "")
    assert screen.new() == ""


@pytest.mark.skipif("sys.platform == 'win32'", reason="there no terminal is asked")
def test_only_a_terminal_that_can_take_it_away_gets_one(screen: Screen) -> None:
    assert sentences_can_go(screen, {"TERM": "xterm"})
    assert not sentences_can_go(screen, {"TERM": "dumb"})
    assert not sentences_can_go(screen, {})
    assert not sentences_can_go(io.StringIO(), {"TERM": "xterm"})
