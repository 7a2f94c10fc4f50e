"""Any archive is either refused without a trace or unpacked exactly, below its own folder."""

import io
import tempfile
import zipfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from updates.archive import ArchiveError, Bounds, unpack

PART = st.one_of(st.sampled_from(["..", ".", "", "a", "A", "b", "con", "\u00e9", "e\u0301"]), st.text(max_size=6))
NAME = st.builds("/".join, st.lists(PART, min_size=1, max_size=4))
MEMBERS = st.lists(st.tuples(NAME, st.binary(max_size=200), st.integers(0, 0xFFFF)), min_size=1, max_size=5)


def zipped(members: list[tuple[str, bytes, int]]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as made:
        for name, content, mode in members:
            made.NameToInfo.clear()
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            info.external_attr = mode << 16
            try:
                made.writestr(info, content)
            except UnicodeEncodeError:
                continue
    return data.getvalue()


def outcome(data: bytes) -> dict[str, bytes] | None:
    """What was written below the folder; None: refused. Asserts that nothing else changed."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "deep" / "er"
        home.mkdir(parents=True)
        archive = home / "archive.zip"
        archive.write_bytes(data)
        try:
            found = unpack(archive, home / "into", Bounds(100_000, members=50))
        except ArchiveError:
            assert sorted(path.name for path in Path(name).rglob("*")) == ["archive.zip", "deep", "er"]
            return None
        files = {path for path in (home / "into").rglob("*") if path.is_file()}
        assert not any(path.is_symlink() for path in (home / "into").rglob("*"))
        assert {home / "into" / each.name for each in found} == files
        assert {path for path in Path(name).rglob("*") if path.is_file()} == files | {archive}
        return {each.name: (home / "into" / each.name).read_bytes() for each in found}


@settings(max_examples=150, deadline=None)
@given(MEMBERS)
def test_any_names_and_modes(members: list[tuple[str, bytes, int]]) -> None:
    written = outcome(zipped(members))
    if written is not None:
        assert written == {name: content for name, content, _ in members if not name.endswith("/")}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_to_an_archive(data: st.DataObject) -> None:
    whole = bytearray(zipped([("a/b", b"hello " * 20, 0), ("c", b"", 0o100755), ("d/", b"", 0)]))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    outcome(bytes(whole if data.draw(st.booleans()) else whole[:cut]))
