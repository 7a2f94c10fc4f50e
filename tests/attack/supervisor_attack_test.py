"""Threats 7 and 8: a script attacks what watches it, or outlives it."""

import asyncio
import os
import secrets
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from gogrid.protocol.tasks import PythonLimits
from tests.attack.jobs import Jobs, processes_with, wait_until_gone

pytestmark = pytest.mark.sandbox

_DAEMON = """
    import os, sys, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(60)
        os._exit(0)
    print("daemon started", flush=True)
"""


async def test_script_inherits_only_its_three_descriptors(jobs: Jobs) -> None:
    leaked = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    try:
        seen = await jobs.run(
            """
            import os
            listed = os.listdir("/proc/self/fd")
            print(sorted(int(fd) for fd in listed if os.path.lexists(f"/proc/self/fd/{fd}")))
            print(os.readlink("/proc/self/fd/0"))
            """
        )
    finally:
        os.close(leaked)
    assert seen.stdout == "[0, 1, 2]\n/dev/null\n"


async def test_script_sees_only_its_supervisor_and_itself(jobs: Jobs) -> None:
    seen = await jobs.run("import os; print(sorted(int(name) for name in os.listdir('/proc') if name.isdecimal()))")
    assert seen.stdout == "[1, 2]\n"


async def test_script_cannot_speak_for_its_supervisor(jobs: Jobs) -> None:
    seen = await jobs.run(
        """
        import os
        for path, how in (("fd/1", os.O_WRONLY), ("fd/0", os.O_RDONLY), ("mem", os.O_RDWR), ("environ", os.O_RDONLY)):
            try:
                os.open("/proc/1/" + path, how)
                print("opened", path)
            except PermissionError: pass
        """
    )
    assert seen.stdout == ""
    assert seen.stderr == ""


async def test_script_cannot_kill_its_supervisor(jobs: Jobs) -> None:
    seen = await jobs.run(
        """
        import os, signal
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE):
            os.kill(1, number)
        open("kept.txt", "w").write("kept")
        print("alive")
        """
    )
    assert seen.stdout == "alive\n"
    assert (seen.done.ended, seen.done.exit_code) == ("ok", 0)
    assert seen.files == {"kept.txt": b"kept"}


async def test_script_cannot_interrupt_its_supervisor(jobs: Jobs) -> None:
    """Python gives SIGINT a handler, and a signal with a handler reaches process 1 too."""
    seen = await jobs.run(
        """
        import os, signal, time
        for number in (signal.SIGINT, *signal.valid_signals()):
            os.kill(1, number)
        time.sleep(0.2)
        open("kept.txt", "w").write("kept")
        print("alive")
        """
    )
    assert seen.stdout == "alive\n"
    assert (seen.done.ended, seen.done.exit_code) == ("ok", 0)
    assert seen.files == {"kept.txt": b"kept"}


async def test_script_is_interrupted_as_python_is(jobs: Jobs) -> None:
    seen = await jobs.run(
        """
        import os, signal, subprocess, sys
        try: os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt: print("interrupted", flush=True)
        child = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
        print(subprocess.run([sys.executable, "-c", child], stderr=subprocess.DEVNULL).returncode)
        """
    )
    assert seen.stdout == "interrupted\n-2\n"
    assert (seen.done.ended, seen.stderr) == ("ok", "")


async def test_script_cannot_limit_its_supervisor(jobs: Jobs) -> None:
    seen = await jobs.run(
        """
        import resource
        for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):
            for asked in ((), ((0, 0),)):
                try: print(resource.prlimit(1, which, *asked))
                except PermissionError: pass
        open("kept.txt", "w").write("kept")
        print("alive")
        """
    )
    assert (seen.stdout, seen.stderr) == ("alive\n", "")
    assert seen.done.ended == "ok"
    assert seen.files == {"kept.txt": b"kept"}


async def test_script_that_kills_everything_ends_only_itself(jobs: Jobs) -> None:
    seen = await jobs.run("import os\nif os.fork(): os.kill(-1, 9); print('went on'); os.kill(os.getpid(), 9)")
    assert seen.stdout == "went on\n"
    assert (seen.done.ended, seen.done.exit_code) == ("crashed", 137)


async def test_background_processes_end_with_the_script(jobs: Jobs) -> None:
    marker = secrets.token_hex(8)
    seen = await jobs.run(_DAEMON, arguments=(marker,), limits=PythonLimits(wall_s=30))
    assert seen.done.ended == "ok"
    await wait_until_gone(marker)


async def test_cancel_ends_everything_at_once(jobs: Jobs) -> None:
    marker = secrets.token_hex(8)
    seen = await jobs.run(_DAEMON + "    time.sleep(60)", arguments=(marker,), cancel_on="daemon started")
    assert seen.done.ended == "cancelled"
    await wait_until_gone(marker)


async def test_nothing_survives_kill_of_the_runner(tmp_path: Path) -> None:
    """`kill -9` of the process that holds the sandbox; the job has a daemon of its own."""
    marker = secrets.token_hex(8)
    script = tmp_path / "main.py"
    script.write_text("\n".join(line[4:] for line in _DAEMON.splitlines()) + "\ntime.sleep(60)\n")
    runner = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("doomed_runner.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert runner.stdin is not None
    assert runner.stdout is not None
    runner.stdin.write(f"{marker}\n{script}\n".encode())
    await runner.stdin.drain()
    assert b"daemon started" in await asyncio.wait_for(runner.stdout.readline(), 20)
    assert len(processes_with(marker)) >= 2
    family = psutil.Process(runner.pid).children(recursive=True)
    assert sum(process.name() == "bwrap" for process in family) >= 2, "the job's, and the one kept ready"
    runner.send_signal(signal.SIGKILL)
    await runner.wait()
    await wait_until_gone(marker, within_s=1.0)
    deadline = time.monotonic() + 1.0
    while left := [process for process in family if _lives(process)]:
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.01)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
