"""The coordinator's error tree. `http/errors.py` is the one place that turns these into HTTP; the CLI prints them."""

from coordinator.interactive.loading import Loading
from gogrid.errors import GoGridError


class CoordinatorError(GoGridError):
    """Anything the coordinator refuses or cannot do."""


# --- the caller's fault ----------------------------------------------------------------------------------------------


class RequestError(CoordinatorError):
    """The request is wrong; `param` names the parameter at fault."""

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_request") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class NotFoundError(CoordinatorError):
    """There is no such thing, or it belongs to somebody else."""


class UnknownModelError(NotFoundError):
    """No model of that name is in the catalogue."""


class KeyRefusedError(CoordinatorError):
    """The API key is missing, unknown, expired or revoked."""


class UnknownKeyError(KeyRefusedError):
    """No such API key is known so far: it may have been made a moment ago."""


class ScopeError(CoordinatorError):
    """The API key is good but may not do this; `param` names the parameter at fault, if one is."""

    def __init__(self, message: str, param: str | None = None, code: str = "insufficient_scope") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class ConflictError(CoordinatorError):
    """The thing is in a state in which this cannot be done."""


class TokenRefusedError(CoordinatorError):
    """The join token is unknown, used up, expired or revoked."""


class ModelRefusedError(CoordinatorError):
    """A model folder cannot be served; names the file and why."""


# --- try again later -------------------------------------------------------------------------------------------------


class BusyError(CoordinatorError):
    """Cannot be taken now; the caller may try again after `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class KeyLimitError(BusyError):
    """The caller's own key has as much under way as one key may."""


class QueueFullError(BusyError):
    """As much waits on the whole grid as may wait."""


class NoWorkerError(BusyError):
    """No connected worker can do this; the message says why for each."""


class StoreUnavailableError(BusyError):
    """The disk or database fails now (an I/O error, a lock); nothing was accepted."""

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message, retry_after_s)


class StoppingError(BusyError):
    """The coordinator is being stopped."""


class NotReadyError(NoWorkerError):
    """The model cannot answer yet and the caller's patience has ended; `loading` says how far it is."""

    def __init__(self, message: str, retry_after_s: int, loading: Loading) -> None:
        super().__init__(message, retry_after_s)
        self.loading = loading


# --- the work failed -------------------------------------------------------------------------------------------------


class JobFailedError(CoordinatorError):
    """A worker reported that the job failed; `code`: a `gogrid.protocol.job_messages.FailCode`, or `worker_lost`."""

    def __init__(self, message: str, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class StorageFullError(CoordinatorError):
    """The disk has no room for what would have to be kept; nothing half-written is left, and nothing was accepted."""


class StateError(CoordinatorError):
    """The state folder or database cannot be used as it is; says what to run."""
