"""The owner comes first: with real executors, what closes a gate ends work, memory and downloads at once."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gogrid.ids import Sha256
from gogrid.manifest import ModelFile, ModelManifest, encode_manifest
from gogrid.protocol.job_messages import FailCode, Failed
from gogrid.protocol.worker_report import Readiness
from runner.control_messages import Done, Refused
from runner.gates.observation import MachineSeen
from runner.gates.probes.base import NoAnswerError
from runner.gates.settings import GateSettings
from runner.holds import OwnerPause
from runner.models.blobs import Moved
from runner.owner import Owner
from runner.pause_file import PauseFile
from tests.fakes.eyes import SeeingEyes
from tests.fakes.job_stream import MemoryStream
from tests.fakes.local_models import MemoryBlobs
from tests.fakes.worker_bench import Bench, begun, bench, until

IN_USE = "the computer is in use"
LONG = "#echo chunks=2000 delay_ms=20\none two three"


class SlowBlobs:
    """Files of models come when `go_on` is set."""

    def __init__(self, blobs: MemoryBlobs) -> None:
        self._blobs, self.go_on, self.stopped = blobs, asyncio.Event(), 0

    def model_with_a_file(self) -> Sha256:
        content = self._blobs.add(b"weights")
        file = ModelFile(path="weights.bin", sha256=content, size=7)
        manifest = ModelManifest(
            kind="chat", engine="echo", format="none", context_length=1000, width=0, memory_bytes=100, files=(file,)
        )
        return self._blobs.add(encode_manifest(manifest))

    async def fetch(self, sha256: Sha256, target: Path, *, max_size: int, exact: bool, moved: Moved) -> None:
        try:
            if exact:
                await self.go_on.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        await self._blobs.fetch(sha256, target, max_size=max_size, exact=exact, moved=moved)


@dataclass
class Desk:
    b: Bench
    owner: Owner
    eyes: SeeingEyes
    settings: GateSettings
    running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.owner.open()
        self.running = asyncio.create_task(self.owner.run())

    async def working(self) -> tuple[Sha256, MemoryStream]:
        digest = self.b.blobs.echo_model(100)
        stream = self.b.chat(digest, LONG)
        await until(lambda: begun(stream))
        return digest, stream


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    async with bench(folder / "models") as b:
        eyes = SeeingEyes()
        made: Desk

        def busy() -> bool:
            return bool(b.work.jobs or b.pool.memory_held or b.cache.downloads)

        owner = Owner(b.work, PauseFile(folder), eyes, lambda: made.settings, busy)  # type: ignore[arg-type]
        made = Desk(b, owner, eyes, GateSettings())
        b.work.changed = b.pool.changed = b.cache.changed = owner.noticed
        try:
            yield made
        finally:
            if made.running is not None:
                made.running.cancel()
                await asyncio.gather(made.running, return_exceptions=True)


def refused(answer: Done | Refused) -> str:
    assert isinstance(answer, Refused)
    return answer.reason


async def test_the_owners_input_ends_work_and_frees_memory_within_a_second(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.start()
        _, stream = await d.working()
        began = time.monotonic()
        d.eyes.idle_s = 0.0
        await until(lambda: d.b.launcher.alive == 0)
        assert time.monotonic() - began < 1.0
        assert isinstance(stream.last, Failed)
        assert (stream.last.code, IN_USE in stream.last.message) == (FailCode.YIELDED, True)
        assert d.b.work.readiness == (Readiness.PAUSED, IN_USE)
        assert d.b.work.report().reason == IN_USE
        turned_away = d.b.chat(d.b.blobs.echo_model(100), "hello")
        assert [reason for _, reason in d.b.refused] == [IN_USE]
        assert not turned_away.messages
        d.eyes.idle_s = 9999.0
        await until(lambda: d.b.work.readiness[0] is Readiness.READY)


async def test_nothing_is_fetched_while_the_owner_has_the_machine(tmp_path: Path) -> None:
    """Also not for a request that waited for a model's room when the gate closed."""
    async with desk(tmp_path) as d:
        await d.start()
        slow = SlowBlobs(d.b.blobs)
        d.b.cache._source = slow
        digest = slow.model_with_a_file()
        d.b.chat(digest, "hello")
        await until(lambda: bool(d.b.cache.downloads))
        d.eyes.idle_s = 0.0
        await until(lambda: d.b.work.readiness[0] is Readiness.PAUSED)
        await until(lambda: not d.b.cache.downloads and not d.b.cache._tasks)
        assert slow.stopped == 1
        slow.go_on.set()
        assert (d.b.cache.cached, d.b.pool.loading, d.b.pool.memory_held) == ((), (), 0)
        d.eyes.idle_s = 9999.0
        await until(lambda: d.b.work.readiness[0] is Readiness.READY)
        again = d.b.chat(digest, "hello")
        await until(lambda: begun(again))


