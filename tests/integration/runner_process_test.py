"""`gogrid-worker` as its owner runs it: real processes, one data folder each, a coordinator that is not there."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gogrid.addresses import Address
from gogrid.jointoken import mint
from runner.control_messages import Done, Refused
from runner.models.disk import delete_tree
from tests.fakes.local_models import MemoryBlobs
from tests.fakes.memberships import joined
from tests.fakes.stored_models import store_model
from tray.instance import ask_app
from tray.instance_messages import AppState, AppStatus, AskApp, Quit, ShowWindow

WORKER = (sys.executable, "-m", "tray.cli")
pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(sys.platform != "linux", reason="the runner needs a sandbox, which Linux has"),
]


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """Of a worker that has joined, and served a model before."""
    digest = store_model(tmp_path / "models", MemoryBlobs(), used=1.0)
    joined(tmp_path)
    (tmp_path / "state" / "model-names.json").write_text(f'{{"{digest}": "little-one"}}')
    yield tmp_path
    delete_tree(tmp_path / "models")


@pytest.fixture
def supervisor(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A running worker."""
    process = subprocess.Popen([*WORKER, "--data", str(data), "--headless"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not (data / "control.sock").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def worker(data: Path, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WORKER, "--data", str(data), *words], input=text, capture_output=True, text=True, timeout=60, check=False
    )


def one_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def status(data: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(worker(data, "status", "--json").stdout)
    return found


def runner_of(process: subprocess.Popen[bytes]) -> psutil.Process:
    (child,) = psutil.Process(process.pid).children()
    return child


def wait_gone(process: psutil.Process, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


def test_kill_9_of_the_supervisor_leaves_no_runner_within_a_second(
    supervisor: subprocess.Popen[bytes], data: Path
) -> None:
    runner = runner_of(supervisor)
    supervisor.kill()
    assert wait_gone(runner, 1.0)


def test_a_runner_whose_kernel_signal_is_lost_still_ends_with_its_supervisor(tmp_path: Path, data: Path) -> None:
    """The pipe alone is enough, as on systems without a parent-death signal."""
    program = "import os, time\nfrom runner.watch import _watch\n_watch()"
    runner = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    assert runner.stdin is not None
    runner.stdin.close()
    assert runner.wait(5) == -signal.SIGKILL


def test_a_killed_runner_is_started_again(supervisor: subprocess.Popen[bytes], data: Path) -> None:
    first = runner_of(supervisor)
    first.kill()
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        found = worker(data, "status", "--json")
        if found.returncode == 0:
            break
    assert json.loads(found.stdout)["pid"] != first.pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_sigterm_and_the_end_of_the_session_end_everything_cleanly(
    supervisor: subprocess.Popen[bytes], data: Path, number: signal.Signals
) -> None:
    runner = runner_of(supervisor)
    supervisor.send_signal(number)
    assert supervisor.wait(30) == 0
    assert wait_gone(runner, 0.5)
    assert not (data / "control.sock").exists()
    assert "Traceback" not in (data / "logs" / "worker.log").read_text()


def test_status_says_what_is_and_why(supervisor: subprocess.Popen[bytes], data: Path) -> None:
    found = status(data)
    assert found["connected"] is False
    assert found["coordinator"] == "127.0.0.1:9"
    assert found["readiness"] == "ready"
    assert str(found["sandbox"]).startswith("bubblewrap")
    text = worker(data, "status").stdout
    assert "little-one" in text
    assert "Device       CPU: " in text or "Device       NVIDIA" in text
    assert (data / "control.sock").stat().st_mode & 0o777 == 0o600


def test_a_second_worker_on_the_same_folder_is_refused(supervisor: subprocess.Popen[bytes], data: Path) -> None:
    done = worker(data, "--headless")
    assert done.returncode == 2
    assert "already" in done.stderr
    assert runner_of(supervisor).is_running()


def test_an_idle_runner_is_small(supervisor: subprocess.Popen[bytes]) -> None:
    runner = runner_of(supervisor)
    time.sleep(0.5)
    assert runner.memory_info().rss <= 65 << 20
    before = runner.cpu_times()
    time.sleep(2.0)
    after = runner.cpu_times()
    assert (after.user + after.system) - (before.user + before.system) <= 0.06


def test_what_a_new_owner_meets(tmp_path: Path) -> None:
    assert "This worker has not joined a coordinator yet; paste its token" in one_line(worker(tmp_path, "status"), 2)
    doctor = worker(tmp_path, "doctor", "--json")
    assert doctor.returncode == 1
    checks = {check["name"]: check for check in json.loads(doctor.stdout)}
    assert checks["sandbox"]["ok"] is True
    assert checks["coordinator"] == {
        "name": "coordinator",
        "ok": False,
        "finding": "not joined; paste a token: gogrid-worker join TOKEN",
    }


def test_a_worker_that_has_joined_nobody_says_so_and_waits_until_it_has(tmp_path: Path) -> None:
    """Without a display it is the same with and without `--headless`, and says that too."""
    for words, more in (((), "no tray icon: there is no display here"), (("--headless",), "")):
        environment = {name: value for name, value in os.environ.items() if not name.endswith("DISPLAY")}
        process = subprocess.Popen([*WORKER, "--data", str(tmp_path), *words], stderr=subprocess.PIPE, env=environment)
        try:
            assert process.stderr is not None
            said = ""
            while "supervisor: not joined" not in said:
                line = process.stderr.readline().decode()
                assert line, said
                said += line
            assert "has not joined a coordinator yet; paste its token: gogrid-worker join TOKEN" in said
            assert more in said
            assert ("tray icon" in said) is bool(more)
            app = ask_app(tmp_path / "app.sock", AskApp())
            assert isinstance(app, AppStatus)
            assert (app.state, app.runner, app.icon) == (AppState.NOT_JOINED, None, False)
            window = ask_app(tmp_path / "app.sock", ShowWindow())
            assert isinstance(window, Refused)
            assert psutil.Process(process.pid).children() == []
        finally:
            process.terminate()
            assert process.wait(10) == 0
            process.stderr.close()


def test_of_two_started_at_once_one_runs_and_the_other_is_told_so(tmp_path: Path) -> None:
    """Also before the first one listens."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("DISPLAY")}
    command = [*WORKER, "--data", str(tmp_path)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    try:
        deadline = time.monotonic() + 20
        while all(process.poll() is None for process in both):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (second,) = (process for process in both if process.returncode is not None)
        assert second.returncode == 1
        assert "has no desktop to show a window on" in second.communicate()[1]
    finally:
        for process in both:
            process.terminate()
            process.communicate(timeout=20)


def test_quit_over_the_socket_ends_the_app_and_its_runner(supervisor: subprocess.Popen[bytes], data: Path) -> None:
    runner = runner_of(supervisor)
    assert ask_app(data / "app.sock", Quit()) == Done()
    assert supervisor.wait(20) == 0
    assert not runner.is_running()


def test_a_headless_worker_carries_nothing_of_the_desktop(supervisor: subprocess.Popen[bytes]) -> None:
    for process in (psutil.Process(supervisor.pid), runner_of(supervisor)):
        maps = " ".join(each.path for each in process.memory_maps())
        for library in ("libgtk", "/PIL/", "/gi/", "libX11"):
            assert library not in maps, process


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("join", "hello"), 2, "a join token starts with ggj1_"),
        (("join", "ggj1_0000"), 2, "cut short"),
        (("join", "-"), 2, "No join token was given"),
        (("--headless", "--max-vram", "lots"), 2, "worker.max_vram = 'lots' (from --max-vram)"),
        (("--headless", "--device", "gpu"), 2, "one of auto, cpu, cuda, mps"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, words: tuple[str, ...], code: int, expected: str) -> None:
    done = worker(tmp_path, *words)
    assert done.returncode == code
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    if "--headless" not in words:
        one_line(done, code)


def test_an_unknown_command_or_option_is_wrong_usage(tmp_path: Path) -> None:
    for words in (("dance",), ("status", "--loud"), ("--headless", "--loud")):
        done = worker(tmp_path, *words)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_a_join_that_reaches_nobody_keeps_the_old_membership_and_config(data: Path) -> None:
    (data / "config.toml").write_text("# mine\n[worker]\ncpu_cores = 1\n")
    before = (data / "state" / "membership.json").read_bytes()
    token = mint(b"p" * 32, [Address("127.0.0.1", 9)], int(time.time()) + 600)
    done = worker(data, "join", token.text())
    assert "No coordinator can be reached at 127.0.0.1:9" in one_line(done, 1)
    assert (data / "state" / "membership.json").read_bytes() == before
    assert (data / "config.toml").read_text() == "# mine\n[worker]\ncpu_cores = 1\n"


def test_a_broken_config_stops_a_join_before_the_token_is_used(data: Path) -> None:
    (data / "config.toml").write_text("[worker\n")
    token = mint(b"p" * 32, [Address("127.0.0.1", 9)], int(time.time()) + 600)
    assert "not valid TOML" in one_line(worker(data, "join", token.text()), 2)


def test_a_join_that_reaches_nobody_leaves_the_running_worker_where_it_was(
    supervisor: subprocess.Popen[bytes], data: Path
) -> None:
    before = (data / "state" / "membership.json").read_bytes()
    token = mint(b"p" * 32, [Address("127.0.0.1", 9)], int(time.time()) + 600)
    assert "No coordinator can be reached" in one_line(worker(data, "join", token.text()), 1)
    assert (data / "state" / "membership.json").read_bytes() == before
    deadline = time.monotonic() + 20
    while worker(data, "status").returncode != 0:
        assert time.monotonic() < deadline, "it did not start again"


def test_a_worker_key_that_others_can_read_is_refused(data: Path) -> None:
    os.chmod(data / "state" / "worker.key", 0o644)
    assert "chmod 600" in worker(data, "--headless").stderr
