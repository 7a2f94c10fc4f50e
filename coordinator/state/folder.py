"""The coordinator's state folder: where each thing lies, who may read it, and that one coordinator serves it.

Refuses a folder that other users may enter: it holds the identity key. Refuses a network file system: locks there do
not keep a second coordinator away, and SQLite's shared memory does not work.
"""

import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from coordinator.errors import StateError
from coordinator.state.file_system import remote_kind
from gogrid.addresses import Address
from gogrid.files import flush_folder, make_folder, write_whole
from gogrid.places import socket_path

_LOOK_S = 0.2
"""A command that only looks whether somebody serves holds the lock for less than this."""


@dataclass(frozen=True, slots=True)
class StateFolder:
    root: Path

    @property
    def identity_key(self) -> Path:
        return self.root / "identity.key"

    @property
    def identity_certificate(self) -> Path:
        return self.root / "identity.pem"

    @property
    def tls_chain(self) -> Path:
        """The short-lived leaf and the identity certificate."""
        return self.root / "tls.pem"

    @property
    def tls_key(self) -> Path:
        return self.root / "tls.key"

    @property
    def database(self) -> Path:
        return self.root / "coordinator.db"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def releases(self) -> Path:
        """What is offered to machines as updates, and its files."""
        return self.root / "releases"

    @property
    def root_keys(self) -> Path:
        """The publisher's public root keys, by which releases are judged."""
        return self.root / "root-keys.json"

    @property
    def config_file(self) -> Path:
        return self.root / "coordinator.toml"

    @property
    def serve_file(self) -> Path:
        """Written by a running coordinator: its process id and ports, as JSON."""
        return self.root / "serve.json"

    @property
    def admin_socket(self) -> Path:
        """Where a running coordinator answers the admin's commands on this machine."""
        owner = self.root.stat().st_uid if self.root.exists() else 0
        return socket_path(self.root / "admin.sock", {}, owner)

    @property
    def lock_file(self) -> Path:
        return self.root / "serve.lock"

    @property
    def initialised(self) -> bool:
        return self.identity_key.exists() and self.database.exists() and not self._unfinished.exists()

    @property
    def _unfinished(self) -> Path:
        """Is there while `init` works, so that an interrupted one can be told from a coordinator."""
        return self.root / "init.unfinished"

    def begin(self) -> None:
        """Make the folder, private; `finish` ends what this begins. What an interrupted `init` left is removed.

        Raises:
            StateError: it holds something already.
        """
        if self.root.exists() and not self.root.is_dir():
            raise StateError(f"{self.root} is a file, not a folder; give another with --data.")
        if self._unfinished.exists():
            self.abandon()
        if self.root.is_dir() and any(path.name != self.config_file.name for path in self.root.iterdir()):
            what = "a coordinator's state" if self.identity_key.exists() else "other files"
            raise StateError(f"{self.root} already holds {what}; nothing was changed. Give another folder with --data.")
        make_folder(self.root)
        self._require_local()
        if os.name == "posix":
            self.root.chmod(0o700)
        write_whole(self._unfinished, b"", private=True, replace=True)

    def finish(self) -> None:
        """What was made is whole, and on disk when this returns."""
        flush_folder(self.root)
        self._unfinished.unlink()
        flush_folder(self.root)

    def abandon(self) -> None:
        """Remove what was made since `begin`."""
        database = self.database.name
        for name in (database, f"{database}-wal", f"{database}-shm", "identity.key", "identity.pem", "root-keys.json"):
            (self.root / name).unlink(missing_ok=True)
        shutil.rmtree(self.blobs, ignore_errors=True)
        self._unfinished.unlink(missing_ok=True)

    def require(self) -> None:
        """Raises `StateError` unless `init` made this folder and it is private."""
        if not self.initialised:
            raise StateError(
                f"{self.root} holds no coordinator; run `gogrid-coordinator init`, or give its folder with --data."
            )
        exposure = self.exposure()
        if exposure:
            raise StateError(exposure)
        self._require_local()

    def _require_local(self) -> None:
        kind = remote_kind(self.root)
        if kind:
            raise StateError(
                f"{self.root} lies on a network file system ({kind}), where the database is not safe; give a folder "
                "on a disk of this machine with --data."
            )

    def exposure(self) -> str:
        """What lets other users in, in a sentence; empty if nothing does."""
        if os.name != "posix":
            return ""
        for path, forbidden, mode in ((self.root, 0o077, "700"), (self.identity_key, 0o077, "600")):
            if path.exists() and path.stat().st_mode & forbidden:
                return f"Other users may read {path}; run: chmod {mode} {path}"
        return ""

    def read_serving(self) -> "Serving | None":
        """Where a coordinator serves this folder now; None if none does."""
        try:
            serving = msgspec.json.decode(self.serve_file.read_bytes(), type=Serving)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        try:
            self.lock().release()
        except StateError:
            return serving
        return None

    def lock(self) -> "ServeLock":
        """Claim this folder for one serving process; it ends with the process at the latest.

        Raises:
            StateError: another coordinator serves it.
        """
        return ServeLock(self.lock_file)


class Serving(msgspec.Struct, frozen=True):
    """What a running coordinator says in `serve.json`."""

    pid: int
    host: str
    """As it listens: may be `0.0.0.0`."""
    port: int
    http_loopback: int | None
    """The port of plain HTTP on 127.0.0.1; None: there is none."""
    public: tuple[Address, ...] = ()
    """For join tokens, where it was told to this process alone: by `--public` or its environment."""


class ServeLock:
    """An operating system lock on a file; holds no state of its own that could be left behind."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        patience = time.monotonic() + _LOOK_S
        while not _lock(self._descriptor):
            if time.monotonic() > patience:
                os.close(self._descriptor)
                raise StateError(
                    f"Another coordinator serves {path.parent}; stop it first, or give this one its own folder with "
                    "--data."
                )
            time.sleep(_LOOK_S / 10)

    def release(self) -> None:
        """Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def default_root(environment: Mapping[str, str], home: Path, platform: str, is_root: bool) -> Path:
    """Where the state lies if nobody says otherwise."""
    if platform == "win32":
        return Path(environment.get("PROGRAMDATA") or home / "AppData" / "Local") / "GoGrid Coordinator"
    if is_root:
        return Path("/var/lib/gogrid-coordinator")
    if platform == "darwin":
        return home / "Library" / "Application Support" / "GoGrid Coordinator"
    data = environment.get("XDG_DATA_HOME", "")
    base = Path(data) if data.startswith("/") else home / ".local" / "share"
    return base / "gogrid-coordinator"
