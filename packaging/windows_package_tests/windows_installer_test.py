"""The Windows installer under Wine: installed silently, started, joined over QUIC, paused, upgraded, removed.

Run by `make packages-windows-test`; `make packages-windows` builds what it needs. The sandbox's self-test rightly fails
under Wine, so the worker is connected and heard, and takes no jobs. The tests go in order, as its owner would.
"""
# ruff: noqa: S101 - a test that lies outside tests/, because it needs what `make test` does not

import json
import re
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from wine_machine import ROOT, WineMachine, wine_machine, within

import gogrid
from gogrid.client.answers import Worker
from gogrid.client.local_grid import NOBODYS, LocalGrid, TokenAnswer

APP = ROOT / "dist/windows/gogrid"
SETUP = ROOT / f"dist/GoGrid-Worker-{gogrid.__version__}-setup.exe"
ARCHIVE = ROOT / f"dist/gogrid-{gogrid.__version__}-windows-x86_64.zip"
SOON_S = 180.0
"""Only so that a test ends: on a busy machine a program under Wine takes half a minute to start."""
LARGEST_DOWNLOAD = 45_000_000
LARGEST_APP = 90_000_000
RUN = r"Software\Microsoft\Windows\CurrentVersion\Run"
UNINSTALL = r"Software\Microsoft\Windows\CurrentVersion\Uninstall\GoGrid Worker"
CLASS = r"Software\Classes\gogrid"
LINK = "AppData/Roaming/Microsoft/Windows/Start Menu/Programs/GoGrid Worker.lnk"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGrid]:
    with LocalGrid(tmp_path_factory.mktemp("grid")) as made:
        made.init()
        made.start_coordinator()
        yield made


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WineMachine]:
    with wine_machine(tmp_path_factory.mktemp("windows") / "prefix", dict(NOBODYS)) as made:
        yield made


@pytest.fixture(scope="module")
def before(machine: WineMachine) -> set[str]:
    """What a new account holds."""
    return machine.files()


def seen(grid: LocalGrid) -> Worker | None:
    with grid.client() as client:
        return next((worker for worker in client.workers() if worker.connected), None)


def test_what_is_downloaded_is_small_and_holds_no_piece_of_wine() -> None:
    """The fault: a build under Wine takes Wine's own libraries for Windows' and ships them."""
    assert SETUP.stat().st_size <= LARGEST_DOWNLOAD
    assert ARCHIVE.stat().st_size <= LARGEST_DOWNLOAD
    assert sum(path.stat().st_size for path in APP.rglob("*") if path.is_file()) <= LARGEST_APP
    wines = []
    for path in APP.rglob("*"):
        if path.suffix.lower() in (".dll", ".exe", ".pyd"):
            head = path.read_bytes()[:128]
            if b"Wine builtin DLL" in head or b"Wine placeholder DLL" in head:
                wines.append(path.name)
    assert wines == []
    assert not list(APP.rglob("bcryptprimitives*"))
    with zipfile.ZipFile(ARCHIVE) as opened:
        assert "gogrid-worker.exe" in opened.namelist()


def test_it_installs_silently_for_this_user_alone(machine: WineMachine, before: set[str]) -> None:
    assert machine.set_up(SETUP, "/S") == 0
    new = machine.files() - before
    own = {name for name in new if name.startswith("AppData/Local/Programs/GoGrid Worker/")}
    built = {path.relative_to(APP).as_posix() for path in APP.rglob("*") if path.is_file()}
    folder = "AppData/Local/Programs/GoGrid Worker"
    assert own == {f"{folder}/{name}" for name in (*built, "gogrid.ico", "uninstall.exe")}
    assert new - own == {LINK}
    assert not (machine.prefix / "drive_c/Program Files/GoGrid Worker").exists()
    said = machine.registry(UNINSTALL)
    where = "C:\\users\\" + machine.home.name + r"\AppData\Local\Programs\GoGrid Worker"
    assert said["|DisplayVersion"] == gogrid.__version__
    assert said["|QuietUninstallString"] == f'"{where}\\uninstall.exe" /S'
    assert machine.registry(CLASS)[r"shell\open\command|(Default)"] == f'"{where}\\gogrid-worker.exe" join --ask "%1"'
    assert machine.programs() == {}, "silently, it starts nothing that did not run before"


