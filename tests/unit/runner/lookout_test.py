"""The look at the settings' file: it costs nothing while there is no news, and one that hangs is known to."""

import asyncio
import threading
from pathlib import Path

from runner.lookout import Lookout
from runner.settings_file import FileStamp
from runner.threads import in_thread


async def test_a_changed_file_ends_the_wait_and_is_told_from_the_others(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    lookout = Lookout(FileStamp(one), FileStamp(other), every_s=0.001)
    looking = asyncio.create_task(in_thread(lookout.until_changed, "look"))
    other.write_text("x")
    assert await looking == (False, True)
    one.write_text("x")
    assert await in_thread(lookout.until_changed, "look") == (True, False)


def test_the_lookout_ends_when_nobody_waits_any_more(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    assert Lookout(FileStamp(tmp_path / "none")).until_changed(stop) == (False,)


async def test_a_look_at_a_disk_that_hangs_is_known_to_hang(tmp_path: Path) -> None:
    began, answers = threading.Event(), threading.Event()

    class Hanging(FileStamp):
        def changed(self) -> bool:
            began.set()
            answers.wait()
            return True

    now = [100.0]
    lookout = Lookout(Hanging(tmp_path / "config.toml"), every_s=0.001, clock=lambda: now[0])
    assert not lookout.hangs(3.0)
    looking = asyncio.create_task(in_thread(lookout.until_changed, "look"))
    await asyncio.to_thread(began.wait)
    now[0] = 102.9
    assert not lookout.hangs(3.0)
    now[0] = 103.0
    assert lookout.hangs(3.0)
    answers.set()
    assert await looking == (True,)
    assert not lookout.hangs(3.0)
