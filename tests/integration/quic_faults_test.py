"""Real faults between real processes: a coordinator killed, both event loops, a crowd."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gogrid.addresses import Address
from gogrid.errors import CloseCode
from gogrid.ids import JobId, WorkerId
from gogrid.protocol.messages import HeartbeatAck
from runner.link.coordinator_link import CoordinatorLink, Credentials
from tests.fakes.quic_grid import WorkerNotes, coordinator, wait_until, worker

ROOT = Path(__file__).parents[2]


async def test_a_coordinator_killed_with_sigkill_is_noticed_within_eight_seconds() -> None:
    key, notes = Ed25519PrivateKey.generate(), WorkerNotes()
    public = key.public_key().public_bytes_raw().hex()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.fakes.quic_server_process",
        public,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    port, worker_id, pin = (await process.stdout.readline()).decode().split()
    credentials = Credentials(WorkerId(worker_id), key, bytes.fromhex(pin))
    link = CoordinatorLink([Address("127.0.0.1", int(port))], credentials, notes)
    task = asyncio.create_task(link.run())
    await wait_until(lambda: bool(notes.welcomes), task)
    process.kill()
    killed = time.monotonic()
    await process.wait()
    await wait_until(lambda: bool(notes.disconnects), timeout_s=12.0)
    assert time.monotonic() - killed <= 8.5
    await wait_until(lambda: "Trying again" in link.status, timeout_s=12.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_both_ends_run_on_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def session() -> None:
        async with coordinator() as grid:
            notes = WorkerNotes()
            async with worker(grid, grid.credentials(), notes):
                await asyncio.sleep(0.1)
            await wait_until(lambda: bool(grid.notes.disconnects))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(session())


async def test_nobody_at_the_address_is_said_in_one_sentence_at_once() -> None:
    async with coordinator() as grid:
        credentials = grid.credentials()
        address = grid.address
    link = CoordinatorLink([address], credentials, WorkerNotes())
    task = asyncio.create_task(link.run())
    await wait_until(lambda: "Trying again" in link.status, task, 2.0)
    assert f"{address}: nobody answers there" in link.status
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_thirty_workers_come_and_go_and_nothing_is_left_of_them() -> None:
    async with coordinator() as grid:
        for _ in range(2):
            notes = [WorkerNotes() for _ in range(15)]
            links = [CoordinatorLink([grid.address], grid.credentials(), note) for note in notes]
            tasks = [asyncio.create_task(link.run()) for link in links]
            await wait_until(lambda: all(note.welcomes for note in notes))  # noqa: B023
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await wait_until(lambda: not grid.server._cids, timeout_s=20.0)
        assert not grid.server._by_cid
        assert not grid.server._by_worker
        assert not grid.server._strangers
        assert grid.server._gate._total == 0


async def test_an_idle_worker_uses_next_to_no_cpu() -> None:
    async with coordinator() as grid:
        async with worker(grid, grid.credentials(), WorkerNotes()):
            await asyncio.sleep(0.5)
            process = psutil.Process()
            before = sum(process.cpu_times()[:2])
            await asyncio.sleep(4.0)
            spent = sum(process.cpu_times()[:2]) - before
        assert spent <= 4.0 * 0.01


async def test_a_closed_link_swallows_what_is_sent() -> None:
    async with coordinator() as grid:
        notes = WorkerNotes()
        async with worker(grid, grid.credentials(), notes) as link:
            there = grid.notes.links[0]
            there.close(CloseCode.REVOKED, "out")
            await wait_until(lambda: bool(notes.disconnects))
            link.refuse(JobId("job_1"), 1, "late")
            there.consumed(JobId("job_1"), 1, 10)
            there.close(CloseCode.NORMAL, "again")
            there.send(HeartbeatAck(seq=1))
            assert notes.disconnects == ["out"]
