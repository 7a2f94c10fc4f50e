"""The macOS launcher's own promises, kept for real on Linux behind a stand-in for `sandbox-exec`.

The kernel's half, the profile, is for a Mac: docs/macos.md.
"""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Launcher, Mount, SandboxReport, SandboxSpec
from runner.sandbox.interpreter import running_interpreter
from runner.sandbox.macos import guard as macos_guard
from runner.sandbox.macos.folders import PREFIX, remove_stale
from runner.sandbox.macos.launcher import MacLauncher, MacProcess
from runner.sandbox.macos.live import live_checks
from runner.sandbox.macos.python import mac_python
from runner.sandbox.macos.self_test import judge, look, with_gpus
from sandbox_profiles import macos
from tests.conformance.launcher_suite import LauncherSuite, code, finish

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(sys.platform != "linux", reason="the stand-in uses Landlock; on a Mac run the self-test"),
]
ROOT = Path(__file__).parents[2]
REPORT = SandboxReport(
    name="stand-in", layers=macos.REQUIRED_LAYERS, missing=macos.NEVER_ENFORCED, python_jobs=False, remaps=False
)


def program(path: Path, module: str, *, change: str = "") -> Path:
    """A program that runs one of `tests/fakes` as macOS would run it: without anything of the environment."""
    lines = (
        "import sys",
        f"sys.path[:0] = {[str(ROOT), *sys.path]!r}",
        change,
        f"from tests.fakes.{module} import main",
    )
    path.write_text(f"#!{sys.executable} -IB\n" + "\n".join([*lines, "main()"]) + "\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def make_launcher(tools: Path, base: Path, *, sandbox_exec: Path | None = None) -> MacLauncher:
    return MacLauncher(
        mac_python(running_interpreter()),
        base,
        REPORT,
        sandbox_exec=str(sandbox_exec or program(tools / "sandbox-exec", "sandbox_exec")),
        guard=program(tools / "guard.py", "mac_guard"),
    )


_PLACES_OF_A_MAC = "from sandbox_profiles import macos; macos.LINKS_OF_THE_SYSTEM = macos.TOO_WIDE = ()"
"""Here /tmp is no link, and a system's Python may lie in /usr; `macos_arguments_test.py` holds both rules."""


@pytest.fixture(autouse=True)
def places_of_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(macos, "LINKS_OF_THE_SYSTEM", ())
    monkeypatch.setattr(macos, "TOO_WIDE", ())


@pytest.fixture
def base() -> Iterator[Path]:
    """Where jobs get their folders; nothing may be left in it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
        assert list(Path(folder).iterdir()) == []


@pytest.fixture
def tools() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def launcher(tools: Path, base: Path) -> MacLauncher:
    return make_launcher(tools, base)


class TestMacLauncher(LauncherSuite):
    async def test_memory_limit_is_enforced(self, launcher: Launcher) -> None:
        """Held by looking: the whole job is killed, and says why."""
        spec = SandboxSpec(
            arguments=code("x = b'x' * (300 << 20)\nimport time\ntime.sleep(60)"), memory_bytes=128 << 20
        )
        process = await launcher.launch(spec)
        assert (await finish(process))[0] == -signal.SIGKILL
        assert "more than 134 MB of memory" in process.over_memory

    async def test_missing_host_path_starts_nothing(self, launcher: Launcher, tmp_path: Path) -> None:
        spec = SandboxSpec(arguments=("this",), mounts=(Mount(tmp_path / "absent", "/models/m"),))
        with pytest.raises(SandboxUnavailableError, match="absent"):
            await launcher.launch(spec)


@pytest.fixture
async def looked(launcher: MacLauncher, tmp_path: Path) -> dict[str, object]:
    """What a job sees of itself."""
    (tmp_path / "in.py").write_text("input")
    look = (
        "import json, os, resource, signal\nfrom runner.sandbox.places import place\n"
        "print(json.dumps({'environ': dict(os.environ), 'group': os.getpgrp(), 'session': os.getsid(0), "
        "'pid': os.getpid(), 'cwd': os.getcwd(), 'input': open(place('/job/in/sub/in.py')).read(), "
        "'fds': sorted(int(n) for n in os.listdir('/proc/self/fd') if os.path.lexists('/proc/self/fd/' + n)), "
        "'limits': [resource.getrlimit(r)[0] for r in "
        "(resource.RLIMIT_CORE, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)], "
        "'modes': [oct(os.stat(place(p)).st_mode & 0o777) for p in ('/job/in', '/job/out', '/tmp', '')]}))"
    )
    spec = SandboxSpec(
        arguments=code(look),
        mounts=(Mount(tmp_path / "in.py", "/job/in/sub/in.py"),),
        cpu_seconds=9,
        tmp_bytes=1 << 20,
        out_bytes=2 << 20,
    )
    process = await launcher.launch(spec)
    status, output, errors = await finish(process)
    assert status == 0, errors
    return {"guard": process.pid, **json.loads(output.splitlines()[0])}


async def test_inherits_only_its_three_descriptors(looked: dict[str, object]) -> None:
    assert looked["fds"] == [0, 1, 2]


async def test_environment_has_only_the_listed_names(looked: dict[str, object]) -> None:
    environ = looked["environ"]
    assert isinstance(environ, dict)
    assert set(environ) - macos.ADDED_BY_THE_SYSTEM == macos.ENVIRONMENT_NAMES
    assert environ["TMPDIR"] == environ["HOME"] == looked["cwd"]


async def test_job_is_a_group_of_its_own_apart_from_its_guard(looked: dict[str, object]) -> None:
    assert looked["group"] == looked["pid"] != looked["guard"]
    assert looked["session"] == looked["guard"] != os.getsid(0)


async def test_limits_are_set_before_the_job_runs(looked: dict[str, object]) -> None:
    assert looked["limits"] == [0, 9, 1024, 2 << 20]


async def test_folders_are_private_and_inputs_are_where_they_are_looked_for(looked: dict[str, object]) -> None:
    assert looked["input"] == "input"
    assert looked["modes"] == ["0o700"] * 4


async def test_input_is_a_copy_that_cannot_be_written(launcher: MacLauncher, tmp_path: Path) -> None:
    (tmp_path / "in.py").write_text("input")
    attack = (
        "from runner.sandbox.places import place\n"
        "try: open(place('/job/in/in.py'), 'w')\nexcept OSError: print('refused')"
    )
    spec = SandboxSpec(arguments=code(attack), mounts=(Mount(tmp_path / "in.py", "/job/in/in.py"),))
    assert (await finish(await launcher.launch(spec)))[1].split()[:1] == [b"refused"]
    assert (tmp_path / "in.py").read_text() == "input"


ESCAPE = (
    "import os, time\nfirst = os.fork()\nif first == 0:\n    os.setsid()\n    child = os.fork()\n"
    "    if child == 0:\n        print(os.getpid(), flush=True)\n        time.sleep(60)\n"
    "    time.sleep(0.6 if {waits} else 60)\n    os._exit(0)\ntime.sleep(60)"
)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def until_gone(pid: int) -> float:
    """Seconds until a process is dead."""
    began = time.monotonic()
    async with asyncio.timeout(5):
        while not gone(pid):
            await asyncio.sleep(0.01)
    return time.monotonic() - began


async def test_kill_reaches_what_left_the_group(launcher: MacLauncher) -> None:
    process = await launcher.launch(SandboxSpec(arguments=code(ESCAPE.format(waits=False))))
    grandchild = int(await process.stdout.readline())
    process.kill()
    assert await process.wait() == -signal.SIGKILL
    assert gone(grandchild)


async def test_kill_reaches_what_left_the_group_and_lost_its_parent(launcher: MacLauncher) -> None:
    process = await launcher.launch(SandboxSpec(arguments=code(ESCAPE.format(waits=True))))
    grandchild = int(await process.stdout.readline())
    async with asyncio.timeout(5):
        before = psutil.Process(grandchild).ppid()
        while psutil.Process(grandchild).ppid() == before:
            await asyncio.sleep(0.02)
    process.kill()
    await process.wait()
    assert gone(grandchild)


async def test_background_processes_end_with_the_job(launcher: MacLauncher) -> None:
    leave = "import os, time\nchild = os.fork()\nif child == 0: time.sleep(60)\nprint(child, flush=True)\nos._exit(3)"
    process = await launcher.launch(SandboxSpec(arguments=code(leave)))
    child = int(await process.stdout.readline())
    assert await process.wait() == 3
    assert gone(child)


async def test_death_of_the_guard_ends_the_job(launcher: MacLauncher, base: Path) -> None:
    process = await launcher.launch(
        SandboxSpec(arguments=code("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)"))
    )
    job = int(await process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    assert await until_gone(job) < 1.0
    for folder in base.iterdir():  # of a worker that is taken for dead
        folder.rename(folder.with_name(f"{PREFIX}999999999-x"))
    remove_stale(base)


async def test_nothing_survives_kill_of_the_worker(tools: Path, base: Path) -> None:
    """kill -9 of the process that launched: the guard sees its lifeline end."""
    make_launcher(tools, base)
    worker = program(tools / "worker", "mac_worker", change=_PLACES_OF_A_MAC)
    process = await asyncio.create_subprocess_exec(
        str(worker), str(tools), str(base), stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    job = int(await process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    assert await until_gone(job) < 1.0
    async with asyncio.timeout(5):
        while list(base.iterdir()):
            await asyncio.sleep(0.01)


async def test_job_cannot_keep_its_folder(launcher: MacLauncher, base: Path) -> None:
    hide = (
        "import os\nfrom runner.sandbox.places import place\n"
        "os.makedirs(place('/tmp/a/b')); open(place('/tmp/a/b/c'), 'w').close()\n"
        "os.symlink('/', place('/tmp/a/root')); os.chmod(place('/tmp/a/b'), 0); os.chmod(place('/tmp/a'), 0)"
    )
    assert (await finish(await launcher.launch(SandboxSpec(arguments=code(hide)))))[0] == 0
    assert list(base.iterdir()) == []


async def test_caps_held_by_looking_end_a_job(launcher: MacLauncher) -> None:
    """The rows of the self-test that need a running job hold here too, on Linux's process table."""
    rows = await live_checks(launcher)
    assert [(name, ok) for name, ok, _ in rows] == [(name, True) for name, _, _ in rows], rows
    assert len(rows) == 4


async def test_program_that_isolates_nothing_is_refused(tools: Path, base: Path) -> None:
    """The worst stand-in: it does what it is told but limits nothing."""
    naked = program(
        tools / "naked",
        "sandbox_exec",
        change="from runner.sandbox.linux import kernel as kernel; kernel.restrict_files = lambda *_: 0",
    )
    launcher = make_launcher(tools, base, sandbox_exec=naked)
    with pytest.raises(SandboxUnavailableError, match="did not enforce: no network, no host files, read-only system"):
        judge(await look(launcher))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo 'sandbox_apply: Operation not permitted' >&2; exit 71", "Operation not permitted"),
        ("exit 0", "no readable self-test report"),
        ("exit 3", "exit status 3"),
    ],
)
async def test_program_that_makes_no_sandbox_is_refused_in_words(
    tools: Path, base: Path, text: str, words: str
) -> None:
    bad = tools / "bad"
    bad.write_text(f"#!/bin/sh\n{text}\n")
    bad.chmod(0o755)
    with pytest.raises(SandboxUnavailableError, match=words):
        await look(make_launcher(tools, base, sandbox_exec=bad))


