"""What can go wrong on the way to a coordinator, in this package's words."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from gogrid.client.errors import UnreachableError
from gogrid.terminal import one_line


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
    except httpx.HTTPError as error:
        raise UnreachableError(
            f"The connection to {url} broke: {one_line(str(error)) or type(error).__name__}."
        ) from error
    except httpx.InvalidURL as error:
        raise UnreachableError(f"{url} is not an address that can be used: {one_line(str(error))}.") from error


def _why_not_connected(url: str, error: httpx.ConnectError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"{url} did not prove to be the coordinator that this login pinned ({cause.verify_message}); nothing "
                f"was sent. If its identity was replaced, check with its admin and run `gogrid login {url}` again."
            )
        cause = cause.__cause__ or cause.__context__
    return f"{url} cannot be reached: {one_line(str(error))}."
