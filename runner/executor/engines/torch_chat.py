"""The engine for models that write text: many requests in one forward pass, on CPU, CUDA or MPS.

Promises of the `Engine` seam, and: an answer depends on its own prompt, its sampling and its seed alone; text is
whole characters without special tokens; usage numbers count what was computed; a request that cannot be served is
refused before it enters the batch. An answer that another worker began goes on where it stopped.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from gogrid.ids import Sha256
from gogrid.protocol.job_messages import FailCode, Failed, JobMessage, TokenLogprob
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask, ModelRef, ResumeMode, Sampling
from gogrid.protocol.worker_report import DeviceKind, LoadStage
from runner.errors import JobError, ModelError
from runner.executor.engines.answer import Answer
from runner.executor.engines.base import Report
from runner.executor.engines.batcher import PAGE, Batcher, Turn
from runner.executor.engines.capacity import Demand, capacity
from runner.executor.engines.detokenize import Detokenizer
from runner.executor.engines.device import Placement, choose_dtype, place
from runner.executor.engines.fast_linear import pack_model
from runner.executor.engines.sampling import Choice, Row, choose
from runner.executor.engines.steady_activation import steady_activations
from runner.executor.engines.text_model import TextModel
from runner.executor.engines.torch_load import LOCAL_ONLY, SAFE_WEIGHTS
from runner.executor.messages import Item, Load, Ready
from runner.executor.model_checks import ModelFolder

_SLOTS = {DeviceKind.CPU: 16, DeviceKind.CUDA: 64, DeviceKind.MPS: 16}
_CHUNK = {DeviceKind.CPU: 256, DeviceKind.CUDA: 2048, DeviceKind.MPS: 512}
_USUAL = {DeviceKind.CPU: 512, DeviceKind.CUDA: 1 << 20, DeviceKind.MPS: 2048}
"""Tokens of cache for each request; torch touches all of it at once, so in a machine's own RAM it is kept modest."""
_WARM_UP = -1
"""The number of the request that every load tries first."""


@dataclass(slots=True)
class _Request:
    answer: Answer
    sampling: Sampling
    detokenizer: Detokenizer
    ends: frozenset[int]
    preface: str
    counts: Counter[int] = field(default_factory=Counter)
    known: deque[int] = field(default_factory=deque)
    """Tokens of another worker's still to be fed one at a time, instead of choosing."""
    started: bool = False


