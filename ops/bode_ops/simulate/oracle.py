"""The promises, held against what really happened. Written apart from the rules, and as short as it can be.

Its sources are the other sides' memory (`truth`), the requests (`plan.Wish`) and the rows of the database. It uses
nothing of `bode.domain` but the words of its states, and has the law's 48 hours as a number of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid5

import msgspec
import sqlalchemy as sa

from bode.store import tables
from bode_ops.simulate.plan import BOX, CARRIER, PORTAL, Wish
from bode_ops.simulate.truth import Paper, Sent, Truth
from bode_ops.simulate.world import World

FORTY_EIGHT_HOURS = timedelta(hours=48)
_FIRST_ALARM = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept."""

    rule: str
    message: UUID | None
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """What Bode says of one message."""

    state: str
    sent_at: datetime | None
    document: Mapping[str, Any]
    seq: int
    hash: bytes
    events: list[Mapping[str, Any]]


async def judge(world: World) -> list[Violation]:
    """Hold all promises; gives the ones that were not kept."""
    rows, broken = await _read(world)
    slack = 4 * world.grid + timedelta(minutes=15)
    broken += [Violation(one.rule, one.message, one.text) for one in world.broken]
    for message, truth in world.truths.items():
        if truth.answered_at is None:
            continue
        row = rows.get(message)
        if row is None:
            broken.append(Violation("nothing lost", message, "it was accepted, and is not in the database"))
            continue
        wish = world.wish(world.numbers[message])
        for rule in (_ends, _once, _noticed, _fair_letters, _legal_time, _not_early, _told):
            broken += [Violation(rule.__name__.strip("_"), message, text) for text in rule(wish, truth, row, slack)]
    return broken


async def _read(world: World) -> tuple[dict[UUID, Row], list[Violation]]:
    """Read what Bode says, with its evidence checked: numbers without gaps, and each chained to the one before it."""
    delivery, event = tables.delivery.c, tables.event.c
    rows: dict[UUID, Row] = {}
    broken: list[Violation] = []
    async with world.database.read() as connection:
        found = await connection.execute(
            sa.select(
                delivery.message_id,
                delivery.state,
                delivery.sent_at,
                delivery.document,
                delivery.event_seq,
                delivery.event_hash,
            )
        )
        for one in found:
            document = msgspec.json.decode(one.document)
            rows[one.message_id] = Row(one.state, one.sent_at, document, one.event_seq, bytes(one.event_hash), [])
        previous: dict[UUID, bytes] = {}
        found = await connection.execute(
            sa.select(event.message_id, event.seq, event.envelope, event.hash).order_by(event.message_id, event.seq)
        )
        for one in found:
            row, envelope = rows[one.message_id], msgspec.json.decode(one.envelope)
            row.events.append(envelope)
            before = previous.get(one.message_id, bytes(32))
            hashed = sha256(b"\0" + one.envelope).digest()
            if one.seq != len(row.events) or envelope["seq"] != one.seq or envelope["previous"] != before.hex():
                broken.append(Violation("evidence complete", one.message_id, f"event {one.seq} does not follow"))
            if hashed != bytes(one.hash):
                broken.append(Violation("evidence complete", one.message_id, f"event {one.seq} has another hash"))
            previous[one.message_id] = sha256(b"\2" + before + hashed).digest()
    for message, row in rows.items():
        if row.seq != len(row.events) or previous.get(message) != row.hash:
            broken.append(Violation("evidence complete", message, "the delivery does not end where its events end"))
    return rows, broken


# ---- the promises, each of one message ------------------------------------------------------------------------------


def _ends(_wish: Wish, truth: Truth, row: Row, _slack: timedelta) -> Iterator[str]:
    """Every accepted message ends, or waits visibly for a person; and what is done has reached the addressee."""
    if row.state not in ("done", "needs_person", "cancelled"):
        yield f"nothing happens to it any more, and it is {row.state}"
    if row.state == "done" and not any(not copy.came_back for copy in truth.sent):
        yield "it is done, and no copy is anywhere"


