"""Output files end up in their folder, whole, or nowhere; the names come from strangers."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogrid.client import output
from gogrid.client.errors import OutputError
from gogrid.client.output import OutputFolder, safe_parts


@pytest.fixture(params=["by_folder", "by_path"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of writing keep the same promises: that of Linux and macOS, and that of Windows."""
    if request.param == "by_folder" and os.name != "posix":
        pytest.skip("needs folder descriptors")
    monkeypatch.setattr(output, "_BY_FOLDER", request.param == "by_folder")


def store(folder: Path, name: str, content: bytes = b"new") -> Path:
    return OutputFolder(folder).store(name, [content], size=len(content), sha256=hashlib.sha256(content).hexdigest())


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_file_is_stored_in_folders_of_its_own(tmp_path: Path) -> None:
    assert store(tmp_path / "new" / "out", "a/b/c.txt").read_bytes() == b"new"
    assert names(tmp_path / "new" / "out") == {"a", "a/b", "a/b/c.txt"}


def test_an_older_file_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"older and longer")
    assert store(tmp_path, "a").read_bytes() == b"new"
    assert names(tmp_path) == {"a"}


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/",
        "/a",
        "a/",
        "a//b",
        "./a",
        "a/..",
        "../a",
        "a\\b",
        "C:\\a",
        "a:b",
        "NUL",
        "com1.txt",
        "a.",
        "a ",
        "a\x00b",
        "a\nb",
        "a\x1b[2J",
        "a\u202eb",
        "\ud800",
        "x" * 256,
        "é" * 128,
        "/".join("a" * 40),
    ],
)
def test_a_name_that_is_not_plain_everywhere_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    with pytest.raises(OutputError, match="not a plain file name"):
        store(folder, name)
    assert names(tmp_path) == {"out"}


@given(st.text(max_size=40))
def test_any_accepted_name_stays_below(name: str) -> None:
    said = ""
    try:
        assert os.path.normpath("/base/" + "/".join(safe_parts(name))) == "/base/" + name
    except OutputError as error:
        said = str(error)
    assert not any(ord(character) < 0x20 for character in said)


@pytest.mark.skipif(os.name != "posix", reason="making links needs rights on Windows")
def test_a_link_in_place_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "link").symlink_to(elsewhere)
    with pytest.raises(OutputError, match="was not stored"):
        store(folder, "link/a")
    assert names(elsewhere) == set()


@pytest.mark.skipif(os.name != "posix", reason="making links needs rights on Windows")
def test_a_link_in_place_of_a_file_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    folder, target = tmp_path / "out", tmp_path / "target"
    folder.mkdir()
    target.write_bytes(b"precious")
    (folder / "a").symlink_to(target)
    assert store(folder, "a").read_bytes() == b"new"
    assert target.read_bytes() == b"precious"
    assert not (folder / "a").is_symlink()


def test_the_folder_itself_may_be_a_link_of_the_users(tmp_path: Path) -> None:
    if os.name != "posix":
        pytest.skip("making links needs rights on Windows")
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    store(tmp_path / "out", "a")
    assert names(tmp_path / "real") == {"a"}


def test_a_folder_in_place_of_a_file_stays(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "inside").write_bytes(b"precious")
    with pytest.raises(OutputError, match="was not stored"):
        store(tmp_path, "a")
    assert names(tmp_path) == {"a", "a/inside"}


def test_two_names_that_differ_in_case_only_are_not_mixed_up(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    digest = hashlib.sha256(b"1").hexdigest()
    folder.store("Report", [b"1"], size=1, sha256=digest)
    with pytest.raises(OutputError, match="but for its case"):
        folder.store("report", [b"1"], size=1, sha256=digest)


@pytest.mark.parametrize(
    ("content", "size", "hashed"), [(b"longer", 3, b"lon"), (b"ab", 3, b"ab"), (b"abc", 3, b"abd"), (b"", 1, b"")]
)
def test_what_does_not_arrive_as_announced_leaves_nothing(
    tmp_path: Path, content: bytes, size: int, hashed: bytes
) -> None:
    (tmp_path / "a").write_bytes(b"older")
    with pytest.raises(OutputError, match="as announced"):
        OutputFolder(tmp_path).store("a", [content], size=size, sha256=hashlib.sha256(hashed).hexdigest())
    assert (tmp_path / "a").read_bytes() == b"older"
    assert names(tmp_path) == {"a"}


def test_a_server_that_never_stops_sending_is_cut_at_the_announced_size(tmp_path: Path) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 1000

    with pytest.raises(OutputError, match="as announced"):
        OutputFolder(tmp_path).store("a", endless(), size=5000, sha256="0" * 64)
    assert taken == 6


def test_a_download_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionError("gone")

    with pytest.raises((OutputError, ConnectionError)):
        OutputFolder(tmp_path).store("a", broken(), size=8, sha256="0" * 64)
    assert names(tmp_path) == set()


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be used as the output folder"):
        OutputFolder(tmp_path / "file")
