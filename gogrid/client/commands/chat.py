"""`gogrid chat`: one question, or a conversation in the terminal.

Ctrl-C stops the answer and frees its place on the grid, not the conversation. The model's text is shown with control
characters escaped; `--json` gives it exactly.
"""

import argparse
import contextlib
import re
from typing import TYPE_CHECKING

from gogrid.client.answers import ChatAnswer, ChatTurn, Usage
from gogrid.client.client import GoGrid
from gogrid.client.commands.options import command, number, whole
from gogrid.client.errors import AnswerError, RefusedError, UnreachableError
from gogrid.client.patience import after
from gogrid.client.shell import Exit, Shell, UsageError, is_text
from gogrid.client.status_line import StatusLine, columns_of, sentences_can_go
from gogrid.terminal import one_line, visible

if TYPE_CHECKING:
    from gogrid.client.shell import Commands

_MOST_INPUT = 1 << 20
_PATIENCE_S = 3.0
_PATIENCE = "(waiting: workers may be busy or paused, or one has to fetch and load the model)"
_STILL_HERE = "still here"
"""What the coordinator says when it has nothing to say."""
_NUMBERS = re.compile(r"[0-9]+")
_HOW_FAR = re.compile(r"([a-z]+) [0-9]+%")
"""Of a model that is on its way: `converting 30%`."""
_HELP = "Type a message and Enter. /clear forgets the conversation, /exit or Ctrl-D ends it, Ctrl-C stops an answer."


def add(commands: "Commands") -> None:
    parser = command(commands, "chat", "talk to a model, or ask it one thing", chat)
    parser.add_argument("model", metavar="MODEL", help="a name from `gogrid models`")
    # Without a default argparse calls it missing whenever MODEL is.
    parser.add_argument(
        "prompt", metavar="PROMPT", nargs="*", default=[], help="ask this and end; also taken from piped input"
    )
    parser.set_defaults(rest=[])
    parser.add_argument("--system", metavar="TEXT", help="how the model is to behave")
    parser.add_argument("--temperature", type=number(0, 2), metavar="N", help="0 (always the likeliest) to 2")
    parser.add_argument(
        "--max-tokens", type=whole(1, 1 << 31), metavar="N", help="end each answer after so many tokens"
    )
    parser.add_argument("--seed", type=whole(-(1 << 63), (1 << 63) - 1), metavar="N", help="same seed, same answer")


def chat(arguments: argparse.Namespace, shell: Shell) -> int:
    words = [*arguments.prompt, *arguments.rest]
    if words or not shell.stdin.isatty():
        prompt = " ".join(words) if words else _piped(shell)
        if not prompt.strip():
            raise UsageError("There is nothing to ask: the prompt is empty.")
        return _once(arguments, shell, prompt)
    if arguments.json:
        raise UsageError("--json needs a PROMPT or piped input: a conversation is for people.")
    return _converse(arguments, shell)


def _piped(shell: Shell) -> str:
    text = shell.stdin.read(_MOST_INPUT + 1)
    if not is_text(text):
        raise UsageError("The piped input is not UTF-8 text.")
    if len(text) > _MOST_INPUT:
        raise UsageError("The piped input is longer than the 1 MB that a prompt may have.")
    return text


def _once(arguments: argparse.Namespace, shell: Shell, prompt: str) -> int:
    turns = [*_opening(arguments), ChatTurn(role="user", content=prompt)]
    with shell.client() as client:
        if arguments.json:
            shell.value(_whole(client, arguments, turns))
            return Exit.DONE
        answer = _Answer(shell)
        answer.stream(client, arguments, turns)
    return Exit.DONE


def _converse(arguments: argparse.Namespace, shell: Shell) -> int:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # gives `input` editing and this session's history
    opening = _opening(arguments)
    turns = list(opening)
    with shell.client() as client:
        shell.note(_HELP)
        while (said := _read(shell)) is not None:
            if said in ("/exit", "/quit"):
                break
            if said == "/clear":
                turns = list(opening)
            elif said.startswith("/"):
                shell.note(_HELP)
            elif said:
                turns = _turn(client, arguments, shell, [*turns, ChatTurn(role="user", content=said)]) or turns
    return Exit.DONE


