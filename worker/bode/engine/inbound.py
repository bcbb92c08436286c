"""What comes in from outside: bounces by SMTP, reports of the print service.

Each raw thing is stored under a unique key before anything acts on it; the same again is a success and changes
nothing. A mail is acted on when it carries our token, in the address it came to or in the envelope id of the mail that
bounced. One that is forged, expired or a stranger's is recorded with the reason and ignored; what is ours and says
nothing a rule can use, or tells by its Message-ID alone what it is about, waits for a person.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import assert_never
from uuid import UUID
from weakref import WeakSet

import sqlalchemy as sa
import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session
from prometheus_client import Counter
from sqlalchemy.exc import IntegrityError

from bode.domain import events as ev
from bode.domain.bounces import BounceMail, MailKind, RecipientReport, Verdict, read_mail
from bode.domain.parts import LetterState
from bode.engine.lanes import Lanes
from bode.engine.mail_health import Address
from bode.engine.parts import Parts
from bode.engine.return_path import Carries, Flaw, Seen, Token, possible_messages
from bode.failpoints import Point, failpoint
from bode.store import bulk, messages, tables
from bode.store.database import DATABASE_AWAY
from bode.store.record import read_deliveries
from bode_adapters.contract import LetterReport, LetterStatus, ReturnReason

log = structlog.get_logger()

RECEIVED = Counter("bode_inbound_received_total", "Things that came in, and what became of them.", ["route", "state"])

REPORTS = Counter(
    "bode_print_reports_total", "Reports of the print service that were decided, by meaning.", ["status", "why"]
)

_inbound = tables.inbound.c
MAIL_ROUTES = ("smtp", "lmtp", "maildir", "imap", "webhook")
"""The routes that bring mail, all decided alike."""
_FASTER_THAN_US = timedelta(hours=1)
_FLAWS = (*Flaw, None)
_MILDEST_FIRST = (Verdict.NOT_A_BOUNCE, Verdict.SOFT, Verdict.UNDETERMINED, Verdict.SENDER, Verdict.HARD)


@dataclass(frozen=True, slots=True)
class Raw:
    """Something that came in. `key` is unique: the same thing again has the same key."""

    key: str
    route: str
    received_at: datetime
    content: bytes


class Inbound:
    """Stores what comes in, and decides it."""

    def __init__(self, parts: Parts, lanes: Lanes) -> None:
        """Take the parts."""
        self._parts = parts
        self._lanes = lanes
        self._busy = asyncio.Lock()

    async def store(self, raw: Raw) -> bool:
        """Store a raw thing before anything acts on it; false when it was there already."""
        row = {
            "key": raw.key,
            "route": raw.route,
            "state": "new",
            "received_at": raw.received_at,
            "key_id": self._parts.vault.key_id,
            "sealed": self._parts.vault.seal_inbound(raw.key, raw.content),
        }
        await failpoint(Point.INBOUND_BEFORE_STORE)
        try:
            async with self._parts.database.write() as connection:
                await connection.execute(sa.insert(tables.inbound), [row])
        except IntegrityError:
            RECEIVED.labels(raw.route, "repeat").inc()
            return False
        await failpoint(Point.INBOUND_AFTER_STORE)
        return True

    async def keep_about(self, key: str, message_ids: Sequence[UUID]) -> None:
        """Keep which messages something that came in is about, so that it goes with them."""
        about = tables.inbound_about
        async with self._parts.database.write() as connection:
            # It may be decided again after a crash: the same rows then.
            await connection.execute(sa.delete(about).where(about.c.key == key))
            await bulk.insert(connection, about, [{"key": key, "message_id": message_id} for message_id in message_ids])

    async def work(self) -> int:
        """Decide the mails that were stored and not decided yet; gives their number."""
        async with self._busy:
            async with self._parts.database.read() as connection:
                rows = list(
                    await connection.execute(
                        sa.select(_inbound.key, _inbound.route, _inbound.sealed)
                        .where(_inbound.state == "new", _inbound.route.in_(MAIL_ROUTES))
                        .order_by(_inbound.received_at)
                        .limit(200)
                    )
                )
                if rows:
                    await self._parts.return_path.refresh(connection)
            for row in rows:
                try:
                    await self._decide_mail(row.key, row.route, self._parts.vault.open_inbound(row.key, row.sealed))
                except DATABASE_AWAY:
                    raise  # The database is away: they are all still there for the next time.
                except Exception as error:  # noqa: BLE001 - what anybody may mail to us must not hold up the rest
                    log.error("inbound.cannot_decide", route=row.route, key=row.key, error=type(error).__name__)
                    note = f"cannot_decide:{type(error).__name__}"
                    await self._settle(row.key, route=row.route, state="unmatched", note=note)
            return len(rows)

    async def _decide_mail(self, key: str, route: str, raw: bytes) -> None:
        recipient, _, mail = raw.partition(b"\n")
        found = await asyncio.to_thread(read_mail, mail, self._parts.rules)
        seen = self._authenticated(recipient.decode("ascii", "replace"), found)
        token = seen.token
        if token is None or seen.flaw is not None:
            # Never acted on. Without any token, a Message-ID of ours is a hint for a person: anybody can write one.
            hint = await self._hint(found) if seen.flaw is Flaw.ABSENT else None
            state, about = ("unmatched", hint) if hint is not None else ("ignored", token.message_id if token else None)
            await self._settle(key, route=route, state=state, note=str(seen.flaw), message_id=about)
            return
        address = await self._address(token.message_id)
        report = _about(found, address)
        event = await self._event(token, report) if report is not None else None
        if report is None or event is None:
            note = f"nothing_to_decide:{found.kind}"
            await self._settle(key, route=route, state="unmatched", note=note, message_id=token.message_id)
            return
        verdict = report.classification.verdict
        await self._settle(
            key, route=route, state="matched", note=verdict, message_id=token.message_id, event=event, address=address
        )

    def _authenticated(self, recipient: str, found: BounceMail) -> Seen:
        """Give the token of the address the mail came to, or else of the envelope id it quotes (RFC 3464, 2.2.1).

        A gateway that rewrites addresses leaves the envelope id whole. Where neither is to be believed, the worst flaw.
        """
        seen = self._parts.return_path.look(recipient)
        if seen.flaw is None or found.envelope_id is None:
            return seen
        quoted = self._parts.return_path.look_at_envelope_id(found.envelope_id)
        return quoted if quoted.flaw is None else min(seen, quoted, key=lambda one: _FLAWS.index(one.flaw))

    async def _hint(self, found: BounceMail) -> UUID | None:
        """Give the message that a bounce without a token seems to be about, by the Message-ID of the returned mail."""
        if all(item.classification.verdict is Verdict.NOT_A_BOUNCE for item in found.recipients):
            return None
        try:
            item = UUID((found.message_id or "").partition("@")[0])
        except ValueError:
            return None
        candidates = possible_messages(item, tuple(self._parts.policy.channels))
        table = tables.message.c
        async with self._parts.database.read() as connection:
            known = await connection.execute(sa.select(table.id).where(table.id.in_(candidates)).limit(1))
            return known.scalar_one_or_none()

    async def match(self, key: str, message_id: UUID, *, by: str, reason: str) -> str:
        """Match a mail that nothing followed from to the message it is about, by hand; tells what became of it.

        `key` may be its first characters. What the mail says is decided as for any other bounce; that it is believed,
        though it may not carry our token, is then the word of the person who does this.
        """
        async with self._parts.database.read() as connection:
            found = await connection.execute(
                sa.select(_inbound.key, _inbound.route, _inbound.state, _inbound.sealed)
                .where(
                    _inbound.state.in_(("unmatched", "ignored")),
                    _inbound.route.in_(MAIL_ROUTES),
                    _inbound.key.startswith(key, autoescape=True),
                )
                .limit(2)
            )
            rows = list(found)
            delivery = (await read_deliveries(connection, [message_id])).get(message_id)
        if len(rows) != 1 or delivery is None:
            number = "more than one mail has" if len(rows) > 1 else "no mail that nothing followed from has"
            return f"{number} a key that starts so: nothing was done"
        (row,) = rows
        _, _, mail = self._parts.vault.open_inbound(row.key, row.sealed).partition(b"\n")
        address = await self._address(message_id)
        report = _about(await asyncio.to_thread(read_mail, mail, self._parts.rules), address)
        place = next((n for n, item in enumerate(delivery.placements) if item.placed_at is not None), None)
        if report is None or place is None:
            return "this mail says nothing about delivery, or nothing of this message was mailed: nothing was done"
        carries = Carries.NOTICE if delivery.placements[place].notice is not None else Carries.MESSAGE
        event = await self._event(Token(message_id, place, carries), report, matched_by=by, matched_why=reason)
        await self._settle(
            row.key,
            route=row.route,
            state="matched",
            note=f"by {by}: {reason}",
            message_id=message_id,
            event=event,
            address=address,
            was=row.state,
        )
        return f"matched, {report.classification.verdict}: {report.classification.reason}"

    async def _address(self, message_id: UUID) -> Address | None:
        """Give whose mail it was and where it went; nothing once that was erased."""
        async with self._parts.database.read() as connection:
            found = await messages.load(connection, [message_id], self._parts.vault, with_documents=False)
        message = found.get(message_id)
        if message is None or message.notice.email is None:
            return None
        return Address(message.sender, message.notice.email)

    async def _event(
        self,
        token: Token,
        report: RecipientReport,
        *,
        matched_by: str | None = None,
        matched_why: str | None = None,
    ) -> ev.Event | None:
        async with self._parts.database.read() as connection:
            delivery = (await read_deliveries(connection, [token.message_id])).get(token.message_id)
        if delivery is None or token.placement >= len(delivery.placements):
            return None
        channel = delivery.placements[token.placement].channel
        said = report.classification
        bounce = ev.Bounce(
            said.verdict,
            said.reason,
            said.rule,
            said.code,
            said.status,
            report.diagnostic or said.evidence,
            report.remote_mta,
            reported=True,
            matched_by=matched_by,
            matched_why=matched_why,
        )
        match token.carries:
            case Carries.NOTICE:
                return ev.NoticeBounced(channel, bounce)
            case Carries.MESSAGE:
                return ev.CarrierBounced(channel, bounce)

    async def _settle(
        self,
        key: str,
        *,
        route: str,
        state: str,
        note: str,
        message_id: UUID | None = None,
        event: ev.Event | None = None,
        address: Address | None = None,
        was: str = "new",
    ) -> None:
        """Say what became of it, and record its event, in one transaction; once, whoever else is at it."""
        once = (
            sa.update(tables.inbound)
            .where(_inbound.key == key, _inbound.state == was)
            .values(state=state, note=note[:80], message_id=message_id)
        )
        happened = [(message_id, event)] if message_id is not None and event is not None else []
        addresses = {message_id: address} if message_id is not None and address is not None else {}
        if await self._lanes.apply(happened, once=once, addresses=addresses):
            RECEIVED.labels(route, state).inc()
            log.info("inbound.decided", route=route, state=state, note=note, message=str(message_id or ""))

    # ---- print service -------------------------------------------------------------------------------------------

    async def read_reports(self) -> int:
        """Read the print service's reports, decide them, confirm the ones that are done with; gives their number."""
        settled: list[str] = []
        for report in await self._parts.printer.reports():
            try:
                if await self._decide_report(report):
                    settled.append(report.key)
            except DATABASE_AWAY:
                raise
            except Exception as error:  # noqa: BLE001 - a report that cannot be decided must not hold up the others
                log.error("inbound.cannot_decide", route="print", key=report.key, error=type(error).__name__)
        if settled:
            await self._parts.printer.confirm(keys=settled)
        return len(settled)

    async def _decide_report(self, report: LetterReport) -> bool:
        """Decide one report, and tell whether it is done with: one about a letter we have not recorded yet is not."""
        key = sha256(f"print:{report.key}".encode()).hexdigest()
        content = f"{report.letter} {report.status} {report.at.isoformat()} {report.code} {report.reason}".encode()
        await self.store(Raw(key, "print", self._parts.clock.real(), content))
        async with self._parts.database.read() as connection:
            mine = await connection.execute(sa.select(_inbound.state, _inbound.received_at).where(_inbound.key == key))
            stored = mine.one()
            found = await messages.by_letter(connection, report.letter)
            deliveries = await read_deliveries(connection, [found[0]]) if found is not None else {}
        if stored.state != "new":
            return True
        delivery = deliveries.get(found[0]) if found is not None else None
        if found is None or delivery is None:
            await self._settle(key, route="print", state="unmatched", note="no_such_letter")
            return True
        message_id, number = found
        recent = self._parts.clock.real() - stored.received_at < _FASTER_THAN_US
        if delivery.letters[number].state is LetterState.PLANNED and recent:
            # The report is faster than our own record of the hand-over, which says more. After a while it goes alone.
            return False
        event = _letter_event(number, report)
        await self._settle(key, route="print", state="matched", note=report.status, message_id=message_id, event=event)
        REPORTS.labels(report.status, report.why or "").inc()
        return True

    async def run_reports(self, every_seconds: float) -> None:
        """Read reports until cancelled. Trouble is logged, and the next round tries again."""
        while True:
            try:
                await self.read_reports()
            except Exception as error:  # noqa: BLE001 - an adapter is other people's code, and may raise anything
                log.error("inbound.reports_failed", error=type(error).__name__)
            await asyncio.sleep(every_seconds)


class _Smtp(SMTP):
    """aiosmtpd, for mail that other systems made: bounces return lines far longer than the 998 that RFC 5322 allows."""

    line_length_limit = 2**20


class BounceListener:
    """The SMTP listener that bounces come to: stores the mail, answers 250, and lets it be decided."""

    def __init__(self, inbound: Inbound, *, domain: str, now: Callable[[], datetime]) -> None:
        """Take the domain of our return paths; mail for any other is refused."""
        self._inbound = inbound
        self._domain = domain.lower()
        self._now = now
        self._server: asyncio.Server | None = None
        self._sessions: WeakSet[_Smtp] = WeakSet()

    async def start(self, host: str, port: int, *, max_bytes: int) -> int:
        """Listen; gives the port (a free one when asked for 0)."""
        loop = asyncio.get_running_loop()

        def protocol() -> SMTP:
            made = _Smtp(self, data_size_limit=max_bytes, hostname=self._domain, ident="Bode", loop=loop)
            self._sessions.add(made)
            return made

        self._server = await loop.create_server(protocol, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Listen no more. A server in the middle of a mail got no answer yet, and sends it again."""
        if self._server is not None:
            self._server.close()
            for session in self._sessions:
                if session.transport is not None:
                    session.transport.close()
            await self._server.wait_closed()

    async def handle_RCPT(  # noqa: N802 - the hook's name is aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take mail for our own return paths only."""
        del server, session, options
        if address.rpartition("@")[2].lower() != self._domain:
            return "550 5.1.2 not a return path of ours"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Store, then answer: what was answered with 250 is never lost."""
        del server, session
        content = envelope.content or b""
        mail = content if isinstance(content, bytes) else content.encode()
        try:
            for recipient in envelope.rcpt_tos:
                raw = recipient.encode("ascii", "replace") + b"\n" + mail
                await self._inbound.store(Raw(sha256(raw).hexdigest(), "smtp", self._now(), raw))
        except Exception as error:  # noqa: BLE001 - any other answer than "later" would lose the bounce
            log.error("inbound.not_stored", route="smtp", error=type(error).__name__)
            return "451 4.3.0 not stored now, try again"
        return "250 2.0.0 stored"


def _about(found: BounceMail, address: Address | None) -> RecipientReport | None:
    """Give the report that counts: one about our own addressee, and of several the mildest.

    Each mail of ours has one recipient. A report of several, none of them ours, is about mailboxes behind an alias: as
    long as one of them can be reached, the addressee can.
    """
    if found.kind is MailKind.ORDINARY:
        return None
    ours = address.email.strip().lower() if address is not None else None
    named = [item for item in found.recipients if ours in {(item.recipient or "").lower(), _original(item)}]
    return min(named or found.recipients, key=lambda item: _MILDEST_FIRST.index(item.classification.verdict))


def _original(item: RecipientReport) -> str:
    return (item.original_recipient or "").lower()


def _letter_event(number: int, report: LetterReport) -> ev.Event | None:
    """Give the event of a print service's report; none for one without a consequence."""
    source = ev.TimeSource(report.source)
    match report.status:
        case LetterStatus.PRINTED:
            return ev.LetterPrinted(number, report.at, report.code)
        case LetterStatus.POSTED:
            return ev.LetterPosted(number, report.at, source, report.code)
        case LetterStatus.RETURNED:
            why = ev.ReturnReason(report.why or ReturnReason.NOT_GIVEN)
            return ev.LetterReturned(number, report.at, report.code, report.reason, why)
        case LetterStatus.REJECTED:
            return ev.LetterRefused(number, report.code, report.reason)
        case LetterStatus.ACCEPTED | LetterStatus.DELIVERED:
            return None
        case LetterStatus.FORWARDED | LetterStatus.UNRECOGNISED:
            # It does not tell where the letter is: a person looks at it, nothing is guessed.
            return ev.LetterUnclear(number, report.at, report.code, report.reason)
        case _:
            assert_never(report.status)
