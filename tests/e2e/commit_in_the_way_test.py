"""No answer waits for a disk: what somebody waits for is answered while the database can commit nothing."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import openai
import pytest

from gogrid.client.local_grid import LocalGrid

pytestmark = pytest.mark.sandbox
AT_ONCE_S = 2.0
"""Far below the 5 s that SQLite waits for a lock."""


@contextmanager
def nothing_commits(grid: LocalGrid) -> Iterator[None]:
    """Hold the database's one lock for writers, as a long checkpoint or a slow disk would."""
    with closing(sqlite3.connect(grid.data / "coordinator.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            database.execute("ROLLBACK")


def test_an_interactive_answer_never_waits_for_a_commit(grid: LocalGrid, client: openai.OpenAI) -> None:
    def ask() -> str | None:
        answer = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "hello"}])
        return answer.choices[0].message.content

    assert ask() == "hello"
    with ThreadPoolExecutor(1) as beside, grid.client() as durable:
        with nothing_commits(grid):
            job = beside.submit(durable.submit_python, {"main.py": b"print(1)"}, "main.py")
            began = time.monotonic()
            for _ in range(20):
                assert ask() == "hello"
            assert time.monotonic() - began < AT_ONCE_S
            assert not job.done(), "the control: a durable job is acknowledged only after its commit"
        job.result(timeout=20)
