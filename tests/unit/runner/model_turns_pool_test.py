"""Models that share too little memory, and models that crash, with real executor processes (echo engine)."""

import asyncio
from pathlib import Path

from gogrid.protocol.job_messages import FailCode, Failed, Finished, Progress
from gogrid.protocol.worker_report import LoadStage
from runner.models.crashes import FIRST_S, Crashes
from runner.models.estimates import Durations, Meter, remaining
from runner.models.residence import Turns
from runner.models.telling import Teller
from tests.fakes.job_stream import MemoryStream
from tests.fakes.worker_bench import Bench, begun, bench, ended, until

TURN = Turns().least_s


def waits(stream: MemoryStream) -> bool:
    return any(isinstance(one, Progress) and one.stage is LoadStage.QUEUED for one in stream.messages)


async def test_two_models_that_do_not_fit_do_not_thrash(tmp_path: Path) -> None:
    """While one has its turn the other's requests gather; then they are served together, by one load."""
    async with bench(tmp_path / "m") as b:
        one, other = b.blobs.echo_model(600), b.blobs.echo_model(600, 1)
        await ended(b.chat(one, "x"))
        waiting = [b.chat(other, f"other {n}") for n in range(3)]
        await until(lambda: all(waits(stream) for stream in waiting))
        served = [b.chat(one, f"one {n}") for n in range(3)]
        await ended(*served)
        assert not any(stream.ended.is_set() for stream in waiting)
        assert len(b.launcher.specs) == 1
        b.now += TURN
        b.pool.look()
        await ended(*waiting)
        assert all(isinstance(stream.last, Finished) for stream in (*waiting, *served))
        assert len(b.launcher.specs) == 2