class TorchChat:
    """See the module's docstring; made by `load_chat`."""

    def __init__(self, batcher: Batcher, text: TextModel, ready: Ready) -> None:
        self._batcher, self._text, self._ready = batcher, text, ready
        self._requests: dict[int, _Request] = {}
        self._over: list[int] = []
        """Requests whose answer had ended before it came here."""

    def ready(self) -> Ready:
        return self._ready

    @property
    def busy(self) -> bool:
        return bool(self._requests)

    def submit(self, request: int, task: ChatTask | CompletionTask | EmbeddingTask) -> None:
        if isinstance(task, EmbeddingTask):
            message = "This model writes text and makes no embeddings; use an embedding model."
            raise JobError(message, FailCode.BAD_REQUEST, "model")
        _check_sampling(task.sampling)
        prompt, preface = self._prompt(task)
        known = task.resume.token_ids if task.resume else ()
        self._text.check_ids(known, "resume")
        context = self._ready.context_length
        room = context - len(prompt)
        if room < 1 or len(known) > room:
            begun = f" and its answer has {len(known)} already" if known else ""
            message = f"This prompt has {len(prompt)} tokens{begun}; the model's context here is {context} tokens."
            raise JobError(message, FailCode.CONTEXT_LENGTH, "messages" if isinstance(task, ChatTask) else "prompt")
        self._requests[request] = taken = _Request(
            answer=Answer(task.sampling, len(prompt), min(task.sampling.max_tokens or room, room)),
            sampling=task.sampling,
            detokenizer=Detokenizer(self._text.decode, prompt),
            ends=self._text.turn_ends if isinstance(task, ChatTask) else self._text.ends,
            preface="" if task.resume else preface,
        )
        _replay(taken, known)
        if taken.answer.ended:
            self._over.append(request)
        elif task.resume and task.resume.mode is ResumeMode.EXACT:
            taken.known.extend(known)
            self._batcher.add(request, prompt)
        else:
            self._batcher.add(request, [*prompt, *known])

    def abort(self, request: int) -> None:
        if self._requests.pop(request, None) is not None:
            self._batcher.drop(request)
        if request in self._over:
            self._over.remove(request)

    def step(self) -> tuple[Item, ...]:
        items = [Item(request=number, message=message) for number in self._over for message in self._end(number)]
        self._over.clear()
        turn = self._batcher.forward()
        if turn is None:
            return tuple(items)
        choices = self._choose(turn)
        self._batcher.commit([choice.token if choice else 0 for choice in choices])
        for number in turn.computed:
            if not self._requests[number].started:
                items += (Item(request=number, message=message) for message in self._start(self._requests[number]))
        for number, choice in zip(turn.ready, choices, strict=True):
            if self._requests[number].known:
                self._requests[number].known.popleft()
            else:
                items += (Item(request=number, message=message) for message in self._advance(number, choice))
        return tuple(items)

    def close(self) -> None:
        self._batcher.close()

    def _prompt(self, task: ChatTask | CompletionTask) -> tuple[Sequence[int], str]:
        """Its tokens, and the text to send back before the answer."""
        if isinstance(task, ChatTask):
            return self._text.chat(task.messages, self._ready.context_length), ""
        prompt = self._text.completion(task.prompt, self._ready.context_length)
        if not task.echo:
            return prompt, ""
        return prompt, task.prompt if isinstance(task.prompt, str) else self._text.decode(prompt)

    def _choose(self, turn: Turn) -> list[Choice | None]:
        """The next token of each ready request: the one it is known to have, or a new one."""
        ready = [self._requests[number] for number in turn.ready]
        choices: list[Choice | None] = [Choice(request.known[0]) if request.known else None for request in ready]
        free = [place for place, request in enumerate(ready) if not request.known]
        rows = [Row(ready[place].sampling, ready[place].answer.count, ready[place].counts) for place in free]
        if rows:
            logits = turn.logits if len(rows) == len(ready) else turn.logits[free]
            for place, choice in zip(free, choose(logits, rows), strict=True):
                choices[place] = choice
        return choices

    def _end(self, number: int) -> list[JobMessage]:
        """All there is to say of an answer that had ended before it came here."""
        request = self._requests.pop(number)
        return [*self._start(request), request.answer.finished()]

    def _start(self, request: _Request) -> list[JobMessage]:
        request.started = True
        started = request.answer.started(self._ready.device)
        return [started, request.answer.preface(request.preface)] if request.preface else [started]

    def _advance(self, number: int, choice: Choice | None) -> list[JobMessage]:
        """Say one request's new token, and that it has ended if it has."""
        request = self._requests[number]
        if choice is None:
            self.abort(number)
            message = "The model computed no usable numbers for this request; its weights may be damaged."
            return [Failed(code=FailCode.INTERNAL, message=message)]
        request.counts[choice.token] += 1
        end = choice.token in request.ends
        text = "" if end else request.detokenizer.push(choice.token)
        logprob = self._logprob(choice) if request.sampling.logprobs >= 0 and not end else None
        said: list[JobMessage] = [request.answer.push(choice.token, text, end=end, logprob=logprob)]
        if request.answer.ended:
            self.abort(number)
            said.append(request.answer.finished())
        return said

    def _logprob(self, choice: Choice) -> TokenLogprob:
        name = self._text.name
        top = tuple((name(token), token, value) for token, value in choice.top)
        return TokenLogprob(token=name(choice.token), token_id=choice.token, logprob=choice.logprob, top=top)


def _replay(request: _Request, known: Sequence[int]) -> None:
    """Bring a request to where another worker left it; tokens beyond its end are ignored."""
    for token in known:
        if request.answer.ended:
            return
        request.counts[token] += 1
        end = token in request.ends
        request.answer.replay("" if end else request.detokenizer.push(token), end=end)


