"""Who is inside an executor at once: first come, first served, and one that has to be alone is."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from runner.serving.door import Door, Queue


def test_those_that_do_not_mind_company_are_inside_together() -> None:
    queue = Queue()
    numbers = [queue.come(alone=False) for _ in range(3)]
    assert all(queue.is_inside(number) for number in numbers)
    assert queue.open
    assert not queue.has_loner


def test_who_has_to_be_alone_waits_for_those_inside_and_newcomers_wait_behind_it() -> None:
    """Or a stream of newcomers would keep it out for ever."""
    queue = Queue()
    first, second = queue.come(alone=False), queue.come(alone=False)
    alone = queue.come(alone=True)
    late, later = queue.come(alone=False), queue.come(alone=False)
    assert not queue.open
    assert queue.leave(first) == []
    assert queue.leave(second) == [alone]
    assert queue.has_loner
    assert queue.leave(alone) == [late, later]
    assert queue.open


def test_who_leaves_the_queue_keeps_nobody_waiting() -> None:
    queue = Queue()
    inside = queue.come(alone=False)
    gives_up, late = queue.come(alone=True), queue.come(alone=False)
    assert queue.leave(gives_up) == [late]
    assert queue.leave(inside) == []
    assert queue.open


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40))
def test_a_loner_is_never_in_company_and_everybody_gets_in(steps: list[tuple[bool, int]]) -> None:
    """In any order of coming and leaving."""
    queue = Queue()
    here: list[int] = []
    loners: set[int] = set()
    for come, which in steps:
        if come or not here:
            here.append(queue.come(alone=which % 2 == 0))
            if which % 2 == 0:
                loners.add(here[-1])
        else:
            queue.leave(here.pop(which % len(here)))
        inside = {number for number in here if queue.is_inside(number)}
        assert not here or inside
        assert len(inside) == 1 or not inside & loners
        assert inside == set(sorted(here)[: len(inside)])
        assert queue.open == loners.isdisjoint(here)


async def test_a_cancelled_wait_lets_the_next_one_in() -> None:
    door = Door()
    entered: list[str] = []

    async def pass_through(name: str, *, alone: bool) -> None:
        async with door.entered(alone=alone) as waited:
            entered.append(f"{name} waited" if waited else name)

    async with door.entered(alone=False) as waited:
        assert not waited
        loner = asyncio.create_task(pass_through("loner", alone=True))
        other = asyncio.create_task(pass_through("other", alone=False))
        await asyncio.sleep(0)
        assert entered == []
        loner.cancel()
        await asyncio.gather(loner, other, return_exceptions=True)
        assert entered == ["other waited"]
    assert door.open