def test_start_at_login_is_off(machine: WineMachine) -> None:
    assert "|GoGrid Worker" not in machine.registry(RUN)
    assert machine.worker("autostart").stdout.strip() == "does not start at login"


def test_the_installed_programs_speak(machine: WineMachine) -> None:
    assert machine.worker("--version").stdout.strip() == f"gogrid-worker {gogrid.__version__}"
    told = machine.run(machine.installed / "gogrid.exe", "--version")
    assert gogrid.__version__ in told.stdout


def test_the_python_inside_has_the_whole_standard_library(machine: WineMachine) -> None:
    program = (
        "import ctypes, decimal, sqlite3, ssl, timeit, zoneinfo, multiprocessing, unittest, xml.etree.ElementTree as t"
    )
    done = machine.run(machine.installed / "_internal/python.exe", "-c", f"{program}; print(t.__name__, 6 * 7)")
    assert done.stdout.strip() == "xml.etree.ElementTree 42"


def test_it_joins_over_quic_and_is_heard(machine: WineMachine, grid: LocalGrid, tmp_path: Path) -> None:
    token = grid._admin(TokenAnswer, "token", "create", "--address", f"127.0.0.1:{grid.endpoint.port}").token
    joined = machine.worker("join", token, "--name", "installed")
    assert joined.returncode == 0, joined.stdout
    machine.start(tmp_path / "worker.log", machine.installed / "gogrid-worker.exe", "--headless")
    assert within(SOON_S, lambda: seen(grid)), (tmp_path / "worker.log").read_text()
    first = seen(grid)
    assert first is not None
    assert (first.name, first.platform, first.readiness) == ("installed", "windows-x86_64", "unable")
    assert "did not enforce" in first.reason, first.reason
    time.sleep(15)  # heard all that time: five pings, a heartbeat
    later = seen(grid)
    assert later is not None
    assert (later.connected_since, later.silent) == (first.connected_since, False)


def test_its_owner_pauses_and_resumes_it(machine: WineMachine) -> None:
    paused = machine.worker("pause")
    assert (paused.returncode, paused.stdout.strip()) == (0, "paused")
    told = json.loads(machine.worker("status", "--json").stdout)
    assert (told["order"], told["connected"]) == ("pause", True)
    assert machine.worker("resume").returncode == 0
    told = json.loads(machine.worker("status", "--json").stdout)
    assert (told["order"], told["holds"]) == ("", [])


def test_installed_over_itself_while_it_runs_it_ends_cleanly_and_is_there_again(
    machine: WineMachine, grid: LocalGrid
) -> None:
    """The fault: files that are in use, half of a version replaced, a worker that stays away."""
    was = machine.programs()
    assert "gogrid-runner.exe" in was.values()
    stale = machine.installed / "_internal" / "of-an-older-version.txt"
    stale.write_text("no longer")
    config = machine.roaming / "GoGrid Worker" / "config.toml"
    config.parent.mkdir(exist_ok=True)
    config.write_text("# mine\n")
    connected_before = seen(grid)
    assert connected_before is not None
    began = time.monotonic()
    assert machine.set_up(SETUP, "/S") == 0
    assert within(SOON_S, lambda: (now := seen(grid)) and now.connected_since != connected_before.connected_since)
    print(f"from the setup's start until it was connected again: {time.monotonic() - began:.1f} s")
    assert not set(was) & set(machine.programs())
    assert not stale.exists()
    assert config.read_text() == "# mine\n"
    assert not (machine.installed / "incoming").exists()
    log = (machine.data / "logs" / "worker.log").read_text()
    assert "stopping" in log, "it was asked, not killed"
    assert "gogrid-app.exe" in machine.programs().values()
    assert "|GoGrid Worker" not in machine.registry(RUN)
    assert within(SOON_S, lambda: "gogrid-icon.exe" in machine.programs().values())


