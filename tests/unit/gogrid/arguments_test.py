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


def grid_parser() -> CommandParser:
    top = CommandParser(prog="gogrid", allow_abbrev=False)
    commands = top.add_subparsers(dest="verb", required=True, parser_class=CommandParser)
    chat = commands.add_parser("chat", allow_abbrev=False)
    chat.add_argument("model", metavar="MODEL")
    chat.add_argument("prompt", metavar="PROMPT", nargs="*", default=[])
    chat.add_argument("--max-tokens")
    commands.add_parser("models").add_subparsers(dest="verb", required=True).add_parser("list")
    commands.add_parser("join").add_argument("token")
    commands.add_parser("sort").add_argument("by", choices=("name", "age"))
    return top


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "gogrid: a COMMAND is missing; type: gogrid chat|models|join|sort "),
        ("chat", "gogrid chat: MODEL is missing; type: gogrid chat MODEL [PROMPT ...] "),
        ("models", "gogrid models: a COMMAND is missing; type: gogrid models list "),
        ("join", "gogrid join: TOKEN is missing; type: gogrid join TOKEN "),
        ("sort", "gogrid sort: BY is missing; type: gogrid sort name|age "),
        ("chta x", "gogrid: there is no 'chta'; did you mean chat? "),
        ("zzz", "gogrid: argument verb: invalid choice: 'zzz'"),
        ("sort naem", "gogrid sort: argument by: there is no 'naem'; did you mean name? "),
        ("chat x --max-token 5", "gogrid chat: there is no option --max-token; did you mean --max-tokens? "),
        ("chat x --zzz", "gogrid: unrecognized arguments: --zzz "),
    ],
    ids=[str(number) for number in range(10)],
)
def test_wrong_words_are_told_what_to_type(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(grid_parser(), words.split())
    shown = capsys.readouterr().err
    assert shown.startswith(said)
    assert shown.count("\n") == 1


def test_what_another_parser_may_know_is_passed_on() -> None:
    first = CommandParser(prog="gogrid-worker", allow_abbrev=False)
    first.passes_on = True
    first.add_argument("--data")
    assert first.parse_known_args(["--date", "x"])[1] == ["--date", "x"]  # type: ignore[no-untyped-call]
