"""What a mail server's words and silences mean: the one place where they become answers.

An SMTP reply that is not a success is not judged here: `MailRefused` carries it, and Bode's bounce rules say whether it
is soft, hard, or about us.
"""

from __future__ import annotations

import errno
import socket
import ssl
from enum import StrEnum

import aiosmtplib

from bode_adapters.contract import Answer, MailRefused, RefusalKind, Refused, Unavailable, Unknown
from bode_adapters.email.address import Mailbox, without_addresses


class Phase(StrEnum):
    """How far a transaction came. All but `STARTTLS` are words of `MailRefused`."""

    CONNECT = "connect"
    """Nothing but a banner yet."""
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL_FROM = "mail_from"
    RCPT_TO = "rcpt_to"
    DATA = "data"
    """From the command up to, not including, the block that holds the final dot."""
    AFTER_DOT = "after_dot"
    """The final dot is out, or may be: from here a silence is `Unknown`."""


BEFORE_MAIL = frozenset({Phase.CONNECT, Phase.EHLO, Phase.STARTTLS, Phase.AUTH})
"""A failure here is about the line, and so the same for every mail that waits for one."""

REFUSALS: dict[str, RefusalKind] = {
    # Ours: found before or instead of a reply.
    "address_syntax": RefusalKind.ADDRESSEE,
    "no_email": RefusalKind.ADDRESSEE,  # a carrier was asked for someone without an address
    "smtputf8": RefusalKind.ADDRESSEE,  # RFC 6531: the local part needs it and this relay does not offer it
    "size": RefusalKind.CONTENT,  # RFC 1870: larger than the relay says it takes
    "sender_address": RefusalKind.CONFIGURATION,
    "return_path": RefusalKind.CONFIGURATION,
    "no_return_path": RefusalKind.DEFECT,
    # The line. An attacker who strips STARTTLS looks like a relay that does not offer it: a person must look.
    "tls:not_offered": RefusalKind.CONFIGURATION,
    "tls:certificate": RefusalKind.CONFIGURATION,
    "tls:handshake": RefusalKind.CONFIGURATION,
    "tls:refused": RefusalKind.CONFIGURATION,
    "auth:not_offered": RefusalKind.CONFIGURATION,
    "auth:refused": RefusalKind.CONFIGURATION,
}


class LocalRefusalError(Exception):
    """Found out on our side that this mail, or this line, is a final no. `code` is a key of `REFUSALS`."""

    def __init__(self, code: str) -> None:
        """Keep the code; there is nothing else that may be told."""
        super().__init__(code)
        self.code = code


class ReplyError(Exception):
    """The server answered with something that is not a success."""

    def __init__(self, code: int, text: str) -> None:
        """Keep the code; the text stays out of the message, for it may name an address."""
        super().__init__(str(code))
        self.code = code
        self.text = text


FAILURES = (aiosmtplib.SMTPException, OSError, LocalRefusalError, ReplyError)
"""All that can go wrong between us and a relay; `answer` knows each. An OSError may be TLS, a name, a socket."""

_CODES = range(200, 600)


def refused(code: str, text: str = "") -> Refused:
    """Give the refusal for a code of the table; a code made of a server's number takes its prefix's kind."""
    kind = REFUSALS.get(code) or REFUSALS[f"{code.partition(':')[0]}:refused"]
    return Refused(code=code, kind=kind, text=text)


def answer(error: Exception, *, phase: Phase, mta: str) -> Answer:
    """Translate a failure (one of `FAILURES`) in a phase."""
    match error:
        case LocalRefusalError(code=code):
            return refused(code)
        case ReplyError(code=code, text=text) | aiosmtplib.SMTPResponseException(code=code, message=text):
            return _of_reply(code, clean(text), phase, mta)
        case _ if phase is Phase.AFTER_DOT:
            return Unknown("lost_after_dot")
        case ssl.SSLError():
            return _of_tls(error)
        case aiosmtplib.SMTPConnectError(__cause__=ssl.SSLError() as cause):
            return _of_tls(cause)
        case TimeoutError():
            return Unavailable(f"timeout:{phase}")
        case aiosmtplib.SMTPConnectError() | OSError():
            return Unavailable(f"{phase}:{_reason(error)}")
        case _:
            # aiosmtplib raises its bare SMTPException where login finds no method that both sides have; the
            # other places that raise it are ones this adapter checks beforehand.
            return refused("auth:not_offered") if phase is Phase.AUTH else Unavailable(f"{phase}:protocol")


def _of_reply(code: int, text: str, phase: Phase, mta: str) -> Answer:
    if code not in _CODES:
        # aiosmtplib's -1: the line was no SMTP reply. After the dot that says nothing about the mail.
        return Unknown("lost_after_dot") if phase is Phase.AFTER_DOT else Unavailable(f"{phase}:malformed_reply")
    if phase is Phase.STARTTLS:
        # RFC 3207: 454 is "not available due to temporary reason".
        return Unavailable(f"tls:{code}") if code < 500 else refused(f"tls:{code}")  # noqa: PLR2004
    if phase is Phase.AUTH and code >= 500:  # noqa: PLR2004
        # RFC 4954: a 454 is the relay's own trouble and goes on as a reply; 5xx is our password or our rights.
        return refused(f"auth:{code}")
    return MailRefused(phase=phase.value, code=code, text=text, mta=mta)


def _of_tls(error: ssl.SSLError) -> Answer:
    if isinstance(error, ssl.SSLCertVerificationError):
        return refused("tls:certificate", error.verify_message)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Unavailable("tls:lost")
    return refused("tls:handshake", error.reason or "")


def _reason(error: Exception) -> str:
    """Name the cause without its text: that holds the host, and on some systems more."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, socket.gaierror):
        return "name_resolution"
    if isinstance(cause, OSError) and cause.errno is not None:
        return errno.errorcode.get(cause.errno, str(cause.errno))
    return "lost"


def clean(text: str) -> str:
    """Make a reply text that can be stored: bytes that were no UTF-8 are shown as replaced."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def receipt_code(code: int, text: str, recipient: Mailbox) -> str:
    """Give the reply of a success for evidence, with no address in it and of a bounded length."""
    return f"{code} {without_addresses(' '.join(clean(text).split()), recipient)}"[:200]
