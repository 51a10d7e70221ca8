"""What SQLite and PostgreSQL spell differently, so that each statement is built once and runs on both."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import Float, Integer

SQLITE, POSTGRESQL = "sqlite", "postgresql"
CLOCK = {
    SQLITE: "((julianday('now') - 2440587.5) * 86400.0)",
    POSTGRESQL: "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)",
}
"""The database's own clock: seconds since the epoch at this very moment."""


class position(GenericFunction[int]):
    """Where the second text stands in the first, counted from 1; 0 when it does not."""

    type = Integer()
    inherit_cache = True


class earlier(GenericFunction[float]):
    """The smaller of two numbers."""

    type = Float()
    inherit_cache = True


class clock(GenericFunction[float]):
    """The database's own clock: seconds since the epoch at this very moment."""

    type = Float()
    inherit_cache = True


@compiles(position)
def _position(element: position, compiler: SQLCompiler, **more: Any) -> str:
    name = "strpos" if compiler.dialect.name == POSTGRESQL else "instr"
    return f"{name}({compiler.process(element.clauses, **more)})"


@compiles(earlier)
def _earlier(element: earlier, compiler: SQLCompiler, **more: Any) -> str:
    name = "least" if compiler.dialect.name == POSTGRESQL else "min"
    return f"{name}({compiler.process(element.clauses, **more)})"


@compiles(clock)
def _clock(element: clock, compiler: SQLCompiler, **more: Any) -> str:
    return CLOCK[compiler.dialect.name]


def upserts(table: Table, clause: Callable[[Any], Any]) -> Mapping[str, Any]:
    """Return, by dialect, an INSERT into `table` to which `clause` adds what becomes of a row that is there."""
    inserts = {SQLITE: sqlite.insert(table), POSTGRESQL: postgresql.insert(table).inline()}
    return {name: clause(insert) for name, insert in inserts.items()}


def storable(words: str) -> str:
    """Return a text without the one character that no text of PostgreSQL can have; what is JSON has it escaped."""
    return words.replace("\0", "\N{SYMBOL FOR NULL}")


def on_postgresql(connection: Connection) -> bool:
    """Tell whether this is PostgreSQL, not SQLite."""
    return connection.dialect.name == POSTGRESQL
