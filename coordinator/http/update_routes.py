"""`/updates/…` and `/files/…`: what machines ask for when they look for updates. No key is needed.

Promises: an answer about updates comes from memory, and is never older than a `release` command that has returned; a
file is sent in small pieces, whole or by range; only files of a release that is offered now can be had. Refuses: more
than `visitors` allows.
"""

import asyncio
import re
from urllib.parse import parse_qsl

from litestar.types import HTTPScope, Receive, Scope, Send

from coordinator.errors import NotFoundError
from coordinator.http.asgi import JSON, LeanRoute, header, http_scope, send_body, send_reply, send_start
from coordinator.http.blob_routes import send_blob
from coordinator.http.errors import HttpRefusal
from coordinator.http.services import Services
from coordinator.http.visitors import Visitors
from updates.trust.documents import WORKER_APP

_FOR_EVER = (b"cache-control", b"public, max-age=31536000, immutable")
_NEVER = (b"cache-control", b"no-store")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,255}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,64}\](:[0-9]{1,5})?")
_NUMBER = re.compile(r"[0-9]{1,16}")
_TARGET = r"([a-z0-9]{1,16}-[a-z0-9_]{1,16}(?:-[a-z0-9]{1,16})?)"


def update_routes(services: Services, visitors: Visitors) -> list[LeanRoute]:
    async def keys(scope: Scope, receive: Receive, send: Send, epoch: str) -> None:
        http = _visit(scope, visitors)
        query = _query(http)
        found = services.releases.keys(_app(query), _channel(query), int(epoch))
        if found is None:
            raise NotFoundError(f"There are no keys of epoch {epoch} here.")
        await _answer(http, send, found, _FOR_EVER)

    async def update(scope: Scope, receive: Receive, send: Send, target: str, version: str) -> None:
        http = _visit(scope, visitors)
        query = _query(http)
        runs, known = _number(query, "seq"), _number(query, "ts")
        offer = services.releases.update(_app(query), _channel(query), target)
        if offer is None:
            current = True
        elif "seq" in query:
            current = offer.release_seq <= runs and offer.ts_seq <= known
        else:
            current = offer.version == version
        if offer is None or current:
            await send_start(send, 204, (_NEVER,))
            await send_body(send, b"", more=False)
        else:
            await _answer(http, send, offer.before + own_address(http) + offer.after, _NEVER)

    async def signature(scope: Scope, receive: Receive, send: Send, digest: str, name: str) -> None:
        http = _visit(scope, visitors)
        found = services.releases.file(digest)
        if found is None or found.name != name:
            raise NotFoundError("There is no such file.")
        await _answer(http, send, found.signature, _FOR_EVER, (b"content-type", b"text/plain; charset=us-ascii"))

    async def file(scope: Scope, receive: Receive, send: Send, digest: str, name: str) -> None:
        http = _visit(scope, visitors)
        found = services.releases.file(digest)
        if found is None or found.name != name:
            raise NotFoundError("There is no such file.")
        extra = (_FOR_EVER, (b"content-disposition", b'attachment; filename="%s"' % name.encode("ascii")))
        with visitors.downloading(address_of(http)):
            await send_blob(services, digest, http, send, extra, services.releases.blobs)

    name = r"([A-Za-z0-9][A-Za-z0-9._+-]{0,127})"
    return [
        LeanRoute(re.compile(r"/updates/keys/([0-9]{1,16})"), keys),
        LeanRoute(re.compile(rf"/updates/{_TARGET}/([0-9A-Za-z.+-]{{1,64}})"), update),
        LeanRoute(re.compile(rf"/files/([0-9a-f]{{64}})/{name}\.minisig"), signature),
        LeanRoute(re.compile(rf"/files/([0-9a-f]{{64}})/{name}"), file),
    ]


def address_of(scope: HTTPScope) -> str:
    """Where a request comes from, as far as this process can tell."""
    client = scope["client"]
    return client[0] if client else ""


def own_address(scope: HTTPScope) -> bytes:
    """`https://host:port` as the visitor calls this coordinator."""
    host = header(scope["headers"], b"host") or ""
    return f"{scope['scheme']}://{host if _HOST.fullmatch(host) else 'localhost'}".encode()


def _visit(scope: Scope, visitors: Visitors) -> HTTPScope:
    http = http_scope(scope, "GET", "HEAD")
    visitors.admit(address_of(http), asyncio.get_running_loop().time())
    return http


def _query(scope: HTTPScope) -> dict[str, str]:
    try:
        return dict(parse_qsl(scope["query_string"].decode("ascii", "replace"), max_num_fields=16))
    except ValueError:
        raise HttpRefusal(400, "The address has too many parameters.", "invalid_value") from None


def _app(query: dict[str, str]) -> str:
    return query.get("app", WORKER_APP)


def _channel(query: dict[str, str]) -> str:
    return query.get("channel", "stable")


def _number(query: dict[str, str], name: str) -> int:
    text = query.get(name, "0")
    if not _NUMBER.fullmatch(text):
        raise HttpRefusal(
            400, f"{name} must be a whole number of at most 16 digits, not {text[:40]!r}.", "invalid_value"
        )
    return int(text)


async def _answer(
    scope: HTTPScope, send: Send, body: bytes, caching: tuple[bytes, bytes], kind: tuple[bytes, bytes] = JSON
) -> None:
    if scope["method"] == "HEAD":
        await send_start(send, 200, (kind, caching, (b"content-length", b"%d" % len(body))))
        await send_body(send, b"", more=False)
    else:
        await send_reply(send, 200, body, (kind, caching))
