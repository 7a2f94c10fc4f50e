"""`/api/v1/jobs/{id}/logs`: a job's output as server-sent events.

Each line is a `log` event whose id is its number, from 1 on, so a reader that lost its connection goes on with
`Last-Event-ID` (or `?after=`). The last event, `job`, is the job as it ended. With `?follow=false`: what there is now,
then the job as it is.
"""

import asyncio
from collections.abc import AsyncIterator

import msgspec
from litestar.types import HTTPScope, Receive, Send

from coordinator.errors import CoordinatorError
from coordinator.http.asgi import EVENTS, ClientGoneError, WhileConnected, header, send_body, send_patiently, send_start
from coordinator.http.errors import ErrorBody, reply_to
from coordinator.http.job_shapes import JobShape, LogShape, job_shape
from coordinator.http.query import Query
from coordinator.http.services import Services
from coordinator.records import JobRecord, LogLine

_ENCODER = msgspec.json.Encoder()
_PAGE = 1000
_MOST = 10**18 - 1
_DIGITS = 19


async def send_logs(services: Services, job: JobRecord, scope: HTTPScope, receive: Receive, send: Send) -> None:
    behind, follow = _asked(scope)
    await send_start(send, 200, (EVENTS, (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")))
    source = services.jobs.follow(job.id, behind) if follow else _stored(services, job, behind)
    async with WhileConnected(receive):
        try:
            async for block in _blocks(services, source):
                await send_patiently(send, block, services.limits.write_s, more=True)
        except ClientGoneError:
            raise
        except CoordinatorError as error:
            data = _ENCODER.encode(ErrorBody(reply_to(error).detail))
            await send_body(send, b"event: error\ndata: " + data + b"\n\n", more=True)
        await send_body(send, b"", more=False)


def _asked(scope: HTTPScope) -> tuple[int, bool]:
    """The number of the last line read, 0 for none; and whether to follow."""
    query = Query(scope["query_string"], ("after", "follow"))
    last = header(scope["headers"], b"last-event-id") or "0"
    read = int(last) if last.isascii() and last.isdecimal() and len(last) < _DIGITS else 0
    return query.whole("after", read, 0, _MOST), query.flag("follow", True)


async def _stored(services: Services, job: JobRecord, after: int) -> AsyncIterator[LogLine | JobRecord]:
    while lines := await services.store.logs(job.id, after, _PAGE):
        for line in lines:
            yield line
        after = lines[-1].seq
    yield await services.store.job(job.id) or job


async def _blocks(services: Services, source: AsyncIterator[LogLine | JobRecord]) -> AsyncIterator[bytes]:
    """Events as bytes; a comment whenever nothing comes for a while."""
    upcoming = asyncio.ensure_future(anext(source, None))
    try:
        while True:
            done, _ = await asyncio.wait((upcoming,), timeout=services.limits.keep_alive_s)
            if not done:
                yield b": still here\n\n"
                continue
            item = upcoming.result()
            if item is None:
                return
            yield _event(services, item)
            upcoming = asyncio.ensure_future(anext(source, None))
    finally:
        upcoming.cancel()


def _event(services: Services, item: LogLine | JobRecord) -> bytes:
    if isinstance(item, LogLine):
        data = _ENCODER.encode(LogShape(item.seq, item.stream, item.data))
        return b"id: %d\nevent: log\ndata: %b\n\n" % (item.seq, data)
    return b"event: job\ndata: %b\n\n" % _ENCODER.encode(_job(services, item))


def _job(services: Services, record: JobRecord) -> JobShape:
    return job_shape(record, services.jobs.waiting(record.id), services.live.worker_name)
