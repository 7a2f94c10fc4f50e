"""When new work is refused for want of room: by the disk, after a failed write, and until it is over."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from coordinator.errors import StorageFullError
from coordinator.state.room import Room, disk_space
from coordinator.store.sqlite_store import SqliteStore
from gogrid.protocol.tasks import PythonTask
from tests.conformance.store_values import ANNA, DONE, make_job

MIB = 1 << 20


@pytest.mark.parametrize(
    ("total", "free", "size", "taken"),
    [
        (1000 << 30, 65 * MIB, 0, True),
        (1000 << 30, 64 * MIB, 0, True),
        (1000 << 30, 64 * MIB - 1, 0, False),
        (1000 << 30, 80 * MIB, 16 * MIB, True),
        (1000 << 30, 80 * MIB, 16 * MIB + 1, False),
        (8 * MIB, MIB // 2, 0, True),
        (8 * MIB, MIB // 2 - 1, 0, False),
    ],
)
def test_a_part_of_the_disk_is_kept(total: int, free: int, size: int, taken: bool) -> None:
    room = Room(Path("x"), lambda folder: (total, free))
    assert (room.shortage(size) == "") is taken
    if not taken:
        with pytest.raises(StorageFullError, match="free some space"):
            room.require(size)


def test_a_disk_that_cannot_be_asked_takes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageFullError, match="cannot be asked"):
        Room(tmp_path / "missing").require()


def test_the_real_disk_is_asked(tmp_path: Path) -> None:
    total, free = disk_space(tmp_path)
    assert 0 < free <= total


async def test_a_short_disk_refuses_new_jobs_and_lets_the_old_ones_end(tmp_path: Path) -> None:
    free = [1 << 40]
    store = await SqliteStore.open(tmp_path / "x.db", Room(tmp_path, lambda folder: (1 << 40, free[0])))
    job, _ = await store.submit(make_job())
    free[0] = 0
    assert "nearly full" in store.refusing()
    with pytest.raises(StorageFullError):
        await store.submit(make_job())
    store.record_request(make_job(), ANNA, DONE, 1.0)
    epoch = await store.claim(job.id, ANNA)
    assert epoch is not None
    await store.complete(job.id, epoch, ANNA, DONE, 2.0)
    await asyncio.sleep(0.1)  # longer than what is written behind waits otherwise
    assert len(await store.jobs(None, (), (), 9)) == 1, "history waits for room"
    free[0] = 1 << 40
    assert store.refusing() == ""
    await store.submit(make_job())
    await store.close()


async def test_after_a_full_disk_the_store_finds_out_by_itself_that_there_is_room(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "x.db")

    def limit(pages: int) -> object:
        def work(connection: sa.Connection) -> None:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        return store._writer.peek(work)

    await limit(1)
    big = replace(make_job(), label="x" * MIB)
    with pytest.raises(StorageFullError):
        await store.submit(big)
    assert "disk is full" in store.refusing()
    assert await store.job(big.id) is None, "reading goes on"
    await limit(1 << 30)
    for _ in range(300):
        if not store.refusing():
            break
        await asyncio.sleep(0.02)
    assert store.refusing() == ""
    assert isinstance((await store.submit(make_job()))[0].task, PythonTask)
    await store.close()
