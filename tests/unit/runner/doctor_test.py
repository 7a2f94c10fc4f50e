"""`doctor` tells what is wrong from what is not."""

import socket
import time
from dataclasses import replace
from pathlib import Path

from gogrid.addresses import Address
from gogrid.identity import create_worker_key
from gogrid.ids import WorkerId
from gogrid.places import WorkerPlaces
from runner.config import load_config
from runner.doctor import examine
from runner.doctor_coordinator import PATIENCE_S, Check, TcpSeen, UdpSeen, _speaks_quic, judge, look
from runner.link.membership import Membership, load_membership, save_membership
from tests.fakes.blob_server import BlobServer
from tests.fakes.quic_grid import coordinator


def membership(server: BlobServer) -> Membership:
    return Membership(
        worker_id=WorkerId("wk_1"),
        worker_name="here",
        key=create_worker_key(),
        pin=server.identity.pin,
        identity_pem=server.identity.pem,
        coordinator_name="office",
        addresses=(Address("127.0.0.1", server.port),),
        https_port=server.port,
    )


async def test_blocked_udp_is_told_from_a_coordinator_that_is_down(tmp_path: Path) -> None:
    places = WorkerPlaces(tmp_path / "config.toml", tmp_path, tmp_path / "s", tmp_path / "a")
    config = load_config(places, flags={}, environment={})
    with BlobServer(tmp_path).running() as server:
        save_membership(places.state, membership(server))
        checks = {check.name: check for check in await examine(config, places, "")}
        assert not checks["UDP (QUIC)"].ok
        assert checks["TCP (HTTPS)"].ok
        assert checks["clock"].ok
        assert checks["coordinator"].finding.startswith("office, pin ")
    checks = {check.name: check for check in await examine(config, places, "")}
    assert not checks["UDP (QUIC)"].ok
    assert not checks["TCP (HTTPS)"].ok


HERE = Address("10.0.0.1", 8443)
URL = "https://10.0.0.1:8443/healthz"


def finding(checks: tuple[Check, ...], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_where_only_tcp_is_answered_it_says_which_port_to_open() -> None:
    checks = judge((UdpSeen(HERE, failure="nothing within 2 s"),), (TcpSeen(URL, True, "200", 0.4),))
    udp = finding(checks, "UDP (QUIC)")
    assert not udp.ok
    assert "UDP is blocked on the way. Allow outgoing UDP to port 8443" in udp.finding
    assert finding(checks, "TCP (HTTPS)").ok
    assert finding(checks, "clock").ok


def test_where_nothing_is_answered_udp_is_not_blamed() -> None:
    checks = judge((UdpSeen(HERE, failure="nothing within 2 s"),), (TcpSeen(URL, False, "refused"),))
    assert "blocked" not in finding(checks, "UDP (QUIC)").finding
    assert "is the coordinator running" in finding(checks, "TCP (HTTPS)").finding
    assert "clock" not in {check.name for check in checks}


def test_where_only_udp_is_answered_it_says_what_tcp_is_for() -> None:
    checks = judge((UdpSeen(HERE, proved=True),), (TcpSeen(URL, False, "refused"),))
    assert finding(checks, "UDP (QUIC)").ok
    assert "allow outgoing TCP" in finding(checks, "TCP (HTTPS)").finding


def test_a_handshake_that_is_lost_is_told_from_silence_and_from_a_stranger() -> None:
    half = judge((UdpSeen(HERE, speaks_quic=True, failure="nothing within 2 s"),), (TcpSeen(URL, True, "200"),))
    assert "speaks QUIC, but no connection" in finding(half, "UDP (QUIC)").finding
    other = judge((UdpSeen(HERE, stranger="It is another coordinator."),), (TcpSeen(URL, True, "200"),))
    assert finding(other, "UDP (QUIC)").finding == "10.0.0.1:8443: It is another coordinator."


def test_a_clock_that_is_wrong_is_said_with_its_direction() -> None:
    checks = judge((UdpSeen(HERE, proved=True),), (TcpSeen(URL, True, "200", -3600.0),))
    assert not finding(checks, "clock").ok
    assert "3600 s behind the coordinator's" in finding(checks, "clock").finding


async def test_silence_everywhere_is_waited_for_together(tmp_path: Path) -> None:
    """Three addresses that swallow everything, UDP and TCP: no two of them one after another."""
    sinks = []
    for _ in range(3):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        tcp = socket.create_server(udp.getsockname())
        sinks += [udp, tcp]
    with BlobServer(tmp_path).running() as server:
        member = replace(membership(server), https_port=sinks[1].getsockname()[1])
    began = time.monotonic()
    checks = await look([Address("127.0.0.1", udp.getsockname()[1]) for udp in sinks[::2]], member)
    assert time.monotonic() - began < 2 * PATIENCE_S
    assert not any(check.ok for check in checks)
    for sink in sinks:
        sink.close()


async def test_a_coordinator_is_proved_over_udp_and_a_stranger_is_named(tmp_path: Path) -> None:
    with BlobServer(tmp_path).running() as server:
        member = membership(server)
    async with coordinator() as grid:
        checks = await look([grid.address], replace(member, pin=grid.identity.pin))
        assert finding(checks, "UDP (QUIC)").finding == f"{grid.address} answers, and is the pinned coordinator"
        strange = await look([grid.address], member)
        assert not finding(strange, "UDP (QUIC)").ok
        assert "no answer" not in finding(strange, "UDP (QUIC)").finding
        assert await _speaks_quic(grid.address)


def test_a_membership_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    with BlobServer(tmp_path).running() as server:
        saved = membership(server)
    assert load_membership(tmp_path / "state") is None
    save_membership(tmp_path / "state", saved)
    found = load_membership(tmp_path / "state")
    assert found is not None
    assert found.key.private_bytes_raw() == saved.key.private_bytes_raw()
    assert (found.pin, found.addresses, found.https_port) == (saved.pin, saved.addresses, saved.https_port)
