"""The request in the API's words (Dutch, as the government's API Design Rules ask), and how it becomes a message."""

from __future__ import annotations

import re
import unicodedata
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import msgspec
from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
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
from bode.domain.policy import Channel, ChannelKind
from bode.domain.terms import Duration, legal_day, utc
from bode.intake.address import address_faults, country_of
from bode.intake.faults import Fault, Refused
from bode.intake.strict_json import is_a_name, is_list, is_object, parse, pointer

# What no XML and no letter can hold, and the marks that turn the order of reading around.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_LINE_END = re.compile("[\t\n\u2028\u2029]")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    rf"{_DAY.pattern}[Tt][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}}(\.[0-9]{{1,9}})?)?([Zz]|[+-][0-9]{{2}}:[0-9]{{2}})?"
)
_FIRST_YEAR, _LAST_YEAR = 1900, 2199
_MOST_FAULTS = 100

_SKEW = timedelta(minutes=5)
"""How much a zaaksysteem's clock may be ahead of ours."""
_LATE_PUBLICATION, _EARLY_PUBLICATION = timedelta(days=7), timedelta(days=366)

_D = TypeVar("_D", date, datetime)


def _clean_line(value: str) -> str:
    if _CONTROL.search(value) or _LINE_END.search(value):
        raise PydanticCustomError("stuurteken", "Dit veld is één regel zonder stuurtekens.")
    return value.strip()


def _clean_text(value: str) -> str:
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    if _CONTROL.search(value):
        raise PydanticCustomError("stuurteken", "Deze tekst bevat stuurtekens.")
    if not value.strip():
        raise PydanticCustomError("string_too_short", "Deze tekst is leeg.")
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


def _only_a_day(value: Any) -> Any:
    """Let only the written form through: pydantic also reads numbers, as seconds since 1970."""
    if isinstance(value, str) and not _DAY.fullmatch(value):
        raise PydanticCustomError("date_parsing", "")
    return _only_text(value)


def _only_a_moment(value: Any) -> Any:
    if isinstance(value, str) and not _MOMENT.fullmatch(value):
        raise PydanticCustomError("datetime_parsing", "")
    return _only_text(value)


def _a_likely(value: _D) -> _D:
    """Refuse years that nobody means, and that no other time zone can write."""
    if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        raise PydanticCustomError("date_parsing", "")
    return value


def _file_name(value: str) -> str:
    if "/" in value or "\\" in value or value.startswith("."):
        raise PydanticCustomError("documentnaam", "Dit is geen naam van een document: laat mappen weg.")
    return value


def _decoded(value: Any) -> bytes:
    """Decode base64 as RFC 4648 has it; line ends are let through, other strange characters are not."""
    try:
        return b64decode("".join(_only_text(value).split()), validate=True)
    except (Base64Error, ValueError):
        raise PydanticCustomError("base64_decode", "Dit is geen base64.") from None


