"""What visitors without a key may cost: bursts, downloads at once, and memory for addresses."""

import pytest

from coordinator.http.errors import HttpRefusal
from coordinator.http.visitors import VisitorLimits, Visitors

LIMITS = VisitorLimits(burst=3, per_second=1.0, downloads=3, downloads_each=2, addresses=2)


def test_a_burst_is_refused_and_time_brings_it_back():
    visitors = Visitors(LIMITS)
    for _ in range(3):
        visitors.admit("a", 0.0)
    with pytest.raises(HttpRefusal) as refused:
        visitors.admit("a", 0.5)
    assert refused.value.status == 429
    assert refused.value.headers == ((b"retry-after", b"10"),)
    visitors.admit("b", 0.5)
    visitors.admit("a", 2.0)


def test_no_more_addresses_are_remembered_than_allowed():
    visitors = Visitors(LIMITS)
    for number in range(100):
        visitors.admit(str(number), 0.0)
    assert len(visitors._left) == 2


def test_downloads_are_bounded_for_each_and_for_all():
    visitors = Visitors(LIMITS)
    with visitors.downloading("a"), visitors.downloading("a"):
        with pytest.raises(HttpRefusal), visitors.downloading("a"):
            pass
        with visitors.downloading("b"), pytest.raises(HttpRefusal), visitors.downloading("c"):
            pass
    with visitors.downloading("a"):
        assert visitors._downloads == {"a": 1}
    assert visitors._downloads == {}
