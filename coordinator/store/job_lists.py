"""Questions about many jobs: pages of them, by the beginning of an id, by who submitted what.

A page holds what lists show. Tasks and answers of models, which may be large, are left out of it: a text or vectors
must be asked for by its job.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from coordinator.errors import NotFoundError
from coordinator.records import JobKind, JobRecord, JobState
from coordinator.store import job_statements as statements
from coordinator.store.rows import job_record
from coordinator.store.tables import job
from gogrid.ids import JobId, KeyId

_is_script = job.c.kind == JobKind.PYTHON.value
_LISTED = [column for column in job.c if column.name not in ("task", "result")] + [
    sa.case((_is_script, job.c.task), else_=sa.null()).label("task"),
    sa.case((_is_script, job.c.result), else_=sa.literal(b"", sa.LargeBinary())).label("result"),
]
_SEQ = sa.select(job.c.seq).where(job.c.id == sa.bindparam("the_job"))


def newest(
    connection: sa.Connection,
    owner: KeyId | None,
    states: Sequence[JobState],
    kinds: Sequence[JobKind],
    limit: int,
    after: JobId | None,
) -> list[JobRecord]:
    wanted = sa.select(*_LISTED).order_by(job.c.seq.desc()).limit(limit)
    if owner is not None:
        wanted = wanted.where(job.c.owner == owner)
    if states:
        wanted = wanted.where(job.c.state.in_([state.value for state in states]))
    if kinds:
        wanted = wanted.where(job.c.kind.in_([kind.value for kind in kinds]))
    if after is not None:
        seq = connection.execute(_SEQ, {"the_job": after}).scalar_one_or_none()
        if seq is None:
            raise NotFoundError(f"There is no job {after[:64]!r}.")
        wanted = wanted.where(job.c.seq < seq)
    return [job_record(row) for row in connection.execute(wanted).mappings()]


def ids(connection: sa.Connection, beginning: str, owner: KeyId | None, limit: int) -> list[JobId]:
    wanted = sa.select(job.c.id).where(job.c.id >= beginning, job.c.id < beginning + "\U0010ffff")
    if owner is not None:
        wanted = wanted.where(job.c.owner == owner)
    return [JobId(found) for found in connection.execute(wanted.order_by(job.c.id).limit(limit)).scalars()]


def submitted(connection: sa.Connection, owner: KeyId, idempotency_key: str) -> JobRecord | None:
    same = {"the_owner": owner, "the_key": idempotency_key}
    row = connection.execute(statements.SAME_REQUEST, same).mappings().one_or_none()
    return None if row is None else job_record(row)