Day = Annotated[date, BeforeValidator(_only_a_day), AfterValidator(_a_likely)]
Moment = Annotated[AwareDatetime, BeforeValidator(_only_a_moment), AfterValidator(_a_likely)]
Line = Annotated[str, BeforeValidator(_only_text), AfterValidator(_clean_line)]
Text = Annotated[str, BeforeValidator(_only_text), AfterValidator(_clean_text)]
Name = Annotated[Line, Field(min_length=1, max_length=100)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class AdresIn(_Model):
    """Postadres: waar een brief naartoe gaat."""

    toevoeging: Annotated[
        Line | None,
        Field(
            min_length=1, max_length=40, description="Regel onder de naam: een afdeling, een gebouw, ter attentie van."
        ),
    ] = None
    straat: Annotated[Line, Field(min_length=1, max_length=80, description="Of Postbus.")]
    huisnummer: Annotated[Line | None, Field(min_length=1, max_length=12, description="Verplicht in Nederland.")] = None
    postcode: Annotated[Line | None, Field(min_length=1, max_length=12, description="Verplicht in Nederland.")] = None
    woonplaats: Annotated[Line, Field(min_length=1, max_length=60)]
    regio: Annotated[
        Line | None, Field(min_length=1, max_length=40, description="Provincie of staat, alleen buiten Nederland.")
    ] = None
    land: Annotated[Line | None, Field(min_length=1, max_length=60, description="Voluit. Weglaten voor Nederland.")] = (
        None
    )


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
    sinds_datum: Annotated[Day | None, Field(alias="sindsDatum")] = None


class KennisgevingIn(_Model):
    """Hoe de geadresseerde hoort dat er een bericht staat (Awb 2:10)."""

    email: Annotated[Line, Field(max_length=254), AfterValidator(_an_email)] | None = None
    opgegeven_door: Annotated[Line | None, Field(alias="opgegevenDoor", min_length=1, max_length=60)] = None
    opgegeven_tijdstip: Annotated[Moment | None, Field(alias="opgegevenTijdstip")] = None
    afgemeld_tijdstip: Annotated[Moment | None, Field(alias="afgemeldTijdstip")] = None
    uit_profiel: Annotated[
        bool,
        Field(
            strict=True,
            alias="uitProfiel",
            description="Haal het e-mailadres uit de profielservice, in plaats van het hier te noemen.",
        ),
    ] = False


class TermijnIn(_Model):
    """De termijn om te handelen: een laatste dag, of een duur vanaf de verzending."""

    laatste_datum: Annotated[Day | None, Field(alias="laatsteDatum")] = None
    duur: Annotated[Line, AfterValidator(_a_duration), Field(description="P6W, P1M of P14D")] | None = None


class DocumentIn(_Model):
    """Een bijlage: een PDF, in base64 (inhoud) of op een adres waar hij wordt opgehaald (url), één van de twee."""

    naam: Annotated[
        Line,
        Field(min_length=1, max_length=120, description="Zonder map; elk document heeft een andere naam."),
        AfterValidator(_file_name),
    ]
    mediatype: Literal["application/pdf"] = "application/pdf"
    inhoud: (
        Annotated[
            bytes,
            Field(min_length=1),
            BeforeValidator(_decoded),
            WithJsonSchema({"type": "string", "contentEncoding": "base64", "contentMediaType": "application/pdf"}),
        ]
        | None
    ) = None
    url: Annotated[
        Line | None,
        Field(min_length=1, max_length=500, description="Alleen van een bron die hier voor de afzender is ingericht."),
    ] = None


class BerichtIn(_Model):
    """Een bericht om te bezorgen."""

    afzender: Annotated[Line, Field(pattern=r"^[0-9]{20}$", description="OIN van het bestuursorgaan.")]
    kenmerk: Annotated[Line, Field(min_length=1, max_length=25, description="Uniek per afzender.")]
    zaak: Annotated[Line | None, Field(min_length=1, max_length=64)] = None
    aard: Nature
    rechtsgevolgen: Annotated[
        Text | None,
        Field(
            max_length=500,
            description=(
                "Staat ook in de e-mail over het bericht en op brieven. Noem er dus geen kenmerk, zaak, nummer, naam, "
                "e-mailadres of onderwerp."
            ),
        ),
    ] = None
    termijn: TermijnIn | None = None
    vertrouwelijkheid: Confidentiality = Confidentiality.SUBSTANTIEEL
    betreft: Annotated[
        Line | None,
        Field(min_length=1, max_length=25, description="Kenmerk van het eerdere bericht (wijziging, intrekking)."),
    ] = None
    publicatie_tijdstip: Annotated[
        Moment | None,
        Field(
            alias="publicatieTijdstip",
            description="Vanaf wanneer het bericht er mag staan: hoogstens 7 dagen terug en een jaar vooruit.",
        ),
    ] = None
    geadresseerde: GeadresseerdeIn
    kanalen: Annotated[tuple[KanaalIn, ...], Field(max_length=10)] = ()
    kennisgeving: KennisgevingIn = KennisgevingIn()
    onderwerp: Annotated[
        Line, Field(min_length=1, max_length=50, description="Zo kort dat het in elke berichtenbox past.")
    ]
    tekst: Annotated[
        Text, Field(min_length=1, max_length=4000, description="Zo kort dat het in elke berichtenbox past.")
    ]
    documenten: Annotated[tuple[DocumentIn, ...], Field(max_length=10)] = ()


class AnnuleringIn(_Model):
    """Waarom een bericht wordt teruggehaald voordat het is verstuurd."""

    reden: Annotated[Line, Field(min_length=1, max_length=200)]


_DUTCH: Mapping[str, str] = {
    "missing": "Dit veld ontbreekt.",
    "bool_type": "Dit veld is true of false.",
    "extra_forbidden": "Dit veld bestaat niet.",
    "string_type": "Dit veld is een tekst.",
    "string_unicode": "Hier staan tekens die niet bestaan.",
    "string_too_short": "Dit veld is te kort: minstens {min_length} teken(s).",
    "string_too_long": "Dit veld is te lang: hoogstens {max_length} tekens.",
    "string_pattern_mismatch": "Dit is geen OIN: een OIN heeft 20 cijfers.",
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
_DATES = ("date", "datetime", "timezone")
_OURS = frozenset({"email", "duur", "stuurteken", "documentnaam"})


@dataclass(frozen=True, slots=True)
class Read:
    """What could be read of a request."""

    body: BerichtIn | None
    """The request; where parts of it have no good shape, those are left out or filled in. None: nothing was sound."""
    faults: list[Fault]
    """What has no good shape."""
    value: Any = field(default=None, repr=False)
    unsound: frozenset[str] = frozenset()
    """The pointers of what has no good shape, where it matters: nothing can be said of it beyond that."""

    def sound(self, pointer: str) -> bool:
        """Tell whether this part, all in it and all around it, has a good shape."""
        return not any(
            bad == pointer or bad.startswith(f"{pointer}/") or pointer.startswith(f"{bad}/") for bad in self.unsound
        )

    def hash(self) -> bytes:
        """Hash the request by what it says, not by its spaces or the order of its fields."""
        return sha256(msgspec.json.encode(self.value, order="deterministic")).digest()


def read(raw: bytes, also: Mapping[str, str] | None = None) -> Read:
    """Read a request; gives what can be read, with every fault in its shape at once. Never raises.

    `also` are fields that follow from where the request was sent: they may not stand in it as well.
    """
    try:
        value, faults = parse(raw)
    except Refused as refused:
        return Read(None, list(refused.faults))
    if also and is_object(value):
        text = "Dit veld volgt hier uit het adres: laat het weg."
        faults += [Fault(pointer([name]), "volgt_uit_adres", text) for name in also if name in value]
        value = {**value, **also}
    unsound = {fault.pointer for fault in faults}
    try:
        return Read(BerichtIn.model_validate(value), faults, value, frozenset(unsound))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    faults += [_fault(item) for item in errors[:_MOST_FAULTS]]
    if len(errors) > _MOST_FAULTS:
        text = f"Dit verzoek heeft {len(errors)} fouten. De eerste {_MOST_FAULTS} staan hier."
        faults.append(Fault("#", "te_veel_fouten", text))
        return Read(None, faults)
    unsound |= {pointer(_location(item["loc"])) for item in errors if item["type"] != "extra_forbidden"}
    return Read(_mended(value, errors), faults, value, frozenset(unsound))


def read_reason(raw: bytes) -> str:
    """Read why a message is called back. Raises `Refused` with every fault."""
    value, faults = parse(raw)
    try:
        asked = AnnuleringIn.model_validate(value)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        raise Refused([*faults, *(_fault(item) for item in errors[:_MOST_FAULTS])]) from None
    if faults:
        raise Refused(faults)
    return asked.reden


def _fault(error: ErrorDetails) -> Fault:
    kind = error["type"]
    context = dict(error.get("ctx", {}))
    template = _DUTCH.get(kind)
    if template is not None:
        detail = template.format_map({"expected": "", "min_length": "1", "max_length": "", **context})
        detail = detail.replace("' or '", "', '").replace("'", "")
    elif kind.startswith(_DATES):
        detail = "Dit is geen datum (2026-05-13) of tijdstip (2026-05-13T08:00:00Z)."
    elif kind in _OURS:
        detail = error["msg"]
    else:
        detail = "Deze waarde klopt niet."
    path = _location(error["loc"])
    if kind == "extra_forbidden" and not is_a_name(path[-1]):
        # What stands as a key can be anything: only what looks like a field's name is repeated.
        return Fault(pointer(path[:-1]), kind, "Hier staat een veld dat niet bestaat.")
    return Fault(pointer(path), kind, detail)


def _location(loc: tuple[int | str, ...]) -> list[int | str]:
    """Give the path in the request, without the names of validators that pydantic puts on the way."""
    return [part for part in loc if isinstance(part, int) or not part.startswith("function-")]


# What stands in for a required field without a good shape; an optional one is left out.
_STAND_INS: Mapping[str, Any] = {
    "afzender": "0" * 20,
    "aard": "overig",
    "geadresseerde": {"soort": "BSN", "nummer": "-", "naam": "-"},
    "soort": "BSN",
    "kanalen": {"kanaal": "-"},
    "documenten": {"naam": "-", "url": "-"},
    **dict.fromkeys(
        ("kenmerk", "onderwerp", "tekst", "nummer", "naam", "straat", "woonplaats", "kanaal"),
        "-",
    ),
}


def _mended(value: Any, errors: Sequence[ErrorDetails]) -> BerichtIn | None:
    """Give the request without what has no good shape, so that the rules can look at all the rest at once."""
    if not is_object(value):
        return None
    whole = _copied(value)
    for error in errors:
        path = _location(error["loc"])
        here: Any = whole
        for part in path[:-1]:
            here = _child(here, part)
        last = path[-1] if path else ""
        if isinstance(last, int):
            if is_list(here):
                here[last] = _copied(_STAND_INS[str(path[-2])])
        elif is_object(here):
            here.pop(last, None)
            if error["type"] != "extra_forbidden" and last in _STAND_INS and last not in {"kanalen", "documenten"}:
                here[last] = _copied(_STAND_INS[last])
    try:
        return BerichtIn.model_validate(whole)
    except ValidationError:
        return None


def _copied(value: Any) -> Any:
    """Copy objects and lists; strings, which can be large, are shared."""
    if is_object(value):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if is_list(value) else value


def _child(here: Any, part: int | str) -> Any:
    if is_object(here):
        return here.get(str(part))
    return here[part] if is_list(here) and isinstance(part, int) else None


def faults_of(
    found: Read,
    *,
    organisations: frozenset[str],
    channels: Mapping[str, Channel],
    now: datetime,
    has_profile: bool = False,
) -> list[Fault]:
    """Give what is wrong beyond the shape, in all that has a good one: numbers, natures, channels, times, names."""
    body = found.body
    if body is None:
        return []
    faults: list[Fault] = []
    if body.afzender not in organisations:
        faults.append(Fault("#/afzender", "afzender_onbekend", "Dit OIN is hier niet ingericht als afzender."))
    who = body.geadresseerde
    number = number_fault(who.soort, who.nummer)
    if number is not None and found.sound("#/geadresseerde/soort"):
        faults.append(Fault("#/geadresseerde/nummer", "nummer", number))
    if found.sound("#/aard"):
        faults += _nature_faults(body)
    faults += _consequences_faults(found, body)
    faults += _channel_faults(body.kanalen, channels)
    faults += _profile_faults(body, channels, has_profile=has_profile)
    faults += _time_faults(body, now)
    at = "#/geadresseerde/adres"
    if who.adres is not None and found.sound(f"{at}/land"):
        faults += [Fault(f"{at}/{name}", code, text) for name, code, text in address_faults(_postal(who.adres))]
    faults += _document_name_faults(body.documenten)
    return [fault for fault in faults if found.sound(fault.pointer)]


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


def _consequences_faults(found: Read, body: BerichtIn) -> list[Fault]:
    """L4: the consequences stand in the notice and on the letter about it, where nothing else of the message may."""
    text = _plain(body.rechtsgevolgen or "")
    who = body.geadresseerde
    # A subject of one word ("Besluit") tells nothing, and hardly any consequences could do without it.
    subject = body.onderwerp if " " in body.onderwerp else None
    hidden = {
        "#/kenmerk": ("het kenmerk van dit bericht", body.kenmerk),
        "#/zaak": ("het nummer van de zaak", body.zaak),
        "#/geadresseerde/nummer": (f"het {who.soort}-nummer", who.nummer),
        "#/geadresseerde/naam": ("de naam van de geadresseerde", who.naam),
        "#/kennisgeving/email": ("het e-mailadres", body.kennisgeving.email),
        "#/onderwerp": ("het onderwerp", subject),
    }
    return [
        Fault(
            "#/rechtsgevolgen",
            "rechtsgevolgen_te_veel",
            f"De rechtsgevolgen staan ook in de e-mail over dit bericht. Noem daarin niet {what}.",
        )
        for pointer, (what, value) in hidden.items()
        if value is not None and found.sound(pointer) and _holds(text, _plain(value))
    ]


_JOINED = re.compile(r"(?<=[0-9])[ .-](?=[0-9])")
_TELLING = 4
"""Characters from which a value can be told from an ordinary word."""


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _holds(text: str, value: str) -> bool:
    """Tell whether the value stands in the text as words of its own; a number also where it is written in groups."""
    if len(value) < _TELLING:
        return False
    # Making an expression for each value costs more than all else here: only where it is there at all.
    joined = _JOINED.sub("", text) if value.isdecimal() else ""
    if value in joined and re.search(rf"(?<![0-9]){value}(?![0-9])", joined):
        return True
    return value in text and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None


def _channel_faults(asked: tuple[KanaalIn, ...], channels: Mapping[str, Channel]) -> list[Fault]:
    """L1: a channel that this installation has, named once, and asked only what it can answer."""
    faults: list[Fault] = []
    seen: set[str] = set()
    for index, item in enumerate(asked):
        at = f"#/kanalen/{index}/kanaal"
        channel = channels.get(item.kanaal)
        if channel is None:
            known = ", ".join(sorted(channels))
            faults.append(Fault(at, "kanaal_onbekend", f"Dit kanaal is hier niet ingericht. Kies uit: {known}."))
        elif item.kanaal in seen:
            faults.append(Fault(at, "kanaal_dubbel", "Dit kanaal staat er al."))
        elif item.grondslag is ConsentBasis.TO_CHECK and not channel.can_check:
            text = "Dit kanaal kan niet nagaan of iemand bereikbaar is. Gebruik de grondslag aangemeld."
            faults.append(Fault(f"#/kanalen/{index}/grondslag", "kanaal_niet_te_controleren", text))
        seen.add(item.kanaal)
    return faults


def _profile_faults(body: BerichtIn, channels: Mapping[str, Channel], *, has_profile: bool) -> list[Fault]:
    """L1: what is to come from the profile service, where there is one, and only what it can say."""
    faults: list[Fault] = []
    absent = "Hier is geen profielservice ingericht."
    for index, item in enumerate(body.kanalen):
        at = f"#/kanalen/{index}/grondslag"
        if item.grondslag is not ConsentBasis.PROFILE:
            continue
        channel = channels.get(item.kanaal)
        if not has_profile:
            faults.append(Fault(at, "profiel_niet_ingericht", absent))
        elif channel is not None and channel.kind is not ChannelKind.BOX:
            text = "De profielservice zegt alleen of iemand een berichtenbox wil. Gebruik hier de grondslag aangemeld."
            faults.append(Fault(at, "profiel_past_niet", text))
    if body.kennisgeving.uit_profiel and not has_profile:
        faults.append(Fault("#/kennisgeving/uitProfiel", "profiel_niet_ingericht", absent))
    if body.kennisgeving.uit_profiel and body.kennisgeving.email is not None:
        text = "Geef een e-mailadres, of laat het uit het profiel komen: één van de twee."
        faults.append(Fault("#/kennisgeving/email", "email_dubbel", text))
    return faults


def _time_faults(body: BerichtIn, now: datetime) -> list[Fault]:
    """Find times that cannot be meant: what was said lies in the past, what is to be done lies ahead."""
    faults: list[Fault] = []
    wish = body.kennisgeving
    for at, moment, what in (
        ("#/kennisgeving/afgemeldTijdstip", wish.afgemeld_tijdstip, "Afmelden"),
        ("#/kennisgeving/opgegevenTijdstip", wish.opgegeven_tijdstip, "Het opgeven van een e-mailadres"),
    ):
        if moment is not None and moment > now + _SKEW:
            faults.append(Fault(at, "toekomst", f"{what} kan niet in de toekomst liggen."))
    today = legal_day(now)
    for index, channel in enumerate(body.kanalen):
        if channel.sinds_datum is not None and channel.sinds_datum > today:
            text = "De datum waarop iemand zich aanmeldde, kan niet in de toekomst liggen."
            faults.append(Fault(f"#/kanalen/{index}/sindsDatum", "toekomst", text))
    publish = body.publicatie_tijdstip
    if publish is not None and not now - _LATE_PUBLICATION <= publish <= now + _EARLY_PUBLICATION:
        text = "Het tijdstip van publicatie ligt hoogstens 7 dagen terug en hoogstens een jaar vooruit."
        faults.append(Fault("#/publicatieTijdstip", "publicatie_te_ver", text))
        publish = None
    last = body.termijn.laatste_datum if body.termijn is not None else None
    if last is not None and last < max(today, legal_day(publish) if publish is not None else today):
        text = "De laatste dag van de termijn is al voorbij als het bericht er staat."
        faults.append(Fault("#/termijn/laatsteDatum", "termijn_voorbij", text))
    return faults


def _document_name_faults(items: tuple[DocumentIn, ...]) -> list[Fault]:
    seen: set[str] = set()
    faults: list[Fault] = []
    for index, item in enumerate(items):
        name = item.naam.casefold()
        if name in seen:
            text = "Een ander document heeft deze naam al."
            faults.append(Fault(f"#/documenten/{index}/naam", "document_dubbel", text))
        seen.add(name)
        if (item.inhoud is None) == (item.url is None):
            text = "Geef de inhoud van dit document of een url, één van de twee."
            faults.append(Fault(f"#/documenten/{index}", "document", text))
    return faults


def _postal(at: AdresIn) -> PostalAddress:
    return PostalAddress(
        at.straat,
        at.huisnummer or "",
        at.postcode or "",
        at.woonplaats,
        country_of(at.land),
        at.toevoeging,
        at.regio,
    )


def to_message(body: BerichtIn, message_id: UUID) -> Message:
    """Make the message of a request without faults."""
    who = body.geadresseerde
    address = None
    if who.adres is not None:
        address = _postal(who.adres)
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
            from_profile=wish.uit_profiel,
        ),
        subject=body.onderwerp,
        text=body.tekst,
        documents=tuple(Document(item.naam, item.mediatype, item.inhoud or b"") for item in body.documenten),
        case=body.zaak,
        concerns=body.betreft,
        publish_at=utc(body.publicatie_tijdstip) if body.publicatie_tijdstip else None,
    )
