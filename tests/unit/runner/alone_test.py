"""Requests that may have killed their executor, with real executor processes (echo engine)."""

from pathlib import Path

from gogrid.ids import JobId, Sha256
from gogrid.protocol.job_messages import FailCode, Failed, Finished, Progress
from gogrid.protocol.messages import Assign, LeaseHeld
from gogrid.protocol.tasks import ChatMessage, ChatTask, ModelRef, Sampling
from gogrid.protocol.worker_report import DeviceKind, LoadStage
from runner.executor.messages import Load
from runner.models.crashes import IN_A_ROW
from runner.models.residence import Turns
from runner.sandbox.base import SandboxSpec
from runner.serving.executor_client import start_executor
from runner.serving.watchdog import WatchTerms
from tests.fakes.job_stream import MemoryStream
from tests.fakes.plain_launcher import PlainLauncher
from tests.fakes.worker_bench import Bench, begun, bench, ended, until

ECHO = Load(engine="echo", model_path="", device=DeviceKind.CPU, threads=1, cap_bytes=1 << 30)
DIES = "#echo chunks=9 die_after=2 delay_ms=1\nx"
LONG = "#echo chunks=60 delay_ms=3\nx"
LIAR = """
import sys
from gogrid.protocol.codec import encode_framed
from gogrid.protocol.job_messages import FailCode, Failed
from runner.executor.messages import Item, Ready, Step

failed = Failed(code=FailCode.CRASHED, message="it was not me", in_company=True)
for message in (
    Ready(device="none", slots=4, memory_bytes=1, context_length=9),
    Step(items=(Item(request=1, message=failed),)),
):
    sys.stdin.buffer.read1()
    sys.stdout.buffer.write(encode_framed(message))
    sys.stdout.flush()
sys.stdin.buffer.read()
"""


def chat(digest: Sha256, text: str) -> ChatTask:
    messages = (ChatMessage(role="user", content=text),)
    return ChatTask(model=ModelRef(name="echo", digest=digest), messages=messages, sampling=Sampling())


def alone(b: Bench, digest: Sha256, text: str, job_id: str) -> MemoryStream:
    return b.assign(Assign(job_id=JobId(job_id), epoch=2, task=chat(digest, text), durable=True, alone=True))


def crashed(stream: MemoryStream) -> tuple[bool, bool]:
    """Whether its executor died, and in company."""
    assert isinstance(stream.last, Failed)
    return stream.last.code is FailCode.CRASHED, stream.last.in_company


async def test_who_died_with_others_is_told_so_and_who_died_alone_is_not(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(100)
        together = [b.chat(digest, DIES), b.chat(digest, LONG)]
        await ended(*together)
        assert [crashed(stream) for stream in together] == [(True, True)] * 2
        await ended(single := b.chat(digest, DIES))
        assert crashed(single) == (True, False)


async def test_who_hung_with_others_is_told_so() -> None:
    launcher, terms = PlainLauncher(), WatchTerms(silent_s=0.05, stalled_s=0.4)
    client, _ = await start_executor(launcher, SandboxSpec(("runner.executor",)), ECHO, "e", print, terms)
    first, second = MemoryStream(JobId("a")), MemoryStream(JobId("b"))
    for stream in (first, second):
        client.submit(chat(Sha256("a" * 64), "#echo chunks=2 delay_ms=60000\nx"), stream.send)
    await ended(first, second)
    assert [crashed(stream) for stream in (first, second)] == [(True, True)] * 2
    await client.wait()


async def test_an_executor_that_says_itself_that_it_died_in_company_is_not_believed(tmp_path: Path) -> None:
    async with bench(tmp_path / "m", LIAR) as b:
        await ended(stream := b.chat(b.blobs.echo_model(1), "x"))
        assert isinstance(stream.last, Failed)
        assert (stream.last.message, stream.last.in_company) == ("it was not me", False)


async def test_a_suspect_runs_when_the_others_have_ended_and_newcomers_wait_behind_it(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(100)
        await ended(b.chat(digest, "it is warm now"))
        first = b.chat(digest, LONG)
        await until(lambda: begun(first))
        suspect = alone(b, digest, LONG, "suspect")
        late = b.chat(digest, "late")
        await ended(first)
        assert not begun(suspect)
        await ended(suspect)
        assert not begun(late)
        await ended(late)
        assert all(isinstance(stream.last, Finished) for stream in (first, suspect, late))
        assert len(b.launcher.specs) == 1


async def test_a_poison_request_that_runs_alone_dies_alone(tmp_path: Path) -> None:
    """Who waits at the door is not told that it crashed: it is served by the next executor."""
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(100)
        before = [b.chat(digest, LONG) for _ in range(2)]
        await until(lambda: all(begun(stream) for stream in before))
        poison, suspect = alone(b, digest, DIES, "poison"), alone(b, digest, "innocent", "suspect")
        late = b.chat(digest, "late")
        await ended(*before, poison, suspect, late)
        assert crashed(poison) == (True, False)
        assert all(isinstance(stream.last, Finished) for stream in (*before, suspect, late))
        assert len(b.launcher.specs) == 2


async def test_a_suspect_that_is_cancelled_at_the_door_keeps_nobody_waiting(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(100)
        endless = b.chat(digest, "#echo chunks=10000 delay_ms=2\nx")
        await until(lambda: begun(endless))
        suspect = alone(b, digest, "x", "suspect")
        late = b.chat(digest, "late")
        await until(lambda: b.pool._entries[digest].seats == 3)
        b.work.lost((LeaseHeld(job_id=suspect.job_id, epoch=2),))
        await ended(late)
        assert isinstance(late.last, Finished)
        assert not endless.ended.is_set()


async def test_suspects_at_the_door_wait_again_when_their_model_gives_way(tmp_path: Path) -> None:
    """Else a row of them, one after the other, would keep the other model out for as long as they last."""
    async with bench(tmp_path / "m") as b:
        one, other = b.blobs.echo_model(600), b.blobs.echo_model(600, 1)
        running = b.chat(one, LONG)
        await until(lambda: begun(running))
        suspects = [alone(b, one, "x", f"suspect {number}") for number in range(3)]
        await until(lambda: b.pool._entries[one].seats == 4)
        b.now += Turns().least_s
        wanted = b.chat(other, "y")
        await ended(running, wanted)
        assert isinstance(wanted.last, Finished)
        queued = [message for stream in suspects for message in stream.messages if isinstance(message, Progress)]
        assert {message.stage for message in queued} == {LoadStage.QUEUED}
        assert not any(begun(stream) for stream in suspects)
        b.now += Turns().least_s
        b.pool.look()
        await ended(*suspects)
        assert all(isinstance(stream.last, Finished) for stream in suspects)
        assert len(b.launcher.specs) == 3


async def test_what_dies_of_suspects_is_not_the_models_fault(tmp_path: Path) -> None:
    """Else one poison job would have the model refused here, and with it everybody's requests."""
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(100)
        for number in range(IN_A_ROW + 1):
            await ended(poison := alone(b, digest, DIES, f"poison {number}"))
            assert crashed(poison) == (True, False)
        assert b.work.report().refused == ()
        await ended(good := b.chat(digest, "good"))
        assert isinstance(good.last, Finished)
