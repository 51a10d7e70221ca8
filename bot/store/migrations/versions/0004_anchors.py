"""Checkpoints that lie outside our reach."""

import sqlalchemy as sa
from alembic import op

from bot.store import held
from bot.store.tables import BIG

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table and its triggers."""
    op.create_table(
        "anchor",
        sa.Column("id", BIG, nullable=False),
        sa.Column("anchor", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("proof", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("anchor_newest", "anchor", ["anchor", "size"])
    held.hold(op.get_bind(), "anchor")
