"""What a reply or a bounce mail says, in the words the rest of Bode decides with.

The law asks for one distinction: try again, or take another route. The words here carry that distinction and why it was
made. A false HARD costs a citizen a letter and a good address its name, so every doubt ends in SOFT or UNDETERMINED.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    """What the delivery may do after a reply or a bounce."""

    HARD = "hard"
    """The addressee cannot be reached here, now or later: another route at once, the address marked as failing."""

    SOFT = "soft"
    """The addressee cannot be reached now: again within the term, another route when the term ends."""

    SENDER = "sender"
    """We are the reason, not the addressee: pause or slow the lane, tell the operator. Never a failing address."""

    UNDETERMINED = "undetermined"
    """Nothing spoke clearly: handled as SOFT and listed for a person to look at."""

    NOT_A_BOUNCE = "not_a_bounce"
    """A warning, a receipt, an auto-reply, a complaint, a challenge or an ordinary mail: recorded, changes nothing."""


class Reason(StrEnum):
    """Why. Each reason belongs to exactly one verdict: see `VERDICT_OF`."""

    USER_UNKNOWN = "user_unknown"
    """HARD. The receiving host knows no such mailbox (RFC 3463 X.1.1, X.1.6)."""

    HOST_UNKNOWN = "host_unknown"
    """HARD. The domain does not exist, or says with a null MX that it takes no mail (RFC 7505)."""

    ADDRESS_SYNTAX = "address_syntax"
    """HARD. The receiving host cannot read the address (RFC 3463 X.1.3)."""

    MOVED = "moved"
    """HARD. The mailbox has moved and left no forwarding (RFC 3463 X.1.6, SMTP 551)."""

    MAILBOX_DISABLED = "mailbox_disabled"
    """HARD, and only under a permanent code: the mailbox exists and is closed (RFC 3463 X.2.1)."""

    MAILBOX_FULL = "mailbox_full"
    """SOFT, whatever the code: a full mailbox is emptied (RFC 3463 X.2.2)."""

    RATE_LIMITED = "rate_limited"
    """SOFT. Too much at once, for this mailbox or from this sender."""

    GREYLISTED = "greylisted"
    """SOFT. The host asks a stranger to come back (RFC 6647)."""

    HOST_TEMPORARY = "host_temporary"
    """SOFT. The host, its disk, its DNS or the network fails for now."""

    EXPIRED = "expired"
    """SOFT, and final for this transmission: the queue gave up waiting (RFC 3463 X.4.7)."""

    SPAM = "spam"
    """SENDER. The message was taken for spam."""

    REPUTATION = "reputation"
    """SENDER. Our address or domain is on a blocklist, or its reputation is low."""

    AUTHENTICATION = "authentication"
    """SENDER. SPF, DKIM, DMARC, reverse DNS, TLS or login did not satisfy the host."""

    RELAY_DENIED = "relay_denied"
    """SENDER. The host does not carry mail for that domain from us."""

    CONTENT = "content"
    """SENDER. A virus, an attachment, a header or a form the host refuses."""

    SIZE = "size"
    """SENDER. Larger than the host or the mailbox takes (RFC 3463 X.2.3, X.3.4)."""

    RECIPIENT_POLICY = "recipient_policy"
    """SENDER. The recipient or its organisation does not take mail from us: a filter, a closed group."""

    ROUTING_LOOP = "routing_loop"
    """SENDER. The message goes round in circles (RFC 3463 X.4.6)."""

    PROTOCOL = "protocol"
    """SENDER. The host did not accept the commands we or a relay spoke (RFC 3463 X.5.x)."""

    UNMATCHED = "unmatched"
    """UNDETERMINED. No rule spoke."""

    AMBIGUOUS = "ambiguous"
    """UNDETERMINED. The text says two things at once, such as "unknown or mailbox full"."""

    DELAYED = "delayed"
    """NOT_A_BOUNCE. Somebody else's queue keeps trying."""

    DELIVERED = "delivered"
    """NOT_A_BOUNCE. It arrived, was passed on, or was sent to a list (Action delivered, relayed, expanded)."""

    AUTO_REPLY = "auto_reply"
    """NOT_A_BOUNCE. Out of office and its kin (RFC 3834): it did arrive."""

    CHALLENGE = "challenge"
    """NOT_A_BOUNCE. A service asks the sender to prove to be a person."""

    ABUSE_REPORT = "abuse_report"
    """NOT_A_BOUNCE. A complaint in ARF (RFC 5965)."""

    READ_RECEIPT = "read_receipt"
    """NOT_A_BOUNCE. A disposition notification (RFC 8098) that tells of no refusal."""

    ORDINARY = "ordinary"
    """NOT_A_BOUNCE. A mail from a person or a system, about something else."""


