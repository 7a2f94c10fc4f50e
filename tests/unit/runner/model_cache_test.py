"""The model cache against a real HTTPS server: nothing wrong gets in, nothing is fetched twice, the cap holds."""

import asyncio
import hashlib
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gogrid.ids import Sha256
from gogrid.manifest import ModelFile, ModelManifest, digest_of, encode_manifest
from gogrid.protocol.job_messages import FailCode
from runner.errors import ModelError
from runner.models.blobs import Access, Blobs
from runner.models.cache import ModelCache
from runner.models.disk import ModelDisk, delete_tree
from tests.fakes.blob_server import BlobServer
from tests.fakes.no_room import no_room


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BlobServer]:
    folder = tmp_path / "server"
    folder.mkdir()
    with BlobServer(folder).running() as running:
        yield running


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "models"
    delete_tree(tmp_path / "models")


def offer(server: BlobServer, files: dict[str, bytes]) -> Sha256:
    """Put a model on the server; its digest."""
    entries = tuple(ModelFile(path, server.add(data), len(data)) for path, data in files.items())
    manifest = ModelManifest(
        kind="chat", engine="echo", format="none", context_length=100, width=0, memory_bytes=1, files=entries
    )
    return server.add(encode_manifest(manifest))


def open_cache(server: BlobServer, root: Path, cap: int = 10**9) -> ModelCache:
    ticks = iter(range(1_000_000_000, 2_000_000_000))
    blobs = Blobs(server.access, waits_s=(0.01, 0.01))
    cache = ModelCache(ModelDisk(root), blobs, cap, lambda: float(next(ticks)))
    cache.open()
    return cache


def ignore(_fraction: float) -> None:
    return


def gets(server: BlobServer) -> list[str]:
    return [name for method, name, _ in server.requests if method == "GET"]


async def test_a_model_arrives_as_a_read_only_folder(server: BlobServer, root: Path) -> None:
    digest = offer(server, {"config.json": b"{}", "sub/weights.safetensors": b"w" * 5000})
    cache = open_cache(server, root)
    folder = await cache.ensure(digest, ignore)
    assert (folder / "sub" / "weights.safetensors").read_bytes() == b"w" * 5000
    assert stat.S_IMODE((folder / "config.json").stat().st_mode) == 0o444
    assert stat.S_IMODE((folder / "sub").stat().st_mode) == 0o555
    assert cache.cached == (digest,)
    assert not list(root.rglob("*.part"))


async def test_a_cut_download_goes_on_where_it_stopped(server: BlobServer, root: Path) -> None:
    data = os.urandom(300_000)
    digest = offer(server, {"w.safetensors": data})
    cache = open_cache(server, root)
    await cache.manifest(digest)
    server.cut_after = 100_000
    folder = await cache.ensure(digest, ignore)
    assert (folder / "w.safetensors").read_bytes() == data
    assert [span for method, name, span in server.requests if name == digest_of(data)] == ["", "bytes=100000-"]


async def test_a_download_goes_on_after_the_worker_was_killed(server: BlobServer, root: Path) -> None:
    data = os.urandom(50_000)
    digest = offer(server, {"w.safetensors": data})
    cache = open_cache(server, root)
    (root / "blobs" / f"{digest_of(data)}.part").write_bytes(data[:20_000])
    folder = await cache.ensure(digest, ignore)
    assert (folder / "w.safetensors").read_bytes() == data
    assert server.requests[-1][2] == "bytes=20000-"


async def test_a_rotten_part_file_is_thrown_away_and_fetched_whole(server: BlobServer, root: Path) -> None:
    data = os.urandom(50_000)
    digest = offer(server, {"w.safetensors": data})
    cache = open_cache(server, root)
    (root / "blobs" / f"{digest_of(data)}.part").write_bytes(b"x" * 20_000)
    folder = await cache.ensure(digest, ignore)
    assert (folder / "w.safetensors").read_bytes() == data


async def test_wrong_bytes_are_refused(server: BlobServer, root: Path) -> None:
    digest = offer(server, {"w.safetensors": b"right bytes"})
    server.blobs[digest_of(b"right bytes")] = b"wrong bytes"
    cache = open_cache(server, root)
    with pytest.raises(ModelError, match="do not match its hash") as caught:
        await cache.ensure(digest, ignore)
    assert caught.value.code is FailCode.MODEL_UNUSABLE
    assert cache.cached == ()
    assert [path.name for path in (root / "blobs").iterdir()] == [digest]


