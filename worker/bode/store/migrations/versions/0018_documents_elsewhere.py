"""Documents that are kept outside the database.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the name that a document has in the store of documents; those that are here stay here."""
    op.add_column("document", sa.Column("object", sa.String(32), nullable=True))
    there = sa.text("object IS NOT NULL")
    op.create_index(
        "ix_document_object", "document", ["object"], unique=True, postgresql_where=there, sqlite_where=there
    )


def downgrade() -> None:
    """Refuse: what stands elsewhere would be lost."""
    raise NotImplementedError("a downgrade would lose where documents are: restore a backup instead")
