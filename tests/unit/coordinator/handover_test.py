"""An answer whose worker is lost, silent, drained or yields goes on elsewhere: real store, links in memory."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from coordinator.dispatch.dispatcher import Dispatcher, Work
from coordinator.dispatch.placement import Need
from coordinator.dispatch.scheduler import Scheduler
from coordinator.errors import JobFailedError, NoWorkerError, StoppingError
from coordinator.interactive.desk import InteractiveRequests, RequestLimits
from coordinator.interactive.request import InteractiveWork
from coordinator.interactive.suspicion import ATTEMPTS
from coordinator.links import WorkerLink
from coordinator.store.sqlite_store import SqliteStore
from coordinator.tally import Tally
from coordinator.tickets import Again, Answer
from gogrid.ids import JobId, WorkerId
from gogrid.protocol.job_messages import EmbeddingDone, Finished, JobMessage, Progress, Started, Tokens, Vectors
from gogrid.protocol.messages import Drain, Refuse
from gogrid.protocol.tasks import (
    ChatTask,
    CompletionTask,
    EmbeddingTask,
    PythonTask,
    Resume,
    ResumeMode,
    Sampling,
)
from gogrid.protocol.worker_report import LoadStage
from tests.fakes.answer_values import CHAT, CRASH, IN_COMPANY, KEY, MODEL, REF, REPORT, YIELD, done, said
from tests.fakes.links import MemoryLink


@dataclass
class Grid:
    dispatcher: Dispatcher
    requests: InteractiveRequests
    store: SqliteStore
    tally: Tally
    scheduler: Scheduler

    def worker(self, name: str) -> MemoryLink:
        link = MemoryLink(name)
        self.dispatcher.connected(link)
        self.dispatcher.reported(link, REPORT)
        return link

    def ask(
        self, task: ChatTask | CompletionTask | EmbeddingTask = CHAT, mode: ResumeMode = ResumeMode.FAST
    ) -> InteractiveWork:
        ticket = self.requests.submit(KEY, MODEL, task, mode)
        assert isinstance(ticket, InteractiveWork)
        return ticket

    def says(self, link: MemoryLink, *messages: JobMessage) -> None:
        """The worker speaks for the last lease it was given."""
        assign = link.assigned()[-1]
        for message in messages:
            self.dispatcher.job_message(link, assign.job_id, assign.epoch, message, 10)

    def impatient(self) -> InteractiveRequests:
        limits = RequestLimits(queued=9, per_key=9, patience_s=0.0)
        return InteractiveRequests(self.dispatcher, self.store, limits, self.tally, lambda: 1e9)


@pytest.fixture
async def grid(tmp_path: Path) -> AsyncIterator[Grid]:
    store = await SqliteStore.open(tmp_path / "coordinator.db")
    scheduler, tally = Scheduler(30.0), Tally()
    dispatcher = Dispatcher(scheduler, lambda: 0.0, lambda: 1e9)
    limits = RequestLimits(queued=9, per_key=99, patience_s=60.0)
    requests = InteractiveRequests(dispatcher, store, limits, tally, lambda: 1e9)
    yield Grid(dispatcher, requests, store, tally, scheduler)
    scheduler.check()
    await store.close()


async def turn() -> None:
    """Let what was put off to the next turn of the event loop happen."""
    for _ in range(4):
        await asyncio.sleep(0)


async def read(ticket: InteractiveWork) -> list[Answer]:
    return [answer async for answer in ticket.answers()]


# --- whatever the worker is lost by


async def test_a_lost_worker_is_followed_by_one_that_goes_on_where_it_stopped(grid: Grid) -> None:
    first, second = grid.worker("a"), grid.worker("b")
    ticket = grid.ask()
    grid.says(first, Started(device="cpu"), said(1, 2), said(3))
    grid.dispatcher.disconnected(first, "killed")
    await turn()
    (assign,) = second.assigned()
    assert assign.epoch == 2
    assert assign.task == msgspec.structs.replace(CHAT, resume=Resume(token_ids=(1, 2, 3), mode=ResumeMode.FAST))
    loads = Progress(stage=LoadStage.LOADING, fraction=0.4)
    grid.says(second, loads, Started(device="cpu"), said(4), done(4))
    begun = Started(device="cpu")
    assert await read(ticket) == [begun, said(1, 2), said(3), loads, begun, said(4), done(4)]
    assert (grid.tally.finished, grid.tally.tokens_in, grid.tally.tokens_out) == (1, 3, 4)


async def test_what_the_client_has_not_read_yet_is_not_lost_with_its_worker(grid: Grid) -> None:
    first, second = grid.worker("a"), grid.worker("b")
    ticket = grid.ask()
    grid.says(first, said(1), said(2))
    answers = ticket.answers()
    assert await anext(answers) == said(1)
    grid.dispatcher.disconnected(first, "killed")
    await turn()
    grid.says(second, said(3), done(3))
    assert [answer async for answer in answers] == [said(2), said(3), done(3)]


async def test_a_second_loss_carries_the_tokens_of_both_workers(grid: Grid) -> None:
    links = [grid.worker(name) for name in ("a", "b", "c")]
    ticket = grid.ask(mode=ResumeMode.EXACT)
    for number, link in enumerate(links[:2]):
        grid.says(link, said(number))
        grid.dispatcher.disconnected(link, "killed")
        await turn()
    task = links[2].assigned()[0].task
    assert isinstance(task, ChatTask)
    assert task.resume == Resume(token_ids=(0, 1), mode=ResumeMode.EXACT)
    ticket.cancel("enough")


async def test_an_echoed_prompt_is_not_said_twice(grid: Grid) -> None:
    first, second = grid.worker("a"), grid.worker("b")
    ticket = grid.ask(CompletionTask(model=REF, prompt="hi", sampling=Sampling(), echo=True))
    grid.says(first, Tokens(seq=0, text="hi", token_ids=()))
    grid.dispatcher.disconnected(first, "killed")
    await turn()
    task = second.assigned()[0].task
    assert isinstance(task, CompletionTask)
    assert task.resume == Resume(token_ids=(), mode=ResumeMode.FAST)
    ticket.cancel("enough")


async def test_an_answer_lost_within_a_cut_text_fails_and_is_not_gone_on_with_a_hole(grid: Grid) -> None:
    first, second = grid.worker("a"), grid.worker("b")
    ticket = grid.ask(CompletionTask(model=REF, prompt="hi", sampling=Sampling(), echo=True))
    grid.says(first, Tokens(seq=0, text="h", token_ids=(), more=True))
    grid.dispatcher.disconnected(first, "killed")
    await turn()
    assert second.assigned() == []
    with pytest.raises(JobFailedError, match="lost"):
        await read(ticket)


async def test_an_echoed_prompt_in_pieces_is_not_said_twice(grid: Grid) -> None:
    first, second = grid.worker("a"), grid.worker("b")
    ticket = grid.ask(CompletionTask(model=REF, prompt="hi", sampling=Sampling(), echo=True))
    grid.says(first, Tokens(seq=0, text="h", token_ids=(), more=True), Tokens(seq=1, text="i", token_ids=()))
    grid.dispatcher.disconnected(first, "killed")
    await turn()
    task = second.assigned()[0].task
    assert isinstance(task, CompletionTask)
    assert task.resume == Resume(token_ids=(), mode=ResumeMode.FAST)
    ticket.cancel("enough")


async def test_embeddings_begin_anew_and_what_came_before_is_forgotten(grid: Grid) -> None:
    first, second = grid.worker("a"), grid.worker("b")
    task = EmbeddingTask(model=REF, inputs=("one", "two"))
    ticket = grid.ask(task)
    row = Vectors(first=0, width=1, data=b"1234")
    grid.says(first, row, row)
    answers = ticket.answers()
    assert await anext(answers) == row
    grid.dispatcher.disconnected(first, "killed")
    await turn()
    assert second.assigned()[0].task == task
    end = Finished(result=EmbeddingDone(width=1, prompt_tokens=2))
    grid.says(second, row, end)
    assert [answer async for answer in answers] == [Again(), row, end]


# --- silence


async def test_a_silent_worker_loses_its_answers_at_once_and_is_told_for_when_it_thaws(grid: Grid) -> None:
    frozen, other = grid.worker("a"), grid.worker("b")
    ticket = grid.ask()
    grid.says(frozen, said(1))
    grid.dispatcher.suspected(frozen, True)
    await turn()
    assert [(cancel.job_id, cancel.epoch) for cancel in frozen.cancelled()] == [(ticket.job_id, 1)]
    assert [assign.epoch for assign in other.assigned()] == [2]
    grid.says(frozen, said(2))
    grid.says(other, said(2), done(2))
    assert await read(ticket) == [said(1), said(2), done(2)]


async def test_a_worker_that_thaws_is_used_again(grid: Grid) -> None:
    frozen = grid.worker("a")
    ticket = grid.ask()
    grid.says(frozen, said(1))
    grid.dispatcher.suspected(frozen, True)
    await turn()
    assert len(frozen.assigned()) == 1
    grid.dispatcher.suspected(frozen, False)
    await turn()
    assert [assign.epoch for assign in frozen.assigned()] == [1, 2]
    grid.says(frozen, said(2), done(2))
    assert await read(ticket) == [said(1), said(2), done(2)]


@dataclass
class Lasting(Work):
    """A durable job: nobody waits for it now."""

    need: Need = field(default_factory=lambda: Need(JobId("job_d"), None, "", 10))
    task: PythonTask = field(default_factory=lambda: PythonTask(files=(), entry="main.py"))
    epoch: int = 0
    losses: list[str] = field(default_factory=list)

    def granted(self, link: WorkerLink) -> None:
        self.epoch += 1

    def message(self, link: WorkerLink, message: JobMessage, size: int) -> None:
        link.consumed(self.need.job_id, self.epoch, size)

    def lost(self, worker_id: WorkerId, why: str) -> None:
        self.losses.append(why)

    def refused(self, worker_id: WorkerId, why: str) -> None:
        self.losses.append(why)

    def hopeless(self, reasons: tuple[str, ...]) -> None:
        self.losses.append("hopeless")


async def test_a_durable_job_stays_with_a_silent_or_drained_worker(grid: Grid) -> None:
    link = grid.worker("a")
    grid.worker("b")
    work = Lasting()
    grid.dispatcher.submit(work)
    holder = link.worker.id if grid.dispatcher.holds(work.need.job_id, link.worker.id) else WorkerId("b")
    for link_ in grid.dispatcher.connections().values():
        grid.dispatcher.suspected(link_.link, True)
    grid.dispatcher.set_draining(holder, True)
    await turn()
    assert work.losses == []
    assert grid.dispatcher.holds(work.need.job_id, holder)


# --- yield and drain


async def test_a_drained_worker_hands_its_answers_over_at_once(grid: Grid) -> None:
    drained, other = grid.worker("a"), grid.worker("b")
    tickets = [grid.ask() for _ in range(4)]
    held = [assign.job_id for assign in drained.assigned()]
    assert held
    grid.dispatcher.set_draining(drained.worker.id, True)
    assert {cancel.job_id for cancel in drained.cancelled()} == set(held)
    assert {assign.job_id for assign in other.assigned()} == {ticket.job_id for ticket in tickets}
    assert any(isinstance(message, Drain) and message.on for message in drained.sent)
    for ticket in tickets:
        ticket.cancel("enough")


async def test_an_answer_that_has_nowhere_to_go_ends_on_the_drained_worker(grid: Grid) -> None:
    drained = grid.worker("a")
    ticket = grid.ask()
    grid.says(drained, said(1))
    grid.dispatcher.set_draining(drained.worker.id, True)
    await turn()
    assert drained.cancelled() == []
    grid.says(drained, said(2), done(2))
    assert await read(ticket) == [said(1), said(2), done(2)]


async def test_yielding_does_not_use_up_a_requests_attempts(grid: Grid) -> None:
    links = {name: grid.worker(name) for name in ("a", "b")}
    ticket = grid.ask()
    for _ in range(2 * ATTEMPTS + 1):
        holder = next(link for link in links.values() if grid.dispatcher.holds(ticket.job_id, link.worker.id))
        grid.says(holder, YIELD)
        await turn()
        assert not grid.dispatcher.holds(ticket.job_id, holder.worker.id)
    holder = next(link for link in links.values() if grid.dispatcher.holds(ticket.job_id, link.worker.id))
    grid.says(holder, done(0))
    assert await read(ticket) == [done(0)]


async def test_a_worker_that_refuses_the_rest_costs_no_pause_while_another_is_free(grid: Grid) -> None:
    first, second, third = (grid.worker(name) for name in ("a", "b", "c"))
    ticket = grid.ask()
    grid.says(first, said(1))
    grid.dispatcher.disconnected(first, "killed")
    await turn()
    holder, free = (second, third) if second.assigned() else (third, second)
    grid.dispatcher.refused(holder, Refuse(job_id=ticket.job_id, epoch=2, reason="just paused"))
    await turn()
    assert [assign.epoch for assign in free.assigned()] == [3]
    ticket.cancel("enough")


# --- an executor that dies with several answers in it


async def test_an_innocent_that_died_with_others_before_it_got_on_is_answered_alone(grid: Grid) -> None:
    """However often it was blamed before, up to the last time."""
    link = grid.worker("a")
    ticket = grid.ask()
    for crash in (*[CRASH] * (ATTEMPTS - 1), IN_COMPANY):
        assert not link.assigned()[-1].alone
        grid.says(link, Started(device="cpu"), crash)
        await turn()
    assert link.assigned()[-1].alone
    grid.says(link, said(1), done(1))
    assert (await read(ticket))[-2:] == [said(1), done(1)]


async def test_an_answer_that_got_on_before_its_executor_died_stays_among_the_others(grid: Grid) -> None:
    link = grid.worker("a")
    ticket = grid.ask()
    grid.says(link, said(1), IN_COMPANY)
    await turn()
    assert [assign.alone for assign in link.assigned()] == [False, False]
    grid.says(link, said(2), done(2))
    assert len(await read(ticket)) == 3


async def test_a_poison_answer_is_given_up_after_three_crashes_alone(grid: Grid) -> None:
    link = grid.worker("a")
    ticket = grid.ask()
    grid.says(link, IN_COMPANY)
    for _ in range(ATTEMPTS):
        await turn()
        assert link.assigned()[-1].alone
        grid.says(link, CRASH)
    with pytest.raises(JobFailedError, match="The engine died"):
        await read(ticket)
    assert len(link.assigned()) == 1 + ATTEMPTS


# --- when it ends all the same


async def test_three_losses_in_a_row_that_brought_nothing_end_the_answer(grid: Grid) -> None:
    link = grid.worker("a")
    ticket = grid.ask()
    grid.says(link, said(1), CRASH)
    for _ in range(ATTEMPTS):
        await turn()
        grid.says(link, CRASH)
    answers = ticket.answers()
    assert await anext(answers) == said(1)
    with pytest.raises(JobFailedError, match="The engine died"):
        await anext(answers)


async def test_losses_between_which_the_answer_grows_go_on(grid: Grid) -> None:
    link = grid.worker("a")
    ticket = grid.ask()
    for number in range(3 * ATTEMPTS):
        grid.says(link, said(number), CRASH)
        await turn()
    grid.says(link, done(3 * ATTEMPTS))
    assert len(await read(ticket)) == 3 * ATTEMPTS + 1


async def test_without_another_worker_the_answer_waits_and_goes_on_with_the_next_that_comes(grid: Grid) -> None:
    first = grid.worker("a")
    ticket = grid.ask()
    grid.says(first, said(1))
    grid.dispatcher.disconnected(first, "killed")
    await turn()
    second = grid.worker("b")
    await turn()
    grid.says(second, said(2), done(2))
    assert await read(ticket) == [said(1), said(2), done(2)]


async def test_a_client_whose_patience_ends_in_mid_answer_is_told_worker_lost(grid: Grid) -> None:
    link = grid.worker("a")
    ticket = grid.impatient().submit(KEY, MODEL, CHAT)
    grid.says(link, said(1))
    grid.dispatcher.disconnected(link, "killed")
    answers = ticket.answers()
    assert await anext(answers) == said(1)
    with pytest.raises(JobFailedError, match="none could go on within 0 s") as caught:
        await anext(answers)
    assert caught.value.code == "worker_lost"
    assert grid.tally.failed == 1


async def test_patience_is_not_renewed_by_a_worker_that_never_begins(grid: Grid) -> None:
    link = grid.worker("a")
    ticket = grid.impatient().submit(KEY, MODEL, CHAT)
    await asyncio.sleep(0.01)
    grid.dispatcher.disconnected(link, "killed")
    with pytest.raises((JobFailedError, NoWorkerError)):
        await anext(ticket.answers())


@pytest.mark.parametrize(
    "flood", [said(*range(65)), said(7, 1 << 40), said(-(1 << 40))], ids=["more than the context", "no id", "negative"]
)
async def test_a_worker_that_says_more_than_the_model_can_is_not_believed(grid: Grid, flood: Tokens) -> None:
    liar, other = grid.worker("a"), grid.worker("b")
    ticket = grid.ask()
    grid.says(liar, said(1), flood)
    await turn()
    task = other.assigned()[0].task
    assert isinstance(task, ChatTask)
    assert task.resume == Resume(token_ids=(1,), mode=ResumeMode.FAST)
    grid.says(other, said(2), done(2))
    assert await read(ticket) == [said(1), said(2), done(2)]


@pytest.mark.parametrize("waits", [False, True])
async def test_a_stop_tells_the_client_of_an_answer_that_runs_or_waits(grid: Grid, waits: bool) -> None:
    worker = grid.worker("a")
    ticket = grid.ask()
    grid.says(worker, Started(device="cpu"), said(1, 2))
    if waits:
        grid.dispatcher.disconnected(worker, "killed")
    grid.requests.stop()
    with pytest.raises(StoppingError):
        await read(ticket)
    assert grid.tally.failed == 1
    assert not grid.dispatcher.holds(ticket.job_id, worker.worker.id)
