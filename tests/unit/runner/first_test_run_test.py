"""The first answer for the owner: from a real executor, or a script in the real sandbox; ended by a pause."""

import asyncio
from pathlib import Path

import pytest

from gogrid.ids import Sha256
from gogrid.manifest import ModelFile, ModelManifest, encode_manifest
from gogrid.protocol.job_messages import FailCode, Failed
from gogrid.protocol.tasks import ModelRef
from runner.errors import ModelError, RunnerError
from runner.first_test import QUESTION, FirstTest, named, smallest_model
from runner.holds import OwnerPause
from runner.models.blobs import Moved
from runner.sandbox.choose import choose_launcher
from tests.fakes.local_models import MemoryBlobs
from tests.fakes.worker_bench import Bench, begun, bench, until

IN_USE = ("the computer is in use",)


class SlowBlobs:
    """Files of models come when `go_on` is set."""

    def __init__(self, blobs: MemoryBlobs) -> None:
        self._blobs, self.go_on, self.under_way = blobs, asyncio.Event(), 0

    def model_with_a_file(self, content: bytes) -> Sha256:
        file = ModelFile(path="weights.bin", sha256=self._blobs.add(content), size=len(content))
        manifest = ModelManifest(
            kind="chat", engine="echo", format="none", context_length=1000, width=0, memory_bytes=100, files=(file,)
        )
        return self._blobs.add(encode_manifest(manifest))

    async def fetch(self, sha256: Sha256, target: Path, *, max_size: int, exact: bool, moved: Moved) -> None:
        self.under_way += exact
        try:
            if exact:
                await self.go_on.wait()
            await self._blobs.fetch(sha256, target, max_size=max_size, exact=exact, moved=moved)
        finally:
            self.under_way -= exact


def first_test(made: Bench, model: ModelRef | None) -> tuple[FirstTest, list[str]]:
    done: list[str] = []

    async def find() -> ModelRef | None:
        return model

    def ended() -> None:
        made.work.leave()
        done.append("done")

    return FirstTest(made.pool, made.launcher, find, ended), done


def answered(run: FirstTest) -> bool:
    assert run.shown.state != "failed", run.shown.sentence
    return run.shown.state == "done"


