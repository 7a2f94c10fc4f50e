"""The AppImage on a desktop: started as people start it, with icon and menu, joined, working, updated, ended."""

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gogrid.client.answers import ChatTurn
from gogrid.client.local_grid import LocalGrid
from tests.desktop_session import desktop_session

sys.path.insert(0, str(Path(__file__).parents[1] / "linux"))
sys.path.insert(0, str(Path(__file__).parent))

from appimage import lay_out
from desk_machine import DeskMachine, until
from frozen_versions import ROOT, raised, release_of, signed_release
from publisher_desk import Desk

IMAGE = next((ROOT / "dist").glob("GoGrid-*.AppImage"), None)
RUNTIME = ROOT / "build" / f"runtime-{platform.machine()}"
APP = ROOT / "dist" / "gogrid"

pytestmark = [
    pytest.mark.skipif(IMAGE is None, reason="no AppImage: packaging/linux/prepare says what make packages lacked"),
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


def test_an_appimage_restarts_into_the_new_version_from_its_menu(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "desk")
    image = quick_image(release_of(APP, tmp_path / "app", desk.root_keys, 1), tmp_path)
    release = signed_release(APP, desk, tmp_path, 2)
    (tmp_path / "home").mkdir(mode=0o700)
    with LocalGrid(tmp_path) as grid, desktop_session() as session:
        grid.init()
        grid.start_coordinator()
        machine = DeskMachine(tmp_path / "home", image, session, grid)
        machine.join()
        try:
            machine.start()
            until(lambda: machine.listed().readiness == "ready", "it to be ready")
            grid.admin_command("release", "publish", str(release), "--root-keys", str(desk.root_keys))
            machine.look_for_updates("ready")
            machine.click("Restart to update")
            machine.restart(lambda worker: worker.software == f"gogrid/{raised(1)}", "the new version to be connected")
            assert json.loads(machine.command("update", "status", "--json"))["version"] == raised(1)
            machine.click("Quit")
            assert machine.process is not None
            assert machine.process.wait(60) == 0, machine.said()
        finally:
            machine.stop()


def quick_image(app: Path, folder: Path) -> Path:
    lay_out(app, folder / "AppDir")
    command = ["mksquashfs", folder / "AppDir", folder / "image", "-root-owned", "-noappend", "-quiet"]
    subprocess.run([*command, "-comp", "zstd", "-Xcompression-level", "1"], check=True, stdout=subprocess.DEVNULL)
    image = folder / "GoGrid.AppImage"
    image.write_bytes(RUNTIME.read_bytes() + (folder / "image").read_bytes())
    image.chmod(0o755)
    return image


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
