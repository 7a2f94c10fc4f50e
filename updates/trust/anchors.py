"""What every copy of the program carries from its birth: the root keys, and how many of them must agree.

`root-keys.json` is the file: `gogrid-release keygen` makes it, the build puts it into the app, the coordinator is
given it.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from updates.errors import Alarm, TrustError
from updates.trust.documents import SCHEMA, KeyText
from updates.trust.documents import Sequence as Epoch
from updates.trust.signatures import PublicKey, parse_public_key

LARGEST_ANCHORS = 16 << 10
LEAST_THRESHOLD = 2


class Anchors(msgspec.Struct, frozen=True, kw_only=True):
    """Root keys. One that was stolen can do nothing: at least two must have signed whatever counts."""

    schema: int = SCHEMA
    threshold: Annotated[int, Meta(ge=LEAST_THRESHOLD, le=16)] = LEAST_THRESHOLD
    first_epoch: Epoch = 1
    """The first `keys.json` that these root keys signed."""
    root_keys: Annotated[tuple[KeyText, ...], Meta(min_length=LEAST_THRESHOLD, max_length=16)]

    def by_id(self) -> dict[str, PublicKey]:
        return {key.id: key for key in map(parse_public_key, self.root_keys)}


def parse_anchors(data: bytes) -> Anchors:
    """Raises `TrustError`: not root keys, or fewer different ones than must agree."""
    if len(data) > LARGEST_ANCHORS:
        raise TrustError(Alarm.TOO_LARGE, f"root-keys.json is larger than {LARGEST_ANCHORS} bytes.")
    try:
        anchors = msgspec.json.decode(data, type=Anchors)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TrustError(Alarm.MALFORMED, f"root-keys.json is not as it must be: {error}.") from None
    if anchors.schema != SCHEMA:
        raise TrustError(Alarm.MALFORMED, f"root-keys.json has the schema {anchors.schema}, not {SCHEMA}.")
    if len(anchors.by_id()) != len(anchors.root_keys) or len(anchors.root_keys) < anchors.threshold:
        raise TrustError(Alarm.MALFORMED, "root-keys.json has a key twice, or fewer keys than its threshold.")
    return anchors
