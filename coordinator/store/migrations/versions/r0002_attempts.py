"""Priorities, back-off, crashes, the attempts of jobs, quarantined workers.

Columns are added, never tables made anew: dropping `job` would take every log with it by its foreign key.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL(), "sqlite")
_BIG: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("worker", sa.Column("quarantined", sa.Text(), server_default="", nullable=False))
    op.add_column("worker", sa.Column("crashed_jobs", sa.Text(), server_default="", nullable=False))
    op.add_column("job", sa.Column("priority", _BIG, server_default=sa.text("0"), nullable=False))
    op.add_column("job", sa.Column("not_before", _REAL))
    op.add_column("job", sa.Column("crashes", _BIG, server_default=sa.text("0"), nullable=False))
    op.create_table(
        "job_attempt",
        sa.Column("job_id", sa.Text(), sa.ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("epoch", _BIG, primary_key=True),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("started_at", _REAL),
        sa.Column("ended_at", _REAL, nullable=False),
        sa.Column("ended", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sqlite_strict=True,
    )
