"""What the worker does with its jobs, with real executor processes (echo engine) behind the sandbox seam."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gogrid.ids import JobId, Sha256
from gogrid.protocol.job_messages import FailCode, Failed, Finished, Started, TextDone, Tokens, Vectors
from gogrid.protocol.messages import Assign, Cancel, Drain, LeaseHeld
from gogrid.protocol.tasks import (
    EmbeddingTask,
    InputFile,
    ModelRef,
    PythonLimits,
    PythonTask,
)
from gogrid.protocol.worker_report import Readiness
from runner.session import JobStream
from tests.fakes.worker_bench import CAP, FACTS, WELCOME, begun, bench, ended, until


async def test_a_chat_is_answered_and_its_executor_stays_warm(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(100)
        first = b.chat(digest, "hello brave new world")
        await ended(first)
        assert any(isinstance(message, Started) for message in first.messages)
        assert "".join(m.text for m in first.messages if isinstance(m, Tokens)) == "hello brave new world"
        assert isinstance(first.last, Finished)
        assert isinstance(first.last.result, TextDone)
        second = b.chat(digest, "again")
        await ended(second)
        assert len(b.launcher.specs) == 1
        await until(lambda: b.work.held() == ())
        assert (b.work.done, b.work.failed) == (2, 0)
        assert b.work.names == {digest: "echo"}


async def test_many_requests_share_one_executor_that_starts_once(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(100)
        streams = [b.chat(digest, f"word {n}") for n in range(20)]
        await ended(*streams)
        assert all(isinstance(stream.last, Finished) for stream in streams)
        assert len(b.launcher.specs) == 1


async def test_embeddings_come_through(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        task = EmbeddingTask(model=ModelRef(name="e", digest=b.blobs.echo_model(100)), inputs=("one", "two"))
        stream = b.assign(Assign(job_id=JobId("job_e"), epoch=1, task=task))
        await ended(stream)
        assert any(isinstance(message, Vectors) for message in stream.messages)
        assert isinstance(stream.last, Finished)


async def test_the_model_is_mounted_read_only_and_alone(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(100)
        await ended(b.chat(digest, "x"))
        (spec,) = b.launcher.specs
        assert [(mount.host.name, mount.inside) for mount in spec.mounts] == [(digest, "/models/current")]
        assert spec.writable is None
        assert spec.threads == 2


async def test_a_cancelled_job_frees_its_place_and_says_so(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(100)
        stream = b.chat(digest, "#echo chunks=10000 delay_ms=5\nx")
        await until(lambda: any(isinstance(m, Tokens) for m in stream.messages))
        b.work.cancelled(Cancel(job_id=stream.job_id, epoch=1, reason="the client left"))
        assert stream.last == Failed(code=FailCode.CANCELLED, message="the client left")
        assert b.work.held() == ()
        await until(lambda: b.pool.loaded[0].running == 0)
        count = len(stream.messages)
        await ended(b.chat(digest, "next"))
        assert len(stream.messages) == count


async def test_a_cancel_for_an_older_lease_changes_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        stream = b.chat(b.blobs.echo_model(100), "#echo chunks=3 delay_ms=5\nx", epoch=2)
        b.work.cancelled(Cancel(job_id=stream.job_id, epoch=1, reason="late"))
        await ended(stream)
        assert isinstance(stream.last, Finished)


async def test_lost_leases_stop_at_once_and_in_silence(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(100)
        lost, kept = (b.chat(digest, "#echo chunks=200 delay_ms=2\nx") for _ in range(2))
        await until(lambda: begun(lost) and begun(kept))
        b.work.lost((LeaseHeld(job_id=lost.job_id, epoch=1),))
        assert b.work.held() == (LeaseHeld(job_id=kept.job_id, epoch=1),)
        await ended(kept)
        assert not any(isinstance(message, Failed | Finished) for message in lost.messages)


async def test_a_lost_link_ends_its_jobs(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        b.work.welcomed(WELCOME)
        stream = b.chat(b.blobs.echo_model(100), "#echo chunks=10000 delay_ms=2\nx")
        await until(lambda: begun(stream))
        b.work.disconnected("no answer")
        assert b.work.held() == ()
        await until(lambda: b.pool.loaded[0].running == 0)


async def test_a_newer_lease_of_a_job_ends_the_older_one(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(100)
        old = b.chat(digest, "#echo chunks=10000 delay_ms=2\nx", epoch=1, job_id="job_x")
        await until(lambda: begun(old))
        new = b.chat(digest, "y", epoch=2, job_id="job_x")
        again = b.chat(digest, "z", epoch=2, job_id="job_x")
        await ended(new)
        assert "".join(m.text for m in new.messages if isinstance(m, Tokens)) == "y"
        assert not old.ended.is_set()
        assert again.messages == []


async def test_a_crashed_executor_fails_its_requests_and_is_started_anew(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(100)
        victim = b.chat(digest, "#echo chunks=100 die_after=3 delay_ms=1\nx")
        bystander = b.chat(digest, "#echo chunks=10000 delay_ms=1\nx")
        await ended(victim, bystander)
        for stream in (victim, bystander):
            assert isinstance(stream.last, Failed)
            assert stream.last.code is FailCode.CRASHED
        await ended(after := b.chat(digest, "fine again"))
        assert isinstance(after.last, Finished)
        assert len(b.launcher.specs) == 2


async def test_a_request_that_fails_alone_disturbs_no_other(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(100)
        bad, good = b.chat(digest, "#echo chunks=9 error_after=2\nx"), b.chat(digest, "#echo chunks=30\nx")
        await ended(bad, good)
        assert isinstance(bad.last, Failed)
        assert isinstance(good.last, Finished)
        assert (b.work.done, b.work.failed) == (1, 1)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; sys.stdout.buffer.write(b'\\0\\0\\0\\1\\xc1'); sys.stdout.flush(); sys.stdin.read()", "protocol"),
        ("import sys; sys.stdout.buffer.write(b'\\xff' * 100); sys.stdout.flush(); sys.stdin.read()", "protocol"),
        ("raise SystemExit(3)", "ended with status 3"),
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9"),
    ],
    ids=["garbage", "huge frame", "exit", "kill"],
)
async def test_an_executor_that_misbehaves_is_killed_and_its_job_told(tmp_path: Path, program: str, words: str) -> None:
    async with bench(tmp_path / "m", program) as b:
        stream = b.chat(b.blobs.echo_model(100), "x")
        await ended(stream)
        assert isinstance(stream.last, Failed)
        assert stream.last.code is FailCode.CRASHED
        assert words in stream.last.message
        await until(lambda: b.launcher.alive == 0)
        assert b.pool.memory_held == 0


async def test_a_model_that_does_not_fit_is_no_room(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        stream = b.chat(b.blobs.echo_model(CAP + 1), "x")
        await ended(stream)
        assert isinstance(stream.last, Failed)
        assert stream.last.code is FailCode.NO_ROOM
        assert stream.last.message == "The model needs 1.0 kB and this worker lends 1.0 kB."
        assert b.launcher.specs == []


async def test_the_longest_unused_model_gives_way_and_one_in_use_does_not(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        old, mid, new = (b.blobs.echo_model(450, note) for note in range(3))
        for digest in (old, mid):
            b.now += 1000
            await ended(b.chat(digest, "x"))
        busy = b.chat(old, "#echo chunks=10000 delay_ms=2\nx")
        await until(lambda: begun(busy))
        b.now += 1000
        await ended(b.chat(new, "x"))
        assert {model.digest for model in b.pool.loaded} == {old, new}
        assert not busy.ended.is_set()


async def test_an_unused_model_is_closed_and_its_memory_is_free(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(450)
        await ended(b.chat(digest, "x"))
        await until(lambda: b.pool.loaded[0].running == 0)
        b.now += 599
        b.pool.close_unused(600)
        assert len(b.pool.loaded) == 1
        b.now += 2
        b.pool.close_unused(600)
        await until(lambda: b.launcher.alive == 0 and b.pool.memory_held == 0)
        await ended(again := b.chat(digest, "x"))
        assert isinstance(again.last, Finished)


async def test_a_model_wanted_again_while_it_closes_waits_for_its_memory(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(600)
        await ended(b.chat(digest, "x"))
        await until(lambda: b.pool.loaded[0].running == 0)
        b.now += 1000
        b.pool.close_unused(600)
        await asyncio.sleep(0)
        await ended(again := b.chat(digest, "y"))
        assert isinstance(again.last, Finished)
        assert b.launcher.alive == 1


async def test_a_missing_engine_is_said(tmp_path: Path) -> None:
    async with bench(tmp_path / "m", facts=replace(FACTS, engines=("torch",))) as b:
        await ended(stream := b.chat(b.blobs.echo_model(1), "x"))
        assert isinstance(stream.last, Failed)
        assert "no echo engine" in stream.last.message


@pytest.mark.parametrize("state", ["paused", "draining", "unable"])
async def test_nothing_is_taken_while_it_may_not_work(tmp_path: Path, state: str) -> None:
    facts = replace(FACTS, problem="no sandbox works: no bwrap") if state == "unable" else FACTS
    async with bench(tmp_path / "m", facts=facts) as b:
        if state == "paused":
            b.pause("the computer is in use")
        if state == "draining":
            b.work.drain(Drain(on=True, reason="maintenance"))
        reason = {"paused": "the computer is in use", "draining": "maintenance", "unable": facts.problem}[state]
        stream = b.chat(b.blobs.echo_model(1), "x")
        assert b.refused == [(stream.job_id, reason)]
        report = b.work.report()
        assert (report.readiness, report.reason) == (Readiness(state), reason)
        assert b.launcher.specs == []


async def test_it_works_again_after_a_pause_and_a_drain(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        b.pause("x")
        b.work.drain(Drain(on=True))
        b.work.hold(None, ())
        assert b.work.readiness[0] is Readiness.DRAINING
        b.work.drain(Drain(on=False))
        assert b.work.readiness == (Readiness.READY, "ready")


async def test_a_script_that_does_not_fit_is_refused_with_words(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        b.assign(script(CAP + 1, "job_p"))
        assert b.refused == [("job_p", "the script needs 1.0 kB of memory and 1.0 kB is free")]


async def test_models_that_nobody_uses_give_way_to_a_script_and_others_do_not(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        b.work._job_runner._scripts = Endless()
        older, newer, busy = (b.blobs.echo_model(CAP // 4, number) for number in range(3))
        for digest in (older, newer):
            await ended(b.chat(digest, "x"))
        stream = b.chat(busy, "#echo chunks=10000 delay_ms=2\nx")
        await until(lambda: begun(stream))
        for entry in b.pool._entries:
            entry.memory_bytes = CAP // 4
        b.now += b.pool.turns.least_s
        b.assign(script(CAP // 2, "job_p"))
        assert b.refused == []
        await until(lambda: {model.digest for model in b.pool.loaded} == {newer, busy})
        b.assign(script(CAP // 2, "job_q"))
        assert [job_id for job_id, _ in b.refused] == ["job_q"]


class Endless:
    """Scripts that never end."""

    async def run(self, task: PythonTask, stream: JobStream, gpus: tuple[str, ...]) -> Finished:
        await asyncio.Event().wait()
        raise AssertionError(task, stream, gpus)


def script(memory_bytes: int, job_id: str) -> Assign:
    file = InputFile(name="a.py", sha256=Sha256("0" * 64), size=1)
    limits = PythonLimits(memory_bytes=memory_bytes, cpu_cores=0.1)
    return Assign(job_id=JobId(job_id), epoch=1, task=PythonTask(files=(file,), entry="a.py", limits=limits))


async def test_a_pause_gives_the_machine_back_at_once(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        stream = b.chat(b.blobs.echo_model(100), "#echo chunks=10000 delay_ms=2\nx")
        await until(lambda: begun(stream))
        b.pause("paused by its owner")
        assert stream.last == Failed(code=FailCode.YIELDED, message="The worker is paused by its owner.")
        assert b.work.held() == ()
        await until(lambda: b.pool.memory_held == 0 and not b.pool.loaded)
        assert b.pool.refused == ()


async def test_finishing_takes_nothing_new_and_lets_what_runs_end(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(100)
        stream = b.chat(digest, "#echo chunks=100 delay_ms=2\nx")
        await until(lambda: begun(stream))
        b.pause("paused by its owner", finish=True)
        assert b.refused == []
        b.chat(digest, "another")
        assert len(b.refused) == 1
        await ended(stream)
        assert isinstance(stream.last, Finished)


async def test_a_stopping_worker_gives_its_jobs_back(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        stream = b.chat(b.blobs.echo_model(100), "#echo chunks=10000 delay_ms=2\nx")
        await until(lambda: begun(stream))
        await b.work.close()
        assert isinstance(stream.last, Failed)
        assert stream.last.code is FailCode.YIELDED
        await b.pool.close()
        assert b.launcher.alive == 0


async def test_a_model_name_that_is_no_digest_reaches_no_path(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        await ended(stream := b.chat(Sha256("../../../etc/passwd"), "x"))
        assert isinstance(stream.last, Failed)
        assert stream.last.code is FailCode.BAD_REQUEST
