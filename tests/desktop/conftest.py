"""One coordinator, one app as its owner starts it, the window's page in a real browser."""

import json
import os
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from gogrid.client.local_grid import LocalGrid
from gogrid.places import WorkerPlaces, worker_places
from tests.fakes.window_server import window_server
from tray.window.__main__ import dispatcher

BIN = Path(sysconfig.get_path("scripts"))
PICTURES = Path(__file__).parents[2] / "build" / "desktop"
CONFIG = """\
# what I lend
[worker]
pause_on_activity = false   # nobody sits here
pause_on_fullscreen = false
run_on_battery = true
max_other_load = "100%"
"""


@dataclass(frozen=True)
class Desk:
    """A machine with a coordinator next door and the app running, not joined yet."""

    grid: LocalGrid
    places: WorkerPlaces
    environment: Mapping[str, str]
    url: str

    def token(self) -> dict[str, str]:
        """A new one, as the admin sees it."""
        address = f"127.0.0.1:{self.grid.endpoint.port}"
        command = [
            BIN / "gogrid-coordinator",
            "token",
            "create",
            "--data",
            self.grid.data,
            "--address",
            address,
            "--json",
        ]
        said: dict[str, str] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        return said

    def join(self) -> None:
        """By the command line, beside the running app."""
        command = [BIN / "gogrid-worker", "--data", self.places.data, "join", "-", "--name", "under-the-desk"]
        subprocess.run(command, input=self.token()["token"], text=True, env=self.environment, check=True)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    data = folder / "mine"
    data.mkdir(mode=0o700)
    (data / "config.toml").write_text(CONFIG)
    left_out = ("GOGRID_", "DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    environment |= {"HOME": str(folder), "GOGRID_MODEL_TURN": "1s"}
    places = worker_places(
        config=None, data=data, environment=environment, platform="linux", home=folder, user=os.getuid()
    )
    with LocalGrid(folder) as grid:
        grid.init()
        grid.add_model("echo")
        grid.start_coordinator()
        app = subprocess.Popen(
            [BIN / "gogrid-worker", "--data", data], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            within(10, places.instance.exists)
            with window_server(dispatcher(places)) as url:
                yield Desk(grid, places, environment, url)
        finally:
            app.terminate()
            app.wait(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(path for path in ("/usr/bin/chromium", "/usr/bin/google-chrome") if Path(path).exists())
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page; whatever goes wrong in it fails the test."""
    made = browser.new_page(viewport={"width": 920, "height": 680})
    wrong: list[str] = []
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    made.set_default_timeout(15_000)
    yield made
    made.close()
    assert wrong == []


def within(seconds: float, true: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")
