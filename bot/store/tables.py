"""The tables. Times that are compared are seconds since the epoch; times that are hashed are text."""

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

BIG: Any = BigInteger().with_variant(Integer(), "sqlite")
"""What counts rows: SQLite's integers have 64 bits anyway, and only `INTEGER` numbers its rows by itself."""


class IncidentRow(SQLModel, table=True):
    """One incident: the columns are for finding it, `body` is the whole."""

    __tablename__ = "incident"
    __table_args__ = (
        Index(
            "one_live_incident_a_key", "key", unique=True, sqlite_where=text("live = 1"), postgresql_where=text("live")
        ),
        Index("incident_key", "key", "id"),
        Index("incident_holding", "holding", sqlite_where=text("holding = 1"), postgresql_where=text("holding")),
    )

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    version: int
    key: str
    status: str
    severity: int
    live: bool
    holding: bool = False
    channel: str | None = Field(default=None, index=True)
    body: str = Field(sa_column=Column(Text, nullable=False))


class AlertRow(SQLModel, table=True):
    """One alert episode, as received."""

    __tablename__ = "alert"

    fingerprint: str = Field(primary_key=True)
    starts_at: str = Field(primary_key=True)
    incident: int = Field(foreign_key="incident.id", index=True)
    resolved: bool = False
    own_effect: bool = False
    body: str = Field(sa_column=Column(Text, nullable=False))


class JournalRow(SQLModel, table=True):
    """One entry; append-only by trigger, but for `leaf` from NULL to its number. Stream 0 is the watch."""

    __tablename__ = "journal"
    __table_args__ = (
        UniqueConstraint("incident", "n"),
        UniqueConstraint("leaf"),
        Index("journal_unsequenced", "id", sqlite_where=text("leaf IS NULL"), postgresql_where=text("leaf IS NULL")),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    incident: int
    n: int
    at: str
    kind: str
    by: str
    body: str = Field(sa_column=Column(Text, nullable=False))
    salt: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    leaf: int | None = Field(default=None, sa_type=BIG)


class WorkRow(SQLModel, table=True):
    """One thing to do. `state` is ready, done or dead; a ready row with a lease is being worked on."""

    __tablename__ = "work"
    __table_args__ = (
        Index("work_due", "due_at", sqlite_where=text("state = 'ready'"), postgresql_where=text("state = 'ready'")),
        Index(
            "work_lane", "lane", "id", sqlite_where=text("state = 'ready'"), postgresql_where=text("state = 'ready'")
        ),
        Index("work_merge", "merge", sqlite_where=text("state = 'ready'"), postgresql_where=text("state = 'ready'")),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    key: str = Field(unique=True)
    kind: str
    incident: int | None = Field(default=None, index=True)
    priority: int = 5
    lane: str | None = None
    merge: str | None = None
    state: str = "ready"
    due_at: float
    since: float | None = None
    """When it was due first; tries and turns move `due_at` only."""
    lease_until: float | None = None
    fence: int = 0
    attempts: int = 0
    body: str = Field(sa_column=Column(Text, nullable=False))
    outcome: str | None = None


class TileRow(SQLModel, table=True):
    """A tile of the log's Merkle tree: up to 256 hashes of one level."""

    __tablename__ = "tile"

    level: int = Field(primary_key=True)
    idx: int = Field(primary_key=True, sa_type=BIG)
    hashes: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class CheckpointRow(SQLModel, table=True):
    """A signed checkpoint of the log."""

    __tablename__ = "checkpoint"

    size: int = Field(primary_key=True, sa_type=BIG, sa_column_kwargs={"autoincrement": False})
    root: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    note: str = Field(sa_column=Column(Text, nullable=False))
    at: float


class AnchorRow(SQLModel, table=True):
    """A checkpoint as somebody outside our reach has it; append-only by trigger."""

    __tablename__ = "anchor"
    __table_args__ = (Index("anchor_newest", "anchor", "size"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    anchor: str
    """Its name in policy.yaml."""
    kind: str
    size: int = Field(sa_type=BIG)
    note: str = Field(sa_column=Column(Text, nullable=False))
    """The signed checkpoint that was anchored."""
    at: float
    proof: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """What it gave us for it: an RFC 3161 token, else JSON that says where the checkpoint lies."""


class TokenRow(SQLModel, table=True):
    """A person's API token, hashed."""

    __tablename__ = "token"

    hash: str = Field(primary_key=True)
    person: str
    issued_at: float
    expires_at: float
    revoked_at: float | None = None


class SettingRow(SQLModel, table=True):
    """A named value: the watch, heartbeats."""

    __tablename__ = "setting"

    name: str = Field(primary_key=True)
    value: str = Field(sa_column=Column(Text, nullable=False))
