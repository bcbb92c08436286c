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
    NoticeMail,
    Reachability,
    Refused,
    Sender,
    Unknown,
)
from bode_adapters.email import mime
from bode_adapters.email.address import Mailbox, mailbox, own_mailbox
from bode_adapters.email.answers import refused
from bode_adapters.email.connection import Mail
from bode_adapters.email.pool import Pool
from bode_adapters.email.settings import SmtpSettings

BULK = 1000
MOST_DOCUMENTS_BYTES = 7_000_000
"""After base64 about 10 MB, which is what most mail systems take; a relay that says less (SIZE) is heard as well."""
BUILT_IN_THREAD = 256 * 1024
"""Documents from this size on are encoded outside the event loop."""


class _Smtp:
    """What both have in common: a pool of lines."""

    def __init__(self, settings: SmtpSettings, *, clock: Clock) -> None:
        """Prepare; raises `SettingError` for a `ca_file` that cannot be read."""
        self._clock = clock
        self._pool = Pool(settings, clock=clock)

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], *, clock: Clock) -> Self:
        """Build one from its table; raises `SettingError`. The keys are those of `SmtpSettings`."""
        return cls(SmtpSettings.read(settings), clock=clock)

    async def open(self) -> None:
        """Make ready. No line is made until a mail needs one: a relay that is down does not stop a start."""
        await self._pool.open()

    async def close(self) -> None:
        """Close the kept lines."""
        await self._pool.close()


class SmtpNotifier(_Smtp):
    """Sends notices through a relay.

    A notice sent twice is two mails, with one Message-ID: harmless, and not recognised by the relay.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What an SMTP relay can do: take a mail, and not tell about it later."""
        return Capabilities(bulk=BULK, repeat_is_recognised=False)

    async def notify(self, *, notices: Sequence[NoticeMail]) -> Sequence[Answer]:
        """Send notices, concurrently over the pool; `Placed` means that the relay took it over (RFC 5321, 6.1)."""
        return await self._pool.deliver_all(notices, self._mail)

    async def _mail(self, notice: NoticeMail) -> Mail | Refused:
        envelope = _envelope(notice.sender, notice.return_path, notice.email)
        if isinstance(envelope, Refused):
            return envelope
        sender, return_path, recipient = envelope
        return Mail(
            id=str(notice.id),
            message_id=mime.message_id(notice.id, sender),
            return_path=return_path,
            recipient=recipient,
            data=mime.notice(notice, sender=sender, to=recipient, at=self._clock()),
            deadline=notice.deadline,
        )


class SmtpCarrier(_Smtp):
    """Sends messages themselves by e-mail, documents attached: for what may travel unprotected (law row L2)."""

    @property
    def capabilities(self) -> Capabilities:
        """What an SMTP relay can do: no repeat is recognised, nothing can be asked later."""
        return Capabilities(bulk=BULK, repeat_is_recognised=False, max_documents_bytes=MOST_DOCUMENTS_BYTES)

    async def check(self, *, addressees: Sequence[Identifier], sender: Sender) -> Sequence[Reachability]:
        """Tell that mail cannot say who is reachable (VRFY is off nearly everywhere: RFC 5321, 7.3)."""
        del sender
        return [Reachability(reachable=None, checked_at=self._clock(), code="no_check") for _ in addressees]

    async def place(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Send messages, concurrently over the pool. `Placed.at` is when it left us (law row L10)."""
        return await self._pool.deliver_all(messages, self._mail)

    async def lookup(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Tell that mail cannot be asked for: what is unknown stays so until a DSN comes, or none."""
        return [Unknown("no_lookup") for _ in messages]

    async def _mail(self, message: BoxMessage) -> Mail | Refused:
        if message.email is None:
            return refused("no_email")
        if message.return_path is None:
            return refused("no_return_path")
        envelope = _envelope(message.sender, message.return_path, message.email)
        if isinstance(envelope, Refused):
            return envelope
        sender, return_path, recipient = envelope
        size = sum(len(document.content) for document in message.documents)
        if size > MOST_DOCUMENTS_BYTES:
            return refused("size")
        now = self._clock()
        if size < BUILT_IN_THREAD:
            data = mime.carried(message, sender=sender, to=recipient, at=now)
        else:
            data = await asyncio.to_thread(mime.carried, message, sender=sender, to=recipient, at=now)
        return Mail(
            id=str(message.id),
            message_id=mime.message_id(message.id, sender),
            return_path=return_path,
            recipient=recipient,
            data=data,
        )


def _envelope(sender: Sender, return_path: str, email: str) -> tuple[Mailbox, Mailbox, Mailbox] | Refused:
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
    return own, back, to
