"""What strangers may cost, and what handled bytes are worth; in virtual time."""

from __future__ import annotations

from coordinator.quic.flows import JobFlows
from coordinator.quic.limits import Gate, Limits, network_of
from gogrid.ids import JobId
from gogrid.protocol.credit import TokenBucket, Window

LEASE = (JobId("job_1"), 1)


def test_a_network_gets_its_burst_and_then_its_rate() -> None:
    gate = Gate(Limits(initial_rate=10.0, initial_burst=30.0))
    assert sum(gate.may_knock("10.0.0.1", 0.0) for _ in range(100)) == 30
    assert sum(gate.may_knock("10.0.0.1", 1.0) for _ in range(100)) == 10
    assert gate.may_knock("10.0.0.2", 1.0)


def test_a_million_networks_take_no_more_memory_than_four_thousand() -> None:
    gate = Gate(Limits())
    for number in range(20_000):
        gate.may_knock(str(number), 0.0)
    assert len(gate._buckets) == 4096


def test_strangers_are_counted_per_network_and_in_total() -> None:
    gate = Gate(Limits(strangers_per_network=2, strangers=3))
    assert gate.enter("a")
    assert gate.enter("a")
    assert not gate.enter("a")
    assert gate.enter("b")
    assert not gate.enter("c")
    gate.leave("a")
    assert gate.enter("c")


def test_an_ipv6_network_is_its_64() -> None:
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2::1") != network_of("2001:db8:1:3::1")
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1") == "10.0.0.1"


def test_a_bucket_does_not_run_backwards() -> None:
    bucket = TokenBucket(1.0, 2.0, 100.0)
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]
    assert not bucket.take(50.0)
    assert not bucket.take(50.5)


def test_a_window_moves_only_with_what_was_handled() -> None:
    window = Window(1000)
    assert window.limit == 1000
    assert not window.handle(249)
    assert window.limit == 1000
    assert window.handle(1)
    assert window.limit == 1250


def test_an_owner_cannot_credit_more_than_came() -> None:
    flows = JobFlows()
    flows.came(LEASE, 2, 100)
    assert flows.handled(LEASE, 60) == (2, 60)
    assert flows.handled(LEASE, 1000) == (2, 40)
    assert flows.handled(LEASE, -5) == (2, 0)
    assert flows.handled((JobId("job_2"), 1), 10) == (0, 0)


def test_what_came_before_the_end_may_be_handled_after_it() -> None:
    flows = JobFlows()
    flows.came(LEASE, 2, 100)
    flows.ended(LEASE)
    assert flows.handled(LEASE, 100) == (2, 100)
    assert flows.handled(LEASE, 100) == (0, 0)


def test_a_reset_stream_is_not_credited_twice() -> None:
    flows = JobFlows()
    flows.came(LEASE, 2, 100)
    flows.reset(2)
    assert flows.handled(LEASE, 100) == (0, 0)


def test_what_was_told_without_a_stream_leaves_nothing_behind() -> None:
    """Nothing says that such a lease is over: a coordinator would remember every small job it ever had."""
    flows = JobFlows()
    flows.came(LEASE, 0, 0)
    assert flows.handled(LEASE, 0) == (0, 0)
    assert not flows._flows
