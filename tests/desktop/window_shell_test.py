"""The real window, by pywebview on a display of its own: it opens, answers its page, obeys the app and ends with it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from runner.control_messages import encode_line
from tests.desktop.conftest import PICTURES, within
from tray.instance_messages import ShowWindow

pytestmark = pytest.mark.desktop
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a display of its own."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "920x680x24", "-nolisten", "tcp"],
        pass_fds=(write,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    with os.fdopen(read) as told:
        number = told.readline().strip()
    home = str(tmp_path_factory.mktemp("home"))
    yield {
        **os.environ, "DISPLAY": f":{number}", "HOME": home, "XDG_RUNTIME_DIR": home, "PYTHONPATH": str(REPOSITORY),
        "GDK_BACKEND": "x11", "NO_AT_BRIDGE": "1",
    }  # fmt: skip
    server.terminate()
    server.wait(10)


def test_the_real_window_opens_answers_and_has_its_picture_taken(screen: dict[str, str]) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    driver = REPOSITORY / "tests" / "fakes" / "window_driver.py"
    done = subprocess.run(
        ["dbus-run-session", "--", sys.executable, driver, PICTURES],
        env=screen, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [(one["page"], one["said"]) for one in said] == [
        ("settings", "Settings|Working"),
        ("statistics", "Statistics|Working"),
    ], done.stderr
    assert [one["scrolled"] for one in said] == [0, 0]  # WebKit scrolls late to a field that has gone
    for one in said:
        assert (PICTURES / f"window-{one['page']}.png").stat().st_size > 10_000


def test_the_window_obeys_the_app_that_started_it_and_ends_when_it_is_gone(
    screen: dict[str, str], tmp_path: Path
) -> None:
    def titles() -> str:
        command = ["xdotool", "search", "--onlyvisible", "--name", "GoGrid Worker"]
        return subprocess.run(command, env=screen, capture_output=True, text=True, check=False).stdout.strip()

    with subprocess.Popen(
        ["dbus-run-session", "--", sys.executable, "-m", "tray.window", "--page", "logs", "--data", tmp_path],
        env=screen, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        within(20, lambda: titles() != "")
        process.stdin.write(encode_line(ShowWindow(page="statistics")))
        process.stdin.flush()
        time.sleep(0.3)
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(15) == 0


BUSY = """
import sys, threading, time, webview
from tray.window.__main__ import main
def close():
    while not webview.windows or not webview.windows[0].events.loaded.wait(0.1):
        time.sleep(0.1)
    webview.windows[0].run_js("setInterval(() => window.pywebview.api.call('{\\"type\\":\\"ReadSettings\\"}'), 400)")
    time.sleep(2.0)
    webview.windows[0].destroy()
threading.Thread(target=close, daemon=True).start()
sys.exit(main(["--page", "logs", "--data", sys.argv[1]]))
"""


def test_a_window_that_is_closed_while_it_waits_for_an_answer_leaves_no_process(
    screen: dict[str, str], tmp_path: Path
) -> None:
    command = ["dbus-run-session", "--", sys.executable, "-c", BUSY, tmp_path]
    with subprocess.Popen(command, env=screen, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.wait(20) == 0
        finally:
            for left in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
                left.kill()


def test_where_nothing_can_be_shown_it_says_so_in_one_line(screen: dict[str, str], tmp_path: Path) -> None:
    environment = {name: value for name, value in screen.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-m", "tray.window", "--data", tmp_path],
        env=environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("gogrid-window: There is no desktop here")
    assert len(done.stderr.splitlines()) == 1
