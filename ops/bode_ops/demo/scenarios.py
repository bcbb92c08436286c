"""The scenarios of the demonstration: what is handed in, how the outside world behaves, and what must come of it.

The people, addresses and numbers are invented; the BSNs are in the range that is published for testing.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import BytesIO
from itertools import count
from typing import Any

import pikepdf

from bode.domain.message import passes_eleven_test

MAASVELD, ZANDWIJK = "00000001999000010000", "00000001999000020000"
"""The OINs of two municipalities that do not exist."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come of a message."""

    status: str = "afgerond"
    outcome: str = "noticed"
    letters: tuple[str, ...] = ()
    """`kind:reason` of each letter, in order."""
    box: str | None = "mijnoverheid"
    """The channel that the legal time of sending comes from."""
    rule: str | None = "L10"

    @classmethod
    def got(cls, answer: Mapping[str, Any]) -> Expected:
        """Read from the API's answer what came of a message."""
        sent = answer["verzending"]
        return cls(
            answer["status"],
            answer["uitkomst"],
            tuple(f"{letter['soort']}:{letter['reden']}" for letter in answer["brieven"]),
            sent["kanaal"] if sent else None,
            sent["regel"] if sent else None,
        )

    def __str__(self) -> str:
        """Write it on one line."""
        letters = " + ".join(self.letters) or "geen brief"
        sent = f"verzonden via {self.box} ({self.rule})" if self.box else "niet verzonden"
        return f"{self.status}, {self.outcome}, {letters}, {sent}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One message and its story."""

    title: str
    body: dict[str, Any]
    expected: Expected
    behaviour: tuple[tuple[str, dict[str, Any]], ...] = ()
    """Commands for the mock boxes, before it is handed in: (channel, command)."""
    after: str | None = None
    """The reference of a message that must be placed before this one is handed in."""
    cancel: bool = False
    """Called back right after it was handed in."""

    @property
    def reference(self) -> str:
        """The sender's reference."""
        return str(self.body["kenmerk"])


@dataclass(slots=True)
class _Maker:
    """Makes messages, each for another person."""

    now: datetime
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    bsns: Iterator[str] = field(
        default_factory=lambda: (str(n) for n in count(999_990_000) if passes_eleven_test(str(n)))
    )

    def message(
        self, *, box: str | None = "good", channels: tuple[str, ...] = ("mijnoverheid",), **changes: Any
    ) -> dict[str, Any]:
        """Make a message: a decision with six weeks to object, unless changed. `box` is the e-mail's behaviour."""
        number = next(self.numbers)
        first, last = _NAMES[number % len(_NAMES)]
        address = f"{box}.{first}.{last}@post.example.nl".lower().replace(" ", "").replace("ł", "l") if box else None
        body: dict[str, Any] = {
            "afzender": MAASVELD if number % 2 else ZANDWIJK,
            "kenmerk": f"{'MV' if number % 2 else 'ZW'}-2026-{number:04d}",
            "zaak": f"Z-{number:05d}",
            "aard": "beschikking",
            "rechtsgevolgen": "De gemeente heeft een besluit genomen over uw aanvraag. U kunt bezwaar maken.",
            "termijn": {"duur": "P6W"},
            "vertrouwelijkheid": "substantieel",
            "geadresseerde": {
                "soort": "BSN",
                "nummer": next(self.bsns),
                "naam": f"{first} {last}",
                "adres": {
                    "straat": _STREETS[number % len(_STREETS)],
                    "huisnummer": str(number),
                    "postcode": f"{1200 + number} AB",
                    "woonplaats": "Maasveld" if number % 2 else "Zandwijk",
                },
            },
            "kanalen": [{"kanaal": channel, "sindsDatum": "2024-03-01"} for channel in channels],
            "kennisgeving": {
                "email": address,
                "opgegevenDoor": "geadresseerde",
                "opgegevenTijdstip": "2025-06-01T10:00:00Z",
            },
            "onderwerp": _SUBJECTS[number % len(_SUBJECTS)],
            "tekst": _TEXT,
            "documenten": [],
        }
        if not box:
            body["kennisgeving"] = {}
        for key, value in changes.items():
            if value is None:
                body.pop(key, None)
            else:
                body[key] = value
        return body


