"""Coordinator and worker over real QUIC on loopback."""

from __future__ import annotations

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coordinator.quic.link import QuicLink
from coordinator.records import WorkerStatus
from gogrid.errors import CloseCode
from gogrid.ids import JobId, Sha256
from gogrid.protocol.job_messages import FailCode, Failed, Finished, Log, TextDone, Tokens
from gogrid.protocol.messages import Assign, Cancel, Drain, LeaseHeld, Settled
from gogrid.protocol.session import MAX_JOB_STREAMS
from gogrid.protocol.tasks import CompletionTask, ModelRef, Sampling
from gogrid.protocol.worker_report import Readiness, WorkerReport
from runner.link.coordinator_link import Credentials, join
from runner.session import JobStream
from tests.fakes.quic_grid import WorkerNotes, coordinator, wait_until, worker

TASK = CompletionTask(model=ModelRef(name="m", digest=Sha256("0" * 64)), prompt="hi", sampling=Sampling())
JOB = JobId("job_1")
DONE = Finished(result=TextDone(finish_reason="stop", prompt_tokens=1, completion_tokens=2))
REPORT = WorkerReport(
    software="gogrid/0",
    hostname="box",
    platform="linux-x86_64",
    readiness=Readiness.READY,
    reason="ready",
    devices=(),
    engines=("echo",),
    sandbox="none",
    python_jobs=False,
)


async def test_a_machine_joins_with_a_token_then_connects_with_its_own_key() -> None:
    async with coordinator() as grid:
        key = Ed25519PrivateKey.generate()
        joined = await join(grid.token(), key, "box")
        assert joined.identity_pem == grid.identity.pem
        assert (joined.worker_name, joined.https_port, joined.pending) == ("box", 8443, False)
        assert grid.notes.links == []
        notes = WorkerNotes()
        async with worker(grid, Credentials(joined.worker_id, key, grid.identity.pin), notes) as link:
            assert notes.welcomes[0].session_epoch == 1
            assert grid.notes.links[0].worker.id == joined.worker_id
            assert grid.notes.links[0].ticket == notes.welcomes[0].ticket != ""
            assert "connected to" in link.status
        await wait_until(lambda: bool(grid.notes.disconnects))
        assert grid.notes.disconnects[0][1] == "The worker is stopping."
        assert grid.notes.left_for_good == [True]


async def test_jobs_flow_and_end_on_their_own_streams() -> None:
    async with coordinator() as grid:
        notes = WorkerNotes()
        async with worker(grid, grid.credentials(), notes) as link:
            link.report(REPORT)
            await wait_until(lambda: bool(grid.notes.reports))
            grid.notes.links[0].send(Assign(job_id=JOB, epoch=3, task=TASK))
            grid.notes.links[0].send(Drain(on=True))
            grid.notes.links[0].send(Cancel(job_id=JOB, epoch=3, reason="no"))
            await wait_until(lambda: bool(notes.cancels))
            assert notes.drains
            assign, stream = notes.assigned_jobs[0]
            assert assign.task == TASK
            stream.send(Tokens(seq=0, text="ä", token_ids=(1,)))
            await wait_until(lambda: bool(grid.notes.messages))
            stream.send(DONE)
            stream.send(DONE)
            await wait_until(lambda: bool(grid.notes.ended))
            assert grid.notes.messages == [
                (JOB, 3, Tokens(seq=0, text="ä", token_ids=(1,))),
                (JOB, 3, DONE),
            ]
            link.refuse(JobId("job_2"), 1, "no room")
            await wait_until(lambda: bool(grid.notes.refusals))


async def test_a_small_job_is_told_whole_and_opens_no_stream() -> None:
    async with coordinator() as grid:
        notes = WorkerNotes()
        async with worker(grid, grid.credentials(), notes):
            grid.notes.links[0].send(Assign(job_id=JOB, epoch=3, task=TASK))
            await wait_until(lambda: bool(notes.assigned_jobs))
            stream = notes.assigned_jobs[0][1]
            for message in (Tokens(seq=0, text="ä", token_ids=(1,)), DONE, DONE):
                stream.send(message)
            await wait_until(lambda: len(grid.notes.messages) == 2)
            assert grid.notes.messages == [(JOB, 3, Tokens(seq=0, text="ä", token_ids=(1,))), (JOB, 3, DONE)]
            assert not grid.notes.ended


