"""What a command line may hold."""

import pytest

from gogrid.arguments import CommandParser, parse


@pytest.mark.parametrize("words", [["\udcff"], ["ok", "--", "a\udcffb"]])
def test_words_that_are_not_text_are_refused_in_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = CommandParser(prog="gogrid")
    parser.add_argument("word")
    parser.set_defaults(rest=[])
    with pytest.raises(SystemExit) as ended:
        parse(parser, words)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "is not UTF-8 text" in said
    assert said.count("\n") == 1


def test_ordinary_words_of_any_language_pass() -> None:
    parser = CommandParser(prog="gogrid")
    parser.add_argument("word")
    assert parse(parser, ["größe 日本"]).word == "größe 日本"
