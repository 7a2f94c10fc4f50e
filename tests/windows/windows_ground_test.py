"""What the ground promises on Windows: private files, locks, replaced files, and children that do not outlive us."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gogrid.errors import IdentityError
from gogrid.file_lock import FileLock, LockHeldError
from gogrid.files import write_whole
from gogrid.identity import load_worker_key, save_worker_key
from gogrid.stop_signals import on_stop_signal
from gogrid.windows.console import ended
from gogrid.windows.private_file import others
from tests.windows.surroundings import gone

HERE = os.getcwd()
FIND = "import sys; sys.path.insert(0, sys.argv[1])\n"


def started(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", FIND + program, HERE, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_a_private_key_lets_in_its_user_and_the_system_only(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    save_worker_key(key, tmp_path / "worker.key")
    assert others(tmp_path / "worker.key") == frozenset()
    assert load_worker_key(tmp_path / "worker.key").private_bytes_raw() == key.private_bytes_raw()


def test_a_private_key_that_others_can_read_is_refused_with_what_to_run(tmp_path: Path) -> None:
    save_worker_key(Ed25519PrivateKey.generate(), tmp_path / "worker.key")
    open_to_all = tmp_path / "open.key"
    open_to_all.write_bytes((tmp_path / "worker.key").read_bytes())
    subprocess.run(["icacls", str(open_to_all), "/grant", "*S-1-1-0:R"], check=False, capture_output=True)
    with pytest.raises(IdentityError, match=r"Others \(WD\) can read the private key .*icacls"):
        load_worker_key(open_to_all)


def test_a_file_is_replaced_although_somebody_reads_it_for_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_whole(path, b"old", private=False, replace=True)
    reading = path.open("rb")
    closing = threading.Timer(0.2, reading.close)
    closing.start()
    write_whole(path, b"new", private=False, replace=True)
    assert path.read_bytes() == b"new"
    closing.join()


def test_a_lock_has_one_holder_and_ends_with_it(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from gogrid.file_lock import FileLock\n"
        "with FileLock(Path(sys.argv[2])): print('locked', flush=True); sys.stdin.read()"
    )
    with started(program, str(tmp_path / "lock")) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"locked"
        with pytest.raises(LockHeldError), FileLock(tmp_path / "lock"):
            pass
        holder.kill()
        holder.wait()
        with FileLock(tmp_path / "lock"):
            pass


def test_a_child_ends_with_who_holds_it_although_nobody_tells_it() -> None:
    program = (
        "import subprocess, time; from tray.supervision.windows_job import hold_child\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(hold_child(child.pid) or child.pid, flush=True); time.sleep(60)"
    )
    with started(program) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not gone(child, 0.2)
        parent.kill()
        assert gone(child, 1)


IN_A_JOB = """
import ctypes
from runner.sandbox.windows.api import call, function
inside = ctypes.c_int()
call("IsProcessInJob", function("GetCurrentProcess")(), None, ctypes.byref(inside))
print(inside.value, flush=True)
"""


def test_what_a_child_starts_may_have_a_job_of_its_own(tmp_path: Path) -> None:
    """Or the sandboxes of a runner that is held would lose their limits of the user interface."""
    (tmp_path / "grandchild.py").write_text(FIND + IN_A_JOB)
    (tmp_path / "child.py").write_text(
        f"import subprocess, sys\nsys.stdin.readline()\n{IN_A_JOB.replace('import', FIND + 'import', 1)}"
        "subprocess.run([sys.executable, sys.argv[2], sys.argv[1]])"
    )
    program = (
        "import subprocess; from tray.supervision.windows_job import hold_child\n"
        "child = subprocess.Popen([sys.executable, sys.argv[2], sys.argv[1], sys.argv[3]], stdin=subprocess.PIPE)\n"
        "assert not hold_child(child.pid); child.communicate(b'go\\n')"
    )
    with started(program, str(tmp_path / "child.py"), str(tmp_path / "grandchild.py")) as parent:
        assert parent.stdout is not None
        assert parent.stdout.read().split() == [b"1", b"0"]


def test_the_end_of_a_console_is_told_and_waited_for() -> None:
    told: list[str] = []
    for event, ours in ((0, 0), (1, 0), (2, 1), (5, 1), (6, 1)):
        told.clear()
        assert ended(event, lambda: told.append("stop"), lambda: told.append("wait")) == ours
        assert told == (["stop", "wait"] if ours else [])


@pytest.mark.parametrize("number", ["SIGINT", "SIGBREAK"])
async def test_a_signal_of_the_console_is_heard_while_the_loop_waits(number: str) -> None:
    wanted = getattr(signal, number)
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGBREAK, signal.SIGTERM)}
    asked = asyncio.Event()
    on_stop_signal(asked.set)
    threading.Timer(0.1, signal.raise_signal, (wanted,)).start()
    try:
        await asyncio.wait_for(asked.wait(), 5)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
