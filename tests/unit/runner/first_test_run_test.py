"""The first answer for the owner: from a real executor, or a script in the real sandbox; ended by a pause."""

import asyncio
from pathlib import Path

import pytest

from gogrid.protocol.messages import FailCode
from gogrid.protocol.tasks import ModelRef
from runner.errors import ModelError, RunnerError
from runner.first_test import QUESTION, FirstTest, smallest_model
from runner.sandbox.choose import choose_launcher
from tests.fakes.worker_bench import Bench, bench, until


def first_test(made: Bench, model: ModelRef | None) -> tuple[FirstTest, list[str]]:
    done: list[str] = []

    async def find() -> ModelRef | None:
        return model

    return FirstTest(made.pool, made.launcher, find, lambda: done.append("done")), done


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
