"""Brings a database to the schema this program needs, or refuses it.

A database that is already there costs one query, and Alembic is not even imported. All missing migrations run in one
transaction: an interrupted one leaves nothing behind and runs again. A database of a newer program is refused.
"""

import sqlalchemy as sa

from coordinator.errors import StateError

REVISIONS = ("0001", "0002", "0003")
"""Every migration of this program, oldest first; the last is what `tables.py` says."""
HEAD = REVISIONS[-1]


def prepare(engine: sa.Engine) -> None:
    """Migrate if needed.

    Raises:
        StateError: the database was made by a newer program, or by something else.
    """
    with engine.connect() as connection:
        if _revision(connection) == HEAD:
            return
    with engine.begin() as connection:
        if _revision(connection) != HEAD:  # another process may have been faster
            from coordinator.store.upgrade import upgrade

            upgrade(connection)


def _revision(connection: sa.Connection) -> str | None:
    tables = sa.inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise StateError("The database holds other tables than this program's; give a state folder of its own.")
    revision = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if revision is not None and revision not in REVISIONS:
        raise StateError(
            f"The database was made by a newer GoGrid (its schema is {revision}, this program knows up to {HEAD}); "
            "install that version or restore an older backup."
        )
    return None if revision is None else str(revision)
