"""The bad network does what it says, the same for the same seed."""

import itertools
import socket
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.faults.impairment import BLACKHOLE, CLEAR, Conditions, Lane, Phase, Schedule
from tests.faults.proxy import UdpProxy

MANY = 5000
SHORT, LONG = b"\x40 one-rtt datagram", b"\xc0 handshake datagram"


def carried(conditions: Conditions, seed: int = 7, data: bytes = SHORT, count: int = MANY) -> list[tuple[float, bytes]]:
    lane = Lane(seed)
    return [arrival for number in range(count) for arrival in lane.pass_on(data, conditions, number * 1.0)]


def share(conditions: Conditions, data: bytes = SHORT) -> float:
    return len(carried(conditions, data=data)) / MANY


def test_a_clear_network_changes_nothing() -> None:
    assert carried(CLEAR, count=50) == [(float(number), SHORT) for number in range(50)]


def test_the_same_seed_brings_the_same_luck_and_another_seed_another() -> None:
    bad = Conditions(0.1, 0.05, 0.1, duplicate=0.1, reorder=0.1, corrupt=0.1, burst=0.01, burst_length=4)
    assert carried(bad) == carried(bad)
    assert carried(bad, seed=8) != carried(bad)


def test_one_condition_does_not_change_the_luck_of_another() -> None:
    lossy, worse = Conditions(loss=0.1), Conditions(loss=0.1, delay_s=0.5)
    assert [due for due, _ in carried(lossy)] == [due - 0.5 for due, _ in carried(worse)]


def test_shares_are_what_was_asked_for() -> None:
    assert share(Conditions(loss=0.02)) == pytest.approx(0.98, abs=0.01)
    assert share(Conditions(duplicate=0.3)) == pytest.approx(1.3, abs=0.03)
    changed = sum(data != SHORT for _, data in carried(Conditions(corrupt=0.3)))
    assert changed / MANY == pytest.approx(0.3, abs=0.03)
    assert share(BLACKHOLE) == 0


def test_handshake_loss_is_for_handshake_packets_only() -> None:
    conditions = Conditions(handshake_loss=0.3)
    assert share(conditions, LONG) == pytest.approx(0.7, abs=0.03)
    assert share(conditions, SHORT) == 1


def test_a_flipped_bit_is_one_bit() -> None:
    for _, data in carried(Conditions(corrupt=1.0), count=200):
        assert sum((one ^ other).bit_count() for one, other in zip(data, SHORT, strict=True)) == 1


def test_bursts_take_their_length_at_least() -> None:
    lane, conditions = Lane(3), Conditions(burst=0.01, burst_length=5)
    gone = [not lane.pass_on(SHORT, conditions, 0.0) for _ in range(MANY)]
    runs = Counter(len(list(run)) for lost, run in itertools.groupby(gone) if lost)
    assert runs
    assert min(runs) >= 5


def test_delay_and_jitter_stay_within_their_bounds() -> None:
    waits = [due - number for number, (due, _) in enumerate(carried(Conditions(delay_s=0.2, jitter_s=0.1)))]
    assert min(waits) >= 0.2 - 1e-9
    assert max(waits) <= 0.3 + 1e-9
    assert max(waits) - min(waits) > 0.09


def test_an_overtaken_datagram_comes_behind_the_next_ones() -> None:
    lane, conditions = Lane(1), Conditions(reorder=0.2, reorder_s=0.5)
    arrivals = [(due, number) for number in range(200) for due, _ in lane.pass_on(SHORT, conditions, number / 10)]
    assert [number for _, number in sorted(arrivals)] != list(range(200))


def test_a_schedule_moves_on_repeats_or_stays() -> None:
    on, off = Phase(5, CLEAR, CLEAR), Phase(2, BLACKHOLE, BLACKHOLE)
    once, ever = Schedule((on, off)), Schedule((on, off), again=True)
    assert [once.at(second) is off for second in (0, 4.9, 5, 6.9, 100)] == [False, False, True, True, True]
    assert [ever.at(second) is off for second in (0, 5, 7, 12, 14)] == [False, True, False, True, False]


# --- the shell ---


@pytest.fixture
def far() -> Iterator[socket.socket]:
    """In the coordinator's place."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(2)
        yield made


@pytest.fixture
def near(proxy: UdpProxy) -> Iterator[socket.socket]:
    """In the worker's place."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.connect(("127.0.0.1", proxy.port))
        made.settimeout(2)
        yield made


@pytest.fixture
def proxy(far: socket.socket) -> Iterator[UdpProxy]:
    with UdpProxy(far.getsockname()[1]) as made:
        yield made


def silent(there: socket.socket) -> bool:
    there.settimeout(0.2)
    try:
        there.recv(100)
    except TimeoutError:
        return True
    finally:
        there.settimeout(2)
    return False


def test_datagrams_pass_both_ways(proxy: UdpProxy, near: socket.socket, far: socket.socket) -> None:
    near.send(b"ping")
    data, address = far.recvfrom(100)
    far.sendto(b"pong", address)
    assert (data, near.recv(100)) == (b"ping", b"pong")


def test_a_rebind_shows_the_coordinator_a_new_port_and_closes_the_old_one(
    proxy: UdpProxy, near: socket.socket, far: socket.socket
) -> None:
    near.send(b"one")
    _, before = far.recvfrom(100)
    proxy.rebind()
    end = time.monotonic() + 2
    while not proxy.rebinds and time.monotonic() < end:
        time.sleep(0.005)
    near.send(b"two")
    _, after = far.recvfrom(100)
    assert before != after
    far.sendto(b"to the old one", before)
    assert silent(near)
    far.sendto(b"to the new one", after)
    assert near.recv(100) == b"to the new one"


def test_a_one_way_blackhole_is_one_way(proxy: UdpProxy, near: socket.socket, far: socket.socket) -> None:
    near.send(b"one")
    _, address = far.recvfrom(100)
    proxy.conditions(up=BLACKHOLE)
    near.send(b"lost")
    assert silent(far)
    far.sendto(b"heard", address)
    assert near.recv(100) == b"heard"
    proxy.conditions()
    near.send(b"again")
    assert far.recv(100) == b"again"


def test_delay_is_waited_for(proxy: UdpProxy, near: socket.socket, far: socket.socket) -> None:
    proxy.conditions(up=Conditions(delay_s=0.15))
    begun = time.monotonic()
    near.send(b"late")
    assert far.recv(100) == b"late"
    assert 0.15 <= time.monotonic() - begun < 1.0


def test_a_coordinator_that_is_not_there_does_not_stop_the_proxy(
    proxy: UdpProxy, near: socket.socket, far: socket.socket
) -> None:
    port = far.getsockname()[1]
    far.close()
    for _ in range(3):
        near.send(b"to nobody")
        time.sleep(0.02)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
        back.bind(("127.0.0.1", port))
        back.settimeout(2)
        near.send(b"hello")
        assert back.recv(100) == b"hello"
