"""What is changed of lanes while they run, what is left of their rate, and acts with a sealed reason.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("lane", sa.Column("rules", sa.Text(), nullable=True))
    op.add_column("lane", sa.Column("allowance", sa.Float(), nullable=True))
    op.add_column("lane", sa.Column("allowance_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("staff_act", sa.Column("detail", sa.Text(), nullable=True))
    op.add_column("staff_act", sa.Column("sealed", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Refuse: evidence is never dropped."""
    raise NotImplementedError("a downgrade would drop evidence: restore a backup instead")