def build(now: datetime) -> list[Scenario]:
    """Give all scenarios; `now` is the demonstration's own time."""
    make = _Maker(now)
    pdf = {"naam": "besluit.pdf", "mediatype": "application/pdf", "inhoud": _pdf()}
    scenarios = [
        Scenario("Geplaatst en gemeld", make.message(documenten=[pdf] if n == 0 else []), Expected()) for n in range(5)
    ]
    scenarios += [
        Scenario(
            "Twee boxen, één kennisgeving",
            make.message(channels=("mijnoverheid", "mijndomein")),
            Expected(rule="L10-several"),
        )
        for _ in range(2)
    ]
    scenarios += [_refused_by_one_box(make), _opted_out(make), _opted_out(make)]
    scenarios += [
        Scenario("Geen e-mailadres, wel een termijn: brief", make.message(box=None), _by_letter("no_email")),
        Scenario(
            "Geen e-mailadres, geen termijn: geen brief",
            make.message(box=None, aard="ontvangstbevestiging", rechtsgevolgen=None, termijn=None),
            Expected(outcome="notice_impossible"),
        ),
    ]
    scenarios += [
        Scenario("Eerst tijdelijk geweigerd, later gelukt", make.message(box="soft-2"), Expected()) for _ in range(2)
    ]
    scenarios += [
        Scenario("Postvak vol tot na 48 uur: brief", make.message(box="full"), _by_letter("notice_not_in_time"))
        for _ in range(2)
    ]
    scenarios += [
        Scenario("E-mailadres bestaat niet: brief", make.message(box="unknown"), _by_letter("notice_bounced"))
        for _ in range(3)
    ]
    scenarios += [
        Scenario(
            "Komt later terug, na een eerder succes: brief",
            make.message(box="late-unknown"),
            _by_letter("notice_bounced"),
        )
        for _ in range(2)
    ]
    scenarios += [
        Scenario("Afwezigheidsbericht is geen bounce", make.message(box="away"), Expected()),
        Scenario("Vertraging is geen bounce", make.message(box="delayed"), Expected()),
    ]
    scenarios += [_refused_by_box(make), _refused_by_box(make)]
    scenarios += [_technical(make), _technical(make), _silent(make)]
    scenarios += [
        Scenario(
            "Per e-mail (laag vertrouwelijk)",
            make.message(channels=("email",), vertrouwelijkheid="laag", aard="overig", termijn=None),
            Expected(outcome="email", box="email"),
        ),
        Scenario(
            "Per e-mail, komt terug: brief telt als verzending",
            make.message(
                box="late-unknown", channels=("email",), vertrouwelijkheid="laag", aard="overig", termijn=None
            ),
            Expected(outcome="paper", letters=("message:mail_returned",), box="print", rule="L8"),
        ),
        Scenario(
            "Geen elektronisch kanaal: meteen papier",
            make.message(channels=(), documenten=[pdf]),
            Expected(outcome="paper", letters=("message:no_channel",), box="print"),
        ),
        _company(make),
    ]
    scenarios += _withdrawal(make)
    later = make.now + timedelta(hours=6)
    scenarios += [
        Scenario("Publicatie over zes uur", make.message(publicatieTijdstip=later.isoformat()), Expected()),
        Scenario(
            "Ingepland, en op tijd teruggehaald",
            make.message(publicatieTijdstip=(make.now + timedelta(hours=30)).isoformat()),
            Expected(status="geannuleerd", outcome="cancelled", box=None, rule=None),
            cancel=True,
        ),
    ]
    return scenarios


def _by_letter(reason: str) -> Expected:
    return Expected(outcome="notice_by_letter", letters=(f"notice:{reason}",))


def _who(body: Mapping[str, Any]) -> str:
    return str(body["geadresseerde"]["nummer"])


