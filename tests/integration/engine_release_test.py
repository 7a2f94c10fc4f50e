"""An engine from its wheels to a worker: the publisher's program, the admin's program, a coordinator, a machine."""

import re
import sys
import threading
from importlib.metadata import requires
from pathlib import Path

import pytest

from coordinator.cli.main import main as coordinator
from coordinator.releases.shelf import Shelf as Offered
from coordinator.releases.store import ReleaseStore
from coordinator.state.folder import StateFolder
from gogrid.identity import client_context
from runner.engine_pack.find import find_pack, this_python
from runner.engine_pack.shelf import verify
from runner.engine_pack.source import PackSource
from runner.probes.engine import probe_engine
from tests.fakes.https_grid import https_grid
from tests.integration.release_cli_test import SECRET, run
from tests.unit.updates.engine_pack_test import wheel
from updates.engine_pack.sources import CPU, SOURCES
from updates.engine_pack.system import this_system

_WHEEL = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
TARGET = f"{this_system()}-{CPU}"


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `gogrid-release engine-pack` makes of tiny wheels that bear the names of the real ones."""
    for line in requires("gogrid") or ():
        if 'extra == "engine"' in line:
            module = re.split(r"[^a-zA-Z0-9_-]", line)[0].replace("-", "_")
            least = re.search(r"[>=]=([0-9.]+)", line)
            version = least[1] if least else "99.0"
            files = {f"{module}/__init__.py": b"", f"{module}-{version}.dist-info/WHEEL": _WHEEL}
            wheel(tmp_path / "wheels", module, version, files)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    words = ("--target", this_system(), "--accel", CPU, "--index", "", "--out", tmp_path / "packs")
    assert run("engine-pack", *words) == 0
    [pack] = (tmp_path / "packs").glob("*.zip")
    return pack


@pytest.mark.skipif((this_system(), CPU) not in SOURCES, reason="no pack for this system")
def test_a_pack_of_wheels_is_signed_published_fetched_and_found(packed: Path, tmp_path: Path) -> None:
    for role, name in (("root", "root-1"), ("root", "root-2"), ("release", "release"), ("timestamp", "timestamp")):
        assert run("keygen", role, tmp_path / f"{name}.key", passphrases=[SECRET]) == 0
    keys = tmp_path / "root-keys.json"
    assert run("roots", tmp_path / "root-1.pub", tmp_path / "root-2.pub", "--to", keys) == 0
    folder, state = tmp_path / "e1", tmp_path / "state"
    made = ("--release-key", tmp_path / "release.pub", "--timestamp-key", tmp_path / "timestamp.pub")
    assert run("keys", "make", folder, *made) == 0
    roots = ("--key", tmp_path / "root-1.key", "--key", tmp_path / "root-2.key")
    assert run("keys", "sign", folder / "keys" / "keys-1.json", *roots, passphrases=[SECRET]) == 0
    what = ("--app", "gogrid-engine", "--seq", "1", "--version", "99.0")
    artifact = ("--artifact", f"{TARGET}={packed}")
    another = ("--artifact", f"linux-x86_64-cuda={packed}")
    assert run("sign", folder, "--key", tmp_path / "release.key", *what, *another, passphrases=[SECRET]) == 1
    assert run("sign", folder, "--key", tmp_path / "release.key", *what, *artifact, passphrases=[SECRET]) == 0
    stamp = ("timestamp", folder, "--key", tmp_path / "timestamp.key", "--rollout", "0,100")
    assert run(*stamp, passphrases=[SECRET]) == 0
    assert coordinator(["init", "--data", str(state)]) == 0
    assert coordinator(["release", "publish", str(folder), "--root-keys", str(keys), "--data", str(state)]) == 0

    shelf, engines = Offered(ReleaseStore(StateFolder(state))), tmp_path / "engines"
    source = PackSource(engines, tmp_path, TARGET, this_python(), lambda: 1 << 40)
    with https_grid(tmp_path / "grid", releases=shelf) as grid:
        found = source.check(grid.url, client_context(grid.identity.pem))
        assert found.offer is not None  # though it is offered to 0 %: a worker without an engine waits for no turn
        installed = source.fetch(found, threading.Event(), lambda have: None)
        assert source.check(grid.url, client_context(grid.identity.pem)).offer is None
    verify(installed)
    chosen = find_pack(engines, CPU).pack
    assert chosen == installed
    assert (installed.site / "torch" / "__init__.py").is_file()
    assert probe_engine((installed.site,)).torch
    assert sys.version_info[:2] == (3, int(installed.manifest.python.removeprefix("cp3")))
