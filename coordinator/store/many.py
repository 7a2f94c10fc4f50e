"""One statement for many rows, handed to the driver as it is.

SQLAlchemy makes the text once; making its parameters for each row would cost more than the database needs for the row.
Refuses nothing by itself: values must be what the driver takes (text, numbers, bytes, None).
"""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.sql.compiler import SQLCompiler


class Many:
    """Make one for each statement, once."""

    def __init__(self, statement: sa.Insert | sa.Update) -> None:
        """Args: statement: without a list of unknown length in it."""
        self._statement = statement
        self._made: tuple[str, str, tuple[str, ...], dict[str, object]] | None = None

    def run(self, connection: sa.Connection, rows: Sequence[Mapping[str, object]]) -> int:
        """Run it for each row of named values; returns how many rows of the table it changed, all together."""
        text, order, fixed = self._text(connection.dialect)
        values = [tuple(row[name] if name in row else fixed[name] for name in order) for row in rows]
        return connection.exec_driver_sql(text, values).rowcount

    def _text(self, dialect: sa.Dialect) -> tuple[str, tuple[str, ...], dict[str, object]]:
        """For the database at hand: the statement, the names of its values in order, the values that never change."""
        if self._made is None or self._made[0] != dialect.name:
            made = self._statement.compile(dialect=dialect)
            if not isinstance(made, SQLCompiler) or made.positiontup is None:
                raise TypeError(f"the {dialect.name} driver takes no values by position")
            fixed = {name: bind.value for bind, name in made.bind_names.items() if not bind.required}
            self._made = (dialect.name, str(made), tuple(made.positiontup), fixed)
        return self._made[1:]
