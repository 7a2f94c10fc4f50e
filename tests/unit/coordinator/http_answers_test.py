"""Gathering answers, and the pure shapes they become."""

import asyncio
import math
from collections.abc import AsyncIterator

import pytest

from coordinator.errors import JobFailedError, NoWorkerError, StorageFullError, StoreUnavailableError
from coordinator.http.errors import reply_to
from coordinator.http.gather import Gather
from coordinator.http.openai_replies import chat_logprobs, completion_logprobs
from coordinator.tickets import Answer
from gogrid.protocol.job_messages import FailCode, TokenLogprob, Tokens
from gogrid.protocol.tasks import ChatTask, ModelRef, Sampling
from tests.fakes.backend import CHAT, FakeTicket, Step, paced

TASK = ChatTask(model=ModelRef(name=CHAT, digest="ab" * 32), messages=(), sampling=Sampling())  # type: ignore[arg-type]


def ticket(*steps: Step) -> FakeTicket:
    return FakeTicket(TASK, steps)


def token(seq: int) -> Tokens:
    return Tokens(seq=seq, text="x", token_ids=(seq,))


async def test_what_is_ready_together_comes_in_one_batch():
    with Gather([FakeTicket(TASK, paced(50, 0)(TASK, 0))]) as gather:
        await asyncio.sleep(0)
        seen = []
        while batch := await gather.batch():
            seen.append(len(batch))
    assert sum(seen) == 52


async def test_an_answer_that_stops_without_finishing_is_a_failure():
    with Gather([ticket(token(0))]) as gather:
        assert [item for _, item in await gather.batch()] == [token(0)]
        with pytest.raises(JobFailedError, match="before it was complete"):
            await gather.batch()


async def test_a_failure_hands_out_what_came_before_and_cancels_the_others():
    other = ticket(60.0)
    with Gather([ticket(token(0), NoWorkerError("gone", 1)), other]) as gather:
        assert len(await gather.batch()) == 1
        with pytest.raises(NoWorkerError):
            await gather.batch()
    assert other.reason == "another answer of the same request failed"


async def test_patience_ends_and_the_answer_is_still_there():
    with Gather([ticket(0.05, token(0), 60.0)]) as gather:
        with pytest.raises(TimeoutError):
            await gather.batch(0.01)
        assert [item for _, item in await gather.batch(1.0)] == [token(0)]


async def test_leaving_early_cancels_every_ticket_and_every_reader():
    tickets = [ticket(60.0), ticket(60.0)]
    before = asyncio.all_tasks()
    with pytest.raises(ZeroDivisionError), Gather(tickets):
        raise ZeroDivisionError
    assert all(one.cancelled.is_set() for one in tickets)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_reader_that_lags_holds_the_worker_back():
    taken = 0

    class Eager(FakeTicket):
        async def answers(self) -> AsyncIterator[Answer]:
            nonlocal taken
            async for answer in super().answers():
                taken += 1
                yield answer

    with Gather([Eager(TASK, paced(1000, 0)(TASK, 0))]) as gather:
        seen = len(await gather.batch())
        for _ in range(2000):
            await asyncio.sleep(0)
        assert taken < 200
        while batch := await gather.batch():
            seen += len(batch)
    assert seen == 1002


def test_logprobs_that_json_cannot_hold_become_openai_s_stand_in():
    lowest = TokenLogprob(token="ü", token_id=1, logprob=-math.inf, top=(("ü", 1, -math.inf),))
    chat = chat_logprobs((lowest,))
    assert chat is not None
    assert (chat.content[0].logprob, chat.content[0].top_logprobs[0].logprob) == (-9999.0, -9999.0)
    assert bytes(chat.content[0].bytes) == "ü".encode()
    text = completion_logprobs((lowest, lowest), 7)
    assert text is not None
    assert (text.token_logprobs, text.text_offset) == ([-9999.0, -9999.0], [7, 8])


@pytest.mark.parametrize("code", [*(code.value for code in FailCode), "worker_lost", "something new"])
def test_every_failure_code_has_a_status_and_retries_say_when(code):
    reply = reply_to(JobFailedError("What happened.", code))
    assert reply.detail.code == code
    assert reply.detail.message == "What happened."
    assert (reply.status == 503) == any(name == b"retry-after" for name, _ in reply.headers)
    assert (reply.status == 400) == (code in ("bad_request", "context_length_exceeded"))


@pytest.mark.parametrize(
    ("error", "status", "code", "again"),
    [
        (StorageFullError("The disk is full."), 507, "insufficient_storage", b"60"),
        (StoreUnavailableError("The disk fails."), 503, "store_unavailable", b"5"),
    ],
)
def test_a_disk_that_takes_nothing_is_told_from_a_fault_of_ours(error, status, code, again):
    reply = reply_to(error)
    assert (reply.status, reply.detail.code, reply.detail.message) == (status, code, str(error))
    assert dict(reply.headers)[b"retry-after"] == again
