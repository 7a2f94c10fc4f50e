"""The AppImage on a desktop: started as people start it, with icon and menu, joined, working, ended from its menu."""

import shutil
import sys
from pathlib import Path

import pytest

from gogrid.client.answers import ChatTurn
from gogrid.client.local_grid import LocalGrid
from tests.desktop_session import desktop_session

sys.path.insert(0, str(Path(__file__).parent))

from desk_machine import DeskMachine, until

IMAGE = next((Path(__file__).parents[2] / "dist").glob("GoGrid-*.AppImage"), None)

pytestmark = [
    pytest.mark.skipif(IMAGE is None, reason="no AppImage: packaging/linux/runtime builds what make packages lacked"),
    pytest.mark.skipif(shutil.which("trayer") is None, reason="packaging/desktop_tests/prepare brings the desktop"),
    pytest.mark.timeout(300),
]


def test_the_appimage_shows_its_menu_works_and_ends_with_all_it_started(tmp_path: Path) -> None:
    assert IMAGE is not None
    (tmp_path / "home").mkdir(mode=0o700)
    with LocalGrid(tmp_path) as grid, desktop_session() as session:
        grid.init()
        grid.start_coordinator()
        grid.add_model("echo")
        machine = DeskMachine(tmp_path / "home", IMAGE, session, grid)
        machine.join()
        try:
            machine.start()
            until(lambda: machine.listed().readiness == "ready", "it to be ready")
            with grid.client() as client:
                assert "from the image" in client.chat("echo", [ChatTurn("user", "hello from the image")]).text
            machine.click("Quit")
            assert machine.process is not None
            assert machine.process.wait(60) == 0, machine.said()
        finally:
            machine.stop()
    ours = f"HOME={tmp_path / 'home'}".encode()
    until(lambda: not [path for path in Path("/proc").glob("[0-9]*/environ") if ours in read(path)], "all to be gone")


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
