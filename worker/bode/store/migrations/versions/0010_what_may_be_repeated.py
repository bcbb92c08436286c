"""The answers to requests with an `Idempotency-Key`, and an index for searches by time.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the index."""
    op.create_table(
        "repeat_key",
        sa.Column("application", sa.String(64), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(32), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("location", sa.String(64), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("application", "key_hash", name=op.f("pk_repeat_key")),
    )
    op.create_index("ix_repeat_key_at", "repeat_key", ["at"])
    op.create_index("ix_message_search", "message", ["organisation", "accepted_at", "id"])


def downgrade() -> None:
    """Take them away: a repeat is then recognised by its reference alone."""
    op.drop_index("ix_message_search", "message")
    op.drop_table("repeat_key")
