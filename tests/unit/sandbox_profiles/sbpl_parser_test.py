"""The reader of macOS profiles skips nothing and says where it stumbles."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_profiles.sbpl import Form, Pattern, ProfileError, Symbol, Text, parse


def test_forms_reasons_and_lines_come_out() -> None:
    rules = parse('; head\n\n; why\n; so\n(allow file-read* ; aside\n  (subpath (param "RT")))\n(deny default)\n')
    assert rules[0].form == (
        Symbol("allow"),
        Symbol("file-read*"),
        (Symbol("subpath"), (Symbol("param"), Text("RT"))),
    )
    assert (rules[0].reason, rules[0].line) == ("why so", 5)
    assert (rules[1].reason, rules[1].line) == ("", 7)


def test_kinds_of_atoms_are_told_apart() -> None:
    (rule,) = parse(r'(a "b" #"^/c\.d$" "")')
    assert [type(part) for part in rule.form] == [Symbol, Text, Pattern, Text]
    assert rule.form[2] == Pattern(r"^/c\.d$")


def test_parentheses_in_strings_and_comments_are_no_structure() -> None:
    (rule,) = parse('; (allow default)\n(x ")(" ; ) (\n "a\\"b)")')
    assert rule.form == (Symbol("x"), Text(")("), Text('a\\"b)'))
    assert rule.reason == "(allow default)"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(a", "line 1: a rule begins that never ends"),
        ("\n(a\n(b)", "line 2: a rule begins that never ends"),
        (")", r"line 1: '\)' stands outside"),
        ("(a))", r"line 1: '\)' stands outside"),
        ("allow", "line 1: 'allow' stands outside"),
        ('(a "b)', "line 1: '\"b\\)' cannot be read"),
        ("(a 'b)", "cannot be read"),
        ("(a `b)", "cannot be read"),
        ("(a #b)", "cannot be read"),
        ("(a |b|)", "cannot be read"),
        ("(" * 50, "parentheses are open"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(ProfileError, match=f"(?i){words}"):
        parse(text)


ATOMS = st.one_of(
    st.from_regex(r"[a-z*_-]{1,8}", fullmatch=True).map(Symbol),
    st.from_regex(r'[^"\\]{0,12}', fullmatch=True).map(Text),
    st.from_regex(r'[^"\\]{0,12}', fullmatch=True).map(Pattern),
)
FORMS = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=12)


def written(form: Form) -> str:
    match form:
        case Symbol():
            return str(form)
        case Pattern():
            return f'#"{form}"'
        case Text():
            return f'"{form}"'
        case _:
            return f"({' '.join(written(part) for part in form)})"


@given(st.lists(st.lists(FORMS, max_size=4).map(tuple), max_size=4))
def test_every_form_is_read_back_as_it_was_written(forms: list[tuple[Form, ...]]) -> None:
    assert [rule.form for rule in parse("\n".join(map(written, forms)))] == forms


@given(st.text(alphabet='()";#\\ \nab*', max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ProfileError):
        parse(text)
