"""The notifier and the carrier: both hand mail to a relay, and an acceptance is *sent*, not *delivered*.

What comes later (a DSN, an out-of-office reply) comes to the return path: Bode's inbound mail, not this adapter's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Self

from bode_adapters.contract import (
    Answer,
    BoxMessage,
    Capabilities,
    Clock,
    Identifier,
    Journal,
    NoticeMail,
    Reachability,
    Refused,
    Sender,
    Trouble,
    Unknown,
)
from bode_adapters.email import mime
from bode_adapters.email.address import mailbox, own_mailbox
from bode_adapters.email.answers import refused
from bode_adapters.email.connection import Envelope, Mail
from bode_adapters.email.relays import Relays
from bode_adapters.email.settings import SmtpSettings

BULK = 1000
MOST_DOCUMENTS_BYTES = 7_000_000
"""After base64 about 10 MB, which is what most mail systems take; a relay that says less (SIZE) is heard as well."""
BUILT_IN_THREAD = 256 * 1024
"""Documents from this size on are encoded outside the event loop."""


class _Smtp:
    """What both have in common: relays."""

    def __init__(self, settings: SmtpSettings, *, clock: Clock) -> None:
        """Prepare; raises `SettingError` for a certificate file that cannot be used."""
        self._clock = clock
        self._relays = Relays(settings, clock=clock)
        self._at_once = max(relay.connections for relay in settings.relays)

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], *, clock: Clock) -> Self:
        """Build one from its table; raises `SettingError`. The keys are in docs/adapters/email.md."""
        return cls(SmtpSettings.read(settings), clock=clock)

    async def open(self) -> None:
        """Make ready. No line is made until a mail needs one: a relay that is down does not stop a start."""
        await self._relays.open()

    async def close(self) -> None:
        """Close the kept lines."""
        await self._relays.close()

    def keep_journal(self, journal: Journal) -> None:
        """Tell this journal of each mail, right before its final dot and after the reply to that."""
        self._relays.journal = journal

    async def probe(self) -> Sequence[Trouble]:
        """Make a line to every relay, and log in where there is a login. No mail is sent."""
        return await self._relays.probe()


class SmtpNotifier(_Smtp):
    """Sends notices through a relay.

    A notice sent twice is two mails, with one Message-ID: harmless, and not recognised by the relay.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What an SMTP relay can do: take a mail, and not tell about it later."""
        return Capabilities(bulk=BULK, repeat_is_recognised=False)

    async def notify(self, *, notices: Sequence[NoticeMail]) -> Sequence[Answer]:
        """Send notices over kept lines; `Placed` means that the relay took it over (RFC 5321 section 6.1)."""
        writer = mime.NoticeWriter()

        async def write(notice: NoticeMail, envelope: Envelope) -> Mail:
            data = writer.write(notice, sender=envelope.sender, to=envelope.recipient, at=self._clock())
            return _mail(notice, envelope, data)

        return await self._relays.deliver_all(notices, address=_address_of_notice, write=write)


class SmtpCarrier(_Smtp):
    """Sends messages themselves by e-mail, documents attached: for what may travel unprotected (law row L2)."""

    @property
    def capabilities(self) -> Capabilities:
        """What an SMTP relay can do: no repeat is recognised, nothing can be asked later."""
        return Capabilities(
            bulk=BULK,
            repeat_is_recognised=False,
            at_once=self._at_once,
            max_documents_bytes=MOST_DOCUMENTS_BYTES,
        )

    async def check(self, *, addressees: Sequence[Identifier], sender: Sender) -> Sequence[Reachability]:
        """Tell that mail cannot say who is reachable (VRFY is off nearly everywhere: RFC 5321 section 7.3)."""
        del sender
        return [Reachability(reachable=None, checked_at=self._clock(), code="no_check") for _ in addressees]

    async def place(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Send messages over kept lines. `Placed.at` is when it left us (law row L10)."""
        return await self._relays.deliver_all(messages, address=_address_of_message, write=self._write)

    async def lookup(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Tell that mail cannot be asked for: what is unknown stays so until a DSN comes, or none."""
        return [Unknown("no_lookup") for _ in messages]

    async def _write(self, message: BoxMessage, envelope: Envelope) -> Mail:
        sender, to, now = envelope.sender, envelope.recipient, self._clock()
        if _size(message) < BUILT_IN_THREAD:
            data = mime.carried(message, sender=sender, to=to, at=now)
        else:
            data = await asyncio.to_thread(mime.carried, message, sender=sender, to=to, at=now)
        return _mail(message, envelope, data)


def _mail(item: NoticeMail | BoxMessage, envelope: Envelope, data: bytes) -> Mail:
    return Mail(
        envelope=envelope,
        message_id=mime.message_id(item.id, envelope.sender),
        # What makes the return path ours travels a second time: a report that lost the one may keep the other.
        envelope_id=f"{item.id}.{envelope.return_path.local}",
        data=data,
        deadline=item.deadline if isinstance(item, NoticeMail) else None,
    )


def _size(message: BoxMessage) -> int:
    return sum(len(document.content) for document in message.documents)


def _address_of_notice(notice: NoticeMail) -> Envelope | Refused:
    return _envelope(notice.sender, notice.return_path, notice.email)


def _address_of_message(message: BoxMessage) -> Envelope | Refused:
    if message.email is None:
        return refused("no_email")
    if message.return_path is None:
        return refused("no_return_path")
    if _size(message) > MOST_DOCUMENTS_BYTES:
        return refused("size")
    return _envelope(message.sender, message.return_path, message.email)


def _envelope(sender: Sender, return_path: str, email: str) -> Envelope | Refused:
    """Give sender, return path and recipient, or whose address cannot travel."""
    own = own_mailbox(sender.email)
    if own is None or own.needs_utf8:
        return refused("sender_address")
    back = mailbox(return_path)
    if back is None or back.needs_utf8:
        return refused("return_path")
    to = mailbox(email)
    if to is None:
        return refused("address_syntax")
    return Envelope(own, back, to)
