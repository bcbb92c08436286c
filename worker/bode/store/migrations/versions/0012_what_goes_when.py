"""What goes when: since when a message is finished, what is still there of it, and what a result of a box is about.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table, and let old acts of staff go in one way."""
    op.add_column("delivery", sa.Column("done_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("delivery", sa.Column("stage", sa.String(length=12), server_default="all", nullable=False))
    op.execute("UPDATE delivery SET done_at = updated_at WHERE state = 'done'")
    op.execute(
        "UPDATE delivery SET stage = 'nothing' "
        "WHERE message_id IN (SELECT message_id FROM content WHERE purged_at IS NOT NULL AND wrapped_key IS NULL)"
    )
    op.create_index(
        "ix_delivery_retention",
        "delivery",
        ["stage", "done_at"],
        postgresql_where=sa.text("stage <> 'nothing' AND done_at IS NOT NULL"),
        sqlite_where=sa.text("stage <> 'nothing' AND done_at IS NOT NULL"),
    )
    op.create_table(
        "inbound_about",
        sa.Column("key", sa.String(length=96), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("key", "message_id", name=op.f("pk_inbound_about")),
    )
    op.create_index(op.f("ix_inbound_about_message_id"), "inbound_about", ["message_id"])
    # Acts of staff go when a later one, half a year younger at least, says that old ones went.
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER staff_act_stays ON staff_act")
        op.execute(
            "CREATE TRIGGER staff_act_stays BEFORE UPDATE OR TRUNCATE ON staff_act "
            "FOR EACH STATEMENT EXECUTE FUNCTION evidence_refuse()"
        )
        op.execute("""
            CREATE FUNCTION staff_act_goes() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NOT EXISTS (
                    SELECT FROM staff_act
                    WHERE act = 'audit_purged' AND id > OLD.id AND at >= OLD.at + interval '184 days'
                ) THEN
                    RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
                        MESSAGE = 'evidence is only ever added to: DELETE of staff_act before its term is over';
                END IF;
                RETURN OLD;
            END $$
        """)
        op.execute(
            "CREATE TRIGGER staff_act_goes BEFORE DELETE ON staff_act FOR EACH ROW EXECUTE FUNCTION staff_act_goes()"
        )
        return
    op.execute("DROP TRIGGER staff_act_stays_delete")
    op.execute("""
        CREATE TRIGGER staff_act_goes BEFORE DELETE ON staff_act
        WHEN NOT EXISTS (
            SELECT 1 FROM staff_act
            WHERE act = 'audit_purged' AND id > OLD.id AND julianday(at) - julianday(OLD.at) >= 184
        )
        BEGIN SELECT RAISE(ABORT, 'evidence is only ever added to: DELETE of staff_act before its term is over'); END
    """)


def downgrade() -> None:
    """Evidence is never taken back."""
    raise NotImplementedError("a database goes forward: restore a backup instead")
