"""Settings for all tests, how they are dealt out to processes, and that nothing is skipped where CI=true.

The environment is set before the libraries it concerns are imported.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # torch's threads sleep soon, as in the product
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in its background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else the programs under test would not hear Ctrl-C

_IN_CI = os.environ.get("CI") == "true"
_SHARED = (
    ("battery_attack", "living_evil_model_attack", "output_trees_attack", "refused_calls_attack", "tenants_attack",
     "terminal_attack"),
    ("commit_in_the_way", "echo_grid", "job_queue", "python_jobs"),
    ("live_limit", "lost_worker"),
    ("faults_clients", "faults_coordinator", "faults_network", "faults_partition", "faults_poison", "faults_streams",
     "faults_worker"),
)  # fmt: skip
"""Files whose tests share a grid, which one process makes once."""
_PREPARE = Path(__file__).parents[1] / "packaging" / "desktop_tests" / "prepare"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test of the real desktop is skipped, with what is missing, where there is none."""
    marked = [item for item in items if item.get_closest_marker("desktop") is not None]
    if marked and (reason := _no_desktop()):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


def _no_desktop() -> str:
    """Why the real desktop cannot be tested here; empty: it can."""
    if not sys.platform.startswith("linux"):
        return "the desktop is tested on Linux"
    venv = {**os.environ, "VENV": sys.prefix}
    missing = subprocess.run([_PREPARE, "--missing"], capture_output=True, text=True, check=True, env=venv).stdout
    return f"missing: {', '.join(missing.splitlines())}; run packaging/desktop_tests/prepare" if missing else ""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "LoadFileScheduling":
    """Whole files go to a process, and files that share a grid to the same one."""
    from xdist.scheduler import LoadFileScheduling

    class ByGrid(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            name = Path(file).stem.removesuffix("_test")
            return next((" ".join(files) for files in _SHARED if name in files), file)

    return ByGrid(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> object:
    """In CI a skipped test is one that something should have been installed for."""
    report = yield
    if _IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which CI does not allow: {report.longrepr}"
    return report
