"""A job's steps in the store: one after the other, and insisted on."""

import asyncio

import pytest

from coordinator import steps
from coordinator.errors import StateError
from coordinator.steps import Steps


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
