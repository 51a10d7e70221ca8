"""Work remembers since when it has been due, whatever its retries: how far Slack is behind is told from that."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; rows of before count from the time for which they stand now."""
    op.add_column("work", sa.Column("since", sa.Float(), nullable=True))
    op.execute("UPDATE work SET since = due_at WHERE state = 'ready'")
