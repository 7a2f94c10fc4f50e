"""The embedding engine with a real model, against a plain computation of the same."""

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from gogrid.protocol.job_messages import EmbeddingDone, FailCode, Finished, JobMessage, Vectors
from gogrid.protocol.tasks import EmbeddingTask
from gogrid.protocol.worker_report import DeviceKind
from runner.errors import JobError, ModelError
from runner.executor.engines.base import Engine
from runner.executor.engines.pooling import Pool, Recipe, read_recipe
from runner.executor.engines.registry import create
from runner.executor.messages import Load
from tests.conformance.engine_suite import MODEL, ask, chat, run, submit
from tests.torch_models import minilm, need_engine

pytestmark = [pytest.mark.torch, pytest.mark.timeout(300)]
TEXTS = ("A cat sits on the mat.", "Quantum chromodynamics", "", "Ein längerer Satz mit Umlauten: äöü 🙂. " * 5)


@pytest.fixture(scope="session")
def loaded() -> Iterator[Engine]:
    need_engine()
    engine = create(
        Load(engine="torch", model_path=str(minilm()), device=DeviceKind.CPU, threads=2, cap_bytes=8 << 30),
        lambda stage, fraction: None,
    )
    yield engine
    engine.close()


@pytest.fixture
def engine(loaded: Engine) -> Iterator[Engine]:
    yield loaded
    assert not loaded.busy, "a test left requests behind"


def embedding(*texts: str | tuple[int, ...]) -> EmbeddingTask:
    return EmbeddingTask(model=MODEL, inputs=texts)


def rows_of(messages: list[JobMessage]) -> list[tuple[float, ...]]:
    rows: list[tuple[float, ...]] = []
    for message in messages:
        if isinstance(message, Vectors):
            assert message.first == len(rows)
            rows += struct.iter_unpack(f"<{message.width}f", message.data)
    return rows


def done_of(messages: list[JobMessage]) -> EmbeddingDone:
    last = messages[-1]
    assert isinstance(last, Finished)
    assert isinstance(last.result, EmbeddingDone)
    return last.result


def test_vectors_are_those_of_a_plain_computation(engine: Engine) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm())
    model = AutoModel.from_pretrained(minilm(), dtype=torch.float32).eval()
    (said,) = ask(engine, embedding(*TEXTS))
    total = 0
    for text, found in zip(TEXTS, rows_of(said), strict=True):
        inputs = tokenizer(text, return_tensors="pt")
        total += inputs["input_ids"].shape[1]
        with torch.inference_mode():
            mean = model(**inputs).last_hidden_state[0].mean(dim=0)
        expected = torch.nn.functional.normalize(mean, dim=0)
        assert torch.allclose(torch.tensor(found), expected, atol=1e-4)
    assert done_of(said) == EmbeddingDone(width=384, prompt_tokens=total)


def test_requests_share_a_pass(engine: Engine) -> None:
    numbers = [submit(engine, embedding(f"text {number}", "another")) for number in range(5)]
    ended = [item.request for item in engine.step() if isinstance(item.message, Finished)]
    assert ended == numbers


def test_vectors_do_not_depend_on_company(engine: Engine) -> None:
    (alone,) = ask(engine, embedding("A cat sits on the mat."))
    first, _ = ask(engine, embedding("A cat sits on the mat."), embedding("long " * 200))
    assert rows_of(alone)[0] == pytest.approx(rows_of(first)[0], abs=1e-5)


def test_many_texts_come_back_in_order_and_in_frames_that_fit(engine: Engine) -> None:
    texts = tuple(f"number {number} " + "x " * (number % 17) for number in range(400))
    (said,) = ask(engine, embedding(*texts))
    (sample,) = ask(engine, embedding(texts[399], texts[0]))
    rows = rows_of(said)
    assert len(rows) == 400
    assert rows[399] == pytest.approx(rows_of(sample)[0], abs=1e-5)
    assert all(len(message.data) <= 512 << 10 for message in said if isinstance(message, Vectors))


def test_too_long_input_is_refused_and_never_cut(engine: Engine) -> None:
    assert engine.ready().context_length == 256
    with pytest.raises(JobError, match=r"Input 1 has \d+ tokens.*256") as refused:
        submit(engine, embedding("short", "word " * 300))
    assert refused.value.code is FailCode.CONTEXT_LENGTH
    assert not engine.busy


def test_wrong_token_ids_and_empty_inputs_are_refused(engine: Engine) -> None:
    for task, why in ((embedding((1, 10**7)), "token id"), (embedding(()), "empty"), (embedding(), "nothing")):
        with pytest.raises(JobError, match=why):
            submit(engine, task)
    with pytest.raises(JobError, match="no text"):
        submit(engine, chat("hello"))


def test_aborted_request_is_forgotten(engine: Engine) -> None:
    gone, stays = submit(engine, embedding(*("x",) * 300)), submit(engine, embedding("y"))
    engine.abort(gone)
    said = run(engine)
    assert set(said) == {stays}


def test_pooling_by_first_last_and_mean() -> None:
    import torch

    from runner.executor.engines.torch_embed import pool

    hidden = torch.arange(24.0).view(2, 3, 4)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    assert torch.equal(pool(hidden, mask, Recipe(Pool.FIRST, False, None)), hidden[:, 0])
    assert torch.equal(pool(hidden, mask, Recipe(Pool.LAST, False, None)), torch.stack([hidden[0, 2], hidden[1, 1]]))
    mean = pool(hidden, mask, Recipe(Pool.MEAN, False, None))
    assert torch.equal(mean, torch.stack([hidden[0].mean(0), hidden[1, :2].mean(0)]))
    assert torch.allclose(pool(hidden, mask, Recipe(Pool.MEAN, True, None)).norm(dim=1), torch.ones(2))


def test_recipe_is_read_from_the_models_own_files(tmp_path: Path) -> None:
    assert read_recipe(minilm()) == Recipe(Pool.MEAN, normalise=True, longest=256)
    assert read_recipe(tmp_path) == Recipe(Pool.MEAN, normalise=True, longest=None)
    folder = shutil.copytree(minilm(), tmp_path / "cls", ignore=shutil.ignore_patterns("*.safetensors"))
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({"pooling_mode_cls_token": True}))
    assert read_recipe(folder).pool is Pool.FIRST
    pooling.write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(ModelError, match="pooling_mode_max_tokens"):
        read_recipe(folder)


@pytest.mark.parametrize("kind", ["sentence_transformers.models.Dense", "evil.Pooling"])
def test_steps_that_are_not_served_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    (tmp_path / "modules.json").write_text(json.dumps([{"type": kind, "path": ""}]))
    with pytest.raises(ModelError, match=kind):
        read_recipe(tmp_path)


def test_pooling_that_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    (folder / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Pooling", "path": ".."}]))
    with pytest.raises(ModelError, match="points outside"):
        read_recipe(folder)