async def test_a_model_whose_turn_is_over_ends_what_it_serves_and_begins_nothing_new(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        one, other = b.blobs.echo_model(600), b.blobs.echo_model(600, 1)
        running = b.chat(one, "#echo chunks=200 delay_ms=2\nx")
        await until(lambda: begun(running))
        b.now += TURN
        wanted = b.chat(other, "y")
        await until(lambda: waits(wanted))
        late = b.chat(one, "z")
        await until(lambda: waits(late))
        assert b.pool.loaded[0].giving_way
        assert not running.ended.is_set()
        await ended(running, wanted)
        assert isinstance(running.last, Finished)
        assert isinstance(wanted.last, Finished)
        assert not late.ended.is_set()
        b.now += TURN
        b.pool.look()
        await ended(late)
        assert isinstance(late.last, Finished)
        assert len(b.launcher.specs) == 3


async def test_a_load_serves_those_who_waited_for_it_however_short_turns_are(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        b.pool.turns = Turns(least_s=0.0, per_load=0.0, pause_s=0.0)
        models = [b.blobs.echo_model(600, note) for note in range(2)]
        streams = [b.chat(models[number % 2], "x") for number in range(6)]
        await ended(*streams)
        assert all(isinstance(stream.last, Finished) for stream in streams)
        assert len(b.launcher.specs) == 2


async def test_nobody_waits_for_a_model_that_nobody_wants_any_more(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        one, other = b.blobs.echo_model(600), b.blobs.echo_model(600, 1)
        running = b.chat(one, "#echo chunks=10000 delay_ms=2\nx")
        await until(lambda: begun(running))
        b.now += TURN
        given_up = b.chat(other, "y")
        await until(lambda: waits(given_up))
        late = b.chat(one, "z")
        await until(lambda: waits(late))
        b.work.lost(tuple(job.lease for job in b.work.jobs if job.stream.job_id == given_up.job_id))
        b.now += 20
        b.pool.look()
        await ended(late)
        assert len(b.launcher.specs) == 1


async def crash(b: Bench, digest: str, times: int) -> list[FailCode]:
    codes = []
    for _ in range(times):
        await ended(stream := b.chat(digest, "x"))  # type: ignore[arg-type]
        assert isinstance(stream.last, Failed)
        codes.append(stream.last.code)
    return codes


async def test_a_model_that_crashes_three_times_in_a_row_is_refused_for_a_while(tmp_path: Path) -> None:
    async with bench(tmp_path / "m", "raise SystemExit(3)") as b:
        digest = b.blobs.echo_model(100)
        assert await crash(b, digest, 3) == [FailCode.CRASHED] * 3
        b.chat(digest, "once more")
        ((_, reason),) = b.refused
        assert "crashed 3 times in a row" in reason
        assert "ended with status 3" in reason
        (refused,) = b.work.report().refused
        assert refused.digest == digest
        assert len(b.launcher.specs) == 3
        b.now += FIRST_S
        assert b.work.report().refused == ()
        assert await crash(b, digest, 1) == [FailCode.CRASHED]
        assert len(b.work.report().refused) == 1


def test_an_answered_request_ends_a_row_of_crashes_and_a_long_row_is_refused_for_longer() -> None:
    crashes, digest = Crashes(), "d"
    for _ in range(2):
        crashes.crashed(digest, "x", 0.0)  # type: ignore[arg-type]
    crashes.answered(digest)  # type: ignore[arg-type]
    crashes.crashed(digest, "x", 0.0)  # type: ignore[arg-type]
    assert not crashes.refused(0.0)
    for _ in range(4):
        crashes.crashed(digest, "x", 0.0)  # type: ignore[arg-type]
    assert crashes.refused(4 * FIRST_S - 1)
    assert not crashes.refused(4 * FIRST_S)


async def test_loading_shows_state_progress_eta(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        one, other = b.blobs.echo_model(600), b.blobs.echo_model(600, 1)
        first = b.chat(one, "x")
        await ended(first)
        told = [message for message in first.messages if isinstance(message, Progress)]
        assert told[0].stage is LoadStage.DOWNLOADING
        assert told[-1].stage is LoadStage.LOADING
        b.pool._bringer._loads.took(other, 600, 4.0)
        second = b.chat(other, "x")
        await until(lambda: waits(second))
        (loading,) = b.work.report().loading
        assert (loading.digest, loading.stage) == (other, LoadStage.QUEUED)
        assert loading.eta_s < 0  # not in the cache: how long its download takes is not known
        b.now += TURN
        b.pool.look()
        await until(lambda: any(isinstance(m, Progress) and m.stage is LoadStage.LOADING for m in second.messages))
        last = next(m for m in reversed(second.messages) if isinstance(m, Progress))
        assert last.eta_s == 4.0
        await ended(second)
        assert b.work.report().loading == ()
        b.pool._bringer._loads.took(one, 600, 7.0)
        third = b.chat(one, "x")
        await until(lambda: waits(third))
        left = next(m.eta_s for m in reversed(third.messages) if isinstance(m, Progress))
        assert left == b.pool.turns.pause_s + 7.0  # until the idle one gives its place up, and the load


def test_a_download_s_rest_is_judged_by_its_own_speed() -> None:
    meter = Meter()
    meter.seen(0.0, 500.0)  # what an earlier, cut download had left
    assert meter.seconds(100.0) is None
    meter.seen(1.0, 510.0)
    meter.seen(2.0, 520.0)
    assert meter.seconds(100.0) == 10.0
    for second in range(3, 60):
        meter.seen(float(second), 520.0 + 20.0 * (second - 2))
    assert abs((meter.seconds(100.0) or 0.0) - 5.0) < 0.1


def test_a_load_is_judged_by_the_last_one_or_by_others_of_other_sizes() -> None:
    loads = Durations()
    assert loads.expect("a", 100) is None  # type: ignore[arg-type]
    loads.took("a", 100, 5.0)  # type: ignore[arg-type]
    assert loads.expect("a", 100) == 5.0  # type: ignore[arg-type]
    assert loads.expect("b", 200) == 10.0  # type: ignore[arg-type]
    assert remaining(0.0, 1.0, None) is None
    assert remaining(0.5, 3.0, None) == 3.0
    assert remaining(0.1, 3.0, 5.0) == 2.0


def test_a_slow_download_is_told_of_every_few_seconds() -> None:
    teller = Teller()
    slow = Progress(stage=LoadStage.DOWNLOADING, fraction=0.001)
    assert [teller.worth(slow, now) for now in (0.0, 1.0, 4.9, 5.0, 6.0)] == [True, False, False, True, False]


async def test_a_request_cancelled_while_it_waits_for_room_leaves_no_trace(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        one, other = b.blobs.echo_model(600), b.blobs.echo_model(600, 1)
        await ended(b.chat(one, "x"))
        b.chat(other, "y")
        await until(lambda: bool(b.pool.loading))
        b.work.lost(b.work.held())
        await asyncio.sleep(0)
        b.now += 20
        b.pool.look()
        assert b.pool.loading == ()
        assert len(b.launcher.specs) == 1
