"""How a database gets its schema: migrations and metadata agree, cuts do no harm, newer ones are refused."""

import random
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError

from coordinator.errors import StateError
from coordinator.store import schema, sqlite
from coordinator.store.sqlite_store import SqliteStore
from coordinator.store.tables import metadata
from coordinator.store.upgrade import alembic_config, upgrade
from tests.fakes.apsw_driver import Driver, PowerVfs
from tests.fakes.power_disk import CutError, Disk

_CUT_MIGRATIONS = """
import os, shutil, signal, sys
from pathlib import Path
from sqlalchemy import event
from coordinator.store import schema, sqlite
from coordinator.store import upgrade  # now, not in each child

def cut(path, moment):
    engine, left = sqlite.write_engine(path), [moment]
    def here(*_):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(engine, name, here)
    schema.prepare(engine)

original, folder = Path(sys.argv[1]), Path(sys.argv[2])
moment, killed = 1, True
while killed:
    path = folder / f"{moment}.db"
    shutil.copy(original, path)
    child = os.fork()
    if child == 0:
        cut(path, moment)
        os._exit(0)
    killed = os.waitpid(child, 0)[1] == signal.SIGKILL
    moment += 1
print(moment - 2)
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


def at_revision(path: Path, revision: str) -> None:
    """A database as an older program left it, with a job, its log and a worker in it."""
    engine = sqlite.write_engine(path)
    with engine.begin() as connection:
        upgrade(connection, revision)
        connection.exec_driver_sql(
            "INSERT INTO job (id, owner, kind, label, body_sha256, state, epoch, attempts, created_at, result, "
            "error_code, error) VALUES ('j1', 'k', 'python', 'a.py', '', 'queued', 3, 1, 1.0, x'', '', '')"
        )
        connection.exec_driver_sql("INSERT INTO job_log VALUES ('j1', 3, 1, 'stdout', x'00')")
        connection.exec_driver_sql("INSERT INTO token VALUES ('t', x'00', '', 1.0, 2.0, 1, 1, 0, 0)")
        connection.exec_driver_sql("INSERT INTO worker VALUES ('w', 'w', x'00', 'approved', 0, 7, 1.0, 't')")
    engine.dispose()


def kept(path: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as database:
        found = database.execute(
            "SELECT job.id, job.epoch, job_log.data, worker.session_epoch FROM job, job_log, worker"
        ).fetchall()
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
    return found


@pytest.mark.parametrize("start", [None, "0001"])
def test_a_migration_killed_at_any_statement_runs_again(tmp_path: Path, start: str | None) -> None:
    original, cuts = tmp_path / "original", tmp_path / "cuts"
    original.touch()
    cuts.mkdir()
    if start is not None:
        at_revision(original, start)
    done = run(_CUT_MIGRATIONS, original, cuts)
    assert done.returncode == 0, done.stderr
    kills = int(done.stdout)
    assert kills >= (50 if start is None else 15)
    made = sqlite.write_engine(tmp_path / "made.db")
    schema.prepare(made)
    made.dispose()
    for moment in range(1, kills + 1):
        engine = sqlite.write_engine(cuts / f"{moment}.db")
        schema.prepare(engine)
        engine.dispose()
        assert statements(cuts / f"{moment}.db") == statements(tmp_path / "made.db")
        if start is not None:
            assert kept(cuts / f"{moment}.db") == [("j1", 3, b"\0", 7)]


def test_a_migration_survives_a_power_cut_at_any_step(tmp_path: Path) -> None:
    at_revision(tmp_path / "old.db", "0001")
    step, cut = 0, True
    while cut:
        step += 1
        disk = Disk()
        disk.put("x.db", (tmp_path / "old.db").read_bytes())
        disk.before = power_off_at(step)
        vfs = PowerVfs(disk)
        engine = sqlite.write_engine(Path("x.db"), lambda vfs=vfs: Driver(vfs))
        cut = False
        try:
            schema.prepare(engine)
        except (SQLAlchemyError, sqlite3.Error):
            cut = True
        engine.dispose()
        vfs.unregister()
        path = tmp_path / f"{step}.db"
        for name, content in disk.after_cut(random.Random(step)).items():
            path.with_name(path.name + name.removeprefix("x.db")).write_bytes(content)
        engine = sqlite.write_engine(path)
        schema.prepare(engine)
        engine.dispose()
        assert kept(path) == [("j1", 3, b"\0", 7)]
    assert step > 10


def power_off_at(last: int) -> Callable[[int, str, str], None]:
    def cut(step: int, what: str, name: str) -> None:
        if step >= last:
            raise CutError("the power is off")

    return cut


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
