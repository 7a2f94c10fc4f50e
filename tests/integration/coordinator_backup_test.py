"""Backups under load, and what a restored coordinator knows and no longer believes (R23)."""

import asyncio
import hashlib
import io
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.cli.main import main
from coordinator.errors import StateError, TokenRefusedError
from coordinator.models.catalogue import ECHO, publish
from coordinator.records import Completion, JobState
from coordinator.state import backup
from coordinator.state.blobs import BlobStore
from coordinator.state.folder import StateFolder
from coordinator.store import schema, sqlite
from coordinator.store.sqlite_store import SqliteStore
from gogrid.ids import JobId
from gogrid.protocol.tasks import InputFile, PythonTask
from tests.conformance.store_values import ANNA, DONE, make_job, make_token, make_worker

NOW = 1_800_000_000.0
_SUBMIT_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from coordinator.state.blobs import BlobStore
from coordinator.store.sqlite_store import SqliteStore
from gogrid.protocol.tasks import InputFile, PythonTask
from dataclasses import replace
from tests.conformance.store_values import make_job
data = Path(sys.argv[1])
async def client(store, blobs, number):
    turn = 0
    while True:
        turn += 1
        stored = await asyncio.to_thread(blobs.put_bytes, f"{number} {turn}".encode())
        task = PythonTask(files=(InputFile(name="a.py", sha256=stored.sha256, size=stored.size),), entry="a.py")
        job, _ = await store.submit(replace(make_job(), task=task))
        print(job.id, flush=True)
async def main():
    store = await SqliteStore.open(data / "coordinator.db")
    await asyncio.gather(*(client(store, BlobStore(data / "blobs"), number) for number in range(8)))
