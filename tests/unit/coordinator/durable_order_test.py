"""Nothing is acknowledged before it is on disk: the order of flushes, renames and commits, as they happen.

One log for all: `os.fsync`, `os.replace` and `os.link` at the border to the file system, the steps of the database's
own disk, and the acknowledgement.
"""

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coordinator.cli.main import main
from coordinator.models.catalogue import ECHO, publish
from coordinator.models.folder import inspect_model
from coordinator.state.blobs import BlobStore
from coordinator.state.folder import StateFolder
from gogrid.files import write_whole
from gogrid.identity import create_identity, issue_leaf, save_identity, save_leaf
from gogrid.ids import Sha256
from gogrid.protocol.tasks import InputFile, PythonTask
from tests.conformance.store_values import make_job
from tests.fakes.faulty_store import new_disk, store_on
from tests.fakes.model_folders import chat_folder
from tests.fakes.power_disk import Disk

NOW = datetime(2026, 11, 22, tzinfo=UTC)


class Log:
    """What reached the disk, in order: `flush a/b`, `name a/b`, `database …`, `acknowledged`; paths below `root`."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.entries: list[str] = []
        self._root = root
        fsync, replace_, link = os.fsync, os.replace, os.link

        def flush(handle: int) -> None:
            fsync(handle)
            self.entries.append(f"flush {self._shown(os.readlink(f'/proc/self/fd/{handle}'))}")

        def rename(source: Path, target: Path) -> None:
            replace_(source, target)
            self.entries.append(f"name {self._shown(target)}")

        def hard_link(source: Path, target: Path) -> None:
            link(source, target)
            self.entries.append(f"name {self._shown(target)}")

        patch.setattr(os, "fsync", flush)
        patch.setattr(os, "replace", rename)
        patch.setattr(os, "link", hard_link)

    def follow(self, disk: Disk) -> None:
        """Log the steps of the database's disk; before each flush the event loop may say what it has to say."""
        loop, here = asyncio.get_running_loop(), threading.get_ident()

        def step(_number: int, what: str, _name: str) -> None:
            elsewhere = threading.get_ident() != here  # closing the store flushes from the loop's own thread
            for _ in range(3 if what == "flush" and elsewhere else 0):
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(10)
            self.entries.append(f"database {what}")

        disk.before = step

    def acknowledge(self, what: object) -> None:
        del what
        self.entries.append("acknowledged")

    def named_after_flushed(self) -> list[str]:
        """The names given, each proved: something was flushed right before it, and its folder after it."""
        names = [
            (at, entry.removeprefix("name ")) for at, entry in enumerate(self.entries) if entry.startswith("name ")
        ]
        for at, name in names:
            assert self.entries[at - 1].startswith("flush "), self.entries
            assert f"flush {Path(name).parent}" in self.entries[at:], self.entries
        return [name for _, name in names]

    def _shown(self, path: Path | str) -> str:
        return str(Path(path).relative_to(self._root))


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to name what was flushed")
    return Log(tmp_path, monkeypatch)


async def chunks() -> AsyncIterator[bytes]:
    yield b"one"
    yield b"two"


def one_by_one(blobs: BlobStore, source: Path, how: str) -> Sha256:
    match how:
        case "put":
            return asyncio.run(blobs.put(chunks(), limit=99)).sha256
        case "put_bytes":
            return blobs.put_bytes(b"onetwo").sha256
        case "put_file":
            return blobs.put_file(source).sha256
        case _:
            expected = Sha256("25b6746d5172ed6352966a013d93ac846e1110d5a25e8f183b5931f4688842a1")
            return blobs.put_open(io.BytesIO(b"onetwo"), expected).sha256


@pytest.mark.parametrize("how", ["put", "put_bytes", "put_file", "put_open"])
def test_a_blob_is_flushed_then_named_then_its_folder_is_flushed(log: Log, tmp_path: Path, how: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"onetwo")
    blobs = BlobStore(tmp_path / "blobs")
    log.entries.clear()
    digest = one_by_one(blobs, source, how)
    log.acknowledge(digest)
    folder = f"blobs/{digest[:2]}"
    [temporary] = [entry for entry in log.entries if entry.startswith("flush blobs/tmp/")]
    assert sorted(log.entries[:2]) == sorted([temporary, "flush blobs"]), "the data, and the new folder's name"
    assert log.entries[2:] == [f"name {folder}/{digest}", f"flush {folder}", "acknowledged"]


