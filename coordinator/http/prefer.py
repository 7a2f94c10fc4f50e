"""`Prefer: wait=SECONDS` (RFC 7240): how long a client would rather wait for a job's end than ask again. Pure.

Promises: other preferences are ignored, as the RFC wants; no client waits longer than `LONGEST_S`; a `wait` that is no
whole number of seconds is refused.
"""

from coordinator.errors import RequestError
from coordinator.http.asgi import Headers

LONGEST_S = 60
_MOST_DIGITS = 9


def wait_of(headers: Headers) -> int:
    """Seconds, 0: answer at once. Raises `RequestError`."""
    given = b",".join(value for name, value in headers if name == b"prefer").decode("latin-1")
    for preference in given.split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() != "wait":
            continue
        digits = value.strip().strip('"')
        if not digits.isascii() or not digits.isdigit() or len(digits) > _MOST_DIGITS:
            message = "`Prefer: wait` must be a whole number of seconds, for instance `Prefer: wait=30`."
            raise RequestError(message, "Prefer", "invalid_value")
        return min(int(digits), LONGEST_S)
    return 0
