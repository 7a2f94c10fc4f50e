"""Which Python is shown inside, for the ways in which people install Python."""

from pathlib import Path

import pytest

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Mount
from runner.sandbox.interpreter import Interpreter, shipped_interpreter
from runner.sandbox.linux.python_home import python_home


def interpreter(executable: Path, prefix: Path, path: tuple[Path, ...], *, shared_library: bool = False) -> Interpreter:
    return Interpreter(executable, prefix, "3.11", shared_library, path, (Path("/code/gogrid"), Path("/code/runner")))


def test_prefix_in_a_home_folder_shows_only_its_programs_and_library(tmp_path: Path) -> None:
    prefix, venv = tmp_path / "py", tmp_path / "venv/lib/python3.11/site-packages"
    own = prefix / "lib/python3.11/site-packages"
    own.mkdir(parents=True)
    venv.mkdir(parents=True)
    home = python_home(
        interpreter(prefix / "bin/python3.11", prefix, (prefix / "lib/python3.11", venv), shared_library=True)
    )
    assert home.executable == "/opt/gogrid/python/bin/python3.11"
    assert home.mounts == (
        Mount(prefix / "bin", "/opt/gogrid/python/bin"),
        Mount(prefix / "lib", "/opt/gogrid/python/lib"),
        Mount(venv, "/opt/gogrid/site"),
        Mount(Path("/code/gogrid"), "/opt/gogrid/src/gogrid"),
        Mount(Path("/code/runner"), "/opt/gogrid/src/runner"),
    )
    assert home.hidden == ("/opt/gogrid/python/lib/python3.11/site-packages",)
    assert home.library_path == "/opt/gogrid/python/lib"
    assert home.site == ("/opt/gogrid/site",)
    assert home.bootstrap == "/opt/gogrid/src/runner/sandbox/linux/inside.py"


def test_python_below_usr_is_used_where_it_is(tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()
    home = python_home(interpreter(Path("/usr/bin/python3.11"), Path("/usr"), (site,), shared_library=True))
    assert (home.executable, home.library_path, home.hidden) == ("/usr/bin/python3.11", "", ())
    assert home.mounts[0] == Mount(site, "/opt/gogrid/site")


def test_several_package_folders_keep_their_order(tmp_path: Path) -> None:
    folders = (tmp_path / "a/site-packages", tmp_path / "b/dist-packages")
    for folder in folders:
        folder.mkdir(parents=True)
    project = tmp_path / "project"
    project.mkdir()
    home = python_home(interpreter(Path("/usr/bin/python3"), Path("/usr"), (project, *folders, tmp_path / "zip")))
    assert home.site == ("/opt/gogrid/site", "/opt/gogrid/site-2")
    assert [mount.host for mount in home.mounts[:2]] == list(folders)


def test_packages_below_usr_are_imported_from_where_they_are() -> None:
    below = next(
        (path for path in Path("/usr").glob("lib*/python3*/*-packages") if path.is_dir()),
        None,
    )
    if below is None:
        pytest.skip("this system has no Python packages below /usr")
    home = python_home(interpreter(Path("/usr/bin/python3"), Path("/usr"), (below.resolve(),)))
    assert home.site == (str(below.resolve()),)
    assert [mount.inside for mount in home.mounts] == ["/opt/gogrid/src/gogrid", "/opt/gogrid/src/runner"]


def test_interpreter_outside_its_prefix_is_refused_in_words() -> None:
    with pytest.raises(SandboxUnavailableError, match="lies outside its own folder"):
        python_home(interpreter(Path("/nix/store/x/bin/python"), Path("/nix/store/y"), ()))


def test_a_frozen_program_shows_the_genuine_python_it_carries_and_nothing_else_of_itself(tmp_path: Path) -> None:
    for name in ("libpython3.11.so.1.0", "libssl.so.3", "gogrid-notes.txt"):
        (tmp_path / name).touch()
    pack = tmp_path / "pack/site-packages"
    pack.mkdir(parents=True)
    found = shipped_interpreter(tmp_path, (pack,), "linux")
    name = f"python{found.version}"
    home = python_home(found)
    assert home.executable == f"/opt/gogrid/python/bin/{name}"
    assert home.mounts == (
        Mount(tmp_path / "inside/bin" / name, f"/opt/gogrid/python/bin/{name}"),
        Mount(tmp_path / name, f"/opt/gogrid/python/lib/{name}"),
        Mount(tmp_path / "libpython3.11.so.1.0", "/opt/gogrid/python/lib/libpython3.11.so.1.0"),
        Mount(tmp_path / "libssl.so.3", "/opt/gogrid/python/lib/libssl.so.3"),
        Mount(pack, "/opt/gogrid/site"),
        Mount(tmp_path / "gogrid", "/opt/gogrid/src/gogrid"),
        Mount(tmp_path / "runner", "/opt/gogrid/src/runner"),
        Mount(tmp_path / "msgspec", "/opt/gogrid/src/msgspec"),
    )
    assert home.hidden == ()
    assert home.library_path == "/opt/gogrid/python/lib"
    assert home.bootstrap == "/opt/gogrid/src/runner/sandbox/linux/inside.pyc"
    assert shipped_interpreter(tmp_path, (), "win32").executable == tmp_path / "python.exe"
