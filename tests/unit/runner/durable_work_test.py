"""What the worker does with durable jobs when links break, time passes and the coordinator settles: real executors."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from gogrid.ids import JobId, Sha256
from gogrid.protocol.job_messages import FailCode, Failed, Finished, Progress, Tokens
from gogrid.protocol.messages import Assign, Cancel, LeaseHeld
from gogrid.protocol.tasks import ChatMessage, ChatTask, ModelRef, Sampling
from tests.fakes.job_stream import MemoryStream
from tests.fakes.worker_bench import WELCOME, Bench, bench, ended, until

LONG = "#echo chunks=10000 delay_ms=2\nx"


class Links:
    """The streams that were opened for leases of earlier sessions."""

    def __init__(self) -> None:
        self.streams: list[MemoryStream] = []

    def open(self, job_id: JobId, epoch: int) -> MemoryStream:
        self.streams.append(MemoryStream(job_id, epoch))
        return self.streams[-1]


@asynccontextmanager
async def connected(root: Path) -> AsyncIterator[tuple[Bench, Links, Sha256]]:
    async with bench(root) as b:
        links = Links()
        b.work.open_stream = links.open
        b.work.welcomed(WELCOME)
        yield b, links, b.blobs.echo_model(100)
        b.work.disconnected("the test ends")


def assign(b: Bench, digest: Sha256, text: str, epoch: int = 1, job_id: str = "job_d") -> MemoryStream:
    message = ChatMessage(role="user", content=text)
    task = ChatTask(model=ModelRef(name="echo", digest=digest), messages=(message,), sampling=Sampling())
    return b.assign(Assign(job_id=JobId(job_id), epoch=epoch, task=task, durable=True))


def lease(stream: MemoryStream) -> LeaseHeld:
    return LeaseHeld(job_id=stream.job_id, epoch=stream.epoch)


def text_of(stream: MemoryStream) -> str:
    return "".join(message.text for message in stream.messages if isinstance(message, Tokens))


def talking(stream: MemoryStream) -> bool:
    return any(isinstance(message, Tokens) for message in stream.messages)


async def test_a_durable_job_runs_on_over_a_lost_link_and_says_everything_again(tmp_path: Path) -> None:
    async with connected(tmp_path / "m") as (b, links, digest):
        old = assign(b, digest, "#echo chunks=60 delay_ms=5\nword")
        await until(lambda: talking(old))
        b.work.disconnected("no answer")
        assert b.work.held() == (lease(old),)
        before = len(old.messages)
        await asyncio.sleep(0.05)
        b.work.welcomed(WELCOME)
        (new,) = links.streams
        await ended(new)
        assert len(old.messages) == before
        said = [message for message in old.messages if not isinstance(message, Progress)]
        assert new.messages[: len(said)] == said
        assert text_of(new).startswith(text_of(old))
        assert isinstance(new.last, Finished)


async def test_an_end_is_held_and_told_again_until_it_is_settled(tmp_path: Path) -> None:
    async with connected(tmp_path / "m") as (b, links, digest):
        stream = assign(b, digest, "hi")
        await ended(stream)
        await until(lambda: not b.work.jobs)
        for _ in range(2):
            b.work.disconnected("no answer")
            assert b.work.held() == (lease(stream),)
            b.work.welcomed(WELCOME)
            assert links.streams[-1].last == stream.last
        b.work.settled((LeaseHeld(job_id=stream.job_id, epoch=2),))
        assert b.work.held() == (lease(stream),)
        b.work.settled((lease(stream),))
        assert b.work.held() == ()


async def test_what_is_lost_is_dropped_whether_it_runs_or_has_ended(tmp_path: Path) -> None:
    async with connected(tmp_path / "m") as (b, _, digest):
        done, running = assign(b, digest, "hi", job_id="job_1"), assign(b, digest, LONG, job_id="job_2")
        await ended(done)
        await until(lambda: talking(running) and len(b.work.jobs) == 1)
        b.work.lost((lease(done), lease(running)))
        assert b.work.held() == ()
        assert running.abandoned
        await until(lambda: b.pool.loaded[0].running == 0)


async def test_cut_off_for_24_seconds_the_worker_kills_its_job_and_says_so_later(tmp_path: Path) -> None:
    async with connected(tmp_path / "m") as (b, links, digest):
        stream = assign(b, digest, LONG)
        await until(lambda: talking(stream))
        b.now = 10.0
        b.work.renewed(9.0)
        b.work.disconnected("no answer")
        b.now = 32.9
        b.work.check_fence()
        assert len(b.work.jobs) == 1
        b.now = 33.0
        b.work.check_fence()
        assert b.work.jobs == ()
        await until(lambda: b.pool.loaded[0].running == 0)
        b.work.welcomed(WELCOME)
        last = links.streams[0].last
        assert isinstance(last, Failed)
        assert last.code is FailCode.FENCED
        assert b.work.held() == (lease(stream),)


async def test_a_new_session_without_an_acknowledged_heartbeat_moves_no_fence(tmp_path: Path) -> None:
    async with connected(tmp_path / "m") as (b, _, digest):
        stream = assign(b, digest, LONG)
        await until(lambda: talking(stream))
        b.work.disconnected("no answer")
        b.now = 20.0
        b.work.welcomed(WELCOME)
        b.now = 24.0
        b.work.check_fence()
        assert b.work.jobs == ()


async def test_the_fence_needs_no_messages_to_close(tmp_path: Path) -> None:
    async with connected(tmp_path / "m") as (b, _, digest):
        b.work.welcomed(msgspec.structs.replace(WELCOME, fence_s=0.2))
        stream = assign(b, digest, LONG)
        b.work.disconnected("no answer")
        b.now = 0.2
        await until(lambda: b.work.jobs == ())
        assert not stream.ended.is_set()


async def test_a_cancelled_durable_job_stops_at_once_and_is_not_told(tmp_path: Path) -> None:
    async with connected(tmp_path / "m") as (b, _, digest):
        stream = assign(b, digest, LONG)
        await until(lambda: talking(stream))
        b.work.cancelled(Cancel(job_id=stream.job_id, epoch=1, reason="not wanted"))
        assert b.work.held() == ()
        assert stream.abandoned
        assert not stream.ended.is_set()
        await until(lambda: b.pool.loaded[0].running == 0)


async def test_a_newer_lease_ends_an_older_one_that_waits_to_be_settled(tmp_path: Path) -> None:
    async with connected(tmp_path / "m") as (b, _, digest):
        old = assign(b, digest, "old", epoch=1)
        await ended(old)
        await until(lambda: not b.work.jobs)
        new = assign(b, digest, "new", epoch=2)
        assert b.work.held() == (lease(new),)
        again = assign(b, digest, "again", epoch=2)
        await ended(new)
        assert again.messages == []


async def test_a_worker_that_stops_waits_until_its_last_words_are_settled(tmp_path: Path) -> None:
    async with connected(tmp_path / "m") as (b, _, digest):
        stream = assign(b, digest, LONG)
        await until(lambda: talking(stream))
        closing = asyncio.create_task(b.work.close())
        await ended(stream)
        assert isinstance(stream.last, Failed)
        assert stream.last.code is FailCode.YIELDED
        await asyncio.sleep(0.02)
        assert not closing.done()
        b.work.settled((lease(stream),))
        await closing
