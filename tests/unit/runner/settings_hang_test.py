"""What lies under, or in the place of, `config.toml` while a worker runs: it freezes and ends nothing."""

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
