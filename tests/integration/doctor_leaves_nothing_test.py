"""`gogrid-worker doctor` on a display without a message bus: a check starts nothing that stays."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakes.xvfb import display

pytestmark = pytest.mark.desktop


def on_display(name: str) -> dict[str, str]:
    """The commands of all processes that were started for it, by number."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"DISPLAY={name}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found[process.name] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def test_the_look_for_a_tray_starts_no_message_bus(tmp_path: Path) -> None:
    hidden = ("DBUS_SESSION_BUS_ADDRESS", "WAYLAND_DISPLAY", "NO_AT_BRIDGE")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["XDG_RUNTIME_DIR"] = str(tmp_path)
    code = "from tray.icon.surroundings import why_no_tray; print(why_no_tray().reason)"
    with display() as screen:
        before = on_display(screen.name)  # of another's display of that name, left by a run that was killed
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**environment, "DISPLAY": screen.name, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        time.sleep(0.3)
        assert {pid: command for pid, command in on_display(screen.name).items() if pid not in before} == {}
    assert done.stdout == "There is no session bus.\n", done.stderr
