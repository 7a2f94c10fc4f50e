"""The worker itself on Windows Python under Wine, with a real coordinator beside it on Linux.

Run by `make test-windows`. What a worker's owner does, in order: join, run, look, pause, change a limit, use, end.
"""
# ruff: noqa: S101 - a test that lies outside tests/, because it needs what `make test` does not

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from windows_machine import UNTESTED, WindowsMachine, alive, display, within

from gogrid.client.answers import Worker
from gogrid.client.local_grid import LocalGrid, TokenAnswer

CLEAN_END_S = 5.0


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGrid]:
    with LocalGrid(tmp_path_factory.mktemp("grid")) as made:
        made.init()
        made.start_coordinator()
        made.add_model("echo")
        yield made


@pytest.fixture(scope="module")
def machine(grid: LocalGrid, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WindowsMachine]:
    """Joined to the grid with a token of its own."""
    data = tmp_path_factory.mktemp("machine") / f"windows-{grid.endpoint.port}"
    made = WindowsMachine(data, data.with_suffix(".log"))
    token = grid._admin(TokenAnswer, "token", "create", "--address", f"127.0.0.1:{grid.endpoint.port}").token
    joined = made.worker("join", token, "--name", "wine")
    assert joined.returncode == 0, joined.stdout
    assert f"Joined local (pin {grid.pin[:8]}" in joined.stdout
    yield made
    made.end()


@pytest.fixture(scope="module")
def screen() -> Iterator[str]:
    with display() as name:
        yield name


def seen(grid: LocalGrid) -> Worker | None:
    with grid.client() as client:
        return next((worker for worker in client.workers() if worker.connected), None)


def connected(grid: LocalGrid) -> bool:
    return seen(grid) is not None


def readiness(grid: LocalGrid) -> str:
    worker = seen(grid)
    return worker.readiness if worker is not None else "not connected"


def status(machine: WindowsMachine) -> dict[str, object]:
    asked = machine.worker("status", "--json")
    assert asked.returncode == 0, asked.stdout
    told: dict[str, object] = json.loads(asked.stdout)
    return told


def test_a_worker_as_it_is_connects_and_says_truthfully_that_its_sandbox_does_not_hold(
    grid: LocalGrid, machine: WindowsMachine, screen: str
) -> None:
    machine.start("-m", "tray.cli", display=screen)
    assert within(30, lambda: readiness(grid) == "unable"), machine.log.read_text()
    worker = seen(grid)
    assert worker is not None
    assert (worker.name, worker.platform) == ("wine", "windows-x86_64")
    assert "did not enforce: no writing to the owner's files" in worker.reason
    assert worker.python_jobs is False
    told = status(machine)
    assert told["connected"] is True
    assert told["python_jobs"] is False
    assert str(told["sandbox"]).startswith("none: Job Object")
    again = machine.worker("--headless")
    assert again.returncode == 2
    assert "runs" in again.stdout


def test_the_app_shows_its_icon_and_quit_ends_all_of_it_cleanly_and_soon(
    grid: LocalGrid, machine: WindowsMachine
) -> None:
    app = machine.ask_app("AskApp")
    assert (app["state"], app["icon"], app["autostart"]) == ("trouble", True, False)
    held = machine.processes()
    assert len(alive(held)) >= 3
    machine.ask_app("Quit")
    assert within(CLEAN_END_S, lambda: not alive(held)), [each.cmdline() for each in alive(held)]
    assert within(1, lambda: not connected(grid))
    log = (machine.data / "logs" / "worker.log").read_text()
    assert "runner.app: stopping" in log
    assert "killing it" not in log


def test_a_chat_is_answered_from_the_windows_sandbox(grid: LocalGrid, machine: WindowsMachine) -> None:
    machine.start(UNTESTED)
    assert within(30, lambda: readiness(grid) == "ready"), machine.log.read_text()
    assert chat(grid, "one two three").split() == ["one", "two", "three"]
    assert machine.executors()


@pytest.mark.timeout(300)
def test_pause_resume_and_a_changed_limit_reach_the_worker_and_its_coordinator(
    grid: LocalGrid, machine: WindowsMachine
) -> None:
    paused = machine.worker("pause")
    assert (paused.returncode, paused.stdout.strip()) == (0, "paused")
    assert within(2, lambda: readiness(grid) == "paused")
    assert within(2, lambda: not alive(machine.executors()))
    assert machine.worker("resume").returncode == 0
    assert within(2, lambda: readiness(grid) == "ready")
    changed = machine.worker("config", "max_ram", "1GB")
    assert changed.returncode == 0, changed.stdout
    assert "max_ram" in (machine.data / "config.toml").read_text()
    assert within(2, lambda: "1.0 GB of memory for scripts" in (machine.data / "logs" / "worker.log").read_text())


def test_terminate_process_of_the_supervisor_leaves_no_runner_and_no_executor(
    grid: LocalGrid, machine: WindowsMachine
) -> None:
    assert chat(grid, "four") == "four"
    held = [*machine.processes(), *machine.executors()]
    assert len(alive(held)) >= 3
    killed = machine.python(
        "-c", "import psutil, sys; psutil.Process(int(sys.argv[1])).parent().kill()", str(status(machine)["pid"])
    )
    assert killed.returncode == 0, killed.stdout
    assert within(1, lambda: not alive(held)), [each.cmdline() for each in alive(held)]


def chat(grid: LocalGrid, text: str) -> str:
    answer = httpx.post(
        f"{grid.endpoint.plain_url}/v1/chat/completions",
        headers={"Authorization": f"Bearer {grid.admin_key}"},
        json={"model": "echo", "messages": [{"role": "user", "content": text}], "max_tokens": 8},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])
