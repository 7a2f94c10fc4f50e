"""What a coordinator takes as a release and offers of it: only what machines would believe, and never backwards."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from coordinator.cli.doctor import _Trouble, _updates
from coordinator.cli.shell import Shell
from coordinator.errors import ConflictError, NotFoundError, StateError
from coordinator.releases.index import Index, paused, rolled_out, withdrawn
from coordinator.releases.shelf import Shelf
from coordinator.releases.store import ReleaseStore
from coordinator.state.folder import StateFolder
from tests.fakes.release_folders import add_keys, release_folder, root_keys
from tests.fakes.update_publisher import APP, CHANNEL, DAY, FILE, NOW, TARGET, Publisher, fresh, install, public
from updates.release_folder import ReleaseFolder
from updates.trust.answer import parse_answer, parse_keys_answer
from updates.trust.verdict import Documents, Install, evaluate


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    made = ReleaseStore(StateFolder(tmp_path / "state"))
    made.trust(root_keys(tmp_path / "root-keys.json"))
    return made


def offered(store: ReleaseStore, target: str = TARGET):
    return Shelf(store).update(APP, CHANNEL, target)


def test_what_is_published_is_what_a_machine_installs(store: ReleaseStore, tmp_path: Path):
    line = store.publish(release_folder(tmp_path / "r", Publisher()), None, NOW)
    shelf = Shelf(store)
    offer = shelf.update(APP, CHANNEL, TARGET)
    assert offer is not None
    assert (line.newest.seq, offer.release_seq, offer.ts_seq) == (7, 7, 10)
    documents = parse_answer(offer.before + b"https://grid.example" + offer.after)
    keys = shelf.keys(APP, CHANNEL, 1)
    assert keys is not None
    given = Documents((parse_keys_answer(keys),), documents.signed_timestamp, documents.signed_release)
    verdict = evaluate(given, fresh(), install(), NOW).verdict
    assert isinstance(verdict, Install)
    with shelf.blobs.open(verdict.artifact.sha256) as file:
        assert file.read() == FILE
    assert shelf.update(APP, CHANNEL, "linux-aarch64") is None
    assert shelf.keys(APP, CHANNEL, 2) is None


def refused(store: ReleaseStore, folder: ReleaseFolder, match: str, now: float = NOW) -> None:
    with pytest.raises((ConflictError, StateError), match=match):
        store.publish(folder, None, now)
    assert store.read().lines == ()
    assert offered(store) is None


def test_a_coordinator_without_root_keys_believes_nothing(tmp_path: Path):
    refused(ReleaseStore(StateFolder(tmp_path / "s")), release_folder(tmp_path / "r", Publisher()), "no root keys")


def test_a_coordinator_signed_release_is_refused(store: ReleaseStore, tmp_path: Path):
    """Whoever took over a coordinator can make keys, but not have them signed by roots."""
    forged = Publisher(roots=("stranger", "stranger2"), release_keys=("stranger3",), release_by="stranger3")
    refused(store, release_folder(tmp_path / "r", forged), "too_few_roots")


@pytest.mark.parametrize(
    ("publisher", "reason"),
    [
        (Publisher(roots=("root1",)), "too_few_roots"),
        (Publisher(release_by="timestamp1"), "wrong_key"),
        (Publisher(timestamp_by="release1"), "wrong_key"),
        (Publisher(artifact=Publisher(seq=3, version="0.9.0").artifact_of()), "mixed"),
    ],
)
def test_what_a_machine_would_refuse_is_refused_here(
    store: ReleaseStore, tmp_path: Path, publisher: Publisher, reason: str
):
    refused(store, release_folder(tmp_path / "r", publisher), reason)


def test_a_release_whose_file_was_changed_is_refused(store: ReleaseStore, tmp_path: Path):
    folder = release_folder(tmp_path / "r", Publisher())
    (folder.files / "gogrid.zip").write_bytes(FILE[:-1] + b"x")
    refused(store, folder, "bad_signature")


def test_a_release_without_its_file_is_refused(store: ReleaseStore, tmp_path: Path):
    folder = release_folder(tmp_path / "r", Publisher())
    (folder.files / "gogrid.zip").unlink()
    refused(store, folder, "gogrid.zip")


def test_an_expired_release_is_refused(store: ReleaseStore, tmp_path: Path):
    refused(store, release_folder(tmp_path / "r", Publisher()), "expired", now=NOW + 8 * DAY)


def test_an_older_release_is_refused(store: ReleaseStore, tmp_path: Path):
    store.publish(release_folder(tmp_path / "new", Publisher()), None, NOW)
    with pytest.raises(ConflictError, match="older than 7"):
        store.publish(release_folder(tmp_path / "old", Publisher(seq=6, ts_seq=11)), None, NOW)


def test_another_release_of_the_same_number_is_refused(store: ReleaseStore, tmp_path: Path):
    store.publish(release_folder(tmp_path / "one", Publisher()), None, NOW)
    other = Publisher(ts_seq=11, bend_release=lambda document: document.update(notes="Worse."))
    with pytest.raises(ConflictError, match="never reused"):
        store.publish(release_folder(tmp_path / "two", other), None, NOW)


def test_other_keys_under_a_known_epoch_are_refused(store: ReleaseStore, tmp_path: Path):
    store.publish(release_folder(tmp_path / "one", Publisher()), None, NOW)
    other = Publisher(seq=8, ts_seq=11, release_keys=("release1", "release2"))
    with pytest.raises(ConflictError, match="same epoch"):
        store.publish(release_folder(tmp_path / "two", other), None, NOW)


def test_rotated_keys_are_taken_with_those_before(store: ReleaseStore, tmp_path: Path):
    store.publish(release_folder(tmp_path / "one", Publisher()), None, NOW)
    rotated = Publisher(epoch=2, seq=8, ts_seq=11, release_keys=("release2",), release_by="release2")
    folder = release_folder(tmp_path / "two", rotated)
    add_keys(folder, Publisher())
    line = store.publish(folder, None, NOW)
    assert (line.newest.seq, len(line.keys)) == (8, 2)


def test_a_rollout_goes_up_by_what_was_signed_and_never_down(store: ReleaseStore, tmp_path: Path):
    line = store.publish(release_folder(tmp_path / "r", Publisher(), (5, 25, 100)), None, NOW)
    assert (line.percent, line.highest_ts) == (5, 10)
    assert store.change(lambda index: rolled_out(index, APP, CHANNEL, 25)).lines[0].highest_ts == 11
    with pytest.raises(ConflictError, match="signed for 5, 25, 100 %"):
        store.change(lambda index: rolled_out(index, APP, CHANNEL, 50))
    with pytest.raises(ConflictError, match="never go back"):
        store.change(lambda index: rolled_out(index, APP, CHANNEL, 5))
    offer = offered(store)
    assert offer is not None
    assert offer.ts_seq == 11


def test_fresh_timestamps_keep_the_rollout_where_it_is(store: ReleaseStore, tmp_path: Path):
    store.publish(release_folder(tmp_path / "one", Publisher(), (5, 25, 100)), 25, NOW)
    line = store.publish(release_folder(tmp_path / "two", Publisher(ts_seq=20), (5, 25, 100)), None, NOW)
    assert (line.percent, line.highest_ts, len(line.releases)) == (25, 21, 1)
    with pytest.raises(ConflictError, match="never go back"):
        store.publish(release_folder(tmp_path / "three", Publisher(ts_seq=12), (5, 25, 100)), None, NOW)


def test_a_pause_offers_nothing_until_the_rollout_goes_on(store: ReleaseStore, tmp_path: Path):
    store.publish(release_folder(tmp_path / "r", Publisher()), None, NOW)
    store.change(lambda index: paused(index, APP, CHANNEL))
    assert offered(store) is None
    store.change(lambda index: rolled_out(index, APP, CHANNEL, 100))
    assert offered(store) is not None


def test_a_withdrawn_release_is_never_offered_again(store: ReleaseStore, tmp_path: Path):
    folder = release_folder(tmp_path / "r", Publisher())
    store.publish(folder, None, NOW)
    store.change(lambda index: withdrawn(index, APP, CHANNEL, 7))
    assert offered(store) is None
    with pytest.raises(ConflictError, match="withdrawn"):
        store.change(lambda index: rolled_out(index, APP, CHANNEL, 100))
    with pytest.raises(ConflictError, match="withdrawn"):
        store.publish(folder, None, NOW)
    with pytest.raises(NotFoundError):
        store.change(lambda index: withdrawn(index, APP, CHANNEL, 3))


def test_three_releases_are_kept_and_the_files_of_others_removed(store: ReleaseStore, tmp_path: Path):
    for number in range(4):
        publisher = Publisher(seq=7 + number, ts_seq=10 + number, file=FILE + bytes([number]))
        store.publish(release_folder(tmp_path / str(number), publisher), None, NOW)
    index = store.read()
    assert [release.seq for release in index.lines[0].releases] == [8, 9, 10]
    assert set(store.blobs().digests()) == index.files()


def test_a_publish_that_is_cut_off_leaves_the_old_offer_and_its_rest_goes_later(store: ReleaseStore, tmp_path: Path):
    store.publish(release_folder(tmp_path / "one", Publisher()), None, NOW)

    def cut(index: Index) -> Index:
        store.blobs().put_bytes(b"of a release that never came")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.change(cut)
    assert [release.seq for release in store.read().lines[0].releases] == [7]
    assert offered(store) is not None
    store.change(lambda index: index)
    assert set(store.blobs().digests()) == store.read().files()


def test_two_commands_never_change_the_offer_at_the_same_time(store: ReleaseStore, tmp_path: Path):
    store.publish(release_folder(tmp_path / "r", Publisher()), None, NOW)

    def meanwhile(index: Index) -> Index:
        with pytest.raises(ConflictError, match="Another release command"):
            store.change(lambda index: paused(index, APP, CHANNEL))
        return index

    store.change(meanwhile)
    assert offered(store) is not None


def test_doctor_names_a_timestamp_that_has_expired(store: ReleaseStore, tmp_path: Path):
    store.publish(release_folder(tmp_path / "r", Publisher()), None, NOW)
    shell = Shell(StateFolder(tmp_path / "state"), {}, NOW, False, "")
    assert _updates(shell) == f"{APP} 2.0.0 to 100 %"
    with pytest.raises(_Trouble, match="has expired"):
        _updates(replace(shell, now=NOW + 8 * DAY))


def test_other_root_keys_replace_nothing(store: ReleaseStore, tmp_path: Path):
    store.trust(root_keys(tmp_path / "same.json"))
    other = tmp_path / "other.json"
    other.write_bytes((tmp_path / "same.json").read_bytes().replace(b'"first_epoch":1', b'"first_epoch":2'))
    with pytest.raises(ConflictError, match="other root keys"):
        store.trust(other)


def _no_document(folder: ReleaseFolder) -> None:
    folder.release.unlink()


def _no_signature(folder: ReleaseFolder) -> None:
    folder.release.with_name("release.json.minisig").unlink()


def _tampered(folder: ReleaseFolder) -> None:
    (folder.files / "gogrid.zip").write_bytes(FILE[:-1] + b"x")


def _pipe_for_a_file(folder: ReleaseFolder) -> None:
    (folder.files / "gogrid.zip").unlink()
    os.mkfifo(folder.files / "gogrid.zip")


def _pipe_for_the_files(folder: ReleaseFolder) -> None:
    folder.files.rename(folder.root / "away")
    os.mkfifo(folder.files)


def _pipe_for_the_document(folder: ReleaseFolder) -> None:
    folder.release.unlink()
    os.mkfifo(folder.release)


def _nothing(folder: ReleaseFolder) -> None:
    pass


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes")
@pytest.mark.parametrize(
    ("spoil", "roots", "percent"),
    [
        pytest.param(_nothing, "others", None, id="wrong-roots"),
        pytest.param(_nothing, "right", 7, id="rollout-not-signed"),
        pytest.param(_no_document, "right", None, id="no-release"),
        pytest.param(_no_signature, "right", None, id="no-signature"),
        pytest.param(_tampered, "right", None, id="tampered"),
        pytest.param(_pipe_for_a_file, "right", None, id="pipe-as-a-file"),
        pytest.param(_pipe_for_the_files, "right", None, id="pipe-as-files"),
        pytest.param(_pipe_for_the_document, "right", None, id="pipe-as-release"),
    ],
)
def test_root_keys_of_a_refused_release_are_not_kept(
    tmp_path: Path, spoil: Callable[[ReleaseFolder], None], roots: str, percent: int | None
):
    store = ReleaseStore(StateFolder(tmp_path / "state"))
    right = root_keys(tmp_path / "right.json")
    others = tmp_path / "others.json"
    strangers = [public(name) for name in ("stranger", "stranger2", "stranger3")]
    others.write_bytes(msgspec.json.encode({"schema": 1, "threshold": 2, "root_keys": strangers}))
    folder = release_folder(tmp_path / "r", Publisher())
    spoil(folder)
    with pytest.raises((ConflictError, StateError)):
        store.publish(folder, percent, NOW, {"right": right, "others": others}[roots])
    assert not (tmp_path / "state" / "root-keys.json").exists()
    assert offered(store) is None
    good = release_folder(tmp_path / "good", Publisher())
    store.publish(good, None, NOW, right)
    assert (tmp_path / "state" / "root-keys.json").read_bytes() == right.read_bytes()
    with pytest.raises(ConflictError, match="other root keys"):
        store.publish(good, None, NOW, others)


def test_a_damaged_index_offers_nothing_and_says_so(store: ReleaseStore, tmp_path: Path):
    store.publish(release_folder(tmp_path / "r", Publisher()), None, NOW)
    shelf = Shelf(store)
    assert shelf.update(APP, CHANNEL, TARGET) is not None
    (tmp_path / "state" / "releases" / "index.json").write_bytes(b"{")
    assert shelf.update(APP, CHANNEL, TARGET) is None
    with pytest.raises(StateError, match="damaged"):
        store.read()
