"""Threat 9: two tenants' scripts never share a sandbox, and what one leaves is found by nobody. Through the job API."""

import json
import platform
import secrets

import pytest

from gogrid.client.answers import Limits
from sandbox_profiles.bpf import MACHINES
from sandbox_profiles.syscalls import NUMBERS
from tests.attack.hostile_grid import HostileGrid

pytestmark = pytest.mark.sandbox

_COLUMN = next((machine.column for machine in MACHINES if machine.name == platform.machine()), 0)
_ADD_KEY, _REQUEST_KEY = NUMBERS["add_key"][_COLUMN], NUMBERS["request_key"][_COLUMN]
_COMMON = f"""
import ctypes, fcntl, glob, json, os, signal, socket, sys, time
canary = sys.argv[1]
number = int(canary[:7], 16)
libc = ctypes.CDLL(None, use_errno=True)
ADD_KEY, REQUEST_KEY = {_ADD_KEY}, {_REQUEST_KEY}
IPC_CREAT = 0o1000
def own():
    names = ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup")
    sandbox = {{name: os.readlink("/proc/self/ns/" + name) for name in names}}
    return sandbox | {{folder: os.stat(folder).st_dev for folder in ("/tmp", "/dev/shm", "/job/out")}}
"""
_LEAVES = (
    _COMMON
    + """
for folder in ("/tmp", "/dev/shm", "/job/out"): open(f"{folder}/{canary}", "w").write(canary)
os.environ["CANARY"] = canary
libc.prctl(15, canary[:15].encode())
memory = os.memfd_create(canary); os.write(memory, canary.encode())
libc.shmget(number, 4096, IPC_CREAT | 0o666)
libc.msgget(number, IPC_CREAT | 0o666)
libc.semget(number, 1, IPC_CREAT | 0o666)
libc.mq_open(b"/" + canary.encode(), os.O_CREAT | os.O_RDWR, 0o666, None)
for ring in (-1, -2, -3, -4, -5):
    libc.syscall(ADD_KEY, b"user", canary.encode(), canary.encode(), len(canary), ring)
abstract = socket.socket(socket.AF_UNIX); abstract.bind(chr(0) + canary); abstract.listen()
tcp = socket.create_server(("127.0.0.1", 20000 + number % 20000))
fcntl.flock(os.open("/usr/bin/env", os.O_RDONLY), fcntl.LOCK_EX)
if os.fork() == 0:
    os.setsid()
    for caught in (signal.SIGTERM, signal.SIGHUP): signal.signal(caught, signal.SIG_IGN)
    os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(90)", canary], os.environ)
print(json.dumps(own()), flush=True)
if sys.argv[2:] == ["stay"]: time.sleep(60)
"""
)
_LOOKS = (
    _COMMON
    + """
found = []
canary, number = canary[::-1], int(canary[::-1][:7], 16)  # told backwards, so that its own arguments do not count
def holds(where, text):
    if canary in text or canary[:15] in text: found.append(where)
for folder in ("/tmp", "/dev/shm", "/dev/mqueue", "/job"):
    for top, folders, names in os.walk(folder):
        for name in (*folders, *names): holds(folder, name)
        for name in names:
            if name == "main.py": continue
            try: holds(folder, open(os.path.join(top, name), errors="replace").read())
            except OSError: pass
kernels = ["net/unix", "net/tcp", "keys", "key-users", "self/mountinfo", "self/environ"]
for path in (*("/proc/" + name for name in kernels), *glob.glob("/proc/sysvipc/*")):
    try: text = open(path).read()
    except OSError: continue
    holds(path, text)
    if path.startswith("/proc/sysvipc/") and str(number) in text: found.append(path)
for process in filter(str.isdecimal, os.listdir("/proc")):
    if int(process) == os.getpid(): continue
    for file in ("cmdline", "environ", "comm"):
        try: holds(f"/proc/{file}", open(f"/proc/{process}/{file}").read())
        except OSError: pass
    for link in glob.glob(f"/proc/{process}/fd/*"):
        try: holds("open files", os.readlink(link))
        except OSError: pass
if libc.shmget(number, 0, 0) != -1: found.append("shared memory")
if libc.msgget(number, 0) != -1: found.append("message queue")
if libc.semget(number, 0, 0) != -1: found.append("semaphore")
if libc.mq_open(b"/" + canary.encode(), os.O_RDONLY) != -1: found.append("POSIX message queue")
if libc.syscall(REQUEST_KEY, b"user", canary.encode(), None, 0) != -1: found.append("keyring")
for name, family, address in (("abstract socket", socket.AF_UNIX, chr(0) + canary),
                              ("port", socket.AF_INET, ("127.0.0.1", 20000 + number % 20000))):
    with socket.socket(family) as client:
        if client.connect_ex(address) == 0: found.append(name)
print(json.dumps([sorted(set(found)), own()]))
"""
)


