"""Mail health: addresses that fail are remembered, bursts hold letters, and a stopped lane tries itself again."""

import pytest

from bode.domain import events as ev
from bode.domain.bounces import Reason, Verdict
from bode.domain.parts import AttentionReason, DeliveryState, LetterReason, Outcome
from bode.domain.parts import NoticeState as N
from bode.engine.inbound import Raw
from bode.engine.mail_health import Balance, BurstLimits, MailHealth
from bode.store import mail_health, steps, tables
from bode.store.mail_health import BurstKind
from bode.store.vault import Vault
from bode_adapters.contract import MailRefused
from bode_adapters.email.mock_reports import DeliveryReport, delivery_status
from bode_ops import assembly
from bode_ops.exporter import GUARDED_MAILS, HARD_BOUNCE_RATE, DatabaseMetrics

LIMITS = BurstLimits(provider_least=5, organisation_least=8)
"""Small bursts, so that a test need not send hundreds of mails."""
UNKNOWN = MailRefused("rcpt_to", 550, "550 5.1.1 User unknown")
BLOCKED = MailRefused("after_dot", 554, "554 5.7.1 Service unavailable; client host blocked using a blocklist")


@pytest.fixture
async def app(make_app, database_url, shared):
    vault = Vault(shared.secret)
    return await make_app(database_url, health=MailHealth(assembly.providers(vault), vault, LIMITS))


def answer(app, code):
    """Let the mail server answer every notice so, until told otherwise."""
    app.notifier.script.rule = None if code is None else lambda _: code


async def notice(app, message):
    return (await app.delivery(message)).placements[0].notice.state


async def send(app, number, domain="gmail.com", **changes):
    accepted = [await app.accept(email=f"p{n}.{number}@{domain}", **changes) for n in range(number)]
    await app.settle()
    return [one.id for one in accepted]


# ---- memory -------------------------------------------------------------------------------------------------------


@pytest.mark.law("L7")
async def test_an_address_that_bounced_hard_gets_a_letter_at_once_the_next_time(app):
    answer(app, UNKNOWN)
    first = await app.accept(email="weg@post.example.nl")
    await app.settle()
    answer(app, None)
    app.clock.move(days=3)
    second = await app.accept(email="Weg@post.example.nl")
    await app.settle()
    assert await notice(app, first.id) is await notice(app, second.id) is N.UNDELIVERABLE
    delivery = await app.delivery(second.id)
    assert [letter.reason for letter in delivery.letters] == [LetterReason.ADDRESS_FAILING]
    (impossible,) = await app.named(second.id, "notice.impossible")
    assert impossible.detail["bounced"] == Reason.USER_UNKNOWN
    assert not await app.named(second.id, "ConsignmentNotification")


async def test_an_address_given_anew_is_trusted_again(app):
    answer(app, UNKNOWN)
    await app.accept(email="weg@post.example.nl")
    await app.settle()
    answer(app, None)
    app.clock.move(days=3)
    given = {"email": "weg@post.example.nl", "opgegevenTijdstip": app.clock.now().isoformat()}
    app.clock.move(hours=1)
    again = await app.accept(kennisgeving=given)
    await app.settle()
    assert await notice(app, again.id) is N.SENT
    assert await app.rows(tables.failing_address) == []


async def test_an_address_fails_for_one_organisation_only(app):
    answer(app, UNKNOWN)
    await app.accept(email="weg@post.example.nl")
    await app.settle()
    answer(app, None)
    other = await app.accept(email="weg@post.example.nl", afzender="00000001999000020000")
    await app.settle()
    assert await notice(app, other.id) is N.SENT


async def test_no_address_stands_in_the_tables_of_mail(app):
    answer(app, UNKNOWN)
    await app.accept(email="geheim.adres@familienaam.example.nl")
    await app.settle()
    for table in (tables.failing_address, tables.hard_bounce, tables.mail_count):
        for row in await app.rows(table):
            assert "familienaam" not in str(tuple(row))


# ---- bursts -------------------------------------------------------------------------------------------------------


async def test_a_burst_from_one_provider_holds_letters_until_a_person_confirms(app):
    """Case 19 of the bounce rules."""
    answer(app, UNKNOWN)
    messages = await send(app, 7)
    assert app.printer.printed == {}, "the burst is seen before a letter leaves"
    assert [await notice(app, message) for message in messages] == [N.HELD] * 7
    delivery = await app.delivery(messages[0])
    assert delivery.state is DeliveryState.NEEDS_PERSON
    assert delivery.attention[0].reason is AttentionReason.BURST
    await app.lanes.apply([(message, ev.BurstDecided("mijnoverheid", True, "Anna", "gebeld")) for message in messages])
    await app.settle()
    assert [await notice(app, message) for message in messages] == [N.UNDELIVERABLE] * 7
    assert sorted(app.printer.printed.values()) == [1] * 7
    (act,) = await app.named(messages[0], "staff.action")
    assert act.detail == {"act": "burst_confirmed", "by": "Anna"}
    assert act.details == {"reason": "gebeld"}


async def test_a_burst_that_is_not_real_is_sent_again(app):
    answer(app, UNKNOWN)
    messages = await send(app, 7)
    answer(app, None)
    await app.lanes.apply(
        [(message, ev.BurstDecided("mijnoverheid", False, "Anna", "storing")) for message in messages]
    )
    await app.settle()
    assert {(await app.delivery(message)).outcome for message in messages} == {Outcome.NOTICED}
    assert app.printer.printed == {}


async def test_the_end_of_the_48_hours_is_recorded_for_a_held_notice_and_no_letter_goes(app):
    answer(app, UNKNOWN)
    messages = await send(app, 6)
    await app.pass_time(hours=60, every=12)
    assert len(await app.named(messages[0], "deadline.missed")) == 1
    assert await notice(app, messages[0]) is N.HELD
    assert app.printer.printed == {}


async def test_bounces_among_much_good_mail_are_no_burst(app):
    await send(app, 40)
    answer(app, UNKNOWN)
    messages = await send(app, 6)
    assert [await notice(app, message) for message in messages] == [N.UNDELIVERABLE] * 6
    assert len(app.printer.printed) == 6


async def test_reports_that_repeat_themselves_are_no_burst(app):
    ids = await send(app, 2)
    for number in range(10):
        for message in ids:
            report = DeliveryReport("x@gmail.com", diagnostic="550 5.1.1 User unknown", status=f"5.1.{number}")
            mail = delivery_status(app.return_path(message), report, reporting_mta="mx.example.nl", at=app.clock.now())
            raw = Raw(f"{message}-{number}", "smtp", app.clock.real(), app.return_path(message).encode() + b"\n" + mail)
            await app.inbound.store(raw)
    await app.settle()
    assert [await notice(app, message) for message in ids] == [N.UNDELIVERABLE] * 2
    assert len(await app.rows(tables.hard_bounce)) == 2
    assert await app.rows(tables.burst) == []


async def test_the_rate_of_hard_bounces_is_told_by_organisation_and_listed_provider_only(app):
    await send(app, 6, domain="gmail.com")
    await send(app, 3, domain="ziggo.nl", afzender="00000001999000020000")
    answer(app, UNKNOWN)
    await send(app, 2, domain="gmail.com")
    await send(app, 1, domain="familie-jansen.example.nl")
    await send(app, 1, domain="familie-bakker.example.nl")
    await DatabaseMetrics(app.parts).refresh()

    def told(metric):
        return {(*sample.labels.values(),): sample.value for family in metric.collect() for sample in family.samples}

    one, other = "00000001999000010000", "00000001999000020000"
    assert told(HARD_BOUNCE_RATE) == {(one, "google"): 0.25, (other, "ziggo"): 0.0, (one, "other"): 1.0}
    assert told(GUARDED_MAILS)[one, "other", "hard"] == 2
    assert told(GUARDED_MAILS)[one, "google", "sent"] == 6
    app.clock.move(hours=8)
    await DatabaseMetrics(app.parts).refresh()
    assert told(HARD_BOUNCE_RATE) == told(GUARDED_MAILS) == {}


async def test_a_message_itself_that_bounces_is_remembered_and_counted_as_a_notice_is(app, body):
    laag = {"vertrouwelijkheid": "laag", "aard": "overig", "termijn": None}
    app.mail.script.rule = lambda _: UNKNOWN
    await app.accept(body(channels=("email",), email="weg@gmail.com", **laag))
    await app.settle()
    app.mail.script.rule = None
    await app.accept(body(channels=("email",), email="goed@gmail.com", **laag))
    await app.settle()
    assert len(await app.rows(tables.failing_address)) == 1
    async with app.database.read() as connection:
        balance = await app.parts.health.balances(connection, app.clock.now())
    assert balance == {("00000001999000010000", "google"): Balance(1, 1)}


async def test_domains_that_do_not_exist_are_nobodys_burst_but_the_senders(app):
    answer(app, MailRefused("rcpt_to", 550, "550 5.1.2 Host unknown (Name server: gmial.com: host not found)"))
    await send(app, 6, domain="gmial.com")
    async with app.database.read() as connection:
        assert await mail_health.open_bursts(connection) == []
    await send(app, 6, domain="hotmial.nl")
    async with app.database.read() as connection:
        assert [burst.kind for burst in await mail_health.open_bursts(connection)] == [BurstKind.ORGANISATION]


async def test_another_provider_goes_on_while_one_is_held(app):
    answer(app, UNKNOWN)
    await send(app, 6, domain="gmail.com")
    (message,) = await send(app, 1, domain="ziggo.nl")
    assert await notice(app, message) is N.UNDELIVERABLE


# ---- sender-side --------------------------------------------------------------------------------------------------


async def test_many_sender_side_refusals_stop_the_lane_which_tries_itself_and_starts_again(app):
    answer(app, BLOCKED)
    messages = await send(app, 25)
    assert "kennisgeving" in await app.stopped()
    assert [await notice(app, message) for message in messages] == [N.DUE] * 25
    assert app.printer.printed == {}, "a block of our mail says nothing about the addressees"
    await app.pass_time(hours=1, every=0.25)
    assert "kennisgeving" in await app.stopped(), "the first tries met the same block"
    assert app.notifier.sent == {}
    answer(app, None)
    await app.pass_time(hours=24, every=0.5)
    assert await app.stopped() == {}
    assert [await notice(app, message) for message in messages] == [N.SENT] * 25


async def test_a_lane_that_a_person_stopped_never_starts_itself(app):
    async with app.database.write() as connection:
        await steps.stop_lane(connection, "kennisgeving", reason="onderhoud", by="Anna", now=app.clock.now())
    (message,) = await send(app, 1)
    await app.pass_time(hours=20, every=2)
    assert await notice(app, message) is N.DUE
    assert "kennisgeving" in await app.stopped()


# ---- unmatched ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["smtp", "lmtp", "maildir", "imap", "webhook"])
async def test_a_bounce_is_decided_whatever_route_it_came_by(app, route):
    message = (await app.accept()).id
    await app.settle()
    report = DeliveryReport("goed.jan@post.example.nl", diagnostic="550 5.1.1 User unknown")
    to = app.return_path(message)
    mail = delivery_status(to, report, reporting_mta="mx.example.nl", at=app.clock.now())
    await app.inbound.store(Raw(f"key-{route}", route, app.clock.real(), to.encode() + b"\n" + mail))
    await app.settle()
    assert await notice(app, message) is N.UNDELIVERABLE


async def test_a_stray_bounce_is_matched_by_hand(app):
    message = (await app.accept()).id
    await app.settle()
    text = b"From: Jan <jan@example.nl>\nSubject: hello\n\nNothing to see.\n"
    await app.inbound.store(Raw("stray-1", "imap", app.clock.real(), app.return_path(message).encode() + b"\n" + text))
    await app.settle()
    assert [row.state for row in await app.rows(tables.inbound)] == ["unmatched"]
    said = await app.inbound.match("stray", message, by="Anna", reason="zelfde adres")
    assert "nothing was done" in said
    report = DeliveryReport("goed.jan@post.example.nl", diagnostic="550 5.1.1 User unknown")
    mail = delivery_status("x@elsewhere.example", report, reporting_mta="mx.example.nl", at=app.clock.now())
    async with app.database.write() as connection:
        sealed = app.vault.seal_inbound("stray-2", b"x@elsewhere.example\n" + mail)
        row = {
            "key": "stray-2",
            "route": "imap",
            "state": "unmatched",
            "received_at": app.clock.real(),
            "sealed": sealed,
        }
        await connection.execute(tables.inbound.insert(), [row])
    said = await app.inbound.match("stray-2", message, by="Anna", reason="zelfde adres")
    assert said == f"matched, {Verdict.HARD}: {Reason.USER_UNKNOWN}"
    assert await notice(app, message) is N.UNDELIVERABLE
    (event,) = await app.named(message, "bounce.received")
    assert event.detail["matched_by"] == "Anna"
    (act,) = await app.named(message, "staff.action")
    assert act.detail == {"act": "bounce_matched", "by": "Anna"}
    assert act.details == {"reason": "zelfde adres"}
    assert event.details is not None
    assert event.details["matched_why"] == "zelfde adres"
    assert all(b"zelfde adres" not in one.envelope for one in await app.events(message))