async def test_what_is_shown_is_what_the_models_process_said(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        run, done = first_test(made, ModelRef(name="echo", digest=made.blobs.echo_model(100)))
        assert run.shown.state == "none"
        run.begin()
        task = run._task
        run.begin()
        assert run._task is task  # one at a time
        await until(lambda: run.shown.state != "working")
        assert (run.shown.state, run.shown.model, run.shown.question) == ("done", "echo", QUESTION)
        assert run.shown.answer.strip() == QUESTION
        assert run.shown.tokens > 3
        assert done == ["done"]
        assert len(made.launcher.specs) == 1


async def test_a_pause_ends_it_and_says_so(tmp_path: Path) -> None:
    async with bench(tmp_path, program="import time; time.sleep(60)") as made:
        run, done = first_test(made, ModelRef(name="echo", digest=made.blobs.echo_model(100)))
        run.begin()
        await until(lambda: bool(made.launcher.processes))
        run.stop("It was ended by a pause.")
        await until(lambda: bool(done))
        assert (run.shown.state, run.shown.sentence) == ("failed", "It was ended by a pause.")
        await run.close()


async def test_it_works_while_the_worker_may_not_work_for_others(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        run, _done = first_test(made, ModelRef(name="echo", digest=made.blobs.echo_model(100)))
        made.work.hold(None, ("the computer is in use",))
        run.begin()
        await until(lambda: run.shown.state != "working")
        assert (run.shown.state, run.shown.answer.strip()) == ("done", QUESTION)


async def test_the_click_that_asks_does_not_end_the_load_of_its_own_model(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        run, done = first_test(made, ModelRef(name="echo", digest=made.blobs.echo_model(100)))
        run.begin()
        await until(lambda: bool(made.launcher.processes))
        made.work.hold(None, IN_USE)
        await until(lambda: answered(run))
        assert run.shown.answer.strip() == QUESTION
        assert done == ["done"]
        assert made.pool.loaded == ()
        await until(lambda: made.launcher.alive == 0)  # seen; the machine is its owner's alone
        assert len(made.launcher.specs) == 1


async def test_a_gate_spares_the_owners_question_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.first_test.QUESTION", "#echo chunks=20 delay_ms=20\none two")
    async with bench(tmp_path) as made:
        mine, other = made.blobs.echo_model(100), made.blobs.echo_model(100, 1)
        jobs = [made.chat(digest, "#echo chunks=2000 delay_ms=20\none two three") for digest in (mine, other)]
        await until(lambda: all(begun(job) for job in jobs))
        run, _done = first_test(made, ModelRef(name="echo", digest=mine))
        run.begin()
        await until(lambda: run.shown.tokens > 0)
        made.work.hold(None, IN_USE)
        assert [job.last.code for job in jobs if isinstance(job.last, Failed)] == [FailCode.YIELDED] * 2
        await until(lambda: made.launcher.alive == 1)
        assert run.shown.state == "working"
        await until(lambda: answered(run))
        await until(lambda: made.launcher.alive == 0)
        assert len(made.launcher.specs) == 2


async def test_the_question_waits_for_the_next_process_where_the_gate_has_ended_one(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        digest = made.blobs.echo_model(100)
        made.chat(digest, "one")
        await until(lambda: bool(made.launcher.processes))  # the model is on its way, for somebody else
        made.work.hold(None, IN_USE)
        run, _done = first_test(made, ModelRef(name="echo", digest=digest))
        run.begin()
        await until(lambda: answered(run))
        assert len(made.launcher.specs) == 2
        await until(lambda: made.launcher.alive == 0)


async def test_a_gate_leaves_the_owners_model_coming_and_no_other(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        slow = SlowBlobs(made.blobs)
        made.cache._source = slow
        mine, other = slow.model_with_a_file(b"mine"), slow.model_with_a_file(b"other")
        made.chat(other, "one")
        run, _done = first_test(made, ModelRef(name="echo", digest=mine))
        run.begin()
        await until(lambda: slow.under_way == 2)
        made.work.hold(None, IN_USE)
        await until(lambda: slow.under_way == 1)
        assert [one.digest for one in made.cache.downloads] == [mine]
        slow.go_on.set()
        await until(lambda: answered(run))


async def test_a_pause_by_hand_ends_it_behind_a_closed_gate_too(tmp_path: Path) -> None:
    async with bench(tmp_path, program="import time; time.sleep(60)") as made:
        run, done = first_test(made, ModelRef(name="echo", digest=made.blobs.echo_model(100)))
        run.begin()
        await until(lambda: bool(made.launcher.processes))
        made.work.hold(None, IN_USE)
        run.stop("It was ended by a pause.")
        made.work.hold(OwnerPause("paused"), IN_USE)
        await until(lambda: bool(done) and made.launcher.alive == 0)
        assert made.pool.loading == ()
        made.pool.look()
        assert len(made.launcher.specs) == 1


async def test_a_download_that_is_taken_from_it_does_not_leave_it_waiting(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:

        async def halted() -> ModelRef | None:
            raise asyncio.CancelledError  # as `ModelCache.halt` does to who waits

        run = FirstTest(made.pool, made.launcher, halted, lambda: None)
        run.begin()
        await until(lambda: run.shown.state == "failed")
        assert "wanted back" in run.shown.sentence


async def test_a_failure_is_told_in_the_words_of_who_failed(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:

        async def nobody() -> ModelRef | None:
            raise ModelError("The coordinator does not answer over HTTPS.", FailCode.INTERNAL)

        run = FirstTest(made.pool, made.launcher, nobody, lambda: None)
        run.begin()
        await until(lambda: run.shown.state == "failed")
        assert run.shown.sentence == "The coordinator does not answer over HTTPS."
        assert run.shown.answer == ""


@pytest.mark.sandbox
async def test_without_a_model_a_script_runs_in_the_sandbox_and_is_not_called_a_model(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:

        async def none() -> ModelRef | None:
            return None

        run = FirstTest(made.pool, await choose_launcher(), none, lambda: None)
        run.begin()
        async with asyncio.timeout(20):
            while run.shown.state == "working":
                await asyncio.sleep(0.02)
        assert (run.shown.state, run.shown.model) == ("done", "")
        assert run.shown.answer.strip() == "There are 17984 prime numbers below 200,000."


async def test_without_a_session_it_says_that_it_is_not_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.first_test._ASK_S", 0.0)
    with pytest.raises(RunnerError, match="not connected"):
        await smallest_model(lambda: None)


async def test_a_model_that_only_the_owner_has_asked_is_called_by_its_name() -> None:
    model = ModelRef(name="smol", digest=Sha256("a" * 64))

    async def found() -> ModelRef | None:
        return model

    async def none() -> ModelRef | None:
        return None

    names: dict[Sha256, str] = {}
    assert await named(found(), names) == model
    assert await named(none(), names) is None
    assert names == {model.digest: "smol"}
