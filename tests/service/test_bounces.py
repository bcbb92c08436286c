"""Bounces over real SMTP: stored before they are answered, decided once, and only when the return path is ours."""

import asyncio
import socket
from datetime import timedelta
from email.message import EmailMessage
from uuid import uuid4

import aiosmtplib
import pytest
import sqlalchemy as sa

from bode.domain.parts import LetterReason
from bode.domain.parts import NoticeState as N
from bode.engine.inbound import BounceListener
from bode.engine.return_path import Carries, ReturnPath, Token
from bode.store import tables
from bode.store.vault import Vault
from bode_adapters.email.mock_reports import DeliveryReport, delivery_status

DOMAIN = "retour.example.nl"
RECIPIENT = "goed.jan@post.example.nl"


@pytest.fixture
async def listen():
    """Give a starter of listeners; gives the port."""
    started = []

    async def _listen(app, *, max_bytes=100_000):
        listener = BounceListener(app.inbound, domain=DOMAIN, now=app.clock.real)
        started.append(listener)
        return await listener.start("127.0.0.1", 0, max_bytes=max_bytes)

    yield _listen
    for listener in started:
        await listener.stop()


async def hand_in(port, to, mail, *, sender=""):
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, timeout=10)
    await client.connect()
    try:
        await client.mail(sender)
        await client.rcpt(to)
        return await client.data(mail)
    finally:
        client.close()


def dsn(to, app, **report):
    made = DeliveryReport(RECIPIENT, **{"diagnostic": f"550 5.1.1 <{RECIPIENT}> User unknown", **report})
    return delivery_status(to, made, reporting_mta="mx.example.nl", at=app.clock.now())


@pytest.fixture
async def noticed(app):
    """Give a message that was placed and noticed."""
    accepted = await app.accept()
    await app.settle()
    return accepted.id


async def notice(app, message):
    return (await app.delivery(message)).placements[0].notice.state


async def inbound(app):
    return [(row.state, row.note) for row in await app.rows(tables.inbound)]


async def test_a_late_bounce_leads_to_a_letter(app, noticed, listen):
    port, to = await listen(app), app.return_path(noticed)
    await app.pass_time(hours=30, every=10)
    answer = await hand_in(port, to, dsn(to, app))
    assert answer.code == 250
    assert await notice(app, noticed) is N.SENT, "stored and answered; decided by the sweeper"
    await app.settle()
    assert await notice(app, noticed) is N.UNDELIVERABLE
    assert (await app.delivery(noticed)).letters[0].reason is LetterReason.NOTICE_BOUNCED
    assert list(app.printer.printed.values()) == [1]
    (received,) = await app.named(noticed, "bounce.received")
    assert received.detail["verdict"] == "hard"
    assert RECIPIENT.encode() not in received.envelope
    assert await inbound(app) == [("matched", "hard")]


async def test_the_same_bounce_twice_is_decided_once(app, noticed, listen):
    port, to = await listen(app), app.return_path(noticed)
    mail = dsn(to, app)
    for _ in range(2):
        assert (await hand_in(port, to, mail)).code == 250
        await app.settle()
    assert len(await app.named(noticed, "bounce.received")) == 1
    assert list(app.printer.printed.values()) == [1]


async def test_letter_case_in_the_return_path_does_not_matter(app, noticed, listen):
    port = await listen(app)
    to = app.return_path(noticed).upper()
    await hand_in(port, to, dsn(to, app))
    await app.settle()
    assert await notice(app, noticed) is N.UNDELIVERABLE


def several(*fates: tuple[str, str, str]) -> bytes:
    """Make a report about several recipients: address, action, and what their host said."""
    groups = [
        f"Final-Recipient: rfc822; {address}\r\nAction: {action}\r\nStatus: {said[4:9]}\r\n"
        f"Diagnostic-Code: smtp; {said}\r\n"
        for address, action, said in fates
    ]
    head = (
        'From: MAILER-DAEMON@mx.example.nl\r\nContent-Type: multipart/report; report-type=delivery-status; boundary="b"'
    )
    part = "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.nl"
    return "\r\n".join([head, "", part, "", *groups, "--b--", ""]).encode()


GONE, FULL, ARRIVED = "550 5.1.1 User unknown", "452 4.2.2 Mailbox full", "250 2.1.5 Ok"


@pytest.mark.law("L7")
@pytest.mark.parametrize(
    ("fates", "note"),
    [
        ([("info@elders.example", "failed", GONE), (RECIPIENT.upper(), "failed", FULL)], "soft"),
        ([(RECIPIENT, "failed", GONE), ("info@elders.example", "delivered", ARRIVED)], "hard"),
        ([("a@elders.example", "failed", GONE), ("b@elders.example", "delivered", ARRIVED)], "not_a_bounce"),
        ([("a@elders.example", "failed", GONE), ("b@elders.example", "failed", FULL)], "soft"),
        ([("a@elders.example", "failed", GONE), ("b@elders.example", "failed", GONE)], "hard"),
    ],
)
async def test_of_several_recipients_our_own_counts_and_behind_an_alias_the_best(app, noticed, listen, fates, note):
    await hand_in(await listen(app), app.return_path(noticed), several(*fates))
    await app.settle()
    assert await inbound(app) == [("matched", note)]
    assert (await notice(app, noticed) is N.UNDELIVERABLE) is (note == "hard")


async def test_a_bounce_of_the_message_itself_leads_to_paper(app, body, listen):
    accepted = await app.accept(body(channels=("email",), vertrouwelijkheid="laag", aard="overig", termijn=None))
    await app.settle()
    to = app.mail.messages[accepted.id].return_path
    assert to == app.return_path(accepted.id, carries=Carries.MESSAGE)
    await hand_in(await listen(app), to, dsn(to, app))
    await app.settle()
    assert (await app.delivery(accepted.id)).letters[0].reason is LetterReason.MAIL_RETURNED


@pytest.mark.parametrize("kind", ["forged", "foreign", "of nobody", "stray"])
async def test_what_has_no_return_path_of_ours_is_recorded_and_ignored(app, noticed, listen, kind):
    ours = app.return_path(noticed)
    to = {
        "forged": ours[:4] + ("a" if ours[4] != "a" else "b") + ours[5:],
        "foreign": ReturnPath(
            Vault(bytes(32)).return_path_key, DOMAIN, valid=timedelta(days=60), now=app.clock.now
        ).make(Token(noticed, 0, Carries.NOTICE)),
        "of nobody": "postmaster@" + DOMAIN,
        "stray": "b-aaaa-bbbb@" + DOMAIN,
    }[kind]
    assert (await hand_in(await listen(app), to, dsn(to, app))).code == 250
    await app.settle()
    assert await inbound(app) == [("ignored", "forged" if kind in {"forged", "foreign"} else "no_return_path")]
    assert await notice(app, noticed) is N.SENT
    assert await app.named(noticed, "bounce.received") == []


async def test_a_valid_return_path_of_a_message_we_do_not_have_is_kept_unmatched(app, listen):
    to = app.return_path(uuid4())
    await hand_in(await listen(app), to, dsn(to, app))
    await app.settle()
    assert [state for state, _ in await inbound(app)] == ["unmatched"]


async def test_mail_for_another_domain_is_refused(app, listen):
    with pytest.raises(aiosmtplib.SMTPRecipientRefused) as refused:
        await hand_in(await listen(app), "jan@example.nl", b"Subject: x\r\n\r\nx\r\n")
    assert refused.value.code == 550
    assert await inbound(app) == []


async def test_an_ordinary_mail_to_a_return_path_is_kept_unmatched(app, noticed, listen):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "jan@example.nl", app.return_path(noticed), "Een vraag"
    mail.set_content("Wat betekent dit bericht?")
    await hand_in(await listen(app), app.return_path(noticed), bytes(mail), sender="jan@example.nl")
    await app.settle()
    assert [state for state, _ in await inbound(app)] == ["unmatched"]
    assert await notice(app, noticed) is N.SENT


async def test_a_mail_that_is_too_big_is_refused_and_not_stored(app, noticed, listen):
    port = await listen(app, max_bytes=10_000)
    with pytest.raises(aiosmtplib.SMTPDataError) as refused:
        await hand_in(port, app.return_path(noticed), b"Subject: x\r\n\r\n" + b"x" * 78 * 300 + b"\r\n")
    assert refused.value.code == 552
    assert await inbound(app) == []


async def test_a_bounce_with_lines_longer_than_the_standard_allows_is_not_lost(app, noticed, listen):
    to = app.return_path(noticed)
    mail = dsn(to, app).replace(b"This is the mail system", b"This is " + b"very " * 1000 + b"the mail system")
    assert (await hand_in(await listen(app), to, mail)).code == 250
    await app.settle()
    assert await notice(app, noticed) is N.UNDELIVERABLE


@pytest.mark.parametrize(
    "mail",
    [
        b"",
        b"\r\n\r\n",
        b"\xff\xfe\x00" * 50,
        b"Content-Type: multipart/report; boundary=x\r\n\r\n--x\r\n" * 20,
        b"Content-Type: multipart/report; report-type=delivery-status\r\n\r\n",
        b"Content-Type: text/plain; charset=nonsense\r\nContent-Transfer-Encoding: base64\r\n\r\n=====\r\n",
    ],
)
async def test_nonsense_is_stored_and_harms_nobody(app, noticed, listen, mail):
    port, to = await listen(app), app.return_path(noticed)
    await hand_in(port, to, mail + b"\r\n")
    await hand_in(port, to, dsn(to, app))
    await app.settle()
    assert await notice(app, noticed) is N.UNDELIVERABLE
    assert "new" not in [state for state, _ in await inbound(app)]


async def test_a_mail_that_cannot_be_opened_or_read_does_not_hold_up_the_others(app, noticed, listen, monkeypatch):
    port, to = await listen(app), app.return_path(noticed)
    await hand_in(port, to, b"Subject: broken\r\n\r\nx\r\n")
    async with app.database.write() as connection:
        await connection.execute(sa.update(tables.inbound).values(sealed=b"changed"))
    app.clock.move(seconds=1)
    await hand_in(port, to, dsn(to, app))
    assert await app.sweeper.sweep()
    assert sorted(await inbound(app)) == [("matched", "hard"), ("unmatched", "cannot_decide:VaultError")]


async def test_while_the_database_cannot_store_the_answer_is_later_and_then_it_is_stored(app, noticed, listen):
    port, to = await listen(app), app.return_path(noticed)
    mail = dsn(to, app)
    async with app.database.engine.connect() as blocker:
        if app.database.is_sqlite:
            sa.event.listen(app.database.engine.sync_engine, "checkout", _impatient)
            await blocker.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            sa.event.listen(app.database.engine.sync_engine, "begin", _impatient_transaction)
            await blocker.exec_driver_sql("LOCK TABLE inbound IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(aiosmtplib.SMTPDataError) as later:
            await hand_in(port, to, mail)
        await blocker.rollback()
    assert later.value.code == 451
    assert RECIPIENT not in later.value.message
    assert (await hand_in(port, to, mail)).code == 250
    await app.settle()
    assert await notice(app, noticed) is N.UNDELIVERABLE


def _impatient(connection, *_):
    connection.execute("PRAGMA busy_timeout=50")


def _impatient_transaction(connection):
    connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")


async def test_when_every_connection_is_taken_the_answer_is_later(pg_app, listen):
    """Not a permanent refusal: a server that hears 5xx forgets the bounce."""
    accepted = await pg_app.accept()
    await pg_app.settle()
    to = pg_app.return_path(accepted.id)
    pool = pg_app.database.engine.pool
    pool._timeout = 0.05
    taken = [await pg_app.database.engine.connect() for _ in range(pool.size() + pool._max_overflow)]
    with pytest.raises(aiosmtplib.SMTPDataError) as later:
        await hand_in(await listen(pg_app), to, dsn(to, pg_app))
    assert later.value.code == 451
    for connection in taken:
        await connection.close()


async def test_bounces_for_many_at_once_are_each_decided(app, listen):
    # At as many providers: a burst at one provider would hold the letters.
    ids = [(await app.accept(email=f"jan@post{n}.example.nl")).id for n in range(20)]
    await app.settle()
    port = await listen(app)
    tos = [app.return_path(message) for message in ids]
    await asyncio.gather(*(hand_in(port, to, dsn(to, app)) for to in tos))
    await app.settle()
    for message in ids:
        assert await notice(app, message) is N.UNDELIVERABLE
    assert sorted(app.printer.printed.values()) == [1] * 20


async def test_the_listener_stops_while_a_server_keeps_its_connection(app):
    listener = BounceListener(app.inbound, domain=DOMAIN, now=app.clock.real)
    port = await listener.start("127.0.0.1", 0, max_bytes=10_000)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert (await reader.readline()).startswith(b"220")
    await asyncio.wait_for(listener.stop(), 5)
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), 1)
