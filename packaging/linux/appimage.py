"""The AppImage of the frozen app: an AppDir in a squashfs behind AppImage's own runtime.

Needs mksquashfs and the type-2 runtime, which `packaging/linux/prepare` brings (another runtime: --runtime). Without
them only the AppDir is made, and the program says so.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

import gogrid  # noqa: E402
from tray.icon.pictures import export  # noqa: E402

APP_RUN = """\
#!/bin/sh
# `gogrid-worker`, or with the name of one of its programs first, that one.
here=$(dirname "$(readlink -f "$0")")
case "$1" in
gogrid | gogrid-worker) program=$1; shift ;;
*) program=gogrid-worker ;;
esac
exec "$here/opt/gogrid/$program" "$@"
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--app", type=Path, default=ROOT / "dist" / "gogrid")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--runtime", type=Path, default=ROOT / "build" / f"runtime-{platform.machine()}")
    options = parser.parse_args()
    folder = ROOT / "build" / "GoGrid.AppDir"
    shutil.rmtree(folder, ignore_errors=True)
    lay_out(options.app, folder)
    if not options.runtime.is_file() or shutil.which("mksquashfs") is None:
        print(f"appimage.py: only {folder} was made: the AppImage needs mksquashfs and {options.runtime}")
        return 0
    target = options.out / f"GoGrid-{gogrid.__version__}-{platform.machine()}.AppImage"
    with tempfile.TemporaryDirectory() as name:
        image = Path(name) / "image"
        epoch = os.environ.get("SOURCE_DATE_EPOCH", "315532800")
        command = ["mksquashfs", str(folder), str(image), "-root-owned", "-noappend", "-no-xattrs", "-quiet"]
        command += ["-comp", "zstd", "-Xcompression-level", "19", "-mkfs-time", epoch, "-all-time", epoch]
        environment = {key: value for key, value in os.environ.items() if key != "SOURCE_DATE_EPOCH"}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        target.write_bytes(options.runtime.read_bytes() + image.read_bytes())
    target.chmod(0o755)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


def lay_out(app: Path, folder: Path) -> None:
    shutil.copytree(app, folder / "opt/gogrid", symlinks=True)
    entry = (HERE / "gogrid-worker.desktop").read_text(encoding="utf-8")
    lines = [line for line in entry.splitlines() if not line.startswith("TryExec=")]
    text = "\n".join("Exec=gogrid-worker" if line.startswith("Exec=") else line for line in lines)
    (folder / "gogrid-worker.desktop").write_text(text + "\n", encoding="utf-8")
    (folder / "AppRun").write_text(APP_RUN, encoding="utf-8")
    (folder / "AppRun").chmod(0o755)
    with tempfile.TemporaryDirectory() as drawn:
        pictures = {picture.name: picture for picture in export(Path(drawn))}
        shutil.copyfile(pictures["gogrid-256.png"], folder / "gogrid.png")
    (folder / ".DirIcon").symlink_to("gogrid.png")


if __name__ == "__main__":
    sys.exit(main())
