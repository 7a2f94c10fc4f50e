"""Threat 8: kill -9 of each program while a script has daemons of its own: nothing of them is left a second later."""

import os
import secrets
import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from gogrid.client.answers import Limits
from runner.sandbox.base import Launcher
from tests.attack.hostile_grid import HostileGrid, hostile_grid
from tests.attack.jobs import processes_with

pytestmark = pytest.mark.sandbox

_DAEMONS = """
    import os, signal, sys, time
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.setpgid(0, 0)
                time.sleep(60)
            os._exit(0)
    print("daemons started", flush=True)
    time.sleep(60)
"""
_FENCE_S = 2.0


@pytest.fixture(scope="module")
def mortal(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileGrid]:
    """A grid whose programs are killed one after the other; the last test leaves it without a worker."""
    short = {"HEARTBEAT": "0.5s", "FENCE": f"{_FENCE_S}s", "LEASE": "3s", "PING": "0.5s", "PING_TIMEOUT": "1s"}
    settings = {f"GOGRID_COORDINATOR_{name}": value for name, value in short.items()}
    with hostile_grid(tmp_path_factory.mktemp("mortal-grid"), settings) as grid:
        yield grid


@pytest.fixture
def marker(mortal: HostileGrid) -> Iterator[str]:
    """Of the processes of a script with daemons, which now runs."""
    mortal.wait_until_ready()
    made = secrets.token_hex(16)
    job = mortal.submit(_DAEMONS, arguments=(made,), limits=Limits(wall_s=60.0))
    mortal.wait_for_output(job, "daemons started")
    assert len(processes_with(made)) >= 4
    yield made
    with mortal.local.client() as client:
        client.cancel(job)


def test_kill_of_the_runner_leaves_no_process(mortal: HostileGrid, marker: str) -> None:
    """Its supervisor starts another, which must not find the old one's script running."""
    (runner,) = psutil.Process(mortal.local.worker_pid).children()
    family = runner.children(recursive=True)
    assert len(family) >= 2
    os.kill(runner.pid, signal.SIGKILL)
    _gone(marker, [runner, *family], within_s=1.0)


def test_kill_of_the_coordinator_leaves_no_process(mortal: HostileGrid, marker: str) -> None:
    """Its worker cannot know at once that it is dead; what it ran is gone a second behind the lease's fence."""
    coordinator = psutil.Process(mortal.local.endpoint.pid)
    family = coordinator.children(recursive=True)
    os.kill(coordinator.pid, signal.SIGKILL)
    _gone("", [coordinator, *family], within_s=1.0)
    _gone(marker, [], within_s=_FENCE_S + 1.0)
    mortal.local.restart_coordinator()


def test_kill_of_the_tray_leaves_no_process(mortal: HostileGrid, marker: str) -> None:
    supervisor = psutil.Process(mortal.local.worker_pid)
    family = supervisor.children(recursive=True)
    assert len(family) >= 3
    os.kill(supervisor.pid, signal.SIGKILL)
    _gone(marker, [supervisor, *family], within_s=1.0)


def _gone(marker: str, family: list[psutil.Process], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while left := [*(processes_with(marker) if marker else ()), *(one for one in family if _lives(one))]:
        assert time.monotonic() < deadline, f"still alive after {within_s} s: {left}"
        time.sleep(0.01)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
