"""A model's chat template, rendered as far as a stranger's program may be.

Promises: Jinja's immutable sandbox; a template of at most 64 KiB, at most 4 MiB of prompt, at most a second;
whatever goes wrong in it is one `BAD_REQUEST` sentence. A template that knows no system message gets it in front of
the first user message. What the deadline cannot reach, one huge operation inside the interpreter, is kept small by
the memory that a rendering may take (`Room`), on systems that limit a process's address space.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gogrid.protocol.job_messages import FailCode
from gogrid.protocol.tasks import ChatMessage
from runner.errors import JobError
from runner.executor.engines.room import Room

TEMPLATE_BYTES = 64 << 10
OUTPUT_CHARS = 4 << 20
DEADLINE_S = 1.0
_ROOM_BYTES = 256 << 20
"""Of memory, for a rendering."""
_Turn = dict[str, str]


class ChatTemplate:
    """One model's template, compiled once."""

    def __init__(self, source: str, tokens: Mapping[str, str], deadline_s: float = DEADLINE_S) -> None:
        """
        Args:
            source: the Jinja text.
            tokens: what `bos_token`, `eos_token` and the like are in it.
            deadline_s: how long one rendering may take.

        Raises:
            JobError: too long, or not Jinja.
        """
        if len(source.encode()) > TEMPLATE_BYTES:
            raise _refuse(f"is longer than {TEMPLATE_BYTES} bytes")
        self._tokens, self._deadline_s = dict(tokens), deadline_s
        environment = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
        environment.filters["tojson"] = _to_json
        environment.globals.update(raise_exception=_raise, strftime_now=lambda form: time.strftime(form))
        try:
            with Room(_ROOM_BYTES), _Deadline(deadline_s):  # Jinja works out what is constant while it compiles
                self._template = environment.from_string(source)
        except _Late:
            raise _refuse(f"takes longer than {deadline_s:g} s") from None
        except Exception as error:  # as below
            raise _refuse(f"is not valid: {_brief(error)}") from error

    def render(self, messages: tuple[ChatMessage, ...]) -> str:
        """The prompt that asks for the assistant's next message.

        Raises:
            JobError: the template refuses these messages, or broke a limit.
        """
        turns = [_turn(message) for message in messages]
        try:
            return self._render(turns)
        except JobError:
            merged = _without_system(turns)
            if merged is None:
                raise
            return self._render(merged)

    def _render(self, turns: list[_Turn]) -> str:
        pieces: list[str] = []
        size = 0
        try:
            with Room(_ROOM_BYTES), _Deadline(self._deadline_s):
                for piece in self._template.generate(**self._tokens, messages=turns, add_generation_prompt=True):
                    pieces.append(piece)
                    size += len(piece)
                    if size > OUTPUT_CHARS:
                        raise _refuse(f"makes a prompt of more than {OUTPUT_CHARS} characters")
        except _Late:
            raise _refuse(f"takes longer than {self._deadline_s:g} s") from None
        except JobError:
            raise
        except Exception as error:  # a template is a program: it may raise anything
            raise _refuse(f"refuses these messages: {_brief(error)}") from error
        return "".join(pieces)


class _Environment(ImmutableSandboxedEnvironment):
    """Also bounds the operators that can make much out of little."""

    intercepted_binops = frozenset(("*", "**", "+", "%"))

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        if operator == "**" and not (_small(left, 1 << 20) and _small(right, 64)):
            raise SecurityError("too large a power")
        if operator == "*" and _length(left) * _times(right) + _length(right) * _times(left) > OUTPUT_CHARS:
            raise SecurityError("too long a repetition")
        if operator == "+" and _length(left) + _length(right) > OUTPUT_CHARS:
            raise SecurityError("too long a text")
        if operator == "%" and not _small(left, 1 << 62):
            raise SecurityError("text formatting by % is not available")
        return super().call_binop(context, operator, left, right)


class _Generation(Extension):
    """`{% generation %}` marks what to train on; when asking it is its content."""

    tags = {"generation"}  # noqa: RUF012  as its base declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Late(BaseException):
    """The deadline has passed; no template can catch it."""


class _Deadline:
    """Looks at the clock on every line that template code runs, in this thread."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def __enter__(self) -> None:
        self._before = sys.gettrace()
        sys.settrace(self._trace)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, arg: object) -> Callable[[FrameType, str, Any], Any] | None:
        if time.monotonic() > self._end:
            raise _Late
        return self._trace if frame.f_code.co_filename == "<template>" else None


def _turn(message: ChatMessage) -> _Turn:
    role = "system" if message.role == "developer" else message.role
    turn = {"role": role, "content": message.content}
    return turn | {"name": message.name} if message.name else turn


def _without_system(turns: list[_Turn]) -> list[_Turn] | None:
    """The same conversation with its system messages told by the first user message; None if there are none."""
    told = [turn["content"] for turn in turns if turn["role"] == "system"]
    rest = [dict(turn) for turn in turns if turn["role"] != "system"]
    first = next((turn for turn in rest if turn["role"] == "user"), None)
    if not told or first is None:
        return None
    first["content"] = "\n\n".join((*told, first["content"]))
    return rest


def _length(value: object) -> int:
    return len(value) if isinstance(value, str | list | tuple | bytes) else 0


def _times(value: object) -> int:
    return max(value, 0) if isinstance(value, int) else 0


def _small(value: object, limit: int) -> bool:
    return isinstance(value, int | float) and -limit <= value <= limit


def _to_json(value: object, indent: int | None = None, **_: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=min(indent, 8) if indent else None)


def _raise(message: object) -> NoReturn:
    raise TemplateError(str(message))


def _brief(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".")[:200] if lines else type(error).__name__


def _refuse(what: str) -> JobError:
    return JobError(f"The model's chat template {what}.", FailCode.BAD_REQUEST, "messages")
