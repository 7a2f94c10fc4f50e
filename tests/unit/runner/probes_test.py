"""What the probes say in words, and which device is chosen: never something else in silence."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from gogrid.protocol.worker_report import DeviceKind
from runner.config import DeviceChoice
from runner.limits import Limit
from runner.probes.apple import find_apple
from runner.probes.base import Cpu, EngineBuild, Gpu, GpuFindings
from runner.probes.choose import Chosen, choose_device
from runner.probes.cpu import cpu_quota, memory_limit, probe_cpu
from runner.probes.engine import built_for_cuda, probe_engine
from runner.probes.nvidia import find_gpus, probe_nvidia

GB = 10**9
CPU = Cpu("Test CPU", 8, 16 * GB)
RTX = Gpu(DeviceKind.CUDA, "RTX 4090", "GPU-1", 24 * GB, 0)
OLD = Gpu(DeviceKind.CUDA, "GTX 1060", "GPU-2", 6 * GB, 0)
NO_DRIVER = GpuFindings(DeviceKind.CUDA, (), "no NVIDIA driver (libnvidia-ml not found)")
BOTH = GpuFindings(DeviceKind.CUDA, (OLD, RTX), "")
WITH_CUDA, CPU_BUILD = EngineBuild(True, True), EngineBuild(True, False)


def choose(wanted: DeviceChoice, findings: GpuFindings, engine: EngineBuild = WITH_CUDA) -> Chosen:
    return choose_device(wanted, CPU, (findings,), engine, Limit(share=0.5), Limit(bytes=4 * GB))


def test_without_a_gpu_the_reason_is_said() -> None:
    chosen = choose(DeviceChoice.AUTO, NO_DRIVER)
    assert chosen.why == "CPU: no NVIDIA driver (libnvidia-ml not found)"
    assert (chosen.kind, chosen.cap_bytes, chosen.problem) == (DeviceKind.CPU, 4 * GB, "")


def test_a_gpu_that_was_asked_for_and_is_not_there_makes_the_worker_unable() -> None:
    chosen = choose(DeviceChoice.CUDA, NO_DRIVER)
    assert chosen.problem == "worker.device = cuda, but no NVIDIA driver (libnvidia-ml not found)"
    assert not any(device.usable for device in chosen.devices)
    assert choose(DeviceChoice.MPS, NO_DRIVER).problem.startswith("worker.device = mps, but there is no such GPU")


def test_the_largest_gpu_is_chosen_and_capped() -> None:
    chosen = choose(DeviceChoice.AUTO, BOTH)
    assert (chosen.kind, chosen.gpus, chosen.cap_bytes) == (DeviceKind.CUDA, ("GPU-1",), 12 * GB)
    assert [(device.name, device.usable) for device in chosen.devices] == [
        ("RTX 4090", True),
        ("Test CPU, 8 cores", False),
        ("GTX 1060", False),
    ]


def test_a_gpu_that_the_engine_cannot_use_is_not_passed_over_in_silence() -> None:
    automatic = choose(DeviceChoice.AUTO, BOTH, CPU_BUILD)
    assert automatic.kind is DeviceKind.CPU
    assert "RTX 4090 cannot be used: the installed torch is built for CPUs only" in automatic.why
    assert "built for CPUs only" in choose(DeviceChoice.CUDA, BOTH, CPU_BUILD).problem


def test_a_gpu_that_does_not_work_in_the_sandbox_is_not_lent() -> None:
    one = GpuFindings(DeviceKind.CUDA, (Gpu(DeviceKind.CUDA, "RTX", "GPU-1", 8 * GB, 0),), "")
    limits = (Limit(share=0.5), Limit(bytes=4 * GB))
    auto = choose_device(DeviceChoice.AUTO, CPU, (one,), WITH_CUDA, *limits, sandboxed=())
    assert auto.kind is DeviceKind.CPU
    assert "RTX cannot be used: it does not work in this machine's sandbox" in auto.why
    wanted = choose_device(DeviceChoice.CUDA, CPU, (one,), WITH_CUDA, *limits, sandboxed=("GPU-2",))
    assert "sandbox" in wanted.problem
    for sandboxed in (("GPU-1",), None):
        chosen = choose_device(DeviceChoice.AUTO, CPU, (one,), WITH_CUDA, *limits, sandboxed=sandboxed)
        assert chosen.gpus == ("GPU-1",)


def test_the_owners_choice_of_the_cpu_leaves_the_gpu_alone() -> None:
    chosen = choose(DeviceChoice.CPU, BOTH)
    assert (chosen.kind, chosen.gpus) == (DeviceKind.CPU, ())
    assert "chosen by its owner" in chosen.why


def test_nvidia_on_this_machine_never_raises() -> None:
    found = probe_nvidia()
    assert bool(found.gpus) != bool(found.problem)


class _Nvml:
    class NVMLError(Exception):
        pass

    class NVMLError_LibraryNotFound(NVMLError):
        pass

    class NVMLError_DriverNotLoaded(NVMLError):
        pass

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure, self.open = failure, False

    def nvmlInit(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.open = True

    def nvmlShutdown(self) -> None:
        self.open = False

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.95"

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object:
        return index

    def nvmlDeviceGetName(self, handle: object) -> str:
        return "RTX 4090"

    def nvmlDeviceGetUUID(self, handle: object) -> str:
        return "GPU-1"

    def nvmlDeviceGetMemoryInfo(self, handle: object) -> SimpleNamespace:
        return SimpleNamespace(total=24 * GB, used=GB)


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (_Nvml.NVMLError_LibraryNotFound(), "no NVIDIA driver (libnvidia-ml not found)"),
        (_Nvml.NVMLError_DriverNotLoaded(), "the NVIDIA driver is installed but not loaded"),
        (_Nvml.NVMLError("Version mismatch"), "the NVIDIA driver does not answer (Version mismatch)"),
    ],
)
def test_what_an_nvidia_driver_can_lack(failure: Exception, words: str) -> None:
    assert find_gpus(_Nvml(failure)) == GpuFindings(DeviceKind.CUDA, (), words)


def test_an_nvidia_gpu_is_described_and_the_driver_let_go() -> None:
    nvml = _Nvml()
    assert find_gpus(nvml).gpus == (Gpu(DeviceKind.CUDA, "RTX 4090", "GPU-1", 24 * GB, GB),)
    assert find_gpus(nvml).driver == "580.95"
    assert not nvml.open


def test_apple_silicon_is_told_by_the_platform() -> None:
    values = {"hw.memsize": str(32 * GB), "machdep.cpu.brand_string": "Apple M3"}
    (gpu,) = find_apple("darwin", "arm64", values.__getitem__).gpus
    assert (gpu.name, gpu.memory_bytes) == ("Apple M3 GPU", 24 * GB)
    assert "Apple silicon" in find_apple("darwin", "x86_64", values.__getitem__).problem
    assert "not a Mac" in find_apple("linux", "x86_64", values.__getitem__).problem
    assert "could not be read" in find_apple("darwin", "arm64", lambda name: "").problem


def test_control_group_limits_count(tmp_path: Path) -> None:
    assert (cpu_quota(tmp_path), memory_limit(tmp_path)) == (None, None)
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert (cpu_quota(tmp_path), memory_limit(tmp_path)) == (1.5, None)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("1073741824\n")
    assert (cpu_quota(tmp_path), memory_limit(tmp_path)) == (None, 1 << 30)


def test_version_1_control_groups_count_too(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(tmp_path) is None
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("200000\n")
    assert cpu_quota(tmp_path) == 2.0


def test_this_machine_has_a_processor() -> None:
    cpu = probe_cpu()
    assert cpu.cores >= 1
    assert cpu.memory_bytes > 1 << 28


def test_the_engines_build_is_read_and_not_imported(tmp_path: Path) -> None:
    (tmp_path / "version.py").write_text("__version__ = '2.13.0'\ncuda: Optional[str] = None\n")
    assert built_for_cuda(tmp_path) is False
    (tmp_path / "version.py").write_text("__version__ = '2.13.0'\ncuda: Optional[str] = '12.6'\n")
    assert built_for_cuda(tmp_path) is True
    assert probe_engine().engines[-1] == "echo"
