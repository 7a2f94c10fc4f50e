"""The API keys in memory: says whose a bearer is, in constant time, or refuses it.

The reason of a refusal is told only to whoever holds the key's secret; everybody else learns nothing but "not known".
"""

import hmac
from collections.abc import Iterable

from coordinator.errors import KeyRefusedError, UnknownKeyError
from coordinator.records import KeyRecord
from gogrid.apikey import ApiKeyError, parse_api_key
from gogrid.ids import KeyId

_NO_SECRET = bytes(32)


class Keyring:
    def __init__(self, keys: Iterable[KeyRecord] = ()) -> None:
        self._keys: dict[KeyId, KeyRecord] = {}
        self.replace(keys)

    def replace(self, keys: Iterable[KeyRecord]) -> None:
        """Know exactly these keys from now on."""
        self._keys = {key.id: key for key in keys}

    def authenticate(self, bearer: str, now: float) -> KeyRecord:
        """The key that `bearer` is; `now` is the wall clock, seconds since 1970.

        Raises:
            UnknownKeyError: it is not known, or the secret is another one.
            KeyRefusedError: it is no key, revoked or expired.
        """
        try:
            given = parse_api_key(bearer)
        except ApiKeyError as error:
            raise KeyRefusedError(str(error)) from None
        key = self._keys.get(given.id)
        expected = _NO_SECRET if key is None else key.secret_sha256
        if not hmac.compare_digest(given.secret_sha256, expected) or key is None:
            raise UnknownKeyError("This API key is not known here; ask the admin for one.")
        if key.revoked:
            raise KeyRefusedError(f"The API key {key.id} was revoked; ask the admin for a new one.")
        if key.expires_at is not None and key.expires_at <= now:
            raise KeyRefusedError(f"The API key {key.id} has expired; ask the admin for a new one.")
        return key
