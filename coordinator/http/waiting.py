"""What a client says about waiting for a model that cannot answer yet: the field `wait`, or the header for those who
cannot add a field. Pure. The field wins; what is neither is refused by name.
"""

import re

from coordinator.errors import RequestError
from coordinator.interactive.loading import Wait

HEADER = b"x-gogrid-wait"
LONGEST_S = 86400.0
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_ALLOWED = "true, false or seconds from 0 to 86400"


def wait_of(field: bool | float | None, header: str | None) -> Wait:
    """Raises `RequestError`."""
    if field is not None:
        return _wait(field, "wait")
    if header is None:
        return Wait()
    word = header.strip().lower()
    if word in ("true", "false"):
        return _wait(word == "true", "X-GoGrid-Wait")
    if not _SECONDS.fullmatch(word):
        raise _refusal("X-GoGrid-Wait")
    return _wait(float(word), "X-GoGrid-Wait")


def _wait(said: bool | float, name: str) -> Wait:
    if isinstance(said, bool):
        return Wait() if said else Wait(0.0)
    if not 0 <= said <= LONGEST_S:
        raise _refusal(name)
    return Wait(float(said))


def _refusal(name: str) -> RequestError:
    return RequestError(f"`{name}` must be {_ALLOWED}.", name, "invalid_value")
