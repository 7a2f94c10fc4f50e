"""The Windows installer of the frozen app: `python packaging/windows/installer.py [--app FOLDER] [--out DIST]`.

Made by `makensis`, on any system. The same app gives the same bytes: no dates of files, the commit's time as its own.
"""

import argparse
import os
import re
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

PROGRAMS = ("gogrid", "gogrid-app", "gogrid-icon", "gogrid-runner", "gogrid-window", "gogrid-worker")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--app", type=Path, default=ROOT / "dist" / "windows" / "gogrid")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    if missing := [name for name in PROGRAMS if not (options.app / f"{name}.exe").is_file()]:
        parser.error(f"{options.app} holds no frozen app for Windows: {', '.join(missing)}")
    options.out.mkdir(parents=True, exist_ok=True)
    target = (options.out / f"GoGrid-Worker-{gogrid.__version__}-setup.exe").resolve()
    with tempfile.TemporaryDirectory() as drawn:
        export(Path(drawn))
        given = {
            "VERSION": gogrid.__version__,
            "NUMBERS": four_numbers(gogrid.__version__),
            "APP": str(options.app.resolve()),
            "ICON": str(Path(drawn, "gogrid.ico")),
            "OUT": str(target),
        }
        command = ["makensis", "-V2", "-WX", *(f"-D{name}={value}" for name, value in given.items())]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH") or commit_time()}
        done = subprocess.run([*command, str(HERE / "gogrid.nsi")], env=environment, check=False)
    if done.returncode:
        print("installer.py: makensis failed; it says why above", file=sys.stderr)
        return 1
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


def four_numbers(version: str) -> str:
    """As Windows wants them: `1.2.0rc1` is 1.2.0.0."""
    numbers = re.findall(r"(?:^|\.)([0-9]+)", version)
    return ".".join([*numbers, "0", "0", "0", "0"][:4])


if __name__ == "__main__":
    sys.exit(main())