VERDICT_OF: Final = {
    Reason.USER_UNKNOWN: Verdict.HARD,
    Reason.HOST_UNKNOWN: Verdict.HARD,
    Reason.ADDRESS_SYNTAX: Verdict.HARD,
    Reason.MOVED: Verdict.HARD,
    Reason.MAILBOX_DISABLED: Verdict.HARD,
    Reason.MAILBOX_FULL: Verdict.SOFT,
    Reason.RATE_LIMITED: Verdict.SOFT,
    Reason.GREYLISTED: Verdict.SOFT,
    Reason.HOST_TEMPORARY: Verdict.SOFT,
    Reason.EXPIRED: Verdict.SOFT,
    Reason.SPAM: Verdict.SENDER,
    Reason.REPUTATION: Verdict.SENDER,
    Reason.AUTHENTICATION: Verdict.SENDER,
    Reason.RELAY_DENIED: Verdict.SENDER,
    Reason.CONTENT: Verdict.SENDER,
    Reason.SIZE: Verdict.SENDER,
    Reason.RECIPIENT_POLICY: Verdict.SENDER,
    Reason.ROUTING_LOOP: Verdict.SENDER,
    Reason.PROTOCOL: Verdict.SENDER,
    Reason.UNMATCHED: Verdict.UNDETERMINED,
    Reason.AMBIGUOUS: Verdict.UNDETERMINED,
    Reason.DELAYED: Verdict.NOT_A_BOUNCE,
    Reason.DELIVERED: Verdict.NOT_A_BOUNCE,
    Reason.AUTO_REPLY: Verdict.NOT_A_BOUNCE,
    Reason.CHALLENGE: Verdict.NOT_A_BOUNCE,
    Reason.ABUSE_REPORT: Verdict.NOT_A_BOUNCE,
    Reason.READ_RECEIPT: Verdict.NOT_A_BOUNCE,
    Reason.ORDINARY: Verdict.NOT_A_BOUNCE,
}
"""The one verdict each reason belongs to."""


class Phase(StrEnum):
    """How far the SMTP dialogue had come when the reply was given."""

    CONNECT = "connect"
    """The greeting. Says nothing about the addressee, who has not been named yet."""

    EHLO = "ehlo"
    """After EHLO, HELO or STARTTLS. Says nothing about the addressee."""

    AUTH = "auth"
    """After AUTH. Says nothing about the addressee."""

    MAIL_FROM = "mail_from"
    """After MAIL FROM. Speaks of the sender, not of the addressee."""

    RCPT_TO = "rcpt_to"
    """After RCPT TO. Speaks of the addressee, unless the text speaks of us."""

    DATA = "data"
    """After DATA, before the message is sent."""

    AFTER_DOT = "after_dot"
    """After the message. Mostly about the message, sometimes about an addressee looked up late."""

    UNTOLD = "untold"
    """A bounce quotes the reply and does not tell what it answered. Speaks of the addressee with a second witness."""

    @property
    def names_the_addressee(self) -> bool:
        """Whether the addressee had been named when the reply was given, or may have been."""
        return self in {Phase.RCPT_TO, Phase.DATA, Phase.AFTER_DOT, Phase.UNTOLD}


class MailKind(StrEnum):
    """What sort of mail came in at a bounce address."""

    DSN = "dsn"
    """A delivery status notification with fields a machine can read (RFC 3464)."""

    TEXT_BOUNCE = "text_bounce"
    """A bounce, or a warning of delay, in prose only."""

    MDN_REJECTION = "mdn_rejection"
    """A refusal sent as a disposition notification: how Dovecot's Sieve reports a full mailbox."""

    READ_RECEIPT = "read_receipt"
    """A disposition notification (RFC 8098)."""

    ABUSE_REPORT = "abuse_report"
    """A complaint in ARF (RFC 5965)."""

    CHALLENGE = "challenge"
    """A request to prove to be a person."""

    AUTO_REPLY = "auto_reply"
    """An out-of-office or another automatic answer (RFC 3834)."""

    ORDINARY = "ordinary"
    """Anything else."""


@dataclass(frozen=True, slots=True)
class SmtpReply:
    """One negative reply of a receiving host, as the sending code saw it.

    `text` is the reply with all its lines joined, with or without the code in front. `status` is the enhanced status
    code, or the Status field around the reply when it comes from a DSN. `mta` is the host that said it, if known.
    `vouched` is set for a reply read from a bounce that itself says the failure is permanent, and whose own words these
    are: see `mail`.
    """

    phase: Phase
    code: int
    text: str
    status: str | None = None
    mta: str | None = None
    vouched: bool = False


@dataclass(frozen=True, slots=True)
class Classification:
    """A verdict with the rule that gave it and the words it saw, both fit for the evidence record."""

    verdict: Verdict
    reason: Reason
    rule: str
    evidence: str
    status: str | None
    code: int | None


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """What a mail says about one recipient; the recipient is None when the mail names none."""

    recipient: str | None
    original_recipient: str | None
    action: str | None
    status: str | None
    diagnostic: str | None
    remote_mta: str | None
    classification: Classification


@dataclass(frozen=True, slots=True)
class BounceMail:
    """What a mail at a bounce address is, and what it says of whom.

    `recipients` is never empty. `delivered_to` holds every address the mail was sent to, in which the caller looks for
    its signed token; whether the mail is an answer to one of ours is not decided here. `message_id` is that of the
    mail that bounced, when it is quoted.
    """

    kind: MailKind
    recipients: tuple[RecipientReport, ...]
    envelope_id: str | None
    delivered_to: tuple[str, ...]
    message_id: str | None
