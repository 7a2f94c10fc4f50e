"""The engine for models that turn text into vectors: texts of all waiting requests share a padded forward pass.

Promises of the `Engine` seam, and: the pooling the model was made with (`pooling.py`); float32 in, float32 out;
nothing is ever cut short in silence; a pass holds texts of like length and at most so many padded tokens, so that
one long text costs the others little; the request that has waited longest is always in the next pass.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from gogrid.protocol.job_messages import EmbeddingDone, FailCode, Failed, Finished, JobMessage, Started, Vectors
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask
from gogrid.protocol.worker_report import DeviceKind, LoadStage
from runner.errors import JobError, ModelError
from runner.executor.batches import VECTOR_BYTES
from runner.executor.engines.base import Report
from runner.executor.engines.device import Placement, place
from runner.executor.engines.fast_linear import pack_model
from runner.executor.engines.patience import Patience
from runner.executor.engines.pooling import Pool, Recipe, read_recipe
from runner.executor.engines.torch_load import LOCAL_ONLY, SAFE_WEIGHTS
from runner.executor.messages import Item, Load, Ready
from runner.executor.model_checks import ModelFolder

_ENCODE_S = 20.0
"""How long all texts of a request may take to become tokens; the most that fit are done in a tenth of it."""
_SLOTS = 64
_PASS_TOKENS = {DeviceKind.CPU: 2048, DeviceKind.CUDA: 32768, DeviceKind.MPS: 8192}
_WINDOW = 4
"""So many passes' worth of waiting texts are sorted by length together."""
_UNLIMITED = 1 << 30
_BESIDE = 32
"""Bytes of work for each number of the widest layer's activations."""


@dataclass(slots=True)
class _Request:
    tokens: int
    rows: list[Tensor | None]
    left: int
    started: bool = False


@dataclass(frozen=True, slots=True)
class _Text:
    request: int
    row: int
    ids: list[int] = field(repr=False)