async def test_more_bytes_than_promised_are_refused(server: BlobServer, root: Path) -> None:
    digest = offer(server, {"w.safetensors": b"short"})
    server.blobs[digest_of(b"short")] = b"short and much more"
    with pytest.raises(ModelError, match="longer than 5 B"):
        await open_cache(server, root).ensure(digest, ignore)


async def test_a_wrong_manifest_is_refused(server: BlobServer, root: Path) -> None:
    digest = server.add(b'{"files": [{"path": "../../etc/passwd"}]}')
    with pytest.raises(ModelError, match="not a model manifest"):
        await open_cache(server, root).manifest(digest)


async def test_another_coordinator_is_not_trusted(server: BlobServer, root: Path, tmp_path: Path) -> None:
    digest = offer(server, {"w.safetensors": b"w"})
    (tmp_path / "other").mkdir()
    with BlobServer(tmp_path / "other").running() as other:
        blobs = Blobs(lambda: Access("127.0.0.1", server.port, "t", other.trust), waits_s=())
        cache = ModelCache(ModelDisk(root), blobs, 10**9, lambda: 1e9)
        cache.open()
        with pytest.raises(ModelError, match=r"(?i)certificate verify failed"):
            await cache.manifest(digest)
    assert server.requests == []


async def test_two_requests_share_one_download(server: BlobServer, root: Path) -> None:
    data = b"w" * 100_000
    digest = offer(server, {"w.safetensors": data})
    cache = open_cache(server, root)
    seen: tuple[list[float], list[float]] = ([], [])
    folders = await asyncio.gather(*(cache.ensure(digest, told.append) for told in seen))
    assert folders[0] == folders[1]
    assert gets(server) == [digest, digest_of(data)]
    assert all(seen)


async def test_the_download_goes_on_when_who_asked_first_gives_up(server: BlobServer, root: Path) -> None:
    digest = offer(server, {"w.safetensors": b"w" * 1000})
    cache = open_cache(server, root)
    await cache.manifest(digest)
    server.hold = threading.Event()
    first = asyncio.create_task(cache.ensure(digest, ignore))
    second = asyncio.create_task(cache.ensure(digest, ignore))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    server.hold.set()
    assert (await second).is_dir()
    assert first.cancelled()


async def test_a_changed_cached_file_is_fetched_again(server: BlobServer, root: Path) -> None:
    data = b"good weights"
    digest = offer(server, {"w.safetensors": data, "config.json": b"{}"})
    folder = await open_cache(server, root).ensure(digest, ignore)
    weights = folder / "w.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"evil weights")
    again = open_cache(server, root)
    assert again.cached == ()
    assert ((await again.ensure(digest, ignore)) / "w.safetensors").read_bytes() == data
    assert gets(server).count(digest_of(data)) == 2
    assert gets(server).count(digest_of(b"{}")) == 1


async def test_damage_that_keeps_the_seal_is_found_by_a_recheck(server: BlobServer, root: Path) -> None:
    data = b"good weights"
    digest = offer(server, {"w.safetensors": data})
    cache = open_cache(server, root)
    blob = (await cache.ensure(digest, ignore)) / "w.safetensors"
    before = blob.stat()
    blob.chmod(0o644)
    blob.write_bytes(b"rotted bytes")
    blob.chmod(0o444)
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await cache.recheck(digest) is False
    assert cache.cached == ()
    assert ((await cache.ensure(digest, ignore)) / "w.safetensors").read_bytes() == data
    assert await cache.recheck(digest) is True


async def test_the_disk_cap_evicts_the_longest_unused_model(server: BlobServer, root: Path) -> None:
    old, mid, new = (offer(server, {"w.safetensors": letter * 1000}) for letter in (b"a", b"b", b"c"))
    cache = open_cache(server, root, cap=2500)
    await cache.ensure(old, ignore)
    await cache.ensure(mid, ignore)
    await cache.ensure(old, ignore)
    await cache.ensure(new, ignore)
    assert set(cache.cached) == {old, new}
    assert not (root / "blobs" / digest_of(b"b" * 1000)).exists()
    assert set(open_cache(server, root, cap=2500).cached) == {old, new}


async def test_a_model_in_use_is_not_evicted(server: BlobServer, root: Path) -> None:
    old, new = (offer(server, {"w.safetensors": letter * 1000}) for letter in (b"a", b"c"))
    cache = open_cache(server, root, cap=1500)
    with cache.pinned(old):
        await cache.ensure(old, ignore)
        with pytest.raises(ModelError, match=r"worker\.disk_cap") as caught:
            await cache.ensure(new, ignore)
    assert caught.value.code is FailCode.NO_ROOM
    await cache.ensure(new, ignore)
    assert cache.cached == (new,)


