"""`worker.gpu`: the GPU that its owner names, and never another one in silence."""

import pytest

from gogrid.protocol.worker_report import DeviceKind
from runner.config import DeviceChoice
from runner.limits import Limit
from runner.probes.base import Cpu, EngineBuild, Gpu, GpuFindings
from runner.probes.choose import Chosen, choose_device

GB = 10**9
RTX = Gpu(DeviceKind.CUDA, "NVIDIA RTX 4090", "GPU-aa11", 24 * GB, 0)
OLD = Gpu(DeviceKind.CUDA, "NVIDIA GTX 1060", "GPU-bb22", 6 * GB, 0)
BOTH = GpuFindings(DeviceKind.CUDA, (RTX, OLD), "")
NONE = GpuFindings(DeviceKind.CUDA, (), "no NVIDIA driver")


def choose(
    gpu: str,
    findings: GpuFindings = BOTH,
    wanted: DeviceChoice = DeviceChoice.AUTO,
    sandboxed: tuple[str, ...] = ("GPU-aa11", "GPU-bb22"),
) -> Chosen:
    limits = (Limit(share=0.5), Limit(bytes=4 * GB))
    return choose_device(wanted, Cpu("c", 8, 16 * GB), (findings,), EngineBuild(True, True), *limits, sandboxed, gpu)


@pytest.mark.parametrize("name", ["1", "GPU-bb22", "gpu-bb", "GTX 1060", "gtx"])
def test_it_is_named_by_number_uuid_or_name(name: str) -> None:
    chosen = choose(name)
    assert (chosen.gpus, chosen.cap_bytes, chosen.problem) == (("GPU-bb22",), 3 * GB, "")
    assert chosen.why == "NVIDIA GTX 1060: chosen by its owner"
    assert [device.name for device in chosen.devices if device.usable] == ["NVIDIA GTX 1060"]
    assert choose("").gpus == ("GPU-aa11",)


def test_of_several_that_are_meant_the_largest_is_taken() -> None:
    assert choose("nvidia").gpus == ("GPU-aa11",)


@pytest.mark.parametrize(
    ("name", "findings", "sandboxed", "reason"),
    [
        ("2", BOTH, ("GPU-aa11", "GPU-bb22"), "there is no such GPU; there are 0: NVIDIA RTX 4090, 1: NVIDIA GTX 1060"),
        ("Radeon", BOTH, ("GPU-aa11", "GPU-bb22"), "there is no such GPU"),
        ("0", NONE, (), "no NVIDIA driver"),
        ("1", BOTH, ("GPU-aa11",), "NVIDIA GTX 1060 cannot be used: it does not work in this machine's sandbox"),
    ],
)
def test_one_that_cannot_be_used_makes_the_worker_unable_instead_of_taking_another(
    name: str, findings: GpuFindings, sandboxed: tuple[str, ...], reason: str
) -> None:
    chosen = choose(name, findings, sandboxed=sandboxed)
    assert chosen.problem.startswith(f"worker.gpu = {name}, but ")
    assert reason in chosen.problem
    assert not any(device.usable for device in chosen.devices)
    assert (chosen.gpus, chosen.cap_bytes) == ((), 0)


def test_who_wants_the_cpu_gets_it() -> None:
    assert choose("1", wanted=DeviceChoice.CPU).kind is DeviceKind.CPU
