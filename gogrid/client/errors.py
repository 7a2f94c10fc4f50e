"""What can go wrong for a caller of the public client: one small tree, each error one sentence to be shown as it is.

Split by who must act: the user's own set-up (`ProfileError`), the way to the coordinator (`UnreachableError`), the
coordinator's answer (`RefusedError`), or an answer that cannot be used (`AnswerError`).
"""

from gogrid.errors import GoGridError


class ClientError(GoGridError):
    """Anything the client refuses or cannot do."""


class ProfileError(ClientError):
    """There is no usable login on this machine; says what to run."""


class UnreachableError(ClientError):
    """No connection to the coordinator, or not to the one that was pinned; nothing was sent to a stranger."""


class RefusedError(ClientError):
    """The coordinator said no.

    Attributes:
        status: the HTTP status, 0 if the refusal came inside a stream.
        code: the coordinator's stable machine code, such as `model_not_found`.
        retry_after_s: seconds after which another try may work, or None.
    """

    def __init__(self, message: str, *, status: int, code: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


class AnswerError(ClientError):
    """The answer broke off or is not what GoGrid speaks."""


class NotTextError(ClientError):
    """What was to be sent cannot be written as UTF-8; nothing was sent."""


class NoSuchJobError(ClientError):
    """What was given cannot be a job's id."""


class OutputError(ClientError):
    """An output file cannot be stored safely; names the file and why."""