def test_removed_while_it_runs_it_leaves_only_what_is_its_owners(
    machine: WineMachine, before: set[str], grid: LocalGrid
) -> None:
    fetched = machine.data / "app/versions/7/gogrid-worker.exe"
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(b"a program that an update has fetched")
    foreign = machine.installed / "holiday.jpg"
    foreign.write_text("not ours")
    assert machine.worker("autostart", "on").returncode == 0
    assert machine.registry(RUN)["|GoGrid Worker"].endswith('gogrid-app.exe"')
    began = time.monotonic()
    assert machine.set_up(machine.installed / "uninstall.exe", "/S") == 0
    assert within(
        SOON_S, lambda: not (machine.installed / "uninstall.exe").exists() and not machine.registry(UNINSTALL)
    )
    print(f"removed within {time.monotonic() - began:.1f} s")
    assert machine.programs() == {}
    assert within(5, lambda: seen(grid) is None)
    left = {name for name in machine.files() - before if not re.match(r"AppData/Local/Temp/|Temp/", name)}
    mine = ("AppData/Local/GoGrid Worker/", "AppData/Roaming/GoGrid Worker/")
    assert {name for name in left if not name.startswith(mine)} == {"AppData/Local/Programs/GoGrid Worker/holiday.jpg"}
    kept = sorted({name.removeprefix(mine[0]).split("/")[0] for name in left if name.startswith(mine[0])})
    print(f"left of its owner's: {kept}")
    assert "state" in kept
    assert not fetched.exists()
    assert (machine.roaming / "GoGrid Worker/config.toml").read_text() == "# mine\n"
    for key in (CLASS, UNINSTALL, r"Software\GoGrid Worker"):
        assert machine.registry(key) == {}
    assert "|GoGrid Worker" not in machine.registry(RUN)
    foreign.unlink()


def test_installed_again_it_is_still_that_worker_and_forgets_all_when_told(
    machine: WineMachine, before: set[str], grid: LocalGrid, tmp_path: Path
) -> None:
    assert machine.set_up(SETUP, "/S", "/LOGIN") == 0
    assert machine.registry(RUN)["|GoGrid Worker"].endswith('gogrid-app.exe"')
    machine.start(tmp_path / "again.log", machine.installed / "gogrid-worker.exe", "--headless")
    known = within(SOON_S, lambda: (found := seen(grid)) is not None and found.name == "installed")
    assert known, (tmp_path / "again.log").read_text()
    sleep = ("-c", "import time; print('up', flush=True); time.sleep(600)")
    of_ours = machine.start(tmp_path / "ours.log", machine.installed / "_internal/python.exe", *sleep)
    of_others = machine.start(tmp_path / "others.log", ROOT / "build/windows/freezer/python.exe", *sleep)
    assert within(SOON_S, lambda: all("up" in (tmp_path / f"{name}.log").read_text() for name in ("ours", "others")))
    assert machine.set_up(machine.installed / "uninstall.exe", "/S", "/FORGET") == 0
    assert within(SOON_S, lambda: not machine.data.exists() and not machine.registry(UNINSTALL))
    left = {name for name in machine.files() - before if not re.match(r"AppData/Local/Temp/|Temp/", name)}
    assert left == set()
    assert machine.programs() == {}
    assert of_ours.wait(10) != 0, "nobody asked it to end, and it was in the way"
    assert of_others.poll() is None, "only what lies in our folders is ended"
    assert "|GoGrid Worker" not in machine.registry(RUN)
