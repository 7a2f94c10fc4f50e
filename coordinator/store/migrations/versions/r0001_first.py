"""Tokens, workers, keys, models, jobs and their logs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL(), "sqlite")
_BIG: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FLAG: sa.types.TypeEngine[bool] = sa.Boolean(create_constraint=False).with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _access()
    _jobs()


def _access() -> None:
    op.create_table(
        "token",
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
    op.create_table(
        "worker",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False, unique=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("draining", _FLAG, nullable=False),
        sa.Column("session_epoch", _BIG, nullable=False),
        sa.Column("joined_at", _REAL, nullable=False),
        sa.Column("token_id", sa.Text(), sa.ForeignKey("token.id"), nullable=False),
        sa.CheckConstraint("status IN ('pending', 'approved', 'revoked')", name="worker_status"),
        sqlite_strict=True,
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", _REAL, nullable=False),
        sa.Column("expires_at", _REAL),
        sa.Column("revoked", _FLAG, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "model",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("size_bytes", _BIG, nullable=False),
        sa.Column("memory_bytes", _BIG, nullable=False),
        sa.Column("context_length", _BIG, nullable=False),
        sa.Column("width", _BIG, nullable=False),
        sa.Column("added_at", _REAL, nullable=False),
        sa.CheckConstraint("kind IN ('chat', 'embedding')", name="model_kind"),
        sqlite_strict=True,
    )


def _jobs() -> None:
    op.create_table(
        "job",
        sa.Column("seq", _BIG, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text(), nullable=False, unique=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("task", sa.LargeBinary()),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("body_sha256", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("epoch", _BIG, nullable=False),
        sa.Column("worker", sa.Text()),
        sa.Column("attempts", _BIG, nullable=False),
        sa.Column("created_at", _REAL, nullable=False),
        sa.Column("started_at", _REAL),
        sa.Column("finished_at", _REAL),
        sa.Column("outcome_epoch", _BIG),
        sa.Column("result", sa.LargeBinary(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'leased', 'running', 'done', 'failed', 'cancelled', 'dead')", name="job_state"
        ),
        sa.CheckConstraint("kind IN ('chat', 'completion', 'embedding', 'python')", name="job_kind"),
        sa.CheckConstraint("(state IN ('leased', 'running')) <= (worker IS NOT NULL)", name="job_leased_to_somebody"),
        sa.CheckConstraint("(state IN ('queued', 'leased', 'running')) = (finished_at IS NULL)", name="job_end"),
        sa.UniqueConstraint("owner", "idempotency_key", name="job_once"),
        sqlite_strict=True,
    )
    op.create_index("job_by_state", "job", ["state", "seq"])
    op.create_index("job_by_owner", "job", ["owner", "seq"])
    op.create_index("job_by_end", "job", ["finished_at"])
    op.create_table(
        "job_log",
        sa.Column("job_id", sa.Text(), sa.ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("epoch", _BIG, primary_key=True),
        sa.Column("seq", _BIG, primary_key=True),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sqlite_strict=True,
    )
