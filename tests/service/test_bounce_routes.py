"""The routes for bounces as a configuration wires them: each ends in the same decision."""

import asyncio
import base64
import json
import smtplib

import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient

from bode.domain.parts import NoticeState as N
from bode.engine.routes.signature import sign
from bode.settings import BounceSettings, ConfigError, ImapSettings
from bode_adapters.email.mock_reports import DeliveryReport, delivery_status
from bode_ops.bounce_routes import BounceRoutes

DOMAIN = "retour.example.nl"
SECRET = "a secret that is long enough"


def bounce(app, to):
    report = DeliveryReport("goed.jan@post.example.nl", diagnostic="550 5.1.1 User unknown")
    return delivery_status(to, report, reporting_mta="mx.example.nl", at=app.clock.now())


@pytest.fixture
async def routes(app, tmp_path):
    """Give the routes, started on free ports; the port of LMTP is in `routes.lmtp_port`."""
    lmtp = {"socket": tmp_path / "lmtp.socket"}
    settings = BounceSettings(
        port=0,
        domain=DOMAIN,
        maildir={"folder": tmp_path / "maildir", "poll_seconds": 0.1},
        lmtp=lmtp,
        relays={"relay": {"secrets": [SECRET]}},
    )
    made = BounceRoutes(app.inbound, settings, is_ours=app.parts.return_path.is_ours, now=app.clock.real)
    tasks = await made.start()
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await made.stop()


@pytest.fixture
async def noticed(app):
    accepted = await app.accept()
    await app.settle()
    return accepted.id


async def decided(app, message, until):
    async def undeliverable():
        await app.settle()
        return (await app.delivery(message)).placements[0].notice.state is N.UNDELIVERABLE

    await until(undeliverable)


async def test_a_bounce_in_the_maildir_is_decided(app, noticed, routes, tmp_path, until):
    to = app.return_path(noticed)
    mail = b"Delivered-To: " + to.encode() + b"\r\n" + bounce(app, to)
    for folder in ("tmp", "new", "cur"):
        (tmp_path / "maildir" / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / "maildir" / "tmp" / "1").write_bytes(mail)
    (tmp_path / "maildir" / "tmp" / "1").rename(tmp_path / "maildir" / "new" / "1")
    await decided(app, noticed, until)


async def test_a_bounce_by_lmtp_is_decided(app, noticed, routes, tmp_path, until):
    to = app.return_path(noticed)

    def deliver():
        with smtplib.LMTP(str(tmp_path / "lmtp.socket")) as client:
            client.sendmail("", [to], bounce(app, to))

    await asyncio.to_thread(deliver)
    await decided(app, noticed, until)


async def test_a_bounce_that_a_relay_posts_is_decided(app, noticed, routes, until):
    to = app.return_path(noticed)
    body = json.dumps({"recipient": to, "message": base64.b64encode(bounce(app, to)).decode()}).encode()
    timestamp = str(int(app.clock.real().timestamp()))
    async with AsyncTestClient(Litestar([routes.webhook()])) as client:
        signature = sign(SECRET.encode(), timestamp, body)
        headers = {
            "Content-Type": "application/json",
            "X-Bode-Timestamp": timestamp,
            "X-Bode-Signature": signature,
        }
        answer = await client.post("/inbound/bounces/relay", content=body, headers=headers)
        assert answer.status_code == 204, answer.text
        forged = await client.post(
            "/inbound/bounces/relay", content=body, headers={**headers, "X-Bode-Signature": "sha256=" + "0" * 64}
        )
        assert forged.status_code == 401
    await decided(app, noticed, until)


async def test_a_password_in_the_clear_over_a_network_is_refused(app):
    settings = BounceSettings(imap=ImapSettings(host="imap.example.nl", user="bode", password="x", tls="none"))
    with pytest.raises(ConfigError, match=r"bounces\.imap"):
        BounceRoutes(app.inbound, settings, is_ours=app.parts.return_path.is_ours, now=app.clock.real)
