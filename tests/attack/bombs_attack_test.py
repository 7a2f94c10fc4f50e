"""Threat 6: bombs. Each ends with the right word, and another worker on the same machine hardly notices.

Two workers of one grid: every bomb goes to the first, because the second lends too little memory; the second answers
chat requests all the while. Its slowest answers are compared with those of the same moments without a bomb.
"""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from gogrid.client.answers import Limits
from runner.sandbox.base import Launcher
from tests.attack.hostile_grid import HostileGrid
from tests.faults.faultgrid import FaultGrid

pytestmark = pytest.mark.sandbox

_MIB = 1 << 20
_ENOUGH = 60
"""Requests behind one p99: fewer say nothing of it."""
_UNNOTICED_S = 0.1
"""An answer within this is as good as at once; the study asks for 100 ms."""
_TRIES = 3


@dataclass(frozen=True)
class Bomb:
    code: str
    limits: Limits
    word: str


BOMBS = {
    "fork": Bomb(
        """
        import os
        while True:
            try: os.fork()
            except OSError: pass
        """,
        Limits(wall_s=1.5, memory_bytes=512 * _MIB),
        "timeout",
    ),
    "fork that leaves its parents": Bomb(
        """
        import os
        while True:
            try:
                if os.fork(): os._exit(0) if os.getppid() != 1 else None
                else: os.setsid()
            except OSError: pass
        """,
        Limits(wall_s=1.5, memory_bytes=512 * _MIB),
        "timeout",
    ),
    "threads": Bomb(
        """
        import threading
        def spin():
            while True: pass
        while True:
            try: threading.Thread(target=spin, daemon=True).start()
            except RuntimeError: pass
        """,
        Limits(wall_s=1.5, memory_bytes=512 * _MIB),
        "timeout",
    ),
    "memory in one process": Bomb(
        "import time\nkept = []\nwhile True: kept.append(bytearray(4 << 20)); time.sleep(0.01)",
        Limits(wall_s=20.0, memory_bytes=384 * _MIB),
        "memory",
    ),
    "memory in many processes": Bomb(
        """
        import os, time
        while os.fork(): time.sleep(0.05)
        kept = bytearray(24 << 20)
        kept[::4096] = b"x" * len(kept[::4096])
        time.sleep(60)
        """,
        Limits(wall_s=20.0, memory_bytes=256 * _MIB),
        "memory",
    ),
    "disk": Bomb(
        """
        import os
        while True:
            for folder in ("/tmp", "/dev/shm"):
                try:
                    for number in range(300):
                        with open(f"{folder}/{number}", "wb", buffering=0) as file: file.write(bytes(1 << 20))
                except OSError:
                    for name in os.listdir(folder): os.unlink(f"{folder}/{name}")
        """,
        Limits(wall_s=1.5, memory_bytes=512 * _MIB),
        "timeout",
    ),
    "log": Bomb(
        "import os\nwhile True: os.write(1, b'x' * 65536)", Limits(wall_s=1.5, memory_bytes=256 * _MIB), "timeout"
    ),
    "log of tiny writes": Bomb(
        "import os\nwhile True: os.write(2, b'\\n')", Limits(wall_s=1.5, memory_bytes=256 * _MIB), "timeout"
    ),
    "output files": Bomb(
        """
        import os, time
        try:
            for number in range(5000): open(f"/job/out/{number}", "w").write("x")
        except OSError: pass
        time.sleep(1)
        """,
        Limits(wall_s=20.0, memory_bytes=256 * _MIB, output_files=100),
        "output_too_large",
    ),
    "output bytes": Bomb(
        """
        import os, time
        for number in range(8): os.truncate(os.open(f"/job/out/{number}", os.O_CREAT | os.O_RDWR), 900_000)
        time.sleep(1)
        """,
        Limits(wall_s=20.0, memory_bytes=256 * _MIB, output_bytes=_MIB),
        "output_too_large",
    ),
    "processor": Bomb("while True: pass", Limits(wall_s=20.0, memory_bytes=256 * _MIB, cpu_cores=0.1), "cpu_time"),
}


@pytest.fixture(scope="module")
def pair(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultGrid]:
    with FaultGrid(tmp_path_factory.mktemp("bombed-grid"), {}) as grid:
        grid.add_worker("bombed")
        grid.add_worker("bystander", settings={"GOGRID_MAX_RAM": "64MiB"})
        grid.wait_ready()
        with grid.drained("bombed"):
            _ask(grid.http)
        yield grid


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_ends_with_the_right_word_and_the_neighbour_hardly_notices(pair: FaultGrid, name: str) -> None:
    bomb = BOMBS[name]
    seen = []
    for _ in range(_TRIES):
        calm = _calm(pair.http)
        hostile = HostileGrid(pair.local)
        job = hostile.submit(bomb.code, limits=bomb.limits)
        while pair.http.get(f"/api/v1/jobs/{job}").json()["state"] in ("queued", "leased"):
            time.sleep(0.01)
        shaken = _shaken(pair.http, job)
        told = hostile.see(job)
        assert (told.word, told.job.worker_name) == (bomb.word, "bombed")
        seen.append((_p99(calm), _p99(shaken), len(shaken)))
        if _p99(shaken) <= max(2 * _p99(calm), _UNNOTICED_S):
            break
    else:
        pytest.fail(f"p99 of the neighbour without and with the bomb, and requests with it: {seen}")
    assert pair.listed()["bombed"]["connected"], "the bombed worker itself lives on"


def _ask(http: httpx.Client) -> float:
    """Seconds until the bystander has answered."""
    question = {"model": "echo", "max_tokens": 3, "messages": [{"role": "user", "content": "one two three"}]}
    began = time.monotonic()
    answer = http.post("/v1/chat/completions", json=question)
    took = time.monotonic() - began
    assert answer.status_code == 200, answer.text
    return took


def _calm(http: httpx.Client) -> list[float]:
    return [_ask(http) for _ in range(_ENOUGH)]


def _shaken(http: httpx.Client, job: str) -> list[float]:
    """For as long as the bomb's job runs."""
    taken: list[float] = []
    while not _ended(http, job):
        taken += [_ask(http) for _ in range(5)]
    return taken


def _p99(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=100)[98]


def _ended(http: httpx.Client, job: str) -> bool:
    return http.get(f"/api/v1/jobs/{job}").json()["state"] not in ("queued", "leased", "running")
