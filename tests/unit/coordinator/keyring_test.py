"""Who a bearer is."""

from dataclasses import replace

import pytest

from coordinator.errors import KeyRefusedError
from coordinator.keyring import Keyring
from coordinator.records import KeyRecord, Scope
from gogrid.apikey import ApiKey, new_api_key

KEY = new_api_key()
RECORD = KeyRecord(KEY.id, "ann", KEY.secret_sha256, frozenset({Scope.JOBS}), 1.0, 100.0, False)


def test_a_good_key_is_known_until_it_expires() -> None:
    keyring = Keyring([RECORD])
    assert keyring.authenticate(KEY.text, 99.9) == RECORD
    with pytest.raises(KeyRefusedError, match="expired"):
        keyring.authenticate(KEY.text, 100.0)


def test_a_revoked_key_is_refused_at_once() -> None:
    keyring = Keyring([RECORD])
    keyring.replace([replace(RECORD, revoked=True)])
    with pytest.raises(KeyRefusedError, match="revoked"):
        keyring.authenticate(KEY.text, 5.0)


def test_the_right_id_with_another_secret_is_refused_without_telling_more() -> None:
    forged = ApiKey(KEY.id, new_api_key().secret)
    for keyring in (Keyring([RECORD]), Keyring([replace(RECORD, revoked=True)]), Keyring()):
        with pytest.raises(KeyRefusedError, match="not known"):
            keyring.authenticate(forged.text, 5.0)


def test_a_key_unknown_here_is_refused_even_if_its_hash_were_zero() -> None:
    with pytest.raises(KeyRefusedError, match="not known"):
        Keyring().authenticate(KEY.text, 5.0)
