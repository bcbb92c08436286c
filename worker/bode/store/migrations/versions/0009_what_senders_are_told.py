"""The feed of status changes, and the webhooks that wait to be sent.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "status_change",
        sa.Column("id", big, autoincrement=True, nullable=False),
        sa.Column("position", big, nullable=True),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("organisation", sa.String(20), nullable=False),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(24), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("sent_at", moment, nullable=True),
        sa.Column("at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_status_change")),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_status_change_position", "status_change", ["position"], unique=True)
    op.create_index("ix_status_change_organisation", "status_change", ["organisation", "position"])
    op.create_index("ix_status_change_at", "status_change", ["at"])
    op.create_index(
        "ix_status_change_waiting",
        "status_change",
        ["id"],
        postgresql_where=sa.text("position IS NULL"),
        sqlite_where=sa.text("position IS NULL"),
    )
    op.create_table(
        "status_feed",
        sa.Column("name", sa.String(8), nullable=False),
        sa.Column("last", big, nullable=False),
        sa.Column("purged", big, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_status_feed")),
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("subscription", sa.String(32), nullable=False),
        sa.Column("position", big, autoincrement=False, nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("due_at", moment, nullable=False),
        sa.Column("since", moment, nullable=False),
        sa.Column("answer", sa.String(40), nullable=True),
        sa.PrimaryKeyConstraint("subscription", "position", name=op.f("pk_webhook_delivery")),
        sa.CheckConstraint("state IN ('waiting', 'dead')", name=op.f("ck_webhook_delivery_state")),
    )
    op.create_index("ix_webhook_delivery_message", "webhook_delivery", ["subscription", "message_id", "position"])
    op.create_index("ix_webhook_delivery_due", "webhook_delivery", ["subscription", "state", "due_at"])


def downgrade() -> None:
    """Refuse: senders would miss what happened."""
    raise NotImplementedError("a downgrade would drop what senders were not told yet: restore a backup instead")
