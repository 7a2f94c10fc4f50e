"""The session's idle services and inhibitors, on a real message bus with real services that answer as desktops do."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol, TypeVar

import pytest

if not sys.platform.startswith("linux") or shutil.which("dbus-daemon") is None:
    pytest.skip("needs dbus-daemon (packaging/desktop_tests/prepare)", allow_module_level=True)

from runner.gates.probes.base import LostError, NoAnswerError
from runner.gates.probes.choose import linux_desktops, linux_screens
from runner.gates.probes.eyes import Eyes
from runner.gates.probes.idle_services import LogindIdle, MutterIdle, ScreenSaverIdle
from runner.gates.probes.inhibitors import Inhibitors
from runner.gates.settings import GateSettings
from runner.probes.process_memory import process_memory
from tests.fakes.session_bus import Answers, Service, message_bus_of_its_own


class _Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Closable)
MUTTER: Answers = {("/org/gnome/Mutter/IdleMonitor/Core", "GetIdletime"): ("t", (61_500,))}
KDE: Answers = {("/org/freedesktop/ScreenSaver", "GetSessionIdleTime"): ("u", (42_000,))}
USER, SESSION = "/org/freedesktop/login1/user/_1000", "/org/freedesktop/login1/session/_32"


def logind(*, hint: bool, since_us: int, session: str = "2") -> Answers:
    interface = "org.freedesktop.login1.Session"
    display = ("(so)", (session, SESSION))
    return {
        ("/org/freedesktop/login1", "GetUser"): ("o", (USER,)),
        (USER, "org.freedesktop.login1.User.Display"): ("v", (display,)),
        (SESSION, f"{interface}.IdleHint"): ("v", (("b", hint),)),
        (SESSION, f"{interface}.IdleSinceHint"): ("v", (("t", since_us),)),
    }


@pytest.fixture(scope="module")
def bus() -> Iterator[str]:
    with message_bus_of_its_own() as address:
        yield address


class Opened:
    """Closes what a test opens."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __call__(self, made: T) -> T:
        self._stack.callback(made.close)
        return made


@pytest.fixture
def opened() -> Iterator[Opened]:
    made = Opened()
    with made._stack:
        yield made


def test_gnome_tells_how_long_its_user_is_idle(bus: str, opened: Opened) -> None:
    with Service(bus, "org.gnome.Mutter.IdleMonitor", MUTTER) as service:
        desktop = opened(MutterIdle(bus))
        assert desktop.idle_s() == 61.5
        service.answers["/org/gnome/Mutter/IdleMonitor/Core", "GetIdletime"] = ("t", (3,))
        assert desktop.idle_s() == 0.003
    with pytest.raises(LostError, match="Mutter"):
        desktop.idle_s()


def test_kdes_screen_saver_tells_in_milliseconds(bus: str, opened: Opened) -> None:
    with Service(bus, "org.freedesktop.ScreenSaver", KDE):
        assert opened(ScreenSaverIdle(bus)).idle_s() == 42.0


def test_a_service_that_hangs_is_told_from_one_that_is_not_there(bus: str, opened: Opened) -> None:
    with Service(bus, "org.gnome.Mutter.IdleMonitor", MUTTER) as service:
        desktop = opened(MutterIdle(bus))
        service.silent = True
        began = time.monotonic()
        with pytest.raises(NoAnswerError, match="does not answer"):
            desktop.idle_s()
        assert time.monotonic() - began < 1.5
        service.silent = False
        assert desktop.idle_s() == 61.5


def test_logind_repeats_what_the_desktop_told_it(bus: str, opened: Opened) -> None:
    since_us = int((time.time() - 300) * 1e6)
    with Service(bus, "org.freedesktop.login1", logind(hint=True, since_us=since_us)) as service:
        desktop = opened(LogindIdle(1000, bus))
        assert 300 <= desktop.idle_s() < 310
        service.answers.update(logind(hint=False, since_us=since_us))
        assert desktop.idle_s() == 0.0


def test_a_desktop_that_never_told_logind_anything_is_not_taken_for_one_in_use(bus: str, opened: Opened) -> None:
    with Service(bus, "org.freedesktop.login1", logind(hint=False, since_us=0)):
        desktop = opened(LogindIdle(1000, bus))
        with pytest.raises(LostError, match="never tells"):
            desktop.idle_s()


def test_a_user_without_a_graphical_session_is_headless(bus: str) -> None:
    with (
        Service(bus, "org.freedesktop.login1", logind(hint=False, since_us=0, session="")),
        pytest.raises(LostError, match="no graphical session"),
    ):
        LogindIdle(1000, bus)


def test_gnomes_inhibitors_keep_the_screen_on(bus: str, opened: Opened) -> None:
    place = ("/org/gnome/SessionManager", "IsInhibited")
    with Service(bus, "org.gnome.SessionManager", {place: ("b", (True,))}) as service:
        screen = opened(Inhibitors(bus))
        assert screen.kept_on() is True
        service.answers[place] = ("b", (False,))
        assert screen.kept_on() is False


def test_kdes_inhibitors_keep_the_screen_on(bus: str, opened: Opened) -> None:
    place = ("/org/freedesktop/PowerManagement/Inhibit", "HasInhibit")
    with Service(bus, "org.freedesktop.PowerManagement", {place: ("b", (True,))}):
        assert opened(Inhibitors(bus)).kept_on() is True


def test_a_session_that_knows_no_inhibitors_is_asked_once(bus: str, opened: Opened) -> None:
    screen = opened(Inhibitors(bus))
    assert screen.kept_on() is None
    assert screen.kept_on() is None
    assert screen._asked == ()


def test_no_bus_is_no_desktop() -> None:
    with pytest.raises(LostError, match="No message bus"):
        MutterIdle("unix:path=/nowhere/bus")


def test_a_bus_that_ends_is_an_error_and_no_end(opened: Opened) -> None:
    with message_bus_of_its_own() as address, Service(address, "org.gnome.Mutter.IdleMonitor", MUTTER):
        desktop, screen = opened(MutterIdle(address)), opened(Inhibitors(address))
        assert desktop.idle_s() == 61.5
    with pytest.raises(LostError):
        desktop.idle_s()
    assert screen.kept_on() is None


def test_a_wayland_session_is_asked_by_the_best_service_it_has(bus: str) -> None:
    environment = {"XDG_SESSION_TYPE": "wayland", "DBUS_SESSION_BUS_ADDRESS": bus, "DBUS_SYSTEM_BUS_ADDRESS": bus}
    now = [0.0]
    eyes = Eyes(
        desktops=linux_desktops(environment, 1000),
        screens=linux_screens(environment),
        gamepads=None,
        gpu=None,
        processes=process_memory(),
        clock=lambda: now[0],
    )
    assert eyes.owner() is None
    assert "Mutter" in eyes.unseen[0]
    now[0] += 31
    with Service(bus, "org.freedesktop.login1", logind(hint=True, since_us=1)):
        assert (eyes.owner() or 0) > 1e9
    now[0] += 31
    with Service(bus, "org.freedesktop.ScreenSaver", KDE), Service(bus, "org.gnome.Mutter.IdleMonitor", MUTTER):
        assert eyes.owner() == 61.5
    assert eyes.machine(GateSettings()).screen_kept_on is None
    eyes.close()
