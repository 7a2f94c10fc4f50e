"""What somebody may try who stands between publisher and machine: one test for each attack.

The names follow tuf-conformance where it has the case. Each was seen to fail with its guard removed.
"""

import base64
import hashlib
import io
from dataclasses import replace

import msgspec
import pytest

from tests.fakes.update_judging import alarm_of, judged, seen, waits_for
from tests.fakes.update_publisher import (
    DAY,
    FILE,
    NOW,
    Publisher,
    fresh,
    moment,
    sign,
)
from updates.errors import Alarm, TrustError
from updates.trust.chain import SignedDocument
from updates.trust.documents import Artifact
from updates.trust.verdict import Current, Install, Wait, WaitReason, quiet, verify_artifact


def test_a_good_release_is_installed():
    done = judged(Publisher().offer())
    assert isinstance(done.verdict, Install)
    assert (done.verdict.seq, done.verdict.release.version, done.verdict.urgent) == (7, "2.0.0", False)
    verify_artifact(io.BytesIO(FILE), done.verdict, done.state)
    assert (done.state.key_epoch, done.state.ts_seq, done.state.release_seq) == (1, 10, 7)


# --- older than what was seen ---------------------------------------------------------------------------------------


def test_new_timestamp_version_rollback():
    state = seen(Publisher())
    assert alarm_of(judged(Publisher(ts_seq=9).offer(), state).verdict) is Alarm.ROLLBACK


def test_new_timestamp_same_version_with_other_content():
    state = seen(Publisher())
    later = Publisher(bend_timestamp=lambda document: document.update(expires=moment(NOW + 70 * DAY)))
    assert alarm_of(judged(later.offer(), state).verdict) is Alarm.CHANGED


def test_new_timestamp_that_names_an_older_release():
    state = seen(Publisher())
    done = judged(Publisher(seq=6, ts_seq=11).offer(), state)
    assert alarm_of(done.verdict) is Alarm.ROLLBACK
    assert done.state.ts_seq == 10, "it does not count as seen"


def test_release_rollback():
    """The timestamp is right; the release that it names says of itself that it is older."""
    state = seen(Publisher())
    older = Publisher(seq=6, ts_seq=11, bend_timestamp=lambda document: document.update(release_seq=7))
    assert alarm_of(judged(older.offer(), state).verdict) is Alarm.MIXED


def test_same_seq_different_bytes():
    state = seen(Publisher())
    other = Publisher(ts_seq=11, bend_release=lambda document: document.update(notes="Worse."))
    assert alarm_of(judged(other.offer(), state).verdict) is Alarm.CHANGED


def test_what_was_seen_is_kept_though_the_offer_is_refused():
    publisher = Publisher(ts_seq=20, bend_release=lambda document: document.update(app="gogrid-engine"))
    done = judged(publisher.offer())
    assert alarm_of(done.verdict) is Alarm.WRONG_APP
    assert done.state.ts_seq == 20


# --- freeze, and clocks ---------------------------------------------------------------------------------------------


def test_timestamp_expired():
    done = judged(Publisher().offer(), now=NOW + 8 * DAY)
    assert waits_for(done.verdict) is WaitReason.EXPIRED


def test_release_expired():
    old = Publisher(bend_release=lambda document: document.update(expires=moment(NOW + DAY)))
    assert waits_for(judged(old.offer(), now=NOW + 2 * DAY).verdict) is WaitReason.EXPIRED


def test_keys_expired():
    old = Publisher(bend_keys=lambda document: document.update(expires=moment(NOW + DAY)))
    assert waits_for(judged(old.offer(), now=NOW + 2 * DAY).verdict) is WaitReason.EXPIRED


def test_indefinite_freeze_is_told_after_fourteen_days():
    publisher = Publisher()
    state = seen(publisher)
    silent = NOW + 7 * DAY
    assert quiet(state, silent + 13 * DAY) == Current()
    frozen = quiet(state, silent + 15 * DAY)
    assert isinstance(frozen, Wait)
    assert (frozen.reason, frozen.warn) == (WaitReason.FROZEN, True)
    same = judged(publisher.offer(), state, now=silent + 15 * DAY).verdict
    assert isinstance(same, Wait)
    assert (same.reason, same.warn) == (WaitReason.FROZEN, True)


def test_indefinite_freeze_from_the_first_day_is_told():
    """204 for ever: nothing was ever seen, so the age of this copy counts."""
    assert quiet(fresh(), NOW + 13 * DAY, built_at=NOW) == Current()
    frozen = quiet(fresh(), NOW + 15 * DAY, built_at=NOW)
    assert isinstance(frozen, Wait)
    assert (frozen.reason, frozen.warn) == (WaitReason.FROZEN, True)
    assert quiet(fresh(), NOW + 15 * DAY) == Current()
    assert quiet(fresh(ts_expires=NOW + 10 * DAY), NOW + 15 * DAY, built_at=NOW) == Current()


def test_local_clock_set_back():
    """An old, expired release does not become young when the clock is turned back behind what was signed since."""
    old = Publisher()
    state = seen(Publisher(ts_seq=11, at=NOW + 10 * DAY), now=NOW + 10 * DAY)
    state = fresh(max_issued_at=state.max_issued_at)
    assert waits_for(judged(old.offer(), state, now=NOW).verdict) is WaitReason.EXPIRED


# --- mix and match, wrong software ----------------------------------------------------------------------------------


