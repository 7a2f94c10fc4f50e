"""What went wrong on the way to a coordinator, in words for people."""

import httpx
import pytest

from gogrid.client.errors import UnreachableError
from gogrid.client.reach import reachable


def told(url: str, error: Exception) -> str:
    with pytest.raises(UnreachableError) as caught, reachable(url):
        raise error
    return str(caught.value)


def test_plain_http_that_is_closed_names_https() -> None:
    closed = httpx.RemoteProtocolError("Server disconnected without sending a response.")
    assert told("http://127.0.0.1:18443", closed).endswith("its address is https://127.0.0.1:18443.")
    secure = told("https://127.0.0.1:18443", closed)
    assert secure.endswith("(Server disconnected without sending a response): try again.")


def test_no_library_error_ends_in_two_full_stops_or_has_a_number() -> None:
    assert told("https://x:1", httpx.ReadError("[Errno 104] Connection reset by peer.")) == (
        "The connection to https://x:1 broke: Connection reset by peer."
    )


def test_nobody_there_is_said_without_an_error_number() -> None:
    refused = httpx.ConnectError("[Errno 111] Connection refused")
    refused.__cause__ = ConnectionRefusedError(111, "Connection refused")
    said = told("https://x:1", refused)
    assert said.startswith("https://x:1 cannot be reached, for nobody answers there: is the coordinator running")
