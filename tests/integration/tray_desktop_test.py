"""The real tray icon on a real display with a tray host and a session bus, over a real runner and coordinator."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gogrid.client.local_grid import LocalGrid
from gogrid.protocol.worker_report import Readiness
from runner.control_messages import AskPause, AskResume, AskSettings, AskStatus, Done, Settings, WorkerStatus
from tests.desktop_session import DesktopSession, TrayMenu, desktop_session, family, wait_until
from tray.control_client import ask
from tray.icon.pictures import PALETTES
from tray.instance import NoAppError, ask_app
from tray.instance_messages import AppState, AppStatus, AskApp

pytestmark = [pytest.mark.desktop, pytest.mark.sandbox]
EFFECT_S = 10.0
"""For a click to show on a busy machine; the benchmark measures it on a quiet one."""


@pytest.fixture(scope="module")
def session() -> Iterator[DesktopSession]:
    with desktop_session() as made:
        yield made


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGrid]:
    with LocalGrid(tmp_path_factory.mktemp("grid")) as made:
        made.init()
        made.start_coordinator()
        made.join_worker()
        yield made


class App:
    """`gogrid-worker` as a person at that desktop starts it."""

    def __init__(self, data: Path, environment: dict[str, str]) -> None:
        self.data, self._environment = data, environment
        self.process = self.start()

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "tray.cli", "--data", str(self.data), *words]
        return subprocess.Popen(command, env=self._environment, stderr=subprocess.DEVNULL)

    def status(self) -> AppStatus | None:
        try:
            answer = ask_app(self.data / "app.sock", AskApp())
        except NoAppError:
            return None
        assert isinstance(answer, AppStatus)
        return answer

    def is_up(self) -> bool:
        status = self.status()
        return status is not None and status.icon and status.runner is not None and status.runner.connected

    def runner(self) -> WorkerStatus:
        answer = ask(self.data / "control.sock", AskStatus())
        assert isinstance(answer, WorkerStatus)
        return answer

    def setting(self, key: str) -> str:
        answer = ask(self.data / "control.sock", AskSettings())
        assert isinstance(answer, Settings)
        return next(setting.value for setting in answer.settings if setting.key == key)

    def child(self, module: str) -> psutil.Process | None:
        return next((process for process in family(self.process.pid) if module in _words(process)), None)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(20)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


@pytest.fixture(scope="module")
def app(session: DesktopSession, grid: LocalGrid) -> Iterator[App]:
    settings = {"BROWSER": f"{sys.executable} {_browser(grid.folder)} %s", "XDG_CONFIG_HOME": str(grid.folder / "xdg")}
    app = App(grid.folder / "worker", {**grid.environment, **session.environment, **settings})
    try:
        wait_until(app.is_up, "the icon and the connection")
        yield app
    finally:
        app.end()


def _browser(folder: Path) -> Path:
    """A browser that only notes where it was sent."""
    program = folder / "browser.py"
    program.write_text(f"import sys\nopen({str(folder / 'visited')!r}, 'w').write(sys.argv[1])\n")
    return program


@pytest.fixture
def menu(app: App, session: DesktopSession) -> TrayMenu:
    icon = app.child("tray.icon")
    assert icon is not None
    return TrayMenu(session, icon.pid)


def has_colour(session: DesktopSession, name: str, state: AppState) -> bool:
    palette = PALETTES[state]
    return bool({palette.on_dark[:3], palette.on_light[:3]} & session.colours(name))


def test_the_icon_appears_in_the_colour_of_its_state(app: App, session: DesktopSession) -> None:
    wait_until(lambda: has_colour(session, "tray-ready", AppState.READY), "a green icon")
    assert not has_colour(session, "tray-ready", AppState.PAUSED)


def test_pause_and_resume_from_the_menu_reach_the_runner_and_the_coordinator(
    app: App, menu: TrayMenu, session: DesktopSession, grid: LocalGrid
) -> None:
    menu.click("Pause/1 hour")
    wait_until(lambda: app.runner().readiness is Readiness.PAUSED, "the pause", EFFECT_S)
    assert 3500 < app.runner().paused_until - time.time() <= 3600
    wait_until(lambda: menu.labels()[0].startswith("Paused by its owner until "), "the status line", EFFECT_S)
    wait_until(lambda: has_colour(session, "tray-paused", AppState.PAUSED), "an amber icon", EFFECT_S)
    with grid.client() as client:
        wait_until(lambda: client.workers()[0].readiness == "paused", "the coordinator to know", EFFECT_S)
    menu.click("Resume")
    wait_until(lambda: app.runner().readiness is Readiness.READY, "the end of the pause", EFFECT_S)
    wait_until(lambda: menu.labels()[0] == "Ready for work", "the status line", EFFECT_S)


def test_the_memory_limit_of_the_menu_holds_in_the_running_worker(app: App, menu: TrayMenu) -> None:
    """Of a GPU's memory where there is one, else of main memory."""
    limit = next(label for label in menu.labels() if label in ("VRAM limit", "Memory limit"))
    key = "worker.max_vram" if limit == "VRAM limit" else "worker.max_ram"
    before = app.runner().devices[0].cap_bytes
    menu.click(f"{limit}/25 %")
    wait_until(lambda: app.runner().devices[0].cap_bytes < before, "the lower limit", EFFECT_S)
    wait_until(lambda: menu.checked(f"{limit}/25 %"), "the check mark", EFFECT_S)
    assert not menu.checked(f"{limit}/90 %")
    assert "25%" in (app.data / "config.toml").read_text()
    assert app.setting(key) == "25%"


