"""What is remembered of updates: it survives being written, its numbers only rise, and there is a way back or none."""

import json

import pytest

from tests.fakes.update_publisher import Publisher, fresh
from updates.errors import StateFileError
from updates.trust.documents import parse_keys
from updates.trust.trusted_state import (
    TrustedState,
    decode_state,
    encode_state,
    given_up,
    proved,
    start_failed,
    switched,
    trusted_now,
    way_back,
    with_keys,
)


def test_what_is_written_is_read_again():
    state = with_keys(switched(fresh(ts_seq=3, revoked=(1, 2)), 7), parse_keys(Publisher().keys().data), "ab" * 32)
    assert decode_state(encode_state(state)) == state


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[" * 10_000, b'{"app":"a","channel":"b","ts_seq":-1}', b" " * (300 << 10), b"\xff"]
)
def test_a_damaged_state_is_not_taken_for_a_new_one(data: bytes):
    with pytest.raises(StateFileError, match="start anew"):
        decode_state(data)


@pytest.mark.parametrize("field", ["release_keys", "timestamp_keys"])
@pytest.mark.parametrize("damage", ["A" * 56, "=" * 56, "both"])
def test_damage_inside_the_keys_is_told_as_damage_and_not_as_an_attack(field: str, damage: str):
    state = json.loads(encode_state(with_keys(fresh(), parse_keys(Publisher().keys().data), "ab" * 32)))
    other = {"release_keys": "timestamp_keys", "timestamp_keys": "release_keys"}[field]
    state["keys"][field] = state["keys"][other] if damage == "both" else [damage]
    with pytest.raises(StateFileError, match="start anew"):
        decode_state(json.dumps(state).encode())


def test_a_state_of_another_schema_is_refused():
    with pytest.raises(StateFileError, match="another version"):
        decode_state(encode_state(TrustedState(schema=2, app="a", channel="b")))


def test_two_failed_starts_blacklist_a_release():
    state = switched(proved(switched(fresh(), 6)), 7)
    once = start_failed(state)
    assert (once.failed, once.failed_starts) == ((), 1)
    assert start_failed(once).failed == (7,)


def test_a_good_start_between_makes_two_failed_ones_start_anew():
    state = start_failed(proved(start_failed(switched(fresh(), 7))))
    assert state.failed == ()


def test_the_way_back_is_the_last_that_proved_itself():
    assert way_back(switched(proved(switched(fresh(), 6)), 7)) == 6


@pytest.mark.parametrize("fields", [{"security_floor": 7}, {"revoked": (6,)}, {"failed": (6,)}, {"last_good": 0}])
def test_no_way_back_below_the_floor_or_to_what_is_worse(fields):
    assert way_back(fresh(**({"installed": 7, "last_good": 6} | fields))) is None


def test_what_is_installed_is_no_way_back():
    assert way_back(fresh(installed=7, last_good=7)) is None


def test_failed_releases_are_remembered_once_and_not_without_end():
    state = given_up(given_up(fresh(), 7), 7)
    assert state.failed == (7,)
    for seq in range(100, 300):
        state = given_up(state, seq)
    assert len(state.failed) == 64
    assert state.failed[-1] == 299


def test_the_clock_never_counts_as_earlier_than_what_was_signed():
    assert trusted_now(fresh(max_issued_at=100.0), 50.0) == 100.0
    assert trusted_now(fresh(max_issued_at=100.0), 150.0) == 150.0
