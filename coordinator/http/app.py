"""The HTTP app: the door, lean handlers for what is hot or streams, and Litestar for all the rest."""

import logging
from typing import Any

from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Receive, Scope, Send

from coordinator.errors import CoordinatorError
from coordinator.http.asgi import is_http
from coordinator.http.blob_routes import blob_routes
from coordinator.http.docs import docs_config
from coordinator.http.download_routes import download_routes
from coordinator.http.errors import ErrorDetail, ErrorReply, reply_to, type_of
from coordinator.http.front import FrontDoor
from coordinator.http.jobs_routes import job_handlers, job_stream_routes, job_submission
from coordinator.http.metrics import HttpMetrics
from coordinator.http.openai_routes import OpenAIRoutes, model_handlers
from coordinator.http.services import Services
from coordinator.http.system_routes import system_handlers
from coordinator.http.update_routes import update_routes
from coordinator.http.visitors import Visitors

_LOG = logging.getLogger("gogrid.http")
_AnyRequest = Request[Any, Any, Any]
_JOBS = "/api/v1/jobs"
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "request_too_large", 415: "unsupported_media_type"}


def create_app(services: Services) -> ASGIApp:
    """The whole HTTP surface of one coordinator, as an ASGI app without lifespan."""
    metrics = HttpMetrics(services.live)
    litestar = Litestar(
        route_handlers=[
            *model_handlers(services),
            *job_handlers(services),
            *system_handlers(services, metrics),
        ],
        exception_handlers={Exception: _respond},
        openapi_config=docs_config() if services.docs else None,
        logging_config=None,
    )
    exact = OpenAIRoutes(services, metrics).lean()
    submitting = job_submission(services)
    visitors = Visitors(services.limits.visitors)
    patterns = [
        *blob_routes(services),
        *job_stream_routes(services),
        *update_routes(services, visitors),
        *download_routes(services, visitors),
    ]

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if (lean := exact.get(path)) is not None:
            await lean(scope, receive, send)
            return
        if path == _JOBS and is_http(scope) and scope["method"] == "POST":
            await submitting(scope, receive, send)
            return
        for pattern in patterns:
            if (match := pattern.path.fullmatch(path)) is not None:
                await pattern.handler(scope, receive, send, *match.groups())
                return
        await litestar(scope, receive, send)

    return FrontDoor(route, services, metrics)


def _respond(request: _AnyRequest, error: Exception) -> Response[bytes]:
    """Litestar's way to `errors.reply_to`; its own refusals (routing, query parameters) are put in words here."""
    if isinstance(error, HTTPException):
        reply = _routing(request, error)
    else:
        if not isinstance(error, CoordinatorError):
            _LOG.error("%s %r failed", request.method, request.scope["path"], exc_info=error)
        reply = reply_to(error)
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    return Response(reply.body, status_code=reply.status, headers=headers, media_type="application/json")


def _routing(request: _AnyRequest, error: HTTPException) -> ErrorReply:
    status = error.status_code
    if status == 404:
        text = f"There is nothing at {request.scope['path'][:200]!r}."
    elif status == 405:
        text = f"{request.method} is not for {request.scope['path'][:200]!r}."
    else:
        text = error.detail.split("\n", 1)[0]
    headers = tuple((name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items())
    code = _CODES.get(status, "invalid_request")
    return ErrorReply(status, ErrorDetail(text, type_of(status), None, code), headers)
