"""How long what is kept: a term for each kind of data, never below what the law asks (L13).

Terms count from the moment a message was finished, and for what belongs to no message from when it came.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

HALF_A_YEAR = timedelta(days=184)
"""Logging is kept six months at least (BIO); what proves a delivery is no less."""


class Kind(StrEnum):
    """What has a term of its own. Each is a part of what the earlier one leaves."""

    CONTENT = "content"
    """Subject, text, documents and letters."""
    PERSONAL = "personal"
    """Who it was for: name, number, postal and e-mail address, and the keyed hashes that find them."""
    EVIDENCE = "evidence"
    """The sealed details of events (what other sides said, what people typed) and the case number. The events hold
    nothing of the addressee themselves, and stay: each later proof leans on them."""
    RECEIVED = "received"
    """What came in, as it came: bounces, reports of printers, results of boxes; and counts of bounces."""
    AUDIT = "audit"
    """What staff did that is about no message."""


class Stage(StrEnum):
    """What is still there of a message. Each stage is moved on by the purge of the kind that ends it."""

    ALL = "all"
    """Everything; until the term for content ends."""
    NO_CONTENT = "no_content"
    """Who it was for, and its evidence; until the term for personal data ends."""
    NO_PERSON = "no_person"
    """Its evidence with details; until the term for evidence ends."""
    NOTHING = "nothing"
    """Its events alone: the end. Reached at once by an erasure."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of one organisation."""

    content: timedelta = timedelta(days=90)
    personal: timedelta = timedelta(days=2 * 365)
    evidence: timedelta = timedelta(days=7 * 365)
    received: timedelta = timedelta(days=90)
    audit: timedelta = timedelta(days=3 * 365)

    def of(self, kind: Kind) -> timedelta:
        """Give the term of a kind."""
        term: timedelta = getattr(self, kind)
        return term

    def faults(self, *, bounces_believed: timedelta) -> list[str]:
        """Give what is too short. `bounces_believed`: how long a late bounce can still ask for a letter (L7)."""
        least = {
            Kind.CONTENT: (bounces_believed, "a late bounce can ask for a letter until then (L7)"),
            Kind.PERSONAL: (self.content, "content names who it is for"),
            Kind.EVIDENCE: (max(HALF_A_YEAR, self.personal), "evidence is kept half a year at least (L13)"),
            Kind.RECEIVED: (timedelta(days=7), "it is what a bounce is decided again by"),
            Kind.AUDIT: (HALF_A_YEAR, "logging is kept half a year at least (BIO)"),
        }
        return [
            f"{kind} is {self.of(kind).days}d: {at_least.days}d at least, {why}"
            for kind, (at_least, why) in least.items()
            if self.of(kind) < at_least
        ]


PURGES = {
    Kind.EVIDENCE: (frozenset({Stage.ALL, Stage.NO_CONTENT, Stage.NO_PERSON}), Stage.NOTHING),
    Kind.PERSONAL: (frozenset({Stage.ALL, Stage.NO_CONTENT}), Stage.NO_PERSON),
    Kind.CONTENT: (frozenset({Stage.ALL}), Stage.NO_CONTENT),
}
"""For each kind: which stages its purge moves on, and to which. The one that takes most goes first, and does all."""


def may_be_erased_from(done_at: datetime) -> datetime:
    """Give from when a request for erasure (AVG 17) has no ground for refusal in L13."""
    return done_at + HALF_A_YEAR
