"""A GGUF model to safetensors, once, so that later starts map its weights instead of unpacking them.

Runs inside the sandbox like everything that reads a stranger's model. Promises a folder that `check_model` accepts
and that loads without GGUF: weights in bfloat16 (once where tied), `config.json`, `generation_config.json`, the
tokenizer and its chat template; nothing else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import gguf
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from gogrid.protocol.job_messages import FailCode
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask
from gogrid.protocol.worker_report import LoadStage
from runner.errors import JobError, ModelError
from runner.executor.engines.base import Report
from runner.executor.engines.torch_load import LOCAL_ONLY
from runner.executor.messages import Item, Load, Ready
from runner.executor.model_checks import ModelFolder


class Converted:
    """Stands for the model that was written; serves nothing."""

    busy = False

    def __init__(self, context_length: int) -> None:
        self._context_length = context_length

    def ready(self) -> Ready:
        return Ready(device="converted", slots=0, memory_bytes=0, context_length=self._context_length)

    def submit(self, request: int, task: ChatTask | CompletionTask | EmbeddingTask) -> None:
        raise JobError("This process only converts a model.", FailCode.INTERNAL)

    def abort(self, request: int) -> None:
        """There are none."""

    def step(self) -> tuple[Item, ...]:
        return ()

    def close(self) -> None:
        """Nothing is held."""


def convert(load: Load, folder: ModelFolder, report: Report) -> Converted:
    """Write the model to `load.work_path`.

    Raises:
        ModelError: there is nothing to convert, or nowhere to write.
    """
    if folder.gguf is None:
        raise ModelError("This model needs no conversion: it has no GGUF file.", FailCode.MODEL_UNUSABLE)
    target = Path(load.work_path)
    if not load.work_path or not target.is_dir():
        raise ModelError("No folder was given to write the converted model to.", FailCode.INTERNAL)
    torch.set_num_threads(max(load.threads, 1))
    report(LoadStage.CONVERTING, 0.1)
    source = {"gguf_file": folder.gguf, **LOCAL_ONLY}
    with _parsed_once():
        tokenizer = AutoTokenizer.from_pretrained(folder.path, **source)
        report(LoadStage.CONVERTING, 0.3)
        model = AutoModelForCausalLM.from_pretrained(folder.path, dtype=torch.float32, **source)
    report(LoadStage.CONVERTING, 0.7)
    tokenizer.save_pretrained(target)
    _write_config(model, target)
    save_file(_weights(model), target / "model.safetensors", metadata={"format": "pt"})
    (target / "model.safetensors").chmod(0o644)
    report(LoadStage.CONVERTING, 1.0)
    return Converted(int(model.config.max_position_embeddings))


@contextmanager
def _parsed_once() -> Iterator[None]:
    """Within, a file's header is parsed once. transformers does it three times, and makes its table of tensors' names
    anew for each module: with both, half of the time that a small model's conversion takes."""
    reader, names = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader, gguf.get_tensor_name_map = cache(reader), cache(names)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = reader, names


def _write_config(model: PreTrainedModel, target: Path) -> None:
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.architectures = [type(model).__name__]
    config.dtype = "bfloat16"
    config.save_pretrained(target)
    model.generation_config.save_pretrained(target)


def _weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Each weight once, in bfloat16."""
    seen: set[int] = set()
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() in seen and name in model.all_tied_weights_keys:
            continue
        seen.add(tensor.data_ptr())
        weights[name] = tensor.to(torch.bfloat16).contiguous()
    return weights
