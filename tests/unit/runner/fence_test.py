"""Until when leases are the worker's own: counted from acknowledged heartbeats, through every session."""

from runner.link.fence import Fence


def test_before_the_first_session_there_is_nothing_to_give_up() -> None:
    assert Fence().at is None


def test_the_fence_is_counted_from_when_the_acknowledged_heartbeat_was_sent() -> None:
    fence = Fence()
    fence.opened(0.0, 24.0, holding=False)
    assert fence.at == 24.0
    fence.renewed(10.0)
    fence.renewed(5.0)
    assert fence.at == 34.0


def test_a_new_session_alone_renews_nothing_that_is_held() -> None:
    fence = Fence()
    fence.opened(0.0, 24.0, holding=False)
    fence.renewed(10.0)
    fence.opened(30.0, 24.0, holding=True)
    assert fence.at == 34.0
    fence.renewed(30.5)
    assert fence.at == 54.5


def test_a_worker_that_holds_nothing_begins_anew() -> None:
    fence = Fence()
    fence.opened(0.0, 24.0, holding=False)
    fence.opened(500.0, 12.0, holding=False)
    assert fence.at == 512.0
