"""What a worker costs the person at whose machine it idles: memory, processor time, and how soon it obeys.

Needs a virtual display and a tray host: packaging/desktop_tests/prepare.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psutil

from benchmarks.figures import Figure
from benchmarks.peers import PeerMissingError
from gogrid.client.local_grid import LocalGrid
from gogrid.protocol.worker_report import Readiness
from runner.control_messages import AskResume, AskStatus, WorkerStatus
from tests.desktop_session import TrayMenu, desktop_session, family, wait_until
from tray.control_client import NotRunningError, ask

TRAY_MB = 130.0
HEADLESS_MB = 75.0
CPU = 0.2
START_S = 2.5
EFFECT_S = 0.2
_STARTS = 5
_CLICKS = 20
_SETTLE_S = 8.0
_WATCH_S = 300.0


def measure(folder: Path) -> Iterator[Figure]:
    if any(shutil.which(program) is None for program in ("Xvfb", "trayer", "dbus-daemon")):
        raise PeerMissingError("The desktop is measured on a virtual one; run packaging/desktop_tests/prepare first.")
    with desktop_session() as session, LocalGrid(folder) as grid:
        grid.init()
        grid.start_coordinator()
        grid.join_worker()
        data = folder / "worker"
        desktop = {**grid.environment, **session.environment}
        bare = {name: value for name, value in grid.environment.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
        starts = []
        for _ in range(_STARTS):
            with _app(data, desktop) as (_, took):
                starts.append(took)
        yield Figure(
            "desktop: start to connected", median(starts), "s", START_S, False, f"median of {_STARTS}, with icon"
        )
        for environment, words, name, most in (
            (desktop, (), "with icon", TRAY_MB),
            (bare, ("--headless",), "headless", HEADLESS_MB),
        ):
            with _app(data, environment, *words) as (process, _):
                time.sleep(_SETTLE_S)
                before, began = _busy(process), time.monotonic()
                time.sleep(_WATCH_S)
                share = (_busy(process) - before) / (time.monotonic() - began) * 100
                shares = " + ".join(f"{_megabytes(each):.0f}" for each in family(process.pid))
                total = sum(map(_megabytes, family(process.pid)))
                yield Figure(f"desktop: memory when idle, {name}", total, "MB", most, False, f"proportional: {shares}")
                yield Figure(f"desktop: CPU when idle, {name}", share, "% of a core", CPU, False, f"{_WATCH_S:.0f} s")
                if not words:
                    icon = next(each for each in family(process.pid) if "tray.icon" in each.cmdline())
                    effects = _effects(data / "control.sock", TrayMenu(session, icon.pid))
        note = f"median of {_CLICKS}; slowest {max(effects):.3f} s"
        yield Figure("desktop: Pause clicked to runner paused", median(effects), "s", EFFECT_S, False, note)


@contextmanager
def _app(data: Path, environment: Mapping[str, str], *words: str) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """One that is connected, and the seconds that took."""
    command = [sys.executable, "-P", "-m", "tray.cli", "--data", str(data), *words]
    began = time.monotonic()
    process = subprocess.Popen(command, env=dict(environment), stderr=subprocess.DEVNULL)
    try:
        wait_until(
            lambda: (status := _status(data / "control.sock")) is not None and status.connected, "the connection"
        )
        yield process, time.monotonic() - began
    finally:
        process.terminate()
        process.wait(30)


def _status(control: Path) -> WorkerStatus | None:
    try:
        answer = ask(control, AskStatus())
    except NotRunningError:
        return None
    return answer if isinstance(answer, WorkerStatus) else None


def _effects(control: Path, menu: TrayMenu) -> list[float]:
    """Seconds from a click on Pause to a runner that says it is paused."""

    def readiness(wanted: Readiness) -> Callable[[], bool]:
        return lambda: (status := _status(control)) is not None and status.readiness is wanted

    took = []
    for _ in range(_CLICKS):
        wait_until(lambda: "Pause/Until I resume" in menu.settled(), "the menu to offer it")
        number = menu.settled()["Pause/Until I resume"][0]
        began = time.monotonic()
        menu.click_number(number)
        wait_until(readiness(Readiness.PAUSED), "the pause")
        took.append(time.monotonic() - began)
        ask(control, AskResume())
        wait_until(readiness(Readiness.READY), "the end of the pause")
    return took


def _busy(process: subprocess.Popen[bytes]) -> float:
    """Seconds of processor time of the whole family."""
    return sum(sum(each.cpu_times()[:2]) for each in family(process.pid))


def _megabytes(process: psutil.Process) -> float:
    """Proportional: what several processes share is divided between them."""
    return float(process.memory_full_info().pss) / 1e6
