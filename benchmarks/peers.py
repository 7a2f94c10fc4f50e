"""The peers that jobs are measured against, each in a virtual environment of its own below the user's cache folder.

Promises: nothing of a peer enters this project's environment; the environments are made once and used again; whatever
was started is ended. A machine without `redis-server` gets one clear sentence.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

_CELERY = ("celery[redis]==5.7.0",)
_DASK = ("distributed==2026.8.0",)
_LONGEST_S = 300.0
_START_S = 10.0


class PeerMissingError(Exception):
    """A peer cannot run here; one sentence says what to install."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How much every contender is given."""

    bulk: int
    clients: int
    each: int
    """Jobs of each client, one after the other."""
    singles: int

    def arguments(self) -> tuple[str, ...]:
        return tuple(map(str, (self.bulk, self.clients, self.each, self.singles)))


class Speed(msgspec.Struct, frozen=True):
    """What one contender reached."""

    bulk_per_s: float
    clients_per_s: float
    single_ms: float
    """Median of one job after the other."""


def celery(folder: Path, pool: str, amount: Amount) -> Speed:
    """Celery and Redis, acknowledged late, results kept; `pool`: `prefork` or `threads`.

    Raises:
        PeerMissingError: there is no redis-server.
    """
    python = _environment("celery", _CELERY)
    with _redis(folder) as url:
        return _run(python, "peers_celery.py", url, pool, *amount.arguments())


def dask(amount: Amount) -> Speed:
    return _run(_environment("dask", _DASK), "peers_dask.py", *amount.arguments())


def _run(python: Path, script: str, *arguments: str) -> Speed:
    path = Path(__file__).with_name(script)
    done = subprocess.run([python, path, *arguments], capture_output=True, timeout=_LONGEST_S, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{script} failed: {done.stderr.decode(errors='replace')[-2000:]}")
    return msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=Speed)


def _environment(name: str, requirements: tuple[str, ...]) -> Path:
    """The Python of a virtual environment with these packages; made if it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gogrid-benchmarks"
    folder, ready = cache / name, cache / f"{name}.ready"
    python = folder / "bin" / "python"
    wanted = "\n".join((sys.version, *requirements))
    if not ready.exists() or ready.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        ready.write_text(wanted)
    return python


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """A Redis of our own on a free port, with the settings it comes with."""
    program = shutil.which("redis-server")
    if program is None:
        raise PeerMissingError(
            "Celery's broker is missing; install redis-server (Debian: apt-get install redis-server)."
        )
    port = _free_port()
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)], stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + _START_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise PeerMissingError(f"redis-server does not start: {(folder / 'redis.log').read_text()[-500:]}")
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
