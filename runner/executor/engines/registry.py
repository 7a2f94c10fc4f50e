"""Which engine serves a model: the one place that names them all. Imports an engine only when it is asked for."""

from gogrid.protocol.job_messages import FailCode
from runner.errors import ModelError
from runner.executor.engines.base import Engine, Report
from runner.executor.messages import Load

ENGINES = ("torch", "echo")


def create(load: Load, report: Report) -> Engine:
    """Load what `load` names.

    Raises:
        ModelError: no such engine, or its model cannot be served.
    """
    if load.engine == "echo":
        from runner.executor.engines.echo import EchoEngine

        return EchoEngine(load)
    if load.engine == "torch":
        from runner.executor.engines.torch_load import load_torch

        return load_torch(load, report)
    known = ", ".join(ENGINES)
    raise ModelError(f"There is no engine {load.engine!r}; this worker has {known}.", FailCode.MODEL_UNUSABLE)
