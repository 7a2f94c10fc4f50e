"""How a database gets its schema: migrations and metadata agree, cuts do no harm, newer ones are refused."""

import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from coordinator.errors import StateError
from coordinator.store import schema, sqlite
from coordinator.store.sqlite_store import SqliteStore
from coordinator.store.tables import metadata
from coordinator.store.upgrade import alembic_config, upgrade

_CUT_MIGRATION = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from coordinator.store import schema, sqlite
engine = sqlite.write_engine(Path(sys.argv[1]))
left = int(sys.argv[2])
@event.listens_for(engine, "after_cursor_execute")
def count(connection, cursor, statement, *rest):
    global left
    if statement.lstrip().startswith(("CREATE", "INSERT", "ALTER")):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
schema.prepare(engine)
"""
_IMPORTED = """
import asyncio, sys
from pathlib import Path
from coordinator.store.sqlite_store import SqliteStore
async def main():
    await (await SqliteStore.open(Path(sys.argv[1]))).close()
asyncio.run(main())
print("alembic" in sys.modules)
"""


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def statements(path: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(path) as database:
        query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version' ORDER BY name"
        found = [(name, " ".join(sql.split())) for name, sql in database.execute(query)]
    database.close()
    return found


def parts(path: Path) -> dict[str, list[str]]:
    """What each table and index is made of, in no order: a migrated table has its new columns last."""
    made = {}
    for name, sql in statements(path):
        head, body = sql.split("(", 1)
        inner, tail = body.rsplit(")", 1)
        made[name] = [head.strip(), *sorted(re.split(r", (?![^()]*\))", inner.strip())), tail.strip()]
    return made


def test_the_migrations_give_what_the_metadata_says(tmp_path: Path) -> None:
    migrated, made = sqlite.write_engine(tmp_path / "migrated.db"), sqlite.write_engine(tmp_path / "made.db")
    schema.prepare(migrated)
    metadata.create_all(made)
    migrated.dispose()
    made.dispose()
    assert parts(tmp_path / "migrated.db") == parts(tmp_path / "made.db")
    assert all(sql.endswith("STRICT") for _, sql in statements(tmp_path / "made.db") if sql.startswith("CREATE TABLE"))


def test_the_list_of_revisions_is_alembics() -> None:
    scripts = ScriptDirectory.from_config(alembic_config())
    assert tuple(script.revision for script in reversed(list(scripts.walk_revisions()))) == schema.REVISIONS


def test_a_database_of_a_newer_program_is_refused_and_untouched(tmp_path: Path) -> None:
    engine = sqlite.write_engine(tmp_path / "x.db")
    schema.prepare(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StateError, match="newer GoGrid"):
        schema.prepare(engine)
    engine.dispose()


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.db") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    engine = sqlite.write_engine(tmp_path / "x.db")
    with pytest.raises(StateError, match="other tables"):
        schema.prepare(engine)
    engine.dispose()


async def test_a_damaged_database_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"this is no database" * 500)
    with pytest.raises(StateError, match="cannot be used as the database"):
        await SqliteStore.open(tmp_path / "x.db")


def test_a_migration_cut_at_any_statement_runs_again(tmp_path: Path) -> None:
    for cut in range(1, 19, 3):
        path = tmp_path / f"{cut}.db"
        assert run(_CUT_MIGRATION, path, cut).returncode == -signal.SIGKILL
        engine = sqlite.write_engine(path)
        schema.prepare(engine)
        engine.dispose()
        assert {name for name, _ in statements(path)} >= set(metadata.tables)


def test_the_logs_of_a_database_of_the_first_version_outlive_its_migration(tmp_path: Path) -> None:
    engine = sqlite.write_engine(tmp_path / "x.db")
    with engine.begin() as connection:
        upgrade(connection, "0001")
        connection.exec_driver_sql(
            "INSERT INTO job (id, owner, kind, label, body_sha256, state, epoch, attempts, created_at, result, "
            "error_code, error) VALUES ('job_1', 'k', 'python', 'a.py', '', 'queued', 0, 0, 1.0, x'', '', '')"
        )
        connection.exec_driver_sql("INSERT INTO job_log VALUES ('job_1', 1, 1, 'stdout', x'00')")
    schema.prepare(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM job_log").scalar_one() == 1
        found = connection.exec_driver_sql("SELECT priority, not_before, crashes FROM job").one()
        assert tuple(found) == (0, None, 0)
    engine.dispose()


def test_a_database_that_is_up_to_date_costs_no_alembic(tmp_path: Path) -> None:
    assert run(_IMPORTED, tmp_path / "x.db").stdout.strip() == "True"
    assert run(_IMPORTED, tmp_path / "x.db").stdout.strip() == "False"
