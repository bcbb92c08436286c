"""What each column holds, and how long: the register of processing (AVG 30), as far as the database goes.

Each column of each table stands here. A test fails for one that does not, so that nobody adds a place for something
personal without saying how long it is kept. `python -m bode.store.register` prints docs/privacy.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from bode.domain.retention import Kind, Terms
from bode.store import tables


@dataclass(frozen=True, slots=True)
class Holds:
    """Columns of a table, and what they hold."""

    columns: str
    what: str
    kind: Kind | None = None
    """By whose term it goes; none: it holds nothing personal."""


_SEALED = "encrypted under the message's key"
_NOTHING = "ids, states, times and counts"
REGISTER: dict[str, tuple[Holds, ...]] = {
    "message": (
        Holds("addressee_hash", "keyed hash of the BSN, KVK number or RSIN", Kind.PERSONAL),
        Holds("email_hash", "keyed hash of the e-mail address", Kind.PERSONAL),
        Holds("case_reference", "number of the case at the sender: leads to a person in its systems", Kind.EVIDENCE),
        Holds("reference body_hash", "the sender's name for the message, hash of the request"),
        Holds("id organisation nature concerns lookup_generation application accepted_at publish_at", _NOTHING),
    ),
    "content": (
        Holds("sealed", f"subject, text; then who it was for, until that goes, too; {_SEALED}", Kind.CONTENT),
        Holds(
            "wrapped_key", "the message's key, wrapped: without it nothing of the message can be read", Kind.EVIDENCE
        ),
        Holds("message_id key_id purged_at", _NOTHING),
    ),
    "vault_secret": (Holds("purpose generation key_id wrapped made_at", "secrets of the installation, wrapped"),),
    "found_address": (
        Holds("sealed", f"e-mail address that the profile service or the addressee gave, {_SEALED}", Kind.PERSONAL),
        Holds("email_hash", "keyed hash of it", Kind.PERSONAL),
        Holds("message_id found_at", _NOTHING),
    ),
    "document": (
        Holds("sealed", f"attachments, {_SEALED}; large ones in the store of documents, the same", Kind.CONTENT),
        Holds("message_id number object", _NOTHING),
    ),
    "letter": (
        Holds("sealed", f"letters as printed, {_SEALED}", Kind.CONTENT),
        Holds("message_id number sha256 pages template created_at", _NOTHING),
    ),
    "legal_hold": (Holds("message_id since", _NOTHING),),
    "letter_name": (Holds("letter_id message_id number", _NOTHING),),
    "delivery": (
        Holds("document", "states and times of placements, notices and letters; no name, number or address"),
        Holds("message_id organisation state outcome notice_deadline_at sent_at event_seq event_hash", _NOTHING),
        Holds("updated_at done_at stage accepted_at box bounce letter letter_at held", _NOTHING),
    ),
    "step": (
        Holds("id message_id part action lane state due_at deadline_at wake_at call called_at fence owner", _NOTHING),
        Holds("lease_until", _NOTHING),
    ),
    "event": (
        Holds("envelope", "what happened when, and who of the staff did it; stays, as each later proof leans on it"),
        Holds("id message_id seq name part at recorded_at hash", _NOTHING),
    ),
    "event_detail": (
        Holds("sealed", f"what other sides said and what people typed, {_SEALED}", Kind.EVIDENCE),
        Holds("salt", "what keeps the commitment to it from being guessed", Kind.EVIDENCE),
        Holds("message_id seq", _NOTHING),
    ),
    "event_pending": (Holds("event_id", _NOTHING),),
    "evidence_leaf": (Holds("position event_id", _NOTHING),),
    "evidence_tile": (Holds("level number hashes root", "hashes"),),
    "evidence_checkpoint": (Holds("origin size root note published_at", "hashes and signatures"),),
    "evidence_attestation": (Holds("origin size kind content received_at", "time stamps and signatures of others"),),
    "inbound": (
        Holds(
            "sealed", "bounces, reports and results as they came, encrypted under the installation's key", Kind.RECEIVED
        ),
        Holds("note", "what became of it; who of the staff matched it and why", Kind.RECEIVED),
        Holds("key route state message_id received_at key_id", _NOTHING),
    ),
    "inbound_about": (Holds("key message_id", _NOTHING),),
    "return_path_key": (
        Holds(
            "made_by removed_by reason",
            "who of the staff changed a key, and why; stays as long as the key's generation",
        ),
        Holds("generation made_at removed_at", _NOTHING),
    ),
    "lane": (
        Holds("changed_by reason", "who of the staff stopped it last, and why; the next change takes its place"),
        Holds("name stopped_at probe_at backoff_seconds rules allowance allowance_at", _NOTHING),
    ),
    "staff_act": (
        Holds("who act subject", "what staff did, looked at or were refused", Kind.AUDIT),
        Holds("reason sealed detail", "why, encrypted under the installation's key, and what was changed", Kind.AUDIT),
        Holds("id at organisation message_id outcome", _NOTHING),
    ),
    "console_session": (
        Holds("who name role organisations", "who of the staff is logged in; goes when they are logged out"),
        Holds("opened sought", "what they opened, and the keyed hash they look for; goes with it"),
        Holds("hash made_at seen_at", _NOTHING),
    ),
    "console_login": (
        Holds("hash state nonce verifier back_to made_at", "a log-in that was begun; goes within ten minutes"),
    ),
    "staff_job": (
        Holds("who confirmed_by", "who of the staff acted on many messages, and who agreed", Kind.AUDIT),
        Holds("sealed", "why, encrypted under the installation's key", Kind.AUDIT),
        Holds("id act organisations chosen state total fit made_at confirmed_at ended_at", _NOTHING),
    ),
    "staff_job_row": (Holds("job_id number message_id state note", _NOTHING, Kind.AUDIT),),
    "repeat_key": (
        Holds(
            "application key_hash fingerprint status location answer at",
            "answers to requests that may come again; a day",
        ),
    ),
    "zgw_decision": (
        Holds(
            "url told", "the address of a decision in the sender's register; what is written back there, without names"
        ),
        Holds("id source state attempt since due_at answer late message_id sent_at", _NOTHING),
    ),
    "failing_address": (
        Holds("address_hash", "keyed hash of an e-mail address that bounced hard", Kind.PERSONAL),
        Holds("organisation bounced_at reason rule message_id", _NOTHING),
    ),
    "mail_count": (Holds("hour organisation provider sent", _NOTHING, Kind.RECEIVED),),
    "hard_bounce": (Holds("id message_id channel organisation provider reason bounced_at", _NOTHING, Kind.RECEIVED),),
    "burst": (
        Holds("decided_by reason", "who of the staff decided, and why; stays with the decision"),
        Holds("id kind name opened_at decided_at decision", _NOTHING),
    ),
    "volume_count": (Holds("organisation day slot messages letters", _NOTHING, Kind.RECEIVED),),
    "volume_hold": (Holds("id organisation rule opened_at decided_at day counted", _NOTHING),),
    "status_change": (
        Holds("id position message_id organisation kind state outcome reasons sent_at at", f"{_NOTHING}; 90 days"),
    ),
    "status_feed": (Holds("name last purged", _NOTHING),),
    "webhook_delivery": (
        Holds("body", "what a sender is told: the message's id and state; no name, number, address or subject"),
        Holds("subscription position message_id kind event_id state attempt due_at since answer", _NOTHING),
    ),
}

_HEAD = """# Privacy

