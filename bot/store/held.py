"""The triggers that hold the log append-only: what they are, and whether they stand.

In the journal, `leaf` may turn from NULL into a number, once; nothing else changes, and nothing goes away.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, text

from bot.store.spelling import POSTGRESQL, on_postgresql

TABLES = ("journal", "checkpoint", "anchor")

# ---- SQLite keeps the text of a trigger as it was written

_SQLITE = {
    "journal_no_delete": """
        CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    "journal_no_change": """
        CREATE TRIGGER journal_no_change BEFORE UPDATE ON journal
        WHEN OLD.leaf IS NOT NULL OR NEW.leaf IS NULL OR OLD.id IS NOT NEW.id OR OLD.incident IS NOT NEW.incident
          OR OLD.n IS NOT NEW.n OR OLD.at IS NOT NEW.at OR OLD.kind IS NOT NEW.kind OR OLD.by IS NOT NEW.by
          OR OLD.body IS NOT NEW.body OR OLD.salt IS NOT NEW.salt OR OLD.hash IS NOT NEW.hash
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    "checkpoint_no_delete": """
        CREATE TRIGGER checkpoint_no_delete BEFORE DELETE ON checkpoint
        BEGIN SELECT RAISE(ABORT, 'checkpoints are append-only'); END""",
    "checkpoint_no_change": """
        CREATE TRIGGER checkpoint_no_change BEFORE UPDATE ON checkpoint
        BEGIN SELECT RAISE(ABORT, 'checkpoints are append-only'); END""",
    "anchor_no_delete": """
        CREATE TRIGGER anchor_no_delete BEFORE DELETE ON anchor
        BEGIN SELECT RAISE(ABORT, 'anchors are append-only'); END""",
    "anchor_no_change": """
        CREATE TRIGGER anchor_no_change BEFORE UPDATE ON anchor
        BEGIN SELECT RAISE(ABORT, 'anchors are append-only'); END""",
}


# ---- PostgreSQL keeps only a function's text so: what a trigger's condition would say stands in there

_REFUSE = """
BEGIN
  RAISE EXCEPTION 'the table % is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END
"""
_ONLY_LEAF = """
BEGIN
  IF OLD.leaf IS NULL AND NEW.leaf IS NOT NULL THEN
    OLD.leaf := NEW.leaf;
    IF OLD IS NOT DISTINCT FROM NEW THEN
      RETURN NEW;
    END IF;
  END IF;
  RAISE EXCEPTION 'the table % is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END
"""
_FUNCTIONS = {"stopsign_refuse": _REFUSE, "stopsign_only_leaf": _ONLY_LEAF}
_EVENTS = {"DELETE": "ROW", "UPDATE": "ROW", "TRUNCATE": "STATEMENT"}
_TYPES = {"DELETE": 1 + 2 + 8, "UPDATE": 1 + 2 + 16, "TRUNCATE": 2 + 32}
"""`pg_trigger.tgtype`: 1 for each row, 2 before, then the event."""
_ALWAYS = "A"
"""`pg_trigger.tgenabled`: also in a session that says it applies a replica's changes, which skips other triggers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trigger:
    """One trigger of PostgreSQL."""

    table: str
    event: str

    @property
    def name(self) -> str:
        return f"{self.table}_no_{'change' if self.event == 'UPDATE' else self.event.lower()}"

    @property
    def function(self) -> str:
        return "stopsign_only_leaf" if (self.table, self.event) == ("journal", "UPDATE") else "stopsign_refuse"

    def statements(self) -> Iterable[str]:
        yield f"DROP TRIGGER IF EXISTS {self.name} ON {self.table}"
        yield (
            f"CREATE TRIGGER {self.name} BEFORE {self.event} ON {self.table} "
            f"FOR EACH {_EVENTS[self.event]} EXECUTE FUNCTION {self.function}()"
        )
        yield f"ALTER TABLE {self.table} ENABLE ALWAYS TRIGGER {self.name}"


_POSTGRESQL = {t.name: t for t in (_Trigger(table=table, event=event) for table in TABLES for event in _EVENTS)}

_FOUND = text(
    """
    SELECT t.tgname, c.relname, t.tgtype, t.tgenabled::text, p.proname, p.prosrc, l.lanname,
           t.tgqual IS NULL AND t.tgattr = '' AND t.tgnargs = 0 AND t.tgconstraint = 0 AS plain
    FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
      JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_language AS l ON l.oid = p.prolang
    WHERE t.tgrelid IN (to_regclass('journal'), to_regclass('checkpoint'), to_regclass('anchor'))
    """
)

# ---- both


def names(dialect: str) -> tuple[str, ...]:
    """Return the names of all triggers that should stand."""
    return tuple(_POSTGRESQL if dialect == POSTGRESQL else _SQLITE)


def hold(connection: Connection, *tables: str) -> None:
    """Make the triggers of these tables, anew where there are some of their names."""
    for statement in _making(tables, on_postgresql(connection)):
        connection.execute(text(statement))


def _making(tables: tuple[str, ...], postgresql: bool) -> Iterable[str]:
    if not postgresql:
        for name, statement in _SQLITE.items():
            if name.partition("_")[0] in tables:
                yield f"DROP TRIGGER IF EXISTS {name}"
                yield statement.strip()
        return
    for function, body in _FUNCTIONS.items():
        yield f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $${body}$$"
    for trigger in _POSTGRESQL.values():
        if trigger.table in tables:
            yield from trigger.statements()


def unheld(connection: Connection) -> list[str]:
    """Return the names of the triggers that are missing, disabled or not what they were made to be."""
    found = _found_on_postgresql(connection) if on_postgresql(connection) else _found_on_sqlite(connection)
    return [name for name in names(connection.dialect.name) if name not in found]


def _found_on_sqlite(connection: Connection) -> set[str]:
    rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    return {row.name for row in rows if row.name in _SQLITE and row.sql.split() == _SQLITE[row.name].split()}


def _found_on_postgresql(connection: Connection) -> set[str]:
    found = set()
    for row in connection.execute(_FOUND):
        trigger = _POSTGRESQL.get(row.tgname)
        if trigger is None or row.tgname in found:
            continue
        is_so = (row.relname, row.tgtype, row.tgenabled, row.proname, row.prosrc, row.lanname, row.plain)
        body = _FUNCTIONS[trigger.function]
        should = (trigger.table, _TYPES[trigger.event], _ALWAYS, trigger.function, body, "plpgsql", True)
        if is_so == should:
            found.add(row.tgname)
    return found
