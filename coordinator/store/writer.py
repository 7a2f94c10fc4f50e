"""The one thread that writes: many callers, one commit.

Promises: an operation's future is answered only after the transaction that holds it is on disk; operations take
effect in the order they were given; one that raises is undone alone and its neighbours stand. If the commit, or the
whole transaction, fails, every operation of the group fails: nothing is answered that is not on disk.

A group is what has come while the previous one was being committed, at most `MAX_GROUP`. When the last group had many
members, as many are waited for again, at most `GATHER_S`; a lonely operation never waits.

Almost no operation raises, so a group first runs as it is. Only when one raises is the whole transaction undone and
the group run again with a SAVEPOINT around each: that costs a third more a statement, and an operation may therefore
run twice, the first time without any effect. Operations do nothing but read and write the database.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from coordinator.errors import StateError, StorageFullError, StoreUnavailableError
from coordinator.store import sqlite

T = TypeVar("T")
MAX_GROUP = 256
GATHER_S = 0.002

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Operation:
    work: Callable[[sa.Connection], Any]
    future: "asyncio.Future[Any]"
    peek: bool
    """Reads the writer's own connection, outside any transaction."""
    result: Any = None
    error: Exception | None = None


class Writer:
    """Owns the writing connection; used from one event loop."""

    def __init__(self, engine: sa.Engine) -> None:
        self._connection = engine.connect()
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._closed = False
        self.trouble = ""
        """Why the disk would not take the last transaction, in a sentence; empty if it did."""
        self._thread.start()

    def submit(self, work: Callable[[sa.Connection], T]) -> "asyncio.Future[T]":
        """Run `work` in the next group.

        The future raises what `work` raised, or the `CoordinatorError` that `sqlite.in_our_words` makes of what the
        database did.
        """
        return self._enqueue(work, peek=False)

    def peek(self, work: Callable[[sa.Connection], T]) -> "asyncio.Future[T]":
        """Run `work`, which writes nothing, on the writing connection between two groups."""
        return self._enqueue(work, peek=True)

    async def close(self) -> None:
        """Finish what was submitted, then release the connection. Safe to call twice."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        with ThreadPoolExecutor(1, "store-closer") as waiter:
            await self._loop.run_in_executor(waiter, self._thread.join)

    def _enqueue(self, work: Callable[[sa.Connection], T], peek: bool) -> "asyncio.Future[T]":
        if self._closed:
            raise StateError("The store is closed.")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Operation(work, future, peek))
        return future

    # --- in the writer's thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        size = 1
        try:
            while (first := self._queue.get()) is not None:
                group, last = self._gather(first, size)
                size = len(group)
                self._perform(group)
                self._answer(group)
                if last:
                    return
        finally:
            self._connection.close()

    def _gather(self, first: _Operation, expected: int) -> tuple[list[_Operation], bool]:
        group, deadline = [first], time.monotonic() + GATHER_S
        while len(group) < MAX_GROUP:
            try:
                if len(group) < expected:
                    following = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
                else:
                    following = self._queue.get_nowait()
            except queue.Empty:
                break
            if following is None:
                return group, True
            group.append(following)
        return group, False

    def _perform(self, group: list[_Operation]) -> None:
        for operation in group:
            if operation.peek:
                self._peek(operation)
        changes = [operation for operation in group if not operation.peek]
        if not changes:
            return
        if not self._together(changes):
            self._one_by_one(changes)
        lasting = [str(op.error) for op in changes if isinstance(op.error, StorageFullError | StoreUnavailableError)]
        self.trouble = lasting[0] if lasting else ""

    def _peek(self, operation: _Operation) -> None:
        try:
            operation.result = operation.work(self._connection)
        except Exception as error:  # noqa: BLE001  # the caller gets it; the thread must live
            operation.error = sqlite.in_our_words(error, "read")
        self._undo()  # if it read through SQLAlchemy, that began a transaction

    def _together(self, changes: list[_Operation]) -> bool:
        """False: an operation raised and nothing was done. True: each has its result, or the error of the commit."""
        try:
            with self._connection.begin() as transaction:
                try:
                    for operation in changes:
                        operation.result = operation.work(self._connection)
                except Exception as error:  # noqa: BLE001  # the caller gets it, if it happens again
                    transaction.rollback()
                    if len(changes) > 1:
                        return False
                    changes[0].error = sqlite.in_our_words(error, "store")
        except Exception as error:  # noqa: BLE001  # BEGIN, COMMIT or ROLLBACK failed
            self._fail(changes, error)
        return True

    def _one_by_one(self, changes: list[_Operation]) -> None:
        try:
            with self._connection.begin():
                for operation in changes:
                    self._change(operation)
        except Exception as error:  # noqa: BLE001  # the callers get it; the thread must live
            self._fail(changes, error)

    def _change(self, operation: _Operation) -> None:
        sqlite.savepoint(self._connection)
        try:
            operation.result = operation.work(self._connection)
        except Exception as error:  # the caller gets it
            operation.error = sqlite.in_our_words(error, "store")
            if not sqlite.undo_to_savepoint(self._connection):
                raise
        sqlite.release_savepoint(self._connection)

    def _fail(self, changes: list[_Operation], error: Exception) -> None:
        self._undo()
        ours = sqlite.in_our_words(error, "store")
        for operation in changes:
            operation.error = ours

    def _undo(self) -> None:
        try:
            self._connection.rollback()
        except SQLAlchemyError as error:  # the database has done it already, or will when it is opened next
            _log.error("a transaction could not be undone: %s", error)

    def _answer(self, group: list[_Operation]) -> None:
        try:
            self._loop.call_soon_threadsafe(_settle, group)
        except RuntimeError:
            _log.error("the event loop was closed before the store")


def _settle(group: list[_Operation]) -> None:
    for operation in group:
        if operation.future.done():
            continue
        if operation.error is not None:
            operation.future.set_exception(operation.error)
        else:
            operation.future.set_result(operation.result)
