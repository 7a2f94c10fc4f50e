"""The admin's commands beside a running coordinator."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from coordinator.state.folder import StateFolder

_READY_S = 20.0


def admin(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coordinator.cli.main", *arguments, "--data", str(data)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int, str]]:
    """State folder, port of plain HTTP, admin key."""
    data = tmp_path_factory.mktemp("served") / "state"
    key = json.loads(admin(data, "init", "--json").stdout)["key"]
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "coordinator.cli.main", "serve", "--data", str(data), "--listen", "127.0.0.1:0",
         "--http-loopback", str(port), "--public", "127.0.0.1", "--public", "grid.test:443"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout as output:
        ready, _, _ = select.select([output], [], [], _READY_S)
        assert ready, "the coordinator did not become ready"
        assert "is ready on" in output.readline()
        yield data, port, key
        process.send_signal(signal.SIGTERM)
        output.read()
    assert process.wait(20) == 0


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_key_works_the_moment_it_is_made_and_not_after_it_is_revoked(served: tuple[Path, int, str]) -> None:
    data, port, _ = served
    made = json.loads(admin(data, "key", "create", "--name", "ann", "--json").stdout)

    def status() -> int:
        headers = {"Authorization": f"Bearer {made['key']}"}
        return httpx.get(f"http://127.0.0.1:{port}/v1/models", headers=headers, trust_env=False).status_code

    assert status() == 200
    assert admin(data, "key", "revoke", "ann").returncode == 0
    assert _becomes(status, 401)


def test_a_model_added_beside_a_running_coordinator_is_served(served: tuple[Path, int, str]) -> None:
    data, port, key = served
    assert admin(data, "model", "add", "--engine", "echo").returncode == 0
    headers = {"Authorization": f"Bearer {key}"}
    url = f"http://127.0.0.1:{port}/v1/models"
    assert _becomes(
        lambda: [model["id"] for model in httpx.get(url, headers=headers, trust_env=False).json()["data"]], ["echo"]
    )


def test_a_second_serve_is_refused_and_doctor_finds_the_first(served: tuple[Path, int, str]) -> None:
    data, _, _ = served
    second = admin(data, "serve", "--listen", "127.0.0.1:0")
    assert (second.returncode, second.stdout) == (2, "")
    assert "Another coordinator serves" in second.stderr
    assert second.stderr.count("\n") == 1
    doctor = admin(data, "doctor")
    assert "that it is ready" in doctor.stdout
    assert "join tokens: they name 127.0.0.1:" in doctor.stdout
    assert doctor.returncode == 0


def test_a_token_names_the_port_that_was_chosen(served: tuple[Path, int, str]) -> None:
    data, _, _ = served
    serving = StateFolder(data).read_serving()
    assert serving is not None
    made = json.loads(admin(data, "token", "create", "--address", "127.0.0.1", "--json").stdout)
    assert made["addresses"] == [f"127.0.0.1:{serving.port}"]


def test_a_token_names_what_serve_was_told_is_public(served: tuple[Path, int, str]) -> None:
    data, _, _ = served
    serving = StateFolder(data).read_serving()
    assert serving is not None
    made = admin(data, "token", "create")
    assert "grid.test:443 leads here only if something forwards it" in made.stdout
    made = admin(data, "token", "create", "--json")
    assert json.loads(made.stdout)["addresses"] == [f"127.0.0.1:{serving.port}", "grid.test:443"]


def _becomes(look: object, wanted: object, within_s: float = 5.0) -> bool:
    assert callable(look)
    deadline = time.monotonic() + within_s
    while look() != wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_of_two_that_start_at_once_one_serves(tmp_path: Path) -> None:
    data = tmp_path / "state"
    assert admin(data, "init").returncode == 0
    command = [sys.executable, "-m", "coordinator.cli.main", "serve", "--data", str(data), "--listen", "127.0.0.1:0"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    deadline = time.monotonic() + _READY_S
    while all(process.poll() is None for process in both) and time.monotonic() < deadline:
        time.sleep(0.05)
    refused = [process for process in both if process.poll() is not None]
    assert len(refused) == 1
    said, complaint = refused[0].communicate()
    assert (refused[0].returncode, said, complaint.count("\n")) == (2, "", 1)
    assert "Another coordinator serves" in complaint
    [serving] = [process for process in both if process is not refused[0]]
    assert _becomes(lambda: StateFolder(data).read_serving() is not None, True, _READY_S)
    serving.terminate()
    serving.communicate()
    assert serving.returncode == 0
