"""What is told of an engine on its way, which pack is used, and which may go: pure functions."""

from pathlib import Path

import pytest

from gogrid.protocol.worker_report import DeviceKind, Readiness
from runner.config import DeviceChoice
from runner.engine_pack.choice import choose_pack
from runner.engine_pack.ledger import Fetched, Ledger, added, load_ledger, save_ledger, served, superseded
from runner.engine_pack.progress import EngineProgress, Stage
from runner.engine_pack.shelf import EnginePackError
from runner.engine_pack.start import engine_keeper, pack_target
from runner.facts import Facts
from runner.probes.all import Machine
from runner.probes.base import Cpu, EngineBuild, Gpu, GpuFindings
from runner.probes.choose import Chosen
from tests.unit.runner.engine_shelf_test import pack
from updates.engine_pack.system import this_system

A, B, C = "a" * 64, "b" * 64, "c" * 64
CPU = Cpu("c", 2, 1 << 34)


def test_the_words_say_how_far_it_is() -> None:
    coming = EngineProgress(Stage.FETCHING, lacking=True, arrived=135_240_000, size=322_000_000)
    assert coming.words == "fetching its engine: 42 % of 322 MB"
    assert coming.note == "no engine yet: fetching (42 %)"
    newer = EngineProgress(Stage.FETCHING, arrived=1, size=2_000_000)
    assert newer.words == "fetching a newer engine: 0 % of 2.0 MB"
    assert newer.note == ""  # it works with the one it has
    assert EngineProgress(Stage.REST, lacking=True).note == ""
    away = EngineProgress(Stage.WAITING, lacking=True)
    assert (away.words, away.note) == ("no engine yet: the coordinator is not reached", "no engine yet")
    failed = EngineProgress(Stage.FAILED, lacking=True, sentence="The disk is full.")
    assert (failed.note, failed.trouble) == ("no engine: The disk is full.", True)
    ready = EngineProgress(Stage.READY, lacking=True)
    assert ready.note.startswith("no engine yet: its engine is here")


@pytest.mark.parametrize(("scripts", "readiness"), [(True, Readiness.READY), (False, Readiness.UNABLE)])
def test_without_an_engine_a_worker_still_takes_scripts(scripts: bool, readiness: Readiness) -> None:
    note = "no engine yet: fetching (42 %)"
    device = Chosen(DeviceKind.CPU, (), 1, "CPU", ())
    facts = Facts("s", "h", "p", device, (), 1, 1, "bwrap", scripts, "", engine_note=note)
    assert facts.standing == (readiness, "ready" if scripts else note)


def test_a_newer_release_is_used_also_where_its_torch_is_older() -> None:
    before, now = pack("linux-x86_64-cpu", version="2.14.0"), pack("linux-x86_64-cpu", version="2.13.0")
    before, now = type(before)(Path(A), before.manifest), type(now)(Path(B), now.manifest)
    seqs = {A: 3, B: 4}
    assert choose_pack((before, now), "linux-x86_64", "cp311", "cpu", seqs).pack is now
    assert choose_pack((before, now), "linux-x86_64", "cp311", "cpu").pack is before


def test_older_packs_go_only_after_the_newer_one_has_served_and_its_owners_never() -> None:
    ledger = added(added(Ledger(), Fetched(sha256=A, seq=3, version="1")), Fetched(sha256=B, seq=4, version="2"))
    assert superseded(ledger, B) == ()
    assert superseded(served(ledger, B), B) == (A,)
    assert superseded(served(ledger, A), A) == ()  # the newer one waits to be used
    assert superseded(served(ledger, B), C) == ()


def test_what_is_remembered_outlives_the_process_and_damage_is_said(tmp_path: Path) -> None:
    ledger = added(Ledger(), Fetched(sha256=A, seq=3, version="1"))
    assert load_ledger(tmp_path) == Ledger()
    save_ledger(tmp_path, ledger)
    assert load_ledger(tmp_path) == ledger
    (tmp_path / "fetched.json").write_bytes(b"{")
    with pytest.raises(EnginePackError, match="remove it"):
        load_ledger(tmp_path)


def test_the_target_follows_the_hardware_and_its_owner() -> None:
    gpu = Gpu(DeviceKind.CUDA, "RTX", "GPU-1", 1 << 34, 0)
    plain = Machine(CPU, EngineBuild(False, False), (GpuFindings(DeviceKind.CUDA, (), "no NVIDIA driver"),))
    with_gpu = Machine(CPU, EngineBuild(False, False), (GpuFindings(DeviceKind.CUDA, (gpu,), ""),))
    assert pack_target(plain, DeviceChoice.AUTO) == f"{this_system()}-cpu"
    assert pack_target(with_gpu, DeviceChoice.AUTO) == f"{this_system()}-cuda"
    assert pack_target(with_gpu, DeviceChoice.CPU) == f"{this_system()}-cpu"


def test_a_worker_with_torch_of_its_own_or_without_root_keys_fetches_nothing(tmp_path: Path) -> None:
    around = object()
    own = Machine(CPU, EngineBuild(True, False), ())
    none = Machine(CPU, EngineBuild(False, False), ())
    for machine, publisher in ((own, tmp_path), (none, None)):
        made = engine_keeper(machine, tmp_path, publisher, DeviceChoice.AUTO, lambda: 1, around)  # type: ignore[arg-type]
        assert made is None
    assert engine_keeper(none, tmp_path, tmp_path, DeviceChoice.AUTO, lambda: 1, around) is not None  # type: ignore[arg-type]
