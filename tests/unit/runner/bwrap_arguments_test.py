"""The bubblewrap command line: golden as a whole, and the parts of its order that are policy."""

import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Mount, SandboxSpec
from runner.sandbox.linux import inside
from runner.sandbox.linux.bwrap_arguments import GpuAccess, bwrap_options, sandbox_orders
from runner.sandbox.linux.orders import LENGTH_DIGITS, decode_orders, heard, spoken
from runner.sandbox.linux.python_home import PythonHome
from sandbox_profiles import linux

HOME = PythonHome(
    executable="/opt/gogrid/python/bin/python3.11",
    mounts=(Mount(Path("/h/py/lib"), "/opt/gogrid/python/lib"), Mount(Path("/h/site"), "/opt/gogrid/site")),
    hidden=("/opt/gogrid/python/lib/python3.11/site-packages",),
    library_path="/opt/gogrid/python/lib",
    site=("/opt/gogrid/site",),
    bootstrap="/opt/gogrid/src/runner/sandbox/linux/inside.py",
)
SCRIPT = SandboxSpec(
    arguments=("some.module", "one"),
    mounts=(Mount(Path("/h/in.py"), "/job/in/main.py"),),
    memory_bytes=1 << 30,
    cpu_seconds=7,
    tmp_bytes=1 << 20,
    out_bytes=2 << 20,
    processes=99,
    threads=3,
)
GPU = SandboxSpec(arguments=("runner.executor",), gpus=("GPU-b", "GPU-a"), memory_bytes=1 << 30)

_GOLDEN_TEXT = """
--unshare-all --unshare-user --disable-userns --assert-userns-disabled
--die-with-parent --new-session --as-pid-1 --cap-drop ALL
--hostname gogrid --uid 1000 --gid 1000
--clearenv --setenv PATH /usr/bin --setenv HOME /tmp --setenv USER gogrid --setenv LANG C.UTF-8
--setenv PYTHONDONTWRITEBYTECODE 1 --setenv PYTHONUNBUFFERED 1 --setenv HF_HUB_OFFLINE 1
--setenv OMP_NUM_THREADS 3 --setenv MKL_NUM_THREADS 3 --setenv OPENBLAS_NUM_THREADS 3 --setenv NUMEXPR_NUM_THREADS 3
--setenv PYTHONPATH /opt/gogrid/site --setenv LD_LIBRARY_PATH /opt/gogrid/python/lib
--ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin
--ro-bind-try /etc/ld.so.cache /etc/ld.so.cache --ro-bind-try /etc/alternatives /etc/alternatives
--ro-bind-try /sys/devices/system/cpu /sys/devices/system/cpu
--proc /proc --dev /dev
--ro-bind /h/py/lib /opt/gogrid/python/lib --ro-bind /h/site /opt/gogrid/site
--tmpfs /opt/gogrid/python/lib/python3.11/site-packages
--remount-ro /opt/gogrid/python/lib/python3.11/site-packages
--size 67108864 --perms 1777 --tmpfs /dev/shm
--size 1048576 --perms 1777 --tmpfs /tmp
--size 2097152 --perms 0755 --tmpfs /job/out
--ro-bind /h/in.py /job/in/main.py
--remount-ro /dev --remount-ro /
--chdir /tmp --seccomp 9
"""
ORDERS = "99,1024,1073741824,7,67108864,1|/usr:/opt:/etc:/sys:/proc:/models:/job/in|/tmp:/dev:/job/out"
GOLDEN = _GOLDEN_TEXT.split()

_GPU_TEXT = """
--ro-bind /sys/bus/pci /sys/bus/pci --ro-bind /sys/devices /sys/devices
--ro-bind-try /sys/module/nvidia /sys/module/nvidia
--dev-bind /dev/nvidiactl /dev/nvidiactl --dev-bind /dev/nvidia-uvm /dev/nvidia-uvm
--dev-bind /dev/nvidia1 /dev/nvidia1 --dev-bind /dev/nvidia0 /dev/nvidia0
--dev-bind-try /dev/nvidia-uvm-tools /dev/nvidia-uvm-tools
--remount-ro /dev --remount-ro /
"""
GPU_BLOCK = _GPU_TEXT.split()


def gpu_arguments() -> list[str]:
    return list(bwrap_options(HOME, GPU, 9, ("/dev/nvidia1", "/dev/nvidia0")))


def test_command_line_of_a_script_is_exactly_the_policy() -> None:
    assert list(bwrap_options(HOME, SCRIPT, 9)) == GOLDEN
    assert sandbox_orders(SCRIPT).encode() == ORDERS
    assert HOME.command == ("/opt/gogrid/python/bin/python3.11", "-I", "-S", "-B", HOME.bootstrap)


def test_gpu_nodes_come_after_dev_and_before_it_turns_read_only() -> None:
    arguments = gpu_arguments()
    start = arguments.index("/sys/bus/pci") - 1
    assert arguments[start : start + len(GPU_BLOCK)] == GPU_BLOCK
    assert arguments.index("--dev") < start
    assert [arguments[at + 1] for at, word in enumerate(arguments) if word == "CUDA_VISIBLE_DEVICES"] == ["GPU-b,GPU-a"]


