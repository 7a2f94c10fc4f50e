"""From a `Load` to a running torch engine: look at the folder, keep libraries offline and quiet, pick the engine.

Promises: nothing of torch or transformers is imported before the folder was found acceptable, and never does a
library reach for a network, a foreign file format or a model's own code.
"""

import os
from pathlib import Path

from gogrid.protocol.job_messages import FailCode
from gogrid.protocol.worker_report import LoadStage
from runner.errors import ModelError
from runner.executor.engines.base import Engine, Report
from runner.executor.messages import Load
from runner.executor.model_checks import check_model

LOCAL_ONLY = {"local_files_only": True, "trust_remote_code": False}
"""What every `from_pretrained` is told."""
SAFE_WEIGHTS = {**LOCAL_ONLY, "use_safetensors": True}
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # How long torch's threads spin before they sleep, for GNU's and Intel's OpenMP. Spinning on, a step takes twice as
    # long where another program wants a core; sleeping at once, half as long again where none does.
    "GOMP_SPINCOUNT": "20000",
    "KMP_BLOCKTIME": "1",
}


def load_torch(load: Load, report: Report) -> Engine:
    """Load a model, or convert it if that is what is asked.

    Raises:
        ModelError: it is refused, does not fit, or its device is not there.
    """
    folder = check_model(Path(load.model_path))
    if folder.gguf and not load.convert:
        message = f"{folder.gguf} has to be converted to safetensors before it can be served."
        raise ModelError(message, FailCode.MODEL_UNUSABLE)
    os.environ.update(_ENVIRONMENT)
    stage = LoadStage.CONVERTING if load.convert else LoadStage.LOADING
    report(stage, 0.0)
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if load.convert:
        from runner.executor.engines.convert import convert

        return convert(load, folder, report)
    if folder.embedding:
        from runner.executor.engines.torch_embed import load_embedding

        return load_embedding(load, folder, report)
    from runner.executor.engines.torch_chat import load_chat

    return load_chat(load, folder, report)
