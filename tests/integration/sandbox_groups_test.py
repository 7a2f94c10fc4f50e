"""What holds for all processes of a sandbox together, in real control groups of whichever version is here."""

import asyncio
import gc
import os
import platform
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from runner.sandbox.base import SandboxedProcess, SandboxSpec
from runner.sandbox.interpreter import running_interpreter
from runner.sandbox.linux import self_test
from runner.sandbox.linux.choice import bubblewrap_programs, choose_bwrap
from runner.sandbox.linux.group_settings import GroupLimits
from runner.sandbox.linux.groups import process_groups
from runner.sandbox.linux.launcher import BwrapLauncher, Program
from runner.sandbox.linux.process_group import ProcessGroup, ProcessGroups
from runner.sandbox.linux.python_home import python_home
from sandbox_profiles import linux
from sandbox_profiles.seccomp_generate import filter_path
from tests.conformance.launcher_suite import DEADLINE_S, code, finish

pytestmark = pytest.mark.sandbox

_SCRIPT = "runner.python_job.inside"
_LIMITS = GroupLimits(processes=20, memory_bytes=64 << 20, cpu_cores=None, cpu_weight=50)


@pytest.fixture(scope="session")
def groups() -> ProcessGroups:
    found = asyncio.run(process_groups())
    if found is None or not any("memory" in hierarchy.controllers for hierarchy in found.hierarchies):
        pytest.skip("this machine has no control groups that this user may make")
    return found


@pytest.fixture(scope="session")
def launcher(groups: ProcessGroups) -> BwrapLauncher:
    return asyncio.run(choose_bwrap(None, None, ()))


def folders(groups: ProcessGroups, maker: int) -> list[Path]:
    return [path for hierarchy in groups.hierarchies for path in hierarchy.folder.glob(f"gogrid-{maker}-*")]


def hog(processes: int, mebibytes: int) -> tuple[str, ...]:
    return ("runner.sandbox.linux.limits_probe", "1", str(processes), str(mebibytes))


def test_all_layers_are_proved_here(launcher: BwrapLauncher) -> None:
    assert {linux.MEMORY_LAYER, linux.CPU_LAYER} <= set(launcher.report.layers)


async def test_many_processes_cannot_together_use_more_than_their_memory(launcher: BwrapLauncher) -> None:
    """None of them alone has too much: the limit for each process sees nothing."""
    spec = SandboxSpec(arguments=hog(6, 40), memory_bytes=128_000_000)
    process = await launcher.launch(spec)
    _, output, _ = await finish(process)
    assert b"survived" not in output
    assert process.over_memory == "Its processes needed more than their 128 MB of memory together."


async def test_memory_within_the_limit_is_had(launcher: BwrapLauncher) -> None:
    process = await launcher.launch(SandboxSpec(arguments=hog(2, 40), memory_bytes=128 << 20))
    status, output, _ = await finish(process)
    assert (status, output.split()[-1], process.over_memory) == (0, b"survived", "")


async def test_files_in_memory_count_as_memory(launcher: BwrapLauncher) -> None:
    write = "open('/tmp/x', 'wb').write(bytes(120 << 20))"
    spec = SandboxSpec(arguments=code(write), memory_bytes=64 << 20, address_space=False)
    process = await launcher.launch(spec)
    await finish(process)
    assert process.over_memory


async def test_another_kill_is_not_taken_for_one_for_memory(launcher: BwrapLauncher) -> None:
    process = await launcher.launch(SandboxSpec(arguments=code("input()"), memory_bytes=64 << 20))
    process.kill()
    async with asyncio.timeout(DEADLINE_S):
        assert await process.wait() == -signal.SIGKILL
    assert process.over_memory == ""


async def test_processor_share_of_all_processes_together_is_limited(launcher: BwrapLauncher) -> None:
    """Four that are busy; what they got is what their ends tell."""
    busy = (
        "import os, resource, time\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        end = time.monotonic() + 1.0\n"
        "        while time.monotonic() < end: pass\n"
        "        os._exit(0)\n"
        "for _ in range(4): os.wait()\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime)"
    )
    began = time.monotonic()
    _, output, errors = await finish(await launcher.launch(SandboxSpec(arguments=code(busy), cpu_cores=0.25)))
    assert errors == b""
    assert float(output.split()[0]) / (time.monotonic() - began) < 0.4


