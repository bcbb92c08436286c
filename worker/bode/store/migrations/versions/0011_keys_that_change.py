"""Keys that change: secrets that outlive them, and on each row the key it is sealed under.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, the columns and what finds a key's rows. Until now an installation had one key."""
    op.create_table(
        "vault_secret",
        sa.Column("purpose", sa.String(length=12), nullable=False),
        sa.Column("generation", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("purpose", "generation", name=op.f("pk_vault_secret")),
    )
    op.add_column("message", sa.Column("lookup_generation", sa.SmallInteger(), server_default="1", nullable=False))
    op.add_column("inbound", sa.Column("key_id", sa.String(length=16), nullable=True))
    op.execute("UPDATE inbound SET key_id = (SELECT min(key_id) FROM content)")
    op.create_index(op.f("ix_inbound_key_id"), "inbound", ["key_id"])
    op.create_index(
        "ix_content_key_id",
        "content",
        ["key_id"],
        postgresql_where=sa.text("wrapped_key IS NOT NULL"),
        sqlite_where=sa.text("wrapped_key IS NOT NULL"),
    )


def downgrade() -> None:
    """Evidence is never taken back."""
    raise NotImplementedError("a database goes forward: restore a backup instead")