async def test_a_job_that_says_more_than_a_story_holds_has_a_stream() -> None:
    async with coordinator() as grid:
        notes = WorkerNotes()
        async with worker(grid, grid.credentials(), notes):
            grid.notes.links[0].send(Assign(job_id=JOB, epoch=1, task=TASK))
            await wait_until(lambda: bool(notes.assigned_jobs))
            said = [Log(seq=number, stream="stdout", data=bytes(1000)) for number in range(1, 8)]
            for message in (*said, DONE):
                notes.assigned_jobs[0][1].send(message)
            await wait_until(lambda: bool(grid.notes.ended))
            assert grid.notes.messages == [(JOB, 1, message) for message in (*said, DONE)]


async def test_thousands_of_small_jobs_a_second_are_no_flood() -> None:
    async with coordinator() as grid:
        notes = WorkerNotes(on_assigned=lambda assign, stream: stream.send(DONE))
        async with worker(grid, grid.credentials(), notes):
            for number in range(2000):
                grid.notes.links[0].send(Assign(job_id=JobId(f"job_{number}"), epoch=1, task=TASK))
            await wait_until(lambda: len(grid.notes.messages) == 2000)
            assert not grid.notes.disconnects


async def test_many_jobs_one_after_another_find_free_streams() -> None:
    def answer(assign: Assign, stream: JobStream) -> None:
        stream.send(Tokens(seq=0, text="ä", token_ids=(1,)))
        asyncio.get_running_loop().call_later(0.001, stream.send, DONE)

    async with coordinator() as grid:
        notes = WorkerNotes(on_assigned=answer)
        async with worker(grid, grid.credentials(), notes):
            for number in range(300):
                grid.notes.links[0].send(Assign(job_id=JobId(f"job_{number}"), epoch=1, task=TASK))
                await wait_until(lambda: len(grid.notes.ended) > number)  # noqa: B023


async def test_a_job_that_outruns_its_reader_waits_and_loses_nothing() -> None:
    async with coordinator() as grid:
        notes = WorkerNotes()
        async with worker(grid, grid.credentials(), notes):
            grid.notes.consume = False
            link = grid.notes.links[0]
            link.send(Assign(job_id=JOB, epoch=1, task=TASK))
            await wait_until(lambda: bool(notes.assigned_jobs))
            stream = notes.assigned_jobs[0][1]
            for number in range(12):
                stream.send(Log(seq=number, stream="stdout", data=bytes(200_000)))
            await wait_until(lambda: grid.notes.unhandled > 800_000)
            assert grid.notes.unhandled <= 1 << 20
            drained = asyncio.create_task(stream.drained())
            await asyncio.sleep(0.1)
            assert not drained.done()
            while len(grid.notes.messages) < 12:
                size, grid.notes.unhandled = grid.notes.unhandled, 0
                link.consumed(JOB, 1, size)
                before = len(grid.notes.messages)
                await wait_until(lambda: len(grid.notes.messages) > before)  # noqa: B023
            await asyncio.wait_for(drained, 5.0)


async def test_a_result_too_large_to_send_fails_its_job_and_nothing_else() -> None:
    async with coordinator() as grid:
        notes = WorkerNotes()
        async with worker(grid, grid.credentials(), notes):
            link = grid.notes.links[0]
            link.send(Assign(job_id=JOB, epoch=1, task=TASK))
            await wait_until(lambda: bool(notes.assigned_jobs))
            notes.assigned_jobs[0][1].send(Log(seq=0, stream="stdout", data=bytes(2 << 20)))
            await wait_until(lambda: bool(grid.notes.messages))
            (_, _, failed) = grid.notes.messages[0]
            assert isinstance(failed, Failed)
            assert failed.code is FailCode.INTERNAL


async def test_a_task_too_large_to_send_fails_instead_of_being_tried_for_ever() -> None:
    async with coordinator() as grid:
        notes = WorkerNotes()
        async with worker(grid, grid.credentials(), notes):
            task = CompletionTask(model=TASK.model, prompt="x" * (2 << 20), sampling=Sampling())
            grid.notes.links[0].send(Assign(job_id=JOB, epoch=1, task=task))
            await wait_until(lambda: bool(grid.notes.messages))
            _, epoch, failed = grid.notes.messages[0]
            assert isinstance(failed, Failed)
            assert (epoch, failed.code) == (1, FailCode.BAD_REQUEST)
            assert "too large" in failed.message
            assert not grid.notes.disconnects


async def test_a_coordinator_that_stops_says_so() -> None:
    notes = WorkerNotes()
    async with coordinator() as grid, worker(grid, grid.credentials(), notes):
        await grid.server.close()
        await wait_until(lambda: bool(notes.disconnects))
        assert notes.disconnects == ["The coordinator is stopping."]
        assert grid.notes.left_for_good == [False]


