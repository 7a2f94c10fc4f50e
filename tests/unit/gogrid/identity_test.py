"""Keys, pins and certificates: what is accepted is exactly what was made."""

from __future__ import annotations

import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gogrid.errors import IdentityError
from gogrid.identity import (
    Identity,
    check_chain,
    client_context,
    create_identity,
    create_worker_key,
    fingerprint,
    issue_leaf,
    load_identity,
    load_worker_key,
    save_identity,
    save_leaf,
    save_worker_key,
    server_context,
    short_pin,
    spki_pin,
    told_apart,
)
from gogrid.pinwords import pin_words

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
IDENTITY = create_identity("grid", NOW)
LEAF = issue_leaf(IDENTITY, ["grid.example.org", "10.0.0.1", "::1"], NOW)
OTHER = create_identity("grid", NOW)


def test_the_chain_that_was_made_is_accepted() -> None:
    check_chain(LEAF.chain, IDENTITY.pin, NOW)
    check_chain(issue_leaf(IDENTITY, [], NOW).chain, IDENTITY.pin, NOW)
    assert IDENTITY.pin == spki_pin(IDENTITY.certificate)
    assert LEAF.certificate.not_valid_after_utc - LEAF.certificate.not_valid_before_utc <= timedelta(days=90)


def test_a_pin_survives_a_new_certificate_of_the_same_key() -> None:
    later = issue_leaf(IDENTITY, ["grid"], NOW + timedelta(days=300))
    check_chain(later.chain, IDENTITY.pin, NOW + timedelta(days=300))


@pytest.mark.parametrize(
    ("chain", "says"),
    [
        ([], "not the expected"),
        ([LEAF.certificate], "not the expected"),
        ([LEAF.certificate, OTHER.certificate], "not the expected"),
        ([IDENTITY.certificate], "exactly two"),
        ([LEAF.certificate, LEAF.certificate, IDENTITY.certificate], "exactly two"),
        ([issue_leaf(OTHER, ["grid"], NOW).certificate, IDENTITY.certificate], "not signed"),
        ([OTHER.certificate, IDENTITY.certificate], "not signed"),
        ([IDENTITY.certificate, IDENTITY.certificate], "longer than 90 days"),
    ],
    ids=["empty", "leaf only", "other identity", "identity only", "three", "other leaf", "other root", "long leaf"],
)
def test_any_other_chain_is_refused(chain: list[x509.Certificate], says: str) -> None:
    with pytest.raises(IdentityError, match=says):
        check_chain(chain, IDENTITY.pin, NOW)


@pytest.mark.parametrize("days", [-2, 61])
def test_a_leaf_out_of_its_time_is_refused_and_the_clock_named(days: int) -> None:
    with pytest.raises(IdentityError, match="clock says"):
        check_chain(LEAF.chain, IDENTITY.pin, NOW + timedelta(days=days))


def test_leaves_are_short_lived_and_renewed_in_time() -> None:
    with pytest.raises(IdentityError):
        issue_leaf(IDENTITY, ["grid"], NOW, days=91)
    assert not LEAF.needs_renewal(NOW + timedelta(days=29))
    assert LEAF.needs_renewal(NOW + timedelta(days=31))


def test_private_keys_are_written_for_their_owner_only_and_refused_otherwise(tmp_path: Path) -> None:
    save_identity(IDENTITY, tmp_path / "id.key", tmp_path / "id.pem")
    save_leaf(LEAF, tmp_path / "leaf.pem", tmp_path / "leaf.key")
    key = create_worker_key()
    save_worker_key(key, tmp_path / "worker.key")
    for name in ("id.key", "leaf.key", "worker.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert load_identity(tmp_path / "id.key", tmp_path / "id.pem").pin == IDENTITY.pin
    assert load_worker_key(tmp_path / "worker.key").public_key() == key.public_key()
    os.chmod(tmp_path / "id.key", 0o640)
    with pytest.raises(IdentityError, match="chmod 600"):
        load_identity(tmp_path / "id.key", tmp_path / "id.pem")


def test_an_identity_is_never_overwritten(tmp_path: Path) -> None:
    save_identity(IDENTITY, tmp_path / "id.key", tmp_path / "id.pem")
    with pytest.raises(FileExistsError):
        save_identity(OTHER, tmp_path / "id.key", tmp_path / "id.pem")
    assert load_identity(tmp_path / "id.key", tmp_path / "id.pem").pin == IDENTITY.pin


def test_a_key_and_a_certificate_of_two_identities_are_refused(tmp_path: Path) -> None:
    save_identity(IDENTITY, tmp_path / "a.key", tmp_path / "a.pem")
    save_identity(OTHER, tmp_path / "b.key", tmp_path / "b.pem")
    with pytest.raises(IdentityError, match="does not belong"):
        load_identity(tmp_path / "a.key", tmp_path / "b.pem")


def test_files_that_are_no_keys_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nothing")
    (tmp_path / "x").chmod(0o600)
    for load in (lambda: load_worker_key(tmp_path / "x"), lambda: load_worker_key(tmp_path / "missing")):
        with pytest.raises(IdentityError, match="cannot be read"):
            load()
    with pytest.raises(IdentityError, match="cannot be used"):
        server_context(tmp_path / "x", tmp_path / "x")
    with pytest.raises(IdentityError, match="not a certificate"):
        client_context(b"nothing")


def test_https_trusts_the_pinned_identity_and_no_other(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    identity = create_identity("grid", now)
    save_leaf(issue_leaf(identity, ["grid"], now), tmp_path / "leaf.pem", tmp_path / "leaf.key")
    server = server_context(tmp_path / "leaf.pem", tmp_path / "leaf.key")
    shake_hands(server, client_context(identity.pem))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, client_context(create_identity("grid", now).pem))


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """A TLS handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="any.name"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ends[0].version() == "TLSv1.3"


def test_fingerprints_are_six_words_that_differ() -> None:
    words = fingerprint(b"a" * 32).split()
    assert len(words) == 6
    assert all(len(word) == 5 and word.isalpha() for word in words)
    assert fingerprint(b"a" * 32) != fingerprint(b"b" * 32)
    key = create_worker_key().public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert fingerprint(key.public_bytes_raw()) == pin_words(sha256(spki).digest())
    assert short_pin(b"\x01\x02\x03\x04\x05") == "01020304"
    assert told_apart(b"\x01" * 8, b"\x02" * 8) == ("01010101", "02020202")
    assert told_apart(b"\x01" * 8, b"\x01" * 7 + b"\x02") == ("01" * 8, "01" * 7 + "02")


def test_an_identity_certificate_cannot_be_replaced_by_one_of_the_same_name() -> None:
    assert isinstance(OTHER, Identity)
    assert OTHER.certificate.subject == IDENTITY.certificate.subject
    assert OTHER.pin != IDENTITY.pin
