"""Indexes for the console at a million messages: what is open per body, what waits for a person, and who did what.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the indexes: of deliveries and mails only what is open is in them."""
    # One case can have all letters of a yearly assessment: it is read in the order of a list.
    op.drop_index("ix_message_case_reference", "message")
    _partial("ix_message_case", "message", ["case_reference", "accepted_at", "id"], "case_reference IS NOT NULL")
    op.drop_index("ix_delivery_open", "delivery")
    _partial("ix_delivery_open", "delivery", ["organisation", "state", "accepted_at"], "state <> 'done'")
    _partial(
        "ix_delivery_deadline",
        "delivery",
        ["organisation", "notice_deadline_at", "message_id"],
        "state <> 'done' AND notice_deadline_at IS NOT NULL",
    )
    _partial("ix_inbound_unmatched", "inbound", ["received_at"], "state = 'unmatched'")
    op.create_index("ix_staff_act_at", "staff_act", ["at", "id"])
    op.create_index("ix_staff_act_who", "staff_act", ["who", "at", "id"])
    op.create_index("ix_staff_act_act", "staff_act", ["act", "at", "id"])
    _partial("ix_staff_act_outcome", "staff_act", ["at", "id"], "outcome IS NOT NULL")


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))


def downgrade() -> None:
    """Refuse, as the ones before it: there is no way back past them."""
    raise NotImplementedError("there is no downgrade: restore a backup instead")