@pytest.mark.parametrize(
    ("cores", "code", "held_back"),
    [
        (0.2, "while time.process_time() < 0.1: pass", True),
        (None, "while time.process_time() < 0.1: pass", False),
        (2.0, "while time.process_time() < 0.1: pass", False),
    ],
    ids=["more than its quota", "no quota", "less than its quota"],
)
def test_kernel_tells_who_was_held_back(groups: ProcessGroups, cores: float | None, code: str, held_back: bool) -> None:
    """All three are as busy, and beside other programs all three may get as little."""
    group = groups.create()
    group.limit(GroupLimits(processes=20, memory_bytes=None, cpu_cores=cores, cpu_weight=1000))
    with subprocess.Popen([sys.executable, "-c", f"input()\nimport time\n{code}"], stdin=subprocess.PIPE) as process:
        group.add(process.pid)
        process.communicate(b"\n")
    assert group.held_back is held_back
    assert group.remove()
    assert not group.held_back


def test_group_without_the_processor_controller_says_nothing_of_a_quota(groups: ProcessGroups) -> None:
    others = (replace(one, controllers=one.controllers - {"cpu"}) for one in groups.hierarchies)
    group = ProcessGroups(tuple(others)).create()
    assert group.held_back is None
    assert group.remove()


class Unlimited(ProcessGroup):
    def limit(self, limits: GroupLimits) -> None:
        """As a kernel that takes a limit and enforces nothing."""


class UnlimitedGroups(ProcessGroups):
    made = 0

    def create(self) -> ProcessGroup:
        self.made += 1
        name = f"gogrid-{os.getpid()}-unlimited{self.made}"
        folders = [(one, one.folder / name) for one in self.hierarchies]
        for _, folder in folders:
            folder.mkdir()
        return Unlimited(folders)


