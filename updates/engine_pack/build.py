"""Make an engine pack: fetch wheels for the target, put them together, compile, list, and write one archive.

Promises: the same wheels give the same bytes (with the same zlib and Python); nothing of a wheel is executed, also not
to install it; every file of the archive is in its manifest. Runs on any system for any target of the same Python
version, because compiled modules are part of the pack. Signing is the release's work: a pack is one of its files.
"""

import contextlib
import py_compile
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from updates.engine_pack.manifest import (
    MANIFEST,
    SITE,
    PackedFile,
    PackedWheel,
    PackError,
    PackManifest,
    encode_manifest,
    file_sha256,
)
from updates.engine_pack.sources import PackRequest, pip_download, uv_compile
from updates.engine_pack.system import this_system
from updates.engine_pack.wheels import LEFT_OUT, add_wheel, oldest_system

_MOMENT = (1980, 1, 1, 0, 0, 0)
_LEVEL = 6
_PIECE = 1 << 20
_CPP_LIBRARY = "msvcp140.dll"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BuiltPack:
    file: Path
    sha256: str
    size: int
    manifest: PackManifest


def build_pack(request: PackRequest, out: Path, say: Say = lambda line: None) -> BuiltPack:
    """Write `gogrid-engine-VERSION-TARGET-PYTHON.zip` into the folder `out`.

    Raises:
        PackError: packages cannot be had or do not fit together; says which.
        OSError: the disk.
    """
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if request.python != here:
        raise PackError(
            f"A pack for Python {request.python} is made by Python {request.python}, which compiles its modules; "
            f"this is {here}."
        )
    _ = request.source
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".pack-") as name:
        work = Path(name)
        wheels = _download(request, work / "wheels", say)
        site = work / "tree" / SITE
        site.mkdir(parents=True)
        packages = []
        for wheel in wheels:
            say(f"unpacking {wheel.name}")
            packages.append(add_wheel(wheel, site, work))
        if request.system.startswith("windows"):
            _give_torch_its_library(site)
        say("compiling")
        _compile(site)
        return _write(request, packages, work / "tree", out, say)


def _download(request: PackRequest, into: Path, say: Say) -> list[Path]:
    wanted: Sequence[str] = request.requirements
    native = request.system == this_system()
    if not native:
        say(f"listing the packages of {request.target}")
        text = "\n".join(wanted).encode()
        listing = _run((shutil.which("uv") or "uv", *uv_compile(request)), "uv", text)
        wanted = [line for line in listing.decode().splitlines() if line and not line.startswith("#")]
    say(f"fetching wheels for {request.target}")
    arguments = pip_download(request, str(into), wanted, listed=not native)
    _run((sys.executable, "-m", "pip", *arguments), "pip", b"")
    return sorted(into.glob("*.whl"), key=lambda path: path.name.lower())


def _run(command: Sequence[str], name: str, given: bytes) -> bytes:
    try:
        done = subprocess.run(command, input=given, capture_output=True, check=False)
    except FileNotFoundError:
        raise PackError(f"{name} is needed for a pack of another system: pip install {name}") from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if "ERROR" in line.upper()]
        raise PackError(f"{name} cannot get the packages: {(lines or ['it gives no reason'])[-1].strip()}")
    return done.stdout


def _give_torch_its_library(site: Path) -> None:
    """Microsoft's C++ library, which torch's wheel expects in the system and a fresh Windows lacks; others bring it."""
    here = site / "torch" / "lib" / _CPP_LIBRARY
    if here.exists() or not here.parent.is_dir():
        return
    brought = min(site.glob(f"*/.libs/{_CPP_LIBRARY}"), default=None)
    if brought is None:
        raise PackError(f"No package of this pack brings {_CPP_LIBRARY}, without which torch does not load on Windows.")
    shutil.copyfile(brought, here)


def _compile(site: Path) -> None:
    """As an installer does, but valid whatever the clock of the machine says. What no Python can read is left."""
    for source in sorted(site.rglob("*.py")):
        with contextlib.suppress(py_compile.PyCompileError, SyntaxError, ValueError):
            py_compile.compile(
                str(source),
                dfile=source.relative_to(site.parent).as_posix(),
                doraise=True,
                quiet=1,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )


def _write(request: PackRequest, packages: list[PackedWheel], tree: Path, out: Path, say: Say) -> BuiltPack:
    torch = next((each.version for each in packages if each.name == "torch"), None)
    if torch is None:
        raise PackError("The packages of this pack do not include torch.")
    paths = sorted(path for path in tree.rglob("*") if path.is_file())
    say(f"packing {len(paths)} files")
    files = tuple(
        PackedFile(path.relative_to(tree).as_posix(), path.stat().st_size, file_sha256(path)) for path in paths
    )
    manifest = PackManifest(
        target=request.target,
        python=request.abi,
        version=torch,
        packages=tuple(packages),
        os_min=oldest_system(each.file for each in packages),
        left_out=LEFT_OUT,
        files=files,
    )
    target = out / f"gogrid-engine-{torch}-{request.target}-{request.abi}.zip"
    fresh = tree.parent / "pack.zip"
    with zipfile.ZipFile(fresh, "w") as archive:
        _add(archive, MANIFEST, encode_manifest(manifest))
        for file, path in zip(files, paths, strict=True):
            _add(archive, file.path, path)
    fresh.replace(target)
    return BuiltPack(target, file_sha256(target), target.stat().st_size, manifest)


def _add(archive: zipfile.ZipFile, name: str, content: bytes | Path) -> None:
    info = zipfile.ZipInfo(name, _MOMENT)
    runs = isinstance(content, Path) and content.stat().st_mode & 0o100
    info.create_system, info.external_attr = 3, (0o100755 if runs else 0o100644) << 16
    info.compress_type, info._compresslevel = zipfile.ZIP_DEFLATED, _LEVEL  # type: ignore[attr-defined]
    if isinstance(content, bytes):
        archive.writestr(info, content)
        return
    info.file_size = content.stat().st_size
    with content.open("rb") as source, archive.open(info, "w") as target:
        shutil.copyfileobj(source, target, _PIECE)
