"""The schema, as it is after the last migration; `migrations/versions` is how a database gets there.

A test proves that both give the same database. Invariants that one row can state are CHECK constraints here. Types are
portable; where SQLite's STRICT tables want another name, the variant says so.
"""

import sqlalchemy as sa

from coordinator.records import JobKind, JobState, ModelKind, WorkerStatus

metadata = sa.MetaData()

_REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL(), "sqlite")
_BIG: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FLAG: sa.types.TypeEngine[bool] = sa.Boolean(create_constraint=False).with_variant(sa.Integer(), "sqlite")


def _one_of(column: str, values: list[str], name: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=name)


token = sa.Table(
    "token",
    metadata,
    sa.Column("id", sa.Text(), primary_key=True),
    sa.Column("public_key", sa.LargeBinary(), nullable=False),
    sa.Column("label", sa.Text(), nullable=False),
    sa.Column("created_at", _REAL, nullable=False),
    sa.Column("expires_at", _REAL, nullable=False),
    sa.Column("max_uses", _BIG, nullable=False),
    sa.Column("uses", _BIG, nullable=False),
    sa.Column("needs_approval", _FLAG, nullable=False),
    sa.Column("revoked", _FLAG, nullable=False),
    sa.CheckConstraint("uses >= 0 AND uses <= max_uses", name="token_uses"),
    sqlite_strict=True,
)

worker = sa.Table(
    "worker",
    metadata,
    sa.Column("id", sa.Text(), primary_key=True),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("public_key", sa.LargeBinary(), nullable=False, unique=True),
    sa.Column("status", sa.Text(), nullable=False),
    sa.Column("draining", _FLAG, nullable=False),
    sa.Column("session_epoch", _BIG, nullable=False),
    sa.Column("joined_at", _REAL, nullable=False),
    sa.Column("token_id", sa.Text(), sa.ForeignKey("token.id"), nullable=False),
    sa.Column("quarantined", sa.Text(), server_default="", nullable=False),  # why; empty: it is not
    sa.Column("crashed_jobs", sa.Text(), server_default="", nullable=False),  # ids of the jobs it crashed in a row
    _one_of("status", [status.value for status in WorkerStatus], "worker_status"),
    sqlite_strict=True,
)

api_key = sa.Table(
    "api_key",
    metadata,
    sa.Column("id", sa.Text(), primary_key=True),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
    sa.Column("scopes", sa.Text(), nullable=False),
    sa.Column("created_at", _REAL, nullable=False),
    sa.Column("expires_at", _REAL),
    sa.Column("revoked", _FLAG, nullable=False),
    sqlite_strict=True,
)

model = sa.Table(
    "model",
    metadata,
    sa.Column("name", sa.Text(), primary_key=True),
    sa.Column("digest", sa.Text(), nullable=False),
    sa.Column("kind", sa.Text(), nullable=False),
    sa.Column("engine", sa.Text(), nullable=False),
    sa.Column("size_bytes", _BIG, nullable=False),
    sa.Column("memory_bytes", _BIG, nullable=False),
    sa.Column("context_length", _BIG, nullable=False),
    sa.Column("width", _BIG, nullable=False),
    sa.Column("added_at", _REAL, nullable=False),
    _one_of("kind", [kind.value for kind in ModelKind], "model_kind"),
    sa.Column("kv_token_bytes", _BIG, server_default=sa.text("0"), nullable=False),
    sqlite_strict=True,
)

job = sa.Table(
    "job",
    metadata,
    sa.Column("seq", _BIG, primary_key=True, autoincrement=True),  # the order in which jobs were accepted
    sa.Column("id", sa.Text(), nullable=False, unique=True),
    sa.Column("owner", sa.Text(), nullable=False),
    sa.Column("kind", sa.Text(), nullable=False),
    sa.Column("label", sa.Text(), nullable=False),
    sa.Column("task", sa.LargeBinary()),  # msgpack; null for interactive requests
    sa.Column("idempotency_key", sa.Text()),
    sa.Column("body_sha256", sa.Text(), nullable=False),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("epoch", _BIG, nullable=False),
    sa.Column("worker", sa.Text()),
    sa.Column("attempts", _BIG, nullable=False),
    sa.Column("created_at", _REAL, nullable=False),
    sa.Column("started_at", _REAL),
    sa.Column("finished_at", _REAL),
    sa.Column("outcome_epoch", _BIG),  # the lease whose report ended the job; null if no lease did
    sa.Column("result", sa.LargeBinary(), nullable=False),
    sa.Column("error_code", sa.Text(), nullable=False),
    sa.Column("error", sa.Text(), nullable=False),
    sa.Column("priority", _BIG, server_default=sa.text("0"), nullable=False),  # -100..100, higher first
    sa.Column("not_before", _REAL),  # wall clock; a queued job is not leased before
    sa.Column("crashes", _BIG, server_default=sa.text("0"), nullable=False),
    _one_of("state", [state.value for state in JobState], "job_state"),
    _one_of("kind", [kind.value for kind in JobKind], "job_kind"),
    sa.CheckConstraint("(state IN ('leased', 'running')) <= (worker IS NOT NULL)", name="job_leased_to_somebody"),
    sa.CheckConstraint("(state IN ('queued', 'leased', 'running')) = (finished_at IS NULL)", name="job_end"),
    sa.UniqueConstraint("owner", "idempotency_key", name="job_once"),
    sa.Index("job_by_state", "state", "seq"),
    sa.Index("job_by_owner", "owner", "seq"),
    sa.Index("job_by_end", "finished_at"),
    sqlite_strict=True,
)

job_log = sa.Table(
    "job_log",
    metadata,
    sa.Column("job_id", sa.Text(), sa.ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("epoch", _BIG, primary_key=True),
    sa.Column("seq", _BIG, primary_key=True),
    sa.Column("stream", sa.Text(), nullable=False),
    sa.Column("data", sa.LargeBinary(), nullable=False),
    sqlite_strict=True,
)

job_attempt = sa.Table(  # leases that ended without a result; the job's own row tells of the last one
    "job_attempt",
    metadata,
    sa.Column("job_id", sa.Text(), sa.ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("epoch", _BIG, primary_key=True),
    sa.Column("worker", sa.Text(), nullable=False),
    sa.Column("started_at", _REAL),
    sa.Column("ended_at", _REAL, nullable=False),
    sa.Column("ended", sa.Text(), nullable=False),
    sa.Column("why", sa.Text(), nullable=False),
    sqlite_strict=True,
)
