"""Chat and completion answers: gathered into one reply, or written as server-sent events.

Promises: the status line is sent only when the first answer has begun, so a request that fails before has its true
status; only a stream that waits long begins before, with comment lines that say how far its model is or which workers
it waits for, so that no proxy takes it for dead, and one that has begun says the same while it looks for another
worker; a stream ends with `[DONE]` exactly if it is complete, else with one `error` event.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from litestar.types import Send
from msgspec import UNSET

from coordinator.errors import CoordinatorError, JobFailedError
from coordinator.http.asgi import EVENTS, ClientGoneError, send_body, send_patiently, send_reply, send_start
from coordinator.http.errors import ErrorBody, reply_to
from coordinator.http.gather import Gather, Numbered
from coordinator.http.openai_replies import (
    AssistantMessage,
    ChatChoice,
    ChatChunk,
    ChatReply,
    ChunkChoice,
    Delta,
    FinishReason,
    TextChoice,
    TextReply,
    Usage,
    chat_logprobs,
    completion_logprobs,
)
from coordinator.http.services import Limits
from coordinator.interactive.loading import loading_of
from gogrid.protocol.job_messages import FailCode, Finished, Progress, TextDone, TokenLogprob, Tokens

_ENCODER = msgspec.json.Encoder()
_STREAM_HEADERS = (EVENTS, (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
_DONE = b"data: [DONE]\n\n"
_STILL_HERE = "still here"
_REASONS = 3
"""So many workers are named in a comment."""
_LONGEST_REASON = 120


@dataclass(slots=True)
class TextAnswer:
    """What every piece of one request's answer repeats, and how its tokens become pieces."""

    id: str
    created: int
    model: str
    fingerprint: str
    chat: bool
    choices: int
    prompts: int
    """How many different prompts: each is counted once in the usage, however many choices it has."""
    include_usage: bool
    """Whether a stream ends with a chunk of its usage; every other chunk then says `usage: null`."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    _lengths: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lengths = [0] * self.choices

    @property
    def usage(self) -> Usage:
        return Usage(self.prompt_tokens, self.completion_tokens, self.prompt_tokens + self.completion_tokens)

    def finish(self, at: int, finished: Finished) -> FinishReason:
        """Count a finished choice; why it ended. Refuses results of another kind of job."""
        done = finished.result
        if not isinstance(done, TextDone):
            raise JobFailedError("The worker answered with another kind of result.", FailCode.INTERNAL.value)
        if at % (self.choices // self.prompts) == 0:
            self.prompt_tokens += done.prompt_tokens
        self.completion_tokens += done.completion_tokens
        return done.finish_reason

    def opening(self) -> list[ChatChunk | TextReply]:
        """The first chunk of each choice."""
        if not self.chat:
            return []
        return [self._chat_chunk(ChunkChoice(at, Delta("assistant", ""))) for at in range(self.choices)]

    def chunk(self, at: int, tokens: Tokens) -> ChatChunk | TextReply | None:
        """None if there is nothing to show yet."""
        text = tokens.text
        if not text and not tokens.logprobs:
            return None
        if self.chat:
            logprobs = chat_logprobs(tokens.logprobs) if tokens.logprobs else None
            return self._chat_chunk(ChunkChoice(at, Delta(content=text), logprobs))
        offset = self._lengths[at]
        self._lengths[at] = offset + len(text)
        return self._text_chunk(TextChoice(at, text, completion_logprobs(tokens.logprobs, offset)))

    def closing(self, at: int, reason: FinishReason) -> ChatChunk | TextReply:
        if self.chat:
            return self._chat_chunk(ChunkChoice(at, Delta(), finish_reason=reason))
        return self._text_chunk(TextChoice(at, "", finish_reason=reason))

    def usage_chunk(self) -> ChatChunk | TextReply:
        if self.chat:
            return ChatChunk(self.id, self.created, self.model, self.fingerprint, [], self.usage)
        return TextReply(self.id, self.created, self.model, self.fingerprint, [], self.usage)

    def whole(self, texts: list[str], logprobs: list[list[TokenLogprob]], reasons: list[FinishReason]) -> bytes:
        parts = enumerate(zip(texts, logprobs, reasons, strict=True))
        if self.chat:
            chats = [ChatChoice(at, AssistantMessage(text), chat_logprobs(lps), why) for at, (text, lps, why) in parts]
            return _ENCODER.encode(ChatReply(self.id, self.created, self.model, self.fingerprint, chats, self.usage))
        choices = [TextChoice(at, text, completion_logprobs(lps, 0), why) for at, (text, lps, why) in parts]
        return _ENCODER.encode(TextReply(self.id, self.created, self.model, self.fingerprint, choices, self.usage))

    def _chat_chunk(self, choice: ChunkChoice) -> ChatChunk:
        unknown = None if self.include_usage else UNSET
        return ChatChunk(self.id, self.created, self.model, self.fingerprint, [choice], unknown)

    def _text_chunk(self, choice: TextChoice) -> TextReply:
        unknown = None if self.include_usage else UNSET
        return TextReply(self.id, self.created, self.model, self.fingerprint, [choice], unknown)


async def reply_whole(send: Send, gather: Gather, answer: TextAnswer) -> None:
    """Wait for every choice, then answer once."""
    texts: list[list[str]] = [[] for _ in range(answer.choices)]
    logprobs: list[list[TokenLogprob]] = [[] for _ in range(answer.choices)]
    reasons: list[FinishReason] = ["stop"] * answer.choices
    while batch := await gather.batch():
        for at, item in batch:
            if isinstance(item, Tokens):
                texts[at].append(item.text)
                logprobs[at].extend(item.logprobs)
            elif isinstance(item, Finished):
                reasons[at] = answer.finish(at, item)
    await send_reply(send, 200, answer.whole(["".join(text) for text in texts], logprobs, reasons))


async def reply_streaming(
    send: Send, gather: Gather, answer: TextAnswer, limits: Limits, first: Callable[[], None]
) -> None:
    """Write each piece as it comes; pieces that are ready together go out together.

    `first` is called when the first token goes out. Raises only before the response has begun.
    """
    waiting = _Waiting(gather)
    batch = await waiting.soon(limits.loading_s)
    await send_start(send, 200, _STREAM_HEADERS)
    buffer = bytearray()
    timed = False
    try:
        while batch is None:
            await _write(send, _comment(waiting.comment()), limits)
            batch = await waiting.soon(limits.loading_s)
        for chunk in answer.opening():
            _event(buffer, chunk)
        while batch:
            for at, item in batch:
                if isinstance(item, Tokens):
                    piece = answer.chunk(at, item)
                    if piece is not None:
                        _event(buffer, piece)
                elif isinstance(item, Finished):
                    _event(buffer, answer.closing(at, answer.finish(at, item)))
            await _write(send, buffer, limits)
            if not timed and any(isinstance(item, Tokens) for _, item in batch):
                timed = True
                first()
            batch = await _next_batch(send, waiting, limits)
    except ClientGoneError:
        raise
    except CoordinatorError as error:
        _event(buffer, ErrorBody(reply_to(error).detail))
        await _write(send, buffer, limits)
        await send_body(send, b"", more=False)
        return
    if answer.include_usage:
        _event(buffer, answer.usage_chunk())
    buffer += _DONE
    await send_body(send, bytes(buffer), more=False)


class _Waiting:
    """For the next batch that says more than how far the model is with loading, here or at the next worker."""

    def __init__(self, gather: Gather) -> None:
        self._gather = gather
        self._progress: Progress | None = None

    async def soon(self, patience_s: float) -> list[Numbered] | None:
        """None: it has not come within the patience; empty: all is said."""
        loop = asyncio.get_running_loop()
        until = loop.time() + patience_s
        try:
            while batch := await self._gather.batch(max(0.0, until - loop.time())):
                if not all(isinstance(item, Progress) for _, item in batch):
                    self._progress = None
                    return batch
                self._progress = next((item for _, item in reversed(batch) if isinstance(item, Progress)), None)
        except TimeoutError:
            return None
        return []

    def comment(self) -> str:
        """In one line: for whom it waits now, or how far the model is; empty: nobody has said."""
        why = self._gather.waiting_for
        if not why:
            return loading_of(self._progress).in_words if self._progress is not None else ""
        self._progress = None
        named = "; ".join(" ".join(reason.split())[:_LONGEST_REASON] for reason in why[:_REASONS])
        more = f"; and {len(why) - _REASONS} more" if len(why) > _REASONS else ""
        return f"waiting for a worker ({named}{more})"


async def _next_batch(send: Send, waiting: _Waiting, limits: Limits) -> list[Numbered]:
    """Once an answer has begun: what it waits for is told as often as before, that it only takes long less often."""
    loop = asyncio.get_running_loop()
    quiet_until = loop.time() + limits.keep_alive_s
    while True:
        batch = await waiting.soon(min(limits.loading_s, limits.keep_alive_s))
        if batch is not None:
            return batch
        comment = waiting.comment()
        if comment or loop.time() >= quiet_until:
            await _write(send, _comment(comment), limits)
            quiet_until = loop.time() + limits.keep_alive_s


def _comment(words: str) -> bytearray:
    """One line that no client takes for an event."""
    return bytearray(f": {words or _STILL_HERE}\n\n".encode())


def _event(buffer: bytearray, value: ChatChunk | TextReply | ErrorBody) -> None:
    buffer += b"data: "
    _ENCODER.encode_into(value, buffer, -1)
    buffer += b"\n\n"


async def _write(send: Send, buffer: bytearray, limits: Limits) -> None:
    if not buffer:
        return
    data = bytes(buffer)
    buffer.clear()
    await send_patiently(send, data, limits.write_s, more=True)
