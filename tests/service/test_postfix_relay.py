"""Notices through a real Postfix: our own dialogue, read ahead and under TLS, against a server that others wrote.

Needs root and Debian's postfix; the mails, hosts and people are invented.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bode_adapters.contract import MailRefused, NoticeMail, Placed, RefusalKind, Refused
from bode_adapters.email import SmtpNotifier
from bode_adapters.testing.notifier import SENDER, notice

from .test_postfix import Postfix, Scripted, _need_postfix

MAILS = 300


def _with_tls(postfix: Postfix, folder: Path) -> Path:
    """Let a running Postfix ask for TLS, with a certificate for 127.0.0.1; gives the file to trust."""
    chain, trusted = folder / "chain.pem", folder / "trusted.pem"
    names = ["-subj", "/CN=relay", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run([*made, "-keyout", folder / "key.pem", "-out", trusted], check=True, capture_output=True)
    chain.write_bytes((folder / "key.pem").read_bytes() + trusted.read_bytes())
    settings = ["smtpd_tls_security_level=encrypt", f"smtpd_tls_chain_files={chain}", "smtputf8_enable=yes"]
    subprocess.run(["/usr/sbin/postconf", "-c", postfix.folder / "etc", "-e", *settings], check=True)
    with (postfix.folder / "etc" / "master.cf").open("a", encoding="utf-8") as services:
        services.write("tlsmgr unix - - n 1000? 1 tlsmgr\n")
    postfix._run("reload")
    return trusted


@pytest.mark.slow
async def test_a_real_postfix_takes_our_notices_each_once_and_refuses_what_it_does_not_relay(tmp_path: Path) -> None:
    _need_postfix()
    there = Scripted({})
    postfix = Postfix()
    try:
        port = await there.start()
        await asyncio.to_thread(postfix.start, port, {"elsewhere.example": port})
        trusted = await asyncio.to_thread(_with_tls, postfix, tmp_path)
        table = {"host": "127.0.0.1", "port": postfix.port, "ca_file": str(trusted), "connections": 4}
        notifier = SmtpNotifier.from_settings(
            table | {"helo_name": "worker.bode.example", "mails_per_connection": 40}, clock=lambda: datetime.now(UTC)
        )
        await notifier.open()
        deadline = datetime.now(UTC) + timedelta(hours=48)
        mails = [_notice(number, deadline) for number in range(MAILS)]
        answers = await notifier.notify(notices=mails)
        stranger = SmtpNotifier.from_settings(table | {"ca_file": None}, clock=lambda: datetime.now(UTC))
        (refused,) = await stranger.notify(notices=mails[:1])
        (odd,) = await notifier.notify(notices=[notice("jan@[192.0.2.999]")])
        await notifier.close()
        await stranger.close()
        assert [type(answer) for answer in answers] == [Placed] * MAILS, postfix.log()
        assert isinstance(refused, Refused)
        assert (refused.code, refused.kind) == ("tls:certificate", RefusalKind.CONFIGURATION)
        assert isinstance(odd, MailRefused)
        assert odd.phase == "rcpt_to"
        until = time.monotonic() + 60
        while len(there.kept) < MAILS and time.monotonic() < until:  # noqa: ASYNC110 - Postfix sets no event
            await asyncio.sleep(0.1)
        for mail in mails:
            (arrived,) = there.kept[mail.email]
            assert f"Message-ID: <{mail.id}@voorbeeldstad.example>\r\n".encode() in arrived
            assert b"\r\n.leading dot\r\n" in arrived
        assert "improper command pipelining" not in postfix.log()
    finally:
        await asyncio.to_thread(postfix.stop)
        await there.stop()


def _notice(number: int, deadline: datetime) -> NoticeMail:
    base = notice(f"b{number}@post.example.nl", text=".leading dot\n.\nEinde\n")
    return NoticeMail(base.id, SENDER, base.email, base.return_path, base.subject, base.text, deadline=deadline)
