"""What a mail server's words and silences mean: the one place where they become answers.

An SMTP reply that is not a success is not judged here: `MailRefused` carries it, and Bode's bounce rules say whether it
is soft, hard, or about us.
"""

from __future__ import annotations

import errno
import socket
import ssl
from enum import StrEnum

from bode_adapters.contract import Answer, MailRefused, RefusalKind, Refused, Unavailable, Unknown
from bode_adapters.email.address import Mailbox, without_addresses
from bode_adapters.email.replies import NotSmtpError, Reply
from bode_adapters.email.wire import SpokeTooSoonError
from bode_adapters.oauth import NoToken


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


REFUSALS: dict[str, RefusalKind] = {
    # Ours: found before or instead of a reply.
    "address_syntax": RefusalKind.ADDRESSEE,
    "no_email": RefusalKind.ADDRESSEE,  # a carrier was asked for someone without an address
    "smtputf8": RefusalKind.ADDRESSEE,  # RFC 6531: the local part needs it and no relay offers it
    "size": RefusalKind.CONTENT,  # RFC 1870: larger than the relay says it takes
    "sender_address": RefusalKind.CONFIGURATION,
    "return_path": RefusalKind.CONFIGURATION,
    "no_return_path": RefusalKind.DEFECT,
    # The line. An attacker who strips STARTTLS looks like a relay that does not offer it: a person must look.
    "tls:not_offered": RefusalKind.CONFIGURATION,
    "tls:injected": RefusalKind.CONFIGURATION,
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

    def __init__(self, reply: Reply) -> None:
        """Keep the reply; its text stays out of the message, for it may name an address."""
        super().__init__(str(reply.code))
        self.reply = reply


FAILURES = (OSError, LocalRefusalError, ReplyError, NotSmtpError, SpokeTooSoonError, NoToken)
"""All that can go wrong between us and a relay; `answer` knows each. An OSError can be TLS, a name or a wait."""

CLOSING = 421
"""RFC 5321 section 3.8: the server takes leave, whatever it was asked."""
_FINAL = range(500, 600)


def refused(code: str, text: str = "") -> Refused:
    """Give the refusal for a code of the table; a code made of a server's number takes its prefix's kind."""
    kind = REFUSALS.get(code) or REFUSALS[f"{code.partition(':')[0]}:refused"]
    return Refused(code=code, kind=kind, text=text)


def answer(error: Exception, *, phase: Phase, mta: str) -> Answer:
    """Translate a failure (one of `FAILURES`) in a phase."""
    match error:
        case LocalRefusalError(code=code):
            return refused(code)
        case ReplyError(reply=reply):
            return _of_reply(reply, phase, mta)
        case NoToken():
            return refused(f"auth:{error}") if error.is_ours else Unavailable(f"auth:{error}")
        case _ if phase is Phase.AFTER_DOT:
            return Unknown("lost_after_dot")
        case SpokeTooSoonError():
            return refused("tls:injected")
        case NotSmtpError():
            return Unavailable(f"{phase}:malformed_reply")
        case ssl.SSLError():
            return _of_tls(error)
        case OSError(__cause__=ssl.SSLError() as cause):
            # In TLS 1.3 a server says after the handshake that it wants another client certificate.
            return _of_tls(cause)
        case TimeoutError(errno=None):
            return Unavailable(f"timeout:{phase}")
        case _:
            return Unavailable(f"{phase}:{_reason(error)}")


def worth_another_relay(answer: Answer) -> bool:
    """Tell whether a mail that got this answer from one relay may be handed to the next.

    Only where this relay certainly did not take it, and said nothing about the mail or its addressee: its own state
    (no line, a line lost before the dot, busy at MAIL, taking leave) or what it does not offer.
    """
    match answer:
        case Unavailable():
            return True
        case MailRefused(phase=phase, code=code):
            line = phase in (Phase.CONNECT, Phase.EHLO, Phase.AUTH)
            busy = phase == Phase.MAIL_FROM and code not in _FINAL
            return line or busy or (code == CLOSING and phase != Phase.AFTER_DOT)
        case Refused(code=code):
            return code in ("smtputf8", "size") or code.startswith(("tls:", "auth:"))
        case _:
            return False


def _of_reply(reply: Reply, phase: Phase, mta: str) -> Answer:
    final = reply.code in _FINAL
    if phase is Phase.STARTTLS:
        # RFC 3207: 454 is "not available due to temporary reason".
        return refused(f"tls:{reply.code}") if final else Unavailable(f"tls:{reply.code}")
    if phase is Phase.AUTH and final:
        # RFC 4954: a 454 is the relay's own trouble and goes on as a reply; 5xx is our password or our rights.
        return refused(f"auth:{reply.code}")
    return MailRefused(phase=phase.value, code=reply.code, text=reply.text, mta=mta)


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


def receipt_code(reply: Reply, recipient: Mailbox) -> str:
    """Give the reply of a success for evidence, with no address in it and of a bounded length."""
    return f"{reply.code} {without_addresses(' '.join(reply.text.split()), recipient)}"[:200]
