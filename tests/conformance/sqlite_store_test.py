"""The SQLite store keeps every promise of `Store`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.store.sqlite_store import SqliteStore
from tests.conformance.job_lists_suite import JobListSuite
from tests.conformance.store_suite import StoreSuite
from tests.conformance.store_values import Reopen


@pytest.fixture
async def reopen(tmp_path: Path) -> AsyncIterator[Reopen]:
    opened: list[SqliteStore] = []

    async def another() -> SqliteStore:
        opened.append(await SqliteStore.open(tmp_path / "coordinator.db"))
        return opened[-1]

    yield another
    for store in opened:
        await store.close()


@pytest.fixture
async def store(reopen: Reopen) -> object:
    return await reopen()


class TestSqliteStore(StoreSuite, JobListSuite):
    pass