async def test_a_file_shared_by_two_models_stays_with_the_other(server: BlobServer, root: Path) -> None:
    shared = b"tokenizer" * 100
    old = offer(server, {"tokenizer.json": shared, "w.safetensors": b"a" * 1000})
    kept = offer(server, {"tokenizer.json": shared, "w.safetensors": b"b" * 1000})
    new = offer(server, {"w.safetensors": b"c" * 1000})
    cache = open_cache(server, root, cap=3500)
    await cache.ensure(old, ignore)
    await cache.ensure(kept, ignore)
    await cache.ensure(new, ignore)
    assert set(cache.cached) == {kept, new}
    assert (root / "views" / kept / "tokenizer.json").read_bytes() == shared
    await cache.ensure(offer(server, {"tokenizer.json": shared}), ignore)
    assert gets(server).count(digest_of(shared)) == 1


async def test_a_file_the_coordinator_no_longer_has_is_said_so(server: BlobServer, root: Path) -> None:
    with pytest.raises(ModelError, match="no longer has"):
        await open_cache(server, root).manifest(Sha256(hashlib.sha256(b"gone").hexdigest()))


async def test_without_a_session_the_fetch_ends_with_words(root: Path) -> None:
    blobs = Blobs(lambda: None, waits_s=(0.01,), patience_s=0.0)
    cache = ModelCache(ModelDisk(root), blobs, 10**9, lambda: 1e9)
    cache.open()
    with pytest.raises(ModelError, match="no connection to the coordinator"):
        await cache.manifest(Sha256("0" * 64))


async def test_an_upload_waits_for_the_next_session_and_its_ticket(server: BlobServer, tmp_path: Path) -> None:
    (tmp_path / "out.bin").write_bytes(b"result")
    asked: list[None] = []

    def no_session_at_first() -> Access | None:
        asked.append(None)
        return None if len(asked) < 3 else server.access()

    await Blobs(no_session_at_first, waits_s=()).store(digest_of(b"result"), tmp_path / "out.bin")
    assert server.stored == {digest_of(b"result"): b"result"}


async def test_an_output_file_is_stored_under_its_hash(server: BlobServer, tmp_path: Path) -> None:
    (tmp_path / "out.bin").write_bytes(b"result" * 1000)
    digest = digest_of(b"result" * 1000)
    await Blobs(server.access, waits_s=()).store(digest, tmp_path / "out.bin")
    assert server.stored == {digest: b"result" * 1000}


@pytest.mark.skipif(sys.platform == "win32", reason="limits of Unix")
async def test_a_disk_without_room_for_a_manifest_sends_the_job_elsewhere_and_says_why(
    server: BlobServer, root: Path
) -> None:
    digest = offer(server, {"w.safetensors": b"w" * 100})
    cache = open_cache(server, root)
    with no_room(), pytest.raises(ModelError, match="disk cannot keep") as caught:
        await cache.manifest(digest)
    assert caught.value.code is FailCode.NO_ROOM
    with_room = await cache.ensure(digest, ignore)
    assert (with_room / "w.safetensors").read_bytes() == b"w" * 100


@pytest.mark.skipif(sys.platform == "win32", reason="limits of Unix")
async def test_a_disk_without_room_for_a_models_files_sends_the_job_elsewhere(server: BlobServer, root: Path) -> None:
    digest = offer(server, {"w.safetensors": b"w" * 100})
    cache = open_cache(server, root)
    await cache.manifest(digest)
    with no_room(), pytest.raises(ModelError, match="disk cannot keep") as caught:
        await cache.ensure(digest, ignore)
    assert caught.value.code is FailCode.NO_ROOM


async def test_a_cache_folder_that_went_wrong_is_a_failure_in_words(server: BlobServer, root: Path) -> None:
    digest = offer(server, {"w.safetensors": b"w"})
    cache = open_cache(server, root)
    (root / "blobs" / digest).mkdir()
    (root / "blobs" / digest / "inside").touch()
    with pytest.raises(ModelError, match="disk cannot keep the manifest") as caught:
        await cache.manifest(digest)
    assert caught.value.code is FailCode.NO_ROOM


@pytest.mark.skipif(sys.platform == "win32", reason="limits of Unix")
async def test_a_disk_without_room_for_a_scripts_file_sends_the_job_elsewhere(
    server: BlobServer, tmp_path: Path
) -> None:
    blobs, digest = Blobs(server.access, waits_s=()), server.add(b"input of a script")
    with no_room(), pytest.raises(ModelError, match="disk cannot keep the file") as caught:
        await blobs.fetch(digest, tmp_path / "input", max_size=17, exact=True, moved=lambda _count: None, lasting=False)
    assert caught.value.code is FailCode.NO_ROOM
