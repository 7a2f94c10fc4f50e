"""`/blobs/{sha256}`: how workers fetch models and job files, and leave job output.

Promises: only a live session's ticket opens it; a worker reads only what its work needs (`LiveState.may_fetch`) and
stores no more than its jobs may leave (`LiveState.may_store`); what is stored has the hash of its address; reads can
be resumed by range. A blob that may not be read looks like one that is not there. `/blobs/test-model` names the
smallest model that can chat, for the first answer that a worker's owner wants to see.
"""

import asyncio
import re
from typing import BinaryIO

import msgspec
from litestar.types import HTTPScope, Receive, Scope, Send

from coordinator.errors import NotFoundError
from coordinator.http.asgi import (
    LeanRoute,
    body_chunks,
    header,
    http_scope,
    refuse_encoding,
    send_body,
    send_patiently,
    send_reply,
    send_start,
)
from coordinator.http.auth import worker_of
from coordinator.http.errors import HttpRefusal
from coordinator.http.services import Services
from coordinator.records import ModelKind
from coordinator.state.blobs import BlobStore
from gogrid.ids import Sha256, WorkerId
from gogrid.protocol.tasks import ModelRef

_READ_BYTES = 256 << 10
_BYTES = (b"content-type", b"application/octet-stream")
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


def blob_routes(services: Services) -> list[LeanRoute]:
    async def blob(scope: Scope, receive: Receive, send: Send, digest: str) -> None:
        http = http_scope(scope, "GET", "HEAD", "PUT")
        worker = worker_of(http)
        if http["method"] == "PUT":
            await _store(services, worker, digest, http, receive, send)
        elif services.live.may_fetch(worker, digest):
            await send_blob(services, digest, http, send)
        else:
            raise NotFoundError("There is no such blob.")

    async def test_model(scope: Scope, receive: Receive, send: Send) -> None:
        worker_of(http_scope(scope, "GET"))
        chats = [model for model in services.catalogue.models() if model.kind is ModelKind.CHAT]
        if not chats:
            raise NotFoundError("This coordinator has no model that can chat yet.")
        smallest = min(chats, key=lambda model: (model.memory_bytes, model.name))
        await send_reply(send, 200, msgspec.json.encode(ModelRef(name=smallest.name, digest=smallest.digest)))

    return [
        LeanRoute(re.compile(r"/blobs/([0-9a-f]{64})"), blob),
        LeanRoute(re.compile(r"/blobs/test-model"), test_model),
    ]


async def _store(
    services: Services, worker: WorkerId, digest: str, scope: HTTPScope, receive: Receive, send: Send
) -> None:
    refuse_encoding(scope["headers"])
    allowed = services.live.may_store(worker)
    if allowed <= 0:
        raise HttpRefusal(403, "This worker holds no job that may leave output.", "no_output_expected", close=True)
    had = services.blobs.size(digest)  # a worker whose acknowledgement was lost sends it again
    allowed = max(allowed, had or 0)
    chunks = body_chunks(scope["headers"], receive, allowed, services.limits)
    stored = await services.blobs.put(chunks, allowed, Sha256(digest))
    if had is None:
        services.live.stored(worker, stored.size)
    await send_reply(send, 201, b"", ((b"etag", _etag(digest)),))


async def send_blob(
    services: Services,
    digest: str,
    scope: HTTPScope,
    send: Send,
    extra: tuple[tuple[bytes, bytes], ...] = (),
    blobs: BlobStore | None = None,
) -> None:
    """Answer a GET or HEAD with a blob (of `blobs`, if not the models' and jobs'), whole or the one range asked for."""
    headers = scope["headers"]
    etag = _etag(digest)
    with (blobs or services.blobs).open(digest) as file:
        size = file.seek(0, 2)
        common = (_BYTES, (b"etag", etag), (b"accept-ranges", b"bytes"), *extra)
        if header(headers, b"if-none-match") == etag.decode():
            await send_start(send, 304, common)
            await send_body(send, b"", more=False)
            return
        wanted = header(headers, b"range")
        if wanted is not None and header(headers, b"if-range") not in (None, etag.decode()):
            wanted = None
        span = _span(wanted, size)
        if span is None:
            begin, end, status = 0, size, 200
        else:
            begin, end = span
            status = 206
            common = (*common, (b"content-range", b"bytes %d-%d/%d" % (begin, end - 1, size)))
        await send_start(send, status, (*common, (b"content-length", b"%d" % (end - begin))))
        if scope["method"] == "HEAD":
            await send_body(send, b"", more=False)
            return
        await _send_span(send, file, begin, end, services.limits.write_s)


async def _send_span(send: Send, file: BinaryIO, begin: int, end: int, patience: float) -> None:
    file.seek(begin)
    left = end - begin
    while left > 0:
        data = await asyncio.to_thread(file.read, min(_READ_BYTES, left))
        if not data:
            raise NotFoundError("The blob became shorter while it was read.")
        left -= len(data)
        await send_patiently(send, data, patience, more=left > 0)
    if begin == end:
        await send_body(send, b"", more=False)


def _span(text: str | None, size: int) -> tuple[int, int] | None:
    """Half-open bytes of a single range; None: send the whole. Raises 416 for a range that is not there."""
    match = _RANGE.fullmatch(text.strip()) if text is not None else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        begin, end = max(0, size - int(last)), size
    else:
        begin, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < begin:
            return None
    if begin >= end:
        unsatisfied = (b"content-range", b"bytes */%d" % size)
        raise HttpRefusal(416, f"The blob has {size} bytes.", "range_not_satisfiable", headers=(unsatisfied,))
    return begin, end


def _etag(digest: str) -> bytes:
    return b'"' + digest.encode("ascii", "replace") + b'"'
