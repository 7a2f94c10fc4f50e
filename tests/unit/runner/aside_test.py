"""A disk that hangs under the settings: whoever waits for it is told in time, and the event loop never waits."""

import asyncio
import threading

import pytest

from gogrid.errors import ConfigError
from runner.aside import Aside


async def test_a_disk_that_hangs_holds_up_neither_the_loop_nor_whoever_asks() -> None:
    aside, answers = Aside(longest_s=0.05), threading.Event()
    for _ in range(3):
        with pytest.raises(ConfigError, match="has not answered for"):
            await aside.do(answers.wait)
    assert sum(thread.name == "settings" for thread in threading.enumerate()) == 1
    answers.set()
    while any(thread.name == "settings" for thread in threading.enumerate()):
        await asyncio.sleep(0.01)
    assert await aside.do(lambda: "read") == "read"


async def test_what_goes_wrong_in_time_is_told_as_it_is() -> None:
    def fails() -> None:
        raise ConfigError("worker.name = '' is not usable")

    with pytest.raises(ConfigError, match=r"worker\.name"):
        await Aside().do(fails)
    assert await asyncio.gather(*(Aside().do(lambda n=n: n) for n in range(3))) == [0, 1, 2]  # type: ignore[misc]
