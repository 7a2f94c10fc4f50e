"""The owner lends more or less while the worker runs: what no longer fits gives its memory back at once."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogrid.errors import ConfigError
from gogrid.ids import Sha256
from gogrid.places import WorkerPlaces, worker_places
from gogrid.protocol.job_messages import FailCode, Failed, Finished
from gogrid.protocol.worker_report import DeviceKind
from runner.config import load_config
from runner.facts import Facts
from runner.models.residence import Resident, crowded_out
from runner.probes.all import Machine
from runner.probes.base import Cpu, EngineBuild, Gpu, GpuFindings
from runner.reporter import Reporter
from runner.serving.capacity import beyond
from runner.settings_file import FileStamp, change_setting
from runner.survey import Survey, taken_up
from tests.fakes.worker_bench import CPU, FACTS, begun, bench, ended, until


def lending(cap: int) -> Facts:
    device = replace(FACTS.device, cap_bytes=cap, devices=(type(CPU)(**{**_fields(CPU), "cap_bytes": cap}),))
    return replace(FACTS, device=device, script_memory=cap)


def _fields(device: object) -> dict[str, object]:
    return {name: getattr(device, name) for name in device.__struct_fields__}  # type: ignore[attr-defined]


async def test_a_lower_limit_closes_what_does_not_fit_and_its_answers_go_on_elsewhere(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        kept, leaving = b.blobs.echo_model(300), b.blobs.echo_model(300, 1)
        stays, also = (b.chat(kept, "#echo chunks=150 delay_ms=4\nx") for _ in range(2))
        goes = b.chat(leaving, "#echo chunks=10000 delay_ms=2\nx")
        await until(lambda: begun(stays) and begun(also) and begun(goes))
        b.pool._entries[kept].memory_bytes = b.pool._entries[leaving].memory_bytes = 300
        b.work.lend(lending(500))
        assert goes.last == Failed(code=FailCode.YIELDED, message="The worker's owner lends less memory now.")
        assert {job.assign.task.model.digest for job in b.work.jobs} == {kept}  # type: ignore[union-attr]
        async with asyncio.timeout(1.0):
            await until(lambda: [model.digest for model in b.pool.loaded] == [kept] and b.launcher.alive == 1)
        await ended(stays, also)
        assert isinstance(stays.last, Finished)


async def test_what_starts_after_a_change_gets_its_share_of_the_new_limit(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        b.work.lend(lending(500))
        await ended(b.chat(b.blobs.echo_model(300), "x"))
        assert b.launcher.specs[-1].memory_bytes == 500


async def test_the_report_says_the_new_limit_at_once(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        told: list[int] = []
        reporter = Reporter(lambda report: told.append(report.devices[0].cap_bytes), b.work.report)
        b.work.changed = reporter.changed
        reporter.changed()
        await until(lambda: told == [1000])
        b.work.lend(lending(400))
        async with asyncio.timeout(0.5):
            await until(lambda: told == [1000, 400])
        reporter.close()


async def test_a_model_that_is_still_loading_gives_way_too(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(600)
        waiting = b.chat(digest, "x")
        await until(lambda: b.launcher.alive == 1)
        b.work.lend(lending(500))
        await ended(waiting)
        assert isinstance(waiting.last, Failed)
        assert waiting.last.code is FailCode.YIELDED
        await until(lambda: b.launcher.alive == 0 and b.pool.memory_held == 0)


async def test_a_model_whose_start_was_ended_before_it_began_holds_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(600)
        b.pool._waiting.want(digest, await b.cache.manifest(digest))
        b.pool.look()
        assert b.pool.memory_held == 600
        b.pool.end(b.pool.relimit(500, 1))  # within one turn of the event loop: its task has not run a step
        await until(lambda: b.pool.memory_held == 0)
        b.pool.relimit(1000, 1)
        again = b.chat(digest, "y")
        await ended(again)
        assert isinstance(again.last, Finished)


async def test_a_raised_limit_lets_a_model_in_that_was_too_large(tmp_path: Path) -> None:
    async with bench(tmp_path / "m", facts=lending(500)) as b:
        digest = b.blobs.echo_model(600)
        refused = b.chat(digest, "x")
        await ended(refused)
        assert isinstance(refused.last, Failed)
        b.work.lend(lending(1000))
        served = b.chat(digest, "x")
        await ended(served)
        assert isinstance(served.last, Finished)


resident = st.builds(
    Resident,
    digest=st.uuids().map(lambda number: Sha256(str(number))),
    memory_bytes=st.integers(0, 100),
    users=st.integers(0, 3),
    last_used=st.floats(0, 10),
    closing=st.booleans(),
)


@given(st.lists(resident, max_size=6), st.integers(0, 300), st.integers(0, 100))
def test_what_stays_fits_and_nobody_goes_for_nothing(residents: list[Resident], cap: int, held: int) -> None:
    gone = crowded_out(residents, cap, held)
    stay = [one for one in residents if one.digest not in gone and not one.closing]
    assert not any(one.closing for one in residents if one.digest in gone)
    assert not stay or held + sum(one.memory_bytes for one in stay) <= cap
    if gone:
        last = next(one for one in residents if one.digest == gone[-1])
        assert held + sum(one.memory_bytes for one in stay) + last.memory_bytes > cap


def test_models_at_leisure_go_before_those_that_serve() -> None:
    idle, old = Resident(Sha256("i"), 10, 0, 5.0), Resident(Sha256("o"), 10, 0, 1.0)
    busy = Resident(Sha256("b"), 10, 2, 0.0)
    assert crowded_out([busy, idle, old], 25, 0) == ("o",)
    assert crowded_out([busy, idle, old], 15, 0) == ("o", "i")


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 50)), max_size=6), st.integers(0, 200))
def test_the_youngest_scripts_end_first(scripts: list[tuple[float, int]], lent: int) -> None:
    ends = beyond(scripts, lent)
    stay = [scripts[place] for place in range(len(scripts)) if place not in ends]
    assert sum(memory for _, memory in stay) <= lent or not stay
    assert all(scripts[place][0] >= began for place in ends for began, _ in stay)


# --- where the new limit comes from ---

GPU = Gpu(DeviceKind.CUDA, "RTX 4090", "GPU-1", 24 * 10**9, 0)
MACHINE = Machine(Cpu("CPU", 8, 16 * 10**9), EngineBuild(True, True), (GpuFindings(DeviceKind.CUDA, (GPU,), ""),))


@pytest.fixture
def places(tmp_path: Path) -> WorkerPlaces:
    return worker_places(
        config=tmp_path / "config.toml", data=tmp_path, environment={}, platform="linux", home=tmp_path, user=1
    )


def test_new_settings_make_new_facts_but_never_another_device(places: WorkerPlaces) -> None:
    survey = Survey(MACHINE, None, "a test")
    config = load_config(places, flags={}, environment={})
    assert survey.facts(config).device.cap_bytes == int(24e9 * 0.9)
    flags = {"worker.max_vram": "6GB", "worker.max_ram": "1GB", "worker.cpu_cores": 3, "worker.device": "cpu"}
    fresh = load_config(places, flags=flags, environment={})
    facts = survey.facts(taken_up(config, fresh))
    assert (facts.device.cap_bytes, facts.script_memory, facts.cores) == (6 * 10**9, 10**9, 3)
    assert facts.device.kind is DeviceKind.CUDA


def test_a_setting_is_written_beside_what_is_there(places: WorkerPlaces) -> None:
    places.config.write_text("# mine\n[worker]\nmax_vram_gb = 8.0 # the old one\nname = 'a'\n")
    stamp = FileStamp(places.config)
    assert not stamp.changed()
    assert change_setting(places.config, "max-vram", "6GB").setting.key == "worker.max_vram"
    assert stamp.changed()
    assert not stamp.changed()
    text = places.config.read_text()
    assert "# mine" in text
    assert "max_vram_gb" not in text
    assert load_config(places, flags={}, environment={}).max_vram.bytes == 6 * 10**9


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_vram", "6", "worker.max_vram = '6' is not usable: it must be a share such as 80%"),
        ("max_vram", "lots", "must be a share such as 80%"),
        ("max_memory", "6GB", "There is no setting 'max_memory'; did you mean worker.max_ram?"),
    ],
)
def test_a_setting_that_is_not_allowed_is_not_written(places: WorkerPlaces, name: str, value: str, words: str) -> None:
    places.config.write_text("[worker]\nname = 'a'\n")
    with pytest.raises(ConfigError) as refused:
        change_setting(places.config, name, value)
    assert words in str(refused.value)
    assert places.config.read_text() == "[worker]\nname = 'a'\n"
