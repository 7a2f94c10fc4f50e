"""What must keep working inside: without these tests a policy drifts until it breaks honest programs."""

import statistics
import time

import pytest

from gogrid.protocol.job_messages import Log, Started
from gogrid.protocol.tasks import PythonLimits
from tests.attack.jobs import Jobs

pytestmark = pytest.mark.sandbox


async def test_what_honest_programs_use_works(jobs: Jobs) -> None:
    seen = await jobs.run(
        """
        import ctypes, mmap, multiprocessing, multiprocessing.shared_memory, os, signal, socket, sqlite3
        import subprocess, sys, tempfile
        from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

        def square(x): return x * x

        if __name__ == "__main__":
            assert list(ThreadPoolExecutor(4).map(square, range(9)))[-1] == 64
            with ProcessPoolExecutor(2) as pool: assert sum(pool.map(square, range(9))) == 204
            with multiprocessing.get_context("spawn").Pool(1) as pool: assert pool.map(square, [3]) == [9]
            with multiprocessing.Lock(): pass
            multiprocessing.Queue().put(1)
            memory = multiprocessing.shared_memory.SharedMemory(create=True, size=4096); memory.close(); memory.unlink()
            fd = os.memfd_create("m"); os.ftruncate(fd, 4096); mmap.mmap(fd, 4096)[0] = 1
            with tempfile.NamedTemporaryFile() as file: file.write(b"x")
            with tempfile.TemporaryDirectory() as folder: os.chmod(folder, 0o700)
            server = socket.create_server(("127.0.0.1", 0)); socket.create_connection(server.getsockname())
            server = socket.socket(socket.AF_UNIX); server.bind("\\0abstract"); server.listen()
            socket.socket(socket.AF_UNIX).connect("\\0abstract")
            socket.socketpair()
            socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
            child = [sys.executable, "-c", "import numpy; print(numpy.ones(2))"]
            assert subprocess.check_output(child) == b"[1. 1.]\\n"
            assert subprocess.check_output(["ls", "/job/in"]) == b"main.py\\n"
            ctypes.CDLL(None).prctl(15, b"named")
            signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(signal.ITIMER_REAL, 0.01); signal.pause()
            os.openpty(); os.urandom(8); os.sched_setaffinity(0, os.sched_getaffinity(0)); os.nice(1)
            assert sqlite3.connect("/job/out/db").execute("select 1").fetchone() == (1,)
            assert os.path.expanduser("~") == "/tmp" and os.cpu_count() >= 1
            os.chmod("/job/out/db", 0o600)
            import getpass, msgspec, numpy
            assert getpass.getuser()
            assert numpy.linalg.inv(numpy.eye(3)).sum() == 3
            print("all of it")
        """,
        limits=PythonLimits(wall_s=60),
    )
    assert seen.stderr == ""
    assert seen.stdout == "all of it\n"
    assert (seen.done.ended, seen.done.exit_code, seen.done.detail) == ("ok", 0, "")


async def test_script_gets_its_files_arguments_and_neighbours(jobs: Jobs) -> None:
    seen = await jobs.run(
        """
        import helper, sys
        print(sys.argv[1:], helper.answer, open("/job/in/data/table.csv").read(), sys.stdin.read() == "")
        sys.exit(7)
        """,
        inputs={"helper.py": b"answer = 42", "data/table.csv": b"a,b"},
        arguments=("--flag", "two words", ""),
    )
    assert seen.stdout == "['--flag', 'two words', ''] 42 a,b True\n"
    assert (seen.done.ended, seen.done.exit_code) == ("failed", 7)
    assert isinstance(seen.first, Started)


async def test_traceback_of_the_script_is_its_own(jobs: Jobs) -> None:
    seen = await jobs.run("def f():\n    raise ValueError('mine')\nf()")
    assert seen.stderr.splitlines()[0] == "Traceback (most recent call last):"
    assert "/opt/gogrid" not in seen.stderr
    assert seen.stderr.endswith("ValueError: mine\n")
    assert (seen.done.ended, seen.done.exit_code) == ("failed", 1)


async def test_crash_is_told_in_words(jobs: Jobs) -> None:
    seen = await jobs.run("import ctypes; print('before', flush=True); ctypes.string_at(0)")
    assert (seen.done.ended, seen.done.exit_code) == ("crashed", 139)
    assert seen.done.detail == "It was ended by SIGSEGV (Segmentation fault)."
    assert seen.stdout == "before\n"


async def test_output_is_live(jobs: Jobs) -> None:
    seen = await jobs.run("import time\nfor _ in range(20): print(time.time()); time.sleep(0.03)")
    delays = []
    for when, message in seen.messages:
        if isinstance(message, Log) and message.data.strip():  # a line's end may come by itself
            delays.append(when - float(message.data.split()[-1]))
    assert len(delays) >= 15
    assert statistics.median(delays) < 0.05


async def test_script_may_close_its_output_and_go_on(jobs: Jobs) -> None:
    before = time.monotonic()
    seen = await jobs.run(
        "import os, time; os.close(1); os.close(2); time.sleep(0.3); open('/job/out/late', 'w').write('x')"
    )
    assert time.monotonic() - before > 0.3
    assert seen.files == {"late": b"x"}
