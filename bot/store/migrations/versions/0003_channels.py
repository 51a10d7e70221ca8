"""An incident is found by its channel."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column with its index; incidents of before tell their channel."""
    op.add_column("incident", sa.Column("channel", sa.String(), nullable=True))
    op.create_index("ix_incident_channel", "incident", ["channel"])
    connection = op.get_bind()
    for row in connection.execute(sa.text("SELECT id, body FROM incident")).all():
        values = {"id": row.id, "channel": json.loads(row.body).get("channel")}
        connection.execute(sa.text("UPDATE incident SET channel = :channel WHERE id = :id"), values)
