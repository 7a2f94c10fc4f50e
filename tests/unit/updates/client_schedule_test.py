"""When a machine asks, where it asks, in numbers and texts that are given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updates.client.endpoints import DEFAULT_PATH, check_address, endpoint
from updates.client.errors import EndpointError
from updates.client.schedule import Rhythm, asked, asked_by_hand, due, started

RHYTHM = Rhythm()
NOW = 1_800_000_000.0


def test_first_after_five_seconds_then_once_a_day_within_a_tenth():
    schedule = started(NOW, RHYTHM)
    assert not due(schedule, NOW + 4.9)
    assert due(schedule, NOW + 5)
    for roll, hours in ((0.0, 21.6), (0.5, 24.0), (1.0, 26.4)):
        assert asked(schedule, NOW, RHYTHM, roll, failed=False).next_at == NOW + hours * 3600


def test_failures_are_followed_by_longer_and_longer_waits_and_success_forgets_them():
    schedule, waits = started(NOW, RHYTHM), []
    for _ in range(12):
        schedule = asked(schedule, NOW, RHYTHM, 0.5, failed=True)
        waits.append(schedule.next_at - NOW)
    assert waits[:4] == [60, 120, 240, 480]
    assert waits[-1] == RHYTHM.retry_longest_s
    assert asked(schedule, NOW, RHYTHM, 0.5, failed=False).failures == 0


def test_a_clock_that_is_set_back_keeps_nobody_waiting_and_a_machine_that_slept_asks_at_once():
    schedule = asked(started(NOW, RHYTHM), NOW, RHYTHM, 0.5, failed=False)
    assert due(schedule, NOW - 1)
    assert due(schedule, NOW + 40 * 86400)


def test_by_hand_is_now():
    schedule = asked(started(NOW, RHYTHM), NOW, RHYTHM, 0.5, failed=False)
    assert due(asked_by_hand(schedule, NOW + 10), NOW + 10)


@given(st.integers(0, 10_000), st.floats(0, 1), st.booleans())
def test_every_wait_has_an_end(failures: int, roll: float, failed: bool):
    schedule = asked(started(NOW, RHYTHM), NOW, RHYTHM, roll, failed=failed)
    for _ in range(min(failures, 40)):
        schedule = asked(schedule, NOW, RHYTHM, roll, failed=failed)
    assert 0 < schedule.next_at - NOW <= RHYTHM.every_s * 1.1


def test_placeholders_are_filled_in_and_files_are_looked_for_beside_them():
    place = endpoint("https://grid.example:8443/gg" + DEFAULT_PATH, "linux-x86_64", "1.2.0+a/b")
    assert place.check == "https://grid.example:8443/gg/updates/linux-x86_64/1.2.0%2Ba%2Fb"
    assert place.keys(3) == "https://grid.example:8443/gg/updates/keys/3"
    assert place.file("/files/ab/x.zip") == "https://grid.example:8443/gg/files/ab/x.zip"


def test_an_endpoint_of_another_form_has_its_host_as_base():
    place = endpoint("https://host/{{target}}/feed?from={{current_version}}", "t", "1")
    assert (place.check, place.file("/files/x")) == ("https://host/t/feed?from=1", "https://host/files/x")


DISGUISED = [
    "http://127.0.0.1.evil.example/u",
    "http://localhost.evil.example/u",
    "http://127.0.0.1@evil.example/u",
    "http://127.0.0.1:80@evil.example/u",
    "http://localhost\\@evil.example/u",
    "http://127.0.0.1\t.evil.example/u",
    "http://[::1].evil.example/u",
    "http://grid.example/u",
    "https://somebody@grid.example/u",
    "https://[x/u",
    "https://grid.example:none/u",
    "https://grid.example:99999/u",
    "https:///u",
    "https://{{target}}.evil.example/u",
    "https://grid.example/a,https://b",
    "https://gr\u0131d.example/u",
    "ftp://127.0.0.1/u",
    "",
]


@pytest.mark.parametrize("address", DISGUISED)
def test_an_address_that_only_looks_like_this_machine_is_not_asked_without_tls(address: str):
    with pytest.raises(EndpointError, match="cannot be asked"):
        endpoint(address, "t", "1")


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8080/u", "http://localhost/u", "http://[::1]:9/u", "https://A.b/u"]
)
def test_this_machine_is_asked_without_tls(address: str):
    assert check_address(address).netloc == address.split("/")[2]