class TorchEmbedding:
    """See the module's docstring; made by `load_embedding`."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        placement: Placement,
        longest: int,
    ) -> None:
        self._model, self._tokenizer, self._recipe, self._placement = model, tokenizer, recipe, placement
        self._longest = longest
        self._patience = Patience(_ENCODE_S)
        self._vocabulary = int(model.get_input_embeddings().num_embeddings)
        self._width = int(model.config.hidden_size)
        self._budget = max(min(_PASS_TOKENS[placement.kind], _affordable(model, placement)), longest)
        self._requests: dict[int, _Request] = {}
        self._queue: deque[_Text] = deque()

    def ready(self) -> Ready:
        return Ready(
            device=self._placement.describe(torch.float32),
            slots=_SLOTS,
            memory_bytes=min(self._placement.used_bytes(), self._placement.cap_bytes),
            context_length=self._longest,
        )

    @property
    def busy(self) -> bool:
        return bool(self._requests)

    def submit(self, request: int, task: ChatTask | CompletionTask | EmbeddingTask) -> None:
        if not isinstance(task, EmbeddingTask):
            message = "This model makes embeddings and writes no text; use a chat model."
            raise JobError(message, FailCode.BAD_REQUEST, "model")
        if not task.inputs:
            raise JobError("There is nothing to embed.", FailCode.BAD_REQUEST, "input")
        texts = self._patience.wait_for(
            lambda: [self._ids(text, number) for number, text in enumerate(task.inputs)], "input"
        )
        self._requests[request] = _Request(sum(map(len, texts)), [None] * len(texts), len(texts))
        self._queue.extend(_Text(request, row, ids) for row, ids in enumerate(texts))

    def abort(self, request: int) -> None:
        if self._requests.pop(request, None) is not None:
            self._queue = deque(text for text in self._queue if text.request != request)

    def step(self) -> tuple[Item, ...]:
        batch = self._next_pass()
        if not batch:
            return ()
        items: list[Item] = []
        for number in dict.fromkeys(text.request for text in batch):
            request = self._requests[number]
            if not request.started:
                request.started = True
                started = Started(device=self._placement.describe(torch.float32), prompt_tokens=request.tokens)
                items.append(Item(request=number, message=started))
        for text, row in zip(batch, self._compute([text.ids for text in batch]), strict=True):
            request = self._requests[text.request]
            request.rows[text.row] = row
            request.left -= 1
            if request.left == 0:
                items += (Item(request=text.request, message=message) for message in self._finish(text.request))
        return tuple(items)

    def close(self) -> None:
        self._queue.clear()
        self._requests.clear()

    def _next_pass(self) -> list[_Text]:
        """The text that has waited longest and those most like it in length, as many as the budget takes."""
        window = list(islice(self._queue, _WINDOW * _SLOTS))
        if not window:
            return []
        first = window[0]
        window.sort(key=lambda text: (abs(len(text.ids) - len(first.ids)), text is not first))
        batch, widest = list[_Text](), 0
        for text in window:
            widest = max(widest, len(text.ids))
            if batch and widest * (len(batch) + 1) > self._budget:
                break
            batch.append(text)
        taken = {id(text) for text in batch}
        self._queue = deque(text for text in self._queue if id(text) not in taken)
        return batch

    @torch.inference_mode()
    def _compute(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """(texts, width), float32, on the CPU."""
        widest = max(map(len, texts))
        ids = torch.zeros(len(texts), widest, dtype=torch.long)
        mask = torch.zeros(len(texts), widest, dtype=torch.long)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = torch.tensor(text)
            mask[row, : len(text)] = 1
        device = self._placement.device
        hidden = self._model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state.float()
        vectors = pool(hidden, mask.to(device), self._recipe)
        return vectors.cpu()

    def _finish(self, number: int) -> list[JobMessage]:
        request = self._requests.pop(number)
        matrix = torch.stack([row for row in request.rows if row is not None])
        if not torch.isfinite(matrix).all():
            message = "The model computed no usable numbers for this input; its weights may be damaged."
            return [Failed(code=FailCode.INTERNAL, message=message)]
        rows = max(VECTOR_BYTES // (4 * self._width), 1)
        said: list[JobMessage] = [
            Vectors(first=first, width=self._width, data=matrix[first : first + rows].numpy().astype("<f4").tobytes())
            for first in range(0, len(matrix), rows)
        ]
        done = EmbeddingDone(width=self._width, prompt_tokens=request.tokens)
        return [*said, Finished(result=done)]

    def _ids(self, text: str | tuple[int, ...], number: int) -> list[int]:
        if isinstance(text, str):
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=True, truncation=False)
        else:
            ids = list(text)
            wrong = next((token for token in ids if not 0 <= token < self._vocabulary), None)
            if wrong is not None:
                message = f"Input {number} has token id {wrong}; this model has tokens 0 to {self._vocabulary - 1}."
                raise JobError(message, FailCode.BAD_REQUEST, "input")
        if not ids:
            raise JobError(f"Input {number} is empty.", FailCode.BAD_REQUEST, "input")
        if len(ids) > self._longest:
            message = f"Input {number} has {len(ids)} tokens; this model takes at most {self._longest}."
            raise JobError(message, FailCode.CONTEXT_LENGTH, "input")
        return ids


def pool(hidden: Tensor, mask: Tensor, recipe: Recipe) -> Tensor:
    """One vector for each text.

    Args:
        hidden: (texts, tokens, width), float32.
        mask: (texts, tokens), 1 where a token is real; texts are padded on the right.
        recipe: how.
    """
    if recipe.pool is Pool.FIRST:
        vectors = hidden[:, 0]
    elif recipe.pool is Pool.LAST:
        vectors = hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(dim=1) - 1]
    else:
        weights = mask[:, :, None].float()
        vectors = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
    return torch.nn.functional.normalize(vectors, dim=1) if recipe.normalise else vectors


def _affordable(model: PreTrainedModel, placement: Placement) -> int:
    """How many tokens of one pass fit beside the weights in the memory that was granted."""
    widest = max(int(getattr(model.config, "intermediate_size", 0) or 0), int(model.config.hidden_size))
    return max(0, placement.cap_bytes - placement.used_bytes()) // (widest * _BESIDE)


def load_embedding(load: Load, folder: ModelFolder, report: Report) -> TorchEmbedding:
    """Load a model that makes embeddings; raises `ModelError`."""
    recipe = read_recipe(folder.path)
    placement = place(load)
    report(LoadStage.LOADING, 0.2)
    tokenizer = AutoTokenizer.from_pretrained(folder.path, **LOCAL_ONLY)
    model = AutoModel.from_pretrained(folder.path, dtype=torch.float32, **SAFE_WEIGHTS).eval().to(placement.device)
    if placement.kind is DeviceKind.CPU:
        pack_model(model)
    if placement.used_bytes() > load.cap_bytes:
        message = (
            f"This model needs {placement.used_bytes() / 1e6:,.0f} MB here and {load.cap_bytes / 1e6:,.0f} MB are "
            "granted; raise the worker's memory limit or use a smaller model."
        )
        raise ModelError(message, FailCode.NO_ROOM)
    limits = (recipe.longest, getattr(model.config, "max_position_embeddings", None), tokenizer.model_max_length)
    longest = int(min(limit for limit in (*limits, _UNLIMITED) if limit))
    report(LoadStage.LOADING, 1.0)
    return TorchEmbedding(model, tokenizer, recipe, placement, longest)
