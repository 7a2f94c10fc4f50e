"""A job's steps in the store: one after the other, and insisted on."""

import asyncio

import pytest

from coordinator.durable import steps
from coordinator.durable.steps import Batch, Steps
from coordinator.errors import StateError


async def settle(running: set[asyncio.Task[None]]) -> None:
    while running:
        await asyncio.wait(running, timeout=5)


async def test_a_step_never_overtakes_the_one_before_it() -> None:
    running: set[asyncio.Task[None]] = set()
    seen: list[int] = []
    made = Steps(running)

    async def step(number: int) -> None:
        for _ in range(5 - number):
            await asyncio.sleep(0)
        seen.append(number)

    for number in range(5):
        made.add(lambda number=number: step(number))  # type: ignore[misc]
    await settle(running)
    assert seen == [0, 1, 2, 3, 4]


async def test_a_step_that_the_store_refuses_is_tried_until_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "STORE_RETRY_S", 0.0)
    running: set[asyncio.Task[None]] = set()
    tries: list[str] = []
    made = Steps(running)

    async def refused_twice() -> None:
        tries.append("first")
        if len(tries) < 3:
            raise StateError("disk full")

    async def after() -> None:
        tries.append("second")

    made.add(refused_twice)
    made.add(after)
    await settle(running)
    assert tries == ["first", "first", "first", "second"]


async def test_nothing_happens_while_held_and_nothing_after_it_is_dropped() -> None:
    running: set[asyncio.Task[None]] = set()
    seen: list[str] = []
    made = Steps(running)

    async def step() -> None:
        seen.append("x")

    made.hold()
    made.add(step)
    await asyncio.sleep(0)
    assert seen == []
    made.go()
    await settle(running)
    assert seen == ["x"]
    made.hold()
    made.add(step)
    made.drop()
    made.go()
    await settle(running)
    assert seen == ["x"]


async def test_the_items_of_one_turn_are_done_together_and_the_next_turns_apart() -> None:
    done: list[list[int]] = []

    async def do(items: list[int]) -> None:
        done.append(items)

    running: set[asyncio.Task[None]] = set()
    batch = Batch(do, running)
    jobs = [Steps(running) for _ in range(3)]
    for number, job in enumerate(jobs):
        job.add_to(batch, number)
        job.add_to(batch, number + 10)
    assert not done
    await settle(running)
    assert done == [[0, 1, 2], [10, 11, 12]]


async def test_a_batch_that_the_store_refuses_is_done_again_as_a_whole_before_any_jobs_next_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps, "STORE_RETRY_S", 0.0)
    said: list[object] = []

    async def do(items: list[int]) -> None:
        said.append(items)
        if len(said) == 1:
            raise StateError("the disk is full")

    async def after() -> None:
        said.append("after")

    running: set[asyncio.Task[None]] = set()
    batch = Batch(do, running)
    one, two = Steps(running), Steps(running)
    one.add_to(batch, 1)
    two.add_to(batch, 2)
    one.add(after)
    await settle(running)
    assert said == [[1, 2], [1, 2], "after"]


async def test_what_is_batched_is_seen_by_whoever_waits_for_the_store() -> None:
    async def do(items: list[int]) -> None:
        await asyncio.sleep(0)

    running: set[asyncio.Task[None]] = set()
    Steps(running).add_to(Batch(do, running), 1)
    assert running
    await asyncio.wait(running)