async def test_limit_that_is_not_enforced_is_not_proved_by_a_busy_machine(
    launcher: BwrapLauncher, groups: ProcessGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the machine has left is a quota of the group above: less than the limit would be, and nobody's limit."""
    monkeypatch.setattr(self_test, "_BUSY_MS", (100, 200))
    (found,) = (one for one in groups.hierarchies if "cpu" in one.controllers)
    tree, folder = replace(found, controllers=frozenset({"cpu"})), found.folder / f"gogrid-{os.getpid()}-busy"
    folder.mkdir()
    above = ProcessGroup([(tree, folder)])
    above.limit(GroupLimits(processes=100, memory_bytes=None, cpu_cores=0.2, cpu_weight=100))
    if tree.version == 2:
        (folder / "cgroup.subtree_control").write_text("+cpu")
    busy = UnlimitedGroups((replace(tree, folder=folder),))
    program = Program(
        bubblewrap_programs()[0], python_home(running_interpreter()), filter_path(platform.machine()), busy
    )
    try:
        report = await self_test.self_test(BwrapLauncher(program, launcher.report), "bubblewrap")
    finally:
        assert above.remove()
    assert linux.CPU_LAYER in report.missing
    assert busy.made == 4  # the probe, twice busy because it cannot be told, the hog


async def test_every_process_of_a_sandbox_is_in_its_group(launcher: BwrapLauncher, groups: ProcessGroups) -> None:
    """From the first one on: those that fork as fast as they can, too."""
    fork = "import os, time\nfor _ in range(5): os.fork()\nprint(1, flush=True); time.sleep(30)"
    process = await launcher.launch(SandboxSpec(arguments=code(fork)))
    async with asyncio.timeout(DEADLINE_S):
        for _ in range(32):
            await process.stdout.readline()
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(family) >= 33
    assert all(f"/gogrid-{os.getpid()}-" in Path(f"/proc/{one.pid}/cgroup").read_text() for one in family)
    before = time.monotonic()
    process.kill()
    await process.wait()
    assert time.monotonic() - before < 1.0
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


async def test_group_goes_with_its_sandbox(launcher: BwrapLauncher, groups: ProcessGroups) -> None:
    process = await launcher.launch(SandboxSpec(arguments=code("input()")))
    there = Path(f"/proc/{process.pid}/cgroup").read_text()
    mine = [path for path in folders(groups, os.getpid()) if path.name in there]
    assert mine
    process.kill()
    await process.wait()
    assert not [path for path in mine if path.exists()]


async def test_next_script_finds_its_sandbox_ready(launcher: BwrapLauncher) -> None:
    before = children()
    first = await script(launcher)
    waiting = children() - before - {first.pid}
    second = await script(launcher)
    assert second.pid in waiting
    for process in (first, second):
        process.kill()
        await process.wait()


async def test_sandbox_that_died_while_it_waited_is_not_used(launcher: BwrapLauncher) -> None:
    before = children()
    first = await script(launcher)
    (spare,) = (psutil.Process(pid) for pid in children() - before - {first.pid})
    spare.kill()
    while spare.status() != psutil.STATUS_ZOMBIE:
        await asyncio.sleep(0.001)
    second = await script(launcher)
    assert second.pid != spare.pid
    for process in (first, second):
        process.kill()
        await process.wait()


def test_launcher_that_goes_leaves_nothing(groups: ProcessGroups) -> None:
    """Each of its sandboxes may have lived on an event loop of its own, and nobody has to read what one said."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what other tests left
        gc.collect()
    before = children()
    launcher = asyncio.run(choose_bwrap(None, None, ()))
    for _ in range(2):
        asyncio.run(run_one(launcher))
    assert len(children() - before) == 1
    del launcher
    gc.collect()
    assert children() <= before


def children() -> set[int]:
    return {one.pid for one in psutil.Process().children()}


async def run_one(launcher: BwrapLauncher) -> None:
    process = await script(launcher)
    process.kill()
    await process.wait()


async def script(launcher: BwrapLauncher) -> SandboxedProcess:
    """A sandbox that waits for ever, of the module that is kept ready."""
    process = await launcher.launch(SandboxSpec(arguments=(_SCRIPT, "main.py", "0", "0", "0")))
    process.stdin.close()
    return process


def test_a_kill_finds_whoever_is_in_the_group(groups: ProcessGroups) -> None:
    """Also what bubblewrap had started when it died before the namespaces were made."""
    group = groups.create()
    with subprocess.Popen(["sleep", "60"]) as left:
        group.add(left.pid)
        group.kill()
        assert left.wait(5) == -signal.SIGKILL
    assert group.remove()


def test_what_a_killed_runner_left_running_is_ended(groups: ProcessGroups) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folders_of_it = [place.folder / f"gogrid-{gone.pid}-1" for place in groups.hierarchies]
    with subprocess.Popen(["sleep", "60"]) as left:
        for folder in folders_of_it:
            folder.mkdir()
            (folder / "cgroup.procs").write_text(str(left.pid))
        groups.remove_stale()
        assert left.wait(5) == -signal.SIGKILL
    groups.remove_stale()
    assert not [folder for folder in folders_of_it if folder.exists()]


def test_stale_groups_are_removed_and_others_left(groups: ProcessGroups) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folder = groups.hierarchies[0].folder
    stale, beside, other = (
        folder / name for name in (f"gogrid-{gone.pid}-1", f"gogrid-{os.getppid()}-7", f"gogrid-x{os.getpid()}")
    )
    for path in (stale, beside, other):
        path.mkdir()
    try:
        groups.remove_stale()
        assert not stale.exists()
        assert beside.exists()
        assert other.exists()
    finally:
        beside.rmdir()
        other.rmdir()


def test_group_with_a_process_is_not_removed_and_goes_after_it(groups: ProcessGroups) -> None:
    group = groups.create()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    group.limit(_LIMITS)
    group.add(process.pid)
    assert not group.remove()
    group.kill()
    process.kill()
    process.communicate()
    assert not group.killed_for_memory
    assert group.remove()
