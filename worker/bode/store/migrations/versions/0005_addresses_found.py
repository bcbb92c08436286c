"""Addresses for notices that the profile service gave, sealed under the key of their message.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "found_address",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_found_address")),
    )


def downgrade() -> None:
    """Refuse: messages under way would lose the address of their notice."""
    raise NotImplementedError("a downgrade would drop addresses of messages under way: restore a backup instead")
