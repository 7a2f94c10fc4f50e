"""Whether a believed release is meant for this machine now: withdrawn, floors, turns, pins, what fits."""

import io

import pytest

from tests.fakes.update_judging import alarm_of, judged, seen, waits_for
from tests.fakes.update_publisher import (
    FILE,
    NOW,
    Json,
    Publisher,
    fresh,
    install,
)
from updates.errors import Alarm, StateFileError, TrustError
from updates.trust.documents import Rollout
from updates.trust.trusted_state import TrustedState, proved, switched
from updates.trust.verdict import Current, Install, Wait, WaitReason, bucket, evaluate, verify_artifact


def test_below_the_security_floor_nobody_waits_for_a_turn():
    fixed = Publisher(percent=0, bend_release=lambda document: document.update(security_floor=6))
    verdict = judged(fixed.offer(), seq=5).verdict
    assert isinstance(verdict, Install)
    assert verdict.urgent
    assert waits_for(judged(fixed.offer(), seq=6).verdict) is WaitReason.ROLLOUT


def test_whoever_runs_a_revoked_release_does_not_wait_for_a_turn():
    fixed = Publisher(percent=0, bend_release=lambda document: document.update(revoked=[5]))
    assert isinstance(judged(fixed.offer(), seq=5).verdict, Install)
    assert waits_for(judged(fixed.offer(), seq=4).verdict) is WaitReason.ROLLOUT


def test_a_release_that_was_revoked_after_the_offer_is_not_installed():
    done = judged(Publisher().offer())
    assert isinstance(done.verdict, Install)
    later = Publisher(seq=8, ts_seq=11, bend_release=lambda document: document.update(revoked=[7]))
    with pytest.raises(TrustError, match="withdrawn"):
        verify_artifact(io.BytesIO(FILE), done.verdict, judged(later.offer(), done.state).state)


@pytest.mark.parametrize("fields", [{"revoked": [7]}, {"security_floor": 8}, {"min_from_seq": 7}])
def test_a_release_that_contradicts_itself(fields: Json):
    wrong = Publisher(bend_release=lambda document: document.update(fields))
    assert alarm_of(judged(wrong.offer()).verdict) is Alarm.MALFORMED


def test_min_from_seq():
    step = Publisher(bend_release=lambda document: document.update(min_from_seq=6))
    verdict = judged(step.offer(), seq=5).verdict
    assert isinstance(verdict, Wait)
    assert (verdict.reason, verdict.warn) == (WaitReason.STEP_MISSING, True)
    assert isinstance(judged(step.offer(), seq=6).verdict, Install)


def test_a_release_that_failed_here_is_not_tried_again():
    state = fresh(failed=(7,), installed=5)
    assert waits_for(judged(Publisher().offer(), state).verdict) is WaitReason.FAILED_BEFORE
    assert isinstance(judged(Publisher(seq=8).offer(), state).verdict, Install)


def test_pinned():
    assert waits_for(judged(Publisher().offer(), pinned="1.0.0").verdict) is WaitReason.PINNED
    assert isinstance(judged(Publisher().offer(), pinned="2.0.0").verdict, Install)


def test_an_older_system_or_another_python_than_needed():
    offer = Publisher(artifact={"os_min": "2.31", "python_abi": "cp311"}).offer()
    assert waits_for(judged(offer, os_version=(2, 28)).verdict) is WaitReason.OS_TOO_OLD
    assert waits_for(judged(offer, os_version=(2, 31), python_abi="cp312").verdict) is WaitReason.WRONG_PYTHON
    assert isinstance(judged(offer, os_version=(2, 31, 1), python_abi="cp311").verdict, Install)


def test_a_copy_built_from_source_is_left_alone():
    assert waits_for(judged(Publisher().offer(), seq=0).verdict) is WaitReason.NOT_A_RELEASE
    assert judged(Publisher().offer(), seq=0, version="2.0.0").verdict == Current()


@pytest.mark.parametrize("seq", [7, 8])
def test_what_is_newer_or_the_same_stays(seq: int):
    assert judged(Publisher().offer(), seq=seq).verdict == Current()


def test_a_rollout_of_a_quarter_is_a_quarter():
    offer = Publisher(percent=25).offer()
    state = seen(Publisher(percent=100, ts_seq=1, seq=6))
    turns = sum(isinstance(judged(offer, state, install_id=f"id-{n}").verdict, Install) for n in range(200))
    buckets = [bucket(Rollout(25, "salt"), f"id-{n}") for n in range(10_000)]
    assert turns == sum(number < 25 for number in buckets[:200])
    assert 2200 <= sum(number < 25 for number in buckets) <= 2800


def test_the_timestamp_says_how_far_the_rollout_is():
    offer = Publisher(percent=0, bend_timestamp=lambda document: document.update(rollout_percent=100)).offer()
    assert isinstance(judged(offer).verdict, Install)
    stopped = Publisher(percent=100, bend_timestamp=lambda document: document.update(rollout_percent=0)).offer()
    assert waits_for(judged(stopped).verdict) is WaitReason.ROLLOUT


def test_state_of_another_app_is_not_taken():
    with pytest.raises(StateFileError, match="gogrid-engine"):
        evaluate(Publisher().offer(), TrustedState(app="gogrid-engine", channel="stable"), install(), NOW)


def test_files_elsewhere_are_not_named():
    for url in ("https://evil.example/x.zip", "/files/../x", f"/files/{'0' * 64}/gogrid.zip", "/files/"):
        wrong = Publisher(artifact={"url": url})
        assert alarm_of(judged(wrong.offer()).verdict) is Alarm.MALFORMED, url


def test_unknown_fields_are_ignored():
    more = Publisher(
        bend_release=lambda document: document.update(later={"x": [1]}),
        bend_timestamp=lambda document: document.update(later=1),
        bend_keys=lambda document: document.update(later="x"),
    )
    assert isinstance(judged(more.offer()).verdict, Install)


def test_good_state_after_an_update():
    state = proved(switched(seen(Publisher()), 7))
    assert (state.installed, state.last_good) == (7, 7)
    assert judged(Publisher().offer(), state, seq=7, version="2.0.0").verdict == Current()
