"""The update archive of the frozen app, `gogrid-VERSION-TARGET.zip`: what a running worker downloads and unpacks.

Sorted names, one moment, two modes, no links: the same app gives the same bytes. Checked with the extractor that every
worker uses before it is called done.
"""

import argparse
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

import gogrid  # noqa: E402
from updates.archive import Bounds, unpack  # noqa: E402
from updates.engine_pack.system import this_system  # noqa: E402

MOMENT = (1980, 1, 1, 0, 0, 0)
LEVEL = 9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--app", type=Path, default=ROOT / "dist" / "gogrid")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    target = options.out / f"gogrid-{gogrid.__version__}-{this_system()}.zip"
    write(options.app, target)
    total = sum(path.stat().st_size for path in options.app.rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory(dir=options.out) as name:
        unpack(target, Path(name) / "tried", Bounds(total))
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


def write(app: Path, target: Path, level: int = LEVEL) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in app.rglob("*") if path.is_file()):
            info = zipfile.ZipInfo(path.relative_to(app).as_posix(), MOMENT)
            info.create_system = 3
            info.external_attr = (0o100755 if path.stat().st_mode & 0o100 else 0o100644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, path.read_bytes(), compresslevel=level)


if __name__ == "__main__":
    sys.exit(main())
