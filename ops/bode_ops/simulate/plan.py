"""What will happen in a simulation: who gets which message, what goes wrong in the world, what goes wrong with one.

Everything is drawn from the seed by name, never in the order of events: a message keeps its fate when others are left
out, and a mishap when others do not happen. That is what makes a failing run small enough to read.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import Random
from typing import Any
from uuid import UUID

from bode.domain.message import passes_eleven_test
from bode.failpoints import Act, Point

ORIGIN = datetime(2026, 3, 20, 6, 0, tzinfo=UTC)
"""A month from here has the night the clock goes forward, and Easter."""
OIN = "00000001999000010000"
BOX, PORTAL, CARRIER = "mijnoverheid", "mijndomein", "email"


class Fault(StrEnum):
    """What can be made to go wrong."""

    REFUSALS = "refusals"
    """Boxes, mail servers and the print service say no, or not now: of every kind, and for days."""
    TIMEOUTS = "timeouts"
    """An answer is lost, with the thing done or not done."""
    CRASHES = "crashes"
    """A worker is killed, raises, or stalls past its lease, at a failpoint."""
    DUPLICATES = "duplicates"
    """The same request, bounce or report comes twice; a ring is lost."""
    LATE = "late"
    """Results, bounces, reports, delayed DSNs and out-of-office replies come days later."""
    REORDER = "reorder"
    """Reports come in another order than things happened."""
    FORGED = "forged"
    """Bounces that are not ours."""
    DATABASE = "database"
    """The database goes away, or the connection is lost around a commit."""
    CLOCK = "clock"
    """A worker's own clock is wrong, or is set while it runs."""


@dataclass(frozen=True, slots=True)
class Options:
    """A run: the same options give the same run."""

    messages: int
    days: int
    seed: int
    faults: frozenset[Fault] = frozenset(Fault)
    trouble: float = 1.0
    """How many times as often something goes wrong with one message."""
    only: frozenset[int] | None = None
    """The messages that are left, when a failing run is made smaller."""
    without: frozenset[str] = frozenset()
    """The mishaps and incidents that are left out, by name."""
    tell: bool = False
    """Keep all that happens to each message, for its story."""

    @property
    def quiet_after(self) -> datetime:
        """From here on nothing goes wrong any more, so that every story can end."""
        return ORIGIN + timedelta(days=self.days)


class What(StrEnum):
    """An incident: something that is wrong for everybody, for a while or once."""

    BOX_DOWN = "box_down"
    PORTAL_DOWN = "portal_down"
    RELAY_DOWN = "relay_down"
    PRINT_DOWN = "print_down"
    BLOCKLIST = "blocklist"
    """Every mail server refuses our mail because it is ours."""
    DIRECTORY_LOST = "directory_lost"
    """One mail provider says of everybody that there is no such user."""
    DATABASE_AWAY = "database_away"
    LOST_BEFORE_COMMIT = "lost_before_commit"
    LOST_AFTER_COMMIT = "lost_after_commit"
    CLOCK_SET = "clock_set"
    FAILPOINT = "failpoint"


_LASTING: tuple[tuple[What, Fault, float, float], ...] = (
    (What.BOX_DOWN, Fault.REFUSALS, 0.1, 20),
    (What.PORTAL_DOWN, Fault.REFUSALS, 0.1, 90),
    (What.RELAY_DOWN, Fault.REFUSALS, 0.1, 56),
    (What.PRINT_DOWN, Fault.REFUSALS, 0.5, 50),
    (What.BLOCKLIST, Fault.REFUSALS, 0.5, 30),
    (What.DIRECTORY_LOST, Fault.REFUSALS, 0.5, 6),
    (What.DATABASE_AWAY, Fault.DATABASE, 0.001, 3),
)
"""Incidents that last: which, of which family, and between how many hours and how many."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One of them. `at` is when it begins; a failpoint strikes at the first pass after it."""

    name: str
    what: What
    at: datetime
    lasts: timedelta = timedelta(0)
    point: Point | None = None
    act: Act | None = None

    def __str__(self) -> str:
        until = f" for {self.lasts.total_seconds() / 3600:.1f} h" if self.lasts else ""
        where = f" {self.act} at {self.point}" if self.point is not None else ""
        return f"{self.what}{where}{until}"


