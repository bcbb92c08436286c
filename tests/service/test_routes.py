"""The other routes by which bounces come in, against real servers on loopback."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import ipaddress
import json
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl
from uuid import UUID, uuid4

import httpx
import imapclient
import pytest
import structlog
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from litestar import Litestar
from sqlalchemy.exc import DataError, OperationalError

from bode.domain.bounces import MailKind, Reason, Verdict, read_mail
from bode.engine.return_path import Carries, ReturnPath, Token
from bode.engine.routes.imap import ImapRoute
from bode.engine.routes.imap_mailbox import ImapAccount, Tls
from bode.engine.routes.keeping import recipient_of
from bode.engine.routes.lmtp import LmtpListener
from bode.engine.routes.maildir import MaildirRoute
from bode.engine.routes.signature import sign
from bode.engine.routes.webhook import bounce_webhook
from bode.store import tables
from bode_adapters.oauth import AccessTokens, OAuthClient

DOMAIN = "retour.example.nl"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PATHS = ReturnPath(lambda number: bytes([number] * 32), DOMAIN, valid=timedelta(days=60), now=lambda: NOW)
MOST = 20_000
PASSWORD = "zeer geheim 7"
TOKEN = PATHS.make(Token(UUID(int=1), 0, Carries.NOTICE))


def now() -> datetime:
    return NOW


def token() -> str:
    return PATHS.make(Token(uuid4(), 0, Carries.NOTICE))


def bounce(to: str = TOKEN, *, header: str = "Delivered-To", body: str = "") -> bytes:
    lines = [
        "From: MAILER-DAEMON@mx.example.nl",
        f"{header}: {to}",
        "Subject: Undelivered Mail",
        f"Message-ID: <{uuid4()}@mx.example.nl>",
        "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type=delivery-status; boundary="grens"',
        "",
        "--grens",
        "Content-Type: message/delivery-status",
        "",
        "Reporting-MTA: dns; mx.example.nl",
        "",
        "Final-Recipient: rfc822; jantje@example.nl",
        "Action: failed",
        "Status: 5.1.1",
        "Diagnostic-Code: smtp; 550 5.1.1 User unknown",
        "",
        body,
        "--grens--",
        "",
    ]
    return "\r\n".join(lines).encode()


def away() -> OperationalError:
    return OperationalError("INSERT", {}, OSError("no route"))


class MemoryStore:
    """Keeps raw things as `Inbound` does. `trouble` is what happens instead, `after` what happens when it is kept."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.route = ""
        self.asked = 0
        self.trouble: Callable[[bytes], BaseException | None] = lambda content: None
        self.after: Callable[[bytes], BaseException | None] = lambda content: None

    async def store(self, raw) -> bool:
        self.asked += 1
        if error := self.trouble(raw.content):
            raise error
        fresh = raw.key not in self.kept
        self.kept[raw.key] = raw.content
        self.route = raw.route
        assert raw.received_at == NOW
        if error := self.after(raw.content):
            raise error
        return fresh

    @property
    def contents(self) -> set[bytes]:
        return set(self.kept.values())

    @property
    def recipients(self) -> list[str]:
        return [content.partition(b"\n")[0].decode() for content in self.kept.values()]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def stored(mail: bytes, to: str = TOKEN) -> bytes:
    return to.encode() + b"\n" + mail


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def running(route) -> AsyncIterator[asyncio.Task[None]]:
    """Run a route, and see that it ends within two seconds."""
    task = asyncio.create_task(route.run())
    try:
        yield task
        assert not task.done(), task
    finally:
        began = time.monotonic()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 3  # with some room for a busy machine


# ---------------------------------------------------------------------------------------------------------- recipients


