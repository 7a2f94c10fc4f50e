"""The error tree of updates. Every text is one sentence that tells its reader what is wrong and what to do."""

from enum import StrEnum


class UpdateError(Exception):
    """Anything the update code refuses or cannot do."""


class StateFileError(UpdateError):
    """What was remembered of earlier updates cannot be read."""


class FolderError(UpdateError):
    """A folder of a release is not as it must be."""


class Alarm(StrEnum):
    """Why something that claims to be an update is not believed; the values are kept in logs and never change."""

    MALFORMED = "malformed"
    """Not a document or signature of the kind it should be."""
    TOO_LARGE = "too_large"
    BAD_SIGNATURE = "bad_signature"
    WRONG_KEY = "wrong_key"
    """Signed, but by no key that may sign this now: unknown, retired, revoked, or of another role."""
    TOO_FEW_ROOTS = "too_few_roots"
    """Keys that fewer root keys signed than must."""
    EPOCH_SKIPPED = "epoch_skipped"
    KEYS_CHANGED = "keys_changed"
    """Other keys under an epoch that was seen."""
    KEYS_WITHHELD = "keys_withheld"
    """A release of a later epoch than any keys that came with it."""
    ROLLBACK = "rollback"
    """Older than what was seen."""
    CHANGED = "changed"
    """The number of what was seen, with other content."""
    MIXED = "mixed"
    """Timestamp and release, or release and file, do not belong together."""
    EXPIRED = "expired"
    """Of what is to be published; a machine that meets it waits."""
    WRONG_APP = "wrong_app"
    WRONG_CHANNEL = "wrong_channel"


class TrustError(UpdateError):
    """Something that claims to be an update is not believed."""

    def __init__(self, alarm: Alarm, message: str) -> None:
        super().__init__(message)
        self.alarm = alarm
