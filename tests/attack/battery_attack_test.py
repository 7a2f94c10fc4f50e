"""Every line of the threat study's probe battery as a test of its own, through the job API on a real worker."""

import platform
import secrets
import socket
import threading
from collections.abc import Iterator

import pytest

from gogrid.client.answers import Limits
from sandbox_profiles import linux
from sandbox_profiles.bpf import MACHINES
from sandbox_profiles.syscalls import NUMBERS
from tests.attack.hostile_grid import HostileGrid
from tests.attack.probes import BATTERY, MUST_WORK, Row, script

pytestmark = pytest.mark.sandbox

_ROWS = (
    "read /etc/shadow|read /root|read /home|write /|write /usr|environment|visible processes|port of the host|"
    "private network|interfaces|abstract socket of the host|AF_VSOCK|AF_ALG|AF_PACKET|NETLINK audit|ptrace|"
    "unshare(NEWUSER)|mount|bpf|userfaultfd|keyctl|add_key|perf_event_open|process_vm_readv|kexec_load|init_module|"
    "name_to_handle_at|io_uring_setup|clone3|open_tree|TIOCSTI|fill /tmp|fill /dev/shm|fork bomb|64 GiB allocation"
)
"""As the study lists them."""
_HONEST = {  # x86-64, aarch64
    "get_mempolicy": (239, 236),
    "mbind": (237, 235),
    "membarrier": (324, 283),
    "rseq": (334, 293),
    "landlock_create_ruleset": (444, 444),
    "seccomp": (317, 277),
}


@pytest.fixture(scope="module")
def host() -> Iterator[tuple[int, str, list[bytes]]]:
    """Listeners of this machine, on a port and an abstract name, and what arrived at them."""
    heard: list[bytes] = []
    name = f"gogrid-{secrets.token_hex(8)}"
    tcp, unix = socket.create_server(("0.0.0.0", 0)), socket.socket(socket.AF_UNIX)
    unix.bind(f"\0{name}")
    unix.listen()

    def listen(server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                heard.append(client.recv(16))

    threads = [threading.Thread(target=listen, args=(server,)) for server in (tcp, unix)]
    for thread in threads:
        thread.start()
    yield tcp.getsockname()[1], name, heard
    for server in (tcp, unix):
        server.shutdown(socket.SHUT_RDWR)
        server.close()
    for thread in threads:
        thread.join()


@pytest.fixture(scope="module")
def outcomes(grid: HostileGrid, host: tuple[int, str, list[bytes]]) -> dict[str, str]:
    """What each row gave, all from one job."""
    column = next(machine.column for machine in MACHINES if machine.name == platform.machine())
    numbers = {name: both[column] for name, both in {**NUMBERS, **_HONEST}.items()}
    fills = {"host_port": host[0], "host_name": host[1], "environment_names": set(linux.ENVIRONMENT_NAMES)}
    told = grid.run(script({**BATTERY, **_prefixed()}, numbers, fills))
    assert (told.word, told.stderr) == ("ok", "")
    return grid.lines(told)


def test_no_row_of_the_battery_is_without_a_probe() -> None:
    assert set(_ROWS.split("|")) == set(BATTERY)


@pytest.mark.parametrize("row", BATTERY)
def test_battery(outcomes: dict[str, str], row: str) -> None:
    assert outcomes.get(row, "no answer") in BATTERY[row].right, row


@pytest.mark.parametrize("row", MUST_WORK)
def test_must_work(outcomes: dict[str, str], row: str) -> None:
    assert outcomes.get(f"must work: {row}", "no answer") in MUST_WORK[row].right, row


def test_nothing_arrived_at_the_hosts_listeners(outcomes: dict[str, str], host: tuple[int, str, list[bytes]]) -> None:
    assert outcomes
    assert host[2] == []


@pytest.mark.torch
def test_must_work_torch_matmul(grid: HostileGrid) -> None:
    pytest.importorskip("torch")
    told = grid.run(
        """
        import torch
        a = torch.randn(256, 256)
        print(torch.get_num_threads(), (a @ a.inverse()).trace().round().item())
        """,
        limits=Limits(wall_s=90.0),
    )
    assert (told.word, told.stdout, told.stderr) == ("ok", "1 256.0\n", "")


def _prefixed() -> dict[str, Row]:
    return {f"must work: {row}": probe for row, probe in MUST_WORK.items()}
