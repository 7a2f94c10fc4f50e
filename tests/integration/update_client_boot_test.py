"""The start of the program with real processes: hand over, watch a trial, come back, and never for nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fakes import little_app
from updates.client.layout import AppFolder, Installation
from updates.client.switch import NoWayBackError, roll_back, switch
from updates.trust.trusted_state import TrustedState

pytestmark = pytest.mark.skipif(os.name == "nt", reason="little programs are scripts with a first line")
ROOT = Path(__file__).parents[2]
OLD, NEW = 5, 6


@dataclass
class Machine:
    folder: Path
    running: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def installed(self) -> Path:
        return self.folder / "installed"

    @property
    def app(self) -> AppFolder:
        return AppFolder(self.folder / "app")

    @property
    def state(self) -> TrustedState:
        return self.installation.load()

    @property
    def installation(self) -> Installation:
        return little_app.installation(self.installed, self.app.root)

    @property
    def log(self) -> list[int]:
        """Which versions started, in order."""
        path = self.folder / "log"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def put(self, seq: int, kind: str) -> None:
        little_app.write(self.app.version(seq), seq, f"{seq}.0", kind)
        switch(self.installation, seq)

    def start(self, probation_s: float = 20.0) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, "LITTLE_LOG": str(self.folder / "log"), "LITTLE_PROBATION": str(probation_s)}
        command = [str(self.installed / little_app.PROGRAM), str(self.app.root)]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
        self.running.append(process)
        return process

    def until(self, log: list[int]) -> None:
        deadline = time.monotonic() + 20
        while self.log != log:
            assert time.monotonic() < deadline, f"started {self.log}, not {log}"
            time.sleep(0.01)

    def until_last(self, seq: int) -> None:
        deadline = time.monotonic() + 20
        while self.log[-1:] != [seq]:
            assert time.monotonic() < deadline, f"started {self.log}, not {seq}"
            time.sleep(0.01)

    def until_good(self, seq: int) -> None:
        deadline = time.monotonic() + 20
        while self.state.last_good != seq:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    little_app.write(made.installed, OLD, "5.0", "good")
    yield made
    for process in made.running:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert process.stderr is not None
        process.stderr.close()


def test_without_an_update_the_installers_copy_runs(machine: Machine):
    machine.start()
    machine.until([OLD])


def test_a_new_version_that_reaches_its_coordinator_stays_and_takes_the_place_next_time(machine: Machine):
    machine.put(NEW, "good")
    first = machine.start()
    machine.until_good(NEW)
    first.terminate()
    assert first.wait(10) is not None
    assert machine.log == [NEW]
    second = machine.start()
    machine.until([NEW, NEW])
    children = Path(f"/proc/{second.pid}/task/{second.pid}/children")
    if children.exists():
        assert children.read_text() == ""  # no watcher is left in between


def test_a_version_that_crashes_is_tried_twice_and_then_the_old_one_is_back_by_itself(machine: Machine):
    machine.put(NEW, "crash")
    process = machine.start()
    machine.until([NEW, NEW, OLD])
    assert process.poll() is None
    assert machine.state.failed == (NEW,)
    assert machine.app.note() == "version 6.0 did not start on this machine; back to version 5.0"


def test_a_version_that_finds_another_one_at_work_is_not_judged_by_it(machine: Machine):
    """Whoever watched it was killed, and somebody starts the program once more while it runs."""
    machine.put(NEW, "occupied")
    machine.start()
    machine.until([NEW, OLD])
    assert (machine.state.installed, machine.state.failed, machine.state.failed_starts) == (NEW, (), 0)


def test_a_version_that_ends_at_once_as_if_all_were_well_is_no_good(machine: Machine):
    machine.put(NEW, "idle")
    machine.start()
    machine.until([NEW, NEW, OLD])
    assert machine.state.failed == (NEW,)


def test_who_quits_a_new_version_at_once_has_not_judged_it(machine: Machine):
    machine.put(NEW, "quit")
    assert machine.start().wait(20) == 0
    assert (machine.log, machine.state.starting, machine.state.failed_starts) == ([NEW], False, 0)


def test_who_was_left_alone_by_its_watcher_starts_anew_by_itself():
    alone = "Here(Path('/bin/echo'), 5, awaited=True, watcher=1)"
    program = f"from updates.client.boot import *; start_anew({alone}, ['starts', 'anew'], {{}})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "starts anew\n"


def test_a_version_that_never_reaches_its_coordinator_makes_room_in_time(machine: Machine):
    machine.put(NEW, "mute")
    began = time.monotonic()
    machine.start(probation_s=1.0)
    machine.until_last(OLD)  # on a busy machine the new one is given up before it says a word
    assert time.monotonic() - began < 30  # else two minutes
    assert (machine.state.failed, machine.state.failed_starts) == ((), 1)
    assert "did not reach its coordinator in time" in machine.app.note()


def test_a_version_that_cannot_be_started_at_all_is_left(machine: Machine):
    machine.put(NEW, "good")
    (machine.app.version(NEW) / little_app.PROGRAM).chmod(0o644)
    machine.start()
    machine.until([OLD])
    assert machine.state.failed == (NEW,)


def test_a_trial_that_is_killed_with_its_watcher_twice_counts_as_two_failed_starts(machine: Machine):
    machine.put(NEW, "mute")
    for expected in ([NEW], [NEW, NEW]):
        process = machine.start()
        machine.until(expected)
        child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        process.kill()
        os.kill(child, signal.SIGKILL)
        process.wait()
    machine.start()
    machine.until([NEW, NEW, OLD])
    assert machine.state.failed == (NEW,)


def test_who_is_asked_to_end_during_a_trial_ends_with_the_new_version_and_nothing_is_held_against_it(machine: Machine):
    machine.put(NEW, "mute")
    process = machine.start()
    machine.until([NEW])
    process.terminate()
    process.wait(10)
    assert (machine.state.starting, machine.state.failed_starts, machine.log) == (False, 0, [NEW])


def test_a_second_start_during_a_trial_does_not_judge_it(machine: Machine):
    machine.put(NEW, "mute")
    machine.start()
    machine.until([NEW])
    machine.start()
    machine.until([NEW, NEW])
    assert (machine.state.starting, machine.state.failed_starts) == (True, 0)


def test_a_version_may_ask_for_the_next_one_without_a_chain_of_watchers(machine: Machine):
    machine.put(NEW, "again")
    process = machine.start()
    machine.until([NEW, NEW])
    process.wait(10)
    assert process.returncode == 0


def test_a_damaged_memory_of_updates_starts_the_installers_copy(machine: Machine):
    machine.put(NEW, "good")
    (machine.app.root / "trusted-stable.json").write_bytes(b"\0" * 100)
    machine.start()
    machine.until([OLD])


def test_a_good_version_that_crashes_later_is_not_judged_again(machine: Machine):
    machine.put(NEW, "good")
    process = machine.start()
    machine.until_good(NEW)
    os.kill(int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()), signal.SIGKILL)
    assert process.wait(10) != 0
    assert (machine.log, machine.state.failed) == ([NEW], ())


def test_its_owner_goes_back_to_the_version_before_and_the_left_one_is_not_tried_again(machine: Machine):
    machine.start()
    machine.until_good(OLD)
    machine.running[0].terminate()
    machine.running[0].wait()
    machine.put(NEW, "good")
    process = machine.start()
    machine.until_good(NEW)
    process.terminate()
    process.wait()
    newer = little_app.installation(machine.app.version(NEW), machine.app.root)
    assert roll_back(newer, OLD) == OLD
    machine.start()
    machine.until([OLD, NEW, OLD])
    assert machine.state.failed == (NEW,)


def test_nothing_below_the_security_floor_is_gone_back_to_by_hand(machine: Machine):
    machine.app.save(TrustedState(app="gogrid-worker", channel="stable", installed=6, last_good=6, before_good=5))
    machine.installation.change(lambda state: TrustedState(**{**_fields(state), "security_floor": 6}))
    little_app.write(machine.app.version(NEW), NEW, "6.0", "good")
    newer = little_app.installation(machine.app.version(NEW), machine.app.root)
    with pytest.raises(NoWayBackError, match="security flaw"):
        roll_back(newer, OLD)


def _fields(state: TrustedState) -> dict[str, object]:
    return {name: getattr(state, name) for name in state.__struct_fields__}