def incidents(options: Options) -> list[Incident]:  # noqa: C901 - each kind is drawn, whether it is used or not
    """Draw what goes wrong for everybody, in order of time."""
    random = Random(f"{options.seed}/incidents")
    found: list[Incident] = []

    def sometime() -> datetime:
        return ORIGIN + timedelta(days=options.days) * random.random()

    for what, family, least, most in _LASTING:
        for number in range(1 + options.days // 15):
            at, hours = sometime(), least + (most - least) * random.random() ** 2
            if family in options.faults:
                found.append(Incident(f"{what}-{number}", what, at, timedelta(hours=hours)))
    strikes = max(2 * len(Point), options.messages // 100)
    for number in range(strikes):
        point, act = random.choice(tuple(Point)), random.choice(tuple(Act))
        at = sometime()
        if Fault.CRASHES in options.faults:
            found.append(Incident(f"failpoint-{number}", What.FAILPOINT, at, point=point, act=act))
    for number in range(strikes // 4):
        what, at = random.choice((What.LOST_BEFORE_COMMIT, What.LOST_AFTER_COMMIT)), sometime()
        if Fault.DATABASE in options.faults:
            found.append(Incident(f"{what}-{number}", what, at))
    for number in range(2 + options.days // 10):
        at, hours = sometime(), random.choice((-1.0, 1.0, -26.0, 26.0))
        if Fault.CLOCK in options.faults:
            found.append(Incident(f"clock-{number}", What.CLOCK_SET, at, timedelta(hours=hours)))
    return sorted((one for one in found if one.name not in options.without), key=lambda one: one.at)


_MOST_ONE_BY_ONE = 2000
"""Up to this many messages each comes in when it does; more are handed in at the whole and half hours, in batches."""


def arrivals(options: Options) -> list[tuple[datetime, list[int]]]:
    """Draw when messages come in: alone, some together, and now and then a morning's run of hundreds."""
    random = Random(f"{options.seed}/arrivals")
    batches: dict[datetime, list[int]] = {}
    number = 0
    while number < options.messages:
        size = min(max(1, int(random.paretovariate(0.8))), 400, max(options.messages // 20, 4))
        hours = 1 + 11 * random.random()
        if options.messages > _MOST_ONE_BY_ONE:
            hours = math.ceil(hours * 2) / 2
        day = timedelta(days=random.randrange(options.days), hours=hours)
        numbers = list(range(number, min(number + size, options.messages)))
        number += size
        kept = [one for one in numbers if options.only is None or one in options.only]
        if kept:
            batches.setdefault(ORIGIN + day, []).extend(kept)
    return sorted(batches.items())


_BSNS = [str(number) for number in range(999_990_000, 999_999_999) if passes_eleven_test(str(number))]
DOMAINS = ("post.example.nl", "mail.example.nl", "familie.example.nl", "werk.example.nl")


@dataclass(frozen=True, slots=True)
class Wish:
    """A message as its sender wants it: what the request says, and nothing that the domain code made of it."""

    number: int
    id: UUID
    channels: tuple[str, ...]
    to_check: bool
    email: str | None
    opted_out: bool
    address: bool
    term: str | None
    publish_at: datetime | None

    def body(self, at: datetime) -> dict[str, Any]:
        """Write the request."""
        only_mail = self.channels == (CARRIER,)
        body: dict[str, Any] = {
            "afzender": OIN,
            "kenmerk": f"SIM-{self.number:07d}",
            "aard": "beschikking" if self.term else "overig",
            "rechtsgevolgen": "U kunt bezwaar maken.",
            "vertrouwelijkheid": "laag" if CARRIER in self.channels or only_mail else "substantieel",
            "geadresseerde": {"soort": "BSN", "nummer": _BSNS[self.number % len(_BSNS)], "naam": "Jantje Zonderbrief"},
            "kanalen": [
                {"kanaal": name, "grondslag": "controleren"}
                if self.to_check and name == BOX
                else {"kanaal": name, "sindsDatum": "2024-03-01"}
                for name in self.channels
            ],
            "kennisgeving": {},
            "onderwerp": "Besluit op uw aanvraag",
            "tekst": "Wij verlenen u de gevraagde vergunning.",
        }
        if self.address:
            place = {"straat": "Regenboogkade", "huisnummer": "17", "postcode": "1234 AB", "woonplaats": "Maasveld"}
            body["geadresseerde"]["adres"] = place
        if self.term is not None:
            body["termijn"] = {"duur": self.term}
        if self.email is not None:
            given = {"opgegevenDoor": "geadresseerde", "opgegevenTijdstip": "2025-06-01T10:00:00Z"}
            body["kennisgeving"] = {"email": self.email, **given}
        if self.opted_out:
            body["kennisgeving"] = {"afgemeldTijdstip": "2025-01-01T00:00:00Z"}
        if self.publish_at is not None and self.publish_at > at:
            body["publicatieTijdstip"] = self.publish_at.isoformat()
        return body


def wish(options: Options, number: int) -> Wish:
    """Draw one message."""
    random = Random(f"{options.seed}/message/{number}")
    kinds = ((BOX,), (BOX, PORTAL), (PORTAL,), (CARRIER,), (BOX, CARRIER), ())
    channels = random.choices(kinds, weights=(70, 8, 6, 6, 6, 4))[0]
    # Some people get more than one message: what is remembered of their address then counts.
    person = random.randrange(max(number, 1)) if random.random() < 0.3 else number
    email = f"p{person}@{DOMAINS[person % len(DOMAINS)]}" if random.random() < 0.93 or CARRIER in channels else None
    publish_at = ORIGIN + timedelta(days=options.days * random.random()) if random.random() < 0.04 else None
    return Wish(
        number=number,
        id=UUID(int=random.getrandbits(128), version=4),
        channels=channels,
        to_check=random.random() < 0.15,
        email=email,
        opted_out=random.random() < 0.05 and CARRIER not in channels,
        address=random.random() < 0.98,
        term="P6W" if random.random() < 0.7 else None,
        publish_at=publish_at,
    )


@dataclass(slots=True)
class Mishaps:
    """Draws what goes wrong with one message, and keeps what did."""

    options: Options
    now: Callable[[], datetime]
    struck: dict[str, str] = field(default_factory=dict[str, str])
    """By name: what it was."""
    _passes: Counter[tuple[int, str]] = field(default_factory=Counter[tuple[int, str]])

    def chance(self, number: int, site: str, odds: Mapping[str, tuple[Fault, float]]) -> tuple[str | None, Random]:
        """Say which of these mishaps happens to this message here, this time, if any; with chance for its details."""
        self._passes[number, site] += 1
        name = f"{number}/{site}/{self._passes[number, site]}"
        random = Random(f"{self.options.seed}/{name}")
        roll = random.random()
        for what, (family, likely) in odds.items():
            roll -= likely * self.options.trouble
            if roll < 0:
                off = family not in self.options.faults or name in self.options.without
                if off or self.now() >= self.options.quiet_after:
                    return None, random
                self.struck[name] = what
                return what, random
        return None, random

    def lasting(self, number: int, what: str, family: Fault, likely: float) -> bool:
        """Tell whether something is wrong with this message's addressee for the whole run."""
        name = f"{number}/{what}"
        if family not in self.options.faults or name in self.options.without:
            return False
        if Random(f"{self.options.seed}/{name}").random() >= likely:
            return False
        self.struck[name] = what
        return True
