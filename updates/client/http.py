"""GET and nothing else: bounded answers, no redirects, no proxy or secret of the environment, errors as one sentence.

What is trusted is not this connection but signatures; TLS keeps others from seeing and stopping updates.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from updates.client.errors import AskError

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
def get(url: str, trust: ssl.SSLContext | None, headers: Mapping[str, str] | None = None) -> Iterator[Reply]:
    """One answer, its body not read yet.

    Args:
        trust: None: whom this system trusts.

    Raises:
        Unreachable: no connection, or it was lost meanwhile.
    """
    import httpx  # 7 MB of memory that an idle machine does not pay

    sent = {"accept-encoding": "identity", "user-agent": "gogrid-updater", **(headers or {})}
    timeout = httpx.Timeout(_SILENCE_S, connect=_CONNECT_S)
    try:
        with (
            httpx.Client(verify=True if trust is None else trust, timeout=timeout, trust_env=False) as client,
            client.stream("GET", url, headers=sent) as response,
        ):
            yield Reply(response.status_code, response.headers.get("content-range", ""), response.iter_raw())
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unreachable(str(error) or type(error).__name__) from error


def small(url: str, trust: ssl.SSLContext | None, most: int) -> bytes | None:
    """The whole body of a 200; None for a 204.

    Raises:
        AskError: anything else, or more than `most` bytes.
    """
    try:
        with get(url, trust) as reply:
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
