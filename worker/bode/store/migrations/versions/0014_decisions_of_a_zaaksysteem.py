"""Decisions in a zaaksysteem's registers (ZGW), to be sent and written back.

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "zgw_decision",
        sa.Column("id", big, autoincrement=True, nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("url", sa.String(1000), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("since", moment, nullable=False),
        sa.Column("due_at", moment, nullable=False),
        sa.Column("answer", sa.String(80), nullable=True),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("sent_at", moment, nullable=True),
        sa.Column("told", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_zgw_decision")),
        sa.UniqueConstraint("source", "url", name=op.f("uq_zgw_decision_source_url")),
        sa.CheckConstraint(
            "state IN ('new', 'waiting', 'refused', 'accepted', 'writing', 'written')",
            name=op.f("ck_zgw_decision_state"),
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_zgw_decision_due", "zgw_decision", ["state", "due_at"])
    op.create_index("ix_zgw_decision_message_id", "zgw_decision", ["message_id"])


def downgrade() -> None:
    """Refuse: decisions would be sent again or not at all."""
    raise NotImplementedError("a downgrade would forget what was sent: restore a backup instead")
