"""What every copy of the program carries from its birth: the root keys, and how many of them must agree.

`root-keys.json` is the file: `gogrid-release keygen` makes it, the build puts it into the app, the coordinator is
given it.
"""

from typing import Annotated

from msgspec import Meta

from updates.errors import Alarm, TrustError
from updates.trust.documents import SCHEMA, Document, KeyText, parse_document
from updates.trust.documents import Sequence as Epoch
from updates.trust.signatures import PublicKey, parse_public_key

LARGEST_ANCHORS = 16 << 10
LEAST_THRESHOLD = 2


class Anchors(Document, frozen=True, kw_only=True):
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
    anchors = parse_document(data, LARGEST_ANCHORS, Anchors, "root-keys.json")
    if len(anchors.by_id()) != len(anchors.root_keys) or len(anchors.root_keys) < anchors.threshold:
        raise TrustError(Alarm.MALFORMED, "root-keys.json has a key twice, or fewer keys than its threshold.")
    return anchors
