"""The .deb on this machine: installed, started under a display, joined to a real coordinator, working, purged.

Changes the machine, so it runs only where that is wanted: `make packages-test` in a container, or with CI=true.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gogrid.client.answers import ChatTurn
from gogrid.client.local_grid import NOBODYS, LocalGrid

ROOT = Path(__file__).parents[2]
DEB = next((ROOT / "dist").glob("gogrid_*.deb"), None)
PLACES = ("/opt/gogrid", "/usr/bin/gogrid", "/usr/bin/gogrid-worker", "/usr/lib/systemd/user/gogrid-worker.service")
CONTAINER = Path("/.dockerenv").exists() or Path("/run/.containerenv").exists() or os.environ.get("CI") == "true"

pytestmark = [
    pytest.mark.skipif(shutil.which("dpkg") is None or os.geteuid() != 0, reason="needs dpkg and root"),
    pytest.mark.skipif(not CONTAINER and os.environ.get("GOGRID_MAY_INSTALL") != "1", reason="not in a container"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def installed() -> Iterator[None]:
    assert DEB is not None, "make packages builds it"
    before = leftovers()
    assert before == [], "there is a gogrid on this machine already"
    subprocess.run(["dpkg", "-i", str(DEB)], check=True, stdout=subprocess.DEVNULL)
    yield
    subprocess.run(["dpkg", "--purge", "gogrid"], check=True, stdout=subprocess.DEVNULL)
    assert leftovers() == before, "purge leaves something"


def leftovers() -> list[str]:
    icons = Path("/usr/share/icons/hicolor").glob("*/apps/gogrid.png")
    entries = Path("/usr/share/applications").glob("gogrid-*.desktop")
    return sorted(
        str(path)
        for path in (*map(Path, PLACES), *icons, *entries, Path("/usr/share/doc/gogrid"))
        if path.exists() or path.is_symlink()
    )


def run(*command: str, **kinds: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **kinds})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("installed")
def test_files_are_roots_and_nobody_else_may_write_them() -> None:
    bad = [
        path
        for path in Path("/opt/gogrid").rglob("*")
        if not path.is_symlink() and (path.stat().st_uid != 0 or path.stat().st_mode & 0o022)
    ]
    assert bad == []
    assert run("desktop-file-validate", *map(str, Path("/usr/share/applications").glob("gogrid-*.desktop"))) == ""


@pytest.mark.usefixtures("installed")
def test_programs_say_their_version_and_what_they_lack(tmp_path: Path) -> None:
    assert re.fullmatch(r"gogrid-worker \S+\n", run("/usr/bin/gogrid-worker", "--version"))
    done = subprocess.run(
        ["/usr/bin/gogrid-worker", "--data", str(tmp_path), "doctor"], capture_output=True, text=True, check=False
    )
    assert "ok     sandbox" in done.stdout, done.stdout + done.stderr
    assert "engine install" in done.stdout, done.stdout


@pytest.mark.usefixtures("installed")
def test_it_joins_answers_and_runs_a_script(tmp_path: Path) -> None:
    with LocalGrid(tmp_path, programs=Path("/usr/bin")) as grid:
        grid.init()
        grid.start_coordinator()
        grid.add_model("echo")
        worker = grid.start_worker()
        assert worker.readiness == "ready"
        assert os.readlink(f"/proc/{grid.worker_pid}/exe") == "/opt/gogrid/gogrid-worker"
        with grid.client() as client:
            answer = client.chat("echo", [ChatTurn("user", "hello from the package")])
            assert "hello from the package" in answer.text
        login = {"GOGRID_CLIENT_CONFIG": str(tmp_path / "client.toml")}
        run("/usr/bin/gogrid", "login", grid.endpoint.url, "--pin", grid.pin, "--key", grid.admin_key, **login)
        script = tmp_path / "script.py"
        script.write_text(
            "import sqlite3, subprocess, sys\nprint(subprocess.check_output([sys.executable, '-c', 'print(6*7)']))"
        )
        assert "42" in run("/usr/bin/gogrid", "run", str(script), **login)


@pytest.mark.usefixtures("installed")
@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb is not installed")
def test_the_app_runs_on_a_display_and_ends_with_all_it_started(tmp_path: Path) -> None:
    with LocalGrid(tmp_path) as grid:
        grid.init()
        grid.start_coordinator()
        address = f"127.0.0.1:{grid.endpoint.port}"
        coordinator = Path(sys.executable).with_name("gogrid-coordinator")
        made = run(str(coordinator), "token", "create", "--address", address, "--data", str(grid.data), "--json")
        data = ("--data", str(tmp_path / "desk"))
        run("/usr/bin/gogrid-worker", *data, "join", json.loads(made)["token"])
        command = ["dbus-run-session", "--", "xvfb-run", "-a", "/usr/bin/gogrid-worker", *data]
        app = subprocess.Popen(command, env={**os.environ, **NOBODYS}, start_new_session=True)
        try:
            with grid.client() as client:
                until = time.monotonic() + 60
                while not any(worker.readiness == "ready" for worker in client.workers()):
                    assert time.monotonic() < until, "it did not become ready"
                    time.sleep(0.2)
        finally:
            for pid, program in ours():
                if program == "/opt/gogrid/gogrid-worker":
                    os.kill(pid, signal.SIGTERM)
            app.wait(30)
    assert ours() == []


def ours() -> list[tuple[int, str]]:
    """Running programs of the package, also those in sandboxes, where every worker's Python has the same name."""
    installed = {(found.st_dev, found.st_ino) for found in (path.stat() for path in Path("/opt/gogrid").rglob("*"))}
    running = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found, program = (process / "exe").stat(), os.readlink(process / "exe")
        except OSError:
            continue
        if (found.st_dev, found.st_ino) in installed:
            running.append((int(process.name), program))
    return running
