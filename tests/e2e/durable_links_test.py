"""A running Python job, its worker and its coordinator, over lost links and restarts: real programs and sandboxes."""

import os
import re
import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from gogrid.client.answers import Job, Limits
from gogrid.client.client import GoGrid
from tests.faults.faultgrid import FaultGrid, within, words_of
from tests.faults.impairment import BLACKHOLE

pytestmark = pytest.mark.sandbox

NOTICED_SOON = {
    "GOGRID_COORDINATOR_HEARTBEAT": "0.5s",
    "GOGRID_COORDINATOR_PING": "0.5s",
    "GOGRID_COORDINATOR_PING_TIMEOUT": "0.5s",
}
"""Leases and fences as in the product."""
FENCED_SOON = {**NOTICED_SOON, "GOGRID_COORDINATOR_FENCE": "3s", "GOGRID_COORDINATOR_LEASE": "5s"}
SCRIPT = b"""
import sys, time
for number in range(int(sys.argv[1])):
    print("line", number, flush=True)
    time.sleep(0.1)
with open("result.txt", "w") as file:
    file.write("whole")
"""


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultGrid]:
    with FaultGrid(tmp_path_factory.mktemp("patient"), NOTICED_SOON) as made:
        made.add_proxied("one")
        made.wait_ready()
        yield made


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultGrid]:
    with FaultGrid(tmp_path_factory.mktemp("hasty"), FENCED_SOON) as made:
        for name in ("one", "two"):
            made.add_proxied(name)
        made.wait_ready()
        yield made


@pytest.fixture
def grid(patient: FaultGrid) -> FaultGrid:
    patient.mend()
    return patient


@pytest.fixture
def pair(hasty: FaultGrid) -> FaultGrid:
    hasty.mend()
    return hasty


def submit(client: GoGrid, lines: int) -> Job:
    limits = Limits(wall_s=60.0)
    return client.submit_python({"main.py": SCRIPT}, "main.py", arguments=[str(lines)], limits=limits)


def said_enough(client: GoGrid, job: Job) -> None:
    """Wait until the script is in the middle of its work."""
    for piece in client.logs(job.id):
        if not isinstance(piece, Job) and b"line 3" in piece.data:
            return


def whole(client: GoGrid, job: Job, lines: int, grid: FaultGrid) -> Job:
    *pieces, ended = client.logs(job.id)
    assert isinstance(ended, Job), grid.last_words()
    assert ended.state == "done", (ended, grid.last_words())
    said = b"".join(piece.data for piece in pieces if not isinstance(piece, Job))
    assert said == b"".join(b"line %d\n" % number for number in range(lines))
    return ended


def epoch_of(grid: FaultGrid, job: Job) -> int:
    epoch: int = grid.http.get(f"/api/v1/jobs/{job.id}").json()["epoch"]
    return epoch


def holder_of(grid: FaultGrid, job: Job) -> tuple[str, str]:
    """The worker that has the job, and the other one."""
    holder = next(name for name in ("one", "two") if job.id in grid.held_by(name))
    return holder, "two" if holder == "one" else "one"


def scripts_of(grid: FaultGrid, name: str) -> list[psutil.Process]:
    return [one for one in grid.worker(name).family() if "main.py" in " ".join(words_of(one))]


def fenced(grid: FaultGrid) -> float:
    found = re.search(r"^gogrid_results_fenced_total (\S+)$", grid.http.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else -1.0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_runs_through_a_restart_of_the_coordinator(grid: FaultGrid, how: signal.Signals) -> None:
    with grid.local.client() as client:
        job = submit(client, 40)
        said_enough(client, job)
    os.kill(grid.local.endpoint.pid, how)
    assert within(15, lambda: not psutil.pid_exists(grid.local.endpoint.pid) or _is_zombie(grid.local.endpoint.pid))
    grid.local.restart_coordinator()
    with grid.local.client() as client:
        whole(client, job, 40, grid)
        (file,) = client.job(job.id).result.files  # type: ignore[union-attr]
        assert b"".join(client.output(job.id, file)) == b"whole"
    assert epoch_of(grid, job) == 1


def test_a_job_runs_through_a_lost_link(grid: FaultGrid) -> None:
    with grid.local.client() as client:
        job = submit(client, 40)
        said_enough(client, job)
        grid.proxies["one"].conditions(BLACKHOLE, BLACKHOLE)
        assert within(10, lambda: grid.avoids("one"))
        time.sleep(0.5)
        grid.proxies["one"].conditions()
        whole(client, job, 40, grid)
    assert epoch_of(grid, job) == 1


def test_a_job_that_ends_while_its_worker_is_away_is_told_when_it_returns(grid: FaultGrid) -> None:
    with grid.local.client() as client:
        job = submit(client, 15)
        said_enough(client, job)
        scripts = scripts_of(grid, "one")
        grid.proxies["one"].conditions(BLACKHOLE, BLACKHOLE)
        assert within(10, lambda: grid.avoids("one"))
        assert psutil.wait_procs(scripts, timeout=10.0)[1] == []
        grid.proxies["one"].conditions()
        whole(client, job, 15, grid)
    assert epoch_of(grid, job) == 1


def test_a_worker_cut_off_for_too_long_kills_its_job_before_another_has_it(pair: FaultGrid) -> None:
    with pair.local.client() as client:
        job = submit(client, 400)
        said_enough(client, job)
        holder, other = holder_of(pair, job)
        before, scripts = fenced(pair), scripts_of(pair, holder)
        assert scripts
        pair.proxies[holder].conditions(BLACKHOLE, BLACKHOLE)
        cut = time.monotonic()
        _, alive = psutil.wait_procs(scripts, timeout=5.0)
        fenced_s = time.monotonic() - cut
        assert alive == []
        assert 2.0 <= fenced_s < 5.0
        assert epoch_of(pair, job) == 1
        assert within(20, lambda: pair.held_by(other) == {job.id: 2}), pair.last_words()
        pair.proxies[holder].conditions()
        assert within(20, lambda: fenced(pair) == before + 1), pair.last_words()
        client.cancel(job.id)


def test_a_frozen_workers_work_is_done_once_elsewhere(pair: FaultGrid) -> None:
    """SIGSTOP for longer than the lease; what it says afterwards is fenced."""
    with pair.local.client() as client:
        job = submit(client, 30)
        said_enough(client, job)
        holder, _ = holder_of(pair, job)
        before = fenced(pair)
        pair.worker(holder).freeze()
        *_, ended = client.logs(job.id)
        assert isinstance(ended, Job)
        assert (ended.state, epoch_of(pair, job)) == ("done", 2), pair.last_words()
        pair.worker(holder).thaw()
        assert within(20, lambda: fenced(pair) == before + 1), pair.last_words()
        assert epoch_of(pair, job) == 2


def test_a_cancel_reaches_the_script_while_its_worker_is_away(grid: FaultGrid) -> None:
    with grid.local.client() as client:
        job = submit(client, 400)
        said_enough(client, job)
        scripts = scripts_of(grid, "one")
        assert scripts
        grid.proxies["one"].conditions(BLACKHOLE, BLACKHOLE)
        assert within(10, lambda: grid.avoids("one"))
        client.cancel(job.id)
        grid.proxies["one"].conditions()
        _, alive = psutil.wait_procs(scripts, timeout=5.0)
        assert alive == []
        assert client.job(job.id).state == "cancelled"


def _is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
