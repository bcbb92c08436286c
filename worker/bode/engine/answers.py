"""What an adapter's answer means for the rules: the one place where the contract's words become events."""

from __future__ import annotations

from datetime import datetime
from typing import assert_never
from uuid import UUID

import structlog
from prometheus_client import Counter

from bode.domain import events as ev
from bode.domain.bounces import Phase, Reason, RuleBook, SmtpReply, Verdict, classify_reply
from bode_adapters import contract

log = structlog.get_logger()

UNRECOGNISED = Counter(
    "bode_unrecognised_answers_total", "Answers in words that no table of an adapter knows, by lane.", ["lane"]
)
_OURS = frozenset({Phase.CONNECT, Phase.EHLO, Phase.AUTH})
"""Phases in which only our own relay speaks, about us."""


def of_box(
    channel: str, answer: contract.Answer, rules: RuleBook, *, call: UUID | None, called_at: datetime
) -> ev.Event:
    """Give the event of a box's or carrier's answer about one message."""
    match answer:
        case contract.Placed(at=at, source=source, receipt=receipt, code=code, already=already, stage=stage):
            return ev.Placed(channel, at, ev.TimeSource(source), receipt, code, already, stage)
        case contract.Pending(receipt=receipt, code=code):
            return ev.PlacementPending(channel, receipt, code)
        case contract.Refused(code=code, kind=kind, text=text, stage=stage):
            return ev.PlacementRefused(channel, code, ev.RefusalKind(kind), text, stage)
        case contract.Unavailable(code=code, retry_after=retry_after, stage=stage):
            return ev.PlacementUnavailable(channel, code, retry_after, stage)
        case contract.Unknown(code=code):
            return ev.PlacementUnknown(channel, code, str(call) if call is not None else None, called_at)
        case contract.Absent(code=code):
            return ev.PlacementAbsent(channel, code)
        case contract.MailRefused():
            if answer.phase in _OURS:
                return ev.PlacementUnavailable(channel, f"{answer.phase}:{answer.code}")
            return ev.CarrierBounced(channel, _bounce(answer, rules))
        case _:
            assert_never(answer)


def of_reading(channel: str, reading: contract.Reading) -> ev.Opened | ev.NotOpened:
    """Give the event of a box's word on whether a message was opened; a time nobody can place is no time."""
    if not reading.opened:
        return ev.NotOpened(channel, reading.code)
    if reading.at is None or reading.at.tzinfo is None:
        return ev.NotOpened(channel, "time_without_zone")
    return ev.Opened(channel, reading.at, ev.TimeSource(reading.source), reading.exact)


def of_profile(
    answer: contract.ProfileAnswer,
) -> ev.ProfileAnswered | ev.ProfileUnavailable | ev.ProfileRefused:
    """Give the event of a profile service's answer about one addressee."""
    match answer:
        case contract.Profile():
            return ev.ProfileAnswered(
                answer.asked_at,
                known=True,
                receives=answer.receives,
                receives_since=answer.receives_since,
                consent=answer.consent,
                email=answer.email,
                email_since=answer.email_since,
            )
        case contract.NoProfile(asked_at=asked_at, code=code):
            return ev.ProfileAnswered(asked_at, known=False, code=code)
        case contract.Refused(code=code, kind=kind):
            return ev.ProfileRefused(code, ev.RefusalKind(kind))
        case contract.Unavailable(code=code, retry_after=retry_after):
            return ev.ProfileUnavailable(code, retry_after)
        case contract.Unknown(code=code):
            return ev.ProfileUnavailable(code)
        case _:
            assert_never(answer)


def note_unrecognised(lane: str, answer: contract.Answer) -> None:
    """Log and count a word that nobody knows; the evidence keeps it, and a person is shown the message."""
    if isinstance(answer, contract.Refused) and answer.kind is contract.RefusalKind.UNRECOGNISED:
        UNRECOGNISED.labels(lane).inc()
        log.error("answer.unrecognised", lane=lane, code=answer.code, stage=answer.stage)


def of_notifier(channel: str, answer: contract.Answer, rules: RuleBook, *, text_sha256: str, template: str) -> ev.Event:
    """Give the event of a notifier's answer about one notice."""
    match answer:
        case contract.Placed(at=at, receipt=receipt, by=relay):
            return ev.NoticeSent(channel, at, receipt, text_sha256, template, relay)
        case contract.MailRefused():
            if answer.phase in _OURS:
                return ev.NoticeUnavailable(channel, f"{answer.phase}:{answer.code}")
            return ev.NoticeBounced(channel, _bounce(answer, rules))
        case contract.Refused(code=code, kind=contract.RefusalKind.ADDRESSEE):
            # The notifier itself says that this address cannot be mailed to (not a mail server's reply).
            return ev.NoticeBounced(channel, ev.Bounce(Verdict.HARD, Reason.ADDRESS_SYNTAX, f"adapter:{code}"))
        case contract.Refused(code=code):
            return ev.NoticeUnavailable(channel, code, configuration=True)
        case contract.Unavailable(code=code):
            return ev.NoticeUnavailable(channel, code)
        case contract.Unknown(code=code) | contract.Pending(code=code) | contract.Absent(code=code):
            return ev.NoticeUnknown(channel, code or "pending")
        case _:
            assert_never(answer)


def of_printer(
    letter: int, answer: contract.Answer, call: UUID | None, *, sha256: str, pages: int, template: str
) -> ev.Event:
    """Give the event of a print service's answer about one letter."""
    match answer:
        case contract.Placed(at=at, source=source, receipt=receipt):
            return ev.LetterSubmitted(letter, at, ev.TimeSource(source), receipt, sha256, pages, template)
        case contract.Refused(code=code, kind=contract.RefusalKind.CONFIGURATION):
            return ev.LetterUnavailable(letter, code, configuration=True)
        case contract.Refused(code=code, kind=kind, text=text):
            return ev.LetterRefused(letter, code, text, defect=kind is contract.RefusalKind.DEFECT)
        case contract.Unavailable(code=code) | contract.Absent(code=code):
            return ev.LetterUnavailable(letter, code)
        case contract.Unknown(code=code) | contract.Pending(code=code):
            return ev.LetterUnknown(letter, code or "pending", str(call) if call is not None else None)
        case contract.MailRefused(code=code):
            return ev.LetterUnavailable(letter, f"mail:{code}")
        case _:
            assert_never(answer)


def _bounce(refused: contract.MailRefused, rules: RuleBook) -> ev.Bounce:
    reply = SmtpReply(Phase(refused.phase), refused.code, refused.text, mta=refused.mta)
    said = classify_reply(reply, rules)
    return ev.Bounce(said.verdict, said.reason, said.rule, said.code, said.status, refused.text, refused.mta)
