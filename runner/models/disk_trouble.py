"""What a disk that is full or broken means for whoever needs a model: another worker may have room for it."""

from collections.abc import Iterator
from contextlib import contextmanager

from gogrid.protocol.job_messages import FailCode
from runner.errors import ModelError


@contextmanager
def as_no_room(what: str) -> Iterator[None]:
    """Inside, the disk's refusals are `ModelError`s that send the job elsewhere.

    Args:
        what: what cannot be kept here, as in "the file 0a1b…".
    """
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error) or type(error).__name__
        raise ModelError(f"This worker's disk cannot keep {what}: {why}.", FailCode.NO_ROOM) from error
