"""`gogrid-worker`'s commands against one real worker, whose coordinator does not answer."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.local_models import MemoryBlobs
from tests.fakes.memberships import joined
from tests.fakes.stored_models import store_model
from tests.fakes.xvfb import display

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(sys.platform != "linux", reason="the runner needs a sandbox, which Linux has"),
]
WORKER = (sys.executable, "-m", "tray.cli")
DAY = 86_400.0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of a running worker with one old model, which was started with a flag and a variable."""
    folder = joined(tmp_path_factory.mktemp("worker"))
    store_model(folder / "models", MemoryBlobs(), used=time.time() - 60 * DAY)
    (folder / "config.toml").write_text("# mine\n[worker]\npause_on_activity = false  # I do not mind\n")
    command = [*WORKER, "--data", str(folder), "--headless", "--max-ram", "40%"]
    environment = {**os.environ, "GOGRID_MODEL_TURN": "7s"}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    try:
        soon(lambda: worker(folder, "status").returncode == 0, 20)
        yield folder
    finally:
        process.terminate()
        assert process.wait(15) == 0


def soon(happened: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def worker(data: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WORKER, "--data", str(data), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def said(data: Path, *words: str, code: int = 0) -> dict[str, object]:
    done = worker(data, *words, "--json")
    assert done.returncode == code, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_pause_with_an_end_is_known_to_the_worker(data: Path) -> None:
    until = said(data, "pause", "--for", "1h")["until"]
    assert isinstance(until, float)
    assert abs(until - time.time() - 3600) < 30
    status = said(data, "status")
    assert (status["readiness"], status["paused_until"]) == ("paused", pytest.approx(until))
    assert said(data, "resume") == {"state": "resumed"}
    assert said(data, "status")["readiness"] == "ready"


def test_the_running_workers_flags_and_variables_are_known(data: Path) -> None:
    shown = said(data, "config", "show")
    assert shown["worker.max_ram"] == {"value": "40%", "from": "--max-ram", "live": True}
    assert shown["worker.model_turn"] == {"value": "7s", "from": "GOGRID_MODEL_TURN", "live": True}
    done = said(data, "config", "set", "max_ram", "10%")
    note = done["note"]
    assert (done["key"], done["counts"]) == ("worker.max_ram", "no")
    assert str(note).endswith("it does not count as long as --max-ram is given, which says 40%.")
    assert worker(data, "config", "get", "max-ram").stdout == "40%\n"
    assert worker(data, "config", "unset", "max_ram").returncode == 0


def test_a_setting_counts_at_once_and_comments_stay(data: Path) -> None:
    done = worker(data, "config", "set", "cpu_cores", "1")
    assert done.stdout == f"Wrote worker.cpu_cores = 1 to {data / 'config.toml'}; it counts at once.\n"
    text = (data / "config.toml").read_text()
    assert text.startswith("# mine\n[worker]\npause_on_activity = false  # I do not mind\ncpu_cores = 1\n")
    refused = worker(data, "config", "set", "cpu_cores", "many")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "a whole number from 0" in refused.stderr
    assert (data / "config.toml").read_text() == text


def test_a_file_that_broke_is_told_and_changes_nothing(data: Path) -> None:
    file = data / "config.toml"
    fine = file.read_text()
    file.write_text(f"{fine}\n[updates]\nenabeld = true\n")
    try:
        soon(lambda: said(data, "status")["settings_trouble"] != "")
        assert "Settings     stay as they were: " in worker(data, "status").stdout
        got = worker(data, "config", "get", "model_turn")
        assert (got.returncode, got.stdout) == (0, "7s\n")
        assert "did you mean updates.enabled? Until it is mended" in got.stderr
        refused = worker(data, "config", "set", "cpu_cores", "3")
        assert (refused.returncode, "updates.enabeld" in refused.stderr) == (2, True)
    finally:
        file.write_text(fine)
    soon(lambda: said(data, "status")["settings_trouble"] == "")
    assert "the settings are fine again" in worker(data, "logs", "-n", "20").stdout


def test_a_broken_file_is_one_finding_of_doctor_among_the_others(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[worker]\nmax_rum = '1GB'\n")
    found = worker(tmp_path, "doctor", "--json")
    checks = {check["name"]: check for check in json.loads(found.stdout)}
    assert found.returncode == 1
    assert (checks["settings"]["ok"], "did you mean worker.max_ram?" in checks["settings"]["finding"]) == (False, True)
    assert checks["disk"]["ok"]
    assert {"sandbox", "device", "coordinator", "tray"} <= checks.keys()


@pytest.mark.desktop
def test_an_app_that_has_not_joined_says_so(tmp_path: Path) -> None:
    with display() as screen:
        home = {"DISPLAY": screen.name, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
        environment = {name: value for name, value in os.environ.items() if name != "DBUS_SESSION_BUS_ADDRESS"}
        app = subprocess.Popen(
            [*WORKER, "--data", str(tmp_path)], stderr=subprocess.DEVNULL, env={**environment, **home}
        )
        try:
            soon(lambda: "has not joined a coordinator yet" in worker(tmp_path, "status").stderr, 20)
            asked = worker(tmp_path, "pause")
            assert (asked.returncode, asked.stderr.count("\n")) == (2, 1)
            assert asked.stderr.endswith("paste its token: gogrid-worker --data " + f"{tmp_path} join TOKEN\n")
        finally:
            app.terminate()
            app.wait(15)


def test_logs_of_the_running_worker_are_followed(data: Path) -> None:
    command = [*WORKER, "--data", str(data), "logs", "-f", "-n", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        time.sleep(1.0)  # it has begun to follow
        worker(data, "config", "set", "cpu_cores", "2")
        line = json.loads(following.stdout.readline())
        while "lends" not in line["line"]:
            line = json.loads(following.stdout.readline())
        following.send_signal(signal.SIGINT)
        assert following.wait(30) == 0
    assert line["log"] == "worker"
    assert "lends from now on" in line["line"]
    assert worker(data, "logs", "-n", "3").stdout.count("\n") == 3


def test_old_models_are_shown_first_and_removed_only_then(data: Path) -> None:
    assert "1 model, " in worker(data, "models", "list").stdout
    shown = said(data, "models", "prune", "--unused-since", "30d")
    assert shown["removed"] is False
    assert len(shown["models"]) == 1  # type: ignore[arg-type]
    assert said(data, "models", "prune", "--unused-since", "90d", "--yes")["models"] == []
    assert len(list((data / "models" / "views").iterdir())) == 1
    assert len(said(data, "models", "prune", "--yes")["models"]) == 1  # type: ignore[arg-type]
    assert list((data / "models" / "views").iterdir()) == []
    assert json.loads(worker(data, "models", "list", "--json").stdout) == []


def test_doctor_answers_within_three_seconds_where_nobody_else_does(data: Path) -> None:
    began = time.monotonic()
    found = worker(data, "doctor", "--json")
    took = time.monotonic() - began
    checks = {check["name"]: check for check in json.loads(found.stdout)}
    assert found.returncode == 1
    assert not checks["UDP (QUIC)"]["ok"]
    assert not checks["TCP (HTTPS)"]["ok"]
    assert checks["sandbox"]["ok"]
    assert {"worker", "tray", "start at login", "updates", "activity", "models", "GPU"} <= checks.keys()
    assert took <= 10.0  # three on a machine that does nothing else


def test_start_at_login_that_was_removed_stays_removed(data: Path, tmp_path: Path) -> None:
    """The threat: an app that puts itself back. A start of the worker finds the entry gone, and leaves it gone."""
    home = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_CURRENT_DESKTOP": "test"}
    lone = joined(tmp_path / "lone")
    assert worker(lone, "autostart", "on", **home).stdout == "starts at login\n"
    entry = tmp_path / "autostart" / "gogrid-worker.desktop"
    assert f"--data {lone}" in entry.read_text()
    entry.unlink()
    assert worker(lone, "autostart", **home).stdout == "does not start at login\n"
    process = subprocess.Popen(
        [*WORKER, "--data", str(lone), "--headless"], stderr=subprocess.DEVNULL, env={**os.environ, **home}
    )
    try:
        soon(lambda: worker(lone, "status", **home).returncode == 0, 20)
    finally:
        process.terminate()
        process.wait(15)
    assert list(tmp_path.rglob("*.desktop")) == []


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("pause", "--for", "soon"), 2, "--for 'soon' is not usable: it must be a duration"),
        (("pause", "--until", "25:00"), 2, "it must be tomorrow, a time of day"),
        (("config", "get", "worker.port"), 2, "There is no setting 'worker.port'; did you mean coordinator.port?"),
        (("config", "set", "worker.port", "5"), 2, "There is no setting 'worker.port'; did you mean coordinator.port?"),
        (("config", "get", "zzzzqqq"), 2, "There is no setting 'zzzzqqq'; see all with: config show"),
        (("pause", "--for", "-1h"), 2, "--for '-1h' is not usable: it must be a duration such as 30m"),
        (("config", "set", "max_vram"), 2, "VALUE is missing; type: gogrid-worker config set"),
        (("config", "set", "max_vram", ""), 2, "config unset max_vram"),
        (("models", "prune", "--unused-since", "long"), 2, "--unused-since 'long' is not usable"),
        (("logs", "-n", "-1"), 2, ""),
        (("engine", "install", "/does/not/exist.zip"), 2, "/does/not/exist.zip does not exist"),
        (("autostart", "maybe"), 2, "invalid choice: 'maybe'"),
    ],
)
def test_wrong_words_are_one_clear_line(tmp_path: Path, words: tuple[str, ...], code: int, expected: str) -> None:
    done = worker(tmp_path, *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
    assert expected in done.stderr


def test_models_are_tidied_without_a_running_worker_and_never_beside_one(tmp_path: Path) -> None:
    digest = store_model(tmp_path / "models", MemoryBlobs(), used=time.time() - 60 * DAY)
    assert worker(tmp_path, "models", "prune").stdout.endswith("to do it, say --yes\n")
    assert (tmp_path / "models" / "views" / digest).exists()
    assert "removed 1 model" in worker(tmp_path, "models", "prune", "--yes").stdout
    assert not (tmp_path / "models" / "views" / digest).exists()
