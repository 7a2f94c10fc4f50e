"""What one token of a model's KV cache takes: 0, not known, for models that were added before."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_BIG: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("model", sa.Column("kv_token_bytes", _BIG, server_default=sa.text("0"), nullable=False))
