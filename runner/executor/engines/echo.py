"""The engine for tests and for measuring everything around an engine: it says back what it is told. No torch, no files.

A chat is answered with the text of its last user message, a completion with its prompt, one token per word. The
first line may steer it: `#echo chunks=20 delay_ms=5 fail_after=3` (each part optional, the line is not part of the
answer):

- `chunks=N`: the words are repeated until N tokens have come (cut by `max_tokens` like any answer);
- `delay_ms=N`: one turn of the whole batch takes N ms while this request is in it, as a real forward pass would;
- `fail_after=N`: the engine breaks after N tokens of this request, and with it all requests;
- `die_after=N`: the process dies at that point without a word;
- `error_after=N`: this request alone fails.

An answer that another worker began is gone on with; its tokens must be those that this engine says. In `exact` mode
each of them takes one turn, as it would in a real engine.

Without `chunks` the text is said once. Embeddings are 8 wide, normalised and made from a hash of the text.
Everything is deterministic. All active requests advance together, one token each per step.
"""

import hashlib
import os
import re
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

from gogrid.protocol.job_messages import EmbeddingDone, FailCode, Failed, Finished, JobMessage, TokenLogprob, Vectors
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask, Resume, ResumeMode
from runner.errors import JobError
from runner.executor.engines.answer import Answer
from runner.executor.messages import Item, Load, Ready

CONTEXT = 4096
WIDTH = 8
_SLOTS = 64
_DEVICE = "CPU, echo"
_CONTROLS = ("chunks", "delay_ms", "fail_after", "die_after", "error_after")
_WORD = re.compile(r"\s*\S+|\s+")
_VOCABULARY = 50_000


@dataclass(slots=True)
class _Talk:
    answer: Answer
    words: list[str]
    controls: dict[str, int]
    logprobs: bool
    prefix: str = ""
    behind: int = 0
    """Turns until it has caught up with the worker that began it."""
    over: bool = False
    """Its answer had ended before it came here."""
    started: bool = False


class EchoEngine:
    """See the module's docstring."""

    def __init__(self, load: Load, sleep: Callable[[float], None] = time.sleep) -> None:
        """Args: sleep: what a `delay_ms` calls, with seconds; a caller with other things to do takes note instead."""
        self._threads = load.threads
        self._sleep = sleep
        self._talks: dict[int, _Talk] = {}
        self._embeddings: dict[int, EmbeddingTask] = {}

    def ready(self) -> Ready:
        return Ready(device=_DEVICE, slots=_SLOTS, memory_bytes=0, context_length=CONTEXT)

    def submit(self, request: int, task: ChatTask | CompletionTask | EmbeddingTask) -> None:
        if isinstance(task, EmbeddingTask):
            for text in task.inputs:
                _check_length(_count(text), "input")
            self._embeddings[request] = task
        else:
            self._talks[request] = _talk(task)

    def abort(self, request: int) -> None:
        self._talks.pop(request, None)
        self._embeddings.pop(request, None)

    @property
    def busy(self) -> bool:
        return bool(self._talks or self._embeddings)

    def step(self) -> tuple[Item, ...]:
        items = [
            Item(request=request, message=message)
            for request, task in self._embeddings.items()
            for message in _embed(task)
        ]
        self._embeddings.clear()
        active = list(self._talks.items())[:_SLOTS]
        delay = max((talk.controls.get("delay_ms", 0) for _, talk in active), default=0)
        if delay:
            self._sleep(delay / 1000)
        for request, talk in active:
            items += (Item(request=request, message=message) for message in self._advance(request, talk))
        return tuple(items)

    def close(self) -> None:
        self._talks.clear()

    def _advance(self, request: int, talk: _Talk) -> list[JobMessage]:
        """One token of one request."""
        answer, out = talk.answer, list[JobMessage]()
        if not talk.started:
            talk.started = True
            out.append(answer.started(_DEVICE))
            if talk.prefix:
                out.append(answer.preface(talk.prefix))
        if talk.behind:
            talk.behind -= 1
            return out
        if talk.over:
            del self._talks[request]
            return [*out, answer.finished()]
        _misbehave(talk)
        if answer.count == talk.controls.get("error_after", -1):
            del self._talks[request]
            message = f"This request was told to fail after {answer.count} tokens."
            return [*out, Failed(code=FailCode.INTERNAL, message=message)]
        word = talk.words[answer.count]
        token_id = _token_id(word)
        entry = TokenLogprob(token=word, token_id=token_id, logprob=0.0) if talk.logprobs else None
        out.append(answer.push(token_id, word, end=answer.count + 1 == len(talk.words), logprob=entry))
        if answer.ended:
            del self._talks[request]
            out.append(answer.finished())
        return out


