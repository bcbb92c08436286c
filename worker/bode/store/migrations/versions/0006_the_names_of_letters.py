"""The name of each letter at the print service, kept from the moment it is ordered.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Move the names to a table of their own."""
    op.create_table(
        "letter_name",
        sa.Column("letter_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("letter_id", name=op.f("pk_letter_name")),
    )
    op.execute(
        "INSERT INTO letter_name (letter_id, message_id, number) SELECT letter_id, message_id, number FROM letter"
    )
    with op.batch_alter_table("letter", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("uq_letter_letter_id"), type_="unique")
        batch_op.drop_column("letter_id")
