"""Engine packs on a worker's disk: whole or not there, and the one that fits is chosen."""

import hashlib
import zipfile
from pathlib import Path

import msgspec
import pytest

from gogrid.protocol.worker_report import DeviceKind
from runner.config import DeviceChoice
from runner.engine_pack.choice import PackChoice, accelerator, choose_pack
from runner.engine_pack.shelf import EnginePack, EnginePackError, Shelf, verify
from runner.probes.base import Gpu, GpuFindings
from updates.engine_pack.manifest import MANIFEST, PackedFile, PackedWheel, PackManifest, encode_manifest

FILES = {"site-packages/torch/__init__.py": b"x = 1\n", "site-packages/torch/lib.so": b"\x7fELF"}


def manifest(files: dict[str, bytes] = FILES, **fields: str) -> PackManifest:
    listed = tuple(PackedFile(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items())
    wheel = PackedWheel(name="torch", version="2.13.0", file="torch.whl", sha256="0" * 64)
    usual = {"target": "linux-x86_64-cpu", "python": "cp311", "version": "2.13.0", **fields}
    return PackManifest(packages=(wheel,), files=listed, **usual)


def archive(folder: Path, files: dict[str, bytes] = FILES, listed: PackManifest | None = None) -> tuple[Path, str]:
    path = folder / "pack.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(MANIFEST, encode_manifest(listed or manifest()))
        for name, data in files.items():
            made.writestr(name, data)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_installed_pack_is_found_and_whole(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "engines")
    assert shelf.packs() == ((), ())
    path, sha256 = archive(tmp_path)
    pack = shelf.install(path, sha256)
    assert shelf.packs() == ((pack,), ())
    assert (pack.site / "torch/__init__.py").read_bytes() == b"x = 1\n"
    verify(pack)
    assert shelf.install(path, sha256) == pack
    assert shelf.remove(sha256[:8]) == pack
    assert list((tmp_path / "engines").iterdir()) == []


def test_another_file_than_the_one_that_was_meant_is_refused(tmp_path: Path) -> None:
    path, _ = archive(tmp_path)
    with pytest.raises(EnginePackError, match="SHA-256"):
        Shelf(tmp_path / "engines").install(path, "0" * 64)
    assert not (tmp_path / "engines").exists()


@pytest.mark.parametrize(
    "files",
    [
        {**FILES, "site-packages/more.py": b""},
        {"site-packages/torch/__init__.py": b"x = 1\n"},
        {**FILES, "site-packages/torch/lib.so": b"evil"},
        {**FILES, "../outside.py": b""},
    ],
)
def test_an_archive_that_is_not_what_its_manifest_lists_leaves_nothing(tmp_path: Path, files: dict[str, bytes]) -> None:
    path, sha256 = archive(tmp_path, files)
    with pytest.raises(EnginePackError):
        Shelf(tmp_path / "engines").install(path, sha256)
    assert list((tmp_path / "engines").iterdir()) == []


def test_a_pack_with_a_missing_or_cut_file_is_passed_over_and_said(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "engines")
    pack = shelf.install(*archive(tmp_path))
    (pack.site / "torch/lib.so").write_bytes(b"cut")
    found, wrong = shelf.packs()
    assert found == ()
    assert "torch/lib.so" in wrong[0]


def test_verify_finds_a_changed_byte_and_a_file_too_many(tmp_path: Path) -> None:
    pack = Shelf(tmp_path / "engines").install(*archive(tmp_path))
    (pack.site / "torch/lib.so").write_bytes(b"\x7fELG")
    with pytest.raises(EnginePackError, match="has changed"):
        verify(pack)
    (pack.site / "torch/lib.so").write_bytes(b"\x7fELF")
    (pack.site / "sitecustomize.py").touch()
    with pytest.raises(EnginePackError, match="no part"):
        verify(pack)


def test_what_was_left_half_done_is_swept(tmp_path: Path) -> None:
    left = tmp_path / "engines/.fresh-1"
    left.mkdir(parents=True)
    Shelf(tmp_path / "engines").install(*archive(tmp_path))
    assert not left.exists()


def pack(target: str, python: str = "cp311", version: str = "2.13.0", **fields: str) -> EnginePack:
    return EnginePack(Path(target), manifest(target=target, python=python, version=version, **fields))


def test_the_pack_for_the_hardware_is_chosen_and_another_where_it_lacks() -> None:
    cpu, cuda, old = pack("linux-x86_64-cpu"), pack("linux-x86_64-cuda"), pack("linux-x86_64-cpu", version="2.9.1")
    assert choose_pack((cpu, cuda), "linux-x86_64", "cp311", "cuda").pack is cuda
    assert choose_pack((cpu, cuda), "linux-x86_64", "cp311", "cpu").pack is cpu
    assert choose_pack((cpu,), "linux-x86_64", "cp311", "cuda").pack is cpu
    assert choose_pack((old, cpu), "linux-x86_64", "cp311", "cpu").pack is cpu


def test_a_pack_for_another_system_or_python_is_never_used() -> None:
    others = (pack("windows-x86_64-cpu"), pack("linux-x86_64-cpu", python="cp313"))
    answer = choose_pack(others, "linux-x86_64", "cp311", "cpu")
    assert answer.pack is None
    assert "cp313" in answer.why
    assert choose_pack((), "linux-x86_64", "cp311", "cpu").why == "no engine pack for linux-x86_64, cp311"


def test_a_pack_for_a_newer_system_is_never_used() -> None:
    new, old = pack("linux-x86_64-cpu", os_min="2.40"), pack("linux-x86_64-cpu", version="2.9.1", os_min="2.28")

    def chosen(packs: tuple[EnginePack, ...], *os_version: int) -> PackChoice:
        return choose_pack(packs, "linux-x86_64", "cp311", "cpu", os_version=os_version)

    assert chosen((new, old), 2, 40).pack is new
    assert chosen((new, old), 2, 36).pack is old
    assert chosen((new, old)).pack is new  # nobody knows
    alone = chosen((new,), 2, 36)
    assert alone.pack is None
    assert alone.why.endswith("needs a system of 2.40 or later, this one is 2.36")


def test_the_accelerator_follows_the_owner_then_the_hardware() -> None:
    gpu = Gpu(DeviceKind.CUDA, "RTX", "GPU-1", 1 << 34, 0)
    found = (GpuFindings(DeviceKind.CUDA, (gpu,), ""),)
    assert accelerator(DeviceChoice.AUTO, found) == "cuda"
    assert accelerator(DeviceChoice.AUTO, (GpuFindings(DeviceKind.CUDA, (), "no driver"),)) == "cpu"
    assert accelerator(DeviceChoice.CPU, found) == "cpu"


def test_manifests_are_plain_json() -> None:
    assert msgspec.json.decode(encode_manifest(manifest()))["app"] == "gogrid-engine"