def _talk(task: ChatTask | CompletionTask) -> _Talk:
    if isinstance(task, CompletionTask):
        said = task.prompt if isinstance(task.prompt, str) else " ".join(map(str, task.prompt))
        prompt, param = _count(task.prompt), "prompt"
    else:
        said = next((message.content for message in reversed(task.messages) if message.role == "user"), "")
        prompt, param = sum(_count(message.content) for message in task.messages), "messages"
    _check_length(prompt, param)
    controls, text = _controls(said)
    words = _words(text, controls.get("chunks"))
    room = CONTEXT - prompt
    limit = min(task.sampling.max_tokens or room, room)
    prefix = text if isinstance(task, CompletionTask) and task.echo and not task.resume else ""
    talk = _Talk(Answer(task.sampling, prompt, limit), words, controls, task.sampling.logprobs >= 0, prefix)
    if task.resume:
        if len(task.resume.token_ids) > room:
            message = f"This input has {prompt} tokens and its answer {len(task.resume.token_ids)}; {CONTEXT} fit."
            raise JobError(message, FailCode.CONTEXT_LENGTH, param)
        _catch_up(talk, task.resume)
    return talk


def _catch_up(talk: _Talk, resume: Resume) -> None:
    for place, token in enumerate(resume.token_ids):
        if talk.answer.ended:
            break
        word = talk.words[place]
        if token != _token_id(word):
            message = f"Token {place} of this answer is {_token_id(word)}, and it is to go on after {token}."
            raise JobError(message, FailCode.BAD_REQUEST, "resume")
        talk.answer.replay(word, end=place + 1 == len(talk.words))
    talk.over = talk.answer.ended is not None
    if resume.mode is ResumeMode.EXACT and not talk.over:
        talk.behind = len(resume.token_ids)


def _controls(said: str) -> tuple[dict[str, int], str]:
    """The steering line, if there is one, and the text without it."""
    if not said.startswith("#echo"):
        return {}, said
    line, _, text = said.partition("\n")
    controls: dict[str, int] = {}
    for part in line.split()[1:]:
        name, _, value = part.partition("=")
        if name not in _CONTROLS or not value.isdecimal():
            allowed = ", ".join(f"{control}=N" for control in _CONTROLS)
            raise JobError(f"An #echo line has {part!r}; allowed are {allowed}.", FailCode.BAD_REQUEST, "messages")
        controls[name] = int(value)
    return controls, text


def _words(text: str, chunks: int | None) -> list[str]:
    """The tokens to say, at least one; joined they are the text, or the text over and over."""
    words = _WORD.findall(text) or ["ok"]
    if chunks is None:
        return words
    again = [words[0] if words[0][0].isspace() else " " + words[0], *words[1:]]
    return [(words if number < len(words) else again)[number % len(words)] for number in range(max(chunks, 1))]


def _misbehave(talk: _Talk) -> None:
    if talk.answer.count == talk.controls.get("die_after", -1):
        os._exit(71)
    if talk.answer.count == talk.controls.get("fail_after", -1):
        raise RuntimeError(f"told to fail after {talk.answer.count} tokens")


def _token_id(word: str) -> int:
    return zlib.crc32(word.encode()) % _VOCABULARY


def _count(text: str | tuple[int, ...]) -> int:
    return len(text.split()) if isinstance(text, str) else len(text)


def _check_length(count: int, param: str) -> None:
    if count >= CONTEXT:
        message = f"This input has {count} tokens; the model takes fewer than {CONTEXT}."
        raise JobError(message, FailCode.CONTEXT_LENGTH, param)


def _embed(task: EmbeddingTask) -> tuple[JobMessage, ...]:
    rows = b"".join(_vector(text) for text in task.inputs)
    used = sum(_count(text) for text in task.inputs)
    return (
        Vectors(first=0, width=WIDTH, data=rows),
        Finished(result=EmbeddingDone(width=WIDTH, prompt_tokens=used)),
    )


def _vector(text: str | tuple[int, ...]) -> bytes:
    digest = hashlib.sha256(repr(text).encode()).digest()
    values = [number / 2**31 - 1 for number in struct.unpack("<8I", digest)]
    norm = sqrt(sum(value * value for value in values))
    return struct.pack("<8f", *(value / norm for value in values))