def test_release_hash_mismatch():
    one, two = Publisher(), Publisher(bend_release=lambda document: document.update(notes="Worse."))
    mixed = replace(one.offer(), release=two.release())
    assert alarm_of(judged(mixed).verdict) is Alarm.MIXED


def test_release_size_mismatch():
    longer = Publisher(bend_timestamp=lambda document: document.update(release_size=document["release_size"] + 1))
    assert alarm_of(judged(longer.offer()).verdict) is Alarm.MIXED


@pytest.mark.parametrize("where", ["release", "timestamp"])
def test_wrong_app(where: str):
    wrong = Publisher(**{f"bend_{where}": lambda document: document.update(app="gogrid-engine")})
    assert alarm_of(judged(wrong.offer()).verdict) is Alarm.WRONG_APP


@pytest.mark.parametrize("where", ["release", "timestamp"])
def test_wrong_channel(where: str):
    wrong = Publisher(**{f"bend_{where}": lambda document: document.update(channel="beta")})
    assert alarm_of(judged(wrong.offer()).verdict) is Alarm.WRONG_CHANNEL


def test_wrong_target():
    """The file of another system, under this system's name: its signature says what it was made for."""
    wrong = Publisher(artifact=Publisher().artifact_of("windows-x86_64"))
    assert alarm_of(judged(wrong.offer()).verdict) is Alarm.MIXED


def test_no_build_for_this_target():
    assert waits_for(judged(Publisher().offer(), target="darwin-aarch64").verdict) is WaitReason.NO_BUILD


def test_inflated_version_with_an_old_artifact():
    """Tauri's hole: a manifest that gives an old, rightly signed file a new version."""
    old = Publisher(seq=3, version="0.9.0").artifact_of()
    assert alarm_of(judged(Publisher(seq=8, version="9.9.9", artifact=old).offer()).verdict) is Alarm.MIXED


def test_artifact_signature_is_compared_again_when_it_has_come():
    done = judged(Publisher().offer())
    assert isinstance(done.verdict, Install)
    old = Publisher(seq=3, version="0.9.0").artifact_of()
    bent = replace(done.verdict, artifact=replace_signature(done.verdict, old["signature"]))
    with pytest.raises(TrustError) as refused:
        verify_artifact(io.BytesIO(FILE), bent, done.state)
    assert refused.value.alarm is Alarm.MIXED


def replace_signature(offer: Install, signature: str) -> Artifact:
    return msgspec.structs.replace(offer.artifact, signature=signature)


def test_artifact_hash_mismatch():
    """Rightly signed bytes, but not those whose hash the release says: signed together, by mistake or worse."""
    other = b"x" * len(FILE)
    comment_of = Publisher().artifact_of()
    comment = f"gogrid1 seq=7 version=2.0.0 target=linux-x86_64 sha256={comment_of['sha256']} size={len(FILE)}"
    signature = base64.b64encode(sign(other, "release1", comment)).decode()
    done = judged(Publisher(artifact={"signature": signature}).offer())
    assert isinstance(done.verdict, Install)
    with pytest.raises(TrustError) as refused:
        verify_artifact(io.BytesIO(other), done.verdict, done.state)
    assert refused.value.alarm is Alarm.MIXED


def test_artifact_size_mismatch():
    """Rightly signed bytes, but fewer than the release says, and signed so."""
    sha256, size = hashlib.sha256(FILE).hexdigest(), len(FILE) + 1
    comment = f"gogrid1 seq=7 version=2.0.0 target=linux-x86_64 sha256={sha256} size={size}"
    signature = base64.b64encode(sign(FILE, "release1", comment)).decode()
    done = judged(Publisher(artifact={"signature": signature, "size": size}).offer())
    assert isinstance(done.verdict, Install)
    with pytest.raises(TrustError) as refused:
        verify_artifact(io.BytesIO(FILE), done.verdict, done.state)
    assert refused.value.alarm is Alarm.MIXED


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:-1] + b"x", lambda data: b""])
def test_artifact_of_other_bytes(change):
    done = judged(Publisher().offer())
    assert isinstance(done.verdict, Install)
    with pytest.raises(TrustError) as refused:
        verify_artifact(io.BytesIO(change(FILE)), done.verdict, done.state)
    assert refused.value.alarm is Alarm.BAD_SIGNATURE


class Endless:
    """Gives zeros for ever, and counts them."""

    given = 0

    def read(self, size: int = -1, /) -> bytes:
        data = bytes(8192 if size < 0 else size)
        self.given += len(data)
        return data


def test_endless_data():
    done = judged(Publisher().offer())
    assert isinstance(done.verdict, Install)
    endless = Endless()
    with pytest.raises(TrustError) as refused:
        verify_artifact(endless, done.verdict, done.state)
    assert refused.value.alarm is Alarm.MIXED
    assert endless.given == done.verdict.artifact.size + 1


def test_a_download_larger_than_this_machine_takes():
    assert alarm_of(judged(Publisher().offer(), size_limit=len(FILE) - 1).verdict) is Alarm.TOO_LARGE


@pytest.mark.parametrize(("what", "limit"), [("timestamp", 16 << 10), ("release", 64 << 10)])
def test_documents_without_end(what: str, limit: int):
    offer = Publisher().offer()
    signed: SignedDocument = getattr(offer, what)
    large = signed.data + b" " * limit
    by = "timestamp1" if what == "timestamp" else "release1"
    bent = replace(offer, **{what: SignedDocument(large, sign(large, by, f"gogrid1 {what}"))})
    assert alarm_of(judged(bent).verdict) is Alarm.TOO_LARGE
