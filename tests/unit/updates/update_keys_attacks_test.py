"""Signatures and keys: who may sign what, what becomes of stolen keys, and how new ones come.

The names follow tuf-conformance where it has the case. Each was seen to fail with its guard removed.
"""

import io
import json
from dataclasses import replace

import pytest

from tests.fakes.update_judging import alarm_of, judged, seen
from tests.fakes.update_publisher import (
    DAY,
    FILE,
    NOW,
    Json,
    Publisher,
    fresh,
    key_id,
    public,
    sign,
)
from updates.errors import Alarm, TrustError
from updates.trust.anchors import parse_anchors
from updates.trust.chain import SignedDocument, SignedKeys
from updates.trust.trusted_state import switched
from updates.trust.verdict import Install, verify_artifact


@pytest.mark.parametrize("what", ["timestamp", "release"])
def test_unsigned_manifest(what: str):
    offer = Publisher().offer()
    bare = replace(offer, **{what: SignedDocument(getattr(offer, what).data, b"")})
    assert alarm_of(judged(bare).verdict) is Alarm.MALFORMED


@pytest.mark.parametrize("what", ["timestamp", "release"])
def test_signature_of_another_document(what: str):
    """The timestamp is bent as well, so that its hash fits the bent release."""
    publisher = Publisher()
    offer = publisher.offer()
    signed: SignedDocument = getattr(offer, what)
    bent = SignedDocument(signed.data.replace(b"stable", b"staple"), signed.signature)
    changed = replace(offer, **{what: bent})
    if what == "release":
        changed = replace(changed, timestamp=publisher.timestamp(bent))
    assert alarm_of(judged(changed).verdict) is Alarm.BAD_SIGNATURE


@pytest.mark.parametrize("what", ["timestamp", "release"])
def test_legacy_signature(what: str):
    offer = Publisher().offer()
    data, by = getattr(offer, what).data, "timestamp1" if what == "timestamp" else "release1"
    legacy = SignedDocument(data, sign(data, by, f"gogrid1 {what}", prehash=False))
    assert alarm_of(judged(replace(offer, **{what: legacy})).verdict) is Alarm.MALFORMED


def test_signature_by_a_retired_key():
    state = seen(Publisher())
    rotated = Publisher(epoch=2, ts_seq=11, seq=8, release_keys=("release2",), release_by="release1")
    assert alarm_of(judged(rotated.offer(), state).verdict) is Alarm.WRONG_KEY


def test_signature_by_a_revoked_key():
    """It is still listed, but named as revoked."""
    revoked = Publisher(
        release_keys=("release1", "release2"), bend_keys=lambda document: document.update(revoked=[key_id("release1")])
    )
    assert alarm_of(judged(revoked.offer()).verdict) is Alarm.WRONG_KEY


def test_artifact_of_a_key_that_was_revoked_after_the_offer():
    done = judged(Publisher().offer())
    assert isinstance(done.verdict, Install)
    later = judged(
        Publisher(epoch=2, ts_seq=11, seq=8, release_keys=("release2",), release_by="release2").offer(), done.state
    )
    with pytest.raises(TrustError) as refused:
        verify_artifact(io.BytesIO(FILE), done.verdict, later.state)
    assert refused.value.alarm is Alarm.WRONG_KEY


def test_signature_by_a_root_key():
    assert alarm_of(judged(Publisher(release_by="root1").offer()).verdict) is Alarm.WRONG_KEY


def test_timestamp_key_signs_no_release():
    assert alarm_of(judged(Publisher(release_by="timestamp1").offer()).verdict) is Alarm.WRONG_KEY


def test_release_key_signs_no_timestamp():
    assert alarm_of(judged(Publisher(timestamp_by="release1").offer()).verdict) is Alarm.WRONG_KEY


def test_one_key_in_two_roles():
    assert alarm_of(judged(Publisher(timestamp_keys=("release1", "timestamp1")).offer()).verdict) is Alarm.MALFORMED


def test_signature_of_a_document_under_another_kind():
    """A release key signs files, too: a file that looks like a release is none."""
    offer = Publisher().offer()
    as_file = SignedDocument(offer.release.data, sign(offer.release.data, "release1", "gogrid1 seq=7"))
    assert alarm_of(judged(replace(offer, release=as_file)).verdict) is Alarm.MIXED


@pytest.mark.parametrize(
    "bent",
    [{"threshold": 1}, {"threshold": 4}, {"root_keys": [public("root1"), public("root1")]}],
    ids=["one alone", "more than there are", "one key twice"],
)
def test_root_keys_that_one_thief_could_use_are_none(bent: Json):
    document = {"schema": 1, "root_keys": [public(name) for name in ("root1", "root2", "root3")]}
    assert parse_anchors(json.dumps(document).encode()).threshold == 2
    with pytest.raises(TrustError):
        parse_anchors(json.dumps(document | bent).encode())


