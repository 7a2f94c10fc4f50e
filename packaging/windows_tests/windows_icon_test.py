"""The icon's own process on Windows Python under Wine, on a display of its own."""
# ruff: noqa: S101 - a test that lies outside tests/, because it needs what `make test` does not

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from windows_machine import PYTHON, ROOT, WINE, display

from runner.control_messages import encode_line
from tray.icon.messages import Action, FromIcon, Item, Kind, Note, SessionEnds, Show, Shown, decode_from_icon
from tray.instance_messages import AppState

MENU = (
    Item(label="Ready"),
    Item(),
    Item(label="Pause", items=(Item(label="For 1 hour", action=Action(Kind.PAUSE, "hour")),)),
    Item(label="Quit", action=Action(Kind.QUIT)),
)
END_SESSION = """
import ctypes
user = ctypes.WinDLL("user32")
told = []

@ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
def look(window, _):
    name = ctypes.create_unicode_buffer(200)
    user.GetClassNameW(ctypes.c_void_p(window), name, 200)
    if "SystemTrayIcon" in name.value:
        answer = ctypes.c_size_t()
        for message, ending in ((0x11, 0), (0x16, 1)):
            user.SendMessageTimeoutW(ctypes.c_void_p(window), message, ending, 0, 0, 6000, ctypes.byref(answer))
            told.append(answer.value & 0xFFFFFFFF)
    return 1

user.EnumWindows(look, None)
print(told)
"""


@pytest.fixture
def surroundings() -> Iterator[dict[str, str]]:
    with display() as name:
        yield os.environ | {"DISPLAY": name}


def heard(stream: IO[bytes]) -> FromIcon:
    return decode_from_icon(stream.readline())


def test_the_icon_comes_up_changes_hears_the_end_of_the_session_and_ends_with_its_input(
    surroundings: dict[str, str],
) -> None:
    command = [WINE, "--stdin", PYTHON, "-m", "tray.icon"]
    with subprocess.Popen(
        command, cwd=ROOT, env=surroundings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as icon:
        assert icon.stdin is not None
        assert icon.stdout is not None
        icon.stdin.write(encode_line(Show(state=AppState.READY, tooltip="GoGrid: ready", menu=MENU)))
        icon.stdin.flush()
        assert heard(icon.stdout) == Shown(by="win32")
        icon.stdin.write(encode_line(Show(state=AppState.PAUSED, tooltip="GoGrid: paused", menu=MENU[:1])))
        icon.stdin.write(encode_line(Note(title="GoGrid", text="paused")))
        icon.stdin.flush()
        asked = subprocess.Popen([WINE, PYTHON, "-c", END_SESSION], cwd=ROOT, env=surroundings, stdout=subprocess.PIPE)
        assert heard(icon.stdout) == SessionEnds()
        icon.stdin.close()  # as the app does when it has ended the runner
        said, _ = asked.communicate(timeout=10)
        assert said.strip().startswith(b"[1, 0")  # it may end, and has been told that it does
        assert icon.wait(5) == 0
