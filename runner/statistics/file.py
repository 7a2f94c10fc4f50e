"""The history on disk: a SQLite file of some 30 kB in the worker's state folder.

Promises: a minute that was written outlives `kill -9` and a power cut; a file that cannot be read is put aside and a
new one begun, because statistics are never worth a worker that does not start; readable by its owner alone. Blocks:
call it off the event loop, from any thread.
"""

import logging
import os
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

from runner.statistics.history import Row, Step

log = logging.getLogger(__name__)
_COLUMNS = "step_s, at, jobs_done, jobs_failed, tokens, cpu_s, gpu_s, gpu_seen_s, memory"
_TABLE = f"CREATE TABLE IF NOT EXISTS steps ({_COLUMNS}, PRIMARY KEY (step_s, at)) WITHOUT ROWID"
_SELECT = f"SELECT {_COLUMNS} FROM steps"  # noqa: S608  # our own constant
_INSERT = f"INSERT OR REPLACE INTO steps ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # the same
_FORGET = "DELETE FROM steps WHERE step_s = ? AND abs(at - ?) > ?"


class HistoryFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._one_at_a_time = threading.Lock()
        self._closed = False

    def load(self) -> tuple[Row, ...]:
        """Open it, made if need be. Raises nothing: without a usable disk the history is empty, and stays so."""
        with self._one_at_a_time:
            return self._load() if not self._closed else ()

    def save(self, rows: Iterable[Row], keep: int) -> None:
        """Write these rows, and forget those that are more than `keep` steps away. A full disk is a line in the log."""
        with self._one_at_a_time:
            if self._connection is None:
                return
            try:
                with self._connection:
                    for row in rows:
                        self._connection.execute(_INSERT, _numbers(row))
                        self._connection.execute(_FORGET, (row.step_s, row.index, keep))
            except sqlite3.Error as error:
                log.warning("a minute of statistics is not kept: %s: %s", self._path, error)

    def close(self) -> None:
        """For good, also if it is being opened at this moment."""
        with self._one_at_a_time:
            self._closed = True
            self._let_go()

    def _load(self) -> tuple[Row, ...]:
        try:
            return self._open()
        except (sqlite3.Error, OSError) as error:
            self._let_go()
            log.warning("the statistics in %s cannot be read (%s); beginning anew", self._path, error)
        try:
            if self._path.exists():
                self._path.replace(self._path.with_name(self._path.name + ".broken"))
            return self._open()
        except (sqlite3.Error, OSError) as error:
            self._let_go()
            log.warning("no statistics are kept: %s: %s", self._path, error)
            return ()

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> tuple[Row, ...]:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        self._connection = sqlite3.connect(self._path, check_same_thread=False, timeout=1.0)
        self._connection.execute("PRAGMA journal_mode = TRUNCATE")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(_TABLE)
        return tuple(_row(*found) for found in self._connection.execute(_SELECT))


def _numbers(row: Row) -> tuple[int | float, ...]:
    step = row.step
    counted = (step.jobs_done, step.jobs_failed, step.tokens)
    return (row.step_s, row.index, *counted, step.cpu_s, step.gpu_s, step.gpu_seen_s, step.memory)


def _row(
    step_s: int,
    at: int,
    jobs_done: int,
    jobs_failed: int,
    tokens: int,
    cpu_s: float,
    gpu_s: float,
    gpu_seen_s: float,
    memory: int,
) -> Row:
    return Row(step_s, at, Step(jobs_done, jobs_failed, tokens, cpu_s, gpu_s, gpu_seen_s, memory))