@pytest.mark.parametrize("header", ["Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "To"])
def test_the_recipient_is_found_in_what_the_server_wrote_on_top(header):
    assert recipient_of(bounce(header=header), PATHS.is_ours) == TOKEN


def test_the_server_s_own_header_goes_before_what_the_mail_says():
    other = token()
    mail = b"To: <" + other.encode() + b">\r\n" + bounce(header="X-Original-To")
    assert recipient_of(mail, PATHS.is_ours) == TOKEN


def test_an_address_that_has_not_the_shape_of_ours_is_passed_over():
    elsewhere = TOKEN.replace(DOMAIN, "elsewhere.example")
    strange = f"Delivered-To: catchall@{DOMAIN}\r\nDelivered-To: {elsewhere}\r\n".encode()
    assert recipient_of(strange + bounce(header="To"), PATHS.is_ours) == TOKEN
    assert recipient_of(strange, PATHS.is_ours) == ""


@pytest.mark.parametrize("kind", ["message/rfc822", "text/rfc822-headers"])
def test_the_return_path_of_the_returned_mail_is_asked_last(kind):
    returned = f"--grens\r\nContent-Type: {kind}\r\n\r\nReturn-Path: <{TOKEN}>\r\nSubject: x\r\n\r\nhallo"
    mail = bounce("postmaster@example.nl", body=returned)
    assert recipient_of(mail, PATHS.is_ours) == TOKEN


@pytest.mark.parametrize("mail", [b"", b"\xff\x00" * 500, b"To: " + b"a@b " * 5000, b"nothing"])
def test_a_mail_for_nobody_has_an_empty_recipient(mail):
    assert recipient_of(mail, PATHS.is_ours) == ""


# ------------------------------------------------------------------------------------------------------------- maildir


class Maildir:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("new", "cur", "tmp"):
            (folder / name).mkdir(parents=True)

    def deliver(self, mail: bytes, name: str = "") -> str:
        name = name or f"{time.time_ns()}.M1P1.host"
        (self.folder / "tmp" / name).write_bytes(mail)
        (self.folder / "tmp" / name).rename(self.folder / "new" / name)
        return name

    def names(self, where: str) -> list[str]:
        return sorted(path.name for path in (self.folder / where).iterdir())

    def route(self, store, **changes) -> MaildirRoute:
        given = {"is_ours": PATHS.is_ours, "now": now, "max_bytes": MOST, "poll_seconds": 0.02, **changes}
        return MaildirRoute(store, folder=self.folder, **given)


@pytest.fixture
def maildir(tmp_path) -> Maildir:
    return Maildir(tmp_path / "Maildir")


async def test_a_mail_in_the_maildir_is_stored_and_then_marked_as_seen(maildir, store):
    mail = bounce()
    name = maildir.deliver(mail)
    assert await maildir.route(store).bring_in() == 1
    assert store.contents == {stored(mail)}
    assert store.route == "maildir"
    assert (maildir.names("new"), maildir.names("cur")) == ([], [f"{name}:2,S"])


async def test_a_mail_for_nobody_is_stored_without_a_recipient(maildir, store):
    maildir.deliver(b"Subject: hallo\r\n\r\n")
    await maildir.route(store).bring_in()
    assert store.recipients == [""]


async def test_a_crash_between_storing_and_moving_stores_once(maildir, store):
    class Killed(BaseException):
        pass

    maildir.deliver(bounce())
    store.after = lambda content: Killed()
    with pytest.raises(Killed):
        await maildir.route(store).bring_in()
    assert len(maildir.names("new")) == 1
    store.after = lambda content: None
    assert await maildir.route(store).bring_in() == 1
    assert (len(store.kept), store.asked, maildir.names("new")) == (1, 2, [])


async def test_while_the_database_is_away_the_mail_stays_in_new(maildir, store):
    store.trouble = lambda content: away()
    for _ in range(3):
        maildir.deliver(bounce())
    async with running(maildir.route(store)):
        await until(lambda: store.asked >= 3)
        assert len(maildir.names("new")) == 3
        store.trouble = lambda content: None
        await until(lambda: not maildir.names("new"))
    assert len(store.kept) == 3


async def test_mails_come_in_as_they_are_delivered_more_than_a_batch_at_once(maildir, store):
    async with running(maildir.route(store, batch=3)):
        for _ in range(10):
            maildir.deliver(bounce())
        await until(lambda: len(maildir.names("cur")) == 10)
    assert len(store.kept) == 10


async def test_what_cannot_be_read_is_set_apart_and_holds_up_nothing(maildir, store, tmp_path):
    maildir.deliver(b"x" * (MOST + 1), "1.large")
    (maildir.folder / "new" / "2.folder").mkdir()
    (maildir.folder / "new" / "3.link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(maildir.folder / "new" / "4.pipe")
    maildir.deliver(b"x" * MOST, "5.just")
    with structlog.testing.capture_logs() as logs:
        await maildir.route(store).bring_in()
    assert maildir.names("apart") == ["1.large", "2.folder", "3.link", "4.pipe"]
    assert maildir.names("cur") == ["5.just:2,S"]
    assert {(entry["name"], entry["reason"]) for entry in logs} == {
        ("1.large", "too_large"),
        ("2.folder", "no_file"),
        ("3.link", "OSError"),
        ("4.pipe", "no_file"),
    }


async def test_a_process_out_of_files_sets_nothing_apart(maildir, store, monkeypatch):
    maildir.deliver(bounce())

    def none_left(*args):
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patched:
        patched.setattr("bode.engine.routes.maildir.os.open", none_left)
        with pytest.raises(OSError, match="too many"):
            await maildir.route(store).bring_in()
    assert await maildir.route(store).bring_in() == 1


@pytest.mark.parametrize("error", [ValueError("odd"), DataError("INSERT", {}, ValueError("odd"))])
async def test_a_mail_on_which_storing_breaks_is_set_apart(maildir, store, error):
    poison, good = bounce(), bounce()
    store.trouble = lambda content: error if poison in content else None
    maildir.deliver(poison, "1.same")
    maildir.deliver(good, "2.good")
    route = maildir.route(store)
    await route.bring_in()
    maildir.deliver(poison, "1.same")
    await route.bring_in()
    assert (store.contents, maildir.names("apart")) == ({stored(good)}, ["1.same", "1.same.1"])


async def test_a_mail_that_cannot_be_moved_is_stored_once_and_holds_up_nothing(maildir, store):
    stuck = maildir.folder / "cur" / "1.stuck:2,S"
    (stuck / "in-the-way").mkdir(parents=True)
    maildir.deliver(bounce(), "1.stuck")
    maildir.deliver(bounce(), "2.good")
    route = maildir.route(store, batch=1)
    for _ in range(4):
        await route.bring_in()
    assert (store.asked, maildir.names("new"), maildir.names("cur")) == (2, ["1.stuck"], ["1.stuck:2,S", "2.good:2,S"])
    shutil.rmtree(stuck)
    await route.bring_in()
    assert (store.asked, maildir.names("new")) == (2, [])


async def test_a_maildir_that_is_not_there_is_made_and_one_that_cannot_be_is_told(tmp_path, store):
    (tmp_path / "file").touch()
    given = {"is_ours": PATHS.is_ours, "now": now, "max_bytes": MOST, "poll_seconds": 0.01}
    route = MaildirRoute(store, folder=tmp_path / "file", **given)
    with structlog.testing.capture_logs() as logs:
        async with running(route):
            await until(lambda: len(logs) > 1)
        (tmp_path / "file").unlink()
        assert await route.bring_in() == 0
    assert {entry["event"] for entry in logs} == {"inbound.maildir_away"}
    assert (tmp_path / "file" / "new").is_dir()


async def test_what_a_route_stores_is_in_the_real_table(maildir, make_app, sqlite_url):
    app = await make_app(sqlite_url)
    mail = bounce()
    maildir.deliver(mail)
    await maildir.route(app.inbound).bring_in()
    (row,) = await app.rows(tables.inbound)
    assert row.route == "maildir"
    assert app.vault.open_inbound(row.key, row.sealed) == stored(mail)


# ---------------------------------------------------------------------------------------------------------------- LMTP


@dataclass
class Line:
    """A conversation in which answers have one line or several."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def hear(self) -> str:
        lines = []
        while not lines or lines[-1][3:4] == "-":
            lines.append((await asyncio.wait_for(self.reader.readline(), 5)).decode().rstrip())
        return lines[-1]

    async def say(self, text: str) -> str:
        self.writer.write(text.encode() + b"\r\n")
        return await self.hear()

    async def send(self, mail: bytes, recipients: int) -> list[str]:
        assert (await self.say("DATA")).startswith("354")
        self.writer.write(mail + b"\r\n.\r\n")
        return [(await self.hear())[:9] for _ in range(recipients)]


@asynccontextmanager
async def talking(port: int | Path) -> AsyncIterator[Line]:
    opening = (
        asyncio.open_unix_connection(port) if isinstance(port, Path) else asyncio.open_connection("127.0.0.1", port)
    )
    line = Line(*await opening)
    assert (await line.hear()).startswith("220")
    assert (await line.say("LHLO mx.example.nl")).startswith("250")
    try:
        yield line
    finally:
        line.writer.close()
        with contextlib.suppress(OSError):
            await line.writer.wait_closed()


@pytest.fixture
async def lmtp(store) -> AsyncIterator[int]:
    listener = LmtpListener(store, domain=DOMAIN, now=now)
    yield await listener.start("127.0.0.1", 0, max_bytes=MOST)
    await listener.stop()


async def test_lmtp_answers_for_each_recipient(lmtp, store):
    first, second, mail = token(), token(), bounce()
    async with talking(lmtp) as line:
        assert (await line.say("MAIL FROM:<>")).startswith("250")
        assert (await line.say(f"RCPT TO:<{first}>")).startswith("250 2.1.5")
        assert (await line.say("RCPT TO:<iemand@example.nl>")).startswith("550 5.1.2")
        assert (await line.say(f"RCPT TO:<{second.upper()}>")).startswith("250 2.1.5")
        assert await line.send(mail, 2) == ["250 2.0.0", "250 2.0.0"]
        assert (await line.say("QUIT")).startswith("221")
    assert store.contents == {stored(mail + b"\r\n", to) for to in (first, second.upper())}
    assert store.route == "lmtp"


async def test_lmtp_answers_for_each_recipient_when_a_mail_is_too_large(lmtp, store):
    async with talking(lmtp) as line:
        for size, answers in ((MOST + 1, ["552 Error"] * 2), (100, ["250 2.0.0"] * 2)):
            await line.say("MAIL FROM:<>")
            for _ in range(2):
                await line.say(f"RCPT TO:<{token()}>")
            assert await line.send(b"x" * 60 + (b"\r\n" + b"x" * 60) * (size // 60), 2) == answers
    assert len(store.kept) == 2


async def test_lmtp_takes_so_many_recipients_and_the_rest_later(lmtp):
    async with talking(lmtp) as line:
        await line.say("MAIL FROM:<>")
        answers = [(await line.say(f"RCPT TO:<{TOKEN}>"))[:3] for _ in range(101)]
    assert answers == ["250"] * 100 + ["452"]


async def test_what_lmtp_could_not_store_stays_with_the_sender(lmtp, store):
    bad = token()
    errors = iter([away(), ValueError("odd")])
    store.trouble = lambda content: next(errors) if bad.encode() in content else None
    async with talking(lmtp) as line:
        for _ in range(2):
            await line.say("MAIL FROM:<>")
            for to in (TOKEN, bad):
                await line.say(f"RCPT TO:<{to}>")
            assert await line.send(b"Subject: x\r\n", 2) == ["250 2.0.0", "451 4.3.0"]
    assert store.recipients == [TOKEN]


async def test_lmtp_takes_long_lines_and_letters_beyond_ascii(lmtp, store):
    mail = b"Subject: x\r\n\r\n" + "é".encode() * 5000 + b"\r\n"
    async with talking(lmtp) as line:
        assert (await line.say("MAIL FROM:<> BODY=8BITMIME SMTPUTF8")).startswith("250")
        await line.say(f"RCPT TO:<{TOKEN}>")
        assert await line.send(mail.removesuffix(b"\r\n"), 1) == ["250 2.0.0"]
    assert store.contents == {stored(mail)}


async def test_our_own_defect_is_no_reason_to_bounce(lmtp, monkeypatch):
    def broken(*args):
        raise RuntimeError("broken")

    monkeypatch.setattr("bode.engine.routes.lmtp.raw_mail", broken)
    async with talking(lmtp) as line:
        await line.say("MAIL FROM:<>")
        for _ in range(2):
            await line.say(f"RCPT TO:<{token()}>")
        assert await line.send(b"Subject: x", 2) == ["451 4.3.0", "451 4.3.0"]


async def test_lmtp_over_a_socket_ends_while_somebody_talks(store):
    folder = Path(tempfile.mkdtemp(prefix="bode-lmtp-"))
    path = folder / "lmtp"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    listener = LmtpListener(store, domain=DOMAIN, now=now)
    await listener.start_socket(path, max_bytes=MOST)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    async with talking(path) as line:
        await line.say("MAIL FROM:<>")
        await line.say(f"RCPT TO:<{TOKEN}>")
        await line.say("DATA")
        await asyncio.wait_for(listener.stop(), 2)
        assert await line.reader.read() == b""
    await listener.stop()
    assert (path.exists(), store.kept) == (False, {})
    shutil.rmtree(folder)


async def test_lmtp_does_not_listen_to_the_world(store):
    with pytest.raises(ValueError, match="loopback"):
        await LmtpListener(store, domain=DOMAIN, now=now).start("0.0.0.0", 0, max_bytes=MOST)


# ------------------------------------------------------------------------------------------------------------- webhook

SECRET, NEXT_SECRET = b"the secret of a relay", b"its next secret, in use soon"


@dataclass
class Relay:
    """A relay that posts to us."""

    client: httpx.AsyncClient
    url: str

    async def post(self, body, *, secret=SECRET, at=NOW, route="relay", kind="application/json", **headers):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        stamp = str(int(at.timestamp()))
        recipient = headers.get("X-Bode-Recipient")
        signed = content if recipient is None else recipient.encode() + b"\n" + content
        given = {"X-Bode-Timestamp": stamp, "X-Bode-Signature": sign(secret, stamp, signed), "Content-Type": kind}
        given |= headers.pop("instead", {})
        return await self.client.post(
            f"{self.url}/inbound/bounces/{route}",
            content=content,
            headers={key: value for key, value in {**given, **headers}.items() if value is not None},
        )


@pytest.fixture
async def relay(store) -> AsyncIterator[Relay]:
    handler = bounce_webhook(store, secrets={"relay": [SECRET, NEXT_SECRET]}, now=now, max_body_bytes=MOST)
    config = uvicorn.Config(Litestar([handler], logging_config=None), log_config=None, lifespan="off")
    config.load()
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    # Its parts, not `serve`, which looks only now and then whether it is to end.
    await server.startup(sockets=[listener])
    async with httpx.AsyncClient() as client:
        yield Relay(client, f"http://127.0.0.1:{listener.getsockname()[1]}")
    await asyncio.sleep(0)
    await server.shutdown(sockets=[listener])


def about(event: str = "bounce", **told) -> dict[str, object]:
    return {"recipient": TOKEN, "event": event, **told}


async def test_a_posted_notification_is_stored_once_however_often_it_comes(relay, store):
    mail = bounce()
    body = {"recipient": TOKEN, "message": base64.encodebytes(mail).decode()}
    for number in range(3):
        answer = await relay.post(body, at=NOW + timedelta(seconds=number))
        assert (answer.status_code, answer.content) == (204, b"")
    assert (store.contents, store.asked, store.route) == ({stored(mail)}, 3, "webhook")


async def test_a_notification_posted_as_a_mail_is_stored_as_it_is(relay, store):
    mail = bounce()
    answer = await relay.post(mail, kind="message/rfc822", **{"X-Bode-Recipient": TOKEN})
    assert (answer.status_code, store.contents) == (204, {stored(mail)})


async def test_both_secrets_are_accepted_while_one_is_being_changed(relay, store):
    for secret in (SECRET, NEXT_SECRET):
        assert (await relay.post(about(smtp_code=550), secret=secret)).status_code == 204
    assert len(store.kept) == 1


@pytest.mark.parametrize(
    ("told", "verdict", "reason"),
    [
        ({"smtp_code": 550, "enhanced_status": "5.1.1"}, Verdict.HARD, Reason.USER_UNKNOWN),
        ({"smtp_code": 550, "diagnostic": "No such user here"}, Verdict.HARD, Reason.USER_UNKNOWN),
        ({"diagnostic": "550 5.1.1 User unknown", "mta": "mx.example.nl"}, Verdict.HARD, Reason.USER_UNKNOWN),
        ({"smtp_code": 552, "enhanced_status": "5.2.2", "diagnostic": "over quota"}, Verdict.SOFT, Reason.MAILBOX_FULL),
        ({"smtp_code": "452", "enhanced_status": "", "diagnostic": "4.2.2 mailbox full"}, Verdict.SOFT, None),
        ({"smtp_code": 451}, Verdict.SOFT, None),
        ({"smtp_code": 550}, Verdict.UNDETERMINED, Reason.UNMATCHED),
        ({"smtp_code": 554, "enhanced_status": "5.7.1", "diagnostic": "spam detected"}, Verdict.SENDER, None),
        ({"event": "delayed", "smtp_code": 451}, Verdict.NOT_A_BOUNCE, Reason.DELAYED),
    ],
)
async def test_a_relay_s_own_report_is_judged_by_the_same_reader(relay, store, shared, told, *, verdict, reason):
    assert (await relay.post({**about(), **told})).status_code == 204
    (content,) = store.contents
    recipient, _, mail = content.partition(b"\n")
    found = read_mail(mail, shared.rules)
    (one,) = found.recipients
    assert (recipient.decode(), found.kind, one.recipient) == (TOKEN, MailKind.DSN, None)
    assert one.classification.verdict is verdict
    assert reason is None or one.classification.reason is reason
    assert one.remote_mta == told.get("mta")


async def test_two_bounces_with_the_same_words_are_two(relay, store):
    for number in range(2):
        await relay.post(about(smtp_code=452), at=NOW + timedelta(seconds=number))
        await relay.post(about(smtp_code=452, id=f"event-{number}"))
    assert len(store.kept) == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": b"the secret of nobody"},
        {"at": NOW - timedelta(minutes=6)},
        {"at": NOW + timedelta(minutes=6)},
        {"instead": {"X-Bode-Signature": None}},
        {"instead": {"X-Bode-Timestamp": None}},
        {"instead": {"X-Bode-Timestamp": "yesterday"}},
        {"instead": {"X-Bode-Timestamp": str(int(NOW.timestamp()) + 1)}},
    ],
)
async def test_what_is_not_signed_just_now_by_the_relay_is_refused(relay, store, changes):
    with structlog.testing.capture_logs() as logs:
        answer = await relay.post(about(smtp_code=550, diagnostic="jantje@example.nl"), **changes)
    assert (answer.status_code, answer.headers["Content-Type"]) == (401, "application/problem+json")
    assert answer.json()["title"] == "Geen toegang"
    assert store.asked == 0
    assert [entry["event"] for entry in logs] == ["inbound.webhook_refused"]
    assert "jantje" not in repr(logs)


async def test_the_recipient_in_the_header_is_signed_too(relay, store):
    mail, stamp = bounce(), str(int(NOW.timestamp()))
    theirs = {"X-Bode-Signature": sign(SECRET, stamp, token().encode() + b"\n" + mail)}
    answer = await relay.post(mail, kind="message/rfc822", instead=theirs, **{"X-Bode-Recipient": TOKEN})
    assert (answer.status_code, store.asked) == (401, 0)


@pytest.mark.parametrize(
    ("body", "more", "status"),
    [
        (b"{", {}, 400),
        (about(), {}, 400),
        (about(smtp_code=999, diagnostic="jantje@example.nl"), {}, 400),
        (b"mail", {"kind": "message/rfc822", "X-Bode-Recipient": ""}, 400),
        (b"x" * (MOST + 1), {}, 413),
        (about(smtp_code=550), {"route": "another"}, 404),
        (about(smtp_code=550), {"kind": "text/plain"}, 415),
        (about(smtp_code=550), {"Content-Encoding": "gzip"}, 415),
    ],
)
async def test_what_cannot_be_read_is_answered_with_a_problem(relay, store, body, more, status):
    answer = await relay.post(body, **more)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status
    assert "jantje" not in answer.text
    assert store.asked == 0


async def test_a_body_without_a_length_is_cut_off_at_the_limit(relay, store):
    async def endless():
        for _ in range(1000):
            yield b"x" * 1000

    stamp = str(int(NOW.timestamp()))
    headers = {"X-Bode-Timestamp": stamp, "X-Bode-Signature": "sha256=x", "Content-Type": "application/json"}
    answer = await relay.client.post(f"{relay.url}/inbound/bounces/relay", content=endless(), headers=headers)
    assert (answer.status_code, store.asked) == (413, 0)


@pytest.mark.parametrize("error", [away(), ValueError("jantje@example.nl")])
async def test_what_could_not_be_stored_is_asked_for_again(relay, store, error):
    store.trouble = lambda content: error
    with structlog.testing.capture_logs() as logs:
        answer = await relay.post(about(smtp_code=550))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert "jantje" not in repr(logs)
    store.trouble = lambda content: None
    assert (await relay.post(about(smtp_code=550))).status_code == 204


@pytest.mark.parametrize("secrets", [{"relay": []}, {"relay": [b""]}, {"relay": [SECRET, b"short"]}])
def test_a_relay_without_a_good_secret_is_refused_at_the_start(store, secrets):
    with pytest.raises(ValueError, match="relay relay"):
        bounce_webhook(store, secrets=secrets, now=now, max_body_bytes=MOST)


# ----------------------------------------------------------------------------------------------- IMAP, scripted server


@dataclass
class Held:
    content: bytes
    flags: set[str] = field(default_factory=set)


class ScriptedImap:
    """As much of an IMAP server as the route speaks to, and the odd things that real ones do."""

    def __init__(self, *mails: bytes, can: str = "IDLE UIDPLUS") -> None:
        self.can = can
        self.validity = 7
        self.folders: dict[str, dict[int, Held]] = {"INBOX": {}}
        self.claims: dict[int, int] = {}
        """Sizes that it tells instead of the real ones."""
        self.dropping: set[int] = set()
        """Mails at which the connection is lost."""
        self.drops = 0
        self.refusing: set[int] = set()
        """Mails it does not give."""
        self.silent: set[str] = set()
        """Commands that it never answers."""
        self.fixed = False
        """Whether nothing can be marked."""
        self.heard: list[str] = []
        self.good: set[bytes] = set()
        """What it lets in after AUTHENTICATE."""
        self.presented = b""
        self.conceded: list[bytes] = []
        """The client's answers to the challenge that told of a wrong token."""
        self.welcome = False
        self.connections: set[asyncio.StreamWriter] = set()
        self._next = 1
        self._news = asyncio.Event()
        for mail in mails:
            self.add(mail)

    def add(self, mail: bytes) -> int:
        uid, self._next = self._next, self._next + 1
        self.folders["INBOX"][uid] = Held(mail)
        self._news.set()
        return uid

    def begin_anew(self, *mails: bytes) -> None:
        """Make the folder anew: the same uids mean other mails now."""
        self.validity += 1
        self.folders["INBOX"] = {}
        self._next = 1
        for mail in mails:
            self.add(mail)
        self.disconnect()

    def disconnect(self) -> None:
        for writer in self.connections:
            writer.close()

    @property
    def inbox(self) -> dict[int, Held]:
        return self.folders["INBOX"]

    @property
    def unseen(self) -> list[int]:
        return [uid for uid, held in self.inbox.items() if not held.flags & {"\\Seen", "\\Deleted"}]

    def count(self, command: str) -> int:
        return sum(command in line for line in self.heard)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(writer)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.connections.discard(writer)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if "CONNECT" in self.silent:
            await reader.read()
            return
        writer.write(f"* OK [CAPABILITY IMAP4rev1 {self.can}] ready\r\n".encode())
        while line := (await reader.readline()).decode().rstrip():
            tag, _, command = line.partition(" ")
            self.heard.append(command)
            verb = command.removeprefix("UID ").split()[0]
            if verb in self.silent:
                await reader.read()
                return
            if verb == "IDLE":
                await self._wait_for_news(reader, writer)
            if verb == "AUTHENTICATE":
                await self._hear_token(reader, writer)
            told = getattr(self, f"_{verb.lower()}", lambda rest: [])(command.removeprefix("UID ").partition(" ")[2])
            if told is None:
                return
            last = told.pop() if told and told[-1].startswith((b"NO", b"BAD")) else b"OK done"
            writer.write(b"".join(item + b"\r\n" for item in told) + tag.encode() + b" " + last + b"\r\n")
            if verb == "LOGOUT":
                return

    async def _wait_for_news(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._news.clear()
        writer.write(b"+ idling\r\n* OK Still here\r\n")
        done = asyncio.ensure_future(reader.readline())
        while not done.done():
            news = asyncio.ensure_future(self._news.wait())
            await asyncio.wait([done, news], return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            if self._news.is_set():
                self._news.clear()
                writer.write(f"* {len(self.inbox)} EXISTS\r\n".encode())

    async def _hear_token(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hear a bearer token; a wrong one is told of in a challenge, which the client answers with nothing."""
        writer.write(b"+ \r\n")
        self.presented = base64.b64decode(await reader.readline())
        self.welcome = self.presented in self.good
        if not self.welcome:
            writer.write(b"+ " + base64.b64encode(b'{"status":"400","schemes":"bearer"}') + b"\r\n")
            self.conceded.append(base64.b64decode(await reader.readline()))

    def _authenticate(self, rest):
        return [] if self.welcome else [b"NO AUTHENTICATE failed."]

    def _capability(self, rest):
        return [f"* CAPABILITY IMAP4rev1 {self.can}".encode()]

    def _login(self, rest):
        return [] if rest == f'bounces "{PASSWORD}"' else [b"NO [AUTHENTICATIONFAILED] no"]

    def _logout(self, rest):
        return [b"* BYE"]

    def _list(self, rest):
        wanted = rest.split('"')[-2]
        return [f'* LIST () "/" "{wanted}"'.encode()] if wanted in self.folders else []

    def _create(self, rest):
        self.folders[rest.strip('"')] = {}
        return []

    def _select(self, rest):
        return [f"* {len(self.inbox)} EXISTS".encode(), f"* OK [UIDVALIDITY {self.validity}] of now".encode()]

    def _search(self, rest):
        first, last = map(int, rest.split()[0].split(":"))
        if last > len(self.inbox):
            return [b"BAD no such numbers"]
        found = [uid for uid in list(self.inbox)[first - 1 : last] if uid in self.unseen]
        return [b"* SEARCH" + b"".join(b" %d" % uid for uid in found)]

    def _fetch(self, rest):
        uid = int(rest.split()[0])
        if uid not in self.inbox:
            return []
        content = self.inbox[uid].content
        head = f"* {list(self.inbox).index(uid) + 1} FETCH (UID {uid} ".encode()
        if "RFC822.SIZE" in rest:
            return [head + b"RFC822.SIZE %d)" % self.claims.get(uid, len(content))]
        if uid in self.dropping:
            self.drops += 1
            return None
        if uid in self.refusing:
            return [b"NO cannot be read"]
        most = int(re.search(r"<0\.(\d+)>", rest)[1])
        return [head + b"BODY[]<0> {%d}\r\n%s)" % (len(content[:most]), content[:most])]

    def _store(self, rest):
        uid, _, flags = rest.split(" ", 2)
        if self.fixed:
            return [b"NO you may not"]
        self.inbox[int(uid)].flags |= set(flags.strip("()").split())
        return []

    def _copy(self, rest):
        uid, folder = rest.split(" ", 1)
        self.folders[folder.strip('"')][int(uid)] = replace(self.inbox[int(uid)])
        return []

    def _expunge(self, rest):
        del self.inbox[int(rest)]
        return []

    def _move(self, rest):
        return [*self._copy(rest), *self._expunge(rest.split()[0])]


@pytest.fixture(autouse=True)
def _soon(monkeypatch) -> None:
    """Let a wait for news end sooner than in life."""
    monkeypatch.setattr("bode.engine.routes.imap_mailbox._STEP_SECONDS", 0.05)


ACCOUNT = ImapAccount("127.0.0.1", "bounces", PASSWORD, tls=Tls.NONE, timeout_seconds=20)


def imap_route(store, account, **changes) -> ImapRoute:
    given = {"is_ours": PATHS.is_ours, "now": now, "max_bytes": MOST}
    soon = {"poll_seconds": 0.02, "longest_backoff_seconds": 0.02}
    return ImapRoute(store, account, **{**given, **soon, **changes})


@asynccontextmanager
async def brought_in_from(
    server: ScriptedImap, store, *, context: ssl.SSLContext | None = None, account: ImapAccount = ACCOUNT, **changes
) -> AsyncIterator[asyncio.Task[None]]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    try:
        async with running(imap_route(store, replace(account, port=port), **changes)) as task:
            yield task
    finally:
        listening.close()
        await listening.wait_closed()
        await until(lambda: not server.connections)


async def test_mails_are_brought_in_marked_and_waited_for(store):
    mail, later = bounce(), bounce()
    server = ScriptedImap(mail, b"Subject: hallo\r\n\r\n")
    async with brought_in_from(server, store, wait_seconds=60):
        await until(lambda: server.count("IDLE") == 1)
        assert store.contents == {stored(mail), stored(b"Subject: hallo\r\n\r\n", "")}
        assert [held.flags for held in server.inbox.values()] == [{"\\Seen"}, {"\\Seen"}]
        server.add(later)
        await until(lambda: not server.unseen)
    assert stored(later) in store.contents
    assert store.route == "imap"
    assert server.heard[-1] == "LOGOUT"
    assert server.count("BODY[]") == 0


async def test_news_in_one_packet_with_the_consent_to_wait_is_noticed(store, monkeypatch):
    server, later = ScriptedImap(), bounce()

    async def consent_with_news(reader, writer):
        if server.inbox:
            await wait_for_news(reader, writer)
            return
        server.add(later)
        writer.write(b"+ idling\r\n* OK Still here\r\n* 1 EXISTS\r\n")
        await reader.readline()

    wait_for_news = server._wait_for_news
    monkeypatch.setattr(server, "_wait_for_news", consent_with_news)
    async with brought_in_from(server, store, wait_seconds=60):
        await until(lambda: server.count("IDLE") >= 2)
    assert store.contents == {stored(later)}


async def test_waiting_is_begun_anew_before_the_server_ends_it(store):
    server = ScriptedImap()
    async with brought_in_from(server, store, wait_seconds=0.05):
        await until(lambda: server.count("IDLE") >= 3)
    assert server.count("LOGIN") == 1


async def test_a_server_that_does_not_tell_is_asked(store):
    server = ScriptedImap(can="UIDPLUS")
    async with brought_in_from(server, store):
        await until(lambda: server.count("SELECT") >= 3)
        server.add(bounce())
        await until(lambda: not server.unseen)
    assert server.count("IDLE") == 0
    assert len(store.kept) == 1


@pytest.mark.parametrize("can", ["IDLE UIDPLUS", "MOVE UIDPLUS", ""])
async def test_stored_mails_are_moved_where_a_folder_is_set(store, can):
    server = ScriptedImap(bounce(), b"x" * (MOST + 1), can=can)
    account = replace(ACCOUNT, done="Klaar", apart="Apart gezet")
    async with brought_in_from(server, store, account=account):
        await until(lambda: not server.unseen)
        await until(lambda: server.count("SELECT") >= 2 or server.count("IDLE"))
    assert [list(server.folders[name]) for name in ("Klaar", "Apart gezet")] == [[1], [2]]
    assert list(server.inbox) == ([] if can else [1, 2])
    assert len(store.kept) == 1


async def test_mails_are_taken_in_batches_and_many_are_searched_in_parts(store, monkeypatch):
    monkeypatch.setattr("bode.engine.routes.imap_mailbox._WINDOW", 3)
    server = ScriptedImap(*(bounce() for _ in range(10)))
    async with brought_in_from(server, store, batch=4):
        await until(lambda: not server.unseen)
    assert (len(store.kept), store.asked) == (10, 10)
    assert server.count("SELECT") >= 3


@pytest.mark.parametrize("claimed", [None, 100])
async def test_a_huge_mail_is_set_apart_unread_whatever_the_server_says_of_it(store, claimed):
    server = ScriptedImap(b"x" * (MOST + 1), b"x" * MOST)
    if claimed:
        server.claims[1] = claimed
    with structlog.testing.capture_logs() as logs:
        async with brought_in_from(server, store):
            await until(lambda: not server.unseen)
    assert store.contents == {stored(b"x" * MOST, "")}
    assert server.inbox[1].flags == {"\\Seen", "\\Flagged"}
    assert [(entry["name"], entry["reason"]) for entry in logs if entry["event"] == "inbound.set_apart"] == [
        ("7/1", "too_large")
    ]
    assert (server.count("UID FETCH 1 (BODY.PEEK") == 0) is (claimed is None)


async def test_a_mail_the_server_does_not_give_is_set_apart(store):
    server = ScriptedImap(bounce(), bounce())
    server.refusing = {1}
    async with brought_in_from(server, store):
        await until(lambda: not server.unseen)
    assert (server.inbox[1].flags, server.inbox[2].flags) == ({"\\Seen", "\\Flagged"}, {"\\Seen"})
    assert (len(store.kept), server.count("LOGIN")) == (1, 1)


async def test_a_mail_on_which_the_server_breaks_does_not_hold_up_the_others(store):
    server = ScriptedImap(bounce(), bounce())
    server.dropping = {1}
    async with brought_in_from(server, store):
        await until(lambda: not server.unseen)
    assert (server.inbox[1].flags, server.inbox[2].flags) == ({"\\Seen", "\\Flagged"}, {"\\Seen"})
    assert (server.drops, server.count("LOGIN"), len(store.kept)) == (3, 4, 1)


async def test_a_mail_on_which_storing_breaks_does_not_hold_up_the_others(store):
    poison = bounce()
    server = ScriptedImap(poison, bounce())
    store.trouble = lambda content: ValueError("odd") if poison in content else None
    async with brought_in_from(server, store):
        await until(lambda: not server.unseen)
    assert server.inbox[1].flags == {"\\Seen", "\\Flagged"}
    assert len(store.kept) == 1


async def test_a_server_that_lets_nothing_be_marked_holds_up_nothing(store):
    server = ScriptedImap(bounce(), bounce())
    server.fixed = True
    async with brought_in_from(server, store, wait_seconds=0.02):
        await until(lambda: server.count("IDLE") >= 3)
    assert (len(store.kept), store.asked, server.count("LOGIN")) == (2, 2, 1)


async def test_a_dropped_connection_is_made_anew(store):
    server = ScriptedImap(bounce())
    with structlog.testing.capture_logs() as logs:
        async with brought_in_from(server, store, wait_seconds=60):
            for number in range(1, 4):
                await until(lambda number=number: server.count("IDLE") == number)
                server.disconnect()
                server.add(bounce())
            await until(lambda: not server.unseen)
    assert len(store.kept) == 4
    assert "inbound.imap_away" in {entry["event"] for entry in logs}


async def test_a_folder_made_anew_with_the_same_uids_is_brought_in(store):
    same, fresh = bounce(), bounce()
    server = ScriptedImap(bounce(), same)
    async with brought_in_from(server, store):
        await until(lambda: server.count("IDLE") == 1)
        server.begin_anew(same, fresh)
        await until(lambda: not server.unseen)
    assert len(store.kept) == 3
    assert {stored(same), stored(fresh)} <= store.contents


async def test_while_the_database_is_away_mails_stay_unseen(store):
    server = ScriptedImap(bounce(), bounce())
    store.trouble = lambda content: away()
    async with brought_in_from(server, store):
        await until(lambda: store.asked >= 3)
        assert server.unseen == [1, 2]
        store.trouble = lambda content: None
        await until(lambda: not server.unseen)
    assert (len(store.kept), server.count("LOGIN")) == (2, 1)


async def test_the_route_ends_in_time_whatever_the_server_does_not_answer():
    async def end(command: str) -> None:
        server = ScriptedImap(bounce())
        server.silent = {command}
        # What hangs before the server has said a word goes on by itself until its time is over.
        account = replace(ACCOUNT, timeout_seconds=1.5)
        async with brought_in_from(server, MemoryStore(), account=account):
            await until(lambda: command in {"CONNECT", "LOGOUT"} or server.count(command))
            await asyncio.sleep(0.1)

    await asyncio.gather(*map(end, ("CONNECT", "LOGIN", "SEARCH", "FETCH", "IDLE", "LOGOUT")))


async def test_a_mail_that_somebody_removed_is_passed_over(store):
    server = ScriptedImap(bounce(), bounce())
    server._size = server._fetch
    server._fetch = lambda rest: server.inbox.pop(1, None) and [] if rest.startswith("1 ") else server._size(rest)
    async with brought_in_from(server, store):
        await until(lambda: not server.unseen)
    assert (len(store.kept), list(server.inbox), server.count("LOGIN")) == (1, [2], 1)


async def test_a_wrong_password_is_tried_again_and_stands_nowhere(store, caplog):
    server = ScriptedImap(bounce())
    account = replace(ACCOUNT, password="fout en geheim")
    caplog.set_level("DEBUG")
    with structlog.testing.capture_logs() as logs:
        async with brought_in_from(server, store, account=account):
            await until(lambda: server.count("LOGIN") >= 3)
    assert {(entry["event"], entry["error"]) for entry in logs} == {("inbound.imap_away", "LoginError")}
    assert all("geheim" not in text for text in (repr(logs), caplog.text, repr(account), str(account)))
    assert store.asked == 0


def test_a_password_is_not_sent_in_the_clear_over_a_network():
    with pytest.raises(ValueError, match="TLS only"):
        ImapAccount("imap.example.nl", "bounces", PASSWORD, tls=Tls.NONE)


# ---------------------------------------------------------------------------------------------------------- IMAP, OAuth


class TokenServer:
    """A token endpoint (RFC 6749) that gives what it was told to, one answer after the other; the last one stays."""

    def __init__(self, *answers: dict[str, object] | bytes, status: int = 200) -> None:
        self.answers = list(answers)
        self.status = status
        self.asked: list[dict[str, str]] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(re.search(r"content-length: (\d+)", head, re.IGNORECASE)[1])
        self.asked.append(dict(parse_qsl((await reader.readexactly(length)).decode())))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        writer.write(f"HTTP/1.1 {self.status} x\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)
        writer.close()


@asynccontextmanager
async def serving(server: TokenServer, port: int = 0) -> AsyncIterator[TokenServer]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", port)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/token"
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()


def granted(token: str, **more: object) -> dict[str, object]:
    return {"access_token": token, "token_type": "Bearer", "expires_in": 3600, **more}


def with_oauth(server: TokenServer, **changes: str) -> ImapAccount:
    client = OAuthClient(server.url, "bode", **{"client_secret": "geheim 9", **changes})
    return replace(ACCOUNT, user="bounces@voorbeeldstad.example", password=None, oauth=client)


MICROSOFTS = b"user=bounces@voorbeeldstad.example\x01auth=Bearer %b\x01\x01"
STANDARD = b"n,a=bounces@voorbeeldstad.example,\x01auth=Bearer %b\x01\x01"


@pytest.mark.parametrize(("can", "form"), [("AUTH=XOAUTH2", MICROSOFTS), ("AUTH=XOAUTH2 AUTH=OAUTHBEARER", STANDARD)])
async def test_a_mailbox_is_opened_with_an_access_token_that_is_asked_for_once(store, can, form):
    server = ScriptedImap(bounce(), can=f"IDLE {can}")
    server.good = {form % b"aaa.bbb"}
    async with serving(TokenServer(granted("aaa.bbb"))) as tokens:
        account = with_oauth(tokens, scope="https://outlook.office365.com/.default")
        async with brought_in_from(server, store, account=account):
            await until(lambda: not server.unseen)
            server.disconnect()
            server.add(bounce())
            await until(lambda: not server.unseen)
    assert len(store.kept) == 2
    assert tokens.asked == [
        {
            "client_id": "bode",
            "client_secret": "geheim 9",
            "grant_type": "client_credentials",
            "scope": "https://outlook.office365.com/.default",
        }
    ]
    assert server.count("LOGIN ") == 0


async def test_a_token_that_is_not_taken_is_replaced_and_a_new_refresh_token_is_used(store):
    server = ScriptedImap(bounce(), can="IDLE AUTH=XOAUTH2")
    server.good = {MICROSOFTS % b"new"}
    async with serving(TokenServer(granted("old", refresh_token="second"), granted("new"))) as tokens:
        account = with_oauth(tokens, refresh_token="first")
        with structlog.testing.capture_logs() as logs:
            async with brought_in_from(server, store, account=account):
                await until(lambda: not server.unseen)
    assert [(form["grant_type"], form["refresh_token"]) for form in tokens.asked] == [
        ("refresh_token", "first"),
        ("refresh_token", "second"),
    ]
    assert [entry["error"] for entry in logs if entry["event"] == "inbound.imap_away"] == ["token_not_accepted"]
    assert server.conceded == [b""]


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        ({"error": "invalid_client", "error_description": "AADSTS7000215"}, 401, "token_refused:invalid_client"),
        ({"error": "Geheim: geheim 9"}, 400, "token_refused:400"),
        (b"<html>", 502, "token_refused:502"),
        (b"<html>", 200, "token_answer_not_understood"),
        (granted("two lines\r\nA1 LOGOUT"), 200, "token_answer_not_understood"),
        (granted("aaa", token_type="mac"), 200, "token_answer_not_understood"),
        (b"x" * 200_000, 200, "token_answer_too_long"),
    ],
)
async def test_a_token_endpoint_that_gives_none_is_told_in_a_word_and_no_secret(store, caplog, answer, status, error):
    server = ScriptedImap(bounce(), can="IDLE AUTH=XOAUTH2")
    caplog.set_level("DEBUG")
    async with serving(TokenServer(answer, status=status)) as tokens:
        account = with_oauth(tokens, refresh_token="zeer geheim 3")
        with structlog.testing.capture_logs() as logs:
            async with brought_in_from(server, store, account=account):
                await until(lambda: len(tokens.asked) >= 2)
    assert {entry["error"] for entry in logs} == {error}
    assert all("geheim" not in text for text in (repr(logs), caplog.text, repr(account)))
    assert server.count("AUTHENTICATE") == 0
    assert server.unseen == [1]


async def test_a_token_endpoint_that_is_away_is_tried_again(store):
    nobody = TokenServer()
    nobody.url = "http://127.0.0.1:9/token"
    with structlog.testing.capture_logs() as logs:
        async with brought_in_from(ScriptedImap(can="AUTH=XOAUTH2"), store, account=with_oauth(nobody)):
            await until(lambda: len(logs) >= 2)
    assert {entry["error"] for entry in logs} == {"token_endpoint_away:ConnectError"}


async def test_a_mailbox_that_takes_no_tokens_is_told_so(store):
    server = ScriptedImap(bounce(), can="IDLE AUTH=PLAIN")
    async with serving(TokenServer(granted("aaa"))) as tokens:
        with structlog.testing.capture_logs() as logs:
            async with brought_in_from(server, store, account=with_oauth(tokens)):
                await until(lambda: len(logs) >= 2)
    assert ({entry["error"] for entry in logs}, tokens.asked) == ({"oauth_not_offered"}, [])


async def test_a_token_is_renewed_a_minute_before_it_expires():
    time = [0.0]
    async with serving(TokenServer(granted("a"), granted("b", expires_in="900"), granted("c", expires_in="x"))) as told:
        client = OAuthClient(told.url, "bode", "geheim")
        tokens = AccessTokens(client, timeout_seconds=5, now=lambda: time[0])

        async def at(seconds: float) -> str:
            time[0] = seconds
            return await asyncio.to_thread(tokens.give)

        assert [await at(0), await at(3539), await at(3540)] == ["a", "a", "b"]
        assert [await at(3540 + 839), await at(3540 + 840)] == ["b", "c"]
        assert await at(3540 + 840 + 241) == "c"
        assert len(told.asked) == 4, "without a lifetime that can be read, after five minutes"


@pytest.mark.parametrize(
    "client",
    [
        {"token_url": "http://login.example/token", "client_secret": "x"},
        {"token_url": "ftp://127.0.0.1/token", "client_secret": "x"},
        {"token_url": "https://login.example/token"},
    ],
)
def test_a_client_that_is_unsafe_or_has_no_secret_is_refused(client):
    with pytest.raises(ValueError, match=r"TLS only|needs a client_secret"):
        OAuthClient(client_id="bode", **client)


def test_an_account_has_a_password_or_oauth():
    client = OAuthClient("https://login.example/token", "bode", "geheim")
    for secrets in ({}, {"password": "x", "oauth": client}):
        with pytest.raises(ValueError, match="a password, or oauth"):
            ImapAccount("imap.example.nl", "bounces", **secrets)
    with pytest.raises(ValueError, match="one line"):
        ImapAccount("imap.example.nl", "x\r\nA1 LOGOUT", "y")


# ------------------------------------------------------------------------------------------------------------ IMAP, TLS


@dataclass
class Certificate:
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "cert.pem"

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Certificate:
    made = Certificate(tmp_path_factory.mktemp("certificate"))
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    there = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    begins = datetime.now(UTC) - timedelta(hours=1)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(there), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made.path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


@pytest.fixture
def server_tls(certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.path, certificate.key)
    return context


async def test_mails_are_brought_in_over_tls(store, certificate, server_tls):
    server = ScriptedImap(bounce())
    account = replace(ACCOUNT, tls=Tls.TLS, ca_file=certificate.path)
    async with brought_in_from(server, store, account=account, context=server_tls, wait_seconds=60):
        await until(lambda: server.count("IDLE"))
        server.add(bounce())
        await until(lambda: len(store.kept) == 2)
    assert server.heard[-1] == "LOGOUT"


async def test_a_server_that_is_not_trusted_is_told_nothing(store, server_tls):
    server = ScriptedImap(bounce())
    with structlog.testing.capture_logs() as logs:
        async with brought_in_from(server, store, account=replace(ACCOUNT, tls=Tls.TLS), context=server_tls):
            await until(lambda: len(logs) >= 2)
    assert {entry["error"] for entry in logs} == {"SSLCertVerificationError"}
    assert server.heard == []


async def test_a_server_without_starttls_is_not_told_the_password(store):
    server = ScriptedImap(bounce())
    with structlog.testing.capture_logs() as logs:
        async with brought_in_from(server, store, account=replace(ACCOUNT, tls=Tls.STARTTLS)):
            await until(lambda: len(logs) >= 2)
    assert {entry["error"] for entry in logs} == {"CapabilityError"}
    assert server.count("LOGIN") == 0


# -------------------------------------------------------------------------------------------------------- IMAP, Dovecot

DOVECOT = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <{certificate.path}
ssl_key = <{certificate.key}
mail_location = maildir:{folder}/mail
auth_mechanisms = plain oauthbearer xoauth2
passdb {{
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = {folder}/oauth2
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {folder}/passwd
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={folder}/home
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {starttls}
  }}
  inet_listener imaps {{
    port = {tls}
    ssl = yes
  }}
}}
"""


@dataclass
class Dovecot:
    folder: Path
    ports: dict[Tls, int]
    introspection: int
    """The port at which it asks whether an access token is good (RFC 7662)."""

    def deliver(self, mail: bytes) -> None:
        box = Maildir.__new__(Maildir)
        box.folder = self.folder / "mail"
        name = box.deliver(mail)
        shutil.chown(self.folder / "mail" / "new" / name, "nobody", "nogroup")

    def account(self, tls: Tls, certificate: Certificate, **changes) -> ImapAccount:
        return ImapAccount(
            "localhost", "bounces", "geheim é", self.ports[tls], tls=tls, ca_file=certificate.path, **changes
        )

    def names(self, folder: str) -> list[str]:
        return sorted(path.name for part in ("new", "cur") for path in (self.folder / "mail" / folder / part).iterdir())


@pytest.fixture
def dovecot(certificate) -> AsyncIterator[Dovecot]:
    program = shutil.which("dovecot", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "this test needs Debian's dovecot-imapd: apt-get install dovecot-imapd"
    assert os.geteuid() == 0, "this test starts dovecot, which starts as root only"
    folder = Path(tempfile.mkdtemp(prefix="bode-dovecot-"))
    folder.chmod(0o755)
    for name in ("mail", "mail/new", "mail/cur", "mail/tmp", "home"):
        (folder / name).mkdir(mode=0o755)
        shutil.chown(folder / name, "nobody", "nogroup")
    (folder / "passwd").write_text("bounces:geheim é\n")
    listeners = {tls: socket.create_server(("127.0.0.1", 0)) for tls in Tls}
    ports = {tls: listener.getsockname()[1] for tls, listener in listeners.items()}
    for listener in listeners.values():
        listener.close()
    introspection = ports.pop(Tls.NONE)
    (folder / "oauth2").write_text(
        f"introspection_url = http://127.0.0.1:{introspection}/introspect\nintrospection_mode = post\n"
        "force_introspection = yes\nusername_attribute = username\nactive_attribute = active\nactive_value = true\n"
    )
    config = folder / "dovecot.conf"
    config.write_text(
        DOVECOT.format(folder=folder, certificate=certificate, tls=ports[Tls.TLS], starttls=ports[Tls.STARTTLS])
    )
    process = subprocess.Popen([program, "-F", "-c", str(config)], stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 20
        while not (folder / "run" / "master.pid").exists() or "starting up" not in (folder / "log").read_text():
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < end, "dovecot did not start"
            time.sleep(0.05)
        yield Dovecot(folder, ports, introspection)
    finally:
        process.terminate()
        process.communicate(timeout=20)
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("tls", [Tls.TLS, Tls.STARTTLS])
async def test_dovecot_mails_are_brought_in_moved_and_waited_for(store, dovecot, certificate, tls):
    mails = [bounce() for _ in range(7)]
    for mail in [*mails, b"x" * (MOST + 1)]:
        dovecot.deliver(mail)
    account = dovecot.account(tls, certificate, done="Klaar", apart="Apart gezet")
    async with running(imap_route(store, account, batch=3, wait_seconds=60)):
        await until(lambda: len(store.kept) == 7, 30)
        await until(lambda: not dovecot.names("."))
        assert [len(dovecot.names(name)) for name in (".Klaar", ".Apart gezet")] == [7, 1]
        await asyncio.sleep(0.5)
        mails.append(bounce())
        dovecot.deliver(mails[-1])
        await until(lambda: len(dovecot.names(".Klaar")) == 8, 30)
    assert store.contents == {stored(mail) for mail in mails}


@pytest.mark.slow
async def test_dovecot_mails_are_marked_and_not_brought_in_twice(store, dovecot, certificate):
    for mail in (bounce(), b"x" * (MOST + 1), bounce()):
        dovecot.deliver(mail)
    account = dovecot.account(Tls.TLS, certificate)
    for _ in range(2):
        async with running(imap_route(store, account, wait_seconds=0.1)):
            await until(lambda: sum(",FS" in name or ",S" in name for name in dovecot.names(".")) == 3, 30)
            await asyncio.sleep(0.5)
    assert sorted(name.partition(":")[2] for name in dovecot.names(".")) == ["2,FS", "2,S", "2,S"]
    assert (len(store.kept), store.asked) == (2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
async def test_dovecot_lets_in_with_an_access_token(store, dovecot, certificate, monkeypatch, mechanism):
    has = imapclient.IMAPClient.has_capability
    hidden = "AUTH=OAUTHBEARER" if mechanism == "XOAUTH2" else "AUTH=XOAUTH2"
    monkeypatch.setattr(imapclient.IMAPClient, "has_capability", lambda self, name: name != hidden and has(self, name))
    dovecot.deliver(bounce())
    said = TokenServer({"active": True, "username": "bounces"})
    async with serving(TokenServer(granted("aaa.bbb"))) as tokens, serving(said, dovecot.introspection):
        account = replace(with_oauth(tokens), host="localhost", user="bounces", port=dovecot.ports[Tls.TLS])
        account = replace(account, tls=Tls.TLS, ca_file=certificate.path)
        async with running(imap_route(store, account, wait_seconds=60)):
            await until(lambda: len(store.kept) == 1, 30)
    assert said.asked[0]["token"] == "aaa.bbb"
