"""The app's updater against a real server and real files: when it looks, waits, switches, and when it must not."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from runner.control_messages import Answer, Ask, AskPause, AskResume, AskStatus, Done, RunningJob, WorkerStatus
from tests.fakes import little_app
from tests.fakes.update_publisher import DAY, Publisher, fresh
from tests.fakes.update_server import Served, serving
from tests.fakes.worker_status import READY
from tray.supervision.restart import Life, Phase
from tray.updating.ripeness import Waits
from tray.updating.settings import UpdateSettings
from tray.updating.updater import Updater
from tray.updating.work import Found, UpdateWork
from updates.client.boot import Here
from updates.client.endpoints import DEFAULT_PATH
from updates.client.errors import AskError
from updates.client.layout import Installation
from updates.client.schedule import Rhythm
from updates.client.switch import switch
from updates.trust.trusted_state import start_begun, start_failed

OLD, NEW = 5, 7
JOB = RunningJob(job_id="j", kind="chat", model="m", seconds=1.0)


@dataclass
class Machine:
    served: Served
    installation: Installation
    status: WorkerStatus | None = READY
    life: Life = field(default_factory=lambda: Life(Phase.RUNS))
    settings: UpdateSettings = field(default_factory=UpdateSettings)
    orders: list[Ask] = field(default_factory=list)
    before: tuple[str, ...] = ()
    """Endpoints that are asked first."""
    restarts: int = 0
    log: list[str] = field(default_factory=list)
    updater: Updater | None = None

    async def ask(self, question: Ask) -> Answer | None:
        if isinstance(question, AskStatus):
            return self.status
        self.orders.append(question)
        return Done()

    async def told(self) -> UpdateSettings:
        return replace(self.settings, endpoints=(*self.before, self.served.url + DEFAULT_PATH))

    def restart(self) -> None:
        self.restarts += 1

    def work(self) -> UpdateWork:
        here = Here(self.installation.folder.root.parent / "installed" / little_app.PROGRAM, OLD)
        return UpdateWork(self.installation, here, little_app.PROGRAM, self.installation.place / "none.pem")

    @asynccontextmanager
    async def running(self, *, attended: bool, jobs_end: float = 5.0) -> AsyncIterator[Updater]:
        work = self.work()
        waits = Waits(Rhythm(first_s=0.0), look=0.01, soon=0.02, idle=0.02, jobs_end=jobs_end)
        self.updater = Updater(
            work, self.ask, lambda: self.life, self.told, self.restart, self.log.append, attended=attended, waits=waits
        )
        keeping = asyncio.create_task(self.updater.keep())
        try:
            yield self.updater
            assert not keeping.done() or keeping.exception() is None
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.005)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    little_app.write(tmp_path / "installed", OLD, "1.0.0", "good")
    file = little_app.archive(NEW, "2.0.0", "good")
    with serving(Publisher(seq=NEW, file=file, at=time.time())) as served:
        yield Machine(served, little_app.installation(tmp_path / "installed", tmp_path / "app"))


async def test_without_an_icon_an_idle_worker_updates_itself(machine: Machine):
    async with machine.running(attended=False):
        await until(lambda: machine.restarts)
    state = machine.installation.load()
    assert (state.installed, state.last_good) == (NEW, OLD)
    assert machine.orders == []


async def test_with_an_icon_its_owner_says_when(machine: Machine):
    async with machine.running(attended=True) as updater:
        await until(lambda: updater.state.state == "ready")
        assert updater.state.version == "2.0.0"
        await asyncio.sleep(0.2)
        assert machine.restarts == 0
        assert await updater.apply() == ""
        await until(lambda: machine.restarts)
    assert machine.installation.load().installed == NEW


async def test_what_waited_for_a_click_is_taken_at_the_next_start(machine: Machine):
    async with machine.running(attended=True) as updater:
        await until(lambda: updater.state.state == "ready")
    async with machine.running(attended=True):
        await until(lambda: machine.restarts)


async def test_running_jobs_end_first_and_nothing_new_is_taken_meanwhile(machine: Machine):
    machine.status = msgspec.structs.replace(READY, jobs=(JOB,))
    async with machine.running(attended=True) as updater:
        await until(lambda: updater.state.state == "ready")
        assert await updater.apply() == ""
        await until(lambda: machine.orders)
        pause = machine.orders[0]
        assert isinstance(pause, AskPause)
        assert pause.finish
        assert pause.until > 0  # a crash right now does not leave the worker paused
        await asyncio.sleep(0.1)
        assert machine.restarts == 0
        machine.status = READY
        await until(lambda: machine.restarts)
    assert machine.orders[1:] == [AskResume()]


async def test_jobs_that_do_not_end_are_moved(machine: Machine):
    machine.status = msgspec.structs.replace(READY, jobs=(JOB,))
    async with machine.running(attended=True, jobs_end=0.2) as updater:
        await until(lambda: updater.state.state == "ready")
        assert await updater.apply() == ""
        await until(lambda: machine.restarts)


async def test_a_pause_of_its_owner_stays(machine: Machine):
    machine.status = msgspec.structs.replace(READY, jobs=(JOB,), order="finish")
    async with machine.running(attended=True) as updater:
        await until(lambda: updater.state.state == "ready")
        assert await updater.apply() == ""
        await until(lambda: machine.restarts)
    assert machine.orders == []


async def test_nothing_is_switched_while_the_coordinator_cannot_be_reached(machine: Machine):
    async with machine.running(attended=True) as updater:
        await until(lambda: updater.state.state == "ready")
        machine.status = msgspec.structs.replace(READY, connected=False)
        assert "cannot be reached" in await updater.apply()
    assert (machine.restarts, machine.installation.load().installed) == (0, OLD)


async def test_a_busy_worker_without_an_icon_is_not_interrupted(machine: Machine):
    machine.status = msgspec.structs.replace(READY, jobs=(JOB,))
    async with machine.running(attended=False) as updater:
        await until(lambda: updater.state.state == "ready")
        await asyncio.sleep(0.2)
        assert machine.restarts == 0


async def test_a_version_that_is_unsafe_does_not_wait_for_a_click(machine: Machine):
    machine.served.publisher.bend_release = lambda release: release.update(security_floor=6)
    async with machine.running(attended=True):
        await until(lambda: machine.restarts)


async def test_switched_off_nobody_is_asked(machine: Machine):
    machine.settings = UpdateSettings(enabled=False)
    async with machine.running(attended=False) as updater:
        await until(lambda: updater.state.state == "off")
        await asyncio.sleep(0.1)
    assert machine.served.asked == []


async def test_switched_off_what_lies_ready_is_not_taken(machine: Machine):
    async with machine.running(attended=True) as updater:
        await until(lambda: updater.state.state == "ready")
    machine.settings = UpdateSettings(enabled=False)
    async with machine.running(attended=False) as updater:
        await until(lambda: updater.state.state == "off")
        await asyncio.sleep(0.2)
    assert machine.restarts == 0


async def test_a_pinned_machine_stays_where_it_is(machine: Machine):
    machine.settings = UpdateSettings(pinned="1.0.0")
    async with machine.running(attended=False) as updater:
        await until(lambda: "pinned" in updater.state.sentence)
    assert machine.restarts == 0


async def test_what_is_refused_is_told_and_the_worker_goes_on(machine: Machine):
    machine.served.publisher.release_by = "thief"
    async with machine.running(attended=False) as updater:
        await until(lambda: updater.state.state == "failed")
        assert "not to be believed" in updater.state.sentence
    assert machine.restarts == 0
    assert machine.installation.folder.present() == frozenset()


async def test_a_damaged_memory_of_updates_is_told_and_the_worker_goes_on(machine: Machine):
    machine.installation.folder.root.mkdir()
    (machine.installation.folder.root / "trusted-stable.json").write_text("{")
    async with machine.running(attended=False) as updater:
        await until(lambda: updater.state.state == "failed")
        assert "start anew" in updater.state.sentence
    assert machine.restarts == 0


async def test_a_check_that_fails_as_nobody_thought_is_told_logged_and_tried_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
):
    def never_thought_of(*_arguments: object) -> Found:
        raise ZeroDivisionError

    monkeypatch.setattr(UpdateWork, "check", never_thought_of)
    async with machine.running(attended=True) as updater:
        await until(lambda: updater.state.state == "failed")
        assert "ZeroDivisionError" in updater.state.sentence
        assert any("Traceback" in line for line in machine.log)
        await until(lambda: updater._schedule.failures == 1)


async def test_an_endpoint_that_is_none_is_told(machine: Machine):
    machine.before = ("https://[x/u",)
    async with machine.running(attended=True) as updater:
        await until(lambda: updater.state.state == "failed")
        assert "updates.endpoints" in updater.state.sentence


@pytest.mark.parametrize("word", [b"https://[x/u", b"\xff\xfe", b""])
def test_a_damaged_memory_of_the_coordinators_address_is_no_address(machine: Machine, word: bytes):
    machine.installation.folder.root.mkdir()
    (machine.installation.folder.root / "coordinator").write_bytes(word)
    with pytest.raises(AskError, match="No endpoint"):
        machine.work().check(UpdateSettings())


async def test_a_freeze_is_told_also_when_nobody_answers(machine: Machine):
    long_ago = time.time() - 30 * DAY
    machine.installation.folder.save(fresh(ts_expires=long_ago))
    machine.served.faults.status = 500
    async with machine.running(attended=True) as updater:
        await until(lambda: updater.state.state == "failed")
        assert "answers 500" in updater.state.sentence
        assert "for 30 days" in updater.state.sentence
    assert any("for 30 days" in line for line in machine.log)


async def test_a_machine_that_never_heard_a_word_is_told_of_the_freeze(machine: Machine):
    copy = msgspec.structs.replace(machine.installation.copy, built=datetime.fromtimestamp(time.time() - 30 * DAY, UTC))
    machine.installation = replace(machine.installation, copy=copy)
    machine.served.faults.status = 204
    async with machine.running(attended=True) as updater:
        await until(lambda: updater.state.state == "current" and "30 days" in updater.state.sentence)


async def test_slow_retrieval_a_file_that_does_not_come_is_fetched_from_the_next_endpoint(machine: Machine):
    with serving(machine.served.publisher) as lame:
        lame.faults.file_status = 503
        machine.before = (lame.url + DEFAULT_PATH,)
        async with machine.running(attended=True) as updater:
            await until(lambda: updater.state.state == "ready")
    assert any("/files/" in path for path in lame.asked)
    assert [path.split("/")[1] for path in machine.served.asked] == ["files"]


async def test_a_version_is_good_only_when_its_worker_is_connected(machine: Machine):
    machine.status = msgspec.structs.replace(READY, connected=False)
    machine.served.faults.status = 204
    async with machine.running(attended=False):
        await until(lambda: machine.served.asked)
        await asyncio.sleep(0.1)
        assert machine.installation.load().last_good == 0
        machine.status = READY
        await until(lambda: machine.installation.load().last_good == OLD)


async def test_a_worker_that_belongs_to_nobody_is_good_when_it_says_so(machine: Machine):
    machine.status, machine.life = None, Life(Phase.NOT_JOINED)
    machine.served.faults.status = 204
    async with machine.running(attended=False):
        await until(lambda: machine.installation.load().last_good == OLD)


async def test_what_failed_here_once_is_not_taken_again_without_being_asked(machine: Machine):
    async with machine.running(attended=True) as updater:
        await until(lambda: updater.state.state == "ready")
    switch(machine.installation, NEW)
    machine.installation.change(lambda state: start_failed(start_begun(state)))
    machine.installation.change(lambda state: msgspec.structs.replace(state, installed=OLD))
    async with machine.running(attended=False) as updater:
        await until(lambda: updater.state.state == "ready")
        await asyncio.sleep(0.2)
        assert machine.restarts == 0
        assert await updater.apply() == ""
        await until(lambda: machine.restarts)


async def test_going_back_restarts_into_the_version_before(machine: Machine):
    async with machine.running(attended=False):
        await until(lambda: machine.restarts)
    newer = little_app.installation(machine.installation.folder.version(NEW), machine.installation.folder.root)
    again = Machine(machine.served, newer)
    machine.served.faults.status = 204
    async with again.running(attended=True) as updater:
        await until(lambda: newer.load().last_good == NEW)
        assert await updater.roll_back() == ""
        await until(lambda: again.restarts)
    state = newer.load()
    assert (state.installed, state.failed) == (OLD, (NEW,))
    assert newer.folder.note() == "its owner went back from version 2.0.0 to 1.0.0"


async def test_the_updater_lets_go_at_once_also_while_a_server_says_nothing(machine: Machine):
    silent = socket.create_server(("127.0.0.1", 0))  # takes connections, and nobody ever looks at them
    machine.served.url = f"http://127.0.0.1:{silent.getsockname()[1]}"
    loop = asyncio.get_running_loop()
    async with machine.running(attended=False) as updater:
        await until(lambda: updater.state.state == "checking")
        await until(lambda: [thread for thread in threading.enumerate() if thread.name == "update check"])
        waiting = [thread for thread in threading.enumerate() if thread.name == "update check"]
        assert all(thread.daemon for thread in waiting)  # else the interpreter waits for it at its end
        ended = loop.time()
    assert loop.time() - ended < 15  # half of what a server may say nothing
    silent.close()
