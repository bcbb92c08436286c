"""Soft, hard, or not about the addressee: what replies and bounce mails mean for a delivery.

`classify_reply` judges one SMTP reply, `read_mail` a mail that came in at a bounce address; both by the same
`RuleBook`, whose tables stand in config/bounces. Nothing here reads a file, a clock or a network.
"""

from bode.domain.bounces.mail import read_mail
from bode.domain.bounces.replies import classify_reply
from bode.domain.bounces.report import describe_mail, describe_reply
from bode.domain.bounces.rules import RuleBook, RuleError
from bode.domain.bounces.verdicts import (
    BounceMail,
    Classification,
    MailKind,
    Phase,
    Reason,
    RecipientReport,
    SmtpReply,
    Verdict,
)

__all__ = [
    "BounceMail",
    "Classification",
    "MailKind",
    "Phase",
    "Reason",
    "RecipientReport",
    "RuleBook",
    "RuleError",
    "SmtpReply",
    "Verdict",
    "classify_reply",
    "describe_mail",
    "describe_reply",
    "read_mail",
]
