"""Runs Alembic inside this process, on a connection and in a transaction that are given."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from coordinator.store.schema import HEAD


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def upgrade(connection: sa.Connection, to: str = HEAD) -> None:
    """Run every missing migration up to `to`; the caller commits."""
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)
