"""`/blobs/…`: workers fetch with resume, store what their job may leave, and nothing else."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from coordinator.http.app import create_app
from tests.fakes.backend import TICKET, Backend

DATA = bytes(range(256)) * 4096  # 1 MiB, several pieces
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    made = Backend(tmp_path)
    made.blobs.put_bytes(DATA)
    made.live.fetchable.add(DIGEST)
    return made


@pytest.fixture
async def http(backend: Backend) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(backend.services))
    headers = {"authorization": f"Bearer {TICKET}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        yield client


async def test_a_blob_comes_whole_with_its_hash_as_etag(http):
    reply = await http.get(f"/blobs/{DIGEST}")
    assert reply.content == DATA
    assert (reply.headers["etag"], reply.headers["accept-ranges"]) == (f'"{DIGEST}"', "bytes")
    head = await http.head(f"/blobs/{DIGEST}")
    assert (head.headers["content-length"], head.content) == (str(len(DATA)), b"")
    fresh = await http.get(f"/blobs/{DIGEST}", headers={"if-none-match": f'"{DIGEST}"'})
    assert fresh.status_code == 304


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=500000-", 500_000, len(DATA)),
        ("bytes=-5", len(DATA) - 5, len(DATA)),
        ("bytes=5-9999999", 5, len(DATA)),
    ],
)
async def test_a_cut_download_resumes(http, asked, begin, end):
    reply = await http.get(f"/blobs/{DIGEST}", headers={"range": asked, "if-range": f'"{DIGEST}"'})
    assert reply.status_code == 206
    assert reply.content == DATA[begin:end]
    assert reply.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(DATA)}"


@pytest.mark.parametrize("asked", ["bytes=9-3", "bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=x"])
async def test_ranges_that_mean_nothing_give_the_whole(http, asked):
    reply = await http.get(f"/blobs/{DIGEST}", headers={"range": asked})
    assert (reply.status_code, len(reply.content)) == (200, len(DATA))


async def test_a_range_that_is_not_there_is_a_416(http):
    for asked in ("bytes=1048576-", "bytes=-0"):
        reply = await http.get(f"/blobs/{DIGEST}", headers={"range": asked})
        assert (reply.status_code, reply.headers["content-range"]) == (416, "bytes */1048576")


async def test_another_blob_than_before_is_sent_whole(http):
    reply = await http.get(f"/blobs/{DIGEST}", headers={"range": "bytes=5-", "if-range": '"other"'})
    assert (reply.status_code, len(reply.content)) == (200, len(DATA))


async def test_blobs_that_are_not_this_workers_look_like_none(http, backend):
    foreign = backend.blobs.put_bytes(b"somebody else's").sha256
    for digest in (foreign, "0" * 64, "%2e%2e", "AB" * 32, DIGEST + "/x"):
        assert (await http.get(f"/blobs/{digest}")).status_code == 404, digest


async def test_output_is_stored_under_its_hash_and_counted(http, backend):
    backend.live.room = 10
    digest = hashlib.sha256(b"output").hexdigest()
    reply = await http.put(f"/blobs/{digest}", content=b"output")
    assert reply.status_code == 201
    with backend.blobs.open(digest) as file:
        assert file.read() == b"output"
    assert backend.live.room == 4
    more = hashlib.sha256(b"again").hexdigest()
    assert (await http.put(f"/blobs/{more}", content=b"again")).status_code == 413
    assert backend.blobs.size(more) is None


async def test_output_sent_again_because_its_acknowledgement_was_lost_counts_once(http, backend):
    backend.live.room = 10
    digest = hashlib.sha256(b"output").hexdigest()
    for _ in range(3):
        assert (await http.put(f"/blobs/{digest}", content=b"output")).status_code == 201
    assert backend.live.room == 4


async def test_output_with_another_hash_is_refused_and_leaves_nothing(http, backend, tmp_path):
    backend.live.room = 10
    digest = hashlib.sha256(b"one").hexdigest()
    reply = await http.put(f"/blobs/{digest}", content=b"two")
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "hash_mismatch")
    assert backend.blobs.size(digest) is None
    assert list((tmp_path / "blobs" / "tmp").iterdir()) == []


async def test_a_worker_without_a_python_job_stores_nothing(http, backend):
    digest = hashlib.sha256(b"x").hexdigest()
    reply = await http.put(f"/blobs/{digest}", content=b"x")
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "no_output_expected")


async def test_size_is_checked_on_the_stream_not_on_what_the_header_says(http, backend):
    backend.live.room = 1000

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 600

    reply = await http.put(f"/blobs/{'0' * 64}", content=endless())
    assert reply.status_code == 413


async def test_the_smallest_model_that_can_chat_is_named_to_workers_alone(http, backend):
    reply = await http.get("/blobs/test-model")
    chats = [model for model in backend.catalogue.models() if model.kind.value == "chat"]
    smallest = min(chats, key=lambda model: model.memory_bytes)
    assert reply.json() == {"name": smallest.name, "digest": smallest.digest}
    assert (await http.get("/blobs/test-model", headers={"authorization": "Bearer nobody"})).status_code == 401
    assert (await http.put("/blobs/test-model", content=b"x")).status_code == 405