def _once(_wish: Wish, truth: Truth, row: Row, _slack: timedelta) -> Iterator[str]:
    """No placement and no letter twice, but for what came back, what was refused, and what a person asked."""
    acts = truth.retries + truth.orders
    for where in (BOX, PORTAL, CARRIER):
        copies = truth.copies(where)
        allowed = 1 + truth.retries + sum(copy.came_back for copy in copies)
        if len(copies) > (1 if where == BOX else allowed):
            yield f"{where} has it {len(copies)} times"
    for kind, about in {(letter["kind"], letter.get("about")) for letter in row.document["letters"]}:
        papers = [
            paper for letter, paper in _letters(row, truth) if (letter["kind"], letter.get("about")) == (kind, about)
        ]
        if len(papers) > 1 + acts + sum(paper.failed for paper in papers):
            yield f"{len(papers)} letters ({kind}) were printed"
    on_paper = [paper for paper in truth.letters.values() if paper.kind == "message"]
    in_a_box = truth.copies(BOX) or truth.copies(PORTAL)
    if on_paper and in_a_box and not acts and not row.document["attention"]:
        yield "it is in a box and on paper, and nobody was asked"


def _noticed(  # noqa: C901 - the law's three paragraphs, read from above to below
    wish: Wish, truth: Truth, row: Row, slack: timedelta
) -> Iterator[str]:
    """L3, L5, L7: a notice within 48 hours of accessibility, or an alarm before, and the other route after."""
    in_box = truth.copies(BOX)
    for channel in (BOX, PORTAL):
        if not (copies := truth.copies(channel)):
            continue
        placed, left = copies[0].at, [at for about, at in truth.notices if about == channel]
        if wish.opted_out:
            if left:
                yield f"a notice about {channel} left, though the addressee opted out"
            continue
        if wish.email is None or (channel == PORTAL and in_box):
            continue
        heard = truth.heard_at.get(channel)
        if heard is None:
            if row.state != "needs_person":
                yield f"{channel} has it, Bode was never told so, and nobody is asked"
            continue
        due = placed + FORTY_EIGHT_HOURS
        # One that was taken after a refusal is out: what was said last counts.
        if any(at <= due and (channel not in truth.hard or at > truth.hard[channel]) for at in left):
            continue
        letters = [letter for letter, _ in _ordered(row, truth) if letter.get("about") == channel]
        waits = any(one["part"] == f"notice/{channel}" for one in row.document["attention"])
        if not letters and not waits:
            yield f"no notice about {channel} by {due:%d %b %H:%M}, or it bounced for good, and no letter says so"
        if left and min(left) <= due:
            continue
        ordered = min((_moment(letter["requested_at"]) for letter in letters), default=due)
        latest = max(due, heard) + slack
        if ordered > latest and not truth.alarms:
            yield f"the letter about {channel} was ordered at {ordered:%d %b %H:%M}, after {latest:%d %b %H:%M}"
        told_in_time = any(at <= due + slack for at in truth.alarms)
        could_be_told = heard + slack < placed + _FIRST_ALARM and channel not in truth.hard
        if could_be_told and ordered >= due and not told_in_time:
            yield f"no notice about {channel} was out at {due:%d %b %H:%M}, and no alarm came before"


def _fair_letters(wish: Wish, truth: Truth, row: Row, _slack: timedelta) -> Iterator[str]:
    """L7: a letter about a notice only for a bounce that really is about the addressee, or after the 48 hours."""
    for letter, _ in _ordered(row, truth):
        about, reason = letter.get("about"), letter["reason"]
        if letter["kind"] != "notice":
            continue
        if reason == "notice_bounced" and about not in truth.hard:
            yield f"a letter says that the address for {about} is wrong, and no mail server said so with our token"
        copies = truth.copies(about or "")
        if reason == "notice_not_in_time" and copies:
            asked, due = _moment(letter["requested_at"]), copies[0].at + FORTY_EIGHT_HOURS
            if asked < due:
                yield f"a letter about {about} was ordered at {asked:%d %b %H:%M}, before the 48 hours ended"
        if reason == "no_email" and wish.email is not None:
            yield f"a letter about {about} says that there is no address, and there is one"


def _legal_time(_wish: Wish, truth: Truth, row: Row, _slack: timedelta) -> Iterator[str]:
    """L8, L10: MijnOverheid's moment; else the first copy that did not come back; else the last that did."""
    if row.state != "done" or truth.retries or truth.orders:
        return
    live = [copy for copy in truth.sent if not copy.came_back]
    in_box = truth.copies(BOX)
    really: Sent = in_box[0] if in_box else min(live, key=_at) if live else truth.sent[-1]
    if row.sent_at is None or abs(row.sent_at - really.at) > timedelta(seconds=1):
        yield f"its legal time of sending is {really.at} ({really.where}), and Bode says {row.sent_at}"


def _not_early(wish: Wish, truth: Truth, _row: Row, _slack: timedelta) -> Iterator[str]:
    """Nothing is sent before its publication time, whatever a worker's own clock says."""
    for copy in truth.sent:
        if wish.publish_at is not None and copy.at < wish.publish_at - timedelta(seconds=5):
            yield f"{copy.where} had it at {copy.at}, before {wish.publish_at}"


_PROOF = {
    ("placements", "placed"): ("ContentConsignment", "RelayToNonERDS"),
    ("placements", "refused"): ("ContentConsignmentFailure", "RelayToNonERDSFailure", "channel.decision"),
    ("placements", "unknown"): ("outcome.unknown",),
    ("placements", "pending"): ("placement.pending",),
    ("notices", "sent"): ("ConsignmentNotification",),
    ("notices", "undeliverable"): ("ConsignmentNotificationFailure", "notice.impossible"),
    ("notices", "expired"): ("ConsignmentNotificationFailure",),
    ("notices", "waived"): ("notice.waived",),
    ("notices", "impossible"): ("notice.impossible",),
    ("notices", "held"): ("notice.held",),
    ("letters", "submitted"): ("RelayToNonERDS",),
    ("letters", "posted"): ("letter.posted",),
    ("letters", "returned"): ("letter.returned",),
    ("letters", "refused"): ("RelayToNonERDSFailure",),
}


def _told(_wish: Wish, _truth: Truth, row: Row, _slack: timedelta) -> Iterator[str]:
    """L12: for each state that a part ended in, the event that brought it there."""
    names = {(event.get("part"), event["event"]) for event in row.events}
    parts = [("placements", f"placement/{item['channel']}", item["state"]) for item in row.document["placements"]]
    parts += [
        ("notices", f"notice/{item['channel']}", item["notice"]["state"])
        for item in row.document["placements"]
        if item.get("notice")
    ]
    parts += [("letters", f"letter/{n}", item["state"]) for n, item in enumerate(row.document["letters"])]
    for kind, part, state in parts:
        proof = _PROOF.get((kind, state))
        if proof is not None and not any((part, name) in names for name in proof):
            yield f"{part} is {state}, and no event says how"


def _ordered(row: Row, truth: Truth) -> Iterator[tuple[Mapping[str, Any], Paper | None]]:
    """Give each letter that Bode ordered and did not call back, with what the print service has of it."""
    message = UUID(row.document["brief"]["message_id"])
    for number, letter in enumerate(row.document["letters"]):
        if letter["state"] != "cancelled":
            yield letter, truth.letters.get(uuid5(message, f"letter/{number}"))


def _letters(row: Row, truth: Truth) -> Iterator[tuple[Mapping[str, Any], Paper]]:
    return ((letter, paper) for letter, paper in _ordered(row, truth) if paper is not None)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _at(copy: Sent) -> datetime:
    return copy.at
