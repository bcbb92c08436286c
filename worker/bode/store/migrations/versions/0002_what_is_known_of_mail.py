"""What is known of mail: failing addresses, bursts, and lanes that try themselves again.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add tables and columns."""
    op.create_table(
        "burst",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decision", sa.String(length=10), nullable=True),
        sa.Column("decided_by", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.CheckConstraint("kind IN ('provider', 'organisation')", name=op.f("ck_burst_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_burst")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("burst", schema=None) as batch_op:
        batch_op.create_index(
            "uq_burst_open",
            ["kind", "name"],
            unique=True,
            postgresql_where=sa.text("decided_at IS NULL"),
            sqlite_where=sa.text("decided_at IS NULL"),
        )

    op.create_table(
        "failing_address",
        sa.Column("organisation", sa.String(length=20), nullable=False),
        sa.Column("address_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("bounced_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(length=24), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "address_hash", name=op.f("pk_failing_address")),
    )
    op.create_table(
        "hard_bounce",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("organisation", sa.String(length=20), nullable=False),
        sa.Column("provider", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=24), nullable=False),
        sa.Column("bounced_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hard_bounce")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("hard_bounce", schema=None) as batch_op:
        batch_op.create_index("ix_hard_bounce_organisation", ["organisation", "bounced_at"], unique=False)
        batch_op.create_index("ix_hard_bounce_provider", ["provider", "bounced_at"], unique=False)

    op.create_table(
        "mail_count",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("organisation", sa.String(length=20), nullable=False),
        sa.Column("provider", sa.String(length=40), nullable=False),
        sa.Column("sent", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "organisation", "provider", name=op.f("pk_mail_count")),
    )
    with op.batch_alter_table("lane", schema=None) as batch_op:
        batch_op.add_column(sa.Column("probe_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("backoff_seconds", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Refuse: what is known of bounces is never dropped."""
    raise NotImplementedError("a downgrade would drop what is known of bounces: restore a backup instead")
