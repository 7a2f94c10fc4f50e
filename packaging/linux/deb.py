"""The Debian package of the frozen app: `python packaging/linux/deb.py [--app DIST/gogrid] [--out DIST]`.

Made with dpkg-deb, with the commit's time (`SOURCE_DATE_EPOCH`) and root as owner: the same app gives the same bytes.
Workers' data lies in their owners' homes and is never touched, also not by purge.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "packaging/app")]

from commit import commit_time  # noqa: E402

import gogrid  # noqa: E402
from tray.icon.pictures import export  # noqa: E402

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PROGRAMS = ("gogrid", "gogrid-worker")
DEPENDS = "libc6 (>= {libc}), libgcc-s1, zlib1g"
RECOMMENDS = ", ".join(
    ("bubblewrap", "gir1.2-gtk-3.0", "gir1.2-ayatanaappindicator3-0.1", "gir1.2-webkit2-4.1", "libgirepository-1.0-1")
)
CONTROL = """\
Package: gogrid
Version: {version}
Architecture: {architecture}
Maintainer: GoGrid <maintainers@gogrid.invalid>
Installed-Size: {kilobytes}
Depends: {depends}
Recommends: {recommends}
Section: net
Priority: optional
Homepage: https://github.com/gogrid/gogrid
Description: lend this machine's idle GPU to your own grid
 The GoGrid worker with its tray icon, and the gogrid command. It joins one
 coordinator with one pasted token and runs models and Python jobs in
 sandboxes when nobody needs the machine. Where no desktop is, the user's
 service gogrid-worker does the same without the icon.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--app", type=Path, default=ROOT / "dist" / "gogrid")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    if not (options.app / "gogrid-worker").is_file():
        parser.error(f"{options.app} holds no frozen app; run packaging/app/freeze.py first")
    architecture = ARCHITECTURES[platform.machine()]
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / f"gogrid_{gogrid.__version__}_{architecture}.deb"
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "tree"
        lay_out(options.app, tree)
        write_control(tree, architecture)
        tidy_modes(tree)
        command = ["dpkg-deb", "--root-owner-group", "--uniform-compression", "-Zxz", "-z6", "--build"]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH") or commit_time()}
        command += [str(tree), str(target)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


def lay_out(app: Path, tree: Path) -> None:
    """Every file of the package in its place below `tree`."""
    shutil.copytree(app, tree / "opt/gogrid", symlinks=True)
    for program in PROGRAMS:
        (tree / "usr/bin").mkdir(parents=True, exist_ok=True)
        (tree / "usr/bin" / program).symlink_to(f"/opt/gogrid/{program}")
    places = {
        "gogrid-worker.service": "usr/lib/systemd/user/gogrid-worker.service",
        "gogrid-worker.desktop": "usr/share/applications/gogrid-worker.desktop",
        "gogrid-join.desktop": "usr/share/applications/gogrid-join.desktop",
        "apparmor": "opt/gogrid/apparmor",
    }
    for source, place in places.items():
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(HERE / source, tree / place)
    with tempfile.TemporaryDirectory() as drawn:
        for picture in export(Path(drawn)):
            if picture.suffix == ".png":
                size = picture.stem.rpartition("-")[2]
                folder = tree / f"usr/share/icons/hicolor/{size}x{size}/apps"
                folder.mkdir(parents=True)
                shutil.copyfile(picture, folder / "gogrid.png")
    notes = tree / "usr/share/doc/gogrid"
    notes.mkdir(parents=True)
    shutil.copyfile(ROOT / "LICENSE", notes / "copyright")
    (notes / "LICENCES.txt").symlink_to("/opt/gogrid/_internal/LICENCES.txt")


def write_control(tree: Path, architecture: str) -> None:
    control = tree / "DEBIAN"
    control.mkdir()
    files = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    text = CONTROL.format(
        version=gogrid.__version__,
        architecture=architecture,
        kilobytes=sum(path.stat().st_size for path in files) // 1024,
        depends=DEPENDS.format(libc=platform.libc_ver()[1]),
        recommends=RECOMMENDS,
    )
    (control / "control").write_text(text, encoding="utf-8")
    sums = "".join(f"{_md5(path)}  {path.relative_to(tree)}\n" for path in files)
    (control / "md5sums").write_text(sums, encoding="utf-8")
    for script in ("postinst", "prerm", "postrm"):
        shutil.copyfile(HERE / script, control / script)
        (control / script).chmod(0o755)


def tidy_modes(tree: Path) -> None:
    """Whatever the umask was: folders 0755, files 0644 or 0755."""
    tree.chmod(0o755)
    for path in tree.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
