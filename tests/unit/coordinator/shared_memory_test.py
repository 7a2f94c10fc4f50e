"""Scripts and models that draw on the same memory: no lease is given that the worker would refuse for want of it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from msgspec.structs import replace as with_fields

from coordinator.dispatch.placement import Need
from coordinator.dispatch.scheduler import Grant, Scheduler
from gogrid.ids import JobId, Sha256, WorkerId
from gogrid.protocol.worker_report import Device, DeviceKind, LoadedModel, LoadingModel, LoadStage, WorkerReport
from tests.fakes.durable import REPORT

GB = 10**9
CAP = 3 * GB
MODEL = Sha256("a" * 64)
MODEL_BYTES = 12 * GB // 10
WORKER = WorkerId("w1")
SCRIPT = Need(JobId("script"), None, "", 21 * GB // 10, 1.0)
CHAT = Need(JobId("chat"), MODEL, "echo", MODEL_BYTES)
SHORT = "w1: the script needs 2.1 GB of memory and 1.8 GB is free"


def report(*kinds: DeviceKind, loaded: tuple[LoadedModel, ...] = (), loading: int | None = None) -> WorkerReport:
    """Args: loading: the bytes that the model holds that is on its way."""
    devices = tuple(Device(kind=kind, name="d", memory_bytes=2 * CAP, cap_bytes=CAP, why="") for kind in kinds)
    coming = LoadingModel(digest=MODEL, stage=LoadStage.LOADING, fraction=0.5, memory_bytes=loading or 0)
    return with_fields(REPORT, devices=devices, loaded=loaded, loading=() if loading is None else (coming,))


def loaded(*, running: int = 0, kept: bool = False) -> LoadedModel:
    return LoadedModel(digest=MODEL, memory_bytes=MODEL_BYTES, running=running, slots=4, kept=kept)


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made = Scheduler(lease_s=30.0)
    made.joined(WORKER, "w1", draining=False)
    yield made
    made.check()


def test_a_script_is_not_leased_over_and_over_to_a_worker_whose_model_is_loading(scheduler: Scheduler) -> None:
    scheduler.reported(WORKER, report(DeviceKind.CPU, loading=MODEL_BYTES))
    scheduler.add(SCRIPT)
    assert scheduler.place(0.0) == []
    assert scheduler.reasons(SCRIPT.job_id) == (SHORT,)
    scheduler.reported(WORKER, report(DeviceKind.CPU))
    assert scheduler.place(1.0) == [Grant(SCRIPT.job_id, WORKER)]


def test_a_script_is_not_leased_the_memory_of_a_model_that_the_worker_has_not_told_of_yet(scheduler: Scheduler) -> None:
    scheduler.reported(WORKER, report(DeviceKind.CPU))
    scheduler.add(CHAT)
    assert scheduler.place(0.0) == [Grant(CHAT.job_id, WORKER)]
    scheduler.add(SCRIPT)
    assert scheduler.place(0.0) == []
    assert scheduler.reasons(SCRIPT.job_id) == (SHORT,)
    scheduler.reported(WORKER, report(DeviceKind.CPU, loaded=(loaded(running=1),)))
    assert scheduler.place(1.0) == []
    scheduler.remove(CHAT.job_id)
    scheduler.reported(WORKER, report(DeviceKind.CPU, loaded=(loaded(),)))
    assert scheduler.place(2.0) == [Grant(SCRIPT.job_id, WORKER)]


@pytest.mark.parametrize("model", [loaded(kept=True), loaded(running=1)], ids=["in its turn", "at work"])
def test_a_script_does_not_get_the_memory_of_a_model_that_the_worker_keeps(
    scheduler: Scheduler, model: LoadedModel
) -> None:
    scheduler.reported(WORKER, report(DeviceKind.CPU, loaded=(model,)))
    scheduler.add(SCRIPT)
    assert scheduler.place(0.0) == []
    assert scheduler.reasons(SCRIPT.job_id) == (SHORT,)
    scheduler.reported(WORKER, report(DeviceKind.CPU, loaded=(loaded(),)))
    assert scheduler.place(1.0) == [Grant(SCRIPT.job_id, WORKER)]


def test_models_on_a_gpu_take_nothing_from_scripts(scheduler: Scheduler) -> None:
    scheduler.reported(WORKER, report(DeviceKind.CUDA, DeviceKind.CPU, loaded=(loaded(running=1),)))
    scheduler.add(SCRIPT)
    assert scheduler.place(0.0) == [Grant(SCRIPT.job_id, WORKER)]


def test_a_model_is_not_leased_to_a_worker_whose_scripts_have_its_memory(scheduler: Scheduler) -> None:
    scheduler.reported(WORKER, report(DeviceKind.CPU))
    scheduler.add(SCRIPT)
    assert scheduler.place(0.0) == [Grant(SCRIPT.job_id, WORKER)]
    scheduler.add(CHAT)
    assert scheduler.place(0.0) == []
    assert scheduler.reasons(CHAT.job_id) == (
        "w1: the model needs 1.2 GB of memory and 900 MB is free beside its scripts",
    )
    scheduler.remove(SCRIPT.job_id)
    assert scheduler.place(1.0) == [Grant(CHAT.job_id, WORKER)]


def test_a_refused_job_says_why_it_was_refused_and_when_it_is_tried_again(scheduler: Scheduler) -> None:
    scheduler.reported(WORKER, report(DeviceKind.CPU))
    scheduler.add(replace(SCRIPT, not_before=4.0, refusal="the script needs 2.1 GB of memory and 1.8 GB is free"))
    assert scheduler.place(0.0) == []
    assert scheduler.reasons(SCRIPT.job_id) == (
        "the script needs 2.1 GB of memory and 1.8 GB is free; it is tried again in 4 s",
    )
