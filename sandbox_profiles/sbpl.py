"""Read the language of macOS sandbox profiles: s-expressions with comments, strings and `#"…"` regular expressions.

Promises: `parse` either gives every top-level form with the comment that explains it, or raises `ProfileError` with
the line; nothing is skipped that the kernel's compiler would read. Evaluates nothing.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

_DEEPEST = 20
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+)|(?P<line>\n)|(?P<comment>;[^\n]*)|(?P<open>\()|(?P<close>\))"""
    r"""|(?P<regex>\#"(?:[^"\\]|\\.)*")|(?P<text>"(?:[^"\\]|\\.)*")|(?P<symbol>[A-Za-z0-9_+*/<>=!?.:-]+)""",
    re.DOTALL,
)


class ProfileError(ValueError):
    """A profile that cannot be read or must not be used; one sentence with the line."""


class Symbol(str):
    """A bare word: an operation, a filter, a number."""

    __slots__ = ()


class Text(str):
    """A string, without its quotes, escapes as written."""

    __slots__ = ()


class Pattern(str):
    """A `#"…"` regular expression, without its quotes."""

    __slots__ = ()


Form: TypeAlias = "Symbol | Text | Pattern | tuple[Form, ...]"


@dataclass(frozen=True, slots=True)
class Rule:
    form: tuple[Form, ...]
    reason: str
    """The comment on the lines right above, or empty."""
    line: int


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def parse(text: str) -> tuple[Rule, ...]:
    """The top-level forms, in order. Raises `ProfileError`."""
    rules: list[Rule] = []
    open_forms: list[list[Form]] = []
    comment: list[str] = []
    blank = began = 0
    for kind, word, line in _tokens(text):
        if not open_forms and kind == "line":
            blank += 1
            comment = comment if blank < 2 else []
            continue
        if kind in ("space", "line", "comment"):
            if kind == "comment" and not open_forms:
                blank = 0
                comment.append(word.lstrip("; ").rstrip())
            continue
        blank = 0
        if kind == "open":
            if len(open_forms) == _DEEPEST:
                raise ProfileError(f"Line {line}: more than {_DEEPEST} parentheses are open.")
            began = began if open_forms else line
            open_forms.append([])
        elif not open_forms:
            raise ProfileError(f"Line {line}: {word!r} stands outside of any rule.")
        elif kind == "close":
            form = tuple(open_forms.pop())
            if open_forms:
                open_forms[-1].append(form)
            else:
                rules.append(Rule(form, " ".join(comment).strip(), began))
                comment = []
        else:
            open_forms[-1].append(_atom(kind, word))
    if open_forms:
        raise ProfileError(f"Line {began}: a rule begins that never ends.")
    return tuple(rules)


def _tokens(text: str) -> "list[_Token]":
    found: list[_Token] = []
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ProfileError(f"Line {line}: {text[at : at + 20]!r} cannot be read.")
        found.append(_Token(str(match.lastgroup), match.group(), line))
        line += match.group().count("\n")
        at = match.end()
    return found


def _atom(kind: str, word: str) -> Form:
    if kind == "text":
        return Text(word[1:-1])
    if kind == "regex":
        return Pattern(word[2:-1])
    return Symbol(word)