_LIMITS = Limits(wall_s=60.0, memory_bytes=256 << 20, cpu_cores=0.5)


@pytest.fixture(scope="module")
def seen(grid: HostileGrid) -> dict[str, tuple[list[str], dict[str, object]]]:
    """What a second tenant's script found, and where it was: beside the first one's, after its end, after its kill."""
    first, second = grid.make_key("first"), grid.make_key("second")
    canary = secrets.token_hex(16)

    def look() -> tuple[list[str], dict[str, object]]:
        told = grid.run(_LOOKS, arguments=(canary[::-1],), limits=_LIMITS, key=second)
        assert (told.word, told.stderr) == ("ok", "")
        found: list[str]
        sandbox: dict[str, object]
        found, sandbox = json.loads(told.stdout)
        return found, sandbox

    staying = grid.submit(_LEAVES, arguments=(canary, "stay"), limits=_LIMITS, key=first)
    grid.wait_for_output(staying, "mnt")
    beside = look()
    with grid.local.client() as client:
        client.cancel(staying)
    first_ones = json.loads(grid.see(staying).stdout)
    killed = look()
    ended = grid.run(_LEAVES, arguments=(canary,), limits=_LIMITS, key=first)
    assert (ended.word, ended.stderr) == ("ok", "")
    return {"first": ([], first_ones), "beside": beside, "after its kill": killed, "after its end": look()}


@pytest.mark.parametrize("when", ["beside", "after its kill", "after its end"])
def test_canary_of_one_tenant_is_not_found_by_the_next(
    seen: dict[str, tuple[list[str], dict[str, object]]], when: str
) -> None:
    assert seen[when][0] == [], when


@pytest.mark.parametrize("what", ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "/tmp", "/dev/shm", "/job/out"])
def test_two_tenants_never_share_a_sandbox(seen: dict[str, tuple[list[str], dict[str, object]]], what: str) -> None:
    assert seen["first"][1][what] != seen["beside"][1][what], what


def test_the_search_finds_a_canary_that_is_there(grid: HostileGrid) -> None:
    """Else the tests above would prove nothing: both scripts in one sandbox."""
    canary = secrets.token_hex(16)
    both = "\n".join(
        (
            "import subprocess, sys",
            "subprocess.run([sys.executable, '/job/in/leaves.py', sys.argv[1][::-1]])",
            "subprocess.run([sys.executable, '/job/in/looks.py', sys.argv[1]])",
        )
    )
    inputs = {"leaves.py": _LEAVES.encode(), "looks.py": _LOOKS.encode()}
    told = grid.run(both, arguments=(canary[::-1],), inputs=inputs, limits=_LIMITS)
    found, _ = json.loads(told.stdout.splitlines()[-1])
    assert set(found) >= {"/tmp", "/dev/shm", "/job", "/proc/cmdline", "shared memory", "message queue", "semaphore"}