def load_chat(load: Load, folder: ModelFolder, report: Report) -> TorchChat:
    """Load a model that writes text; raises `ModelError`."""
    placement = place(load)
    report(LoadStage.LOADING, 0.2)
    model, dtype = _load_model(folder, placement)
    report(LoadStage.LOADING, 0.7)
    text = TextModel(AutoTokenizer.from_pretrained(folder.path, **LOCAL_ONLY), model.generation_config, model)
    if placement.kind is DeviceKind.CPU:
        pack_model(model)
        steady_activations(model)
    demand = _demand(model, placement, text)
    kind = placement.kind
    limits, context = capacity(demand, load.cap_bytes, _SLOTS[kind], _CHUNK[kind], _USUAL[kind])
    ready = Ready(
        device=placement.describe(dtype),
        slots=limits.slots,
        memory_bytes=min(demand.used + limits.blocks * demand.per_token * PAGE, load.cap_bytes),
        context_length=context,
    )
    try:
        engine = TorchChat(Batcher(model, limits), text, ready)
        _try(engine, text)
    except ValueError as error:
        message = f"This model ({folder.architecture}) cannot be served with continuous batching: {error}."
        raise ModelError(message, FailCode.MODEL_UNUSABLE) from error
    report(LoadStage.LOADING, 1.0)
    return engine


def _load_model(folder: ModelFolder, placement: Placement) -> tuple[PreTrainedModel, torch.dtype]:
    config = AutoConfig.from_pretrained(folder.path, **LOCAL_ONLY)
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    linears = [layer for layer in skeleton.modules() if isinstance(layer, torch.nn.Linear)]
    shapes = [(layer.out_features, layer.in_features) for layer in linears]
    parameters = sum(parameter.numel() for parameter in skeleton.parameters())
    if parameters * 2 > placement.cap_bytes:
        raise ModelError(
            f"This model's weights alone need {parameters * 2 / 1e6:,.0f} MB and {placement.cap_bytes / 1e6:,.0f} MB "
            "are granted; raise the worker's memory limit or use a smaller model.",
            FailCode.NO_ROOM,
        )
    dtype = choose_dtype(placement, shapes, (1, _SLOTS[placement.kind] // 2))
    if parameters * 4 > placement.cap_bytes // 2 and dtype is torch.float32:
        dtype = torch.bfloat16
    model = AutoModelForCausalLM.from_pretrained(folder.path, dtype=dtype, attn_implementation="sdpa", **SAFE_WEIGHTS)
    return model.eval().to(placement.device), dtype


def _demand(model: PreTrainedModel, placement: Placement, text: TextModel) -> Demand:
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Demand(
        used=placement.used_bytes(),
        per_token=config.num_hidden_layers * 2 * heads * width * model.dtype.itemsize,
        vocabulary=config.vocab_size,
        widest=max(getattr(config, "intermediate_size", 0) or 0, config.hidden_size),
        context=min(config.max_position_embeddings, text.longest),
    )


def _try(engine: TorchChat, text: TextModel) -> None:
    """Run two tokens, so that a model that cannot be served is found out now and not by a client."""
    ids = tuple(text.some_tokens())
    task = CompletionTask(
        model=ModelRef(name="", digest=Sha256("")), prompt=ids, sampling=Sampling(max_tokens=2, temperature=0)
    )
    engine.submit(_WARM_UP, task)
    while engine.busy:
        for item in engine.step():
            if isinstance(item.message, Failed):
                raise ModelError(item.message.message, FailCode.MODEL_UNUSABLE)


def _check_sampling(sampling: Sampling) -> None:
    """Numbers no arithmetic can use are refused; the ranges of the API are the coordinator's to keep."""
    for name, low, high in (
        ("temperature", 0.0, 100.0),
        ("top_p", 0.0, 1.0),
        ("frequency_penalty", -100.0, 100.0),
        ("presence_penalty", -100.0, 100.0),
        ("max_tokens", 0, 1 << 40),
        ("logprobs", -1, 1000),
    ):
        value = getattr(sampling, name)
        if not isfinite(value) or not low <= value <= high:
            raise JobError(f"{name} is {value}; {low:g} to {high:g} are allowed.", FailCode.BAD_REQUEST, name)
