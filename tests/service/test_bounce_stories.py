"""Whole stories of bounces, over real SMTP in both directions: what a support person reads, and what evidence holds.

A mail server of our own takes the notices and sends reports to the listener; the clock is moved. Each story names every
event in its order with its rows of the law, and has the timeline as `bode status` prints it, without the times.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiosmtplib
import pytest

from bode.domain import events as ev
from bode.engine.inbound import BounceListener
from bode.engine.mail_health import BurstLimits, MailHealth
from bode.engine.return_path import Carries, ReturnPath, Token
from bode.evidence.chain import GENESIS, chain_hash
from bode.evidence.envelope import canonical
from bode.evidence.merkle import leaf_hash
from bode.store import messages, return_path_keys, tables
from bode.store.events import StoredEvent
from bode.store.vault import Vault
from bode_adapters.contract import LetterStatus
from bode_adapters.email import SmtpNotifier
from bode_adapters.email.mock import AcceptedMail, MockMailServer
from bode_adapters.email.mock_reports import DeliveryReport, away_reply, delivery_status
from bode_ops import assembly
from bode_ops.story import render_text

DOMAIN = "retour.example.nl"
UNKNOWN = DeliveryReport("", "failed", "5.1.1", "550 5.1.1 User unknown")
FULL = DeliveryReport("", "failed", "5.2.2", "552 5.2.2 Mailbox full")
DELAYED = DeliveryReport("", "delayed", "4.4.1", "451 4.4.1 no answer from host")
DELIVERED = DeliveryReport("", "delivered", "2.0.0", "250 2.0.0 Ok")

# How every story begins: its events, and the line of the timeline from which the stories tell.
PLACED = """
SubmissionAcceptance L12
preference.snapshot L1 L3
channel.decision L1 L2
ContentConsignment L6 L10
notice.due L3
"""
NOTICE_DUE = "· Kennisgeving staat klaar om te versturen"


MAILBOX_FULL = """
! Kennisgeving niet aangenomen: de mailbox van de ontvanger is vol (452 4.2.2)
  Dit gaat vaak vanzelf over. Bode probeert het opnieuw tot de 48 uur voorbij zijn. Lukt het dan niet, dan
  gaat er een brief.
  [Awb 2:11, tweede lid]
"""


@dataclass
class Town:
    """The worker, the mail server its notices go to, and the port its bounces come to."""

    app: Any
    server: MockMailServer
    port: int

    async def notice(self, local_part: str = "goed.jan", domain: str = "post.example.nl") -> UUID:
        """Place a message, and let its notice go."""
        accepted = await self.app.accept(email=f"{local_part}@{domain}")
        await self.app.settle()
        return accepted.id

    def mail(self, message: UUID) -> AcceptedMail:
        """Give the latest mail of a notice, as the server took it."""
        token = Token(message, 0, Carries.NOTICE)
        look = self.app.parts.return_path.look
        return [mail for mail in self.server.accepted if look(mail.sender).token == token][-1]

    async def report(self, message: UUID, report: DeliveryReport, *, to: str | None = None, **changes: Any) -> None:
        """Let the server report about a notice, to its return path or to another address; then let it be decided."""
        mail = self.mail(message)
        about = {"envelope_id": mail.envelope_id, "arrived": mail.at, "mail": mail.data, **changes}
        await self.server.send_dsn(to or mail.sender, report.returned(recipient=mail.recipients[0], **about))
        assert self.server.unreported == []
        await self.app.settle()

    async def hand_in(self, to: str, mail: bytes) -> None:
        """Hand a mail to the listener as any server would; then let it be decided."""
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=self.port, start_tls=False, timeout=10) as client:
            await client.sendmail("", [to], mail)
        await self.app.settle()

    async def post_letters(self) -> None:
        """Let the print service say that all letters are on the post."""
        for letter in self.app.printer.printed:
            self.app.printer.report(letter, LetterStatus.POSTED)
        await self.app.inbound.read_reports()
        await self.app.settle()

    async def inbound(self) -> list[tuple[str, str]]:
        """Give what became of the mails that came in, in their order."""
        rows = await self.app.rows(tables.inbound, tables.inbound.c.route == "smtp")
        return [(row.state, row.note) for row in sorted(rows, key=lambda row: row.received_at)]

    async def tells(self, message: UUID, *, events: str, text: str) -> None:
        """See that this is the whole story: every event with its law, and the timeline; and that its chain is whole."""
        story = await self.app.events(message)
        assert_the_chain_is_whole(message, story)
        assert [" ".join((event.name, *event.law)) for event in story] == lines(PLACED + events)
        assert lines(await self._timeline(message, story)) == lines(NOTICE_DUE + text)

    async def _timeline(self, message: UUID, story: Sequence[StoredEvent]) -> str:
        """Give the timeline that `bode status` prints, from the notice on and without the times."""
        async with self.app.database.read() as connection:
            known = await messages.get(connection, message)
        delivery, policy = await self.app.delivery(message), self.app.parts.policy
        whole = render_text(known, delivery, [], story, policy=policy, now=self.app.clock.now())
        told = re.sub(r"(?m)^(\S) \d+ \w+ \d{4} om \d\d:\d\d: ", r"\1 ", whole.partition("\nTijdlijn\n")[2])
        return told[told.index(NOTICE_DUE) :]


def lines(text: str) -> list[str]:
    """Give the lines of a text, whatever they are indented by."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def assert_the_chain_is_whole(message: UUID, story: Sequence[StoredEvent]) -> None:
    """Check the chain as a stranger would: each envelope is its own canonical form and names the one before it."""
    previous = GENESIS
    for number, event in enumerate(story, start=1):
        envelope = json.loads(event.envelope)
        assert canonical(envelope) == event.envelope
        assert (envelope["message"], envelope["seq"], event.seq) == (str(message), number, number)
        assert envelope["previous"] == previous.hex()
        assert leaf_hash(event.envelope) == event.hash
        previous = chain_hash(previous, event.hash)


