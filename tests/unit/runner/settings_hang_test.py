"""What lies under, or in the place of, `config.toml` while a worker runs: it freezes and ends nothing."""

import asyncio
import os
import sys
import threading
from pathlib import Path

import pytest

from runner.aside import Aside
from runner.config import WorkerConfig
from runner.control_messages import AskReload, AskStatus, Done, Refused, WorkerStatus
from runner.probes.all import Machine
from runner.probes.base import Cpu, EngineBuild
from runner.settings_file import FileStamp
from runner.settings_source import SettingsSource
from tests.unit.runner.app_guard_test import GB, made


async def test_a_disk_that_hangs_under_the_settings_freezes_no_running_worker(tmp_path: Path) -> None:
    hangs = threading.Event()

    class Hanging(SettingsSource):
        def load(self) -> WorkerConfig:
            hangs.wait()
            return super().load()

    runner = await made(tmp_path, Machine(Cpu("c", 2, 16 * GB), EngineBuild(True, True), ()))
    places = runner._places
    settings, ask = runner._settings, runner._control._respond
    settings._source, settings._aside = Hanging(places, {}, {}), Aside(longest_s=0.05)
    answer = await ask(AskReload())
    assert isinstance(answer, Refused)
    assert "has not answered" in answer.reason
    status = await ask(AskStatus())
    assert isinstance(status, WorkerStatus)
    assert "has not answered" in status.settings_trouble
    hangs.set()
    settings._aside = Aside()
    assert await ask(AskReload()) == Done()
    assert settings.trouble == ""


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of Unix")
async def test_a_pipe_in_the_settings_place_leaves_the_settings_as_they_were(tmp_path: Path) -> None:
    runner = await made(tmp_path, Machine(Cpu("c", 2, 16 * GB), EngineBuild(True, True), ()))
    (tmp_path / "config.toml").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "config.toml")
    assert "no regular file" in await runner._settings.reload()
    (tmp_path / "config.toml").unlink()
    (tmp_path / "config.toml").write_text("[worker]\nexclusive_apps = " + "[" * 20_000)
    assert "too deep" in await runner._settings.reload()
    (tmp_path / "config.toml").write_text("")
    assert await runner._settings.reload() == ""


async def test_a_disk_that_hangs_under_the_look_at_the_settings_is_told_of_until_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()

    class Hanging(FileStamp):
        def changed(self) -> bool:
            answers.wait()
            return False

    monkeypatch.setattr("runner.live_settings.FileStamp", Hanging)
    monkeypatch.setattr("runner.live_settings.LONGEST_S", 0.02)
    runner = await made(tmp_path, Machine(Cpu("c", 2, 16 * GB), EngineBuild(True, True), ()))
    settings = runner._settings
    told, fine = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    class Telling(SettingsSource):
        def stay(self, trouble: str) -> None:
            super().stay(trouble)
            told.set()

        def load(self) -> WorkerConfig:
            config = super().load()
            loop.call_soon_threadsafe(fine.set)
            return config

    settings._source = Telling(runner._places, {}, {})
    watching = asyncio.create_task(settings.watch())
    await told.wait()
    assert "has not answered" in settings.trouble
    answers.set()
    await fine.wait()
    assert settings.trouble == ""
    watching.cancel()