async def test_a_pause_is_kept_over_a_restart_and_ends_by_itself(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.start()
        assert d.owner.pause("paused by its owner", finish=False, until=time.time() + 3600) == Done()
        assert d.b.work.readiness == (Readiness.PAUSED, "paused by its owner")
    kept = PauseFile(tmp_path).load(time.time())
    assert kept is not None
    assert (kept.reason, kept.until > time.time() + 3500) == ("paused by its owner", True)
    async with desk(tmp_path) as d:
        PauseFile(tmp_path).save(OwnerPause("paused by its owner", until=time.time() + 0.3))
        await d.start()
        assert d.b.work.readiness == (Readiness.PAUSED, "paused by its owner")
        d.owner.look_soon()
        await until(lambda: d.b.work.readiness[0] is Readiness.READY)
        assert PauseFile(tmp_path).load(time.time()) is None


async def test_resume_ends_the_pause_and_no_gate(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        d.eyes.seen = MachineSeen(on_battery=True)
        await d.start()
        assert d.owner.pause("paused by its owner", finish=False, until=0.0) == Done()
        assert d.b.work.holds.reasons == ("paused by its owner", "on battery")
        assert d.owner.resume() == Done()
        assert d.b.work.holds.reasons == ("on battery",)
        assert "is over already" in refused(d.owner.pause("paused by its owner", finish=False, until=time.time() - 1))
        assert d.b.work.holds.reasons == ("on battery",)


async def test_a_gate_is_closed_before_the_first_word_to_the_coordinator(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        d.eyes.idle_s = 0.0
        await d.owner.open()
        assert d.b.work.readiness == (Readiness.PAUSED, IN_USE)


async def test_a_changed_setting_counts_from_the_next_look(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        d.eyes.idle_s = 0.0
        await d.start()
        assert d.b.work.readiness == (Readiness.PAUSED, IN_USE)
        looks = d.eyes.machine_looks
        await until(lambda: d.eyes.machine_looks > looks)  # the next one is two seconds away
        began = time.monotonic()
        d.settings = GateSettings(pause_on_activity=False)
        d.owner.look_soon()
        await until(lambda: d.b.work.readiness[0] is Readiness.READY and d.eyes.machine_looks > looks + 1)
        assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("trouble", [NoAnswerError("it hangs"), ValueError("a library that does not understand")])
async def test_a_look_that_fails_ends_nothing_and_is_not_taken_for_an_owner_who_is_away(
    tmp_path: Path, trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(tmp_path) as d:
        d.eyes.trouble = trouble
        await d.start()
        assert d.b.work.readiness == (Readiness.PAUSED, IN_USE)
        looks = d.eyes.owner_looks
        await until(lambda: d.eyes.owner_looks > looks + 1)
        assert len([record for record in caplog.records if "cannot be seen" in record.message]) <= 2
        d.eyes.trouble = None
        await until(lambda: d.b.work.readiness[0] is Readiness.READY)


async def test_work_makes_the_looks_come_often_and_rest_seldom(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.start()
        await until(lambda: d.eyes.owner_looks == 2)  # the next one is two seconds away
        began = time.monotonic()
        working = asyncio.create_task(d.working())
        await until(lambda: d.eyes.owner_looks > 2)
        assert time.monotonic() - began < 1.5
        _, stream = await working
        before, since = d.eyes.owner_looks, time.monotonic()
        await until(lambda: d.eyes.owner_looks >= before + 4)
        assert 0.5 < time.monotonic() - since < 4.0  # at rest: eight
        assert not stream.ended.is_set()


async def test_where_no_input_can_be_seen_it_is_seldom_looked_for(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        d.eyes.idle_s = None
        await d.start()
        await d.working()
        looks, machine = d.eyes.owner_looks, d.eyes.machine_looks
        await until(lambda: d.eyes.machine_looks > machine + 1)  # else ten of the owner for each of these
        assert d.eyes.owner_looks - looks <= 4