@pytest.fixture
async def town(make_app, sqlite_url, shared):
    vault = Vault(shared.secret)
    app: Any = None
    async with MockMailServer() as server:
        settings = {"host": server.host, "port": server.port, "tls": "none"}
        notifier = SmtpNotifier.from_settings(
            settings, clock=lambda: datetime.now(UTC) if app is None else app.clock.now()
        )
        health = MailHealth(assembly.providers(vault), vault, BurstLimits(provider_least=4))
        app = await make_app(sqlite_url, notifier=notifier, health=health)
        listener = BounceListener(app.inbound, domain=DOMAIN, now=app.clock.real)
        port = await listener.start("127.0.0.1", 0, max_bytes=1_000_000)
        server.report_to = ("127.0.0.1", port)
        await notifier.open()
        yield Town(app, server, port)
        await notifier.close()
        await listener.stop()


# ---- while sending --------------------------------------------------------------------------------------------------


@pytest.mark.law("L7")
async def test_soft_twice_and_then_success(town):
    message = await town.notice("soft-2.jan")
    await town.app.pass_time(hours=3, every=0.5)
    assert town.app.printer.printed == {}
    await town.tells(
        message,
        events="""
        ConsignmentNotificationFailure L7
        ConsignmentNotificationFailure L7
        ConsignmentNotification L3 L4
        """,
        text="""
          De ontvanger moet dit uiterlijk weten op 4 maart 2026 om 10:00: 48 uur na het plaatsen. Bode verstuurt die
          meteen.
          [Awb 2:10, eerste lid]
        ! Kennisgeving niet aangenomen: de mailserver van de ontvanger heeft een storing (451
          4.3.0)
          Dit gaat vaak vanzelf over. Bode probeert het opnieuw tot de 48 uur voorbij zijn. Lukt het dan niet, dan
          gaat er een brief.
          [Awb 2:11, tweede lid]
        ! Kennisgeving niet aangenomen: de mailserver van de ontvanger heeft een storing (451
          4.3.0)
          Dit gaat vaak vanzelf over. Bode probeert het opnieuw tot de 48 uur voorbij zijn. Lukt het dan niet, dan
          gaat er een brief.
          [Awb 2:11, tweede lid]
        ✓ Kennisgeving verstuurd: er staat een bericht in de Berichtenbox van MijnOverheid
          De e-mail is verstuurd. Dat is nog geen bewijs dat hij is aangekomen: hij kan terugkomen. Dit was poging 3.
          [Awb 2:10, eerste lid; Awb 2:10, tweede lid]
        """,
    )


@pytest.mark.law("L7")
async def test_soft_to_the_end_of_the_48_hours_and_then_a_letter(town):
    message = await town.notice("full.jan")
    await town.app.pass_time(hours=50, every=2)
    await town.post_letters()
    assert list(town.app.printer.printed.values()) == [1]
    n = (await town.app.delivery(message)).placements[0].notice.attempts
    assert n in {7, 8}, "the waits are spread a little, by the message"
    await town.tells(
        message,
        events="ConsignmentNotificationFailure L7\n" * n
        + """
        deadline.missed L3 L11
        ConsignmentNotificationFailure L7
        letter.ordered L7
        RelayToNonERDS L6 L7
        letter.posted L7
        """,
        text="""
          De ontvanger moet dit uiterlijk weten op 4 maart 2026 om 10:00: 48 uur na het plaatsen. Bode verstuurt die
          meteen.
          [Awb 2:10, eerste lid]
        """
        + MAILBOX_FULL * n
        + f"""
        ✗ De 48 uur zijn voorbij zonder kennisgeving
          Er is {n} keer geprobeerd. Dit kan gevolgen hebben als de ontvanger een termijn mist (Awb 2:22). Er gaat een
          brief. Daarin staat dat er een bericht klaarstaat en hoe de ontvanger een e-mailadres kan doorgeven. De
          inhoud van het bericht staat er niet in.
          [Awb 2:10, eerste lid; Awb 2:22]
        ✗ Kennisgeving per e-mail lukt niet
          Bode probeert het niet meer per e-mail.
          [Awb 2:11, tweede lid]
        · Brief over de kennisgeving besteld
          Reden: de kennisgeving per e-mail is niet binnen 48 uur gelukt. De inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid]
        · Brief over de kennisgeving: bij de drukker
          1 bladzijde. De drukker heeft de brief ontvangen. Er volgt een melding als hij op de post is.
          [Awb 2:11, eerste lid; Awb 2:11, tweede lid]
        ✓ Brief over de kennisgeving: op de post (posted)
          De tijd komt van de drukker.
          [Awb 2:11, tweede lid]
        """,
    )


@pytest.mark.law("L7")
async def test_hard_and_then_a_letter_at_once(town):
    message = await town.notice("unknown.jan")
    await town.post_letters()
    await town.app.pass_time(hours=60, every=12)
    assert list(town.app.printer.printed.values()) == [1]
    await town.tells(
        message,
        events="""
        ConsignmentNotificationFailure L7
        ConsignmentNotificationFailure L7
        letter.ordered L7
        RelayToNonERDS L6 L7
        letter.posted L7
        """,
        text="""
          De ontvanger moet dit uiterlijk weten op 4 maart 2026 om 10:00: 48 uur na het plaatsen. Bode verstuurt die
          meteen.
          [Awb 2:10, eerste lid]
        ✗ Kennisgeving niet aangenomen: dit e-mailadres bestaat niet (550 5.1.1)
          Nog eens sturen helpt niet. Er gaat een brief. Daarin staat dat er een bericht klaarstaat en hoe de
          ontvanger een e-mailadres kan doorgeven. De inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid]
        ✗ Kennisgeving per e-mail lukt niet
          Bode probeert het niet meer per e-mail.
          [Awb 2:11, tweede lid]
        · Brief over de kennisgeving besteld
          Reden: de kennisgeving per e-mail kan niet worden afgeleverd. De inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid]
        · Brief over de kennisgeving: bij de drukker
          1 bladzijde. De drukker heeft de brief ontvangen. Er volgt een melding als hij op de post is.
          [Awb 2:11, eerste lid; Awb 2:11, tweede lid]
        ✓ Brief over de kennisgeving: op de post (posted)
          De tijd komt van de drukker.
          [Awb 2:11, tweede lid]
        """,
    )


# ---- reports that come later ----------------------------------------------------------------------------------------


@pytest.mark.law("L7", "L11")
async def test_hard_weeks_after_success_and_then_a_letter(town):
    message = await town.notice()
    town.app.clock.move(days=30)
    await town.report(message, UNKNOWN)
    await town.post_letters()
    assert await town.inbound() == [("matched", "hard")]
    await town.tells(
        message,
        events="""
        ConsignmentNotification L3 L4
        bounce.received L7
        ConsignmentNotificationFailure L7
        letter.ordered L7
        RelayToNonERDS L6 L7
        letter.posted L7
        """,
        text="""
          De ontvanger moet dit uiterlijk weten op 4 maart 2026 om 10:00: 48 uur na het plaatsen. Bode verstuurt die
          meteen.
          [Awb 2:10, eerste lid]
        ✓ Kennisgeving verstuurd: er staat een bericht in de Berichtenbox van MijnOverheid
          De e-mail is verstuurd. Dat is nog geen bewijs dat hij is aangekomen: hij kan terugkomen.
          [Awb 2:10, eerste lid; Awb 2:10, tweede lid]
        ✗ Kennisgeving teruggekomen: dit e-mailadres bestaat niet (550 5.1.1)
          Nog eens sturen helpt niet. Er gaat een brief. Daarin staat dat er een bericht klaarstaat en hoe de
          ontvanger een e-mailadres kan doorgeven. De inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid]
        ✗ Kennisgeving per e-mail lukt niet
          Bode probeert het niet meer per e-mail.
          [Awb 2:11, tweede lid]
        · Brief over de kennisgeving besteld
          Reden: de kennisgeving per e-mail kan niet worden afgeleverd. De inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid]
        · Brief over de kennisgeving: bij de drukker
          1 bladzijde. De drukker heeft de brief ontvangen. Er volgt een melding als hij op de post is.
          [Awb 2:11, eerste lid; Awb 2:11, tweede lid]
        ✓ Brief over de kennisgeving: op de post (posted)
          De tijd komt van de drukker.
          [Awb 2:11, tweede lid]
        """,
    )


async def test_the_same_bounce_twice_is_told_once_and_another_about_the_same_mail_changes_nothing(town):
    message = await town.notice()
    mail = town.mail(message)
    about = UNKNOWN.returned(recipient="goed.jan@post.example.nl", envelope_id=None, arrived=mail.at, mail=mail.data)
    bounce = delivery_status(mail.sender, about, reporting_mta="mx.example.nl", at=town.app.clock.now())
    for _ in range(2):
        await town.hand_in(mail.sender, bounce)
    town.app.clock.move(minutes=1)
    await town.report(message, UNKNOWN)
    await town.post_letters()
    assert await town.inbound() == [("matched", "hard")] * 2
    assert list(town.app.printer.printed.values()) == [1]
    await town.tells(
        message,
        events="""
        ConsignmentNotification L3 L4
        bounce.received L7
        ConsignmentNotificationFailure L7
        letter.ordered L7
        RelayToNonERDS L6 L7
        bounce.received L7
        letter.posted L7
        """,
        text="""
          De ontvanger moet dit uiterlijk weten op 4 maart 2026 om 10:00: 48 uur na het plaatsen. Bode verstuurt die
          meteen.
          [Awb 2:10, eerste lid]
        ✓ Kennisgeving verstuurd: er staat een bericht in de Berichtenbox van MijnOverheid
          De e-mail is verstuurd. Dat is nog geen bewijs dat hij is aangekomen: hij kan terugkomen.
          [Awb 2:10, eerste lid; Awb 2:10, tweede lid]
        ✗ Kennisgeving teruggekomen: dit e-mailadres bestaat niet (550 5.1.1)
          Nog eens sturen helpt niet. Er gaat een brief. Daarin staat dat er een bericht klaarstaat en hoe de
          ontvanger een e-mailadres kan doorgeven. De inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid]
        ✗ Kennisgeving per e-mail lukt niet
          Bode probeert het niet meer per e-mail.
          [Awb 2:11, tweede lid]
        · Brief over de kennisgeving besteld
          Reden: de kennisgeving per e-mail kan niet worden afgeleverd. De inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid]
        · Brief over de kennisgeving: bij de drukker
          1 bladzijde. De drukker heeft de brief ontvangen. Er volgt een melding als hij op de post is.
          [Awb 2:11, eerste lid; Awb 2:11, tweede lid]
        · Kennisgeving teruggekomen: dit e-mailadres bestaat niet (550 5.1.1)
          Dit verandert niets: er was al een andere weg gekozen.
          [Awb 2:11, tweede lid]
        ✓ Brief over de kennisgeving: op de post (posted)
          De tijd komt van de drukker.
          [Awb 2:11, tweede lid]
        """,
    )


async def test_a_full_mailbox_reported_after_success_is_tried_again(town):
    message = await town.notice()
    town.app.clock.move(hours=2)
    await town.report(message, FULL)
    await town.app.pass_time(hours=3, every=0.5)
    assert len(town.server.accepted) == 2
    assert town.app.printer.printed == {}
    await town.tells(
        message,
        events="""
        ConsignmentNotification L3 L4
        bounce.received L7
        ConsignmentNotification L3 L4
        """,
        text="""
          De ontvanger moet dit uiterlijk weten op 4 maart 2026 om 10:00: 48 uur na het plaatsen. Bode verstuurt die
          meteen.
          [Awb 2:10, eerste lid]
        ✓ Kennisgeving verstuurd: er staat een bericht in de Berichtenbox van MijnOverheid
          De e-mail is verstuurd. Dat is nog geen bewijs dat hij is aangekomen: hij kan terugkomen.
          [Awb 2:10, eerste lid; Awb 2:10, tweede lid]
        ! Kennisgeving teruggekomen: de mailbox van de ontvanger is vol (552 5.2.2)
          Dit gaat vaak vanzelf over. Bode probeert het opnieuw tot de 48 uur voorbij zijn. Lukt het dan niet, dan
          gaat er een brief.
          [Awb 2:11, tweede lid]
        ✓ Kennisgeving verstuurd: er staat een bericht in de Berichtenbox van MijnOverheid
          De e-mail is verstuurd. Dat is nog geen bewijs dat hij is aangekomen: hij kan terugkomen. Dit was poging 2.
          [Awb 2:10, eerste lid; Awb 2:10, tweede lid]
        """,
    )


async def test_delayed_and_then_delivered_changes_nothing(town):
    message = await town.notice()
    await town.report(message, DELAYED)
    town.app.clock.move(hours=5)
    await town.report(message, DELIVERED)
    await town.app.pass_time(hours=60, every=12)
    assert await town.inbound() == [("matched", "not_a_bounce")] * 2
    assert town.app.printer.printed == {}
    await town.tells(
        message,
        events="""
        ConsignmentNotification L3 L4
        bounce.received L7
        bounce.received L7
        """,
        text="""
          De ontvanger moet dit uiterlijk weten op 4 maart 2026 om 10:00: 48 uur na het plaatsen. Bode verstuurt die
          meteen.
          [Awb 2:10, eerste lid]
        ✓ Kennisgeving verstuurd: er staat een bericht in de Berichtenbox van MijnOverheid
          De e-mail is verstuurd. Dat is nog geen bewijs dat hij is aangekomen: hij kan terugkomen.
          [Awb 2:10, eerste lid; Awb 2:10, tweede lid]
        · Antwoord op de kennisgeving: het afleveren duurt langer, de mailserver probeert het
          nog (action-delayed)
          Dit zegt niet dat de e-mail niet is aangekomen. Er verandert niets.
          [Awb 2:11, tweede lid]
        · Antwoord op de kennisgeving: de mailserver meldt dat de e-mail is aangekomen
          (action-arrived)
          Er verandert niets.
          [Awb 2:11, tweede lid]
        """,
    )


async def test_out_of_office_changes_nothing(town):
    message = await town.notice()
    mail = town.mail(message)
    reply = away_reply(mail.sender, sender="goed.jan@post.example.nl", about=mail.data, at=town.app.clock.now())
    await town.hand_in(mail.sender, reply)
    assert await town.inbound() == [("matched", "not_a_bounce")]
    await town.tells(
        message,
        events="""
        ConsignmentNotification L3 L4
        bounce.received L7
        """,
        text="""
          De ontvanger moet dit uiterlijk weten op 4 maart 2026 om 10:00: 48 uur na het plaatsen. Bode verstuurt die
          meteen.
          [Awb 2:10, eerste lid]
        ✓ Kennisgeving verstuurd: er staat een bericht in de Berichtenbox van MijnOverheid
          De e-mail is verstuurd. Dat is nog geen bewijs dat hij is aangekomen: hij kan terugkomen.
          [Awb 2:10, eerste lid; Awb 2:10, tweede lid]
        · Antwoord op de kennisgeving: er kwam een automatisch antwoord, bijvoorbeeld omdat
          iemand afwezig is (kind-auto-reply-subject)
          Dit zegt niet dat de e-mail niet is aangekomen. Er verandert niets.
          [Awb 2:11, tweede lid]
        """,
    )


# ---- ours or not ----------------------------------------------------------------------------------------------------


def forged(message: UUID, app: Any) -> str:
    """Make a return path as somebody does who knows all of ours but the key."""
    other = ReturnPath(Vault(bytes(32)).return_path_key, DOMAIN, valid=timedelta(days=60), now=app.clock.now)
    return other.make(Token(message, 0, Carries.NOTICE))


async def test_forged_is_ignored_and_stands_in_the_list_with_why(town):
    message = await town.notice()
    address = forged(message, town.app)
    await town.report(message, UNKNOWN, to=address, envelope_id=None)
    town.app.clock.move(minutes=1)
    local_part = address.partition("@")[0]
    await town.report(message, UNKNOWN, to=f"postmaster@{DOMAIN}", envelope_id=f"{message}.{local_part}")
    assert await town.inbound() == [("ignored", "forged")] * 2
    await town.app.pass_time(hours=60, every=12)
    assert town.app.printer.printed == {}
    await town.tells(
        message,
        events="""
        ConsignmentNotification L3 L4
        """,
        text="""
          De ontvanger moet dit uiterlijk weten op 4 maart 2026 om 10:00: 48 uur na het plaatsen. Bode verstuurt die
          meteen.
          [Awb 2:10, eerste lid]
        ✓ Kennisgeving verstuurd: er staat een bericht in de Berichtenbox van MijnOverheid
          De e-mail is verstuurd. Dat is nog geen bewijs dat hij is aangekomen: hij kan terugkomen.
          [Awb 2:10, eerste lid; Awb 2:10, tweede lid]
        """,
    )


async def test_expired_is_ignored_and_shows_which_message_it_was_about(town):
    message = await town.notice()
    mail = town.mail(message)
    town.app.clock.move(days=61)
    await town.report(message, UNKNOWN)
    assert await town.inbound() == [("ignored", "expired")]
    (row,) = await town.app.rows(tables.inbound)
    assert row.message_id == message
    assert mail.envelope_id is not None, "the envelope id is as old as the return path"
    assert town.app.printer.printed == {}
    await town.tells(
        message,
        events="""
        ConsignmentNotification L3 L4
        """,
        text="""
          De ontvanger moet dit uiterlijk weten op 4 maart 2026 om 10:00: 48 uur na het plaatsen. Bode verstuurt die
          meteen.
          [Awb 2:10, eerste lid]
        ✓ Kennisgeving verstuurd: er staat een bericht in de Berichtenbox van MijnOverheid
          De e-mail is verstuurd. Dat is nog geen bewijs dat hij is aangekomen: hij kan terugkomen.
          [Awb 2:10, eerste lid; Awb 2:10, tweede lid]
        """,
    )


async def test_a_report_that_lost_the_return_path_is_matched_by_the_envelope_id(town):
    message = await town.notice()
    await town.report(message, UNKNOWN, to=f"postmaster@{DOMAIN}")
    await town.post_letters()
    assert await town.inbound() == [("matched", "hard")]
    await town.tells(
        message,
        events="""
        ConsignmentNotification L3 L4
        bounce.received L7
        ConsignmentNotificationFailure L7
        letter.ordered L7
        RelayToNonERDS L6 L7
        letter.posted L7
        """,
        text="""
          De ontvanger moet dit uiterlijk weten op 4 maart 2026 om 10:00: 48 uur na het plaatsen. Bode verstuurt die
          meteen.
          [Awb 2:10, eerste lid]
        ✓ Kennisgeving verstuurd: er staat een bericht in de Berichtenbox van MijnOverheid
          De e-mail is verstuurd. Dat is nog geen bewijs dat hij is aangekomen: hij kan terugkomen.
          [Awb 2:10, eerste lid; Awb 2:10, tweede lid]
        ✗ Kennisgeving teruggekomen: dit e-mailadres bestaat niet (550 5.1.1)
          Nog eens sturen helpt niet. Er gaat een brief. Daarin staat dat er een bericht klaarstaat en hoe de
          ontvanger een e-mailadres kan doorgeven. De inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid]
        ✗ Kennisgeving per e-mail lukt niet
          Bode probeert het niet meer per e-mail.
          [Awb 2:11, tweede lid]
        · Brief over de kennisgeving besteld
          Reden: de kennisgeving per e-mail kan niet worden afgeleverd. De inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid]
        · Brief over de kennisgeving: bij de drukker
          1 bladzijde. De drukker heeft de brief ontvangen. Er volgt een melding als hij op de post is.
          [Awb 2:11, eerste lid; Awb 2:11, tweede lid]
        ✓ Brief over de kennisgeving: op de post (posted)
          De tijd komt van de drukker.
          [Awb 2:11, tweede lid]
        """,
    )


async def test_a_report_with_our_message_id_alone_waits_for_a_person_beside_its_message(town):
    message = await town.notice()
    await town.report(message, UNKNOWN, to=f"postmaster@{DOMAIN}", envelope_id=None)
    (row,) = await town.app.rows(tables.inbound)
    assert (row.state, row.note, row.message_id) == ("unmatched", "no_return_path", message)
    await town.app.pass_time(hours=12, every=6)
    assert town.app.printer.printed == {}, "anybody can write a Message-ID"
    said = await town.app.inbound.match(row.key, message, by="Anna", reason="gebeld")
    assert said == "matched, hard: user_unknown"
    await town.app.settle()
    await town.post_letters()
    await town.tells(
        message,
        events="""
        ConsignmentNotification L3 L4
        bounce.received L7
        staff.action L7 L9
        ConsignmentNotificationFailure L7
        letter.ordered L7
        RelayToNonERDS L6 L7
        letter.posted L7
        """,
        text="""
          De ontvanger moet dit uiterlijk weten op 4 maart 2026 om 10:00: 48 uur na het plaatsen. Bode verstuurt die
          meteen.
          [Awb 2:10, eerste lid]
        ✓ Kennisgeving verstuurd: er staat een bericht in de Berichtenbox van MijnOverheid
          De e-mail is verstuurd. Dat is nog geen bewijs dat hij is aangekomen: hij kan terugkomen.
          [Awb 2:10, eerste lid; Awb 2:10, tweede lid]
        ✗ Kennisgeving teruggekomen: dit e-mailadres bestaat niet (550 5.1.1)
          Anna heeft dit antwoord bij dit bericht gezocht, met als reden: gebeld. Nog eens sturen helpt niet. Er gaat
          een brief. Daarin staat dat er een bericht klaarstaat en hoe de ontvanger een e-mailadres kan doorgeven. De
          inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid]
        ? Anna zegt dat deze teruggekomen mail over dit bericht gaat
          Reden: gebeld.
          [Awb 2:11, tweede lid; Awb 2:12]
        ✗ Kennisgeving per e-mail lukt niet
          Bode probeert het niet meer per e-mail.
          [Awb 2:11, tweede lid]
        · Brief over de kennisgeving besteld
          Reden: de kennisgeving per e-mail kan niet worden afgeleverd. De inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid]
        · Brief over de kennisgeving: bij de drukker
          1 bladzijde. De drukker heeft de brief ontvangen. Er volgt een melding als hij op de post is.
          [Awb 2:11, eerste lid; Awb 2:11, tweede lid]
        ✓ Brief over de kennisgeving: op de post (posted)
          De tijd komt van de drukker.
          [Awb 2:11, tweede lid]
        """,
    )


async def test_a_stray_report_about_a_mail_of_somebody_else_is_ignored(town):
    message = await town.notice()
    await town.report(message, UNKNOWN, to=f"postmaster@{DOMAIN}", envelope_id="M42", mail=b"Message-ID: <x@y>\r\n\r\n")
    await town.report(message, DELAYED, to=f"postmaster@{DOMAIN}", envelope_id=None)
    assert await town.inbound() == [("ignored", "no_return_path")] * 2
    await town.tells(
        message,
        events="""
        ConsignmentNotification L3 L4
        """,
        text="""
          De ontvanger moet dit uiterlijk weten op 4 maart 2026 om 10:00: 48 uur na het plaatsen. Bode verstuurt die
          meteen.
          [Awb 2:10, eerste lid]
        ✓ Kennisgeving verstuurd: er staat een bericht in de Berichtenbox van MijnOverheid
          De e-mail is verstuurd. Dat is nog geen bewijs dat hij is aangekomen: hij kan terugkomen.
          [Awb 2:10, eerste lid; Awb 2:10, tweede lid]
        """,
    )


async def test_a_bounce_under_an_older_key_counts_until_that_key_is_removed(town):
    app = town.app
    first, second = await town.notice(), await town.notice("goed.piet", "andere.example.nl")
    async with app.database.write() as connection:
        await return_path_keys.rotate(connection, by="Anna", reason="jaarlijks", now=app.clock.now())
    third = await town.notice("goed.klaas", "derde.example.nl")
    await town.report(first, UNKNOWN)
    mail = town.mail(second)
    async with app.database.write() as connection:
        await return_path_keys.remove(connection, 1, by="Anna", reason="gelekt", now=app.clock.now())
    about = UNKNOWN.returned(recipient=mail.recipients[0], envelope_id=mail.envelope_id, arrived=mail.at, mail=b"")
    app.clock.move(minutes=1)
    await town.server.send_dsn(mail.sender, about)
    await app.settle()
    app.clock.move(minutes=1)
    await town.report(third, UNKNOWN)
    assert await town.inbound() == [("matched", "hard"), ("ignored", "key_removed"), ("matched", "hard")]
    await town.post_letters()
    message = first
    await town.tells(
        message,
        events="""
        ConsignmentNotification L3 L4
        bounce.received L7
        ConsignmentNotificationFailure L7
        letter.ordered L7
        RelayToNonERDS L6 L7
        letter.posted L7
        """,
        text="""
          De ontvanger moet dit uiterlijk weten op 4 maart 2026 om 10:00: 48 uur na het plaatsen. Bode verstuurt die
          meteen.
          [Awb 2:10, eerste lid]
        ✓ Kennisgeving verstuurd: er staat een bericht in de Berichtenbox van MijnOverheid
          De e-mail is verstuurd. Dat is nog geen bewijs dat hij is aangekomen: hij kan terugkomen.
          [Awb 2:10, eerste lid; Awb 2:10, tweede lid]
        ✗ Kennisgeving teruggekomen: dit e-mailadres bestaat niet (550 5.1.1)
          Nog eens sturen helpt niet. Er gaat een brief. Daarin staat dat er een bericht klaarstaat en hoe de
          ontvanger een e-mailadres kan doorgeven. De inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid]
        ✗ Kennisgeving per e-mail lukt niet
          Bode probeert het niet meer per e-mail.
          [Awb 2:11, tweede lid]
        · Brief over de kennisgeving besteld
          Reden: de kennisgeving per e-mail kan niet worden afgeleverd. De inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid]
        · Brief over de kennisgeving: bij de drukker
          1 bladzijde. De drukker heeft de brief ontvangen. Er volgt een melding als hij op de post is.
          [Awb 2:11, eerste lid; Awb 2:11, tweede lid]
        ✓ Brief over de kennisgeving: op de post (posted)
          De tijd komt van de drukker.
          [Awb 2:11, tweede lid]
        """,
    )


# ---- many at once ---------------------------------------------------------------------------------------------------


@pytest.mark.law("L7")
async def test_a_burst_holds_the_letters_until_a_person_decides(town):
    app = town.app
    ids = [await town.notice(f"goed.p{number}", "gmail.com") for number in range(5)]
    app.clock.move(hours=1)
    for message in ids:
        mail = town.mail(message)
        report = UNKNOWN.returned(
            recipient=mail.recipients[0], envelope_id=mail.envelope_id, arrived=mail.at, mail=mail.data
        )
        await town.server.send_dsn(mail.sender, report)
    await app.settle()
    message = ids[-1]
    await app.pass_time(hours=50, every=10)
    assert app.printer.printed == {}, "not even at the end of the 48 hours"
    await app.lanes.apply([(one, ev.BurstDecided("mijnoverheid", True, "Anna", "gebeld")) for one in ids])
    await app.settle()
    await town.post_letters()
    assert sorted(app.printer.printed.values()) == [1] * 5
    await town.tells(
        message,
        events="""
        ConsignmentNotification L3 L4
        bounce.received L7
        notice.held L7
        attention.asked L6
        staff.action L7 L9
        ConsignmentNotificationFailure L7
        letter.ordered L7
        RelayToNonERDS L6 L7
        letter.posted L7
        """,
        text="""
          De ontvanger moet dit uiterlijk weten op 4 maart 2026 om 10:00: 48 uur na het plaatsen. Bode verstuurt die
          meteen.
          [Awb 2:10, eerste lid]
        ✓ Kennisgeving verstuurd: er staat een bericht in de Berichtenbox van MijnOverheid
          De e-mail is verstuurd. Dat is nog geen bewijs dat hij is aangekomen: hij kan terugkomen.
          [Awb 2:10, eerste lid; Awb 2:10, tweede lid]
        ✗ Kennisgeving teruggekomen: dit e-mailadres bestaat niet (550 5.1.1)
          Nog eens sturen helpt niet.
          [Awb 2:11, tweede lid]
        ? Brief aangehouden: dit e-mailadres bestaat niet
          Er kwamen in korte tijd veel e-mails terug. Misschien klopt er iets anders niet dan dit adres. Er gaat geen
          brief tot een medewerker heeft beslist.
          [Awb 2:11, tweede lid]
        ? Een medewerker moet kijken: er kwamen in korte tijd veel e-mails terug, dus misschien
          klopt er iets anders niet
          Kijk wat er aan de hand is: een storing bij de mailprovider, of verkeerde e-mailadressen van de afzender.
          Beslis dan voor alle berichten tegelijk met 'bode bounce decide': een brief, of nog eens proberen?
          [Awb 2:11, eerste lid]
        ? Anna bevestigt dat dit e-mailadres niet werkt
          Reden: gebeld. Er gaat een brief. Daarin staat dat er een bericht klaarstaat en hoe de ontvanger een
          e-mailadres kan doorgeven. De inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid; Awb 2:12]
        ✗ Kennisgeving per e-mail lukt niet
          De laatste reden: dit e-mailadres bestaat niet. Er gaat een brief. Daarin staat dat er een bericht
          klaarstaat en hoe de ontvanger een e-mailadres kan doorgeven. De inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid]
        · Brief over de kennisgeving besteld
          Reden: de kennisgeving per e-mail kan niet worden afgeleverd. De inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid]
        · Brief over de kennisgeving: bij de drukker
          1 bladzijde. De drukker heeft de brief ontvangen. Er volgt een melding als hij op de post is.
          [Awb 2:11, eerste lid; Awb 2:11, tweede lid]
        ✓ Brief over de kennisgeving: op de post (posted)
          De tijd komt van de drukker.
          [Awb 2:11, tweede lid]
        """,
    )


async def test_the_first_of_a_burst_has_its_letter_called_back(town):
    app = town.app
    ids = [await town.notice(f"goed.p{number}", "gmail.com") for number in range(5)]
    await app.stop_lane("print")
    for message in ids:
        await town.report(message, UNKNOWN)
    assert app.printer.printed == {}
    message = ids[0]
    await app.lanes.apply([(one, ev.BurstDecided("mijnoverheid", False, "Anna", "storing")) for one in ids])
    await app.start_lane("print")
    await app.settle()
    assert app.printer.printed == {}
    await town.tells(
        message,
        events="""
        ConsignmentNotification L3 L4
        bounce.received L7
        ConsignmentNotificationFailure L7
        letter.ordered L7
        notice.held L7
        attention.asked L6
        staff.action L7 L9
        ConsignmentNotification L3 L4
        """,
        text="""
          De ontvanger moet dit uiterlijk weten op 4 maart 2026 om 10:00: 48 uur na het plaatsen. Bode verstuurt die
          meteen.
          [Awb 2:10, eerste lid]
        ✓ Kennisgeving verstuurd: er staat een bericht in de Berichtenbox van MijnOverheid
          De e-mail is verstuurd. Dat is nog geen bewijs dat hij is aangekomen: hij kan terugkomen.
          [Awb 2:10, eerste lid; Awb 2:10, tweede lid]
        ✗ Kennisgeving teruggekomen: dit e-mailadres bestaat niet (550 5.1.1)
          Nog eens sturen helpt niet. Er gaat een brief. Daarin staat dat er een bericht klaarstaat en hoe de
          ontvanger een e-mailadres kan doorgeven. De inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid]
        ✗ Kennisgeving per e-mail lukt niet
          Bode probeert het niet meer per e-mail.
          [Awb 2:11, tweede lid]
        · Brief over de kennisgeving besteld
          Reden: de kennisgeving per e-mail kan niet worden afgeleverd. De inhoud van het bericht staat er niet in.
          [Awb 2:11, tweede lid]
        ? Brief aangehouden: dit e-mailadres bestaat niet
          Er kwamen in korte tijd veel e-mails terug. Misschien klopt er iets anders niet dan dit adres. Er gaat geen
          brief tot een medewerker heeft beslist.
          [Awb 2:11, tweede lid]
        ? Een medewerker moet kijken: er kwamen in korte tijd veel e-mails terug, dus misschien
          klopt er iets anders niet
          Kijk wat er aan de hand is: een storing bij de mailprovider, of verkeerde e-mailadressen van de afzender.
          Beslis dan voor alle berichten tegelijk met 'bode bounce decide': een brief, of nog eens proberen?
          [Awb 2:11, eerste lid]
        ? Anna laat de kennisgeving nog eens versturen
          Reden: storing.
          [Awb 2:11, tweede lid; Awb 2:12]
        ✓ Kennisgeving verstuurd: er staat een bericht in de Berichtenbox van MijnOverheid
          De e-mail is verstuurd. Dat is nog geen bewijs dat hij is aangekomen: hij kan terugkomen. Dit was poging 2.
          [Awb 2:10, eerste lid; Awb 2:10, tweede lid]
        """,
    )
