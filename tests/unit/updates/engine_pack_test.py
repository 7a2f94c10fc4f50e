"""Engine packs: which wheels are asked for, what of them is packed, and that the same wheels give the same bytes."""

import base64
import hashlib
import sys
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest

from updates.archive import Bounds, unpack
from updates.engine_pack import build as building
from updates.engine_pack.build import build_pack
from updates.engine_pack.manifest import APP, MANIFEST, PackError, encode_manifest, parse_manifest
from updates.engine_pack.sources import SOURCES, PackRequest, pip_download, uv_compile
from updates.engine_pack.system import this_system
from updates.engine_pack.wheels import add_wheel, oldest_system
from updates.trust.documents import ENGINE_APP

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def wheel(folder: Path, name: str, version: str, files: dict[str, bytes], *, lie: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    everything = {**files, f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()}
    rows = []
    for file, data in everything.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(b"other" if lie else data).digest()).rstrip(b"=").decode()
        rows.append(f"{file},sha256={digest},{len(data)}")
    with zipfile.ZipFile(path, "w") as made:
        for file, data in everything.items():
            made.writestr(zipfile.ZipInfo(file), data)
        made.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "\n".join([*rows, f"{info}/RECORD,,"]))
    return path


def test_asks_pip_for_wheels_of_the_target_and_never_for_sources() -> None:
    request = PackRequest("linux-x86_64", "cpu", "3.11", ("torch",))
    words = pip_download(request, "out", request.requirements, listed=False)
    assert words[words.index("--only-binary") + 1] == ":all:"
    assert ("--platform", "manylinux_2_28_x86_64") in pairwise(words)
    assert ("--abi", "cp311") in pairwise(words)
    assert words[words.index("--extra-index-url") + 1].endswith("/cpu")
    assert "--no-deps" not in words
    assert "--no-deps" in pip_download(request, "out", ("torch==2",), listed=True)
    bare = PackRequest("linux-x86_64", "cpu", "3.11", ("torch",), index="")
    assert "--extra-index-url" not in pip_download(bare, "out", ("torch",), listed=False)


@pytest.mark.parametrize("pair", SOURCES)
def test_every_target_can_be_asked_for_from_another_system(pair: tuple[str, str]) -> None:
    request = PackRequest(*pair, "3.11", ("torch",))
    assert request.source.uv_platform in uv_compile(request)
    assert request.target == f"{pair[0]}-{pair[1]}"


def test_an_unknown_target_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(PackError, match=r"linux-x86_64-cuda"):
        _ = PackRequest("beos-x86_64", "cpu", "3.11", ()).source


@pytest.mark.parametrize("brought", [True, False], ids=["brought", "missing"])
def test_on_windows_torch_finds_the_cpp_library_that_another_package_brings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brought: bool
) -> None:
    library = {"sklearn/.libs/msvcp140.dll": b"MZ"} if brought else {"sklearn/__init__.py": b""}
    wheels = [
        wheel(tmp_path / "w", "torch", "9.9", {"torch/lib/c10.dll": b"MZ c10"}),
        wheel(tmp_path / "w", "scikit_learn", "1", library),
    ]
    monkeypatch.setattr(building, "_download", lambda request, into, say: wheels)
    request = PackRequest("windows-x86_64", "cpu", HERE, ("torch",))
    if not brought:
        with pytest.raises(PackError, match=r"msvcp140\.dll"):
            build_pack(request, tmp_path / "out")
        return
    listed = {file.path for file in build_pack(request, tmp_path / "out").manifest.files}
    assert {"site-packages/torch/lib/msvcp140.dll", "site-packages/sklearn/.libs/msvcp140.dll"} <= listed


def made_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> Path:
    wheels = [
        wheel(tmp_path / "w", "other", "1", {"other/__init__.py": b"y = 2\n", "other-1.data/scripts/run": b"#!evil"}),
        wheel(
            tmp_path / "w", "torch", "9.9", {"torch/__init__.py": b"x = 1\n", "torch/include/a.h": b"", "bad.py": b"("}
        ),
    ]
    monkeypatch.setattr(building, "_download", lambda request, into, say: wheels)
    return build_pack(PackRequest(this_system(), "cpu", HERE, ("torch",)), tmp_path / out).file if SOURCES else Path()


