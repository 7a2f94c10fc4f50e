"""What the worker asks of a Windows session: start at login, the last input, what is on the screen."""

import subprocess
import winreg
from collections.abc import Iterator
from pathlib import Path

import pytest

from gogrid.places import worker_places
from runner.gates.probes.windows import WindowsDesktop
from tray.autostart.choose import autostart
from tray.autostart.windows import APPROVED, NAME, RUN


@pytest.fixture
def no_entry() -> Iterator[None]:
    yield
    subprocess.run(["reg", "delete", rf"HKCU\{RUN}", "/v", NAME, "/f"], check=False, capture_output=True)


@pytest.mark.usefixtures("no_entry")
def test_start_at_login_is_an_entry_that_others_read_and_the_task_manager_may_switch_off(tmp_path: Path) -> None:
    places = worker_places(config=None, data=tmp_path, environment={}, platform="win32", home=tmp_path, user=0)
    entry = autostart(places, ("--data", str(tmp_path)))
    assert entry.state() is False
    entry.set(on=True)
    told = subprocess.run(["reg", "query", rf"HKCU\{RUN}", "/v", NAME], check=True, capture_output=True, text=True)
    assert "-P -m tray.cli --data" in told.stdout
    assert str(tmp_path) in told.stdout
    assert entry.state() is True
    with winreg.CreateKey(winreg.HKEY_CURRENT_USER, APPROVED) as key:
        winreg.SetValueEx(key, NAME, 0, winreg.REG_BINARY, b"\x03" + bytes(11))
    assert entry.state() is False
    entry.set(on=True)
    assert entry.state() is True
    entry.set(on=False)
    assert entry.state() is False
    gone = subprocess.run(["reg", "query", rf"HKCU\{RUN}", "/v", NAME], check=False, capture_output=True)
    assert gone.returncode != 0


def test_the_session_tells_when_it_was_used_and_what_is_on_its_screen() -> None:
    desktop = WindowsDesktop()
    assert desktop.idle_s() >= 0
    assert desktop.fullscreen() in (True, False, None)
    assert desktop.kept_on() in (True, False, None)
    desktop.close()
