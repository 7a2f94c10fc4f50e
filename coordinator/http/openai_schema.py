"""OpenAI requests, parsed strictly into tasks. Pure: bytes and records in, frozen values out.

Promises: every parameter that is accepted is obeyed or documented by OpenAI as a hint; every other one is refused by
name, so that nobody believes in a setting that does nothing. All refusals are `RequestError`s that name the parameter.
Nothing but `RequestError` is raised, whatever the bytes.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from coordinator.errors import JobFailedError, RequestError
from coordinator.http.json_body import decode
from coordinator.http.services import Limits
from coordinator.records import ModelKind, ModelRecord
from gogrid.protocol.job_messages import FailCode
from gogrid.protocol.tasks import ChatMessage, ChatTask, CompletionTask, EmbeddingTask, ModelRef, ResumeMode, Sampling

_SEED_MASK = 0x7FFFFFFF
_COMPLETION_DEFAULT_TOKENS = 16

Name = Annotated[str, Meta(min_length=1, max_length=256)]
TokenCount = Annotated[int, Meta(ge=1, le=1 << 31)]
TokenId = Annotated[int, Meta(ge=0, le=_SEED_MASK)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
TopP = Annotated[float, Meta(gt=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Choices = Annotated[int, Meta(ge=1, le=8)]
Likeliest = Annotated[int, Meta(ge=0, le=20)]
StopText = Annotated[str, Meta(min_length=1, max_length=1024)]


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None


class Part(msgspec.Struct, frozen=True):
    type: str
    text: str | None = None


class Message(msgspec.Struct, frozen=True):
    """One message; what clients echo from an earlier answer (`refusal: null`, …) is let pass while it is empty."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: object = None
    function_call: object = None
    audio: object = None