def test_start_at_login_is_switched_by_its_owner(app: App, menu: TrayMenu, grid: LocalGrid) -> None:
    def entries() -> list[Path]:
        return [path for path in (grid.folder / "xdg").rglob("*") if path.is_file()]

    assert entries() == []
    assert not menu.checked("Start at login")
    menu.click("Start at login")
    wait_until(entries, "an entry", EFFECT_S)
    assert str(app.data) in entries()[0].read_text()
    wait_until(lambda: menu.checked("Start at login"), "the check mark", EFFECT_S)
    menu.click("Start at login")
    wait_until(lambda: not entries(), "no entry", EFFECT_S)
    wait_until(lambda: not menu.checked("Start at login"), "no check mark", EFFECT_S)


def test_the_dashboard_is_opened_in_the_browser(app: App, menu: TrayMenu, grid: LocalGrid) -> None:
    menu.click("Open dashboard")
    visited = grid.folder / "visited"
    wait_until(lambda: visited.exists() and visited.read_text(), "the browser")
    assert visited.read_text() == f"https://127.0.0.1:{grid.endpoint.port}"


def test_an_icon_that_is_killed_takes_nothing_with_it(app: App, session: DesktopSession) -> None:
    runner, icon = app.runner().pid, app.child("tray.icon")
    assert icon is not None
    icon.kill()
    wait_until(lambda: (status := app.status()) is not None and not status.icon, "the icon to be missed")
    assert app.runner().pid == runner
    wait_until(app.is_up, "the icon to come back")


def test_a_second_start_shows_the_window_of_the_first_and_ends(app: App) -> None:
    second = app.start()
    assert second.wait(20) == 0
    wait_until(lambda: app.child("tray.window"), "the window's process")
    assert len([process for process in family(app.process.pid) if "tray.icon" in _words(process)]) == 1
    window = app.child("tray.window")
    assert window is not None
    window.terminate()  # it would lie over the icon in what follows
    wait_until(lambda: app.child("tray.window") is None, "the window to be gone")


