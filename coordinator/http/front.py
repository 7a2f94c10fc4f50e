"""The door every request passes: who asks, which id it has, which headers every answer carries, and what fails how.

Promises: every response carries `x-request-id` and the security headers; nobody passes without `auth.admit`; the holder
of a known key passes without waiting, and before another is refused the store is looked at once more; whatever goes
wrong behind the door becomes one OpenAI error body, never a traceback; a client that hung up is not an error.
"""

import asyncio
import logging
import secrets

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from coordinator.errors import CoordinatorError, UnknownKeyError
from coordinator.http.asgi import ClientGoneError, is_http, send_error
from coordinator.http.auth import admit
from coordinator.http.errors import reply_to
from coordinator.http.metrics import HttpMetrics
from coordinator.http.services import Services

_LOG = logging.getLogger("gogrid.http")
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)


class FrontDoor:
    """An ASGI app around the app."""

    def __init__(self, app: ASGIApp, services: Services, metrics: HttpMetrics) -> None:
        self._app = app
        self._services = services
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_http(scope):
            await self._app(scope, receive, send)
            return
        request_id = "req_" + secrets.token_hex(12)
        started = False

        async def send_marked(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._metrics.responded(message["status"])
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                    *_SECURITY_HEADERS,
                ]
            await send(message)

        try:
            await self._admit(scope)
            await self._app(scope, receive, send_marked)
        except ClientGoneError:
            _LOG.debug("%s: the client hung up", request_id)
        except asyncio.CancelledError:
            _LOG.info("%s: cut off, the coordinator stops", request_id)
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: it is logged in full, the client gets a bare 500
            if not isinstance(error, CoordinatorError):
                _LOG.exception("%s: %s %r failed", request_id, scope["method"], scope["path"])
            if not started:
                await send_error(send_marked, reply_to(error))

    async def _admit(self, scope: HTTPScope) -> None:
        try:
            admit(self._services, scope)
        except UnknownKeyError:
            await self._services.look_again()
            admit(self._services, scope)
