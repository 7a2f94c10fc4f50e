"""The runner's error tree."""

from gogrid.errors import GoGridError
from gogrid.protocol.job_messages import FailCode


class RunnerError(GoGridError):
    """Anything the runner cannot do; one sentence for the machine's owner."""


class NotJoinedError(RunnerError):
    """This worker belongs to no coordinator yet."""


class SandboxUnavailableError(RunnerError):
    """No sandbox works on this machine, so it takes no jobs; says what to install or allow."""


class LinkError(RunnerError):
    """The coordinator cannot be reached or refuses this worker; says why and what to do."""


class TokenRefusedError(LinkError):
    """The coordinator will never take this join token from this key."""


class JobError(RunnerError):
    """A job cannot be done here; becomes the job's `Failed` message."""

    def __init__(self, message: str, code: FailCode, param: str = "", *, in_company: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.in_company = in_company


class ModelError(JobError):
    """A model's files are missing, damaged, refused or do not fit."""