def test_gpu_block_shows_compute_nodes_only() -> None:
    assert not [word for word in gpu_arguments() if "modeset" in word or "/dev/dri" in word]


def test_without_a_grant_no_gpu_is_named() -> None:
    assert not [word for word in bwrap_options(HOME, SCRIPT, 9) if "nvidia" in word or "CUDA" in word]


def test_gpu_job_may_name_its_threads_and_reserve_address_space() -> None:
    orders = sandbox_orders(GPU)
    assert "/proc" in orders.writable
    assert orders.memory_bytes == -1
    assert orders.landlock


def test_only_a_gpu_can_be_let_off_landlock_or_shown_more_of_sys() -> None:
    let_off = GpuAccess(landlock=False, wide_sysfs=True)
    assert not sandbox_orders(GPU, let_off).landlock
    assert sandbox_orders(SCRIPT, let_off) == sandbox_orders(SCRIPT)
    assert bwrap_options(HOME, SCRIPT, 9, (), let_off) == bwrap_options(HOME, SCRIPT, 9)
    wide = bwrap_options(HOME, GPU, 9, ("/dev/nvidia1", "/dev/nvidia0"), let_off)
    assert {word for word in wide if word.startswith("/sys")} == {
        *("/sys/block", "/sys/bus", "/sys/class", "/sys/dev", "/sys/devices", "/sys/module/nvidia"),
        "/sys/devices/system/cpu",
    }


def test_executor_with_a_memory_limit_keeps_its_address_space() -> None:
    spec = SandboxSpec(arguments=("runner.executor",), memory_bytes=1 << 30, address_space=False)
    assert sandbox_orders(spec).memory_bytes == -1


def test_gpu_without_a_node_is_refused() -> None:
    with pytest.raises(SandboxUnavailableError, match="no device node"):
        bwrap_options(HOME, GPU, 9, ("/dev/nvidia0",))


def test_mounts_of_a_job_come_after_those_of_the_system() -> None:
    arguments = bwrap_options(HOME, SCRIPT, 9)
    assert arguments.index("/job/in/main.py") > max(
        arguments.index(place) for place in ("/tmp", "/dev", "/proc", "/usr")
    )


def test_converter_gets_one_writable_folder_and_no_file_limit() -> None:
    spec = SandboxSpec(arguments=("runner.executor",), writable=Mount(Path("/h/work"), "/work"))
    arguments = bwrap_options(HOME, spec, 9)
    assert arguments[arguments.index("--bind") : arguments.index("--bind") + 3] == ("--bind", "/h/work", "/work")
    assert arguments.count("--bind") == 1
    orders = sandbox_orders(spec)
    assert "/work" in orders.writable
    assert orders.file_bytes == -1


@pytest.mark.parametrize(
    "inside",
    [
        "/usr/lib",
        "/",
        "/proc",
        "/dev/shm",
        "/tmp",
        "/job/out",
        "/opt/gogrid/src",
        "/models/../usr",
        "/job/in/../../dev",
        "models/x",
        "/modelsx",
        "/job/in//x",
        "/models/\0",
    ],
)
def test_mount_over_the_system_is_refused(inside: str) -> None:
    for spec in (
        SandboxSpec(arguments=("m",), mounts=(Mount(Path("/h"), inside),)),
        SandboxSpec(arguments=("m",), writable=Mount(Path("/h"), inside)),
    ):
        with pytest.raises(SandboxUnavailableError, match="may be mounted"):
            bwrap_options(HOME, spec, 9)


@pytest.mark.parametrize("arguments", [(), ("one", "", "zwei\n", "\udcff", "x" * 70_000)])
def test_orders_and_arguments_survive_the_crossing(arguments: tuple[str, ...]) -> None:
    orders = sandbox_orders(SCRIPT)
    assert decode_orders(orders.encode()) == orders
    message = spoken(orders, arguments)
    assert int(message[:LENGTH_DIGITS], 16) == len(message) - LENGTH_DIGITS
    assert heard(message[LENGTH_DIGITS:]) == (orders, list(arguments))


@pytest.mark.parametrize("given", [b"", b"0000", spoken(sandbox_orders(SCRIPT), ("one",))[:-1]])
def test_bootstrap_that_was_not_told_everything_runs_nothing(given: bytes) -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-B", inside.__file__, "-", "this"], input=given, capture_output=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert b"never told" in ended.stderr


def test_addresses_may_be_more_than_memory_only_where_all_processes_together_are_limited() -> None:
    spec = SandboxSpec(arguments=("m",), memory_bytes=1 << 30)
    assert sandbox_orders(spec).memory_bytes == 1 << 30
    assert sandbox_orders(spec, together=True).memory_bytes == (1 << 30) + linux.UNUSED_ADDRESSES
    assert sandbox_orders(SandboxSpec(arguments=("m",)), together=True).memory_bytes == -1
