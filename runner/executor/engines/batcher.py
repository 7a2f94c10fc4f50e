"""The one place that touches transformers' continuous batching beyond its public calls, pinned to one minor release.

Its manager decides who is in a forward pass and which cache blocks they hold; this module steps it one pass at a
time on the caller's thread, hands out the logits and takes back the tokens. Promises: `drop` gives a request's
blocks back before it returns; a request that loses its blocks to others under pressure is computed again and goes
on, unseen by the caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching.cache import group_layers_by_attn_type
from transformers.generation.continuous_batching.cache_allocators import FULL_ATTENTION
from transformers.generation.continuous_batching.requests import RequestState

from runner.executor.engines import ragged_attention

PAGE = 64
"""Tokens in a block of the cache."""
_NEVER = -1
"""No token ends a request here: the engine decides."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one forward pass gave."""

    computed: tuple[int, ...]
    """Every request that was in it."""
    ready: tuple[int, ...]
    """Those whose next token can be chosen now; the others' prompts are not through yet."""
    logits: Tensor
    """(ready, vocabulary), float32."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much is served at once."""

    slots: int
    """Requests in one forward pass."""
    blocks: int
    """Cache blocks of `PAGE` tokens."""
    chunk: int
    """Tokens in one forward pass; longer prompts take several."""


class Batcher:
    """Requests of one model, by number."""

    def __init__(self, model: PreTrainedModel, limits: BatchLimits) -> None:
        """Raises `ValueError` if transformers cannot batch this kind of model."""
        self._model = model
        manager = model.init_continuous_batching(
            GenerationConfig(do_sample=False, eos_token_id=_NEVER),
            ContinuousBatchingConfig(
                page_size=PAGE,
                num_blocks=limits.blocks,
                max_batch_tokens=limits.chunk,
                max_requests_per_batch=limits.slots,
                auto_switch_to_flash=False,
                use_cuda_graph=False,
                use_async_batching=False,
            ),
        )
        self._ragged = set(group_layers_by_attn_type(model.config.get_text_config())) == {FULL_ATTENTION}
        if self._ragged:
            ragged_attention.register()
            model.set_attn_implementation(ragged_attention.NAME)
        manager.warmup()
        self._processor = manager.batch_processor
        self._manager = manager
        self._keep = model._supports_logits_to_keep()

    @property
    def busy(self) -> bool:
        return bool(self._processor.scheduler.has_pending_requests())

    def add(self, number: int, prompt: Sequence[int]) -> None:
        """Take a request into the next pass that has room for it."""
        state = RequestState(
            request_id=str(number), initial_tokens=list(prompt), max_new_tokens=None, eos_token_id=_NEVER
        )
        self._processor.scheduler.add_waiting_request(state)

    def drop(self, number: int) -> None:
        """Forget a request and free its blocks; unknown numbers are ignored."""
        scheduler = self._processor.scheduler
        scheduler.set_request_cancellation(str(number))
        for state in scheduler.clear_cancelled_requests():
            self._processor.offloading_manager.free_request_cpu_cache(state)
        scheduler.block_new_requests = False

    @torch.inference_mode()
    def forward(self) -> Turn | None:
        """One pass over everyone who is due; None if nobody is. Then `commit` must follow."""
        processor = self._processor
        if not processor.prepare_next_batch():
            return None
        batch = processor.inputs_and_outputs
        inputs = batch.get_model_kwargs(use_padding=False)
        due = batch.requests_in_batch
        ready = tuple(int(entry.state.request_id) for entry in due if entry.has_new_token)
        last = inputs["logits_indices"][: len(ready)]
        if self._ragged:
            new = [entry.query_length for entry in due]
            total = [entry.state.position_offset for entry in due]
            inputs["ragged_plan"] = ragged_attention.plan(inputs["read_index"][0], new, total)
        if self._keep:
            inputs["logits_to_keep"] = last
        logits = self._model(**inputs).logits[0]
        if not self._keep:
            logits = logits[last]
        return Turn(tuple(int(entry.state.request_id) for entry in due), ready, logits.float())

    @torch.inference_mode()
    def commit(self, tokens: Sequence[int]) -> None:
        """Say which token each `ready` request of the last turn goes on with, in their order."""
        batch = self._processor.inputs_and_outputs
        batch.output_ids[0, : len(tokens)] = torch.tensor(tokens, dtype=batch.output_ids.dtype)
        self._processor.update_batch()

    def close(self) -> None:
        self._manager.destroy()
