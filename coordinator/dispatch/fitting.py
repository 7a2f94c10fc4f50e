"""What a request or job may not ask for, because no worker of this grid could ever hold it; said when it is submitted.

Promises: nothing is refused that an enrolled worker lends enough for, or may lend enough for: one that has not told
what it lends since the coordinator started counts as large. The sentence names what is needed and what there is.
"""

from coordinator.dispatch.dispatcher import Dispatcher
from coordinator.dispatch.placement import Excess, Need
from coordinator.errors import RequestError
from coordinator.models.memory import request_bytes
from coordinator.records import ModelRecord
from gogrid.protocol.tasks import ChatTask, CompletionTask, Task

_PARAMS = {Excess.SCRIPT: "limits", Excess.GPU: "gpu", Excess.MODEL: "model", Excess.LENGTH: "max_tokens"}


def length_bytes(model: ModelRecord, task: Task) -> int:
    """What this request's own length adds to the memory that its model needs."""
    asked = request_bytes(model.memory_bytes, model.kv_token_bytes, model.context_length, tokens_of(task))
    return asked - model.memory_bytes


def tokens_of(task: Task) -> int:
    """How many tokens the request asks room for, as far as can be told before its text is cut into tokens."""
    match task:
        case ChatTask():
            return task.sampling.max_tokens
        case CompletionTask():
            return task.sampling.max_tokens + (0 if isinstance(task.prompt, str) else len(task.prompt))
        case _:
            return 0


def refusal(dispatcher: Dispatcher, need: Need) -> RequestError | None:
    """What to tell the submitter of something that no worker can hold; None: one can, or may."""
    over = dispatcher.oversized(need)
    if over is None:
        return None
    param = _PARAMS[over.excess]
    return RequestError(f"`{param}`: {over.reason}", param, over.excess.value)
