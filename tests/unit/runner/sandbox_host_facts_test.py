"""What the launcher reads of the host: GPU nodes and the folder for process groups."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import SandboxUnavailableError
from runner.sandbox.gpu_nodes import gpu_nodes
from runner.sandbox.process_group import ProcessGroups, find_process_groups


def driver(folder: Path, gpus: dict[str, str]) -> Path:
    for number, (uuid, minor) in enumerate(gpus.items()):
        gpu = folder / f"0000:0{number}:00.0"
        gpu.mkdir()
        (gpu / "information").write_text(
            f"Model: \t\t NVIDIA RTX\nIRQ:   \t\t 30\nGPU UUID: \t {uuid}\nVideo BIOS: \t 9\nDevice Minor: \t {minor}\n"
        )
    return folder


def test_nodes_follow_the_uuids_asked_for(tmp_path: Path) -> None:
    folder = driver(tmp_path, {"GPU-a": "0", "GPU-b": "3"})
    assert gpu_nodes(("GPU-b", "GPU-a"), folder) == ("/dev/nvidia3", "/dev/nvidia0")
    assert gpu_nodes((), folder) == ()


@pytest.mark.parametrize("minor", ["../null", "", "0x1"])
def test_gpu_that_is_not_here_is_refused(tmp_path: Path, minor: str) -> None:
    folder = driver(tmp_path, {"GPU-a": minor})
    for uuid in ("GPU-a", "GPU-z"):
        with pytest.raises(SandboxUnavailableError, match=f"{uuid} has no device node"):
            gpu_nodes((uuid,), folder)


def test_process_groups_are_found_in_both_cgroup_versions(tmp_path: Path) -> None:
    own = tmp_path / "own"
    first = tmp_path / "v1"
    (first / "pids/service").mkdir(parents=True)
    own.write_text("8:pids:/service\n0::/\n")
    assert find_process_groups(first, own) == first / "pids/service"
    second = tmp_path / "v2"
    second.mkdir()
    own.write_text("0::/system.slice\n")
    (second / "cgroup.subtree_control").write_text("cpu memory pids\n")
    assert find_process_groups(second, own) == second


def test_no_process_groups_without_the_controller(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory\n")
    assert find_process_groups(tmp_path, own) is None
    assert find_process_groups(tmp_path, tmp_path / "absent") is None


def test_stale_groups_are_removed_and_others_left(tmp_path: Path) -> None:
    gone = _ended_process()
    for name in (f"gogrid-{gone}-1", f"gogrid-{gone}-2/busy", "other"):
        (tmp_path / name).mkdir(parents=True)
    ProcessGroups(tmp_path).remove_stale()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"gogrid-{gone}-2", "other"]


def test_a_runner_that_starts_leaves_the_groups_of_one_that_lives_beside_it(tmp_path: Path) -> None:
    (tmp_path / f"gogrid-{os.getppid()}-7").mkdir()
    ProcessGroups(tmp_path).remove_stale()
    assert [path.name for path in tmp_path.iterdir()] == [f"gogrid-{os.getppid()}-7"]


def _ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid
