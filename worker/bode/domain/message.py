"""A message as the zaaksysteem hands it over: addressee, nature, consequences, term, channels and content."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from bode.domain.terms import Duration

_BSN_LENGTH = 9
_KVK_LENGTH = 8


class AddresseeKind(StrEnum):
    """The kinds of number an addressee is known by."""

    BSN = "BSN"
    KVK = "KVK"
    RSIN = "RSIN"


def passes_eleven_test(number: str) -> bool:
    """Tell whether nine digits pass the 11-test of BSN and RSIN: weights 9 to 2, the last digit counted as -1."""
    if len(number) != _BSN_LENGTH or not (number.isascii() and number.isdigit()) or number == "0" * _BSN_LENGTH:
        return False
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return sum(weight * int(digit) for weight, digit in zip(weights, number, strict=True)) % 11 == 0


def number_fault(kind: AddresseeKind, number: str) -> str | None:
    """Tell in Dutch what is wrong with an addressee's number, or nothing. The number itself is never in the text."""
    match kind:
        case AddresseeKind.BSN | AddresseeKind.RSIN:
            if passes_eleven_test(number):
                return None
            return f"Dit {kind} klopt niet: een {kind} heeft 9 cijfers en voldoet aan de elfproef."
        case AddresseeKind.KVK:
            if len(number) == _KVK_LENGTH and number.isascii() and number.isdigit() and number != "0" * _KVK_LENGTH:
                return None
            return "Dit KVK-nummer klopt niet: een KVK-nummer heeft 8 cijfers."


class NatureRules(NamedTuple):
    """What a nature asks of a message (law L4, L9, L14)."""

    needs_consequences: bool
    needs_term: bool
    names_earlier: bool
    label: str
    """What an addressee reads, with its article: "een besluit"."""


class Nature(StrEnum):
    """What kind of message this is (aard, law L4)."""

    BESCHIKKING = "beschikking"
    ONTVANGSTBEVESTIGING = "ontvangstbevestiging"
    BETALINGSVERPLICHTING = "betalingsverplichting"
    ZIENSWIJZE = "zienswijze"
    HOORZITTING = "hoorzitting"
    WIJZIGING = "wijziging"
    INTREKKING = "intrekking"
    OVERIG = "overig"

    @property
    def rules(self) -> NatureRules:
        """What this nature asks of a message."""
        return _NATURE_RULES[self]


_NATURE_RULES: dict[Nature, NatureRules] = {
    Nature.BESCHIKKING: NatureRules(True, True, False, "een besluit"),
    # L14: a receipt may be placed without consequences or term.
    Nature.ONTVANGSTBEVESTIGING: NatureRules(False, False, False, "een ontvangstbevestiging"),
    Nature.BETALINGSVERPLICHTING: NatureRules(True, True, False, "een verplichting om te betalen"),
    Nature.ZIENSWIJZE: NatureRules(True, True, False, "een uitnodiging om uw mening te geven (zienswijze)"),
    Nature.HOORZITTING: NatureRules(True, True, False, "een uitnodiging voor een hoorzitting"),
    # L9: a sent message is changed or withdrawn only by a new one that names it.
    Nature.WIJZIGING: NatureRules(True, False, True, "een wijziging van een eerder bericht"),
    Nature.INTREKKING: NatureRules(True, False, True, "een intrekking van een eerder bericht"),
    Nature.OVERIG: NatureRules(True, False, False, "een bericht"),
}


class Confidentiality(StrEnum):
    """How reliable and confidential a channel must be for this message (law L2), in the words of eIDAS."""

    LAAG = "laag"
    SUBSTANTIEEL = "substantieel"
    HOOG = "hoog"

    @property
    def rank(self) -> int:
        """The order: laag 0, substantieel 1, hoog 2."""
        return ("laag", "substantieel", "hoog").index(self)


@dataclass(frozen=True, slots=True)
class Term:
    """The term to act in (law L15): a last day, or a duration that starts the day after sending."""

    last_day: date | None = None
    duration: Duration | None = None


class ConsentBasis(StrEnum):
    """What the use of a channel rests on (law L1)."""

    DECLARED = "aangemeld"
    """The zaaksysteem says that the addressee expressly said to be reachable this way."""
    TO_CHECK = "controleren"
    """The box itself must be asked before it is used; its answer is good for a limited time."""
    PROFILE = "profiel"
    """The addressee said so in the profile service, which is asked before a channel is chosen."""


@dataclass(frozen=True, slots=True)
class Consent:
    """A channel declared for this addressee, and what that rests on (law L1)."""

    channel: str
    basis: ConsentBasis
    since: date | None = None


@dataclass(frozen=True, slots=True)
class PostalAddress:
    """Where a letter goes. Abroad there may be no house number or postcode: those are empty then."""

    street: str
    number: str
    postcode: str
    city: str
    country: str | None = None
    """None for the Netherlands."""
    extra: str | None = None
    """A line under the name: a department, a building, for the attention of whom."""
    region: str | None = None
    """Abroad: a province or state, above the country."""


@dataclass(frozen=True, slots=True)
class Addressee:
    """Who the message is for."""

    kind: AddresseeKind
    number: str = field(repr=False)
    name: str = field(repr=False)
    address: PostalAddress | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NoticeWish:
    """How the addressee is told that a message waits (law L3): an address, or that it was waived, and since when."""

    email: str | None = field(default=None, repr=False)
    given_by: str | None = None
    """Who gave the address, in the zaaksysteem's words: 'geadresseerde', 'profiel'."""
    given_at: datetime | None = None
    opted_out_at: datetime | None = None
    from_profile: bool = False
    """The address is to come from the profile service; `email` is empty until it answered."""


@dataclass(frozen=True, slots=True)
class Document:
    """An attachment: a PDF, checked at intake."""

    name: str
    media_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """Everything accepted in one request. Never changed afterwards (law L9)."""

    id: UUID
    sender: str
    """The OIN of the administrative body."""
    reference: str
    nature: Nature
    consequences: str | None
    term: Term | None
    confidentiality: Confidentiality
    addressee: Addressee
    channels: tuple[Consent, ...]
    notice: NoticeWish
    subject: str = field(repr=False)
    text: str = field(repr=False)
    documents: tuple[Document, ...] = ()
    case: str | None = None
    concerns: str | None = None
    """The reference of the earlier message that this one changes or withdraws (law L9)."""
    publish_at: datetime | None = None
