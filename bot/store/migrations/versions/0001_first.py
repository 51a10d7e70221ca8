"""The first schema."""

from alembic import op
from sqlmodel import SQLModel

from bot.store import tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create all tables and the triggers that hold the journal append-only."""
    bind = op.get_bind()
    SQLModel.metadata.create_all(bind)
    for trigger in tables.APPEND_ONLY:
        op.execute(trigger)
