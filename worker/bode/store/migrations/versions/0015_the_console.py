"""The console: sessions, acts on many messages, what messages are searched by, and what was done to which message.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the tables and columns. What stands in `delivery` already gets its columns when it moves."""
    _search()
    _acts()
    op.create_table(
        "console_session",
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("who", sa.String(64), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("role", sa.String(12), nullable=False),
        sa.Column("organisations", sa.Text(), nullable=False),
        sa.Column("made_at", _MOMENT, nullable=False),
        sa.Column("seen_at", _MOMENT, nullable=False),
        sa.Column("opened", sa.Text(), nullable=False),
        sa.Column("sought", sa.LargeBinary(32), nullable=True),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_console_session")),
    )
    op.create_index("ix_console_session_seen_at", "console_session", ["seen_at"])
    op.create_table(
        "console_login",
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("state", sa.String(64), nullable=False),
        sa.Column("nonce", sa.String(64), nullable=False),
        sa.Column("verifier", sa.String(128), nullable=False),
        sa.Column("back_to", sa.String(500), nullable=False),
        sa.Column("made_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_console_login")),
    )


def _search() -> None:
    op.add_column("message", sa.Column("email_hash", sa.LargeBinary(32), nullable=True))
    _partial("ix_message_email_hash", "message", ["email_hash"], there="email_hash")
    op.add_column("found_address", sa.Column("email_hash", sa.LargeBinary(32), nullable=True))
    op.create_index("ix_found_address_email_hash", "found_address", ["email_hash"])
    op.add_column("delivery", sa.Column("accepted_at", _MOMENT, nullable=True))
    op.add_column("delivery", sa.Column("box", sa.String(32), nullable=True))
    op.add_column("delivery", sa.Column("bounce", sa.String(8), nullable=True))
    op.add_column("delivery", sa.Column("letter", sa.String(12), nullable=True))
    op.add_column("delivery", sa.Column("letter_at", _MOMENT, nullable=True))
    op.execute(
        "UPDATE delivery SET accepted_at = (SELECT accepted_at FROM message WHERE message.id = delivery.message_id)"
    )
    op.create_index("ix_delivery_accepted", "delivery", ["organisation", "accepted_at", "message_id"])
    op.create_index("ix_delivery_box", "delivery", ["organisation", "box", "accepted_at"])
    _partial("ix_delivery_bounce", "delivery", ["organisation", "bounce", "accepted_at"], there="bounce")
    _partial("ix_delivery_letter", "delivery", ["organisation", "letter", "accepted_at"], there="letter")
    _partial("ix_delivery_letter_at", "delivery", ["organisation", "letter_at"], there="letter_at")


def _partial(name: str, table: str, columns: list[str], *, there: str) -> None:
    where = sa.text(f"{there} IS NOT NULL")
    op.create_index(name, table, columns, postgresql_where=where, sqlite_where=where)


def _acts() -> None:
    op.add_column("staff_act", sa.Column("organisation", sa.String(20), nullable=True))
    op.add_column("staff_act", sa.Column("message_id", sa.Uuid(), nullable=True))
    op.add_column("staff_act", sa.Column("outcome", sa.String(8), nullable=True))
    op.create_index("ix_staff_act_message_id", "staff_act", ["message_id"])
    op.create_table(
        "staff_job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("act", sa.String(24), nullable=False),
        sa.Column("who", sa.String(64), nullable=False),
        sa.Column("organisations", sa.Text(), nullable=False),
        sa.Column("chosen", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("fit", sa.Integer(), nullable=False),
        sa.Column("made_at", _MOMENT, nullable=False),
        sa.Column("confirmed_by", sa.String(64), nullable=True),
        sa.Column("confirmed_at", _MOMENT, nullable=True),
        sa.Column("ended_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_job")),
        sa.CheckConstraint(
            "state IN ('counting', 'waiting', 'running', 'done', 'stopped')", name=op.f("ck_staff_job_state")
        ),
    )
    op.create_index("ix_staff_job_state", "staff_job", ["state", "made_at"])
    op.create_table(
        "staff_job_row",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("note", sa.String(40), nullable=True),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_staff_job_row")),
        sa.CheckConstraint("state IN ('new', 'fit', 'unfit', 'done', 'skipped')", name=op.f("ck_staff_job_row_state")),
    )
    op.create_index("ix_staff_job_row_state", "staff_job_row", ["job_id", "state", "number"])


def downgrade() -> None:
    """Refuse: evidence is never dropped."""
    raise NotImplementedError("a downgrade would drop who did what: restore a backup instead")
