"""Verdicts as plain dictionaries, one per recipient, for the command line and for evidence."""

from bode.domain.bounces.verdicts import BounceMail, Classification, SmtpReply


def describe_mail(file_name: str, mail: BounceMail) -> list[dict[str, str | None]]:
    """Give one dictionary per recipient of the mail; a mail that names none gives one whose recipient is None."""
    return [
        {
            "file": file_name,
            "kind": mail.kind.value,
            "recipient": one.recipient,
            "verdict": one.classification.verdict.value,
            "reason": one.classification.reason.value,
            "rule": one.classification.rule,
            "evidence": one.classification.evidence,
            "status": one.status or one.classification.status,
            "diagnostic": one.diagnostic,
        }
        for one in mail.recipients
    ]


def describe_reply(reply: SmtpReply, classification: Classification) -> dict[str, str | int | None]:
    """Give a reply and the verdict on it as one dictionary."""
    return {
        "reply": reply.text,
        "phase": reply.phase.value,
        "mta": reply.mta,
        "verdict": classification.verdict.value,
        "reason": classification.reason.value,
        "rule": classification.rule,
        "evidence": classification.evidence,
        "status": classification.status,
        "code": classification.code,
    }