async def test_missing_program_starts_nothing(tools: Path, base: Path) -> None:
    with pytest.raises(SandboxUnavailableError, match="cannot be started"):
        await look(make_launcher(tools, base, sandbox_exec=tools / "absent"))


async def test_path_with_odd_characters_stays_a_path(launcher: MacLauncher, tmp_path: Path) -> None:
    odd = tmp_path / 'a")) (allow default) ; #"\n=b'
    odd.mkdir()
    (odd / "w").write_text("weights")
    spec = SandboxSpec(arguments=code(f"print(open({str(odd / 'w')!r}).read())"), mounts=(Mount(odd, "/models/m"),))
    status, output, errors = await finish(await launcher.launch(spec))
    assert (status, output.split()[:1]) == (0, [b"weights"]), errors


async def test_kill_for_memory_keeps_the_first_reason(launcher: MacLauncher) -> None:
    process: MacProcess = await launcher.launch(SandboxSpec(arguments=code("import time; time.sleep(60)")))
    process.kill_for_memory("first")
    process.kill_for_memory("second")
    assert (await process.wait(), process.over_memory) == (-signal.SIGKILL, "first")


async def test_gpu_that_was_not_proved_is_refused(launcher: MacLauncher) -> None:
    with pytest.raises(SandboxUnavailableError, match="'apple' was not seen working"):
        await launcher.launch(SandboxSpec(arguments=("this",), gpus=("apple",)))


