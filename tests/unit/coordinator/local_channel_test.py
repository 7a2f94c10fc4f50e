"""What a running coordinator tells the admin's commands on its machine, and what `worker list` makes of it."""

import argparse
import asyncio
import json
import os
from pathlib import Path

import pytest

from coordinator.cli.shell import Shell
from coordinator.cli.workers import run_list
from coordinator.local_channel import LocalChannel, NoCoordinatorError, ask_workers
from coordinator.records import TokenRecord, WorkerRecord, WorkerStatus
from coordinator.state.folder import StateFolder
from coordinator.store.sqlite_store import SqliteStore
from coordinator.views import WorkerView
from gogrid.ids import WorkerId
from gogrid.protocol.measured import MeasuredSpeed
from gogrid.protocol.worker_report import Readiness, WorkerReport
from tests.fakes.backend import FakeLive

EVIL = "on battery \x1b[2J"
REPORT = WorkerReport(
    software="x", hostname="den", platform="linux-x86_64", readiness=Readiness.PAUSED, reason=EVIL, devices=(),
    engines=(), sandbox="", python_jobs=False, speed=MeasuredSpeed(185.4, 40.0, 1e9),
)  # fmt: skip


@pytest.fixture
async def shell(tmp_path: Path) -> Shell:
    """A state folder with one worker in its database."""
    folder = StateFolder(tmp_path / "state")
    folder.begin()
    store = await SqliteStore.open(folder.database)
    await store.add_token(TokenRecord("t" * 16, b"p" * 32, "", 1.0, 1000.0, 1, 0, False, False))
    newcomer = WorkerRecord(WorkerId("wk_1"), "den", b"w" * 32, WorkerStatus.APPROVED, False, 0, 5.0, "t" * 16)
    await store.redeem("t" * 16, newcomer, 5.0)
    await store.close()
    folder.identity_key.write_bytes(b"")
    folder.identity_key.chmod(0o600)
    folder.finish()
    return Shell(folder, {}, 5.0, False, "")


def live(worker: WorkerRecord) -> FakeLive:
    made = FakeLive()
    made.views = [WorkerView(worker, True, False, "10.0.0.9:1", 6.0, REPORT, (), ())]
    return made


async def listed(shell: Shell) -> int:
    return await asyncio.to_thread(run_list, argparse.Namespace(), shell)


async def test_the_list_shows_readiness_and_speed_where_the_coordinator_runs(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    async with shell.store() as store:
        [worker] = await store.workers()
    channel = LocalChannel(shell.folder.admin_socket, live(worker))
    await channel.open()
    try:
        assert await listed(shell) == 0
        text = capsys.readouterr().out
        assert r"paused: on battery \x1b[2J" in text
        assert "185 tokens/s" in text
        await listed(Shell(shell.folder, {}, 5.0, True, ""))
        [value] = json.loads(capsys.readouterr().out)
        assert (value["now"]["readiness"], value["now"]["reason"], value["now"]["tokens_per_s"]) == (
            "paused", EVIL, 185.4,
        )  # fmt: skip
    finally:
        await channel.close()


async def test_without_a_coordinator_the_list_says_that_it_does_not_know(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await listed(shell) == 0
    text = capsys.readouterr().out
    assert "What they do now is not known: no coordinator serves this folder now.\n" in text
    await listed(Shell(shell.folder, {}, 5.0, True, ""))
    assert json.loads(capsys.readouterr().out)[0]["now"] is None


@pytest.mark.skipif(os.name != "posix", reason="a mode of Unix")
async def test_only_the_coordinators_own_user_may_ask(shell: Shell) -> None:
    channel = LocalChannel(shell.folder.admin_socket, FakeLive())
    await channel.open()
    try:
        assert shell.folder.admin_socket.stat().st_mode & 0o777 == 0o600
    finally:
        await channel.close()


async def test_what_is_no_question_is_refused_and_the_next_one_answered(shell: Shell) -> None:
    channel = LocalChannel(shell.folder.admin_socket, FakeLive())
    await channel.open()
    try:
        reader, writer = await asyncio.open_unix_connection(shell.folder.admin_socket)
        writer.write(b'{"type":"Stop"}\n')
        assert b"Not a question" in await reader.readline()
        writer.close()
        await writer.wait_closed()
        assert await asyncio.to_thread(ask_workers, shell.folder.admin_socket) is not None
    finally:
        await channel.close()
    with pytest.raises(NoCoordinatorError, match="no coordinator serves"):
        await asyncio.to_thread(ask_workers, shell.folder.admin_socket)
