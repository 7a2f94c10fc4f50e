"""Which job an address names: its id, or the beginning of one.

What belongs to another key looks like what is not there, unless the key is an admin's.
"""

import re

from coordinator.errors import NotFoundError, RequestError
from coordinator.http.services import Services
from coordinator.records import JobRecord, KeyRecord
from coordinator.records import Scope as KeyScope
from gogrid.ids import JobId, KeyId

_PREFIX = "job_"
_BEGINNING = re.compile(r"(job_)?[0-9a-f]{4,32}")


def owner_of(key: KeyRecord) -> KeyId | None:
    """Whose jobs the key may see; None: everybody's."""
    return None if KeyScope.ADMIN in key.scopes else key.id


async def own_job(services: Services, key: KeyRecord, given: str) -> JobRecord:
    """The job that the key may see under this id, or under the beginning of an id that is unique among them.

    Raises:
        NotFoundError: there is none.
        RequestError: there are several.
    """
    owner = owner_of(key)
    job = await services.store.job(JobId(given))
    if job is None and _BEGINNING.fullmatch(given):
        beginning = given if given.startswith(_PREFIX) else _PREFIX + given
        ids = await services.store.job_ids(beginning, owner, 2)
        if len(ids) > 1:
            raise RequestError(
                f"{given!r} is the beginning of several jobs' ids: give more of it.", "job_id", "ambiguous_job_id"
            )
        job = await services.store.job(ids[0]) if ids else None
    if job is None or owner not in (None, job.owner):
        raise NotFoundError(f"There is no job {given[:64]!r}.")
    return job
