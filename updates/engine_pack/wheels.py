"""One wheel after another into a folder of packages: checked against its own list, without what run time never reads.

Refuses what `updates.archive` refuses, a wheel whose files are not those of its `RECORD`, and two wheels that bring the
same file with other contents.
"""

import base64
import csv
import fnmatch
import io
import re
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from updates.archive import ArchiveError, Bounds, Unpacked, unpack
from updates.engine_pack.manifest import LARGEST_PACK, MOST_FILES, PackedWheel, PackError, file_sha256

LEFT_OUT = (
    *("torch/include/*", "torch/test/*", "torch/share/*", "torch/bin/*", "torchgen/packaged/*"),
    *("*/tests/*", "*.a", "*.lib", "*.pyx", "*.pxd", "*.c", "*.cpp", "*.h", "*.hpp", "*.cu", "*.cuh", "*.pyi"),
    *("setuptools/*", "_distutils_hack/*", "pkg_resources/*", "distutils-precedence.pth"),
)
"""Headers and import libraries, for compilers; tests; stubs, for type checkers."""
_KEPT = (
    "torch/bin/torch_shm_manager*",
    "numpy/testing/*",
    "numpy/_core/tests/_natype.py",
    "torch/testing/*",
    "pandas/_testing/*",
)
_BOUNDS = Bounds(LARGEST_PACK, members=MOST_FILES, ratio=1000)
_SCHEMES = ("purelib", "platlib")
_LEGACY = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_NAMES_A_SYSTEM = re.compile(r"(?:manylinux|macosx)_([0-9]{1,4})_([0-9]{1,4})_.+")


def add_wheel(file: Path, site: Path, work: Path) -> PackedWheel:
    """Put the wheel's packages into `site`; `work` is a folder for what lies in between, on the same disk.

    Raises:
        PackError: it is no sound wheel.
        OSError: the disk.
    """
    name, version = _name_and_version(file)
    raw = work / "wheel"
    try:
        found = unpack(file, raw, _BOUNDS)
    except ArchiveError as error:
        raise PackError(f"{file.name} cannot be unpacked: {error}") from error
    tops = (each.name for each in found if each.name.count("/") == 1)
    info = next((name for name in tops if name.endswith(".dist-info/RECORD")), None)
    if info is None:
        raise PackError(f"{file.name} is no wheel: it has no RECORD.")
    _check_record((raw / info).read_text(encoding="utf-8"), found, info, file.name)
    for each in found:
        target = _place(PurePosixPath(each.name))
        if target is not None and not _left_out(target.as_posix()):
            _move(raw / each.name, site / target, file.name)
    shutil.rmtree(raw)
    return PackedWheel(name=name, version=version, file=file.name, sha256=file_sha256(file))


def oldest_system(files: Iterable[str]) -> str:
    """What `os_min` says of a pack of these wheels, by their file names; empty: none of them names a system."""
    needed = max((_oldest(name) for name in files), default=())
    return ".".join(map(str, needed))


def _oldest(name: str) -> tuple[int, ...]:
    """Of one wheel: `…-manylinux_2_17_x86_64.manylinux2014_x86_64.whl` runs where either of the two does."""
    tags = name.removesuffix(".whl").rpartition("-")[2].split(".")
    return min(map(_of_tag, tags))


def _of_tag(tag: str) -> tuple[int, ...]:
    if found := _NAMES_A_SYSTEM.fullmatch(tag):
        return int(found[1]), int(found[2])
    return _LEGACY.get(tag.partition("_")[0], ())


def _name_and_version(file: Path) -> tuple[str, str]:
    parts = file.name.removesuffix(".whl").split("-")
    if file.suffix != ".whl" or len(parts) not in (5, 6):
        raise PackError(f"{file.name} is no wheel.")
    return parts[0], parts[1]


def _check_record(text: str, found: tuple[Unpacked, ...], info: str, name: str) -> None:
    recorded = {row[0]: row[1] for row in csv.reader(io.StringIO(text)) if len(row) >= 2}
    for each in found:
        if each.name in (info, f"{info}.jws", f"{info}.p7s"):
            continue
        digest = base64.urlsafe_b64encode(bytes.fromhex(each.sha256)).rstrip(b"=").decode()
        if recorded.get(each.name) != f"sha256={digest}":
            raise PackError(f"{name} is damaged: {each.name} is not what its RECORD says.")


def _place(name: PurePosixPath) -> PurePosixPath | None:
    """Where a file of a wheel goes, below the folder of packages; None: nowhere."""
    if not name.parts[0].endswith(".data"):
        return name
    return PurePosixPath(*name.parts[2:]) if len(name.parts) > 2 and name.parts[1] in _SCHEMES else None


def _left_out(path: str) -> bool:
    if any(fnmatch.fnmatchcase(path, pattern) for pattern in _KEPT):
        return False
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in LEFT_OUT)


def _move(source: Path, target: Path, wheel: str) -> None:
    if target.exists():
        if file_sha256(target) != file_sha256(source):
            raise PackError(f"{wheel} brings another {target.name} than a package before it.")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
