"""Which worker the admin means by a name, after machines were shut out and came back under it."""

import asyncio
from pathlib import Path

import pytest

from coordinator.cli.main import main
from coordinator.config import DATA_VARIABLE
from coordinator.records import TokenRecord, WorkerRecord, WorkerStatus
from coordinator.state.folder import StateFolder
from coordinator.store.sqlite_store import SqliteStore
from gogrid.ids import WorkerId


class Admin:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder, self._capsys = folder, capsys

    def __call__(self, *words: str) -> tuple[int, str]:
        """Exit code, and what was said."""
        code = main(["--data", str(self._folder), *words])
        said = self._capsys.readouterr()
        return code, said.out + said.err

    def joined(self, *workers: tuple[str, WorkerStatus]) -> None:
        """All are called vm."""
        asyncio.run(self._join(workers))

    async def _join(self, workers: tuple[tuple[str, WorkerStatus], ...]) -> None:
        store = await SqliteStore.open(StateFolder(self._folder).database)
        await store.add_token(TokenRecord("t" * 16, b"p", "lab", 1.0, 2e9, len(workers), 0, False, False))
        for at, (name, status) in enumerate(workers):
            key = bytes([at]) * 32
            await store.redeem("t" * 16, WorkerRecord(WorkerId(name), "vm", key, status, False, 0, 1.0, "t" * 16), 5.0)
        await store.close()


@pytest.fixture
def admin(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Admin:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    made = Admin(tmp_path / "state", capsys)
    assert made("init", "--host", "grid.example.org")[0] == 0
    return made


GONE, HERE = WorkerStatus.REVOKED, WorkerStatus.APPROVED


def test_a_revoked_worker_does_not_stand_in_the_way_of_its_successor(admin: Admin) -> None:
    admin.joined(("wk_1old", GONE), ("wk_2old", GONE), ("wk_3new", HERE))
    assert admin("worker", "drain", "vm") == (0, "vm (wk_3new) is approved, drained now.\n")
    assert admin("worker", "undrain", "vm") == (0, "vm (wk_3new) is approved now.\n")
    assert admin("worker", "approve", "vm") == (0, "vm (wk_3new) was approved already.\n")
    assert admin("worker", "revoke", "vm") == (0, "vm (wk_3new) is revoked now.\n")
    said = "gogrid-coordinator: All 3 workers that are called vm were revoked; nothing was changed.\n"
    assert admin("worker", "drain", "vm") == (1, said)


def test_two_workers_that_are_not_revoked_are_told_apart_by_their_ids(admin: Admin) -> None:
    admin.joined(("wk_1old", GONE), ("wk_2new", HERE), ("wk_3new", HERE))
    said = "gogrid-coordinator: 2 workers are called vm; give the id: wk_2new, wk_3new.\n"
    assert admin("worker", "drain", "vm") == (1, said)


@pytest.mark.parametrize("given", ["vm", "wk_1old"])
@pytest.mark.parametrize("order", ["drain", "undrain", "approve", "release"])
def test_a_revoked_worker_takes_no_more_orders(admin: Admin, order: str, given: str) -> None:
    admin.joined(("wk_1old", GONE))
    said = "gogrid-coordinator: vm (wk_1old) was revoked; let it join again with a new token.\n"
    assert admin("worker", order, given) == (1, said)
    assert admin("worker", "revoke", given) == (0, "vm (wk_1old) was revoked already.\n")


@pytest.mark.parametrize("what", [("worker", "drain"), ("key", "revoke")], ids=["worker", "key"])
@pytest.mark.parametrize("given", ["", " "], ids=["empty", "blank"])
def test_an_empty_name_is_asked_for(admin: Admin, what: tuple[str, str], given: str) -> None:
    said = f"Give the {what[0]}'s name or id; `gogrid-coordinator {what[0]} list` shows them.\n"
    assert admin(*what, given) == (1, f"gogrid-coordinator: {said}")
