"""An engine pack that its owner brings: whether its publisher signed it, by the `.minisig` beside it.

Whom to believe: the root keys that this program was built with, and the release keys that they vouch for: those that a
coordinator has shown before, or those of the release folder that the file lies in (`keys/`). Refuses a signature for
another file, target, or by another key, a release that was withdrawn, and keys that have expired.
"""

import hashlib
import re
from pathlib import Path

from gogrid.places import WorkerPlaces
from runner.engine_pack.ledger import Fetched
from runner.engine_pack.shelf import EnginePackError
from runner.engine_pack.source import CHANNEL, UPDATES
from updates.client.layout import ANCHORS_FILE, AppFolder
from updates.engine_pack.manifest import PackError, packed_manifest
from updates.errors import UpdateError
from updates.release_folder import ReleaseFolder, signature_beside
from updates.trust.anchors import parse_anchors
from updates.trust.chain import walk_keys
from updates.trust.documents import ENGINE_APP, WORKER_APP
from updates.trust.signatures import LARGEST_SIGNATURE, parse_signature, verify
from updates.trust.trusted_state import TrustedState, trusted_now

_COMMENT = re.compile(
    r"gogrid1 seq=(?P<seq>[1-9]\d{0,15}) version=(?P<version>\S{1,64}) target=(?P<target>\S{1,64}) "
    r"sha256=(?P<sha256>[0-9a-f]{64}) size=(?P<size>\d{1,12})"
)


def signed_release(file: Path, places: WorkerPlaces, publisher: Path | None, now: float) -> Fetched | None:
    """The release that the file is proved to belong to; None: the documents to prove it are not at hand.

    Args:
        publisher: the folder with this program's root keys.
        now: seconds since 1970.

    Raises:
        EnginePackError: they are at hand, and the file is not what they say.
        OSError: the file cannot be read.
    """
    signature = signature_beside(file)
    if publisher is None or not signature.is_file():
        return None
    try:
        state = _known(file, places, publisher)
        if state.keys is None:
            return None
        if trusted_now(state, now) >= state.keys.expires.timestamp():
            raise EnginePackError("The publisher's keys that are known here have expired; connect to a coordinator.")
        with signature.open("rb") as raw:
            claimed = parse_signature(raw.read(LARGEST_SIGNATURE + 1))
        with file.open("rb") as source:
            verify(source, claimed, state.keys.of(state.keys.release_keys), "release key")
    except UpdateError as error:
        raise EnginePackError(f"{file} is not what its publisher signed: {error}") from error
    said = _COMMENT.fullmatch(claimed.trusted_comment)
    if said is None or _facts(file) != (said["sha256"], said["size"], said["target"]):
        raise EnginePackError(f"{file} was signed as {claimed.trusted_comment[:200]!r}, which it is not.")
    release = Fetched(sha256=said["sha256"], seq=int(said["seq"]), version=said["version"])
    if release.seq in state.revoked or release.seq < state.security_floor:
        raise EnginePackError(f"{file} is of release {release.seq}, which was withdrawn.")
    return release


def _known(file: Path, places: WorkerPlaces, publisher: Path) -> TrustedState:
    """What is known of engine releases, with the newest keys from anywhere."""
    anchors = parse_anchors((publisher / ANCHORS_FILE).read_bytes())
    state = AppFolder(places.engines / UPDATES).load(ENGINE_APP, CHANNEL)
    if state.keys is None:
        state = walk_keys(ReleaseFolder(file.absolute().parent.parent).read_keys(), anchors, state)
    if state.keys is None:
        keys = AppFolder(places.app).load(WORKER_APP, CHANNEL).keys
        return TrustedState(app=ENGINE_APP, channel=CHANNEL, keys=keys)
    return state


def _facts(file: Path) -> tuple[str, str, str]:
    with file.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    try:
        return digest, str(file.stat().st_size), packed_manifest(file).target
    except PackError as error:
        raise EnginePackError(str(error)) from error
