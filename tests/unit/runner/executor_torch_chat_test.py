"""The torch engine with a real model: the suite every engine passes, and what only a real model shows."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gogrid.protocol.job_messages import FailCode, Tokens
from gogrid.protocol.tasks import ChatMessage, ChatTask, EmbeddingTask, ResumeMode, Sampling
from gogrid.protocol.worker_report import DeviceKind
from runner.errors import JobError, ModelError
from runner.executor.engines.base import Engine
from runner.executor.engines.registry import create
from runner.executor.messages import Load
from tests.conformance.engine_suite import (
    MODEL,
    TextEngineSuite,
    ask,
    chat,
    completion,
    done_of,
    ids_of,
    run,
    submit,
    text_of,
)
from tests.conformance.resume_suite import MODES, ResumeSuite, check_every_cut, pieces_of, resumed
from tests.torch_models import smollm2

pytestmark = [pytest.mark.torch, pytest.mark.timeout(400)]


def load(folder: Path, *, device: DeviceKind = DeviceKind.CPU, cap: int = 3 << 30) -> Engine:
    request = Load(engine="torch", model_path=str(folder), device=device, threads=2, cap_bytes=cap)
    return create(request, lambda stage, fraction: None)


@pytest.fixture(scope="session")
def model() -> Path:
    return smollm2()


@pytest.fixture(scope="session")
def loaded(model: Path) -> Iterator[Engine]:
    engine = load(model)
    yield engine
    engine.close()


@pytest.fixture
def engine(loaded: Engine) -> Iterator[Engine]:
    yield loaded
    assert not loaded.busy, "a test left requests behind"


class TestTorch(TextEngineSuite):
    """The suite."""


class TestTorchResume(ResumeSuite):
    """The suite for going on."""


@MODES
def test_answer_cut_inside_a_character_goes_on_with_the_whole_one(engine: Engine, mode: ResumeMode) -> None:
    pieces = check_every_cut(engine, completion("漢字🙂漢字🙂漢字🙂漢字🙂漢", max_tokens=8), mode)
    assert any(not piece.text for piece in pieces[:-1]), "no character came in parts: this tests nothing"


@MODES
def test_answer_that_ended_by_itself_is_over_at_once(engine: Engine, mode: ResumeMode) -> None:
    pieces = check_every_cut(engine, chat("What is 2+2? Say only the number.", max_tokens=12), mode)
    assert pieces[-1].token == 2, "the model ended it"


def test_numbers_of_an_answer_have_the_same_bits_in_any_company(engine: Engine) -> None:
    """Alone, among others of other lengths, cut and gone on with: so replayed answers cannot part from what was."""
    task = chat("Tell me a story about the sea.", max_tokens=10, temperature=0.8, seed=3, logprobs=0)
    (alone,) = ask(engine, task)
    numbers = [entry.logprob for piece in pieces_of(alone) for entry in piece.logprobs]
    ids = ids_of(alone)
    company = [chat(f"Count the {'very ' * (60 * n)}many stars", max_tokens=14) for n in range(4)]
    (among, *_) = ask(engine, task, *company)
    assert [entry.logprob for piece in pieces_of(among) for entry in piece.logprobs] == numbers
    for mode in ResumeMode:
        *_, said = ask(engine, *company, resumed(task, ids[:4], mode))
        assert [entry.logprob for piece in pieces_of(said) for entry in piece.logprobs] == numbers[4:], mode


def free_blocks(engine: Engine) -> int:
    """Cache blocks that no request holds, in the manager's own books; those kept for equal prompts are let go first."""
    cache = engine._batcher._processor.cache  # type: ignore[attr-defined]
    cache.evict_cached_blocks()
    cache.pool.try_to_free_sectors()
    return int(cache.pool.num_free_sectors)


def test_it_knows_the_capital_of_france(engine: Engine) -> None:
    (said,) = ask(engine, chat("What is the capital of France?", max_tokens=30))
    assert "Paris" in text_of(said)
    assert done_of(said).finish_reason == "stop"


def test_ready_says_the_device_its_format_and_what_it_holds(engine: Engine) -> None:
    ready = engine.ready()
    assert ready.device in ("CPU, 2 threads, bfloat16", "CPU, 2 threads, float32")
    assert ready.context_length == 8192
    assert 0 < ready.memory_bytes <= 3 << 30


def test_batched_answers_are_those_of_the_requests_alone(engine: Engine) -> None:
    """Rounding may part two answers late; what must not happen is that one request sees another's tokens."""
    questions = ["What is the capital of France?", "Count from one to five.", "What is 2+2?", "Name a colour. " * 20]
    alone = [ids_of(ask(engine, chat(question))[0])[:3] for question in questions]
    together = [ids_of(said)[:3] for said in ask(engine, *(chat(question) for question in questions))]
    assert together == alone