def test_an_open_menu_is_not_taken_away_by_what_happens_meanwhile(app: App, session: DesktopSession) -> None:
    wait_until(lambda: has_colour(session, "tray-open", AppState.READY), "a green icon")
    x, y = _middle_of(session, AppState.READY)
    session.run("xdotool", "mousemove", str(x), str(y), "click", "3")
    time.sleep(0.5)
    assert ask(app.data / "control.sock", AskPause()) == Done()
    wait_until(lambda: (status := app.status()) is not None and status.state is AppState.PAUSED, "the app to know")
    time.sleep(0.5)
    assert has_colour(session, "tray-open", AppState.READY)
    session.run("xdotool", "key", "Escape")
    wait_until(lambda: has_colour(session, "tray-open", AppState.PAUSED), "an amber icon")
    assert ask(app.data / "control.sock", AskResume()) == Done()


def test_the_menu_opens_under_the_mouse_and_quit_leaves_nothing(app: App, session: DesktopSession) -> None:
    """The last of this file: by mouse and keyboard, as a person does it."""
    running = family(app.process.pid)
    assert len(running) >= 3
    wait_until(lambda: has_colour(session, "tray-quit", AppState.READY), "a green icon")
    x, y = _middle_of(session, AppState.READY)
    session.run("xdotool", "mousemove", str(x), str(y), "click", "3")
    time.sleep(0.5)
    session.picture("tray-menu")
    session.run("xdotool", "key", "Up")
    session.run("xdotool", "key", "Return")
    assert app.process.wait(20) == 0
    wait_until(lambda: not any(_alive(process) for process in running), "every process to be gone", 5)
    assert not (app.data / "app.sock").exists()
    assert not (app.data / "control.sock").exists()


def _alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _middle_of(session: DesktopSession, state: AppState) -> tuple[int, int]:
    """Of what is drawn in this state's colour."""
    from PIL import Image

    colours = {PALETTES[state].on_dark[:3], PALETTES[state].on_light[:3]}
    with Image.open(session.picture("tray-quit")) as image:
        pixels = image.convert("RGB").load()
        assert pixels is not None
        found = [(x, y) for x in range(image.width) for y in range(image.height) if pixels[x, y] in colours]
    return sum(x for x, _ in found) // len(found), sum(y for _, y in found) // len(found)


@pytest.mark.parametrize(
    ("host", "bus", "reason"),
    [(False, True, "This desktop shows no tray icons"), (True, False, "There is no session bus")],
)
def test_where_no_icon_can_be_shown_that_is_said_once_and_the_worker_goes_on(
    grid: LocalGrid, host: bool, bus: bool, reason: str
) -> None:
    with desktop_session(tray_host=host, bus=bus) as bare:
        app = App(grid.folder / "worker", {**grid.environment, **bare.environment})
        log = app.data / "logs" / "tray.log"
        try:
            wait_until(lambda: log.exists() and reason in log.read_text(), "the sentence")
            wait_until(lambda: (status := app.status()) is not None and status.runner is not None, "the runner")
            assert log.read_text().count(reason) == 1
        finally:
            app.end()
    assert app.process.returncode == 0


def test_an_app_that_is_killed_leaves_no_icon_no_window_and_no_runner(grid: LocalGrid) -> None:
    with desktop_session() as session:
        app = App(grid.folder / "worker", {**grid.environment, **session.environment})
        try:
            wait_until(app.is_up, "the icon and the connection")
            assert app.start().wait(20) == 0
            wait_until(lambda: app.child("tray.window"), "the window's process")
            running = family(app.process.pid)
            app.process.kill()
            wait_until(lambda: not any(_alive(process) for process in running), "every process to be gone", 10)
        finally:
            app.end()


def test_the_end_of_the_display_ends_the_app_cleanly(grid: LocalGrid) -> None:
    app: App | None = None
    try:
        with desktop_session() as gone:
            app = App(grid.folder / "worker", {**grid.environment, **gone.environment})
            wait_until(app.is_up, "the icon and the connection")
            running = family(app.process.pid)
        assert app.process.wait(30) == 0
        wait_until(lambda: not any(_alive(process) for process in running), "every process to be gone", 5)
    finally:
        if app is not None:
            app.end()
