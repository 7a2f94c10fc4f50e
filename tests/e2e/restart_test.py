"""Programs that die: what was acknowledged is done afterwards, and nothing is left behind."""

import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import psutil
import pytest

from gogrid.client.answers import Limits
from gogrid.client.local_grid import LocalGrid

pytestmark = pytest.mark.sandbox

GOGRID = str(Path(sysconfig.get_path("scripts")) / "gogrid")


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGrid]:
    """A grid whose coordinator dies again and again; at first it has no worker."""
    with LocalGrid(tmp_path_factory.mktemp("mortal")) as made:
        made.init()
        made.add_model("echo")
        made.start_coordinator()
        yield made


@pytest.fixture
def grid(mortal: LocalGrid) -> LocalGrid:
    """With a worker that is connected."""
    if not (mortal.folder / "worker.log").exists():
        mortal.start_worker()
    wait_until_connected(mortal)
    return mortal


def wait_until_connected(grid: LocalGrid) -> None:
    end = time.monotonic() + 20
    with grid.client() as client:
        while not any(worker.connected for worker in client.workers()):
            assert time.monotonic() < end, grid.log("worker")
            time.sleep(0.05)


def test_a_job_acknowledged_before_the_coordinator_was_killed_is_done_after_it_starts_again(mortal: LocalGrid) -> None:
    with mortal.client() as client:
        job = client.submit_python({"main.py": b"print('survived')"}, "main.py", limits=Limits(wall_s=30.0))
    mortal.restart_coordinator()
    mortal.start_worker()
    with mortal.client() as client:
        *pieces, ended = client.logs(job.id)
    assert ended.state == "done"
    assert [piece.data for piece in pieces] == [b"survived\n"]


def test_a_worker_comes_back_by_itself_after_the_coordinator_restarts(grid: LocalGrid) -> None:
    grid.restart_coordinator()
    wait_until_connected(grid)


def test_ctrl_c_ends_the_demo_and_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    demo = subprocess.Popen([GOGRID, "demo"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.startswith(b"worker"):
            break
    family = psutil.Process(demo.pid).children(recursive=True)
    assert family
    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=60)
    _, alive = psutil.wait_procs(family, timeout=2)
    assert alive == []
    assert list(tmp_path.iterdir()) == []
    assert demo.returncode == 130


def test_a_stream_that_a_stop_ends_says_so_in_an_error_event(grid: LocalGrid) -> None:
    """The last of this file: it leaves no coordinator."""
    question = {"role": "user", "content": "#echo chunks=4000 delay_ms=10\nhello"}
    with (
        openai.OpenAI(base_url=f"{grid.endpoint.plain_url}/v1", api_key=grid.admin_key, max_retries=0) as client,
        client.chat.completions.create(model="echo", messages=[question], max_tokens=4000, stream=True) as stream,
    ):
        next(stream)
        os.kill(grid.endpoint.pid, signal.SIGTERM)
        with pytest.raises(openai.APIError, match="The coordinator was stopped"):
            list(stream)
