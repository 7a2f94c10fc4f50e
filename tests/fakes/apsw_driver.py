"""SQLite on a file system of our own: apsw's library under a `PowerVfs`, seen through what SQLAlchemy asks of sqlite3.

Python's own sqlite3 loads another copy of the library, where a VFS of apsw's cannot be used; so the store's very
statements, its engine and its writer run here on apsw's. A VFS in Python has no shared memory: connections are
exclusive, which changes nothing in what is written and flushed, and when. An error that SQLite passes over (a
checkpoint's, which is tried again) is raised here all the same.
"""

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator, Sequence

import apsw

from tests.fakes.power_disk import CutError, Disk, DiskFile

_numbers = itertools.count()
_MAIN_NAME = "x.db"
_BY_CLASS = {apsw.ConstraintError: sqlite3.IntegrityError}


class PowerVfs(apsw.VFS):
    """The files of one `Disk`; registered under `name` until `unregister`."""

    def __init__(self, disk: Disk) -> None:
        self.name = f"power-{next(_numbers)}"
        self.disk = disk
        super().__init__(self.name, base="")

    def xFullPathname(self, name: str) -> str:
        return name

    def xAccess(self, pathname: str, flags: int) -> bool:
        return pathname in self.disk.files

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.disk.step("delete", filename)
        self.disk.files.pop(filename, None)

    def xOpen(self, name: "str | apsw.URIFilename | None", flags: list[int]) -> "PowerFile":
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        flags[1] = flags[0]
        if path is None:
            return PowerFile(None, "temporary", DiskFile())
        return PowerFile(self.disk, path, self.disk.files.setdefault(path, DiskFile()))


class PowerFile(apsw.VFSFile):
    def __init__(self, disk: Disk | None, name: str, file: DiskFile) -> None:
        self._disk, self._name, self._file = disk, name, file

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._file.now[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        self._step("write")
        self._file.write(offset, bytes(data))

    def xTruncate(self, size: int) -> None:
        self._step("truncate")
        self._file.truncate(size)

    def xSync(self, flags: int) -> None:
        self._step("flush")
        self._file.flush()

    def xFileSize(self) -> int:
        return len(self._file.now)

    def xClose(self) -> None: ...
    def xLock(self, level: int) -> None: ...
    def xUnlock(self, level: int) -> None: ...

    def xCheckReservedLock(self) -> bool:
        return False

    def xSectorSize(self) -> int:
        return 512

    def xDeviceCharacteristics(self) -> int:
        return int(apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE)

    def xFileControl(self, op: int, pointer: int) -> bool:
        return False

    def _step(self, what: str) -> None:
        if self._disk is not None:
            self._disk.step(what, self._name)


def disk_error(code: int) -> apsw.Error:
    """What a VFS raises so that SQLite sees this (extended) result code."""
    error: apsw.Error = apsw.exception_for(code)
    return error


class Driver:
    """As much of `sqlite3.Connection` as SQLAlchemy and the store use."""

    isolation_level = None

    def __init__(self, vfs: PowerVfs) -> None:
        with _errors():
            self._apsw = apsw.Connection(_MAIN_NAME, vfs=vfs.name)
            self._apsw.execute("PRAGMA locking_mode=EXCLUSIVE")

    @property
    def in_transaction(self) -> bool:
        return self._apsw.in_transaction

    def cursor(self) -> "Cursor":
        return Cursor(self._apsw)

    def execute(self, sql: str) -> "Cursor":
        cursor = self.cursor()
        cursor.execute(sql)
        return cursor

    def commit(self) -> None:
        if self.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        if self.in_transaction:
            self.execute("ROLLBACK")

    def create_function(self, name: str, arguments: int, function: object, deterministic: bool = False) -> None: ...

    def close(self) -> None:
        with contextlib.suppress(apsw.Error, CutError):  # a disk that is off takes no good-bye
            self._apsw.close()


class Cursor:
    arraysize = 1

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._rows: Iterator[tuple[object, ...]] = iter(())
        self.description: object = None
        self.rowcount = -1
        self.lastrowid = 0

    def execute(self, sql: str, values: Sequence[object] = ()) -> "Cursor":
        with _errors():
            cursor = self._connection.cursor()
            cursor.exec_trace = self._started
            self.description = None
            self._rows = iter(cursor.execute(sql, values).fetchall())
        self.rowcount = self._connection.changes()
        self.lastrowid = self._connection.last_insert_rowid()
        return self

    def executemany(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        count = 0
        for values in rows:
            self.execute(sql, values)
            count += self.rowcount
        self.rowcount = count

    def fetchone(self) -> tuple[object, ...] | None:
        return next(self._rows, None)

    def fetchall(self) -> list[tuple[object, ...]]:
        return list(self._rows)

    def fetchmany(self, size: int = 1) -> list[tuple[object, ...]]:
        return list(itertools.islice(self._rows, size))

    def close(self) -> None: ...

    def _started(self, cursor: apsw.Cursor, sql: str, bindings: object) -> bool:
        columns = cursor.get_description()
        self.description = [(name, *[None] * 6) for name, _ in columns] or None
        return True


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """apsw's errors as sqlite3's, with their code."""
    try:
        yield
    except (apsw.Error, CutError) as error:
        kind = next((ours for theirs, ours in _BY_CLASS.items() if isinstance(error, theirs)), sqlite3.OperationalError)
        ours = kind(str(error))
        ours.sqlite_errorcode = getattr(error, "extendedresult", sqlite3.SQLITE_IOERR)
        raise ours from error
