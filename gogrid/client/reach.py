"""What can go wrong on the way to a coordinator, in this package's words."""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from gogrid.client.errors import NotTextError, ProfileError, UnreachableError
from gogrid.terminal import one_line

_QUOTED = 20
"""So many characters on either side of a bad one are repeated."""
_NUMBER = re.compile(r"\[Errno -?[0-9]+\] *")


@contextmanager
def reachable(url: str) -> Iterator[None]:
    """Turns what httpx raises into this package's errors."""
    try:
        yield
    except httpx.ConnectError as error:
        raise UnreachableError(_why_not_connected(url, error)) from error
    except (httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise UnreachableError(
            f"{url} does not answer: is the coordinator running, and is this its address?"
        ) from error
    except httpx.TimeoutException as error:
        raise UnreachableError(f"{url} fell silent: try again, or ask its admin to look at the coordinator.") from error
    except httpx.RemoteProtocolError as error:
        raise UnreachableError(_why_cut_off(url, error)) from error
    except httpx.HTTPError as error:
        raise UnreachableError(f"The connection to {url} broke: {_brief(error)}.") from error
    except httpx.InvalidURL as error:
        raise UnreachableError(f"{url} is not an address that can be used: {_brief(error)}.") from error
    except UnicodeEncodeError as error:
        raise not_text(error) from error


@contextmanager
def usable_proxies() -> Iterator[None]:
    """Around the making of an HTTP client, which reads the proxies of the environment. Raises: ProfileError."""
    try:
        yield
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        said = one_line(str(error)).rstrip(". ")
        raise ProfileError(f"HTTPS_PROXY, HTTP_PROXY, ALL_PROXY or NO_PROXY is not usable: {said}.") from error


def not_text(error: UnicodeEncodeError) -> NotTextError:
    """Names the place of what cannot be sent: bytes of somebody's terminal or file name that were no text."""
    around = error.object[max(0, error.start - _QUOTED) : error.end + _QUOTED]
    return NotTextError(f"{around!a} is not UTF-8 text; nothing was sent.")


def _why_cut_off(url: str, error: httpx.RemoteProtocolError) -> str:
    if url.startswith("http://"):
        secure = "https://" + url.removeprefix("http://")
        return f"{url} closed the connection without a whole answer: if it speaks HTTPS, its address is {secure}."
    return f"{url} closed the connection before its answer was whole ({_brief(error)}): try again."


def _why_not_connected(url: str, error: httpx.ConnectError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"{url} did not prove to be the coordinator that this login pinned ({cause.verify_message}); nothing "
                f"was sent. If its identity was replaced, check with its admin and run `gogrid login {url}` again."
            )
        if isinstance(cause, ConnectionRefusedError):
            asked = "is the coordinator running, and is this its address?"
            return f"{url} cannot be reached, for nobody answers there: {asked}"
        if isinstance(cause, socket.gaierror):
            return f"{url} cannot be reached, for no machine of this name was found: is it the right address?"
        cause = cause.__cause__ or cause.__context__
    return f"{url} cannot be reached: {_brief(error)}."


def _brief(error: Exception) -> str:
    """What a library says, without its full stop and its error number."""
    return _NUMBER.sub("", one_line(str(error))).rstrip(". ") or type(error).__name__
