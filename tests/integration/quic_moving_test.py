"""Machines that sleep, change networks, or sit behind a NAT that forgets: real QUIC on loopback."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from gogrid.addresses import Address
from gogrid.ids import JobId, Sha256
from gogrid.protocol.job_messages import Tokens
from gogrid.protocol.messages import Assign, Drain
from gogrid.protocol.tasks import ChatTask, ModelRef, Sampling
from gogrid.quic.private import heard_at
from runner.link.coordinator_link import CoordinatorLink
from tests.fakes.quic_grid import Grid, WorkerNotes, coordinator, wait_until, worker
from tests.faults.impairment import BLACKHOLE, Conditions
from tests.faults.proxy import UdpProxy

JOB = JobId("job_1")
TASK = ChatTask(model=ModelRef(name="m", digest=Sha256("a" * 64)), messages=(), sampling=Sampling())
LOOK_S = 0.05


@pytest.fixture
def alert(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look around often, so that the test is short."""
    monkeypatch.setattr("runner.link.coordinator_link.LOOK_S", LOOK_S)


class Linked:
    """A worker behind a proxy."""

    def __init__(self, grid: Grid, proxy: UdpProxy) -> None:
        self.notes = WorkerNotes()
        link = CoordinatorLink([Address("127.0.0.1", proxy.port)], grid.credentials(), self.notes)
        self.task = asyncio.create_task(link.run())

    async def __aenter__(self) -> Linked:
        await wait_until(lambda: bool(self.notes.welcomes), self.task)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_a_machine_that_slept_for_a_night_connects_anew_at_once(
    alert: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = [0.0]
    monkeypatch.setattr("runner.link.coordinator_link.clock_through_sleep", lambda: time.monotonic() + slept[0])
    async with coordinator() as grid:
        notes = WorkerNotes()
        async with worker(grid, grid.credentials(), notes):
            slept[0] = 8 * 3600.0
            await wait_until(lambda: len(notes.welcomes) == 2, timeout_s=1.5)
            assert "slept for" in notes.disconnects[0]
            await asyncio.sleep(4 * LOOK_S)
            assert len(notes.welcomes) == 2


async def test_a_machine_that_moved_to_another_network_connects_anew_at_once(
    alert: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ["10.0.0.1"]
    monkeypatch.setattr("runner.link.coordinator_link.source_address", lambda peer: source[0])
    async with coordinator() as grid:
        notes = WorkerNotes()
        async with worker(grid, grid.credentials(), notes):
            await asyncio.sleep(3 * LOOK_S)
            source[0] = "192.168.7.2"
            await wait_until(lambda: len(notes.welcomes) == 2, timeout_s=1.5)


async def test_a_network_that_comes_back_unchanged_keeps_its_connection(
    alert: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = itertools.chain(["10.0.0.1"] * 3, [""] * 3, itertools.repeat("10.0.0.1"))
    monkeypatch.setattr("runner.link.coordinator_link.source_address", lambda peer: next(source))
    async with coordinator() as grid:
        notes = WorkerNotes()
        async with worker(grid, grid.credentials(), notes):
            await asyncio.sleep(2.5)
            assert (len(notes.welcomes), notes.disconnects) == (1, [])


async def test_a_dead_connection_is_found_out_soon_after_a_nap(alert: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the doubt it takes the eight seconds of any dead coordinator."""
    slept = [0.0]
    monkeypatch.setattr("runner.link.coordinator_link.clock_through_sleep", lambda: time.monotonic() + slept[0])
    async with coordinator() as grid:
        with UdpProxy(grid.server.port, seed=1) as proxy:
            async with Linked(grid, proxy) as linked:
                await asyncio.sleep(2 * LOOK_S)
                proxy.conditions(BLACKHOLE, BLACKHOLE)
                slept[0] = 10.0
                await wait_until(lambda: bool(linked.notes.disconnects), linked.task, 3.0)
                proxy.conditions()
                await wait_until(lambda: len(linked.notes.welcomes) == 2, linked.task, 6.0)


async def test_a_nap_does_not_keep_a_worker_waiting_for_its_next_attempt(
    alert: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = [0.0]
    monkeypatch.setattr("runner.link.coordinator_link.clock_through_sleep", lambda: time.monotonic() + slept[0])
    monkeypatch.setattr("runner.link.backoff.FIRST_S", 60.0)
    monkeypatch.setattr("runner.link.backoff.LONGEST_S", 60.0)
    async with coordinator() as grid:
        credentials, address = grid.credentials(), grid.address
        link = CoordinatorLink([Address("127.0.0.1", 9), address], credentials, WorkerNotes())
        link._addresses = link._addresses[:1]
        task = asyncio.create_task(link.run())
        await wait_until(lambda: "Trying again" in link.status, task, 8.0)
        link._addresses = (address,)
        slept[0] = 30.0
        await wait_until(lambda: "connected to" in link.status, task, 1.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_nat_that_forgets_in_mid_stream_costs_nothing() -> None:
    async with coordinator() as grid:
        with UdpProxy(grid.server.port, seed=1) as proxy:
            async with Linked(grid, proxy) as linked:
                there = grid.notes.links[0]
                there.send(Assign(job_id=JOB, epoch=1, task=TASK))
                await wait_until(lambda: bool(linked.notes.assigned_jobs), linked.task)
                stream = linked.notes.assigned_jobs[0][1]
                for seq in range(60):
                    if seq in (20, 40):
                        proxy.rebind()
                    stream.send(Tokens(seq=seq, text="a", token_ids=(seq,)))
                    await asyncio.sleep(0.02)
                await wait_until(lambda: len(grid.notes.messages) == 60, linked.task, 2.0)
                assert proxy.rebinds == 2
                assert [message.seq for _, _, message in grid.notes.messages if isinstance(message, Tokens)] == [
                    *range(60)
                ]
                there.send(Drain(on=True))
                await wait_until(lambda: bool(linked.notes.drains), linked.task, 1.0)
                assert (linked.notes.disconnects, grid.notes.disconnects, grid.notes.suspicions) == ([], [], [])


async def test_a_quiet_worker_whose_nat_forgot_is_reached_again_within_five_seconds() -> None:
    async with coordinator() as grid:
        with UdpProxy(grid.server.port, seed=1) as proxy:
            async with Linked(grid, proxy) as linked:
                await asyncio.sleep(0.3)
                proxy.rebind()
                await wait_until(lambda: proxy.rebinds == 1)
                before = time.monotonic()
                grid.notes.links[0].send(Drain(on=True))
                await wait_until(lambda: bool(linked.notes.drains), linked.task, 6.0)
                assert time.monotonic() - before <= 5.5
                assert (len(linked.notes.welcomes), grid.notes.disconnects) == (1, [])


async def test_a_far_and_lossy_worker_that_thinks_for_long_is_never_suspected() -> None:
    """750 ms there and back, jitter, 2 % lost: keep-alives come in their rhythm, however late."""
    far = Conditions(delay_s=0.375, jitter_s=0.05, loss=0.02)
    async with coordinator() as grid:
        with UdpProxy(grid.server.port, seed=7) as proxy:
            async with Linked(grid, proxy) as linked:
                proxy.conditions(far, far)
                await asyncio.sleep(0.5)
                grid.notes.links[0].send(Assign(job_id=JOB, epoch=1, task=TASK))
                await wait_until(lambda: bool(linked.notes.assigned_jobs), linked.task)
                await asyncio.sleep(4.0)
                assert (grid.notes.suspicions, grid.notes.disconnects) == ([], [])
                proxy.conditions(BLACKHOLE, BLACKHOLE)
                before = time.monotonic()
                await wait_until(lambda: grid.notes.suspicions == [True], linked.task, 3.0)
                assert time.monotonic() - before <= 2.0
                proxy.conditions()
                connection, silent_since = grid.notes.links[0]._connection, heard_at(grid.notes.links[0]._connection)
                await wait_until(lambda: heard_at(connection) > silent_since, linked.task, 3.0)
                assert grid.notes.suspicions == [True, False]