def test_a_blob_that_is_there_is_sure_to_be_on_disk_before_it_counts(log: Log, tmp_path: Path) -> None:
    """Its writer may be between its name and its flush."""
    blobs = BlobStore(tmp_path / "blobs")
    digest = blobs.put_bytes(b"x").sha256
    log.entries.clear()
    log.acknowledge(blobs.put_bytes(b"x"))
    assert log.entries == [f"flush blobs/{digest[:2]}", "acknowledged"]


async def test_a_job_is_acknowledged_after_its_files_and_then_its_commit_are_on_disk(log: Log, tmp_path: Path) -> None:
    disk, blobs = new_disk(), BlobStore(tmp_path / "blobs")
    with store_on(disk) as store:
        await store.submit(make_job())  # the log of the database has begun
        log.entries.clear()
        log.follow(disk)
        stored = blobs.put_bytes(b"print()")
        task = PythonTask(files=(InputFile(name="a.py", sha256=stored.sha256, size=stored.size),), entry="a.py")
        log.acknowledge(await store.submit(replace(make_job(), task=task)))
        await store.close()
    assert len(log.named_after_flushed()) == 1
    before = log.entries[: log.entries.index("acknowledged")]
    assert before[-1] == "database flush", before
    last_file = max(at for at, entry in enumerate(before) if not entry.startswith("database"))
    assert last_file < before.index("database write")


async def test_every_operation_of_a_group_waits_for_the_flush(log: Log) -> None:
    disk = new_disk()
    with store_on(disk) as store:
        await store.submit(make_job())
        began, go = threading.Event(), threading.Event()

        def hold_up(_connection: object) -> None:
            began.set()
            go.wait(10)

        async def submit() -> None:
            log.acknowledge(await store.submit(make_job()))

        held_up = store._writer.submit(hold_up)
        await asyncio.to_thread(began.wait, 10)
        submitted = [asyncio.create_task(submit()) for _ in range(20)]
        await asyncio.sleep(0)  # all of them wait now: they are one group
        log.entries.clear()
        log.follow(disk)
        go.set()
        await asyncio.gather(held_up, *submitted)
        await store.close()
    written = False
    for entry in log.entries[: len(log.entries) - log.entries[::-1].index("acknowledged")]:
        assert not (entry == "acknowledged" and written), log.entries
        written = {"database write": True, "database flush": False}.get(entry, written)
    assert log.entries.count("acknowledged") == 20


async def test_a_model_has_its_name_after_every_file_of_it_is_on_disk(log: Log, tmp_path: Path) -> None:
    disk, blobs = new_disk(), BlobStore(tmp_path / "blobs")
    source = inspect_model(chat_folder(tmp_path / "model"))
    with store_on(disk) as store:
        log.entries.clear()
        log.follow(disk)
        record = publish(source, "smol", blobs, 1.0)
        await store.add_model(record)
        log.acknowledge(record)
        await store.close()
    assert len(log.named_after_flushed()) == len(source.files) + 1
    before = log.entries[: log.entries.index("acknowledged")]
    assert max(at for at, entry in enumerate(before) if entry.startswith("name")) < before.index("database write")
    assert before[-1] == "database flush"


def test_identity_and_keys_are_on_disk_when_they_are_saved(log: Log, tmp_path: Path) -> None:
    identity = create_identity("lab", NOW)
    save_identity(identity, tmp_path / "identity.key", tmp_path / "identity.pem")
    save_leaf(issue_leaf(identity, ["localhost"], NOW), tmp_path / "tls.pem", tmp_path / "tls.key")
    assert log.named_after_flushed() == ["identity.key", "identity.pem", "tls.key", "tls.pem"]


def test_a_new_folder_is_on_disk_before_what_is_in_it(log: Log, tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b" / "file", b"x", private=True, replace=False)
    assert [entry for entry in log.entries if not entry.startswith("flush a/b/.file")] == [
        "flush .", "flush a", "name a/b/file", "flush a/b",
    ]  # fmt: skip


def test_init_is_on_disk_before_the_folder_counts_as_a_coordinator(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unlink = Path.unlink

    def seen(path: Path, missing_ok: bool = False) -> None:
        if path.name == "init.unfinished":
            log.acknowledge(path)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", seen)
    assert main(["init", "--name", "lab", "--host", "grid.example.org", "--data", str(tmp_path / "state")]) == 0
    before = log.entries[: log.entries.index("acknowledged")]
    assert {"name state/identity.key", "name state/identity.pem", "name state/coordinator.toml"} <= set(before)
    assert before[-1] == "flush state"
    assert StateFolder(tmp_path / "state").initialised


def test_echo_has_no_files_but_a_manifest_on_disk(log: Log, tmp_path: Path) -> None:
    publish(ECHO, "echo", BlobStore(tmp_path / "blobs"), 1.0)
    assert len(log.named_after_flushed()) == 1
