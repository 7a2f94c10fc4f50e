"""The error tree of the shared ground; components derive their own trees from `GoGridError`.

The text of every error is one sentence that tells its reader what is wrong and what to do; it is shown as it stands.
"""

from enum import IntEnum


class GoGridError(Exception):
    """Anything GoGrid can say in one sentence to the person who caused it or can mend it."""


class ConfigError(GoGridError):
    """A setting is wrong; names the key, the value, where it came from and what is allowed."""


class TokenError(GoGridError):
    """A join token cannot be used; found out before anything is sent."""


class IdentityError(GoGridError):
    """The other side is not who we were told to expect."""


class CloseCode(IntEnum):
    """Why a worker connection ends; numbers are wire values and never change meaning."""

    NORMAL = 0
    PROTOCOL = 1
    AUTH_FAILED = 2
    VERSION = 3
    FENCED = 4
    REVOKED = 5
    PENDING = 6
    TOO_BUSY = 7
    TIMEOUT = 8
    SHUTDOWN = 9
    PIN_MISMATCH = 10
    TOKEN_REFUSED = 11


class ProtocolError(GoGridError):
    """The peer broke the wire protocol; the connection is closed with `code`."""

    def __init__(self, message: str, code: CloseCode = CloseCode.PROTOCOL) -> None:
        super().__init__(message)
        self.code = code
