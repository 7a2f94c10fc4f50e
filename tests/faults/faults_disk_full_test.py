"""The coordinator's disk is full, for real: its state lies on a tmpfs of 8 MiB (R3).

New durable work is refused with 507, everything else goes on, `/readyz` names it, every job that was acknowledged ends,
and with more room the same process takes work again.
"""

import base64
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.conftest import Form
from tests.faults.faultgrid import FaultGrid, within
from tests.faults.figures import Row, Table

pytestmark = [pytest.mark.sandbox, pytest.mark.fault("disk_full")]


def mounted(*arguments: str) -> bool:
    for ahead in ([], ["sudo", "-n"]):
        command = [*ahead, *arguments]
        if shutil.which(command[0]) and subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return True
    return False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder `coordinator` on a tmpfs of 8 MiB."""
    place = tmp_path / "coordinator"
    place.mkdir(mode=0o700)
    options = f"size=8m,mode=0700,uid={os.getuid()},gid={os.getgid()}"
    if not mounted("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)):
        pytest.skip("a tmpfs cannot be mounted here; room_test.py and faults_disk_errors_test.py simulate a full disk")
    yield place
    assert mounted("umount", "-l", str(place))


def submit(http: httpx.Client, size: int) -> httpx.Response:
    padding = base64.b64encode(os.urandom(size)).decode()
    files = [{"name": "a.py", "content": base64.b64encode(b"print(1)").decode()}, {"name": "p", "content": padding}]
    return http.post("/api/v1/jobs", json={"files": files, "entry": "a.py", "limits": {"memory_bytes": 256 << 20}})


def fill(http: httpx.Client, size: int, acknowledged: list[str]) -> httpx.Response:
    """Submit until it is refused; the refusal."""
    while (answer := submit(http, size)).status_code == 201:
        acknowledged.append(answer.json()["id"])
    return answer


def fill_up(file: Path) -> None:
    with file.open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))


def serves_the_rest(http: httpx.Client, acknowledged: list[str]) -> None:
    answer = http.post("/v1/chat/completions", json={"model": "echo", "messages": [{"role": "user", "content": "hi"}]})
    assert answer.status_code == 200, answer.text
    assert http.get(f"/api/v1/jobs/{acknowledged[0]}").status_code == 200
    assert len(http.get("/api/v1/jobs").json()["data"]) == min(50, len(acknowledged))
    assert http.get("/healthz").status_code == 200


def refused(answer: httpx.Response) -> None:
    assert answer.status_code == 507, answer.text
    assert answer.json()["error"]["code"] == "insufficient_storage"
    assert int(answer.headers["retry-after"]) > 0


def test_a_full_disk_refuses_new_work_serves_the_rest_and_is_over_when_there_is_room(
    small_disk: Path, form: Form, table: Table
) -> None:
    rounds = form.pick(1, 5)
    acknowledged: list[str] = []
    with FaultGrid(small_disk.parent) as grid:
        grid.add_worker("one")
        grid.wait_ready()
        process = (grid.local.data / "serve.json").read_bytes()
        recovered = []
        for turn in range(rounds):
            refused(fill(grid.http, form.pick(400_000, 100_000), acknowledged))
            serves_the_rest(grid.http, acknowledged)
            filler = small_disk / "filler"
            with pytest.raises(OSError, match="No space"):
                fill_up(filler)
            refused(submit(grid.http, 10))
            serves_the_rest(grid.http, acknowledged)
            assert within(5, lambda: grid.http.get("/readyz").status_code == 503)
            assert "disk" in grid.http.get("/readyz").json()["missing"][0]
            filler.unlink()
            assert mounted("mount", "-o", f"remount,size={12 + 4 * turn}m", str(small_disk))
            began = time.monotonic()
            assert within(10, lambda: grid.http.get("/readyz").status_code == 200)
            recovered.append(time.monotonic() - began)
            more = submit(grid.http, 10)
            assert more.status_code == 201, more.text
            acknowledged.append(more.json()["id"])
        within(90, lambda: not unfinished(grid.http, acknowledged), 0.3)
        lost = unfinished(grid.http, acknowledged)
        assert (grid.local.data / "serve.json").read_bytes() == process, "nobody started it again"
    others = {"acknowledged": len(acknowledged), "lost": len(lost), "ready again max s": max(recovered)}
    table.add(Row("disk_full", rounds, "507, lost 0, no restart", not lost, None, others))
    assert lost == []


def unfinished(http: httpx.Client, jobs: list[str]) -> list[str]:
    return [job for job in jobs if http.get(f"/api/v1/jobs/{job}").json().get("state") != "done"]
