"""Group commit: who is answered, when, and what becomes of the neighbours of a failure."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from coordinator.errors import NotFoundError, StateError, StorageFullError
from coordinator.store import sqlite
from coordinator.store.writer import MAX_GROUP, Writer


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    engine = sqlite.write_engine(tmp_path / "x.db")
    made = Writer(engine)
    await made.submit(lambda connection: connection.exec_driver_sql("CREATE TABLE t (n INTEGER UNIQUE, b BLOB) STRICT"))
    yield made
    await made.close()
    engine.dispose()


def put(number: int, size: int = 0) -> object:
    def work(connection: sa.Connection) -> int:
        connection.exec_driver_sql("INSERT INTO t VALUES (?, zeroblob(?))", (number, size))
        return number

    return work


def limit_pages(connection: sa.Connection, pages: int) -> None:
    """A full disk, as SQLite sees it."""
    connection.connection.driver_connection.execute(f"PRAGMA max_page_count = {pages}")


def on_disk(tmp_path: Path) -> list[int]:
    with sqlite3.connect(tmp_path / "x.db") as other:
        rows = [row[0] for row in other.execute("SELECT n FROM t ORDER BY rowid")]
    other.close()
    return rows


async def test_what_is_answered_is_on_disk_in_the_order_given(writer: Writer, tmp_path: Path) -> None:
    numbers = list(range(3 * MAX_GROUP))
    assert await asyncio.gather(*(writer.submit(put(number)) for number in numbers)) == numbers
    assert on_disk(tmp_path) == numbers


async def test_one_that_fails_does_not_undo_its_neighbours(writer: Writer, tmp_path: Path) -> None:
    def refuse(connection: sa.Connection) -> None:
        put(99)(connection)
        raise NotFoundError("no such thing")

    results = await asyncio.gather(
        *(writer.submit(work) for work in (put(1), refuse, put(2), put(1), put(3))), return_exceptions=True
    )
    assert [results[0], results[2], results[4]] == [1, 2, 3]
    assert isinstance(results[1], NotFoundError)
    assert isinstance(results[3], StateError)
    assert on_disk(tmp_path) == [1, 2, 3]


async def test_on_a_full_disk_nothing_is_answered_that_is_not_there(writer: Writer, tmp_path: Path) -> None:
    await writer.peek(lambda connection: limit_pages(connection, 40))
    results = await asyncio.gather(*(writer.submit(put(number, 9000)) for number in range(60)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, StorageFullError)]
    assert refused
    assert writer.trouble == str(refused[0]) == "The coordinator's disk is full: free some space and try again."
    assert on_disk(tmp_path) == [result for result in results if isinstance(result, int)]
    await writer.peek(lambda connection: limit_pages(connection, 100_000))
    assert await writer.submit(put(1000)) == 1000
    assert writer.trouble == ""


async def test_if_the_transaction_is_lost_the_whole_group_fails(writer: Writer, tmp_path: Path) -> None:
    def lose(connection: sa.Connection) -> None:
        connection.connection.driver_connection.execute("ROLLBACK")
        raise NotFoundError("gone")

    together = [writer.submit(work) for work in (put(0), put(1), lose, put(2))]
    results = await asyncio.gather(*together, return_exceptions=True)
    assert on_disk(tmp_path) == [result for result in results if isinstance(result, int)]
    assert isinstance(results[2], Exception)


async def test_a_caller_that_gave_up_hurts_nobody(writer: Writer, tmp_path: Path) -> None:
    given_up, kept = writer.submit(put(1)), writer.submit(put(2))
    given_up.cancel()
    assert await kept == 2
    assert on_disk(tmp_path) == [1, 2]


async def test_a_closed_writer_says_so(writer: Writer) -> None:
    await writer.close()
    with pytest.raises(StateError, match="closed"):
        writer.submit(put(1))
