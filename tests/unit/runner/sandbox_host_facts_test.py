"""What the launcher reads of the host's GPUs."""

from pathlib import Path

import pytest

from runner.errors import SandboxUnavailableError
from runner.sandbox.linux.gpu_nodes import gpu_nodes


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
