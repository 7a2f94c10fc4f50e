"""GET and nothing else: bounded answers in bounded time, no redirects, no proxy or secret of the environment, errors as
one sentence.

What is trusted is not this connection but signatures; TLS keeps others from seeing and stopping updates.
"""

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from updates.client.errors import AskError
from updates.client.pace import ANSWER_S, Pace

_CONNECT_S, _SILENCE_S = 10.0, 30.0


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    content_range: str
    """Of the header; empty: there is none."""
    pieces: Iterator[bytes]
    """The body, as it comes: nothing is held back for a fuller piece, so a cut loses nothing that came."""


class Unreachable(Exception):
    """This attempt failed; why, in words. Never leaves this folder."""


@contextmanager
def get(
    url: str,
    trust: ssl.SSLContext | None,
    pace: Pace,
    headers: Mapping[str, str] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Reply]:
    """One answer, its body not read yet.

    Args:
        trust: None: whom this system trusts.
        pace: how slow it may be, all in all.
        stopped: whether to give up, also while nothing comes.

    Raises:
        Unreachable: no connection, it was lost meanwhile, or it is too slow.
    """
    import httpcore  # some megabytes that an idle machine does not pay

    from updates.client.paced_line import PacedBackend

    sent: list[tuple[str | bytes, str | bytes]] = [
        ("accept-encoding", "identity"),
        ("user-agent", "gogrid-updater"),
        *(headers or {}).items(),
    ]
    timeout = {"connect": _CONNECT_S, "read": _SILENCE_S, "write": _SILENCE_S}
    failures = (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
        UnicodeError,  # a name that cannot be looked up
    )
    try:
        with (
            httpcore.ConnectionPool(ssl_context=trust, network_backend=PacedBackend(pace, stopped)) as pool,
            pool.stream("GET", url, headers=sent, extensions={"timeout": timeout}) as response,
        ):
            found = {name.lower(): value for name, value in response.headers}
            content_range = found.get(b"content-range", b"").decode("ascii", "replace")
            yield Reply(response.status, content_range, response.iter_stream())
    except failures as error:
        raise Unreachable(str(error) or type(error).__name__) from error


def small(url: str, trust: ssl.SSLContext | None, most: int, within_s: float = ANSWER_S) -> bytes | None:
    """The whole body of a 200; None for a 204.

    Raises:
        AskError: anything else, more than `most` bytes, or not there within `within_s`.
    """
    try:
        with get(url, trust, Pace(time.monotonic(), within_s)) as reply:
            if reply.status == 204:
                return None
            if reply.status != 200:
                raise AskError(f"{_host(url)} answers {reply.status} when asked for updates.")
            body = bytearray()
            for piece in reply.pieces:
                body += piece
                if len(body) > most:
                    raise AskError(f"{_host(url)} answers with more than {most} bytes when asked for updates.")
            return bytes(body)
    except Unreachable as error:
        raise AskError(f"{_host(url)} cannot be asked for updates: {error}.") from error


def _host(url: str) -> str:
    return urlsplit(url).netloc