def test_threshold_one_of_three():
    assert alarm_of(judged(Publisher(roots=("root1",)).offer()).verdict) is Alarm.TOO_FEW_ROOTS


def test_duplicate_signer_counted_once():
    assert alarm_of(judged(Publisher(roots=("root1", "root1")).offer()).verdict) is Alarm.TOO_FEW_ROOTS


def test_keys_signed_by_strangers():
    assert alarm_of(judged(Publisher(roots=("root1", "release1", "stranger")).offer()).verdict) is Alarm.TOO_FEW_ROOTS


def test_a_wrong_signature_of_a_root_does_not_spoil_two_good_ones():
    signed = Publisher(roots=("root1", "root3")).keys()
    spoiled = SignedKeys(signed.data, (b"nonsense", sign(b"other", "root2", "gogrid1 keys"), *signed.signatures))
    assert isinstance(judged(replace(Publisher().offer(), keys=(spoiled,))).verdict, Install)


def test_root_rotation_one_after_the_other():
    state = seen(Publisher())
    second = Publisher(epoch=2, release_keys=("release2",)).keys()
    third = Publisher(epoch=3, ts_seq=11, seq=8, release_keys=("release3",), release_by="release3")
    offer = replace(third.offer(), keys=(second, third.keys()))
    done = judged(offer, state)
    assert isinstance(done.verdict, Install)
    assert done.state.key_epoch == 3


def test_root_rotation_skip():
    state = seen(Publisher())
    third = Publisher(epoch=3, ts_seq=11, seq=8, release_keys=("release3",), release_by="release3")
    assert alarm_of(judged(third.offer(), state).verdict) is Alarm.EPOCH_SKIPPED


def test_root_rotation_back():
    """Old keys are passed over, so what they sign is worth nothing."""
    state = seen(Publisher(epoch=1))
    state = judged(
        Publisher(epoch=2, ts_seq=11, seq=8, release_keys=("release2",), release_by="release2").offer(), state
    ).state
    assert alarm_of(judged(Publisher(epoch=1, ts_seq=12, seq=9).offer(), state).verdict) is Alarm.WRONG_KEY


def test_other_keys_under_a_known_epoch():
    state = seen(Publisher())
    other = Publisher(ts_seq=11, seq=8, release_keys=("release1", "release2"))
    assert alarm_of(judged(other.offer(), state).verdict) is Alarm.KEYS_CHANGED


def test_more_epochs_than_anybody_needs():
    offer = Publisher().offer()
    assert alarm_of(judged(replace(offer, keys=offer.keys * 257)).verdict) is Alarm.TOO_LARGE


def test_new_keys_withheld():
    state = seen(Publisher())
    newer = Publisher(seq=8, ts_seq=11, bend_release=lambda document: document.update(key_epoch=2))
    assert alarm_of(judged(replace(newer.offer(), keys=()), state).verdict) is Alarm.KEYS_WITHHELD


def test_no_keys_at_all():
    assert alarm_of(judged(replace(Publisher().offer(), keys=())).verdict) is Alarm.KEYS_WITHHELD


def test_fast_forward_recovery():
    """A thief used up the numbers and the time; keys of a new epoch give them back."""
    stolen = Publisher(ts_seq=(1 << 53) - 1, seq=(1 << 53) - 1, at=NOW + 3000 * DAY)
    state = judged(stolen.offer(), switched(fresh(), 5), now=NOW).state
    again = Publisher(
        epoch=2,
        seq=8,
        release_keys=("release2",),
        timestamp_keys=("timestamp2",),
        release_by="release2",
        timestamp_by="timestamp2",
    )
    assert state.release_seq == (1 << 53) - 1
    done = judged(again.offer(), state)
    assert isinstance(done.verdict, Install)
    assert (done.state.ts_seq, done.state.release_seq) == (10, 8)


def test_fast_forward_stays_without_new_keys():
    state = judged(Publisher(ts_seq=1000).offer()).state
    assert alarm_of(judged(Publisher(epoch=2, ts_seq=11).offer(), state).verdict) is Alarm.ROLLBACK


def test_recovery_opens_no_way_behind_what_is_installed():
    state = switched(seen(Publisher()), 7)
    rotated = Publisher(epoch=2, seq=6, release_keys=("release1", "release2"), ts_seq=11)
    assert alarm_of(judged(rotated.offer(), state, seq=7).verdict) is Alarm.ROLLBACK
