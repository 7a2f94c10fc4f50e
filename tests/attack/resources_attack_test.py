"""Threat 6: a script uses up the machine."""

import asyncio
import secrets
import time

import pytest

from gogrid.protocol.job_messages import Log
from gogrid.protocol.tasks import PythonLimits
from sandbox_profiles import linux
from tests.attack.jobs import Jobs, wait_until_gone

pytestmark = pytest.mark.sandbox


async def test_fork_bomb_is_contained(jobs: Jobs) -> None:
    marker = secrets.token_hex(8)
    longest = 0.0

    async def watch_the_host() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)

    watch = asyncio.create_task(watch_the_host())
    seen = await jobs.run(
        """
        import os, time
        while True:
            try:
                os.fork()
            except OSError:
                time.sleep(0.001)
        """,
        arguments=(marker,),
        limits=PythonLimits(wall_s=1.5),
    )
    watch.cancel()
    assert seen.done.ended == "timeout"
    await wait_until_gone(marker)
    assert longest < 1.0


async def test_number_of_processes_is_limited(jobs: Jobs) -> None:
    seen = await jobs.run(
        """
        import errno, os, signal
        children = []
        try:
            while len(children) < 600:
                child = os.fork()
                if child == 0: signal.pause()
                children.append(child)
        except OSError as error:
            print(errno.errorcode[error.errno], len(children))
        """
    )
    word, count = seen.stdout.split()
    assert word == "EAGAIN"
    assert 100 < int(count) <= 256


async def test_number_of_threads_is_limited(jobs: Jobs) -> None:
    seen = await jobs.run(
        """
        import threading
        stop = threading.Event()
        count = 0
        try:
            while count < 600: threading.Thread(target=stop.wait, daemon=True).start(); count += 1
        except RuntimeError: pass
        print(count)
        stop.set()
        """
    )
    assert 100 < int(seen.stdout) <= 256


async def test_memory_limit_ends_an_allocation(jobs: Jobs) -> None:
    seen = await jobs.run("x = bytearray(6 << 30)", limits=PythonLimits(wall_s=20, memory_bytes=1 << 30))
    assert seen.done.ended == "memory"
    assert "1.1 GB" in seen.done.detail


async def test_memory_limit_holds_for_slow_growth(jobs: Jobs) -> None:
    seen = await jobs.run(
        "x = []\nwhile True: x.append(bytearray(8 << 20))", limits=PythonLimits(wall_s=20, memory_bytes=256 << 20)
    )
    assert seen.done.ended == "memory"


@pytest.mark.parametrize(("path", "size"), [("/tmp", 128 << 20), ("/dev/shm", linux.SHM_BYTES), ("/job/out", 16 << 20)])
async def test_filling_a_folder_stops_at_its_size(jobs: Jobs, path: str, size: int) -> None:
    """In many files, so that the limit on one file is not what stops it."""
    seen = await jobs.run(
        f"""
        import errno
        written, piece = 0, bytes(1 << 20)
        try:
            for number in range(400):
                with open({path!r} + f"/{{number}}", "wb", buffering=0) as file: written += file.write(piece)
        except OSError as error:
            print(errno.errorcode[error.errno], written)
        """,
        limits=PythonLimits(wall_s=20, output_bytes=16 << 20),
    )
    word, written = seen.stdout.split()
    assert word == "ENOSPC"
    assert size - (2 << 20) <= int(written) <= size


async def test_one_file_cannot_be_larger_than_its_folder(jobs: Jobs) -> None:
    seen = await jobs.run(
        """
        import errno, os
        with open("sparse", "wb") as file:
            try: os.ftruncate(file.fileno(), 1 << 40)
            except OSError as error: print(errno.errorcode[error.errno])
        """
    )
    assert seen.stdout == "EFBIG\n"


async def test_endless_script_ends_at_its_time_limit(jobs: Jobs) -> None:
    before = time.monotonic()
    seen = await jobs.run("import time; print('x', flush=True); time.sleep(60)", limits=PythonLimits(wall_s=0.5))
    assert (seen.done.ended, seen.done.exit_code) == ("timeout", 137)
    assert time.monotonic() - before < 2.0
    assert seen.stdout == "x\n"


async def test_script_that_stops_itself_ends_at_its_time_limit(jobs: Jobs) -> None:
    seen = await jobs.run("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", limits=PythonLimits(wall_s=0.5))
    assert seen.done.ended == "timeout"


async def test_processor_time_is_limited(jobs: Jobs) -> None:
    seen = await jobs.run("while True: pass", limits=PythonLimits(wall_s=10, cpu_cores=0.1))
    assert seen.done.ended == "cpu_time"
    assert "1 s" in seen.done.detail


async def test_script_cannot_wait_out_its_processor_limit(jobs: Jobs) -> None:
    seen = await jobs.run(
        "import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
        limits=PythonLimits(wall_s=20, cpu_cores=0.05),
    )
    assert seen.done.ended == "cpu_time"


async def test_script_cannot_raise_its_limits(jobs: Jobs) -> None:
    seen = await jobs.run(
        """
        import resource
        for name in ("AS", "NPROC", "CPU", "NOFILE", "FSIZE", "CORE"):
            which = getattr(resource, "RLIMIT_" + name)
            soft, hard = resource.getrlimit(which)
            assert hard >= 0, which
            try: resource.setrlimit(which, (soft, hard + 1)); print("raised", which)
            except (ValueError, OSError): pass
        """
    )
    assert seen.stdout == ""
    assert seen.stderr == ""


async def test_log_flood_is_capped(jobs: Jobs) -> None:
    seen = await jobs.run(
        "import os\nfor _ in range(640): os.write(1, b'x' * 65536)\nos.write(2, b'end')",
        limits=PythonLimits(wall_s=30, log_bytes=100_000),
    )
    assert (seen.done.ended, seen.done.logs_truncated) == ("ok", True)
    assert sum(len(message.data) for _, message in seen.messages if isinstance(message, Log)) == 100_000


async def test_log_of_exactly_the_limit_is_whole(jobs: Jobs) -> None:
    seen = await jobs.run("print('x' * 999)", limits=PythonLimits(wall_s=30, log_bytes=1000))
    assert (len(seen.stdout), seen.done.logs_truncated) == (1000, False)


async def test_flood_of_tiny_writes_becomes_few_messages(jobs: Jobs) -> None:
    seen = await jobs.run("import os, time\nfor _ in range(1000): os.write(1, b'x'); time.sleep(0.0005)")
    assert len(seen.stdout) == 1000
    assert len(seen.messages) < 400
