"""The echo engine: the suite every engine passes, and what its tests rely on."""

import pytest

from gogrid.protocol.job_messages import EmbeddingDone, FailCode, Failed, Finished, Vectors
from gogrid.protocol.tasks import EmbeddingTask, ResumeMode
from gogrid.protocol.worker_report import DeviceKind
from runner.errors import JobError
from runner.executor.batches import into_steps
from runner.executor.engines.base import Engine
from runner.executor.engines.echo import EchoEngine
from runner.executor.messages import Item, Load
from tests.conformance.engine_suite import MODEL, TextEngineSuite, ask, chat, done_of, ids_of, run, submit, text_of
from tests.conformance.resume_suite import ResumeSuite, resumed

LOAD = Load(engine="echo", model_path="", device=DeviceKind.CPU, threads=1, cap_bytes=1 << 30)


@pytest.fixture
def engine() -> EchoEngine:
    return EchoEngine(LOAD)


class TestEcho(TextEngineSuite):
    """The suite."""


class TestEchoResume(ResumeSuite):
    """The suite for going on."""


@pytest.mark.parametrize(("mode", "turns"), [(ResumeMode.FAST, 2), (ResumeMode.EXACT, 5)])
def test_exact_mode_takes_a_turn_for_each_known_token(engine: Engine, mode: ResumeMode, turns: int) -> None:
    task = chat("a b c d e", max_tokens=0)
    submit(engine, resumed(task, ids_of(ask(engine, task)[0])[:3], mode))
    taken = 0
    while engine.busy:
        engine.step()
        taken += 1
    assert taken == turns


def test_another_answer_than_its_own_is_not_gone_on_with(engine: Engine) -> None:
    ids = ids_of(ask(engine, chat("one two three"))[0])
    with pytest.raises(JobError, match="Token 1 ") as refused:
        submit(engine, resumed(chat("one four three"), ids, ResumeMode.FAST))
    assert refused.value.param == "resume"


def test_text_is_said_back_word_by_word(engine: Engine) -> None:
    (said,) = ask(engine, chat("hé  🙂 wörld\nx ", max_tokens=0))
    assert text_of(said) == "hé  🙂 wörld\nx "
    assert done_of(said).finish_reason == "stop"


def test_chunks_repeat_the_words(engine: Engine) -> None:
    (said,) = ask(engine, chat("#echo chunks=5\na b", max_tokens=0))
    assert text_of(said) == "a b a b a"
    assert done_of(said).completion_tokens == 5


def test_delay_is_shared_by_the_batch() -> None:
    slept: list[float] = []
    engine = EchoEngine(LOAD, slept.append)
    ask(engine, *(chat("#echo chunks=4 delay_ms=10\nx", max_tokens=0) for _ in range(8)))
    assert slept == [0.01] * 4


def test_told_to_break_it_breaks(engine: Engine) -> None:
    submit(engine, chat("#echo chunks=9 fail_after=2\nx"))
    with pytest.raises(RuntimeError, match="after 2 tokens"):
        run(engine)


def test_told_to_fail_one_only_that_one_fails(engine: Engine) -> None:
    bad, good = ask(engine, chat("#echo chunks=9 error_after=2\nx"), chat("a b c d"))
    assert isinstance(bad[-1], Failed)
    assert len(ids_of(bad)) == 2
    assert text_of(good) == "a b c d"


def test_unknown_control_is_refused_naming_what_is_allowed(engine: Engine) -> None:
    with pytest.raises(JobError, match=r"speed=3.*chunks=N") as refused:
        submit(engine, chat("#echo speed=3\nx"))
    assert refused.value.code is FailCode.BAD_REQUEST


def test_embeddings_are_the_same_again_and_normalised(engine: Engine) -> None:
    task = EmbeddingTask(model=MODEL, inputs=("one", "two words", "one"))
    ((vectors, finished),) = ask(engine, task)
    assert isinstance(vectors, Vectors)
    assert vectors.data[:32] == vectors.data[64:] != vectors.data[32:64]
    assert isinstance(finished, Finished)
    assert finished.result == EmbeddingDone(width=8, prompt_tokens=4)


def test_steps_stay_within_a_frame() -> None:
    big = Vectors(first=0, width=8, data=bytes(512 << 10))
    items = tuple(Item(request=number, message=big) for number in range(5))
    steps = list(into_steps(items))
    assert [item for step in steps for item in step.items] == list(items)
    assert len(steps) == 5
    assert list(into_steps(())) == []
