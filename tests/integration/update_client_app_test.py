"""The whole way with the real programs: coordinator, worker and updater, where only the freezing is left out.

`gogrid-worker` and `gogrid-runner` of each version are scripts that say of themselves that they were frozen. Their
coordinator publishes a good version, then one that only crashes; nobody touches the worker meanwhile.
"""

import asyncio
import io
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gogrid.places import worker_places
from tests.fakes.release_folders import release_folder, root_keys
from tests.fakes.update_publisher import APP, CHANNEL, TARGET, Publisher, anchors
from tray.instance import app_server
from tray.instance_messages import AppAsk, AppState, AppStatus, UpdateState
from updates.client.layout import AppFolder, Installation, read_copy
from updates.trust.trusted_state import start_begun, switched

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(sys.platform != "linux", reason="the runner needs a sandbox, which Linux has"),
]
ROOT = Path(__file__).parents[2]
OLD, NEW, BAD = 5, 7, 8
AT = time.time() - 60
_WORKER = f"""#!{sys.executable}
import os, sys
sys.path.insert(0, {str(ROOT)!r})
sys.frozen, sys.executable = True, os.path.abspath(sys.argv[0])
from tray.cli import main
sys.exit(main())
"""
_RUNNER = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(ROOT)!r})
from runner.__main__ import main
sys.exit(main())
"""
_CRASHES = f"#!{sys.executable}\nraise SystemExit('this version is no good')\n"


def files(seq: int, version: str, worker: str) -> dict[str, str]:
    copy = {"app": APP, "channel": CHANNEL, "target": TARGET, "version": version, "seq": seq}
    keys = {"schema": 1, "threshold": 2, "first_epoch": 1, "root_keys": anchors().root_keys}
    return {
        "gogrid-worker": worker,
        "gogrid-runner": _RUNNER,
        "copy.json": json.dumps(copy),
        "root-keys.json": json.dumps(keys),
    }


def packed(seq: int, version: str, worker: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files(seq, version, worker).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o100644 if name.endswith(".json") else 0o100755) << 16
            archive.writestr(info, text)
    return made.getvalue()


@dataclass
class Site:
    folder: Path
    port: int
    key: str

    @property
    def program(self) -> Path:
        return self.folder / "installed" / "gogrid-worker"

    def admin(self, *arguments: str) -> dict[str, Any]:
        return _json([sys.executable, "-m", "coordinator.cli.main", *arguments, "--data", str(self.folder / "grid")])

    def worker(self, *arguments: str) -> dict[str, Any]:
        return _json([str(self.program), "--data", str(self.folder / "worker"), *arguments])

    def hurry(self) -> None:
        """`update check`; the app may have looked by itself meanwhile, and then this meets a bad version on trial."""
        command = [str(self.program), "--data", str(self.folder / "worker"), "update", "check"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 or " is on trial here" in done.stderr, done.stderr

    def publish(self, seq: int, version: str, worker: str) -> None:
        publisher = Publisher(seq=seq, version=version, ts_seq=seq, file=packed(seq, version, worker), at=AT)
        folder = release_folder(self.folder / f"release-{seq}", publisher)
        self.admin("release", "publish", str(folder.root), "--root-keys", str(self.folder / "root-keys.json"))

    def listed(self) -> dict[str, Any]:
        """As the coordinator lists the worker."""
        headers = {"Authorization": f"Bearer {self.key}"}
        reply = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/workers", headers=headers, trust_env=False)
        found: list[dict[str, Any]] = reply.json()["data"]
        return found[0] if found else {}


def _json(command: list[str]) -> dict[str, Any]:
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    return answer


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "installed").mkdir()
    for name, text in files(OLD, "1.0.0", _WORKER).items():
        (tmp_path / "installed" / name).write_text(text)
        (tmp_path / "installed" / name).chmod(0o755)
    root_keys(tmp_path / "root-keys.json")
    made = Site(tmp_path, _free_port(), "")
    made.key = made.admin("init")["key"]
    command = [sys.executable, "-m", "coordinator.cli.main", "serve", "--data", str(tmp_path / "grid")]
    command += ["--listen", "127.0.0.1:0", "--http-loopback", str(made.port)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as serving:
        assert serving.stdout is not None
        assert select.select([serving.stdout], [], [], 20)[0]
        address = serving.stdout.readline()
        listening = re.search(r"is ready on .*?(127\.0\.0\.1:\d+)", address)
        assert listening, address
        try:
            token = made.admin("token", "create", "--address", listening[1])["token"]
            subprocess.run(
                [str(made.program), "--data", str(tmp_path / "worker"), "join", token], check=True, capture_output=True
            )
            yield made
        finally:
            serving.send_signal(signal.SIGTERM)
            serving.communicate()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(true: Callable[[], object], what: str, limit_s: float = 60) -> float:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < limit_s, what
        time.sleep(0.05)
    return time.monotonic() - began


def on_trial(tmp_path: Path) -> Installation:
    """Release `OLD` is installed, and `BAD` has been started."""
    for place, seq, version, worker in (("installed", OLD, "1.0.0", _WORKER), ("data/app", BAD, "3.0.0", _CRASHES)):
        folder = tmp_path / place if seq == OLD else AppFolder(tmp_path / place).version(seq)
        folder.mkdir(parents=True)
        for name, text in files(seq, version, worker).items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
    installation = Installation(
        AppFolder(tmp_path / "data/app"), read_copy(tmp_path / "installed"), tmp_path / "installed"
    )
    installation.change(lambda state: start_begun(switched(state, BAD)))
    return installation


def test_a_command_while_a_crashing_version_is_on_trial_says_to_wait(tmp_path: Path):
    installation = on_trial(tmp_path)
    said = {}
    for verb in ("status", "check", "apply"):
        command = [str(tmp_path / "installed/gogrid-worker"), "--data", str(tmp_path / "data"), "update", verb]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        said[verb] = (done.returncode, done.stdout, done.stderr)
    wait = (
        "Version 3.0.0 is on trial here and does not answer yet; wait until it does or the version before it is back,"
        " two minutes at most.\n"
    )
    assert said == {
        "status": (0, f"version 1.0.0 (release {OLD}, channel {CHANNEL})\n{wait}", ""),
        "check": (1, "", f"gogrid-worker: {wait}"),
        "apply": (1, "", f"gogrid-worker: {wait}"),
    }
    assert installation.load().installed == BAD, "nothing was decided"


async def test_a_version_that_answers_during_its_trial_is_said_to_run(tmp_path: Path):
    on_trial(tmp_path)
    app = AppStatus(
        state=AppState.READY,
        sentence="",
        runner=None,
        update=UpdateState(state="current"),
        autostart=None,
        icon=False,
        pid=os.getpid(),
    )

    async def answer(question: AppAsk) -> AppStatus:
        return app

    places = worker_places(
        config=None,
        data=tmp_path / "data",
        environment=os.environ,
        platform="linux",
        home=Path.home(),
        user=os.getuid(),
    )
    server = app_server(places.instance, answer)
    await server.open()
    command = (tmp_path / "installed/gogrid-worker", "--data", tmp_path / "data", "update", "status")
    status = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    said, _ = await status.communicate()
    await server.close()
    assert said.decode() == f"version 3.0.0 (release {BAD}, channel {CHANNEL})\n"


@pytest.mark.timeout(180)
def test_a_worker_updates_itself_and_comes_back_from_a_version_that_only_crashes(site: Site):
    environment = {**os.environ, "GOGRID_DEVICE": "cpu"}
    command = [str(site.program), "--data", str(site.folder / "worker"), "--headless"]
    log = (site.folder / "log").open("wb")
    with subprocess.Popen(command, env=environment, stderr=log) as running:
        try:
            until(lambda: site.listed().get("connected"), "the worker connects")
            site.publish(NEW, "2.0.0", _WORKER)
            site.worker("update", "check")
            until(lambda: not site.listed()["connected"], "it restarts by itself")
            downtime = until(lambda: site.listed()["connected"], "the new version connects")
            assert downtime < 10
            until(lambda: site.worker("update", "status")["seq"] == NEW, "the new version runs")
            site.publish(BAD, "3.0.0", _CRASHES)
            published = time.monotonic()
            site.hurry()
            while "3.0.0 did not start" not in site.listed()["reason"]:
                assert time.monotonic() - published < 60, "the coordinator is told"
                site.hurry()
            assert site.listed()["connected"]
            assert site.worker("update", "status")["version"] == "2.0.0"
            assert running.poll() is None
            assert site.worker("update", "rollback") == {"state": "restarting"}
            until(lambda: site.worker("update", "status")["version"] == "1.0.0", "its owner goes back")
        finally:
            running.terminate()
            running.wait(30)
            log.close()