async def test_gpu_rules_reach_the_kernel_with_the_grant_only(tools: Path, base: Path) -> None:
    """The stand-in shows the profile it was given."""
    show = tools / "show"
    show.write_text(f'#!{sys.executable}\nimport sys\nprint(sys.argv[sys.argv.index("-p") + 1])\n')
    show.chmod(0o755)
    launcher = make_launcher(tools, base, sandbox_exec=show)
    granted = launcher.proved(replace(REPORT, gpus=("apple",)))
    without = (await finish(await launcher.launch(SandboxSpec(arguments=("this",)))))[1]
    with_gpu = (await finish(await granted.launch(SandboxSpec(arguments=("this",), gpus=("apple",)))))[1]
    assert b"iokit" not in without
    assert b"(allow iokit-open" in with_gpu
    assert with_gpu.startswith(without.rstrip())


async def test_gpu_that_does_not_start_inside_is_told_as_missing(launcher: MacLauncher) -> None:
    """There is no Metal here."""
    report = await with_gpus(launcher, REPORT, ("apple",))
    assert report.gpus == ()
    assert "GPU (" in report.missing[-1]


def test_guard_needs_no_package() -> None:
    """It runs without site-packages; here it comes as far as libproc."""
    command = [sys.executable, "-I", "-S", "-B", macos_guard.__file__, "0", "1,1,1", "/nowhere", "/nothing"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, env={}, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "The process table cannot be read: there is no libproc on this system.\n"