async def test_a_worker_waiting_for_approval_is_told_so_and_let_in_later() -> None:
    async with coordinator() as grid:
        key = Ed25519PrivateKey.generate()
        joined = await join(grid.token(needs_approval=True), key, "box")
        assert joined.pending
        assert grid.directory.workers[joined.worker_id].status is WorkerStatus.PENDING
        notes = WorkerNotes()
        with pytest.raises(TimeoutError):
            async with worker(grid, Credentials(joined.worker_id, key, grid.identity.pin), notes, patience_s=0.5):
                pass
        grid.directory.set_status(joined.worker_id, WorkerStatus.APPROVED)
        async with worker(grid, Credentials(joined.worker_id, key, grid.identity.pin), notes):
            assert notes.welcomes


async def test_the_worker_comes_back_after_it_was_disconnected() -> None:
    async with coordinator() as grid:
        notes = WorkerNotes()
        async with worker(grid, grid.credentials(), notes) as link:
            link.report(REPORT)
            await wait_until(lambda: bool(grid.notes.reports))
            grid.notes.links[0].close(CloseCode.TOO_BUSY, "Go away.")
            await wait_until(lambda: len(notes.welcomes) == 2 and len(grid.notes.reports) == 2)
            assert notes.disconnects == ["Go away."]
            assert notes.welcomes[1].session_epoch == 2
            assert grid.notes.left_for_good == [False]


async def test_what_a_worker_holds_is_said_with_its_first_words_and_what_is_settled_reaches_it() -> None:
    held = LeaseHeld(job_id=JOB, epoch=7)
    async with coordinator() as grid:
        notes = WorkerNotes(leases=(held,))
        async with worker(grid, grid.credentials(), notes):
            await wait_until(lambda: bool(grid.notes.heartbeats))
            assert grid.notes.heartbeats[0].held == (held,)
            grid.notes.links[0].send(Settled(leases=(held,)))
            await wait_until(lambda: bool(notes.settled_leases))
            assert notes.settled_leases == [(held,)]
            assert len(notes.renewals) == 1


async def test_what_a_worker_says_makes_the_coordinator_look_for_nothing_to_send(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Acknowledgements have time: only their timer, and what the coordinator itself has to say, sends anything."""
    looks: list[QuicLink] = []
    transmit = QuicLink._transmit

    def counting(link: QuicLink) -> None:
        looks.append(link)
        transmit(link)

    async with coordinator() as grid:
        notes = WorkerNotes()
        async with worker(grid, grid.credentials(), notes):
            await wait_until(lambda: bool(grid.notes.heartbeats))
            grid.notes.links[0].send(Assign(job_id=JOB, epoch=1, task=TASK))
            await wait_until(lambda: bool(notes.assigned_jobs))
            ((_, stream),) = notes.assigned_jobs
            monkeypatch.setattr(QuicLink, "_transmit", counting)
            for seq in range(60):
                stream.send(Tokens(seq=seq, text="x", token_ids=(1,)))
                await wait_until(lambda said=seq + 1: len(grid.notes.messages) == said)  # type: ignore[misc]
            assert len(looks) < 30


async def test_a_timer_that_comes_too_early_looks_for_nothing_to_send(monkeypatch: pytest.MonkeyPatch) -> None:
    async with coordinator() as grid, worker(grid, grid.credentials(), WorkerNotes()) as link:
        await wait_until(lambda: bool(grid.notes.heartbeats))
        ends = (link._connection, grid.server.current(grid.notes.links[0].worker.id))
        for end, quic in zip(ends, ("_quic", "_connection"), strict=True):
            assert end is not None
            await wait_until(lambda: not end._due and getattr(end, quic).get_timer() > end._loop.time() + 0.1)  # noqa: B023
            looks: list[object] = []
            monkeypatch.setattr(end, "_transmit", lambda: looks.append(1))  # noqa: B023
            for _ in range(3):
                end._on_timer()
            assert not looks
            monkeypatch.undo()


async def test_a_stream_that_is_given_up_makes_room_for_another() -> None:
    def give_up(assign: Assign, stream: JobStream) -> None:
        stream.send(Tokens(seq=0, text="x", token_ids=(1,)))
        asyncio.get_running_loop().call_later(0.001, stream.abandon)

    async with coordinator() as grid:
        notes = WorkerNotes(on_assigned=give_up)
        async with worker(grid, grid.credentials(), notes):
            for number in range(2 * MAX_JOB_STREAMS):
                grid.notes.links[0].send(Assign(job_id=JobId(f"job_{number}"), epoch=1, task=TASK))
                await wait_until(lambda: len(grid.notes.ended) > number)  # noqa: B023
            assert not grid.notes.disconnects
