"""Names of things that cross process borders.

Every id is opaque text with a prefix, so that a log line tells what it names. Ids of jobs and workers are made here and
nowhere else; a key's id is a part of the key (`apikey.py`).
"""

import secrets
from typing import NewType

WorkerId = NewType("WorkerId", str)
JobId = NewType("JobId", str)
KeyId = NewType("KeyId", str)
Sha256 = NewType("Sha256", str)
"""Lower-case hexadecimal SHA-256 of some bytes, 64 characters."""


def new_job_id() -> JobId:
    """An unguessable job id of 128 random bits."""
    return JobId("job_" + secrets.token_hex(16))


def new_worker_id() -> WorkerId:
    """An unguessable worker id of 64 random bits."""
    return WorkerId("wk_" + secrets.token_hex(8))
