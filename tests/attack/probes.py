"""The probe battery: every row of what a script must not be able to do, and of what must keep working.

A row is a name, code for a script that returns one word, and the words that are right. All rows of a table run in one
job, each in a process of its own; `{host_port}` and the like are filled in by the test.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

TMP_BYTES, SHM_BYTES = 128 << 20, 64 << 20


@dataclass(frozen=True, slots=True)
class Row:
    body: str
    """Statements of a function; what it returns or the errno it raises is the outcome."""
    right: tuple[str, ...]


def _opens(path: str) -> str:
    return f"os.stat({path!r})"


def _connects(family: str, address: str) -> str:
    return f"s = socket.socket({family}); s.settimeout(5); s.connect({address}); s.send(b'stolen')"


def _calls(name: str, *arguments: int) -> str:
    return f"return call({name!r}, {', '.join(map(str, arguments))})"


def _fills(path: str) -> str:
    return (
        f"written, piece = 0, bytes(1 << 20)\n"
        f"try:\n"
        f"    for number in range(400):\n"
        f"        with open({path!r} + f'/fill-{{number}}', 'wb', buffering=0) as file: written += file.write(piece)\n"
        f"except OSError as error: return f'{{errno.errorcode[error.errno]}} {{-(-written >> 20)}} MiB'\n"
        f"finally:\n"
        f"    for name in os.listdir({path!r}):\n"
        f"        if name.startswith('fill-'): os.unlink(os.path.join({path!r}, name))"
    )


_TERMINAL = (
    "master, slave = os.openpty()\n"
    "os.setsid(); fcntl.ioctl(slave, termios.TIOCSCTTY, 0)\n"
    "return call('ioctl', slave, {request}, ctypes.addressof(ctypes.create_string_buffer(b'x')))"
)

BATTERY: Mapping[str, Row] = {
    "read /etc/shadow": Row(_opens("/etc/shadow"), ("ENOENT",)),
    "read /root": Row(_opens("/root"), ("ENOENT",)),
    "read /home": Row(_opens("/home"), ("ENOENT",)),
    "write /": Row("open('/x', 'w')", ("EROFS", "EACCES")),
    "write /usr": Row("open('/usr/x', 'w')", ("EROFS", "EACCES")),
    "environment": Row("return ' '.join(sorted(set(os.environ) - {environment_names})) or 'only ours'", ("only ours",)),
    "visible processes": Row(
        "return str(sum(name.isdecimal() and int(name) not in OWN for name in os.listdir('/proc')))", ("2",)
    ),
    "port of the host": Row(_connects("socket.AF_INET", "('127.0.0.1', {host_port})"), ("ECONNREFUSED",)),
    "private network": Row(_connects("socket.AF_INET", "('10.0.0.1', 80)"), ("ENETUNREACH",)),
    "interfaces": Row("return ' '.join(name for _, name in socket.if_nameindex())", ("lo",)),
    "abstract socket of the host": Row(
        _connects("socket.AF_UNIX", "chr(0) + {host_name!r}"), ("ECONNREFUSED", "EPERM")
    ),
    "AF_VSOCK": Row("socket.socket(40, socket.SOCK_STREAM)", ("EAFNOSUPPORT",)),
    "AF_ALG": Row("socket.socket(38, socket.SOCK_SEQPACKET)", ("EAFNOSUPPORT",)),
    "AF_PACKET": Row("socket.socket(17, socket.SOCK_RAW)", ("EAFNOSUPPORT",)),
    "NETLINK audit": Row("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)", ("EAFNOSUPPORT",)),
    "ptrace": Row(_calls("ptrace", 0, 0, 0, 0), ("EPERM",)),
    "unshare(NEWUSER)": Row(_calls("unshare", 0x10000000), ("EPERM",)),
    "mount": Row("return call('mount', *map(text, ('none', '/tmp', 'tmpfs')), 0, 0)", ("EPERM",)),
    "bpf": Row(_calls("bpf", 0, 0, 0), ("EPERM",)),
    "userfaultfd": Row(_calls("userfaultfd", 1), ("EPERM",)),
    "keyctl": Row(_calls("keyctl", 0, -2, 1), ("EPERM",)),
    "add_key": Row("return call('add_key', text('user'), text('canary'), text('x'), 1, -2)", ("EPERM",)),
    "perf_event_open": Row(_calls("perf_event_open", 0, 0, -1, -1, 0), ("EPERM",)),
    "process_vm_readv": Row(_calls("process_vm_readv", 1, 0, 0, 0, 0, 0), ("EPERM",)),
    "kexec_load": Row(_calls("kexec_load", 0, 0, 0, 0), ("EPERM",)),
    "init_module": Row(_calls("init_module", 0, 0, 0), ("EPERM",)),
    "name_to_handle_at": Row(_calls("name_to_handle_at", -100, 0, 0, 0, 0), ("EPERM",)),
    "io_uring_setup": Row(_calls("io_uring_setup", 1, 0), ("ENOSYS",)),
    "clone3": Row(_calls("clone3", 0, 0), ("ENOSYS",)),
    "open_tree": Row(_calls("open_tree", -100, 0, 0), ("ENOSYS",)),
    "TIOCSTI": Row(_TERMINAL.replace("{request}", "0x5412"), ("EPERM",)),
    "fill /tmp": Row(_fills("/tmp"), (f"ENOSPC {TMP_BYTES >> 20} MiB",)),
    "fill /dev/shm": Row(_fills("/dev/shm"), (f"ENOSPC {SHM_BYTES >> 20} MiB",)),
    "fork bomb": Row(
        "children = []\n"
        "try:\n"
        "    while len(children) < 600:\n"
        "        child = os.fork()\n"
        "        if child == 0: signal.pause()\n"
        "        children.append(child)\n"
        "finally:\n"
        "    for child in children: os.kill(child, 9); os.waitpid(child, 0)",
        ("EAGAIN",),
    ),
    "64 GiB allocation": Row("try: bytearray(64 << 30)\nexcept MemoryError: return 'MemoryError'", ("MemoryError",)),
}
"""What the sandbox refuses, and how."""

MUST_WORK: Mapping[str, Row] = {
    "threads": Row(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "return 'works' if list(ThreadPoolExecutor(8).map(abs, range(99))) == list(range(99)) else 'wrong'",
        ("works",),
    ),
    "multiprocessing": Row(
        "import multiprocessing\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    return 'works' if pool.map(abs, range(9)) == list(range(9)) else 'wrong'",
        ("works",),
    ),
    "semaphores": Row("import multiprocessing\nwith multiprocessing.Semaphore(1): return 'works'", ("works",)),
    "memfd_create": Row(
        "import mmap\nfd = os.memfd_create('m'); os.ftruncate(fd, 4096)\nmmap.mmap(fd, 4096)[0] = 1\nreturn 'works'",
        ("works",),
    ),
    "task comm": Row(
        "import threading\n"
        "libc.prctl(15, b'named')\n"
        "return open(f'/proc/self/task/{threading.get_native_id()}/comm').read().strip()",
        ("named",),
    ),
    "getifaddrs": Row(
        "pointer = ctypes.c_void_p()\n"
        "assert libc.getifaddrs(ctypes.byref(pointer)) == 0, errno.errorcode[ctypes.get_errno()]\n"
        "libc.freeifaddrs(pointer)\nreturn 'works'",
        ("works",),
    ),
    "ioctl": Row("import array\nfcntl.ioctl(0, termios.FIOCLEX); return 'works'", ("works",)),
    "fcntl": Row(
        "with open('/tmp/flags', 'w') as file:\n"
        "    assert fcntl.fcntl(file, fcntl.F_GETFD) == fcntl.FD_CLOEXEC\n"
        "    fcntl.fcntl(file, fcntl.F_SETFL, os.O_NONBLOCK)\n"
        "    return 'works' if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_NONBLOCK else 'wrong'",
        ("works",),
    ),
    "file locks": Row(
        "with open('/tmp/lock', 'w') as file:\n"
        "    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "return 'works'",
        ("works",),
    ),
    "own limits": Row(
        "import resource\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (99, hard))\n"
        "return str(resource.prlimit(0, resource.RLIMIT_NOFILE)[0])",
        ("99",),
    ),
    "get_mempolicy": Row(_calls("get_mempolicy", 0, 0, 0, 0, 0), ("ok", "ENOSYS")),
    "mbind": Row(_calls("mbind", 0, 0, 0, 0, 0, 0), ("ok", "ENOSYS")),
    "sched_setaffinity": Row("os.sched_setaffinity(0, os.sched_getaffinity(0)); return 'works'", ("works",)),
    "membarrier": Row(_calls("membarrier", 0, 0, 0), ("ok",)),
    "rseq": Row(_calls("rseq", 0, 0, 0, 0), ("EINVAL", "EFAULT", "EPERM", "EBUSY")),
    "landlock": Row(_calls("landlock_create_ruleset", 0, 0, 1), ("ok",)),
    "seccomp": Row(_calls("seccomp", 2, 0, 0), ("EFAULT",)),
    "chmod": Row("open('/tmp/own', 'w').close(); os.chmod('/tmp/own', 0o600); return 'works'", ("works",)),
    "listen": Row("socket.create_server(('127.0.0.1', 0)); return 'works'", ("works",)),
    "prctl": Row("return 'works' if libc.prctl(4, 1) == 0 else 'wrong'", ("works",)),
    "TIOCNOTTY": Row(
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + _TERMINAL.replace("{request}", "termios.TIOCNOTTY"), ("ok",)
    ),
}
"""What honest programs need, among it everything that no filter may ever refuse."""

_PROLOGUE = """
import ctypes, errno, fcntl, json, os, signal, socket, sys, termios
libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = json.loads({numbers!r})
OWN = set()

