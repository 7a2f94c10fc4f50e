"""The gates' eyes on Windows: input by its own calls, and answers of the shell and of power management.

Runs on Windows, and on Windows Python under Wine; Wine 8 always says that no program keeps the screen on.
"""

import ctypes
import sys
import time

import pytest

if sys.platform != "win32":
    pytest.skip("asks Windows", allow_module_level=True)

from runner.gates.probes.windows import WindowsDesktop

_MOVE = 1


def test_input_is_seen_at_once() -> None:
    desktop = WindowsDesktop()
    user = ctypes.windll.user32
    user.mouse_event(_MOVE, 5, 5, 0, 0)
    assert desktop.idle_s() < 0.5
    time.sleep(0.6)
    assert desktop.idle_s() >= 0.5
    user.mouse_event(_MOVE, -5, -5, 0, 0)
    assert desktop.idle_s() < 0.5


def test_screen_questions_are_answered() -> None:
    desktop = WindowsDesktop()
    assert desktop.fullscreen() is False
    assert desktop.kept_on() in (False, True)
