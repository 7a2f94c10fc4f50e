"""Blocking work beside the event loop: a thread for each piece at once, kept a while for the next."""

import asyncio
import threading

import pytest

from runner import threads
from runner.threads import in_thread


def here(_stop: threading.Event) -> tuple[int, str]:
    return threading.get_ident(), threading.current_thread().name


async def test_a_look_that_repeats_starts_no_thread_each_time() -> None:
    first, name = await in_thread(here, "look")
    assert name == "look"
    assert {(await in_thread(here, "look"))[0] for _ in range(5)} == {first}


async def test_work_that_hangs_holds_up_no_other() -> None:
    go_on = threading.Event()
    hanging = [asyncio.create_task(in_thread(lambda _stop: go_on.wait(10), "hangs")) for _ in range(3)]
    await asyncio.sleep(0)
    assert (await in_thread(here, "look"))[1] == "look"
    go_on.set()
    assert await asyncio.gather(*hanging) == [True] * 3


async def test_what_work_raises_is_raised_and_its_thread_serves_on() -> None:
    seen: list[int] = []

    def fail(_stop: threading.Event) -> None:
        seen.append(threading.get_ident())
        raise SystemExit("no")

    with pytest.raises(SystemExit):
        await in_thread(fail, "fails")
    assert (await in_thread(here, "look"))[0] == seen[0]


async def test_a_spare_thread_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_SPARE_S", 0.01)
    monkeypatch.setattr(threads, "_threads", threads._Threads())
    ident, _ = await in_thread(here, "look")
    async with asyncio.timeout(5):
        while any(thread.ident == ident for thread in threading.enumerate()):
            await asyncio.sleep(0.01)
    assert (await in_thread(here, "look"))[1] == "look"


async def test_a_caller_that_is_cancelled_tells_its_work() -> None:
    told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(
        in_thread(lambda stop: loop.call_soon_threadsafe(told.set_result, stop.wait(10)), "waits")
    )
    await asyncio.sleep(0)
    task.cancel()
    assert await told
