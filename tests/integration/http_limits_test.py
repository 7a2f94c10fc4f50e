"""What a hostile or broken client may cost: sizes, slowness, malformed bytes; on raw sockets."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.http import guarded
from coordinator.http.services import Limits
from tests.fakes.backend import CHAT, USER, Backend, serving

AUTH = f"authorization: Bearer {USER}\r\n"
PATH = "/v1/chat/completions"


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    return Backend(tmp_path, Limits(json_bytes=100_000, read_s=0.3))


@pytest.fixture
async def port(backend: Backend) -> AsyncIterator[int]:
    async with serving(backend) as address:
        yield int(address.rsplit(":", 1)[1])


async def talk(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send the pieces, return all that comes until the server closes (or a second of silence)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = bytearray()

    async def listen() -> None:
        while data := await reader.read(65536):
            got.extend(data)

    listening = asyncio.create_task(listen())
    for piece in pieces:
        if not listening.done():
            writer.write(piece)
            await asyncio.sleep(pause)
    _, still = await asyncio.wait([listening], timeout=1.5)
    for task in still:
        task.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    writer.close()
    return bytes(got)


def post(body: bytes, length: int | None = None, extra: str = "") -> bytes:
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\n{AUTH}{extra}content-length: {length or len(body)}\r\n\r\n"
    return head.encode() + body


def answer(raw: bytes) -> tuple[int, dict[str, object]]:
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), json.loads(body.split(b"\r\n\r\n")[0])["error"]


async def test_oversize_body_is_a_413_that_the_client_gets_to_see(port):
    status, error = answer(await talk(port, post(b"x" * 300_000)))
    assert (status, error["code"]) == (413, "request_too_large")


async def test_a_client_that_reads_only_after_writing_sees_the_413_too(port):
    def write_then_read() -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            plain.sendall(post(b"x" * 12_000_000))
            return plain.recv(65536)

    assert (await asyncio.to_thread(write_then_read)).startswith(b"HTTP/1.1 413 ")


async def test_oversize_body_without_a_length_is_a_413(port):
    chunk = b"%x\r\n%b\r\n" % (60_000, b"x" * 60_000)
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\n{AUTH}transfer-encoding: chunked\r\n\r\n".encode()
    status, error = answer(await talk(port, head, chunk, chunk, b"0\r\n\r\n"))
    assert (status, error["code"]) == (413, "request_too_large")


async def test_announced_oversize_is_refused_before_it_is_sent(port):
    extra = "expect: 100-continue\r\n"
    raw = await talk(port, post(b"", length=10**9, extra=extra))
    assert raw.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in raw


async def test_a_body_that_stalls_is_a_408(port):
    status, error = answer(await talk(port, post(b'{"model":', length=100)))
    assert (status, error["code"]) == (408, "request_timeout")


async def test_a_body_that_trickles_is_a_408(port):
    """What is waited for is the whole body: it would arrive, at a pace that is never too slow for one piece."""
    status, error = answer(await talk(port, post(b"{", length=60), *[b" "] * 59, pause=0.02))
    assert (status, error["code"]) == (408, "request_timeout")


async def test_slowloris_heads_are_closed(port, monkeypatch):
    monkeypatch.setattr(guarded, "HEAD_S", 0.2)
    async with asyncio.timeout(1):
        assert await talk(port, b"GET /healthz HTTP/1.1\r\n", b"a: b\r\n") == b""
    async with asyncio.timeout(1):
        assert await talk(port) == b""


async def test_slow_second_head_on_a_kept_connection_is_closed_too(port, monkeypatch):
    monkeypatch.setattr(guarded, "HEAD_S", 0.2)
    async with asyncio.timeout(1):
        got = await talk(port, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /healthz HTTP/1.1\r\nh", pause=0.05)
    assert got.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nx: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"x: a\r\n" * 4000 + b"\r\n",
        b"GET /" + b"a" * 200_000,
    ],
    ids=["one-long", "many", "address"],
)
async def test_huge_heads_are_refused(port, head):
    raw = await talk(port, head)
    assert raw.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"\0" * 99])
async def test_bytes_that_are_not_http_get_a_400(port, junk):
    assert (await talk(port, junk)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[]", "Expected `object`"),
        (b"nul", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"model":"\xff"}', "not valid JSON"),
        (b'{"model":"\\ud800"}', "not valid JSON"),
        (b'{"tools":' + b"[" * 40_000 + b"]" * 40_000 + b"}", "nested too deeply"),
        (b'{"seed":' + b"9" * 5000 + b"}", "seed"),
        (b"{}", "`messages` is required"),
    ],
)
async def test_malformed_json_gets_one_line(port, body, text):
    close = post(body, extra="connection: close\r\n") if body else post(b" ", extra="connection: close\r\n")
    status, error = answer(await talk(port, close))
    assert status == 400
    message = str(error["message"])
    assert text in message or "required" in message
    assert "\n" not in message
    assert len(message) < 300


@pytest.mark.parametrize(
    "extra", ["content-type: text/plain\r\n", "content-encoding: gzip\r\n", "content-type: multipart/form-data\r\n"]
)
async def test_other_media_types_are_a_415(port, extra):
    status, error = answer(await talk(port, post(b"{}", extra=extra + "connection: close\r\n")))
    assert (status, error["code"]) == (415, "unsupported_media_type")


async def test_an_overlong_prompt_is_refused_before_any_worker_sees_it(port, backend):
    small = Limits(prompt_chars=10)
    object.__setattr__(backend, "limits", small)
    async with serving(backend) as address:
        body = json.dumps({"model": CHAT, "messages": [{"role": "user", "content": "x" * 11}]}).encode()
        raw = await talk(int(address.rsplit(":", 1)[1]), post(body, extra="connection: close\r\n"))
    status, error = answer(raw)
    assert (status, error["param"]) == (400, "messages")
    assert backend.requests.tickets == []


async def test_pipelined_requests_are_answered_in_order(port):
    one = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    two = b"GET /version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    raw = await talk(port, one + two)
    assert raw.index(b'"status"') < raw.index(b'"protocol_min"')