asyncio.run(main())
"""


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> StateFolder:
    assert main(["init", "--name", "lab", "--host", "grid.example.org", "--data", str(tmp_path / "state")]) == 0
    capsys.readouterr()
    return StateFolder(tmp_path / "state")


def restored(made: Path, tmp_path: Path, now: float = NOW) -> StateFolder:
    folder = StateFolder(tmp_path / f"restored-{time.monotonic_ns()}")
    backup.restore(made, folder, now)
    return folder


def jobs_of(folder: StateFolder) -> dict[str, tuple[str, int]]:
    with closing(sqlite3.connect(folder.database)) as database:
        return {job: (state, epoch) for job, state, epoch in database.execute("SELECT id, state, epoch FROM job")}


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_a_backup_under_load_has_every_job_acknowledged_before_it_began_with_its_files(
    folder: StateFolder, tmp_path: Path, name: str
) -> None:
    command = [sys.executable, "-c", _SUBMIT_FOR_EVER, str(folder.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        before = [process.stdout.readline().strip() for _ in range(200)]
        made = backup.make(folder, tmp_path / name, with_blobs=True, now=NOW)
        during = [process.stdout.readline().strip() for _ in range(50)]
        process.kill()
    again = restored(made.path, tmp_path)
    found = jobs_of(again)
    assert set(before) <= set(found)
    assert during
    assert made.manifest.missing == []

    async def inputs() -> list[str]:
        store = await SqliteStore.open(again.database)
        jobs = [await store.job(JobId(job)) for job in found]
        await store.close()
        return [file.sha256 for job in jobs if job and isinstance(job.task, PythonTask) for file in job.task.files]

    digests = asyncio.run(inputs())
    blobs = BlobStore(again.blobs)
    assert len(digests) == len(found)
    for digest in digests:
        with blobs.open(digest) as file:
            assert hashlib.sha256(file.read()).hexdigest() == digest
    assert (again.identity_key.read_bytes(), again.config_file.read_bytes()) == (
        folder.identity_key.read_bytes(),
        folder.config_file.read_bytes(),
    )
    again.require()


async def test_what_was_handed_out_before_a_restore_is_void(folder: StateFolder, tmp_path: Path) -> None:
    store = await SqliteStore.open(folder.database)
    await store.add_token(make_token("u" * 16, uses=1, expires_at=2 * NOW))
    await store.add_token(make_token("t" * 16, uses=2, expires_at=2 * NOW))
    worker = await store.redeem("u" * 16, make_worker(token_id="u" * 16), NOW)
    await store.open_session(worker.id)
    held, ended = make_job(), make_job()
    for job in (held, ended):
        await store.submit(job)
    epoch = await store.claim(held.id, ANNA)
    epoch_of_ended = await store.claim(ended.id, ANNA)
    assert epoch is not None
    assert epoch_of_ended is not None
    await store.complete(ended.id, epoch_of_ended, ANNA, DONE, NOW)
    made = backup.make(folder, tmp_path / "b", with_blobs=True, now=NOW).path
    for _ in range(5):
        last_session = await store.open_session(worker.id)
    await store.close()

    again = await SqliteStore.open(restored(made, tmp_path).database)
    assert await again.open_session(worker.id) > last_session + 1_000_000
    assert await again.complete(held.id, epoch, ANNA, DONE, NOW) is Completion.FENCED
    waiting = await again.job(held.id)
    assert waiting is not None
    assert (waiting.state, waiting.worker) == (JobState.QUEUED, None)
    new_epoch = await again.claim(held.id, ANNA)
    assert new_epoch is not None
    assert epoch + 1_000_000 < new_epoch < 1 << 29
    assert await again.complete(held.id, epoch, ANNA, DONE, NOW) is Completion.FENCED
    kept = await again.job(ended.id)
    assert kept is not None
    assert (kept.state, kept.epoch, kept.outcome) == (JobState.DONE, epoch_of_ended, DONE)
    with pytest.raises(TokenRefusedError, match="revoked"):
        await again.redeem("t" * 16, make_worker(b"x" * 32), NOW)
    with pytest.raises(TokenRefusedError, match="used up"):
        await again.redeem("u" * 16, make_worker(b"y" * 32, token_id="u" * 16), NOW)
    await again.close()


async def test_a_second_restore_of_one_backup_is_above_the_first(folder: StateFolder, tmp_path: Path) -> None:
    store = await SqliteStore.open(folder.database)
    job = make_job()
    await store.submit(job)
    await store.close()
    made = backup.make(folder, tmp_path / "b", with_blobs=True, now=NOW).path
    first, second = restored(made, tmp_path, NOW), restored(made, tmp_path, NOW + 60)
    assert jobs_of(first)[job.id][1] < jobs_of(second)[job.id][1]


@pytest.mark.parametrize("name", ["b", "b.tar"])
def test_a_backup_is_its_owners_only_and_says_what_it_holds(
    folder: StateFolder, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backup", "--data", str(folder.root), "--to", str(tmp_path / name), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "identity key" in told["warning"]
    made = tmp_path / name
    for path in [made, *made.rglob("*")] if made.is_dir() else [made]:
        if not path.is_relative_to(made / "blobs"):  # inside a folder that nobody else may enter
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "state"]), "nothing half-made is left"


def test_a_backup_never_replaces_anything(folder: StateFolder, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(b"mine")
    with pytest.raises(StateError, match="is there already"):
        backup.make(folder, tmp_path / "b.tar", with_blobs=True, now=NOW)
    inside = backup.make(folder, tmp_path, with_blobs=True, now=NOW).path
    assert inside.parent == tmp_path
    with pytest.raises(StateError, match="is there already"):
        backup.make(folder, tmp_path, with_blobs=True, now=NOW)
    assert (tmp_path / "b.tar").read_bytes() == b"mine"


def test_a_damaged_database_is_not_backed_up(folder: StateFolder, tmp_path: Path) -> None:
    content = bytearray(folder.database.read_bytes())
    content[4096 * 3 : 4096 * 4] = b"\xff" * 4096
    folder.database.write_bytes(bytes(content))
    with pytest.raises(StateError):
        backup.make(folder, tmp_path / "b", with_blobs=True, now=NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_without_blobs_only_the_small_files_are_there(folder: StateFolder, tmp_path: Path) -> None:
    publish(ECHO, "echo", BlobStore(folder.blobs), NOW)
    made = backup.make(folder, tmp_path / "b", with_blobs=False, now=NOW)
    assert sorted(path.name for path in made.path.iterdir()) == [
        "backup.json", "coordinator.db", "coordinator.toml", "identity.key", "identity.pem",
    ]  # fmt: skip
    assert restored(made.path, tmp_path).initialised


async def test_a_blob_that_is_gone_is_told_and_holds_nothing_up(folder: StateFolder, tmp_path: Path) -> None:
    store = await SqliteStore.open(folder.database)
    gone = BlobStore(folder.blobs).put_bytes(b"gone")
    task = PythonTask(files=(InputFile(name="a.py", sha256=gone.sha256, size=gone.size),), entry="a.py")
    await store.submit(replace(make_job(), task=task))
    await store.close()
    BlobStore(folder.blobs).delete(gone.sha256)
    made = backup.make(folder, tmp_path / "b", with_blobs=True, now=NOW)
    assert made.manifest.missing == [gone.sha256]
    again = backup.restore(made.path, StateFolder(tmp_path / "again"), NOW)
    assert again.missing == [gone.sha256]


def test_a_restore_without_blobs_says_how_many_files_are_missing(
    folder: StateFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "add", "--engine", "echo", "--data", str(folder.root)]) == 0
    made = backup.make(folder, tmp_path / "b", with_blobs=False, now=NOW).path
    capsys.readouterr()
    assert main(["restore", str(made), "--data", str(tmp_path / "new")]) == 0
    assert "at least 1 are missing now" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("place", "why"), [("", "--to is empty"), ("state", "own folder"), ("state/blobs/x.tar", "own folder")]
)
def test_a_backup_to_nowhere_or_into_the_coordinators_own_folder_is_refused(
    folder: StateFolder,
    tmp_path: Path,
    place: str,
    why: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = sorted(tmp_path.rglob("*"))
    assert main(["backup", "--data", str(folder.root), "--to", str(tmp_path / place) if place else ""]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert why in said
    assert sorted(tmp_path.rglob("*")) == before


def test_a_backup_through_a_link_into_the_coordinators_files_is_refused(folder: StateFolder, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    shutil.rmtree(folder.blobs, ignore_errors=True)
    folder.blobs.symlink_to(tmp_path / "disk")
    (tmp_path / "way").symlink_to(folder.root)
    for place in (tmp_path / "disk" / "b.tar", tmp_path / "way" / "b.tar"):
        with pytest.raises(StateError, match="own folder"):
            backup.make(folder, place, with_blobs=True, now=NOW)


@pytest.mark.timeout(60)
def test_a_pipe_in_place_of_an_archive_holds_nothing_up(folder: StateFolder, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "b.tar")
    with pytest.raises(StateError, match="neither a folder nor a file"):
        restored(tmp_path / "b.tar", tmp_path)


def damage_blob(made: Path) -> None:
    blob = next(path for path in made.rglob("*") if path.parent.parent.name == "blobs")
    blob.unlink()  # it may be a hard link
    blob.write_bytes(b"other")


def remove_blob(made: Path) -> None:
    next(path for path in made.rglob("*") if path.parent.parent.name == "blobs").unlink()


def damage_database(made: Path) -> None:
    (made / "coordinator.db").write_bytes((made / "coordinator.db").read_bytes()[:-1] + b"\x01")


def link_key(made: Path) -> None:
    (made / "identity.key").rename(made.parent / "elsewhere")
    (made / "identity.key").symlink_to(made.parent / "elsewhere")


def newer(made: Path) -> None:
    with closing(sqlite3.connect(made / "coordinator.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    manifest = json.loads((made / "backup.json").read_text())
    manifest["files"]["coordinator.db"] = hashlib.sha256((made / "coordinator.db").read_bytes()).hexdigest()
    (made / "backup.json").write_text(json.dumps(manifest))


def add_blob(made: Path) -> None:
    digest = hashlib.sha256(b"another").hexdigest()
    (made / "blobs" / digest[:2]).mkdir(exist_ok=True)
    (made / "blobs" / digest[:2] / digest).write_bytes(b"another")


def replace_blob(made: Path) -> None:
    remove_blob(made)
    add_blob(made)


def pipe_for(name: str) -> Callable[[Path], None]:
    def harm(made: Path) -> None:
        (made / name).unlink()
        os.mkfifo(made / name)

    return harm


def pipe_for_blob(made: Path) -> None:
    blob = next(path for path in made.rglob("*") if path.parent.parent.name == "blobs")
    pipe_for(str(blob.relative_to(made)))(made)


def say(**values: float) -> Callable[[Path], None]:
    def harm(made: Path) -> None:
        manifest = json.loads((made / "backup.json").read_text())
        (made / "backup.json").write_text(json.dumps(manifest | values))

    return harm


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (say(made_at=1e300), "made_at"),
        (say(made_at=-1e12), "made_at"),
        (say(blobs=-1), "$.blobs"),
        (say(blobs=0), "holds 1 files of models and jobs, 0 when it was made"),
        (add_blob, "holds 2 files of models and jobs, 1 when it was made"),
        (replace_blob, "1 files that models or jobs name are missing"),
        (pipe_for("identity.pem"), "a pipe"),
        (pipe_for("backup.json"), "a pipe"),
        (pipe_for_blob, "a pipe"),
        (damage_blob, "damaged"),
        (remove_blob, "missing"),
        (damage_database, "damaged"),
        (link_key, "link"),
        (newer, "newer GoGrid"),
        (lambda made: (made / "backup.json").unlink(), "no backup"),
        (lambda made: (made / "identity.pem").unlink(), "missing"),
    ],
)
def test_a_harmed_backup_is_refused_and_leaves_an_empty_folder(
    folder: StateFolder, tmp_path: Path, harm: object, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "add", "--engine", "echo", "--data", str(folder.root)]) == 0
    made = backup.make(folder, tmp_path / "b", with_blobs=True, now=NOW).path
    assert callable(harm)
    harm(made)
    capsys.readouterr()
    assert main(["restore", str(made), "--data", str(tmp_path / "new")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert why in said
    assert not (tmp_path / "new").exists() or list((tmp_path / "new").iterdir()) == []


def test_a_cut_off_archive_is_refused(folder: StateFolder, tmp_path: Path) -> None:
    made = backup.make(folder, tmp_path / "b.tar", with_blobs=True, now=NOW).path
    (tmp_path / "cut.tar").write_bytes(made.read_bytes()[:3000])
    with pytest.raises(StateError):
        restored(tmp_path / "cut.tar", tmp_path)


def test_an_archive_cannot_write_elsewhere(folder: StateFolder, tmp_path: Path) -> None:
    made = backup.make(folder, tmp_path / "b.tar", with_blobs=True, now=NOW).path
    with tarfile.open(made, "a") as archive:
        for name in ("../escaped", "/escaped", "blobs/../../escaped", "serve.lock.d/x"):
            entry = tarfile.TarInfo(name)
            entry.size = 1
            archive.addfile(entry, io.BytesIO(b"x"))
    again = restored(made, tmp_path)
    assert not any("escaped" in path.name for path in tmp_path.rglob("*"))
    assert not (again.root / "serve.lock.d").exists()


def test_a_folder_that_holds_something_is_refused_and_unchanged(folder: StateFolder, tmp_path: Path) -> None:
    made = backup.make(folder, tmp_path / "b", with_blobs=True, now=NOW).path
    key = folder.identity_key.read_bytes()
    with pytest.raises(StateError, match="already holds"):
        backup.restore(made, folder, NOW)
    assert folder.identity_key.read_bytes() == key


def test_a_restore_that_was_killed_can_be_done_again(folder: StateFolder, tmp_path: Path) -> None:
    made = backup.make(folder, tmp_path / "b", with_blobs=True, now=NOW).path
    half = StateFolder(tmp_path / "half")
    half.begin()
    half.identity_key.write_bytes(b"half")
    BlobStore(half.blobs).put_bytes(b"x")
    assert not half.initialised
    backup.restore(made, half, NOW)
    half.require()


def test_the_copy_has_this_programs_schema_whatever_the_original_has(folder: StateFolder, tmp_path: Path) -> None:
    made = backup.make(folder, tmp_path / "b", with_blobs=True, now=NOW).path
    engine = sqlite.write_engine(made / "coordinator.db")
    with engine.connect() as connection:
        assert schema._revision(connection) == schema.HEAD
    engine.dispose()


def test_a_restored_coordinator_serves(folder: StateFolder, tmp_path: Path) -> None:
    again = restored(backup.make(folder, tmp_path / "b", with_blobs=True, now=NOW).path, tmp_path, time.time())
    command = [sys.executable, "-m", "coordinator.cli.main", "serve", "--data", str(again.root), "--listen"]
    with subprocess.Popen(
        [*command, "127.0.0.1:0"], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        assert process.stdout is not None
        assert "is ready on" in process.stdout.readline()
        process.terminate()
        assert process.wait(20) == 0