Made from the source by `python -m bode.store.register`; a test compares them, and fails for a column that does not
stand here. It is what Bode adds to the register of processing (AVG 30) of the organisation that uses it.

| | |
|---|---|
| purpose | deliver official messages, tell the addressee in time, and be able to prove both |
| ground | a legal duty and a task in the public interest (AVG 6, first paragraph, c and e; Awb 2:8 to 2:25) |
| of whom | addressees of messages; staff who work with Bode (their names, in what they did) |
| given to | the boxes, mail relay, print service and profile service of the configuration, each what it needs |
| protected by | [security.md](security.md): encrypted under a key per message, found by keyed hashes |

## How long

Terms count from the moment a message was finished, per organisation (`[organisations.OIN.retention]`), or as set for
all (`[retention]`); `bode retention show` tells which are in force. A start is refused with a term below the least.
The sweeper lets go what is due each hour (`every_seconds`); `bode retention run --dry-run` counts it. Each purge of a
message is an event of its evidence. What is held for a case at law (`bode evidence hold`) stays until it is released.

| kind | setting | unless set | the least |
|---|---|---|---|
"""
_LEAST = {
    Kind.CONTENT: "as long as a late bounce is believed (`bounces.return_path_valid`): it can ask for a letter (L7)",
    Kind.PERSONAL: "the term of content",
    Kind.EVIDENCE: "half a year (184 days, L13), and the term of personal data",
    Kind.RECEIVED: "7 days",
    Kind.AUDIT: "half a year (BIO)",
}
_MEANS = {
    Kind.CONTENT: "subject, text, documents, letters",
    Kind.PERSONAL: "who it was for: name, number, addresses, keyed hashes",
    Kind.EVIDENCE: "sealed details of events, case number, the message's key",
    Kind.RECEIVED: "what came in, as it came; counts of bounces",
    Kind.AUDIT: "acts of staff that are about no message",
}
_REQUEST = """
## A request for erasure (AVG 17)

`bode evidence erase REFERENCE --reason ...` erases content, personal data and details of one message at once; its
events stay, and extracts that were given out go on verifying. It is refused, with the reason, where an exception of
AVG 17, third paragraph, stands in the way:

- the message is not finished: delivering it is a legal duty (b). Wait, or cancel it while nothing was sent;
- it is held for a case at law (e);
- it was finished less than half a year ago: until then it proves what was sent and noticed (b, e; Awb 2:22 and 2:25).
  Who is answerable for the data may decide otherwise, as for a message that should never have been sent:
  `--before-term`.

A result of a box names many messages; erasing one of them empties the whole document, whose meaning stands in the
events. Backups of the database keep what was erased until they are overwritten: keep them no longer than the shortest
term, or destroy the key.

## Where nothing personal is

Logs, metrics, the queue's bells, addresses of pages and the evidence log hold ids, codes and counts. On the intake
queue whole messages wait, encrypted. What other systems are sent stands with them: the hot folder or SFTP folder of
the print service holds letters (PDF) with a manifest beside them, until the print service takes them away; the mail
relay's queue holds notices.

## Column by column

| column | what it holds | goes with |
|---|---|---|
"""


def classified() -> dict[str, set[str]]:
    """Give the columns that stand in the register, by table."""
    return {table: {name for holds in rows for name in holds.columns.split()} for table, rows in REGISTER.items()}


def page() -> str:
    """Write docs/privacy.md."""
    terms = Terms()
    kinds = "\n".join(f"| {_MEANS[kind]} | `{kind}` | {terms.of(kind).days} days | {_LEAST[kind]} |" for kind in Kind)
    return _HEAD + kinds + "\n" + _REQUEST + "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    for table in tables.metadata.tables:
        for holds in REGISTER[table]:
            names = ", ".join(f"`{table}.{name}`" for name in holds.columns.split())
            yield f"| {names} | {holds.what} | {holds.kind or '-'} |"


if __name__ == "__main__":
    sys.stdout.write(page())