def text(value):
    buffer = ctypes.create_string_buffer(value.encode())
    text.kept.append(buffer)
    return ctypes.addressof(buffer)
text.kept = []

def call(name, *arguments):
    arguments = [ctypes.c_long(value) for value in arguments]
    if libc.syscall(ctypes.c_long(NUMBERS[name]), *arguments) == -1:
        return errno.errorcode[ctypes.get_errno()]
    return "ok"

def attempt(row, probe):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        OWN.add(os.getpid())
        try:
            outcome = probe() or "done"
        except OSError as error:
            outcome = errno.errorcode.get(error.errno, repr(error))
        except BaseException as error:
            outcome = repr(error)
        os.write(write, outcome.encode()[:4096])
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe: outcome = pipe.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0: outcome = signal.Signals(-status).name
    print(json.dumps([row, outcome]), flush=True)
"""


def script(rows: Mapping[str, Row], numbers: Mapping[str, int | None], fills: Mapping[str, object]) -> str:
    """A script that runs every row and prints a JSON pair of its name and outcome for each.

    Args:
        numbers: of the machine's system calls, by name.
        fills: what to put for the names in braces.
    """
    parts = [_PROLOGUE.replace("{numbers!r}", repr(msgspec.json.encode(numbers).decode()))]
    for number, (name, row) in enumerate(rows.items()):
        body = row.body
        for key, value in fills.items():
            body = body.replace(f"{{{key}}}", str(value)).replace(f"{{{key}!r}}", repr(value))
        lines = "\n".join(f"    {line}" for line in body.splitlines())
        parts.append(f"def probe_{number}():\n{lines}\nattempt({name!r}, probe_{number})")
    return "\n".join(parts) + "\n"
