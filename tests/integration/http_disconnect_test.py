"""A client that hangs up frees its engine slots within a second, streaming or not."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.http.services import Limits
from gogrid.protocol.job_messages import Started, Tokens
from tests.fakes.backend import CHAT, EMBED, JOBS_ONLY, USER, Backend, paced, serving


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    made = Backend(tmp_path, Limits(keep_alive_s=0.05, write_s=0.2))
    made.requests.script = paced(1000, 0.05)
    return made


@pytest.fixture
async def port(backend: Backend) -> AsyncIterator[int]:
    async with serving(backend) as address:
        yield int(address.rsplit(":", 1)[1])


async def ask(port: int, path: str, body: dict[str, object]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {USER}\r\ncontent-length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    return reader, writer


@pytest.mark.parametrize(
    ("path", "extra", "tickets"),
    [
        ("/v1/chat/completions", {"stream": True}, 1),
        ("/v1/chat/completions", {"stream": False}, 1),
        ("/v1/chat/completions", {"stream": True, "n": 3}, 3),
        ("/v1/chat/completions", {"stream": False, "n": 3}, 3),
        ("/v1/completions", {"prompt": "x", "stream": True}, 1),
        ("/v1/completions", {"prompt": "x"}, 1),
        ("/v1/embeddings", {"input": "x", "model": EMBED}, 1),
    ],
)
async def test_disconnect_cancels_within_a_second(backend, port, path, extra, tickets):
    body = {"model": CHAT} | ({"messages": [{"role": "user", "content": "x"}]} if "chat" in path else {}) | extra
    reader, writer = await ask(port, path, body)
    async with asyncio.timeout(2):
        await backend.requests.submitted.wait()
        if extra.get("stream"):
            await reader.readuntil(b" word")
    writer.close()
    async with asyncio.timeout(1):
        for ticket in backend.requests.tickets:
            await ticket.cancelled.wait()
    assert len(backend.requests.tickets) == tickets


async def test_disconnect_before_the_first_answer_cancels_within_a_second(backend, port):
    backend.requests.script = lambda _task, _number: [60.0]
    body = {"model": CHAT, "messages": [{"role": "user", "content": "x"}], "stream": True}
    _, writer = await ask(port, "/v1/chat/completions", body)
    await backend.requests.submitted.wait()
    writer.close()
    async with asyncio.timeout(1):
        await backend.requests.tickets[0].cancelled.wait()


async def test_a_reader_that_takes_nothing_any_more_loses_its_slot(backend, port):
    flood = [Tokens(seq=at, text="x" * 65536, token_ids=(at,)) for at in range(400)]
    backend.requests.script = lambda _task, _number: [Started(device="cpu"), *flood, 60.0]
    body = {"model": CHAT, "messages": [{"role": "user", "content": "x"}], "stream": True}
    _, writer = await ask(port, "/v1/chat/completions", body)
    async with asyncio.timeout(3):
        await backend.requests.submitted.wait()
        await backend.requests.tickets[0].cancelled.wait()
    writer.close()


async def test_a_silent_stream_gets_comments_that_no_client_sees(backend, port):
    backend.requests.script = lambda _task, _number: [Started(device="cpu"), 60.0]
    body = {"model": CHAT, "messages": [{"role": "user", "content": "x"}], "stream": True}
    reader, writer = await ask(port, "/v1/chat/completions", body)
    async with asyncio.timeout(2):
        await reader.readuntil(b": still here\n\n")
    writer.close()


async def test_a_finished_request_is_not_cancelled(backend, port):
    backend.requests.script = paced(2, 0.001)
    body = {"model": CHAT, "messages": [{"role": "user", "content": "x"}], "stream": True}
    reader, writer = await ask(port, "/v1/chat/completions", body)
    async with asyncio.timeout(2):
        await reader.readuntil(b"[DONE]")
    writer.close()
    assert not backend.requests.tickets[0].cancelled.is_set()


async def test_a_log_reader_that_hangs_up_ends_its_follower(backend, port):
    key = backend.keyring.keys[JOBS_ONLY]
    from coordinator.records import JobKind

    job = backend.jobs.add(key.id, JobKind.PYTHON, "x", None)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    path = f"/api/v1/jobs/{job.id}/logs"
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {JOBS_ONLY}\r\n\r\n".encode())
    async with asyncio.timeout(2):
        await reader.readuntil(b": still here\n\n")
        before = len(asyncio.all_tasks())
        writer.close()
        while len(asyncio.all_tasks()) >= before:
            await asyncio.sleep(0.01)
