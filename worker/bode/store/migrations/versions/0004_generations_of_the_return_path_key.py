"""Generations of the key that signs return paths; hard bounces found by their mail.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, in which the first generation needs no row, and the index."""
    op.create_table(
        "return_path_key",
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("made_by", sa.String(length=64), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_by", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("generation", name=op.f("pk_return_path_key")),
    )
    with op.batch_alter_table("hard_bounce", schema=None) as batch_op:
        batch_op.create_index("ix_hard_bounce_mail", ["message_id", "channel"], unique=False)


def downgrade() -> None:
    """Refuse: without the generations, valid bounces would look forged."""
    raise NotImplementedError("a downgrade would make valid bounces look forged: restore a backup instead")
