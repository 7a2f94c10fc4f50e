"""The frozen app: small enough, every library's licence beside it, and the same from another folder."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gogrid
from updates.engine_pack.system import this_system

sys.path.insert(0, str(Path(__file__).parents[1] / "app"))
sys.path.insert(0, str(Path(__file__).parent))

from commit import commit_time
from frozen_versions import ROOT, VERSION_MODULE, raised

APP = ROOT / "dist" / "gogrid"
ARCHIVE = ROOT / "dist" / f"gogrid-{gogrid.__version__}-{this_system()}.zip"

pytestmark = [
    pytest.mark.skipif(not (APP / "gogrid-worker").is_file(), reason="make packages builds it"),
    pytest.mark.timeout(900),
]


def test_what_is_downloaded_and_what_lies_on_disk_is_small() -> None:
    assert ARCHIVE.stat().st_size <= 45_000_000
    assert sum(path.stat().st_size for path in APP.rglob("*") if path.is_file()) <= 90_000_000


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="not a Debian")
def test_every_library_of_the_system_in_it_is_named_with_its_licence() -> None:
    text = (APP / "_internal" / "LICENCES.txt").read_text(encoding="utf-8")
    listed = text.split("=" * 100)[0]
    libraries = {path.name for path in (APP / "_internal").glob("lib*.so*")}
    assert "libssl.so.3" in libraries
    named = {name for names in re.findall(r"\((lib[^)]*)\)", listed) for name in names.split(", ")}
    assert {name for name in libraries - named if not name.startswith("libpython")} == set()
    assert "No copyright file" not in text


def test_nothing_in_it_binds_whoever_gets_it_to_the_gpl() -> None:
    assert not [path for path in APP.rglob("*.so*") if re.match(r"(lib)?(readline|gdbm|_gdbm|_dbm|db-)", path.name)]


def test_another_build_of_the_same_sources_with_another_version_differs_in_its_version_alone(tmp_path: Path) -> None:
    sources, version = tmp_path / "sources in another folder", raised(1)
    asked = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (sources / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, sources / name)
    module = sources / "gogrid/__init__.py"
    module.write_text(module.read_text().replace(f'"{gogrid.__version__}"', f'"{version}"'))
    environment = {**os.environ, "SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH") or commit_time()}
    command = [sys.executable, str(sources / "packaging/app/freeze.py"), "--out", str(tmp_path / "dist")]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    first, second = digests(APP), digests(tmp_path / "dist" / "gogrid")
    differing = {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}
    assert differing == {VERSION_MODULE.as_posix()}
    changed = (tmp_path / "dist" / "gogrid" / VERSION_MODULE).read_bytes()
    assert changed == (APP / VERSION_MODULE).read_bytes().replace(gogrid.__version__.encode(), version.encode())


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