def _read(shell: Shell) -> str | None:
    """One line; None at the end of the conversation."""
    while True:
        try:
            said = input(">>> ").strip()
            if is_text(said):
                return said
            shell.note("That was not UTF-8 text.")
        except EOFError:
            shell.line("")
            return None
        except KeyboardInterrupt:
            shell.line("")
            shell.note("(Ctrl-D or /exit ends the conversation.)")


def _turn(client: GoGrid, arguments: argparse.Namespace, shell: Shell, turns: list[ChatTurn]) -> list[ChatTurn] | None:
    """The conversation with its answer; None if there was none, so that the question can be asked again."""
    answer = _Answer(shell)
    try:
        answer.stream(client, arguments, turns)
    except KeyboardInterrupt:
        shell.line("")
        shell.note("(stopped)")
    except (RefusedError, UnreachableError, AnswerError) as error:
        shell.note(f"gogrid: {error}")
    return [*turns, ChatTurn(role="assistant", content=answer.text)] if answer.text else None


class _Answer:
    """One answer as it comes; what came is kept even if it breaks off."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._pieces: list[str] = []
        self._told = ""
        self._status: StatusLine | None = None
        if sentences_can_go(shell.stderr, shell.environment):
            self._status = StatusLine(shell.stderr, lambda: columns_of(shell.stderr))

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def stream(self, client: GoGrid, arguments: argparse.Namespace, turns: list[ChatTurn]) -> None:
        reason = None
        stream = client.chat_stream(
            arguments.model,
            turns,
            max_tokens=arguments.max_tokens,
            temperature=arguments.temperature,
            seed=arguments.seed,
            waiting=self._waits,
        )
        with (
            after(_PATIENCE_S, lambda: self._say(_PATIENCE)) as something_came,
            contextlib.closing(stream) as pieces,
        ):
            try:
                for piece in pieces:
                    something_came()
                    self._clear_status()
                    self._pieces.append(piece.text)
                    self._shell.text(piece.text)
                    reason = piece.finish_reason or reason
            except (RefusedError, UnreachableError, AnswerError):
                self._clear_status()
                # What is said about it begins a line of its own.
                if self.text and not self.text.endswith("\n"):
                    self._shell.line("")
                raise
            finally:
                if self._status is not None:
                    self._status.end()
        if not self.text.endswith("\n"):
            self._shell.line("")
        if reason == "length":
            self._shell.note("(cut at the token limit)")

    def _waits(self, words: str) -> None:
        """What the coordinator says meanwhile: as it changes on a terminal, elsewhere a line for each thing once."""
        if self._status is not None:
            self._say("" if words == _STILL_HERE else f"({words})")
            return
        kind = _NUMBERS.sub("", words)
        if kind not in (self._told, _STILL_HERE) and not self.text:
            self._told = kind
            how_far = _HOW_FAR.fullmatch(words)
            self._say(f"({how_far[1] if how_far else words})")

    def _say(self, sentence: str) -> None:
        if self._status is None:
            self._shell.note(sentence)
        else:
            on_terminal = visible(self.text) if self._shell.stdout.isatty() else ""
            self._status.show(one_line(sentence), on_terminal.rpartition("\n")[2])

    def _clear_status(self) -> None:
        if self._status is not None:
            self._status.clear()


def _whole(client: GoGrid, arguments: argparse.Namespace, turns: list[ChatTurn]) -> ChatAnswer:
    """Streamed all the same, so that Ctrl-C and a lost connection are noticed at once."""
    text, reason, usage = "", "stop", Usage(prompt_tokens=0, completion_tokens=0)
    stream = client.chat_stream(
        arguments.model, turns, max_tokens=arguments.max_tokens, temperature=arguments.temperature, seed=arguments.seed
    )
    with contextlib.closing(stream) as pieces:
        for piece in pieces:
            text += piece.text
            reason, usage = piece.finish_reason or reason, piece.usage or usage
    return ChatAnswer(text=text, finish_reason=reason, usage=usage)


def _opening(arguments: argparse.Namespace) -> list[ChatTurn]:
    return [ChatTurn(role="system", content=arguments.system)] if arguments.system else []
