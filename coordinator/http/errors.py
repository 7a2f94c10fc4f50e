"""The one place where errors become HTTP: status, OpenAI error body, headers.

Promises that the code of an error never changes meaning, that whatever may be tried again says when (`Retry-After`),
and that nothing of an unexpected error but its existence reaches a client.
"""

from dataclasses import dataclass

import msgspec
from msgspec import UNSET, UnsetType

from coordinator.errors import (
    BusyError,
    ConflictError,
    CoordinatorError,
    JobFailedError,
    KeyLimitError,
    KeyRefusedError,
    NotFoundError,
    NotReadyError,
    NoWorkerError,
    QueueFullError,
    RequestError,
    ScopeError,
    StoppingError,
    StorageFullError,
    StoreUnavailableError,
    UnknownModelError,
)
from coordinator.http.model_status import LoadingDetail, loading_detail
from gogrid.protocol.job_messages import FailCode

_RETRY_SOON_S = 1
_RETRY_FULL_S = 60
"""A full disk waits for a person."""


class ErrorDetail(msgspec.Struct, frozen=True):
    message: str
    type: str
    param: str | None
    code: str
    loading: LoadingDetail | UnsetType = UNSET
    """Of a model that cannot answer yet."""


class ErrorBody(msgspec.Struct, frozen=True):
    error: ErrorDetail


@dataclass(frozen=True, slots=True)
class ErrorReply:
    status: int
    detail: ErrorDetail
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def body(self) -> bytes:
        return msgspec.json.encode(ErrorBody(self.detail))


class HttpRefusal(CoordinatorError):
    """A request refused for its HTTP form; `close` ends the connection, whose rest cannot be trusted."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        *,
        close: bool = False,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = (*headers, (b"connection", b"close")) if close else headers


def reply_to(error: Exception) -> ErrorReply:
    """The answer to a request that ended with `error`; anything unexpected is a bare 500."""
    match error:
        case HttpRefusal():
            return _reply(error.status, str(error), type_of(error.status), None, error.code, error.headers)
        case RequestError():
            return _reply(400, str(error), "invalid_request_error", error.param, error.code)
        case UnknownModelError():
            return _reply(404, str(error), "invalid_request_error", "model", "model_not_found")
        case NotFoundError():
            return _reply(404, str(error), "invalid_request_error", None, "not_found")
        case KeyRefusedError():
            challenge = (b"www-authenticate", b'Bearer realm="gogrid"')
            return _reply(401, str(error), "authentication_error", None, "invalid_api_key", (challenge,))
        case ScopeError():
            return _reply(403, str(error), "permission_error", error.param, error.code)
        case ConflictError():
            return _reply(409, str(error), "invalid_request_error", None, "conflict")
        case BusyError():
            return _busy(error)
        case JobFailedError():
            return _failed(error)
        case StorageFullError():
            return _reply(507, str(error), "api_error", None, "insufficient_storage", (_retry_after(_RETRY_FULL_S),))
        case _:
            return _reply(
                500, "The coordinator failed on this request; its log says why.", "api_error", None, "internal"
            )


def _busy(error: BusyError) -> ErrorReply:
    match error:
        case KeyLimitError():
            return _reply(429, str(error), "rate_limit_error", None, "key_limit", (_retry_after(error.retry_after_s),))
        case QueueFullError():
            return _reply(503, str(error), "api_error", None, "queue_full", (_retry_after(error.retry_after_s),))
        case NotReadyError():
            loading = loading_detail(error.loading)
            code = "no_worker" if loading.state == "queued" else "model_loading"
            detail = ErrorDetail(str(error), "api_error", None, code, loading)
            return ErrorReply(503, detail, (_retry_after(error.retry_after_s),))
        case NoWorkerError():
            return _reply(503, str(error), "api_error", None, "no_worker", (_retry_after(error.retry_after_s),))
        case StoreUnavailableError():
            again = (_retry_after(error.retry_after_s),)
            return _reply(503, str(error), "api_error", None, "store_unavailable", again)
        case StoppingError():
            return _reply(503, str(error), "api_error", None, "stopping", (_retry_after(error.retry_after_s),))
        case _:
            return _reply(503, str(error), "api_error", None, "busy", (_retry_after(error.retry_after_s),))


def _failed(error: JobFailedError) -> ErrorReply:
    message, code = str(error), error.code
    match code:
        case FailCode.BAD_REQUEST.value | FailCode.CONTEXT_LENGTH.value:
            return _reply(400, message, "invalid_request_error", error.param, code)
        case FailCode.NO_ROOM.value | FailCode.YIELDED.value | "worker_lost":
            return _reply(503, message, "api_error", error.param, code, (_retry_after(_RETRY_SOON_S),))
        case FailCode.CANCELLED.value:
            return _reply(410, message, "api_error", error.param, code)
        case _:
            return _reply(500, message, "api_error", error.param, code)


def type_of(status: int) -> str:
    """OpenAI's error type for a bare status."""
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "api_error"


def _retry_after(seconds: int) -> tuple[bytes, bytes]:
    return (b"retry-after", b"%d" % max(1, seconds))


def _reply(
    status: int,
    message: str,
    kind: str,
    param: str | None,
    code: str,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> ErrorReply:
    return ErrorReply(status, ErrorDetail(message, kind, param, code), headers)
