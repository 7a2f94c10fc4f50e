"""What no worker could ever hold is refused when it is submitted, with the numbers; what may yet fit is not."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.dispatch.dispatcher import Dispatcher
from coordinator.dispatch.fitting import length_bytes, refusal, tokens_of
from coordinator.dispatch.placement import Need
from coordinator.dispatch.scheduler import Scheduler
from coordinator.errors import RequestError
from coordinator.http.errors import reply_to
from coordinator.models.memory import (
    KV_TOKENS,
    RUNTIME_BYTES,
    Attention,
    Sizes,
    Weights,
    chat_bytes,
    embedding_bytes,
    request_bytes,
)
from coordinator.records import ModelKind, ModelRecord
from gogrid.ids import JobId, Sha256, WorkerId
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask, ModelRef, Sampling, Task
from gogrid.protocol.worker_report import Device, DeviceKind, Readiness
from tests.fakes.durable import REPORT

GB = 10**9
MODEL = ModelRecord(
    "large", Sha256("b" * 64), ModelKind.CHAT, "echo", 0, int(14.2 * GB), 131_072, 0, 0.0, kv_token_bytes=10**6
)
REF = ModelRef(name="large", digest=MODEL.digest)


class Grid:
    """A dispatcher whose workers lend what the test says."""

    def __init__(self, **caps: float) -> None:
        self.scheduler = Scheduler(30.0)
        self.dispatcher = Dispatcher(self.scheduler, lambda: 0.0, lambda: 0.0)
        for name, cap in caps.items():
            self.joins(name)
            self.lends(name, cap)

    def joins(self, name: str) -> None:
        self.scheduler.joined(WorkerId(name), name, draining=False)

    def lends(self, name: str, cap: float, **more: object) -> None:
        device = Device(kind=DeviceKind.CPU, name="c", memory_bytes=99 * GB, cap_bytes=int(cap * GB), why="")
        self.scheduler.reported(WorkerId(name), msgspec.structs.replace(REPORT, devices=(device,), **more))

    def asks(self, task: Task, model: ModelRecord = MODEL) -> RequestError | None:
        length = length_bytes(model, task)
        need = Need(JobId("j"), model.digest, model.engine, model.memory_bytes + length, length_bytes=length)
        return refusal(self.dispatcher, need)


def chat(max_tokens: int = 0) -> ChatTask:
    return ChatTask(model=REF, messages=(), sampling=Sampling(max_tokens=max_tokens))


def test_a_model_larger_than_every_worker_is_refused_with_the_numbers() -> None:
    refused = Grid(small=4, wide=8).asks(chat())
    assert refused is not None
    reply = reply_to(refused)
    assert (reply.status, reply.detail.code, reply.detail.param) == (400, "model_too_large", "model")
    assert reply.detail.message == (
        "`model`: This model needs 14.2 GB and the largest worker, wide, lends 8.0 GB; raise that worker's limit, or "
        "use a smaller model."
    )
    assert reply.headers == ()


def test_a_length_that_no_worker_can_hold_is_refused_as_too_long() -> None:
    grid = Grid(wide=20)
    assert grid.asks(chat(KV_TOKENS)) is None
    assert grid.asks(chat(20_000)) is None
    refused = grid.asks(CompletionTask(model=REF, prompt=(1,) * 20_000, sampling=Sampling(max_tokens=20_000)))
    assert refused is not None
    reply = reply_to(refused)
    assert (reply.status, reply.detail.code, reply.detail.param) == (400, "context_length_exceeded", "max_tokens")
    assert "needs 37.8 GB for a prompt and answer of this length and the largest worker, wide, lends 20.0 GB" in str(
        refused
    )


def test_more_than_the_models_context_counts_as_all_of_it() -> None:
    assert length_bytes(MODEL, chat(10**9)) == (131_072 - KV_TOKENS) * 10**6
    assert length_bytes(replace(MODEL, kv_token_bytes=0), chat(10**9)) == 0
    assert tokens_of(EmbeddingTask(model=REF, inputs=("x",))) == 0


def test_nothing_is_refused_that_a_worker_may_hold_later() -> None:
    assert Grid().asks(chat()) is None, "nobody is there"
    grid = Grid(small=4)
    grid.joins("new")
    assert grid.asks(chat()) is None, "one has not told yet"
    grid.lends("new", 16, readiness=Readiness.PAUSED, reason="paused")
    assert grid.asks(chat()) is None, "a paused one is large enough"
    grid.lends("new", 6)
    assert grid.asks(chat()) is not None
    grid.lends("new", 6, engines=())
    assert grid.asks(chat()) is not None


def test_an_enrolled_worker_that_is_away_counts_with_what_it_lent() -> None:
    grid = Grid(small=4, large=16)
    grid.dispatcher.enrolled = lambda: [WorkerId("small"), WorkerId("large")]
    grid.scheduler.left(WorkerId("large"), "asleep")
    assert grid.asks(chat()) is None
    assert grid.asks(chat(), replace(MODEL, memory_bytes=17 * GB)) is not None, "it is not larger for being away"
    grid.dispatcher.enrolled = lambda: [WorkerId("small")]
    assert grid.asks(chat()) is not None, "it was revoked"
    grid.dispatcher.enrolled = lambda: [WorkerId("small"), WorkerId("unseen")]
    assert grid.asks(chat()) is None, "nobody knows what that one lends"


# --- the estimate ---

attention = st.builds(Attention, st.integers(1, 200), st.integers(1, 64), st.integers(1, 512))
weights = st.builds(Weights, st.integers(0, 10**12), st.integers(0, 10**10))
sizes = st.builds(Sizes, st.integers(0, 10**6), st.integers(1, 10**5), st.integers(1, 1 << 24))


@given(weights, attention, sizes, st.integers(0, 1 << 24))
def test_the_estimate_covers_its_parts_and_grows_with_them(
    held: Weights, heads: Attention, shape: Sizes, tokens: int
) -> None:
    total = chat_bytes(held, heads, shape)
    cache = heads.kv_token_bytes * min(shape.context_length, KV_TOKENS)
    assert total >= held.parameters * 2 + cache + RUNTIME_BYTES
    assert chat_bytes(held + Weights(1000, 0), heads, shape) > total
    assert chat_bytes(held, heads, replace(shape, vocabulary=shape.vocabulary + 1)) > total
    asked = request_bytes(total, heads.kv_token_bytes, shape.context_length, tokens)
    assert asked >= total
    assert asked == total or tokens > KV_TOKENS
    whole = request_bytes(total, heads.kv_token_bytes, shape.context_length, shape.context_length)
    assert asked <= whole == total - cache + heads.kv_token_bytes * shape.context_length


@given(weights, sizes)
def test_embedding_models_count_four_bytes_a_number_and_no_cache(held: Weights, shape: Sizes) -> None:
    assert embedding_bytes(held, shape) >= held.parameters * 4 + held.largest_bytes + RUNTIME_BYTES
    assert embedding_bytes(held, shape) == embedding_bytes(held, replace(shape, context_length=1))


@pytest.mark.parametrize("parts", [[(10, 4), (20, 8)], [(20, 8), (10, 4)]])
def test_shards_add_up(parts: list[tuple[int, int]]) -> None:
    assert sum((Weights(*part) for part in parts), Weights(0, 0)) == Weights(30, 8)
