"""The engine seam: a model that serves many requests at once, stepped by the executor's loop.

Engines run inside the sandbox, in the executor's process, and are the only code that may import torch.
Implementations pass `tests/conformance/engine_suite.py`.
"""

from collections.abc import Callable
from typing import Protocol

from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask
from gogrid.protocol.worker_report import LoadStage
from runner.executor.messages import Item, Ready

Report = Callable[[LoadStage, float], None]
"""Called while loading: stage and fraction 0..1."""


class Engine(Protocol):
    """One loaded model."""

    def ready(self) -> Ready: ...

    def submit(self, request: int, task: ChatTask | CompletionTask | EmbeddingTask) -> None:
        """Take a request into the batch. Raises `runner.errors.JobError` if it can never be served."""

    def abort(self, request: int) -> None:
        """Forget a request and free its slot before the next step; unknown requests are ignored."""

    @property
    def busy(self) -> bool:
        """True while any request is unfinished."""

    def step(self) -> tuple[Item, ...]:
        """One turn of the whole batch; what came out of it, which may be nothing. Blocks for one forward pass."""

    def close(self) -> None: ...
