"""A worker that was started before it had a coordinator begins to work with the paste of a token."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gogrid.client.local_grid import LocalGrid
from runner.control_messages import Refused
from tray.instance import NoAppError, ask_app
from tray.instance_messages import AppState, AppStatus, AskApp

pytestmark = pytest.mark.sandbox


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[LocalGrid]:
    with LocalGrid(tmp_path) as made:
        made.init()
        made.start_coordinator()
        yield made


def test_a_worker_that_waits_starts_with_the_paste(grid: LocalGrid, tmp_path: Path) -> None:
    data = tmp_path / "worker"
    command = [sys.executable, "-m", "tray.cli", "--data", str(data), "--headless"]
    process = subprocess.Popen(command, env=dict(grid.environment), stderr=subprocess.DEVNULL)
    try:
        wait_for(data, lambda status: status.state is AppState.NOT_JOINED)
        grid.join_worker("worker")
        wait_for(data, lambda status: status.runner is not None and status.runner.connected)
    finally:
        process.terminate()
        assert process.wait(15) == 0


def wait_for(data: Path, reached: Callable[[AppStatus], bool]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            answer = ask_app(data / "app.sock", AskApp())
        except NoAppError:
            answer = Refused(reason="")
        if isinstance(answer, AppStatus) and reached(answer):
            return
        time.sleep(0.05)
    pytest.fail("not reached")