def test_answers_match_a_direct_computation(engine: Engine, model: Path) -> None:
    """Greedy tokens and log-probabilities against transformers' own forward pass in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    ids = tuple(range(100, 190))
    (said,) = ask(engine, completion(ids, max_tokens=4, logprobs=3))
    entries = [entry for message in said if isinstance(message, Tokens) for entry in message.logprobs]
    sequence = [*ids, *ids_of(said)]
    with torch.inference_mode():
        expected = torch.log_softmax(reference(torch.tensor([sequence])).logits[0].float(), dim=-1)
    for place, entry in enumerate(entries):
        row = expected[len(ids) - 1 + place]
        assert entry.logprob == pytest.approx(float(row[entry.token_id]), abs=0.3)
        assert entry.logprob == entry.top[0][2], "greedy: the token chosen is the likeliest"
        assert [value for _, _, value in entry.top] == sorted((value for _, _, value in entry.top), reverse=True)


def test_long_prompt_in_several_passes_gives_the_same_answer(engine: Engine, model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    ids = tuple(3000 + number * 7 % 900 for number in range(400))
    (said, _) = ask(engine, completion(ids, max_tokens=1, logprobs=1), chat("Hello", max_tokens=20))
    entry = next(entry for message in said if isinstance(message, Tokens) for entry in message.logprobs)
    reference = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    with torch.inference_mode():
        expected = torch.log_softmax(reference(torch.tensor([ids])).logits[0, -1].float(), dim=-1)
    assert entry.logprob == pytest.approx(float(expected[entry.token_id]), abs=0.5)


def test_seeded_answer_is_the_same_again_and_other_seeds_differ(engine: Engine) -> None:
    tasks = [chat("Tell me a story.", temperature=1.0, seed=seed, max_tokens=16) for seed in (1, 2, 1)]
    first, other, again = ask(engine, *tasks)
    assert ids_of(first) == ids_of(again)
    assert ids_of(first) != ids_of(other)


def test_aborts_give_every_cache_block_back(engine: Engine) -> None:
    before = free_blocks(engine)
    numbers = [submit(engine, chat("Tell me a story. " * (10 + n), max_tokens=0)) for n in range(4)]
    for _ in range(4):
        engine.step()
    assert free_blocks(engine) < before
    for number in numbers:
        engine.abort(number)
    assert not engine.busy
    assert free_blocks(engine) == before
    assert not engine._batcher.busy  # type: ignore[attr-defined]


def test_finished_requests_give_every_cache_block_back(engine: Engine) -> None:
    before = free_blocks(engine)
    ask(engine, *(chat("Name a colour. " * 30, max_tokens=3) for _ in range(3)))
    assert free_blocks(engine) == before


def test_characters_are_whole(engine: Engine) -> None:
    (said,) = ask(engine, chat("Repeat exactly: 🙂漢字é👩‍👩‍👧 🎉🎉🎉", max_tokens=24))
    pieces = [message.text for message in said if isinstance(message, Tokens)]
    assert not any("\ufffd" in piece for piece in pieces)


def test_special_tokens_do_not_leak_into_the_text(engine: Engine) -> None:
    (said,) = ask(engine, chat("What is 2+2?", max_tokens=60))
    assert "<|" not in text_of(said)
    assert ids_of(said)[-1] == 2, "the end token's id is sent, its text is not"
    (echoed,) = ask(engine, completion((1, 9690, 198, 28120, 2), max_tokens=2, echo=True))
    assert "<|" not in text_of(echoed)


@pytest.mark.parametrize("ids", [(10**6,), (-1,), (1, 2, 49152)])
def test_token_ids_outside_the_vocabulary_are_refused(engine: Engine, ids: tuple[int, ...]) -> None:
    stays = submit(engine, chat("Hello"))
    with pytest.raises(JobError, match="0 to 49151") as refused:
        submit(engine, completion(ids))
    assert refused.value.code is FailCode.BAD_REQUEST
    assert done_of(run(engine)[stays])


@pytest.mark.parametrize("name", ["temperature", "top_p", "frequency_penalty", "presence_penalty"])
def test_numbers_that_are_none_are_refused_by_name(engine: Engine, name: str) -> None:
    with pytest.raises(JobError, match=name) as refused:
        submit(engine, chat("Hello", **{name: float("nan")}))
    assert refused.value.param == name


def test_embeddings_of_a_chat_model_are_refused(engine: Engine) -> None:
    with pytest.raises(JobError, match="no embeddings"):
        submit(engine, EmbeddingTask(model=MODEL, inputs=("x",)))


def test_answer_ends_where_the_context_is_full(engine: Engine) -> None:
    whole = engine.ready()
    engine._ready = msgspec.structs.replace(whole, context_length=40)  # type: ignore[attr-defined]
    try:
        (said,) = ask(engine, completion(tuple(range(500, 535)), max_tokens=0))
    finally:
        engine._ready = whole  # type: ignore[attr-defined]
    assert done_of(said).finish_reason == "length"
    assert done_of(said).completion_tokens == 5


def test_huge_prompt_is_refused_before_it_is_tokenised(engine: Engine) -> None:
    start = time.monotonic()
    task = ChatTask(model=MODEL, messages=(ChatMessage(role="user", content="a" * 3_900_000),), sampling=Sampling())
    with pytest.raises(JobError, match=r"more than \d+ tokens.* 8192 tokens") as refused:
        submit(engine, task)
    assert refused.value.code is FailCode.CONTEXT_LENGTH
    assert time.monotonic() - start < 5


def test_device_that_is_not_there_is_refused_and_never_replaced(model: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has the device that must be absent")
    with pytest.raises(ModelError, match="NVIDIA GPU"):
        load(model, device=DeviceKind.CUDA)


def test_cap_too_small_is_refused_with_numbers(model: Path) -> None:
    with pytest.raises(ModelError, match=r"\d+ MB") as refused:
        load(model, cap=200 << 20)
    assert refused.value.code is FailCode.NO_ROOM
