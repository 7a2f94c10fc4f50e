"""`gogrid-worker` against a real coordinator: join, run, status, doctor, and a token that was used before."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(sys.platform != "linux", reason="the runner needs a sandbox, which Linux has"),
]


def run(module: str, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")},
    )


class Coordinator:
    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"

    def command(self, *words: str) -> dict[str, object]:
        done = run("coordinator.cli.main", *words, "--data", self.folder, "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found

    def token(self) -> str:
        return str(self.command("token", "create")["token"])


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    made = Coordinator(tmp_path / "coordinator")
    made.command("init", "--name", "office", "--host", made.address)
    arguments = [sys.executable, "-m", "coordinator.cli.main", "serve", "--data", made.folder, "--listen", made.address]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        assert b"ready" in process.stdout.readline()
        yield made
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def test_one_paste_makes_a_worker(coordinator: Coordinator, tmp_path: Path) -> None:
    data, token = tmp_path / "my worker", coordinator.token()
    data.mkdir()
    (data / "config.toml").write_text("# my worker\n[worker]\ncpu_cores = 1  # leave me one\n")
    cut = run("tray.cli", "--data", str(data), "join", "-", "--name", "x" * 65, text=token + "\n")
    assert (cut.returncode, cut.stderr.count("\n")) == (2, 1)
    assert "1 to 64 printable" in cut.stderr
    joined = run("tray.cli", "--data", str(data), "join", "-", text=token + "\n")
    assert joined.returncode == 0, joined.stderr
    assert joined.stdout.startswith("Joined office (pin ")
    assert f"at {coordinator.address} as " in joined.stdout
    assert joined.stdout.endswith(f"\nNext: gogrid-worker --data '{data}' --headless\n")
    host, port = coordinator.address.split(":")
    assert (data / "config.toml").read_text() == (
        f'# my worker\n[worker]\ncpu_cores = 1  # leave me one\n\n[coordinator]\nhost = "{host}"\nport = {port}\n'
    )
    assert (data / "state" / "worker.key").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in (data / "state").iterdir()) == [
        "coordinator.pem",
        "membership.json",
        "worker.key",
    ]
    seed = token.removeprefix("ggj1_")
    assert all(seed not in path.read_text() for path in data.rglob("*") if path.is_file())

    twice = run("tray.cli", "--data", str(data), "join", token)
    assert (twice.returncode, twice.stderr.count("\n")) == (1, 1)
    assert "This machine has joined office already (as " in twice.stderr

    again = run("tray.cli", "--data", str(tmp_path / "other"), "join", token)
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1
    assert "token" in again.stderr
    assert list((tmp_path / "other" / "state").iterdir()) == []
    assert not (tmp_path / "other" / "config.toml").exists()

    worker = subprocess.Popen(
        [sys.executable, "-m", "tray.cli", "--data", str(data), "--headless"], stderr=subprocess.DEVNULL
    )
    try:
        status = _connected(data)
        assert status["coordinator"] == coordinator.address
        assert status["readiness"] == "ready"
        assert str(status["connection"]).startswith("connected to")
        doctor = run("tray.cli", "--data", str(data), "doctor", "--json")
        checks = {check["name"]: check["ok"] for check in json.loads(doctor.stdout)}
        assert checks["UDP (QUIC)"]
        assert checks["TCP (HTTPS)"]
        assert checks["clock"]
        assert _connected(data)["pid"] == status["pid"], "doctor must not end a running worker's session"
    finally:
        worker.terminate()
        assert worker.wait(20) == 0
    log = (data / "logs" / "worker.log").read_text()
    assert "connected to" in log
    assert "Traceback" not in log


def test_a_revoked_worker_stops_and_says_what_to_do(coordinator: Coordinator, tmp_path: Path) -> None:
    data = tmp_path / "worker"
    joined = json.loads(run("tray.cli", "--data", str(data), "join", coordinator.token(), "--json").stdout)
    coordinator.command("worker", "revoke", joined["worker_id"])
    done = run("tray.cli", "--data", str(data), "--headless")
    assert done.returncode == 1
    assert "join again with a new token" in done.stderr
    assert "Traceback" not in done.stderr


def _connected(data: Path) -> dict[str, object]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        done = run("tray.cli", "--data", str(data), "status", "--json")
        if done.returncode == 0:
            found: dict[str, object] = json.loads(done.stdout)
            if found["connected"]:
                return found
        time.sleep(0.1)
    raise AssertionError("the worker did not connect")
