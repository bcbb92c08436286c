"""The log over all events, and triggers that keep evidence as it was written.

Revision ID: 0003
Revises: 0002

A later migration that rebuilds one of these tables on SQLite (batch mode) loses its triggers and must make them anew;
tests/service/test_evidence_tables.py holds that they are there.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ADDED_TO_ONLY = ("event", "evidence_leaf", "evidence_tile", "evidence_checkpoint", "evidence_attestation")

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables, take in the events there are, and close what must not change."""
    op.create_table(
        "event_pending",
        sa.Column("event_id", _NUMBER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_event_pending")),
    )
    op.create_table(
        "evidence_leaf",
        sa.Column("position", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("event_id", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_evidence_leaf")),
        sa.UniqueConstraint("event_id", name=op.f("uq_evidence_leaf_event_id")),
    )
    op.create_table(
        "evidence_tile",
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("number", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("level", "number", name=op.f("pk_evidence_tile")),
    )
    op.create_table(
        "evidence_checkpoint",
        sa.Column("origin", sa.String(length=128), nullable=False),
        sa.Column("size", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("origin", "size", name=op.f("pk_evidence_checkpoint")),
    )
    op.create_table(
        "evidence_attestation",
        sa.Column("origin", sa.String(length=128), nullable=False),
        sa.Column("size", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('timestamp', 'witness')", name=op.f("ck_evidence_attestation_kind")),
        sa.PrimaryKeyConstraint("origin", "size", "kind", name=op.f("pk_evidence_attestation")),
    )
    op.execute("INSERT INTO event_pending (event_id) SELECT id FROM event")
    for statement in _on_postgresql() if op.get_bind().dialect.name == "postgresql" else _on_sqlite():
        op.execute(statement)


def _on_postgresql() -> list[str]:
    """Give the triggers for PostgreSQL: once for a statement, however many rows it brings.

    A session keeps the plan it first made, when the tables may have been empty and reading them whole looked cheap:
    where that would hurt, a function says so.
    """
    statements = [
        # The sequencer empties it all the time: what it leaves is cleared by number, not by share.
        "ALTER TABLE event_pending SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000)",
        """
        CREATE FUNCTION evidence_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
                MESSAGE = 'evidence is only ever added to: ' || TG_OP || ' of ' || TG_TABLE_NAME;
        END $$
        """,
        """
        CREATE FUNCTION event_waits() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO event_pending (event_id) SELECT id FROM added;
            RETURN NULL;
        END $$
        """,
        """
        CREATE FUNCTION event_pending_ends() RETURNS trigger LANGUAGE plpgsql
        SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
        BEGIN
            IF EXISTS (
                SELECT FROM gone
                WHERE NOT EXISTS (SELECT FROM evidence_leaf WHERE evidence_leaf.event_id = gone.event_id)
            ) THEN
                RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
                    MESSAGE = 'an event stops waiting only when it is in the log';
            END IF;
            RETURN NULL;
        END $$
        """,
        """
        CREATE FUNCTION event_detail_goes() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
        BEGIN
            IF NOT EXISTS (
                SELECT FROM event
                WHERE event.message_id = OLD.message_id AND event.seq > OLD.seq AND event.name = 'detail.shredded'
            ) THEN
                RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
                    MESSAGE = 'details go only after an event detail.shredded of their message says so';
            END IF;
            RETURN OLD;
        END $$
        """,
        """
        CREATE TRIGGER event_waits AFTER INSERT ON event REFERENCING NEW TABLE AS added
            FOR EACH STATEMENT EXECUTE FUNCTION event_waits()
        """,
        """
        CREATE TRIGGER event_pending_ends AFTER DELETE ON event_pending REFERENCING OLD TABLE AS gone
            FOR EACH STATEMENT EXECUTE FUNCTION event_pending_ends()
        """,
        """
        CREATE TRIGGER event_detail_goes BEFORE DELETE ON event_detail
            FOR EACH ROW EXECUTE FUNCTION event_detail_goes()
        """,
    ]
    refused = dict.fromkeys(ADDED_TO_ONLY, "UPDATE OR DELETE OR TRUNCATE")
    refused |= dict.fromkeys(("event_pending", "event_detail"), "UPDATE OR TRUNCATE")
    return statements + [
        f"""
        CREATE TRIGGER {table}_stays BEFORE {acts} ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION evidence_refuse()
        """
        for table, acts in refused.items()
    ]


def _on_sqlite() -> list[str]:
    """Give the triggers for SQLite, which has them for each row."""
    refused = [(table, act) for table in ADDED_TO_ONLY for act in ("UPDATE", "DELETE")]
    refused += [("event_pending", "UPDATE"), ("event_detail", "UPDATE")]
    return [
        """
        CREATE TRIGGER event_waits AFTER INSERT ON event
        BEGIN INSERT INTO event_pending (event_id) VALUES (NEW.id); END
        """,
        """
        CREATE TRIGGER event_pending_ends BEFORE DELETE ON event_pending
        WHEN NOT EXISTS (SELECT 1 FROM evidence_leaf WHERE event_id = OLD.event_id)
        BEGIN SELECT RAISE(ABORT, 'an event stops waiting only when it is in the log'); END
        """,
        """
        CREATE TRIGGER event_detail_goes BEFORE DELETE ON event_detail
        WHEN NOT EXISTS (
            SELECT 1 FROM event WHERE message_id = OLD.message_id AND seq > OLD.seq AND name = 'detail.shredded'
        )
        BEGIN SELECT RAISE(ABORT, 'details go only after an event detail.shredded of their message says so'); END
        """,
        *(
            f"""
            CREATE TRIGGER {table}_stays_{act.lower()} BEFORE {act} ON {table}
            BEGIN SELECT RAISE(ABORT, 'evidence is only ever added to: {act} of {table}'); END
            """
            for table, act in refused
        ),
    ]


def downgrade() -> None:
    """Refuse: evidence is never dropped."""
    raise NotImplementedError("a downgrade would drop evidence: restore a backup instead")
