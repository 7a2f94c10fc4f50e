"""Update checks and downloads of one coordinator that 1,000 workers are connected to.

A real publisher signs a release with one large file. Time is what passes between question and answer on an open
connection of this machine, the load generator's own share included.
"""

import contextlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from benchmarks.figures import Figure
from benchmarks.plain_http import Connection
from benchmarks.simulated_process import FleetProcess
from gogrid.client.local_grid import LocalGrid
from updates.release_cli.main import main as gogrid_release

WORKERS = 1000
CHECK_MS = 50.0
MEMORY_MB = 16.0
_FILE_BYTES = 128 << 20
_AT_ONCE = 50
_DOWNLOADS = 4
_READY_S = 120.0
_PIECE = 1 << 20
_CHECK = "/updates/linux-x86_64/1.0.0?seq=1&ts=1"


def measure(folder: Path) -> Iterator[Figure]:
    published = _release(folder / "publisher")
    (folder / "grid").mkdir()
    with LocalGrid(folder / "grid", {"GOGRID_COORDINATOR_LOG_LEVEL": "warning"}) as grid:
        grid.init()
        grid.add_model("echo")
        keys = str(folder / "publisher" / "root-keys.json")
        grid.admin_command("release", "publish", str(published), "--root-keys", keys)
        grid.start_coordinator()
        with FleetProcess(grid.data, WORKERS) as fleet:
            fleet.wait_ready(_READY_S)
            yield from _checks(grid)
            yield _memory(grid)


def _checks(grid: LocalGrid) -> Iterator[Figure]:
    port = grid.endpoint.plain_port
    with Connection(port, "-") as connection:
        alone = [_asked(connection) for _ in range(WORKERS)]
    detail = f"{WORKERS} checks one after the other, p50 {_at(alone, 0.5):.2f} ms, {WORKERS} workers connected"
    yield Figure("update check, p99", _at(alone, 0.99), "ms", CHECK_MS, False, detail)
    together: list[float] = []

    def visit() -> None:
        with Connection(port, "-") as connection:
            together.extend([_asked(connection) for _ in range(WORKERS // _AT_ONCE)])

    began = time.perf_counter()
    _in_threads(_AT_ONCE, visit)
    took = time.perf_counter() - began
    detail = f"{WORKERS} checks, {_AT_ONCE} at a time, in {took:.2f} s; p99 {_at(together, 0.99):.1f} ms"
    yield Figure("update check in a crowd, p50", _at(together, 0.5), "ms", CHECK_MS, False, detail)


def _memory(grid: LocalGrid) -> Figure:
    """The coordinator's memory while a large file is downloaded by several at once."""
    coordinator = psutil.Process(grid.endpoint.pid)
    with Connection(grid.endpoint.plain_port, "-") as connection:
        answer = connection.ask("GET", _CHECK).require(200).body
    path = answer.split(b'"url":"', 1)[1].split(b'"', 1)[0].split(b"/", 3)[3].decode()
    before = highest = coordinator.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.02):
            highest = max(highest, coordinator.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    began = time.perf_counter()
    _in_threads(_DOWNLOADS, lambda: _download(grid.endpoint.plain_port, f"/{path}"))
    took = time.perf_counter() - began
    done.set()
    watching.join()
    size = _FILE_BYTES >> 20
    detail = f"{_DOWNLOADS} downloads of {size} MB at once, {_DOWNLOADS * size / took:.0f} MB/s"
    return Figure("coordinator's memory for downloads", (highest - before) / 1e6, "MB", MEMORY_MB, False, detail)


def _download(port: int, path: str) -> None:
    with Connection(port, "-") as connection:
        connection.send("GET", path)
        left = _FILE_BYTES
        while left > 0:
            data = connection.socket.recv(_PIECE)
            if not data:
                raise RuntimeError("the download ended early")
            left -= len(data)


def _asked(connection: Connection) -> float:
    began = time.perf_counter()
    connection.ask("GET", _CHECK).require(200)
    return (time.perf_counter() - began) * 1000


def _at(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def _in_threads(count: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _release(folder: Path) -> Path:
    """A signed release folder, made as a publisher makes it."""
    folder.mkdir()
    keys = {name: folder / f"{name}.key" for name in ("root1", "root2", "release", "timestamp")}
    for name, path in keys.items():
        _run("keygen", name.rstrip("12"), path)
    public = {name: path.with_suffix(".pub") for name, path in keys.items()}
    _run("roots", public["root1"], public["root2"], "--to", folder / "root-keys.json", secret=False)
    made = folder / "release-2"
    signers = ["--release-key", public["release"], "--timestamp-key", public["timestamp"]]
    _run("keys", "make", made, *signers, secret=False)
    _run("keys", "sign", made / "keys" / "keys-1.json", "--key", keys["root1"], "--key", keys["root2"])
    app = folder / "gogrid.zip"
    with app.open("wb") as file:
        file.truncate(_FILE_BYTES)
    words = ["--key", keys["release"], "--version", "2.0.0", "--seq", "2", "--artifact", f"linux-x86_64={app}"]
    _run("sign", made, *words)
    _run("timestamp", made, "--key", keys["timestamp"])
    return made


def _run(*words: str | Path, secret: bool = True) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"benchmark")
        os.close(writing)
        extra = ["--passphrase-fd", str(reading)] if secret else []
        with contextlib.redirect_stdout(io.StringIO()):
            code = gogrid_release([*map(str, words), *extra])
        if code != 0:
            raise RuntimeError(f"gogrid-release {words[0]} failed")
    finally:
        os.close(reading)
