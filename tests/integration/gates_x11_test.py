"""The eyes on a real X server: input that xdotool makes, a window that fills the screen, a server that goes away."""

import time
from collections.abc import Iterator

import pytest

from runner.gates.probes.base import LostError
from runner.gates.probes.choose import linux_desktops, linux_screens
from runner.gates.probes.eyes import Eyes
from runner.gates.settings import GateSettings
from runner.probes.process_memory import process_memory
from tests.fakes.xvfb import Display, display

pytestmark = pytest.mark.desktop


@pytest.fixture(scope="module")
def screen() -> Iterator[Display]:
    with display() as made:
        yield made


def test_input_is_seen_at_once(screen: Display) -> None:
    from runner.gates.probes.x11 import X11

    desktop = X11(screen.name)
    time.sleep(0.3)
    assert desktop.idle_s() >= 0.3
    screen.touch(20, 30)
    assert desktop.idle_s() < 0.3
    time.sleep(0.3)
    screen.tool("key", "a")
    assert desktop.idle_s() < 0.3
    desktop.close()


def test_a_window_that_fills_the_screen_is_seen(screen: Display) -> None:
    """As a window manager says it: by the properties of the root and of the window."""
    from Xlib import X, Xatom, display

    from runner.gates.probes.x11 import X11

    eyes = X11(screen.name)
    assert eyes.fullscreen() is None  # nobody manages windows here yet
    other = display.Display(screen.name)
    root = other.screen().root
    window = root.create_window(0, 0, 640, 480, 0, X.CopyFromParent)
    active, state, full = (
        other.intern_atom(name) for name in ("_NET_ACTIVE_WINDOW", "_NET_WM_STATE", "_NET_WM_STATE_FULLSCREEN")
    )
    root.change_property(active, Xatom.WINDOW, 32, [window.id])
    other.sync()
    assert eyes.fullscreen() is False
    window.change_property(state, Xatom.ATOM, 32, [full])
    other.sync()
    assert eyes.fullscreen() is True
    window.destroy()
    other.sync()
    assert eyes.fullscreen() is False  # the manager has not said yet that it is gone
    other.close()
    eyes.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library leaves its socket behind
def test_a_display_that_goes_away_is_an_error_and_no_end_of_the_process() -> None:
    from runner.gates.probes.x11 import X11

    with display() as short:
        desktop = X11(short.name)
        eyes = Eyes(
            desktops=linux_desktops({"DISPLAY": short.name}, 1),
            screens=linux_screens({"DISPLAY": short.name}),
            gamepads=None,
            gpu=None,
            processes=process_memory(),
            clock=time.monotonic,
        )
        assert eyes.owner() is not None
        short.process.kill()
        short.process.wait()
        with pytest.raises(LostError, match="gone"):
            desktop.idle_s()
        assert eyes.owner() is None
        assert eyes.machine(GateSettings()).fullscreen is None
        assert "cannot be reached" in eyes.unseen[0]
        desktop.close()
        eyes.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library leaves its socket behind
def test_a_display_that_is_not_there_is_no_desktop() -> None:
    from runner.gates.probes.x11 import X11

    with pytest.raises(LostError, match="cannot be reached"):
        X11(":9876")