class _TextRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What chat and completion requests share."""

    model: Name
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: TokenCount | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    n: Choices | None = None
    stop: StopText | Annotated[list[StopText], Meta(max_length=4)] | None = None
    seed: int | None = None
    resume: str | None = None
    wait: bool | float | None = None
    """Ours: `exact` or `fast`."""
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    # refused unless they say nothing
    logit_bias: object = None
    # hints and labels, accepted and ignored
    user: object = None
    metadata: object = None
    store: object = None
    service_tier: object = None
    safety_identifier: object = None
    prompt_cache_key: object = None
    prompt_cache_retention: object = None

    @property
    def streamed(self) -> bool:
        return self.stream is True

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage is True

    @property
    def choices(self) -> int:
        return self.n or 1

    @property
    def resume_mode(self) -> ResumeMode:
        """How another worker goes on with the answer: whoever names a seed asks for the same text again."""
        if self.resume is None:
            return ResumeMode.FAST if self.seed is None else ResumeMode.EXACT
        return ResumeMode(self.resume)


class ChatRequest(_TextRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    messages: Annotated[list[Message], Meta(min_length=1, max_length=4096)]
    max_completion_tokens: TokenCount | None = None
    logprobs: bool | None = None
    top_logprobs: Likeliest | None = None
    tools: object = None
    tool_choice: object = None
    functions: object = None
    function_call: object = None
    modalities: object = None
    audio: object = None
    response_format: object = None
    web_search_options: object = None
    reasoning_effort: object = None
    verbosity: object = None
    parallel_tool_calls: object = None
    prediction: object = None


class CompletionRequest(_TextRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prompt: str | list[str | TokenId | list[TokenId]]
    echo: bool | None = None
    logprobs: Likeliest | None = None
    suffix: object = None
    best_of: object = None


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    model: Name
    input: str | list[str | TokenId | list[TokenId]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    wait: bool | float | None = None
    user: object = None

    @property
    def base64(self) -> bool:
        return self.encoding_format == "base64"


Prompt = str | tuple[int, ...]

_CHAT = msgspec.json.Decoder(ChatRequest)
_COMPLETION = msgspec.json.Decoder(CompletionRequest)
_EMBEDDING = msgspec.json.Decoder(EmbeddingRequest)

_SAYS_NOTHING: dict[str, tuple[object, ...]] = {
    "logit_bias": (None, {}),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "response_format": (None, {"type": "text"}),
    "web_search_options": (None,),
    "reasoning_effort": (None, "none"),
    "verbosity": (None, "medium"),
    "suffix": (None, ""),
    "best_of": (None, 1),
}
"""Parameters this service cannot obey, with the values that ask for nothing."""


def parse_chat(body: bytes) -> ChatRequest:
    """Decode and check everything that needs no model."""
    request = decode(body, _CHAT)
    _refuse_unsupported(request)
    _check_stream_options(request)
    _check_resume(request)
    if request.top_logprobs is not None and not request.logprobs:
        raise RequestError("`top_logprobs` needs `logprobs: true`.", "top_logprobs")
    both = (request.max_tokens, request.max_completion_tokens)
    if None not in both and both[0] != both[1]:
        raise RequestError("`max_tokens` and `max_completion_tokens` disagree: give one of them.", "max_tokens")
    return request


def chat_tasks(request: ChatRequest, model: ModelRecord, seed: int, limits: Limits) -> list[ChatTask]:
    """One task per choice, all alike but for the seed; `seed` is used when the request names none."""
    _require_kind(model, ModelKind.CHAT)
    messages = tuple(_message(index, message) for index, message in enumerate(request.messages))
    if sum(len(message.content) for message in messages) > limits.prompt_chars:
        raise _too_long("messages", limits)
    top = -1 if not request.logprobs else (request.top_logprobs or 0)
    max_tokens = request.max_completion_tokens or request.max_tokens or 0
    sampling = _sampling(request, max_tokens, top, seed)
    ref = ModelRef(name=model.name, digest=model.digest)
    return [ChatTask(model=ref, messages=messages, sampling=_reseeded(sampling, i)) for i in range(request.choices)]


def parse_completion(body: bytes) -> CompletionRequest:
    request = decode(body, _COMPLETION)
    _refuse_unsupported(request)
    _check_stream_options(request)
    _check_resume(request)
    return request


def completion_tasks(request: CompletionRequest, model: ModelRecord, seed: int, limits: Limits) -> list[CompletionTask]:
    """`n` tasks for the first prompt, then `n` for the next, as OpenAI numbers its choices."""
    _require_kind(model, ModelKind.CHAT)
    prompts = _prompts(request.prompt, "prompt", limits.choices)
    if len(prompts) * request.choices > limits.choices:
        raise RequestError(f"One request may ask for at most {limits.choices} answers: prompts times `n`.", "n")
    for prompt in prompts:
        _check_length(prompt, "prompt", model, limits)
    top = -1 if request.logprobs is None else request.logprobs
    sampling = _sampling(request, request.max_tokens or _COMPLETION_DEFAULT_TOKENS, top, seed)
    ref = ModelRef(name=model.name, digest=model.digest)
    return [
        CompletionTask(model=ref, prompt=prompt, sampling=_reseeded(sampling, i), echo=request.echo is True)
        for prompt in prompts
        for i in range(request.choices)
    ]


def parse_embedding(body: bytes) -> EmbeddingRequest:
    return decode(body, _EMBEDDING)


def embedding_task(request: EmbeddingRequest, model: ModelRecord, limits: Limits) -> EmbeddingTask:
    _require_kind(model, ModelKind.EMBEDDING)
    if request.dimensions is not None and request.dimensions != model.width:
        raise RequestError(
            f"The model {model.name!r} makes {model.width} dimensions and cannot make {request.dimensions}.",
            "dimensions",
            "unsupported_value",
        )
    inputs = _prompts(request.input, "input", limits.embedding_inputs)
    for text in inputs:
        if len(text) == 0:
            raise RequestError("`input` must not contain empty texts.", "input")
        _check_length(text, "input", model, limits)
    return EmbeddingTask(model=ModelRef(name=model.name, digest=model.digest), inputs=inputs)


def _refuse_unsupported(request: ChatRequest | CompletionRequest) -> None:
    for param, harmless in _SAYS_NOTHING.items():
        value = getattr(request, param, None)
        if value is not None and value not in harmless:
            raise RequestError(f"`{param}` is not supported here: leave it out.", param, "unsupported_parameter")


def _check_stream_options(request: ChatRequest | CompletionRequest) -> None:
    if request.stream_options is not None and not request.streamed:
        raise RequestError("`stream_options` needs `stream: true`.", "stream_options")


def _check_resume(request: ChatRequest | CompletionRequest) -> None:
    if request.resume is not None and request.resume not in (mode.value for mode in ResumeMode):
        raise RequestError("`resume` must be `exact` or `fast`.", "resume", "invalid_value")


def _message(index: int, message: Message) -> ChatMessage:
    where = f"messages[{index}]"
    for param in ("tool_calls", "function_call", "audio"):
        if getattr(message, param) not in (None, []):
            raise RequestError(f"`{where}.{param}` is not supported here.", f"{where}.{param}", "unsupported_parameter")
    content = _content(where, message)
    match message.role:
        case "system" | "developer" | "user" | "assistant":
            return ChatMessage(role=message.role, content=content, name=message.name or "")
        case _:
            allowed = "system, developer, user or assistant"
            raise RequestError(f"`{where}.role` must be {allowed}.", f"{where}.role", "invalid_value")


def _content(where: str, message: Message) -> str:
    match message.content:
        case str(text):
            return text
        case None if message.role == "assistant":
            return ""
        case None:
            raise RequestError(f"`{where}.content` is required.", f"{where}.content", "missing_required_parameter")
        case parts:
            return "".join(_part(f"{where}.content[{at}]", part) for at, part in enumerate(parts))


def _part(where: str, part: Part) -> str:
    if part.type != "text":
        raise RequestError(
            f"`{where}`: only content parts of type `text` are supported, not {part.type[:40]!r}.",
            f"{where}.type",
            "unsupported_value",
        )
    if part.text is None:
        raise RequestError(f"`{where}.text` is required.", f"{where}.text", "missing_required_parameter")
    return part.text


def _prompts(value: str | list[str | int | list[int]], param: str, most: int) -> tuple[Prompt, ...]:
    """A text, a list of texts, a list of token ids, or a list of such lists."""
    if isinstance(value, str):
        return (value,)
    if not value:
        raise RequestError(f"`{param}` must not be empty.", param)
    ids = [item for item in value if isinstance(item, int)]
    if ids:
        if len(ids) != len(value):
            raise RequestError(f"`{param}` mixes token ids with other things.", param)
        return (tuple(ids),)
    if len(value) > most:
        raise RequestError(f"`{param}` may hold at most {most} entries, not {len(value)}.", param)
    prompts: list[Prompt] = []
    for at, item in enumerate(value):
        if isinstance(item, str):
            prompts.append(item)
        elif isinstance(item, list) and item:
            prompts.append(tuple(item))
        else:
            raise RequestError(f"`{param}[{at}]` must not be empty.", f"{param}[{at}]")
    return tuple(prompts)


def _check_length(prompt: Prompt, param: str, model: ModelRecord, limits: Limits) -> None:
    if isinstance(prompt, str):
        if len(prompt) > limits.prompt_chars:
            raise _too_long(param, limits)
    elif len(prompt) > model.context_length:
        raise JobFailedError(
            f"This model's context is {model.context_length} tokens, but `{param}` has {len(prompt)}.",
            FailCode.CONTEXT_LENGTH.value,
            param,
        )


def _too_long(param: str, limits: Limits) -> RequestError:
    return RequestError(
        f"`{param}` is longer than the {limits.prompt_chars} characters allowed here.", param, "string_above_max_length"
    )


def _require_kind(model: ModelRecord, kind: ModelKind) -> None:
    if model.kind is not kind:
        can, asked = (("makes embeddings", "text"), ("writes text", "embeddings"))[kind is ModelKind.EMBEDDING]
        raise RequestError(f"The model {model.name!r} {can}, not {asked}.", "model", "unsupported_value")


def _sampling(request: ChatRequest | CompletionRequest, max_tokens: int, logprobs: int, seed: int) -> Sampling:
    stop = request.stop
    return Sampling(
        max_tokens=max_tokens,
        temperature=1.0 if request.temperature is None else request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        seed=(seed if request.seed is None else request.seed) & _SEED_MASK,
        frequency_penalty=request.frequency_penalty or 0.0,
        presence_penalty=request.presence_penalty or 0.0,
        logprobs=logprobs,
    )


def _reseeded(sampling: Sampling, choice: int) -> Sampling:
    if choice == 0:
        return sampling
    return msgspec.structs.replace(sampling, seed=(sampling.seed + choice) & _SEED_MASK)
