"""The request in the API's words (Dutch, as the government's API Design Rules ask), and how it becomes a message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from bode.domain.message import (
    Addressee,
    AddresseeKind,
    Confidentiality,
    Consent,
    ConsentBasis,
    Document,
    Message,
    Nature,
    NoticeWish,
    PostalAddress,
    Term,
    number_fault,
)
from bode.domain.terms import Duration, utc
from bode.intake.faults import Fault

_POSTCODE = re.compile(r"[1-9][0-9]{3} ?[A-Z]{2}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def _clean_line(value: str) -> str:
    if _CONTROL.search(value) or "\n" in value:
        raise PydanticCustomError("stuurteken", "Dit veld is één regel zonder stuurtekens.")
    return value.strip()


def _clean_text(value: str) -> str:
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    if _CONTROL.search(value):
        raise PydanticCustomError("stuurteken", "Deze tekst bevat stuurtekens.")
    return value


def _an_email(value: str) -> str:
    try:
        # Deliverability is not asked of the DNS here: intake answers at once, and bounces tell the rest.
        return validate_email(value, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        raise PydanticCustomError("email", "Dit is geen e-mailadres.") from error


def _a_duration(value: str) -> str:
    try:
        return str(Duration.parse(value))
    except ValueError as error:
        raise PydanticCustomError("duur", "Dit is geen duur: schrijf bijvoorbeeld P6W, P1M of P14D.") from error


def _only_text(value: Any) -> Any:
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "Dit veld is een tekst.")
    return value


Line = Annotated[str, BeforeValidator(_only_text), AfterValidator(_clean_line)]
Text = Annotated[str, BeforeValidator(_only_text), AfterValidator(_clean_text)]
Name = Annotated[Line, Field(min_length=1, max_length=100)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class AdresIn(_Model):
    """Postadres: waar een brief naartoe gaat."""

    straat: Annotated[Line, Field(min_length=1, max_length=80)]
    huisnummer: Annotated[Line, Field(min_length=1, max_length=12)]
    postcode: Annotated[Line, Field(min_length=1, max_length=12)]
    woonplaats: Annotated[Line, Field(min_length=1, max_length=60)]
    land: Annotated[Line | None, Field(max_length=60, description="Weglaten voor Nederland.")] = None


class GeadresseerdeIn(_Model):
    """Voor wie het bericht is."""

    soort: AddresseeKind
    nummer: Annotated[Line, Field(min_length=1, max_length=20)]
    naam: Name
    adres: AdresIn | None = None


class KanaalIn(_Model):
    """Een kanaal waarvan de geadresseerde uitdrukkelijk heeft gezegd daar bereikbaar te zijn (Awb 2:8)."""

    kanaal: Annotated[Line, Field(min_length=1, max_length=32)]
    grondslag: ConsentBasis = ConsentBasis.DECLARED
    sinds_datum: Annotated[date | None, Field(alias="sindsDatum")] = None


class KennisgevingIn(_Model):
    """Hoe de geadresseerde hoort dat er een bericht staat (Awb 2:10)."""

    email: Annotated[Line, AfterValidator(_an_email)] | None = None
    opgegeven_door: Annotated[Line | None, Field(alias="opgegevenDoor", max_length=60)] = None
    opgegeven_tijdstip: Annotated[AwareDatetime | None, Field(alias="opgegevenTijdstip")] = None
    afgemeld_tijdstip: Annotated[AwareDatetime | None, Field(alias="afgemeldTijdstip")] = None


class TermijnIn(_Model):
    """De termijn om te handelen: een laatste dag, of een duur vanaf de verzending."""

    laatste_datum: Annotated[date | None, Field(alias="laatsteDatum")] = None
    duur: Annotated[Line, AfterValidator(_a_duration), Field(description="P6W, P1M of P14D")] | None = None


class DocumentIn(_Model):
    """Een bijlage: een PDF, in base64."""

    naam: Annotated[Line, Field(min_length=1, max_length=120)]
    mediatype: Literal["application/pdf"] = "application/pdf"
    inhoud: Annotated[Base64Bytes, Field(min_length=1)]


class BerichtIn(_Model):
    """Een bericht om te bezorgen."""

    afzender: Annotated[Line, Field(pattern=r"^[0-9]{20}$", description="OIN van het bestuursorgaan.")]
    kenmerk: Annotated[Line, Field(min_length=1, max_length=25, description="Uniek per afzender.")]
    zaak: Annotated[Line | None, Field(max_length=64)] = None
    aard: Nature
    rechtsgevolgen: Annotated[Text | None, Field(max_length=500)] = None
    termijn: TermijnIn | None = None
    vertrouwelijkheid: Confidentiality = Confidentiality.SUBSTANTIEEL
    betreft: Annotated[
        Line | None, Field(max_length=25, description="Kenmerk van het eerdere bericht (wijziging, intrekking).")
    ] = None
    publicatie_tijdstip: Annotated[AwareDatetime | None, Field(alias="publicatieTijdstip")] = None
    geadresseerde: GeadresseerdeIn
    kanalen: Annotated[tuple[KanaalIn, ...], Field(max_length=10)] = ()
    kennisgeving: KennisgevingIn = KennisgevingIn()
    onderwerp: Annotated[Line, Field(min_length=1, max_length=50)]
    tekst: Annotated[Text, Field(min_length=1, max_length=4000)]
    documenten: Annotated[tuple[DocumentIn, ...], Field(max_length=10)] = ()


_DUTCH: Mapping[str, str] = {
    "missing": "Dit veld ontbreekt.",
    "extra_forbidden": "Dit veld bestaat niet.",
    "string_type": "Dit veld is een tekst.",
    "string_too_short": "Dit veld is te kort: minstens {min_length} teken(s).",
    "string_too_long": "Dit veld is te lang: hoogstens {max_length} tekens.",
    "string_pattern_mismatch": "Dit veld heeft niet de goede vorm.",
    "enum": "Deze waarde is onbekend. Kies uit: {expected}.",
    "literal_error": "Deze waarde is onbekend. Kies uit: {expected}.",
    "too_short": "Dit veld is te kort: minstens {min_length}.",
    "too_long": "Dit veld is te lang: hoogstens {max_length}.",
    "base64_decode": "Dit is geen base64.",
    "bytes_too_short": "Dit document is leeg.",
    "timezone_aware": "Dit tijdstip heeft een tijdzone nodig, bijvoorbeeld 2026-05-13T08:00:00Z.",
    "model_type": "Hier hoort een object.",
    "model_attributes_type": "Hier hoort een object.",
    "tuple_type": "Hier hoort een lijst.",
    "json_invalid": "Dit is geen geldige JSON.",
    "recursion_loop": "Dit is geen geldige JSON.",
}
_DATES = ("date", "datetime")


def read(raw: bytes) -> BerichtIn | list[Fault]:
    """Read a request; gives every fault in it at once. Never raises, whatever the bytes."""
    try:
        return BerichtIn.model_validate_json(raw)
    except ValidationError as error:
        return [_fault(item) for item in error.errors(include_url=False, include_input=False)]


def _fault(error: ErrorDetails) -> Fault:
    kind = error["type"]
    context = dict(error.get("ctx", {}))
    template = _DUTCH.get(kind)
    if template is not None:
        detail = template.format_map({"expected": "", "min_length": "", "max_length": "", **context})
        detail = detail.replace("' or '", "', '")
    elif kind.startswith(_DATES):
        detail = "Dit is geen datum (2026-05-13) of tijdstip (2026-05-13T08:00:00Z)."
    elif kind in {"email", "duur", "stuurteken"}:
        detail = error["msg"]
    else:
        detail = "Deze waarde klopt niet."
    pointer = "#" + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in _location(error["loc"]))
    return Fault(pointer, kind, detail)


def _location(loc: tuple[int | str, ...]) -> list[int | str]:
    """Give the path in the request, without the names of validators that pydantic puts on the way."""
    return [part for part in loc if isinstance(part, int) or not part.startswith("function-")]


def faults_of(
    body: BerichtIn, *, organisations: frozenset[str], channels: frozenset[str], now: datetime
) -> list[Fault]:
    """Give what is wrong beyond the shape: numbers, natures (L4, L9, L14), channels (L1), times."""
    faults: list[Fault] = []
    if body.afzender not in organisations:
        faults.append(Fault("#/afzender", "afzender_onbekend", "Dit OIN is hier niet ingericht als afzender."))
    number = number_fault(body.geadresseerde.soort, body.geadresseerde.nummer)
    if number is not None:
        faults.append(Fault("#/geadresseerde/nummer", "nummer", number))
    faults += _nature_faults(body)
    faults += _channel_faults(body.kanalen, channels)
    if body.kennisgeving.afgemeld_tijdstip is not None and body.kennisgeving.afgemeld_tijdstip > now:
        text = "Afmelden kan niet in de toekomst liggen."
        faults.append(Fault("#/kennisgeving/afgemeldTijdstip", "toekomst", text))
    address = body.geadresseerde.adres
    if address is not None and address.land is None and not _POSTCODE.fullmatch(address.postcode.upper()):
        text = "Dit is geen Nederlandse postcode (1234 AB)."
        faults.append(Fault("#/geadresseerde/adres/postcode", "postcode", text))
    return faults


def _nature_faults(body: BerichtIn) -> list[Fault]:
    """L4: consequences and term where the nature has them; L9: the earlier message; L14: a receipt needs neither."""
    faults: list[Fault] = []
    rules, nature = body.aard.rules, body.aard
    if rules.needs_consequences and not (body.rechtsgevolgen or "").strip():
        text = f"Bij de aard '{nature}' horen rechtsgevolgen (Awb 2:10, tweede lid)."
        faults.append(Fault("#/rechtsgevolgen", "rechtsgevolgen_ontbreken", text))
    if body.termijn is None and rules.needs_term:
        text = f"Bij de aard '{nature}' hoort een termijn (Awb 2:10, tweede lid)."
        faults.append(Fault("#/termijn", "termijn_ontbreekt", text))
    if body.termijn is not None and (body.termijn.duur is None) == (body.termijn.laatste_datum is None):
        faults.append(Fault("#/termijn", "termijn", "Geef een laatsteDatum of een duur, één van de twee."))
    if rules.names_earlier and body.betreft is None:
        text = f"Bij de aard '{nature}' hoort het kenmerk van het eerdere bericht (Awb 2:12)."
        faults.append(Fault("#/betreft", "betreft_ontbreekt", text))
    if not rules.names_earlier and body.betreft is not None:
        text = "Alleen een wijziging of intrekking noemt een eerder bericht."
        faults.append(Fault("#/betreft", "betreft_past_niet", text))
    if body.betreft is not None and body.betreft == body.kenmerk:
        text = "Een bericht kan niet zichzelf wijzigen of intrekken."
        faults.append(Fault("#/betreft", "betreft_zichzelf", text))
    return faults


def _channel_faults(asked: tuple[KanaalIn, ...], channels: frozenset[str]) -> list[Fault]:
    """L1: a channel that this installation has, named once."""
    faults: list[Fault] = []
    seen: set[str] = set()
    for index, channel in enumerate(asked):
        pointer = f"#/kanalen/{index}/kanaal"
        if channel.kanaal not in channels:
            known = ", ".join(sorted(channels))
            faults.append(Fault(pointer, "kanaal_onbekend", f"Dit kanaal is hier niet ingericht. Kies uit: {known}."))
        elif channel.kanaal in seen:
            faults.append(Fault(pointer, "kanaal_dubbel", "Dit kanaal staat er al."))
        seen.add(channel.kanaal)
    return faults


def to_message(body: BerichtIn, message_id: UUID) -> Message:
    """Make the message of a request without faults."""
    who = body.geadresseerde
    address = None
    if who.adres is not None:
        at = who.adres
        address = PostalAddress(at.straat, at.huisnummer, at.postcode, at.woonplaats, at.land)
    term = None
    if body.termijn is not None:
        duration = Duration.parse(body.termijn.duur) if body.termijn.duur is not None else None
        term = Term(body.termijn.laatste_datum, duration)
    wish = body.kennisgeving
    return Message(
        id=message_id,
        sender=body.afzender,
        reference=body.kenmerk,
        nature=body.aard,
        consequences=body.rechtsgevolgen,
        term=term,
        confidentiality=body.vertrouwelijkheid,
        addressee=Addressee(who.soort, who.nummer, who.naam, address),
        channels=tuple(Consent(item.kanaal, item.grondslag, item.sinds_datum) for item in body.kanalen),
        notice=NoticeWish(
            email=wish.email,
            given_by=wish.opgegeven_door,
            given_at=utc(wish.opgegeven_tijdstip) if wish.opgegeven_tijdstip else None,
            opted_out_at=utc(wish.afgemeld_tijdstip) if wish.afgemeld_tijdstip else None,
        ),
        subject=body.onderwerp,
        text=body.tekst,
        documents=tuple(Document(item.naam, item.mediatype, item.inhoud) for item in body.documenten),
        case=body.zaak,
        concerns=body.betreft,
        publish_at=utc(body.publicatie_tijdstip) if body.publicatie_tijdstip else None,
    )
