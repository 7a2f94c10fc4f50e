"""When a link is worth doubting: sleep, other networks, and what is neither."""

import pytest

from runner.link.senses import clock_through_sleep, source_address
from runner.link.surroundings import Advice, Surroundings

EVERY_S = 2.0


def after(*looks: tuple[float, str | None]) -> Advice:
    """What the last of these looks brings; the first is at 0 s."""
    surroundings = Surroundings()
    advice = Advice.NOTHING
    for now, source in looks:
        advice, why = surroundings.look(now, source, EVERY_S)
        assert bool(why) == (advice is not Advice.NOTHING)
    return advice


@pytest.mark.parametrize(
    ("looks", "advice"),
    [
        (((0, "10.0.0.1"), (2, "10.0.0.1"), (4.5, "10.0.0.1")), Advice.NOTHING),
        (((0, "10.0.0.1"), (6.9, "10.0.0.1")), Advice.NOTHING),
        (((0, "10.0.0.1"), (9, "10.0.0.1")), Advice.ASK),
        (((0, "10.0.0.1"), (3600, "10.0.0.1")), Advice.REDIAL),
        (((0, "10.0.0.1"), (3600, "10.0.0.1"), (3602, "10.0.0.1")), Advice.NOTHING),
        (((0, "10.0.0.1"), (2, "192.168.7.2")), Advice.REDIAL),
        (((0, "10.0.0.1"), (2, "192.168.7.2"), (4, "192.168.7.2")), Advice.NOTHING),
        (((0, "10.0.0.1"), (2, "")), Advice.NOTHING),
        (((0, "10.0.0.1"), (2, ""), (4, ""), (6, "10.0.0.1")), Advice.ASK),
        (((0, "10.0.0.1"), (2, ""), (4, "192.168.7.2")), Advice.REDIAL),
        (((0, None), (2, None), (4, "10.0.0.1")), Advice.NOTHING),
        (((0, None), (3600, None)), Advice.REDIAL),
    ],
    ids=[
        "nothing", "a busy machine", "a nap", "a night", "the morning after", "another network", "settled there",
        "cut off", "back", "back elsewhere", "first connection", "slept before the first connection",
    ],
)  # fmt: skip
def test_what_was_seen_and_what_to_do(looks: tuple[tuple[float, str | None], ...], advice: Advice) -> None:
    assert after(*looks) is advice


def test_this_machine_has_an_address_towards_itself_and_a_clock_that_goes() -> None:
    assert source_address(("127.0.0.1", 8443)) == "127.0.0.1"
    assert source_address(None) is None
    before = clock_through_sleep()
    assert clock_through_sleep() >= before


def test_no_way_there_is_no_address() -> None:
    assert source_address(("255.255.255.255", 8443)) == ""
