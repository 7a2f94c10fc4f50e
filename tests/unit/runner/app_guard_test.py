"""The runner starts nothing past its memory guard, and tells it what its owner lends."""

from dataclasses import replace
from pathlib import Path

from gogrid.places import worker_places
from gogrid.protocol.worker_report import DeviceKind
from runner.app import _Runner
from runner.config import load_config
from runner.engine_pack.choice import PackChoice
from runner.probes.all import Machine
from runner.probes.base import Cpu, EngineBuild, Gpu, GpuFindings
from runner.serving.memory_guard import Caps
from runner.serving.watched_launcher import WatchedLauncher
from runner.settings_source import SettingsSource
from runner.survey import Survey
from tests.fakes.memberships import membership_of_the_gone
from tests.fakes.plain_launcher import PlainLauncher
from tests.unit.runner.engine_shelf_test import pack

GB = 10**9


async def made(folder: Path, machine: Machine) -> _Runner:
    places = worker_places(
        config=folder / "config.toml", data=folder, environment={}, platform="linux", home=folder, user=1
    )
    launcher = PlainLauncher()
    config = load_config(places, flags={}, environment={})
    survey = Survey(machine, replace(launcher.report, gpus=("GPU-1",)), "")
    return _Runner(SettingsSource(places, {}, {}), config, places, membership_of_the_gone(), survey, launcher)


async def test_models_and_scripts_start_under_the_guard(tmp_path: Path) -> None:
    runner = await made(tmp_path, Machine(Cpu("c", 2, 16 * GB), EngineBuild(True, False), ()))
    assert runner._parts is not None
    for launcher in (runner._parts.pool._bringer._launcher, runner._parts.scripts._launcher):
        assert isinstance(launcher, WatchedLauncher)
        assert launcher._guard is runner._guard
    assert runner._guard.caps == Caps(8 * GB)


async def test_a_changed_limit_reaches_the_guard(tmp_path: Path) -> None:
    gpu = Gpu(DeviceKind.CUDA, "RTX", "GPU-1", 24 * GB, 0)
    machine = Machine(Cpu("c", 2, 16 * GB), EngineBuild(True, True), (GpuFindings(DeviceKind.CUDA, (gpu,), ""),))
    runner = await made(tmp_path, machine)
    (tmp_path / "config.toml").write_text("[worker]\nmax_vram = '6GB'\nmax_ram = '25%'\n")
    assert await runner._settings.reload() == ""
    assert runner._guard.caps == Caps(4 * GB, 6 * GB)
    (tmp_path / "config.toml").write_text("[worker]\nmax_vram = '6'\n")
    assert "worker.max_vram = '6'" in await runner._settings.reload()


async def test_the_models_have_what_the_engine_leaves_of_the_disk_that_is_lent(tmp_path: Path) -> None:
    used = pack("linux-x86_64-cpu")
    machine = Machine(Cpu("c", 2, 16 * GB), EngineBuild(True, False), (), PackChoice(used, "torch"))
    runner = await made(tmp_path, machine)
    assert used.manifest.unpacked > 0
    assert runner._cache._cap == runner._settings.config.disk_cap - used.manifest.unpacked
    runner._cache.open()
    (tmp_path / "config.toml").write_text("[worker]\ndisk_cap = '1GB'\n")
    assert await runner._settings.reload() == ""
    assert runner._cache._cap == GB - used.manifest.unpacked


async def test_no_engine_is_fetched_while_the_worker_is_held_or_its_owner_wants_no_updates(tmp_path: Path) -> None:
    runner = await made(tmp_path, Machine(Cpu("c", 2, 16 * GB), EngineBuild(False, False), ()))
    assert runner._no_fetching() == ""
    runner._work.holds.gates = ("the computer is in use",)
    assert runner._no_fetching() == "the computer is in use"
    (tmp_path / "config.toml").write_text("[updates]\nenabled = false\n")
    assert await runner._settings.reload() == ""
    assert "switched off" in runner._no_fetching()