def _opted_out(make: _Maker) -> Scenario:
    body = make.message(kennisgeving={"afgemeldTijdstip": "2025-01-15T09:00:00Z"})
    return Scenario("Afgemeld voor kennisgevingen", body, Expected(outcome="notice_waived"))


def _refused_by_one_box(make: _Maker) -> Scenario:
    body = make.message(channels=("mijnoverheid", "mijndomein"))
    order = {"gedrag": "NietActiefOfGeabonneerd", "ontvanger": _who(body)}
    title = "Eén box weigert: kennisgeving over de andere"
    return Scenario(title, body, Expected(box="mijndomein"), behaviour=(("mijnoverheid", order),))


def _refused_by_box(make: _Maker) -> Scenario:
    body = make.message()
    order = {"gedrag": "NietActiefOfGeabonneerd", "ontvanger": _who(body)}
    expected = Expected(outcome="paper", letters=("message:box_refused",), box="print")
    return Scenario("Box weigert: het bericht op papier", body, expected, behaviour=(("mijnoverheid", order),))


def _technical(make: _Maker) -> Scenario:
    body = make.message()
    order = {"gedrag": "TechnischProbleem", "ontvanger": _who(body), "keer": 1}
    return Scenario("Technisch probleem, daarna gelukt", body, Expected(), behaviour=(("mijnoverheid", order),))


def _silent(make: _Maker) -> Scenario:
    body = make.message()
    order = {"gedrag": "timeout-na-acceptatie", "ontvanger": _who(body), "keer": 1}
    return Scenario("Box zwijgt: onbekend, daarna gevonden", body, Expected(), behaviour=(("mijnoverheid", order),))


def _company(make: _Maker) -> Scenario:
    body = make.message(channels=("mijndomein",))
    body["geadresseerde"] = {
        **body["geadresseerde"],
        "soort": "KVK",
        "nummer": "68750110",
        "naam": "Bakkerij De Halm BV",
    }
    return Scenario("Bedrijf, in de eigen Mijn-omgeving", body, Expected(box="mijndomein"))


def _withdrawal(make: _Maker) -> list[Scenario]:
    first = make.message()
    second = make.message(
        afzender=first["afzender"],
        aard="intrekking",
        rechtsgevolgen="Het eerdere besluit geldt niet meer.",
        termijn=None,
        betreft=first["kenmerk"],
        geadresseerde=first["geadresseerde"],
    )
    second["kenmerk"] = first["kenmerk"][:2] + second["kenmerk"][2:]
    return [
        Scenario("Een besluit dat later wordt ingetrokken", first, Expected()),
        Scenario("De intrekking van dat besluit", second, Expected(), after=first["kenmerk"]),
    ]


def _pdf() -> str:
    """Make a small PDF to attach."""
    pdf = pikepdf.new()
    pdf.add_blank_page(page_size=(595, 842))
    out = BytesIO()
    pdf.save(out, deterministic_id=True)
    return base64.b64encode(out.getvalue()).decode()


_NAMES = (
    ("Sanne", "de Vries"),
    ("Mohamed", "El Amrani"),
    ("Łukasz", "Nowak"),
    ("Fatma", "Yildiz"),
    ("Jan", "van den Berg"),
    ("Priya", "Ramdin"),
    ("Daan", "Hoekstra"),
)
_STREETS = ("Dorpsstraat", "Kerklaan", "Molenweg", "Stationsplein", "Lange Nieuwstraat")
_SUBJECTS = (
    "Besluit op uw aanvraag",
    "Besluit over uw parkeervergunning",
    "Besluit over uw dakkapel",
    "Aanslag gemeentelijke belastingen",
)
_TEXT = (
    "Beste mevrouw, meneer,\n\nU hebt bij ons een aanvraag gedaan. Wij hebben daarover een besluit genomen.\n\n"
    "Bent u het niet eens met dit besluit? Dan kunt u bezwaar maken. Hoe dat gaat, leest u op onze website.\n\n"
    "Met vriendelijke groet,\nDe gemeente"
)
