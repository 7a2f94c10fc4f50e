"""A Windows user's account of its own, under Wine: one prefix, one display, what is installed and what runs in it."""
# ruff: noqa: S101 - for tests, which lie outside tests/ because they need what `make test` does not

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

import psutil

ROOT = Path(__file__).parents[2]
SHIM = ROOT / "packaging/windows_tests/bcryptprimitives.c"
QUIET = "winedbg.exe=d;wbemprox=d;mscoree=d;mshtml=d;winemenubuilder.exe=d"
"""No crash dialogs, no service that Wine 8 lacks, no offers to install .NET, nothing written into our own menus."""
sys.path.insert(0, str(ROOT / "packaging/windows_tests"))

from windows_machine import display  # noqa: E402


def wine_program() -> str:
    return subprocess.check_output([ROOT / "packaging/windows_tests/wine", "--where"], text=True).strip()


@dataclass
class WineMachine:
    prefix: Path
    environment: dict[str, str]
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        """The only person's folder."""
        return next(path for path in (self.prefix / "drive_c/users").iterdir() if path.name != "Public")

    @property
    def local(self) -> Path:
        return self.home / "AppData/Local"

    @property
    def roaming(self) -> Path:
        return self.home / "AppData/Roaming"

    @property
    def installed(self) -> Path:
        return self.local / "Programs/GoGrid Worker"

    @property
    def data(self) -> Path:
        return self.local / "GoGrid Worker"

    def run(self, *command: str | Path, given: str = "", patience_s: float = 120) -> subprocess.CompletedProcess[str]:
        """A Windows program, to its end. Output goes through a pipe: a terminal is none that it knows."""
        return subprocess.run(
            [wine_program(), *map(str, command)],
            env=self.environment,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=patience_s,
        )

    def set_up(self, program: Path, *words: str) -> int:
        """An installer or uninstaller, without its output: what it starts and leaves running would hold the pipe."""
        quiet = subprocess.DEVNULL
        command = [wine_program(), str(program), *words]
        return subprocess.run(
            command, env=self.environment, stdin=quiet, stdout=quiet, stderr=quiet, check=False, timeout=240
        ).returncode

    def start(self, log: Path, *command: str | Path) -> "subprocess.Popen[bytes]":
        """One that goes on, and what ends with it; output through a pipe, too."""
        piped = ["bash", "-o", "pipefail", "-c", '"$@" </dev/null 2>&1 | cat >"$0"', log, wine_program(), *command]
        self._started.append(subprocess.Popen(piped, env=self.environment))
        return self._started[-1]

    def worker(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """A command of the installed `gogrid-worker`."""
        return self.run(self.installed / "gogrid-worker.exe", *words, given=given)

    def registry(self, key: str) -> dict[str, str]:
        """The current user's values below a key, `SUBKEY|NAME`; empty: there is no such key."""
        told = self.run("reg", "query", f"HKCU\\{key}", "/s").stdout
        found, place = {}, ""
        for line in told.splitlines():
            if line.startswith("HKEY_CURRENT_USER"):
                place = line.strip().removeprefix(f"HKEY_CURRENT_USER\\{key}").lstrip("\\")
            elif " REG_" in line:
                name, _, value = (part.strip() for part in line.strip().partition("    REG_"))
                found[f"{place}|{name}"] = value.partition("    ")[2].strip()
        return found

    def programs(self) -> dict[int, str]:
        """Those of the installed app that run here: process and name, such as `gogrid-runner.exe`."""
        found = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("WINEPREFIX") == str(self.prefix) and process.cmdline():
                    program = PureWindowsPath(process.cmdline()[0].lower())
                    if program.name.startswith("gogrid") and not program.name.endswith("setup.exe"):
                        found[process.pid] = program.name
        return found

    def files(self) -> set[str]:
        """Everything in the person's folder, as `AppData/…`."""
        return {path.relative_to(self.home).as_posix() for path in self.home.rglob("*") if not path.is_dir()}

    def end(self) -> None:
        server = next(path for path in (Path("/usr/lib/wine/wineserver"), Path("/usr/bin/wineserver")) if path.exists())
        subprocess.run([server, "-k"], env=self.environment, check=False)
        for started in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.wait(10)


@contextlib.contextmanager
def wine_machine(folder: Path, settings: dict[str, str]) -> Iterator[WineMachine]:
    """Args: settings: variables that every program in it sees."""
    with display() as screen:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("GOGRID_", "WINE"))}
        environment |= {
            "WINEPREFIX": str(folder),
            "WINEARCH": "win64",
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": QUIET,
            "DISPLAY": screen,
            **settings,
        }
        machine = WineMachine(folder, environment)
        assert machine.run("wineboot", "--init").returncode == 0
        shim = folder / "drive_c/windows/system32/bcryptprimitives.dll"
        compiler = ["x86_64-w64-mingw32-gcc", "-shared", "-O2", "-o", str(shim), str(SHIM), "-ladvapi32"]
        subprocess.run(compiler, check=True)
        try:
            yield machine
        finally:
            machine.end()


def within(seconds: float, true: Callable[[], object]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.1)
    return bool(true())
