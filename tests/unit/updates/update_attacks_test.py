"""What somebody may try who stands between publisher and machine, or has stolen a key: one test for each attack.

The names follow tuf-conformance where it has the case. Each was seen to fail with its guard removed.
"""

import base64
import io
from dataclasses import replace

import msgspec
import pytest

from tests.fakes.update_publisher import (
    DAY,
    FILE,
    NOW,
    Json,
    Publisher,
    fresh,
    install,
    key_id,
    moment,
    sign,
)
from updates.errors import Alarm, StateFileError, TrustError
from updates.trust.chain import SignedDocument, SignedKeys
from updates.trust.documents import Artifact, Rollout
from updates.trust.trusted_state import TrustedState, proved, switched
from updates.trust.verdict import (
    Current,
    Documents,
    Evaluation,
    Install,
    Refuse,
    Verdict,
    Wait,
    WaitReason,
    bucket,
    evaluate,
    quiet,
    verify_artifact,
)


def judged(offer: Documents, state: TrustedState | None = None, now: float = NOW, **facts: object) -> Evaluation:
    return evaluate(offer, state or fresh(), install(**facts), now)


def seen(publisher: Publisher, now: float = NOW) -> TrustedState:
    """What a machine knows after this was offered to it."""
    done = judged(publisher.offer(), now=now)
    assert isinstance(done.verdict, Install), done.verdict
    return done.state


def alarm_of(verdict: Verdict) -> Alarm:
    assert isinstance(verdict, Refuse), verdict
    return verdict.alarm


def waits_for(verdict: Verdict) -> WaitReason:
    assert isinstance(verdict, Wait), verdict
    return verdict.reason


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


# --- signatures and keys --------------------------------------------------------------------------------------------


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


# --- withdrawn, floors, turns ---------------------------------------------------------------------------------------


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
