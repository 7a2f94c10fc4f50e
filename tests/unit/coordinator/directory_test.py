"""The directory follows the database, and says what changed for workers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.directory import Directory, DirectoryChange, plain_name
from coordinator.errors import KeyRefusedError, StoreUnavailableError, TokenRefusedError, UnknownModelError
from coordinator.records import KeyRecord, ModelKind, ModelRecord, Scope, TokenRecord, WorkerRecord, WorkerStatus
from coordinator.store.sqlite_store import SqliteStore
from gogrid.apikey import new_api_key
from gogrid.ids import JobId, Sha256

TOKEN = TokenRecord("t" * 16, b"p" * 32, "", 1.0, 1000.0, 9, 0, True, False)


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Another process's handle on the same database."""
    store = await SqliteStore.open(tmp_path / "x.db")
    await store.add_token(TOKEN)
    yield store
    await store.close()


@pytest.fixture
async def directory(admin: SqliteStore, tmp_path: Path) -> AsyncIterator[Directory]:
    store = await SqliteStore.open(tmp_path / "x.db")
    yield await Directory.load(store, lambda: 5.0)
    await store.close()


async def test_a_token_that_asks_for_approval_gives_a_pending_worker(directory: Directory) -> None:
    worker = await directory.redeem(TOKEN.id, b"w" * 32, "ann's box\n")
    assert (worker.status, worker.name) == (WorkerStatus.PENDING, "ann's-box-")
    assert directory.worker(worker.id) == worker
    with pytest.raises(TokenRefusedError):
        await directory.redeem("u" * 16, b"x" * 32, "box")


async def test_what_the_admin_changes_is_told_once(directory: Directory, admin: SqliteStore) -> None:
    changes: list[DirectoryChange] = []
    directory.subscribe(changes.append)
    worker = await directory.redeem(TOKEN.id, b"w" * 32, "box")
    directory.know_health(worker.id, (JobId("job_x"),), "it is sick")
    await directory.store_health(worker.id, (JobId("job_x"),), "it is sick")
    await directory.refresh()
    assert changes == []
    sick = directory.worker(worker.id)
    assert sick is not None
    assert (sick.crashed_jobs, sick.quarantined) == (("job_x",), "it is sick")
    for change, expected in (
        (admin.set_worker_status(worker.id, WorkerStatus.APPROVED), DirectoryChange(approved=(worker.id,))),
        (admin.set_worker_draining(worker.id, True), DirectoryChange(drained=(worker.id,))),
        (admin.set_worker_draining(worker.id, False), DirectoryChange(undrained=(worker.id,))),
        (admin.set_worker_health(worker.id, (), ""), DirectoryChange(released=(worker.id,))),
        (admin.set_worker_status(worker.id, WorkerStatus.REVOKED), DirectoryChange(revoked=(worker.id,))),
    ):
        await change
        await directory.refresh()
        await directory.refresh()
        assert changes == [expected]
        changes.clear()
    known = directory.worker(worker.id)
    assert known is not None
    assert known.status is WorkerStatus.REVOKED


async def test_keys_tokens_and_models_follow(directory: Directory, admin: SqliteStore) -> None:
    key = new_api_key()
    with pytest.raises(KeyRefusedError):
        directory.keyring.authenticate(key.text, 5.0)
    await admin.add_key(KeyRecord(key.id, "ann", key.secret_sha256, frozenset({Scope.ADMIN}), 1.0, None, False))
    await admin.add_model(ModelRecord("smol", Sha256("a" * 64), ModelKind.CHAT, "torch", 1, 1, 1, 0, 1.0))
    await admin.revoke_token(TOKEN.id)
    await directory.refresh()
    assert directory.keyring.authenticate(key.text, 5.0).name == "ann"
    assert [model.name for model in directory.catalogue.models()] == ["smol"]
    token = directory.token(TOKEN.id)
    assert token is not None
    assert token.revoked
    with pytest.raises(UnknownModelError, match="there is: smol"):
        directory.catalogue.model("other")
    with pytest.raises(UnknownModelError, match=r"did you mean smol\?"):
        directory.catalogue.model("SMOL")
    await admin.remove_model("smol")
    await directory.refresh()
    with pytest.raises(UnknownModelError, match="none was added yet: the admin adds one with"):
        directory.catalogue.model("smol")


async def test_session_epochs_grow(directory: Directory) -> None:
    worker = await directory.redeem(TOKEN.id, b"w" * 32, "box")
    assert [await directory.open_session(worker.id) for _ in range(2)] == [1, 2]
    known = directory.worker(worker.id)
    assert known is not None
    assert known.session_epoch == 2


async def test_a_worker_that_joins_during_a_reload_is_not_forgotten(tmp_path: Path) -> None:
    class Slow(SqliteStore):
        """Somebody joins between this store's reading and the directory's taking it over."""

        meanwhile: Directory | None = None
        joined: WorkerRecord | None = None

        async def models(self) -> list[ModelRecord]:
            if self.meanwhile is not None:
                meanwhile, self.meanwhile = self.meanwhile, None
                self.joined = await meanwhile.redeem(TOKEN.id, b"w" * 32, "box")
            return await super().models()

    store = await Slow.open(tmp_path / "x.db")
    assert isinstance(store, Slow)
    await store.add_token(TOKEN)
    directory = await Directory.load(store, lambda: 5.0)
    store.meanwhile = directory
    await directory.reload()
    assert store.joined is not None
    assert directory.worker(store.joined.id) == store.joined
    await store.close()


def test_names_are_plain_whatever_a_worker_says() -> None:
    assert plain_name("gpu-7.example.org") == "gpu-7.example.org"
    assert plain_name("\x1b[31mred\u202e") == "-[31mred-"
    assert plain_name("") == "worker"
    assert len(plain_name("a" * 500)) == 64


class _Gated(SqliteStore):
    """Reads its models when it may, and fails once if told to."""

    gate: asyncio.Event | None = None
    fails = False
    reads = 0

    async def models(self) -> list[ModelRecord]:
        self.reads += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            self.fails = False
            raise StoreUnavailableError("The database does not answer.")
        return await super().models()


@pytest.fixture
async def gated(admin: SqliteStore, tmp_path: Path) -> AsyncIterator[tuple[Directory, _Gated]]:
    store = await _Gated.open(tmp_path / "x.db")
    assert isinstance(store, _Gated)
    yield await Directory.load(store, lambda: 5.0), store
    await store.close()


async def test_a_refresh_during_anothers_reload_does_not_return_before_that_is_known(
    gated: tuple[Directory, _Gated], admin: SqliteStore
) -> None:
    directory, store = gated
    await admin.revoke_token(TOKEN.id)
    store.gate, store.reads = asyncio.Event(), 0
    both = [asyncio.create_task(directory.refresh()) for _ in range(2)]
    for _ in range(10):
        await asyncio.sleep(0)
        await store.changed_elsewhere()  # behind theirs, in the same queue
    assert not any(task.done() for task in both)
    store.gate.set()
    await asyncio.gather(*both)
    assert store.reads == 1
    token = directory.token(TOKEN.id)
    assert token is not None
    assert token.revoked


async def test_a_revocation_whose_reload_failed_is_taken_up_by_the_next_look(
    gated: tuple[Directory, _Gated], admin: SqliteStore
) -> None:
    directory, store = gated
    await admin.revoke_token(TOKEN.id)
    store.fails = True
    with pytest.raises(StoreUnavailableError):
        await directory.refresh()
    await directory.refresh()
    token = directory.token(TOKEN.id)
    assert token is not None
    assert token.revoked
