"""The tables, one definition for PostgreSQL and SQLite.

The database is the truth: what is to be done is a row in `step`, what has been done a row in `event`. Personal data
stands only in columns named `sealed`, encrypted under the message's own key (see `vault`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC: `timestamptz` on PostgreSQL, sortable text on SQLite. Refuses a time without a zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the database the moment in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone is no moment: pass an aware datetime")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the moment back, in UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only where the column is called INTEGER.
_big_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _column(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=options.pop("nullable", False), **options)


message = sa.Table(
    "message",
    metadata,
    _column("id", sa.Uuid, primary_key=True),
    _column("organisation", sa.String(20)),
    _column("reference", sa.String(64)),
    _column("body_hash", sa.LargeBinary(32)),
    _column("nature", sa.String(24)),
    _column("case_reference", sa.String(64), nullable=True),
    _column("concerns", sa.Uuid, nullable=True, index=True),
    _column("addressee_hash", sa.LargeBinary(32), index=True),
    _column("lookup_generation", sa.SmallInteger, server_default="1"),  # of the secret that the hash was made with
    _column("email_hash", sa.LargeBinary(32), nullable=True),
    _column("application", sa.String(64), nullable=True),  # which handed it in; none: from before this column
    _column("accepted_at", UtcDateTime),
    _column("publish_at", UtcDateTime, nullable=True),
    sa.UniqueConstraint("organisation", "reference"),
    sa.Index("ix_message_search", "organisation", "accepted_at", "id"),
)
sa.Index(
    "ix_message_case",
    message.c.case_reference,
    message.c.accepted_at,
    message.c.id,
    postgresql_where=message.c.case_reference.is_not(None),
    sqlite_where=message.c.case_reference.is_not(None),
)
sa.Index(
    "ix_message_email_hash",
    message.c.email_hash,
    postgresql_where=message.c.email_hash.is_not(None),
    sqlite_where=message.c.email_hash.is_not(None),
)

content = sa.Table(
    "content",
    metadata,
    _column("message_id", sa.Uuid, primary_key=True),
    _column("key_id", sa.String(16)),
    _column("wrapped_key", sa.LargeBinary, nullable=True),
    _column("sealed", sa.LargeBinary, nullable=True),
    _column("purged_at", UtcDateTime, nullable=True),
    sa.Index(
        "ix_content_key_id",
        "key_id",
        postgresql_where=sa.text("wrapped_key IS NOT NULL"),
        sqlite_where=sa.text("wrapped_key IS NOT NULL"),
    ),
)

# Secrets that outlive key-encryption keys, wrapped under one: see `bode.store.keyring`.
vault_secret = sa.Table(
    "vault_secret",
    metadata,
    _column("purpose", sa.String(12), primary_key=True),
    _column("generation", sa.SmallInteger, primary_key=True, autoincrement=False),
    _column("key_id", sa.String(16)),
    _column("wrapped", sa.LargeBinary),
    _column("made_at", UtcDateTime),
)

found_address = sa.Table(
    "found_address",
    metadata,
    _column("message_id", sa.Uuid, primary_key=True),
    _column("sealed", sa.LargeBinary),
    _column("email_hash", sa.LargeBinary(32), nullable=True, index=True),
    _column("found_at", UtcDateTime),
)

document = sa.Table(
    "document",
    metadata,
    _column("message_id", sa.Uuid, primary_key=True),
    _column("number", sa.SmallInteger, primary_key=True),
    _column("sealed", sa.LargeBinary),  # empty where `object` says what it is called in the store of documents
    _column("object", sa.String(32), nullable=True),
    sa.Index(
        "ix_document_object",
        "object",
        unique=True,
        postgresql_where=sa.text("object IS NOT NULL"),
        sqlite_where=sa.text("object IS NOT NULL"),
    ),
)

letter = sa.Table(
    "letter",
    metadata,
    _column("message_id", sa.Uuid, primary_key=True),
    _column("number", sa.SmallInteger, primary_key=True),
    _column("sealed", sa.LargeBinary),
    _column("sha256", sa.LargeBinary(32)),
    _column("pages", sa.Integer),
    _column("template", sa.String(80)),
    _column("created_at", UtcDateTime),
)

# What the print service calls a letter, kept from the moment it is ordered: its reports can come before, or without, a
# record of the hand-over.
# A message whose personal data must stay for now: there is a case at law about it.
legal_hold = sa.Table(
    "legal_hold",
    metadata,
    _column("message_id", sa.Uuid, primary_key=True),
    _column("since", UtcDateTime),
)

letter_name = sa.Table(
    "letter_name",
    metadata,
    _column("letter_id", sa.Uuid, primary_key=True),
    _column("message_id", sa.Uuid),
    _column("number", sa.SmallInteger),
)

delivery = sa.Table(
    "delivery",
    metadata,
    _column("message_id", sa.Uuid, primary_key=True),
    _column("organisation", sa.String(20)),
    _column("state", sa.String(16)),
    _column("outcome", sa.String(24)),
    _column("notice_deadline_at", UtcDateTime, nullable=True),
    _column("sent_at", UtcDateTime, nullable=True),
    _column("document", sa.Text),
    _column("event_seq", sa.Integer),
    _column("event_hash", sa.LargeBinary(32)),  # the chain over its events so far, which the next one states
    _column("updated_at", UtcDateTime),
    _column("done_at", UtcDateTime, nullable=True),  # since when: terms of retention count from here
    _column("stage", sa.String(12), server_default="all"),  # what is still there: see `bode.domain.retention.Stage`
    sa.Index(
        "ix_delivery_retention",
        "stage",
        "done_at",
        postgresql_where=sa.text("stage <> 'nothing' AND done_at IS NOT NULL"),
        sqlite_where=sa.text("stage <> 'nothing' AND done_at IS NOT NULL"),
    ),
    # What people search by; derived from the document, and empty in rows of before these columns until they move.
    _column("accepted_at", UtcDateTime, nullable=True),
    _column("box", sa.String(32), nullable=True),
    _column("bounce", sa.String(8), nullable=True),
    _column("letter", sa.String(12), nullable=True),
    _column("letter_at", UtcDateTime, nullable=True),
    _column("held", sa.String(12), nullable=True),  # the rule for which it waits: see `bode.domain.volume`
    sa.Index(
        "ix_delivery_open",
        "organisation",
        "state",
        "accepted_at",
        postgresql_where=sa.text("state <> 'done'"),
        sqlite_where=sa.text("state <> 'done'"),
    ),
    sa.Index(
        "ix_delivery_deadline",
        "organisation",
        "notice_deadline_at",
        "message_id",
        postgresql_where=sa.text("state <> 'done' AND notice_deadline_at IS NOT NULL"),
        sqlite_where=sa.text("state <> 'done' AND notice_deadline_at IS NOT NULL"),
    ),
)
sa.Index("ix_delivery_accepted", delivery.c.organisation, delivery.c.accepted_at, delivery.c.message_id)
sa.Index("ix_delivery_box", delivery.c.organisation, delivery.c.box, delivery.c.accepted_at)
for _name, _columns in {
    "bounce": (delivery.c.bounce, delivery.c.accepted_at),
    "letter": (delivery.c.letter, delivery.c.accepted_at),
    "letter_at": (delivery.c.letter_at,),
    "held": (delivery.c.held, delivery.c.message_id),
}.items():
    sa.Index(
        f"ix_delivery_{_name}",
        delivery.c.organisation,
        *_columns,
        postgresql_where=delivery.c[_name].is_not(None),
        sqlite_where=delivery.c[_name].is_not(None),
    )

step = sa.Table(
    "step",
    metadata,
    sa.Column("id", _big_id, primary_key=True, autoincrement=True),
    _column("message_id", sa.Uuid, index=True),
    _column("part", sa.String(64)),
    _column("action", sa.String(8)),
    _column("lane", sa.String(32)),
    _column("state", sa.String(8)),
    _column("due_at", UtcDateTime, nullable=True),
    _column("deadline_at", UtcDateTime),
    _column("wake_at", UtcDateTime, nullable=True),
    _column("call", sa.Uuid, nullable=True),
    _column("called_at", UtcDateTime, nullable=True),
    _column("fence", sa.Integer),
    _column("owner", sa.String(64), nullable=True),
    _column("lease_until", UtcDateTime, nullable=True),
    sa.CheckConstraint("state IN ('waiting', 'ready', 'leased')", name="state"),
    # An id is never used twice: with a fence of its own it names one lease for ever.
    sqlite_autoincrement=True,
)
sa.Index(
    "ix_step_ready",
    step.c.lane,
    step.c.deadline_at,
    step.c.id,
    postgresql_where=step.c.state == sa.literal_column("'ready'"),
    sqlite_where=step.c.state == sa.literal_column("'ready'"),
)
# Only repeats of a call have one while they are ready: what one call held is found without a look at the whole lane.
sa.Index(
    "ix_step_call",
    step.c.call,
    postgresql_where=(step.c.state == sa.literal_column("'ready'")) & step.c.call.is_not(None),
    sqlite_where=(step.c.state == sa.literal_column("'ready'")) & step.c.call.is_not(None),
)
sa.Index(
    "ix_step_waiting",
    step.c.due_at,
    postgresql_where=step.c.state == sa.literal_column("'waiting'"),
    sqlite_where=step.c.state == sa.literal_column("'waiting'"),
)
sa.Index(
    "ix_step_leased",
    step.c.lease_until,
    postgresql_where=step.c.state == sa.literal_column("'leased'"),
    sqlite_where=step.c.state == sa.literal_column("'leased'"),
)
sa.Index(
    "ix_step_wake",
    step.c.wake_at,
    postgresql_where=step.c.wake_at.is_not(None),
    sqlite_where=step.c.wake_at.is_not(None),
)

event = sa.Table(
    "event",
    metadata,
    sa.Column("id", _big_id, primary_key=True, autoincrement=True),
    _column("message_id", sa.Uuid),
    _column("seq", sa.Integer),
    _column("name", sa.String(40)),
    _column("part", sa.String(64), nullable=True),
    _column("at", UtcDateTime),
    _column("recorded_at", UtcDateTime),
    _column("envelope", sa.LargeBinary),
    _column("hash", sa.LargeBinary(32)),
    sa.UniqueConstraint("message_id", "seq"),
    sqlite_autoincrement=True,
)

event_detail = sa.Table(
    "event_detail",
    metadata,
    _column("message_id", sa.Uuid, primary_key=True),
    _column("seq", sa.Integer, primary_key=True),
    _column("salt", sa.LargeBinary(32)),
    _column("sealed", sa.LargeBinary),
)

# ---- the log over all events: see `bode.store.evidence_log`. Triggers keep what stands here and in `event` as it is --

event_pending = sa.Table(
    "event_pending",
    metadata,
    # A trigger on `event` adds the row, in the same transaction: no event can be written past the log.
    _column("event_id", _big_id, primary_key=True, autoincrement=False),
)

evidence_leaf = sa.Table(
    "evidence_leaf",
    metadata,
    _column("position", _big_id, primary_key=True, autoincrement=False),
    _column("event_id", _big_id, unique=True),
)

evidence_tile = sa.Table(
    "evidence_tile",
    metadata,
    _column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
    _column("number", _big_id, primary_key=True, autoincrement=False),
    _column("hashes", sa.LargeBinary),
    _column("root", sa.LargeBinary(32)),
)

evidence_checkpoint = sa.Table(
    "evidence_checkpoint",
    metadata,
    _column("origin", sa.String(128), primary_key=True),
    _column("size", _big_id, primary_key=True, autoincrement=False),
    _column("root", sa.LargeBinary(32)),
    _column("note", sa.Text),
    _column("published_at", UtcDateTime),
)

evidence_attestation = sa.Table(
    "evidence_attestation",
    metadata,
    _column("origin", sa.String(128), primary_key=True),
    _column("size", _big_id, primary_key=True, autoincrement=False),
    _column("kind", sa.String(12), primary_key=True),
    _column("content", sa.LargeBinary),
    _column("received_at", UtcDateTime),
    sa.CheckConstraint("kind IN ('timestamp', 'witness')", name="kind"),
)

inbound = sa.Table(
    "inbound",
    metadata,
    _column("key", sa.String(96), primary_key=True),
    _column("route", sa.String(16)),
    _column("state", sa.String(12)),
    _column("note", sa.String(80), nullable=True),
    _column("message_id", sa.Uuid, nullable=True, index=True),
    _column("received_at", UtcDateTime),
    _column("key_id", sa.String(16), nullable=True, index=True),  # none: from before keys could change
    _column("sealed", sa.LargeBinary),
    sa.CheckConstraint("state IN ('new', 'matched', 'unmatched', 'ignored')", name="state"),
)
sa.Index(
    "ix_inbound_new",
    inbound.c.received_at,
    postgresql_where=inbound.c.state == sa.literal_column("'new'"),
    sqlite_where=inbound.c.state == sa.literal_column("'new'"),
)
sa.Index(
    "ix_inbound_unmatched",
    inbound.c.received_at,
    postgresql_where=inbound.c.state == sa.literal_column("'unmatched'"),
    sqlite_where=inbound.c.state == sa.literal_column("'unmatched'"),
)

# Which messages a result of a box is about, which are many: with one of them the document goes.
inbound_about = sa.Table(
    "inbound_about",
    metadata,
    _column("key", sa.String(96), primary_key=True),
    _column("message_id", sa.Uuid, primary_key=True, index=True),
)

return_path_key = sa.Table(
    "return_path_key",
    metadata,
    _column("generation", sa.Integer, primary_key=True, autoincrement=False),
    _column("made_at", UtcDateTime, nullable=True),
    _column("made_by", sa.String(64), nullable=True),
    _column("removed_at", UtcDateTime, nullable=True),
    _column("removed_by", sa.String(64), nullable=True),
    _column("reason", sa.String(200), nullable=True),
)

lane = sa.Table(
    "lane",
    metadata,
    _column("name", sa.String(32), primary_key=True),
    _column("stopped_at", UtcDateTime, nullable=True),
    _column("reason", sa.String(120), nullable=True),
    _column("changed_by", sa.String(64), nullable=True),
    _column("probe_at", UtcDateTime, nullable=True),
    _column("backoff_seconds", sa.Integer, nullable=True),
    # What was changed of the configured rules while it runs, as JSON; and what is left of its rate, and since when.
    _column("rules", sa.Text, nullable=True),
    _column("allowance", sa.Float, nullable=True),
    _column("allowance_at", UtcDateTime, nullable=True),
)

# What people did, looked at, or were refused. An act about a message is an event staff.action of that message besides,
# where its reason is sealed. Triggers keep it as it is.
staff_act = sa.Table(
    "staff_act",
    metadata,
    sa.Column("id", _big_id, primary_key=True, autoincrement=True),
    _column("at", UtcDateTime),
    _column("who", sa.String(64)),
    _column("act", sa.String(24)),
    _column("subject", sa.String(64)),
    _column("reason", sa.String(200), nullable=True),  # in the clear: of acts before reasons were sealed
    _column("detail", sa.Text, nullable=True),
    _column("sealed", sa.LargeBinary, nullable=True),
    _column("organisation", sa.String(20), nullable=True),
    _column("message_id", sa.Uuid, nullable=True, index=True),
    _column("outcome", sa.String(8), nullable=True),
    sa.Index("ix_staff_act_at", "at", "id"),
    sa.Index("ix_staff_act_who", "who", "at", "id"),
    sa.Index("ix_staff_act_act", "act", "at", "id"),
    sa.Index(
        "ix_staff_act_outcome",
        "at",
        "id",
        postgresql_where=sa.text("outcome IS NOT NULL"),
        sqlite_where=sa.text("outcome IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

# ---- the console: who is logged in, and acts on many messages --------------------------------------------------------

console_session = sa.Table(
    "console_session",
    metadata,
    # Of the secret in the cookie: who reads the database can log in as nobody.
    _column("hash", sa.LargeBinary(32), primary_key=True),
    _column("who", sa.String(64)),
    _column("name", sa.String(80)),
    _column("role", sa.String(12)),
    _column("organisations", sa.Text),
    _column("made_at", UtcDateTime),
    _column("seen_at", UtcDateTime),
    _column("opened", sa.Text),
    _column("sought", sa.LargeBinary(32), nullable=True),
    sa.Index("ix_console_session_seen_at", "seen_at"),
)

console_login = sa.Table(
    "console_login",
    metadata,
    _column("hash", sa.LargeBinary(32), primary_key=True),
    _column("state", sa.String(64)),
    _column("nonce", sa.String(64)),
    _column("verifier", sa.String(128)),
    _column("back_to", sa.String(500)),
    _column("made_at", UtcDateTime),
)

staff_job = sa.Table(
    "staff_job",
    metadata,
    _column("id", sa.Uuid, primary_key=True),
    _column("act", sa.String(24)),
    _column("who", sa.String(64)),
    _column("organisations", sa.Text),
    _column("chosen", sa.Text),
    _column("sealed", sa.LargeBinary, nullable=True),
    _column("state", sa.String(10)),
    _column("total", sa.Integer),
    _column("fit", sa.Integer),
    _column("made_at", UtcDateTime),
    _column("confirmed_by", sa.String(64), nullable=True),
    _column("confirmed_at", UtcDateTime, nullable=True),
    _column("ended_at", UtcDateTime, nullable=True),
    sa.CheckConstraint("state IN ('counting', 'waiting', 'running', 'done', 'stopped')", name="state"),
    sa.Index("ix_staff_job_state", "state", "made_at"),
)

staff_job_row = sa.Table(
    "staff_job_row",
    metadata,
    _column("job_id", sa.Uuid, primary_key=True),
    _column("number", sa.Integer, primary_key=True, autoincrement=False),
    _column("message_id", sa.Uuid),
    _column("state", sa.String(8)),
    _column("note", sa.String(40), nullable=True),
    sa.CheckConstraint("state IN ('new', 'fit', 'unfit', 'done', 'skipped')", name="state"),
    sa.Index("ix_staff_job_row_state", "job_id", "state", "number"),
)

# ---- what is known of mail: failing addresses, and whether a provider or a sender has a problem of its own ----------

failing_address = sa.Table(
    "failing_address",
    metadata,
    _column("organisation", sa.String(20), primary_key=True),
    _column("address_hash", sa.LargeBinary(32), primary_key=True),
    _column("bounced_at", UtcDateTime),
    _column("reason", sa.String(24)),
    _column("rule", sa.String(64)),
    _column("message_id", sa.Uuid),
)

mail_count = sa.Table(
    "mail_count",
    metadata,
    _column("hour", UtcDateTime, primary_key=True),
    _column("organisation", sa.String(20), primary_key=True),
    _column("provider", sa.String(40), primary_key=True),
    _column("sent", sa.Integer),
)

hard_bounce = sa.Table(
    "hard_bounce",
    metadata,
    sa.Column("id", _big_id, primary_key=True, autoincrement=True),
    _column("message_id", sa.Uuid),
    _column("channel", sa.String(32)),
    _column("organisation", sa.String(20)),
    _column("provider", sa.String(40)),
    _column("reason", sa.String(24)),
    _column("bounced_at", UtcDateTime),
    sa.Index("ix_hard_bounce_provider", "provider", "bounced_at"),
    sa.Index("ix_hard_bounce_organisation", "organisation", "bounced_at"),
    sa.Index("ix_hard_bounce_mail", "message_id", "channel"),
    sqlite_autoincrement=True,
)

burst = sa.Table(
    "burst",
    metadata,
    sa.Column("id", _big_id, primary_key=True, autoincrement=True),
    _column("kind", sa.String(12)),
    _column("name", sa.String(40)),
    _column("opened_at", UtcDateTime),
    _column("decided_at", UtcDateTime, nullable=True),
    _column("decision", sa.String(10), nullable=True),
    _column("decided_by", sa.String(64), nullable=True),
    _column("reason", sa.String(200), nullable=True),
    sa.CheckConstraint("kind IN ('provider', 'organisation')", name="kind"),
    sa.Index(
        "uq_burst_open",
        "kind",
        "name",
        unique=True,
        postgresql_where=sa.text("decided_at IS NULL"),
        sqlite_where=sa.text("decided_at IS NULL"),
    ),
    sqlite_autoincrement=True,
)

# ---- how much organisations send: see `bode.store.volume` ------------------------------------------------------------

volume_count = sa.Table(
    "volume_count",
    metadata,
    _column("organisation", sa.String(20), primary_key=True),
    _column("day", sa.Date, primary_key=True),
    # Several rows count together, so that intake does not wait for itself at one.
    _column("slot", sa.SmallInteger, primary_key=True, autoincrement=False),
    _column("messages", sa.Integer),
    _column("letters", sa.Integer),
)

volume_hold = sa.Table(
    "volume_hold",
    metadata,
    sa.Column("id", _big_id, primary_key=True, autoincrement=True),
    _column("organisation", sa.String(20)),
    _column("rule", sa.String(12)),
    _column("opened_at", UtcDateTime),
    _column("decided_at", UtcDateTime, nullable=True),
    # The day in the Netherlands, and how many had come in it when it was decided: counting goes on from there.
    _column("day", sa.Date, nullable=True),
    _column("counted", sa.Integer, nullable=True),
    sa.CheckConstraint("rule IN ('messages', 'sudden', 'addressee', 'letters')", name="rule"),
    sa.Index(
        "uq_volume_hold_open",
        "organisation",
        "rule",
        unique=True,
        postgresql_where=sa.text("decided_at IS NULL"),
        sqlite_where=sa.text("decided_at IS NULL"),
    ),
    sa.Index("ix_volume_hold_day", "organisation", "day"),
    sqlite_autoincrement=True,
)

# ---- what senders are told: see `bode.store.changes` and `bode.store.webhooks` ---------------------------------------

status_change = sa.Table(
    "status_change",
    metadata,
    sa.Column("id", _big_id, primary_key=True, autoincrement=True),
    # Where it stands in the feed: given after the commit, in one order for all readers; none while it waits.
    _column("position", _big_id, nullable=True),
    _column("message_id", sa.Uuid),
    _column("organisation", sa.String(20)),
    _column("kind", sa.String(24)),
    _column("state", sa.String(16)),
    _column("outcome", sa.String(24)),
    _column("reasons", sa.Text),
    _column("sent_at", UtcDateTime, nullable=True),
    _column("at", UtcDateTime),
    sa.Index("uq_status_change_position", "position", unique=True),
    sa.Index("ix_status_change_organisation", "organisation", "position"),
    sa.Index("ix_status_change_at", "at"),
    sqlite_autoincrement=True,
)
sa.Index(
    "ix_status_change_waiting",
    status_change.c.id,
    postgresql_where=status_change.c.position.is_(None),
    sqlite_where=status_change.c.position.is_(None),
)

status_feed = sa.Table(
    "status_feed",
    metadata,
    # One row: who holds it numbers changes.
    _column("name", sa.String(8), primary_key=True),
    _column("last", _big_id),
    _column("purged", _big_id),
)

webhook_delivery = sa.Table(
    "webhook_delivery",
    metadata,
    _column("subscription", sa.String(32), primary_key=True),
    _column("position", _big_id, primary_key=True, autoincrement=False),
    _column("message_id", sa.Uuid),
    _column("kind", sa.String(24)),
    _column("event_id", sa.Uuid),
    _column("body", sa.Text),
    _column("state", sa.String(8)),
    _column("attempt", sa.Integer),
    _column("due_at", UtcDateTime),
    _column("since", UtcDateTime),
    _column("answer", sa.String(40), nullable=True),
    sa.CheckConstraint("state IN ('waiting', 'dead')", name="state"),
    sa.Index("ix_webhook_delivery_message", "subscription", "message_id", "position"),
    sa.Index("ix_webhook_delivery_due", "subscription", "state", "due_at"),
)

# ---- what applications may repeat: see `bode.store.repeats` ----------------------------------------------------------

repeat_key = sa.Table(
    "repeat_key",
    metadata,
    _column("application", sa.String(64), primary_key=True),
    _column("key_hash", sa.LargeBinary(32), primary_key=True),
    _column("fingerprint", sa.LargeBinary(32)),
    _column("status", sa.SmallInteger, nullable=True),
    _column("location", sa.String(64), nullable=True),
    _column("answer", sa.Text, nullable=True),
    _column("at", UtcDateTime, index=True),
)

# ---- decisions in a zaaksysteem's registers: see `bode.store.zgw` ----------------------------------------------------

zgw_decision = sa.Table(
    "zgw_decision",
    metadata,
    sa.Column("id", _big_id, primary_key=True, autoincrement=True),
    _column("source", sa.String(32)),
    _column("url", sa.String(1000)),
    _column("state", sa.String(8)),
    _column("attempt", sa.Integer),
    _column("since", UtcDateTime),
    _column("due_at", UtcDateTime),
    _column("answer", sa.String(80), nullable=True),
    _column("late", sa.Boolean),
    _column("message_id", sa.Uuid, nullable=True, index=True),
    _column("sent_at", UtcDateTime, nullable=True),
    _column("told", sa.Text, nullable=True),
    sa.UniqueConstraint("source", "url"),
    sa.CheckConstraint("state IN ('new', 'waiting', 'refused', 'accepted', 'writing', 'written')", name="state"),
    sa.Index("ix_zgw_decision_due", "state", "due_at"),
    sqlite_autoincrement=True,
)
