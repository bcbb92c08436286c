"""Messages whose personal data must stay for now.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "legal_hold",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_legal_hold")),
    )


def downgrade() -> None:
    """Evidence is never taken back."""
    raise NotImplementedError("a database goes forward: restore a backup instead")
