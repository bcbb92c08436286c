"""How much organisations send, what waits because it was too much, and which application handed in what.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the tables and columns. Counting begins now: what is usual is known after some days."""
    op.add_column("message", sa.Column("application", sa.String(64), nullable=True))
    op.add_column("delivery", sa.Column("held", sa.String(12), nullable=True))
    there = sa.text("held IS NOT NULL")
    op.create_index(
        "ix_delivery_held",
        "delivery",
        ["organisation", "held", "message_id"],
        postgresql_where=there,
        sqlite_where=there,
    )
    op.create_table(
        "volume_count",
        sa.Column("organisation", sa.String(20), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("slot", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("letters", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "day", "slot", name=op.f("pk_volume_count")),
    )
    op.create_table(
        "volume_hold",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("organisation", sa.String(20), nullable=False),
        sa.Column("rule", sa.String(12), nullable=False),
        sa.Column("opened_at", _MOMENT, nullable=False),
        sa.Column("decided_at", _MOMENT, nullable=True),
        sa.Column("day", sa.Date(), nullable=True),
        sa.Column("counted", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volume_hold")),
        sa.CheckConstraint("rule IN ('messages', 'sudden', 'addressee', 'letters')", name=op.f("ck_volume_hold_rule")),
        sqlite_autoincrement=True,
    )
    waits = sa.text("decided_at IS NULL")
    op.create_index(
        "uq_volume_hold_open",
        "volume_hold",
        ["organisation", "rule"],
        unique=True,
        postgresql_where=waits,
        sqlite_where=waits,
    )
    op.create_index("ix_volume_hold_day", "volume_hold", ["organisation", "day"])


def downgrade() -> None:
    """Refuse: evidence is never dropped."""
    raise NotImplementedError("a downgrade would drop what waits for a person: restore a backup instead")
