"""The few ASGI messages the lean handlers send, and how they read a body within its limits."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from litestar import Request
from litestar.enums import ScopeType
from litestar.types import HTTPScope, Receive, Scope, Send

from coordinator.errors import CoordinatorError
from coordinator.http.errors import ErrorReply, HttpRefusal
from coordinator.http.services import Limits

Headers = Iterable[tuple[bytes, bytes]]
AnyRequest = Request[Any, Any, Any]
"""Litestar's request, of which only scope and receive are used."""

JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
_DISCARD_BYTES = 16 << 20
_DISCARD_S = 2.0


class ClientGoneError(CoordinatorError):
    """The client hung up: there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class LeanRoute:
    """An address served without Litestar, for what streams."""

    path: re.Pattern[str]
    """Of the whole path."""
    handler: Callable[..., Awaitable[None]]
    """An ASGI app that gets the groups of `path` behind its three arguments."""


class WhileConnected:
    """Runs a block for as long as its client is there.

    When the client hangs up the block is cancelled where it stands and `ClientGoneError` leaves it. The request's body
    must have been read. Other cancellations pass unchanged.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._task = running_task()
        self._gone = False

    async def __aenter__(self) -> None:
        self._cancelling = self._task.cancelling()
        self._watch = asyncio.create_task(self._wait_disconnect())

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._watch.cancel()
        if self._gone and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise ClientGoneError("The client disconnected.")

    async def _wait_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._task.cancel()


def running_task() -> "asyncio.Task[Any]":
    """The task that calls this."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("an ASGI handler runs in a task")
    return task


def is_http(scope: Scope) -> TypeGuard[HTTPScope]:
    return scope["type"] == ScopeType.HTTP


def http_scope(scope: Scope, *methods: str) -> HTTPScope:
    """The scope of a request with one of these methods; refuses all others with 405."""
    if not is_http(scope):
        raise HttpRefusal(400, "This is plain HTTP, not a WebSocket.", "invalid_request")
    if scope["method"] not in methods:
        allow = (b"allow", ", ".join(methods).encode())
        text = f"{scope['method']} is not for this address: use {' or '.join(methods)}."
        raise HttpRefusal(405, text, "method_not_allowed", headers=(allow,))
    return scope


def header(headers: Headers, name: bytes) -> str | None:
    """The value of the first header of that (lower-case) name."""
    for key, value in headers:
        if key == name:
            return value.decode("latin-1")
    return None


def require_json(headers: Headers) -> None:
    """Refuse a body that says it is something other than plain JSON."""
    kind = header(headers, b"content-type")
    if kind is not None:
        bare = kind.split(";", 1)[0].strip().lower()
        if bare != "application/json" and not bare.endswith("+json"):
            raise HttpRefusal(415, f"The body must be application/json, not {bare[:80]!r}.", "unsupported_media_type")
    refuse_encoding(headers)


def refuse_encoding(headers: Headers) -> None:
    """Refuse compressed bodies, whose size cannot be known before they are unpacked."""
    encoding = header(headers, b"content-encoding")
    if encoding is not None and encoding.strip().lower() != "identity":
        raise HttpRefusal(415, "The body must be sent without Content-Encoding.", "unsupported_media_type")


async def read_body(headers: Headers, receive: Receive, limit: int, limits: Limits) -> bytes:
    """The whole body.

    Raises:
        HttpRefusal: 413 over `limit` bytes, 408 when it comes too slowly.
        ClientGoneError: the client hung up.
    """
    return b"".join([chunk async for chunk in body_chunks(headers, receive, limit, limits)])


async def body_chunks(headers: Headers, receive: Receive, limit: int, limits: Limits) -> AsyncIterator[bytes]:
    """The body as it comes; raises like `read_body`, as soon as it is known."""
    announced = _announced(headers)
    if announced > limit:
        await _refuse_size(receive, limit, discard=header(headers, b"expect") is None)
    seen = 0
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while True:
        patience = min(limits.read_s, begun + limits.read_s + seen / limits.read_bytes_per_s - loop.time())
        try:
            async with asyncio.timeout(patience):
                message = await receive()
        except TimeoutError:
            raise HttpRefusal(408, "The body came too slowly.", "request_timeout", close=True) from None
        if message["type"] != "http.request":
            raise ClientGoneError("The client disconnected before its request was complete.")
        chunk = message["body"]
        seen += len(chunk)
        if seen > limit:
            await _refuse_size(receive, limit, discard=message["more_body"])
        if chunk:
            yield chunk
        if not message["more_body"]:
            return


def _announced(headers: Headers) -> int:
    text = header(headers, b"content-length")
    return int(text) if text is not None and text.isdecimal() else 0


async def _refuse_size(receive: Receive, limit: int, discard: bool) -> None:
    """Take a little more than we want, so that a client that only reads after writing gets to see the answer."""
    if discard:
        try:
            async with asyncio.timeout(_DISCARD_S):
                left = _DISCARD_BYTES
                while left > 0:
                    message = await receive()
                    if message["type"] != "http.request" or not message["more_body"]:
                        break
                    left -= len(message["body"])
        except TimeoutError:
            pass  # it has had its chance; the connection closes now
    raise HttpRefusal(413, f"The body is larger than the {limit} bytes allowed here.", "request_too_large", close=True)


async def send_start(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def send_body(send: Send, body: bytes, more: bool) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def send_patiently(send: Send, body: bytes, patience: float, more: bool) -> None:
    """Send a piece; a client that takes nothing for `patience` seconds has gone (`ClientGoneError`)."""
    try:
        async with asyncio.timeout(patience):
            await send_body(send, body, more)
    except TimeoutError:
        raise ClientGoneError("The client takes nothing any more.") from None


async def send_reply(send: Send, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]] = (JSON,)) -> None:
    """One complete response."""
    await send_start(send, status, [*headers, (b"content-length", b"%d" % len(body))])
    await send_body(send, body, more=False)


async def send_error(send: Send, reply: ErrorReply) -> None:
    await send_reply(send, reply.status, reply.body, (JSON, *reply.headers))