@pytest.mark.skipif((this_system(), "cpu") not in SOURCES, reason="no pack for this system")
def test_the_same_wheels_give_the_same_bytes_with_everything_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made_pack(tmp_path, monkeypatch, "one")
    assert first.read_bytes() == made_pack(tmp_path, monkeypatch, "two").read_bytes()
    found = unpack(first, tmp_path / "tree", Bounds(1 << 20))
    manifest = parse_manifest((tmp_path / "tree" / MANIFEST).read_bytes())
    assert found[0].name == MANIFEST
    assert [(f.path, f.size, f.sha256) for f in manifest.files] == [(f.name, f.size, f.sha256) for f in found[1:]]
    names = {file.path for file in manifest.files}
    assert "site-packages/torch/__init__.py" in names
    assert any(name.startswith("site-packages/torch/__pycache__/") for name in names)
    assert not any("include" in name or "run" in name for name in names)
    assert (manifest.version, manifest.accelerator, manifest.system) == ("9.9", "cpu", this_system())
    assert list((tmp_path / "one").iterdir()) == [first]


@pytest.mark.parametrize(
    ("wheels", "oldest"),
    [
        (("a-1-py3-none-any.whl", "b-1-cp311-cp311-win_amd64.whl", "c-1-cp311-cp311-linux_x86_64.whl"), ""),
        (("a-1-cp311-cp311-manylinux_2_28_x86_64.whl", "b-1-py3-none-any.whl"), "2.28"),
        (("a-1-cp311-cp311-manylinux_2_5_x86_64.manylinux1_x86_64.whl",), "2.5"),
        (("a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl",), "2.17"),
        (("a-1-cp311-cp311-manylinux2014_x86_64.whl", "b-1-cp311-abi3-manylinux_2_5_x86_64.whl"), "2.17"),
        (("a-1-cp311-cp311-macosx_11_0_arm64.whl", "b-1-cp311-cp311-macosx_10_9_universal2.whl"), "11.0"),
        ((), ""),
    ],
    ids=["none", "newest", "two names", "either", "old names", "mac", "no wheel"],
)
def test_the_oldest_system_of_a_pack_is_the_newest_that_one_of_its_wheels_needs(wheels: tuple[str, ...], oldest: str):
    assert oldest_system(wheels) == oldest


def test_a_wheel_that_is_not_what_its_record_says_is_refused(tmp_path: Path) -> None:
    bad = wheel(tmp_path / "w", "torch", "1", {"torch/__init__.py": b""}, lie=True)
    with pytest.raises(PackError, match="damaged"):
        add_wheel(bad, tmp_path / "site", tmp_path)


def test_two_wheels_with_different_files_of_one_name_are_refused(tmp_path: Path) -> None:
    add_wheel(wheel(tmp_path / "w", "one", "1", {"shared.py": b"1"}), tmp_path / "site", tmp_path)
    with pytest.raises(PackError, match=r"another shared\.py"):
        add_wheel(wheel(tmp_path / "w", "two", "1", {"shared.py": b"2"}), tmp_path / "site", tmp_path)


def test_a_pack_for_another_python_is_not_made_by_this_one(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="compiles"):
        build_pack(PackRequest("linux-x86_64", "cpu", "3.1", ()), tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"app": "other"},
        {"target": "x"},
        {"python": "3.11"},
        {"packages": []},
        {"files": [["a", -1, ""]]},
    ],
)
def test_a_manifest_that_is_not_as_it_must_be_is_refused(change: dict[str, object]) -> None:
    import json

    good = {
        "target": "linux-x86_64-cpu",
        "python": "cp311",
        "version": "2.13.0",
        "packages": [{"name": "torch", "version": "2", "file": "t.whl", "sha256": "0" * 64}],
        "files": [["site-packages/a", 1, "0" * 64]],
    }
    manifest = parse_manifest(json.dumps(good).encode())
    assert parse_manifest(encode_manifest(manifest)) == manifest
    with pytest.raises(PackError):
        parse_manifest(json.dumps({**good, **change}).encode())


def test_packs_are_files_of_releases_of_the_engine() -> None:
    assert APP == ENGINE_APP
