"""From a decision in the registers to a message, by rules in TOML: a rule for each kind of decision. No I/O.

What a rule does not say is not guessed: a decision without a rule, or without one addressee, waits for a person.
"""

from __future__ import annotations

import re
import tomllib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bode_adapters.zgw import wire

CONFIDENTIALITY = (
    "openbaar",
    "beperkt_openbaar",
    "intern",
    "zaakvertrouwelijk",
    "vertrouwelijk",
    "confidentieel",
    "geheim",
    "zeer_geheim",
)
"""The ZGW's own words, from open to secret."""
_PLACE = re.compile(r"\{([a-z.]+)\}")
_LONGEST_REFERENCE, _LONGEST_SUBJECT = 25, 50
_LATEST = "uiterlijkeReactiedatum"


class MappingFileError(Exception):
    """A mapping that cannot be used; names the file and what is wrong."""


class Unmapped(Exception):  # noqa: N818 - what the decision is
    """A decision that no message can be made of; `code` says why and holds nothing of it."""

    def __init__(self, code: str) -> None:
        """Keep the code."""
        super().__init__(code)
        self.code = code


class NoticeFrom(StrEnum):
    """Where the address for the notice comes from."""

    CONTACT = "contactpersoon"
    """The e-mail address of the contact person of the addressee's role."""
    PROFILE = "profiel"
    """The profile service."""
    NONE = "geen"
    """Nowhere: the policy says whether a letter goes."""


class Rule(BaseModel):
    """How decisions of one kind become messages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    besluittype: str
    """The address of the kind of decision, or `*` for the others."""
    aard: str
    rechtsgevolgen: str | None = None
    termijn: str | None = None
    """`P6W`, or `uiterlijkeReactiedatum`: the last day that the decision itself names."""
    vertrouwelijkheid: str = "substantieel"
    onderwerp: str
    tekst: str
    rollen: tuple[str, ...] = ("initiator",)
    """Whose part in the case makes them the addressee (omschrijvingGeneriek), the first that somebody has."""
    kanalen: tuple[dict[str, Any], ...] = ()
    """As the API takes them."""
    kennisgeving: NoticeFrom = NoticeFrom.CONTACT


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    versie: Literal[1]
    besluit: tuple[Rule, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Found:
    """All that the registers say of a decision that is to be sent."""

    besluit: wire.Besluit
    zaak: wire.Zaak
    rollen: Sequence[wire.Rol]
    documenten: Sequence[tuple[wire.Document, bytes]]


def read_rules(file: Path) -> tuple[Rule, ...]:
    """Read a mapping. Raises `MappingFileError`."""
    try:
        rules = _File.model_validate(tomllib.loads(file.read_text("utf-8"))).besluit
    except OSError as error:
        raise MappingFileError(f"{file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MappingFileError(f"{file} is no TOML: {error}") from error
    except ValidationError as error:
        faults = (f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors())
        raise MappingFileError(f"{file}: {'; '.join(faults)}") from error
    kinds = [rule.besluittype for rule in rules]
    if len(set(kinds)) < len(kinds):
        raise MappingFileError(f"{file}: each besluittype once")
    known = _places(None)
    for rule in rules:
        unknown = {place for text in (rule.onderwerp, rule.tekst) for place in _PLACE.findall(text)} - known.keys()
        if unknown:
            names = ", ".join(f"{{{name}}}" for name in known)
            raise MappingFileError(f"{file}: {rule.besluittype}: {{{min(unknown)}}} is not one of {names}")
    return rules


def rule_for(rules: Sequence[Rule], besluittype: str) -> Rule:
    """Give the rule of a kind of decision. Raises `Unmapped`."""
    by_kind = {rule.besluittype: rule for rule in rules}
    rule = by_kind.get(besluittype) or by_kind.get("*")
    if rule is None:
        raise Unmapped("geen_regel")
    return rule


def not_yet(document: wire.Document) -> bool:
    """Tell whether a document is still being made: it is sent when it is final, and not before."""
    return document.status not in {"definitief", "gearchiveerd"}


def too_confidential(document: wire.Document, ceiling: str) -> bool:
    """Tell whether a document may not be sent; what says nothing of it, or a word we do not know, may not."""
    word = document.vertrouwelijkheidaanduiding
    return word not in CONFIDENTIALITY or CONFIDENTIALITY.index(word) > CONFIDENTIALITY.index(ceiling)


def addressee(rule: Rule, rollen: Sequence[wire.Rol]) -> wire.Rol:
    """Give the one role that is the addressee's. Raises `Unmapped`."""
    for kind in rule.rollen:
        found = [rol for rol in rollen if rol.omschrijving_generiek == kind]
        if len(found) > 1:
            raise Unmapped("meer_geadresseerden")
        if found:
            return found[0]
    raise Unmapped("geen_geadresseerde")


def reference(besluit: wire.Besluit) -> str:
    """Give the message's reference: the decision's own, or where that is too long one that follows from its address."""
    name = besluit.identificatie.strip()
    return name if 0 < len(name) <= _LONGEST_REFERENCE else f"B-{sha256(besluit.url.encode()).hexdigest()[:20]}"


def message_of(rule: Rule, found: Found, *, oin: str) -> dict[str, Any]:
    """Make the message, as the API takes it: intake says what is wrong with it. Raises `Unmapped`."""
    besluit, rol = found.besluit, addressee(rule, found.rollen)
    places = _places(found)
    subject = " ".join(_filled(rule.onderwerp, places).split())
    body: dict[str, Any] = {
        "afzender": oin,
        "kenmerk": reference(besluit),
        "zaak": found.zaak.identificatie or None,
        "aard": rule.aard,
        "rechtsgevolgen": rule.rechtsgevolgen,
        "vertrouwelijkheid": rule.vertrouwelijkheid,
        "geadresseerde": _addressee_of(rol),
        "kanalen": list(rule.kanalen),
        "kennisgeving": _notice(rule, rol),
        "onderwerp": subject if len(subject) <= _LONGEST_SUBJECT else f"{subject[: _LONGEST_SUBJECT - 1]}…",
        "tekst": _filled(rule.tekst, places),
        "documenten": _documents(found.documenten),
    }
    if rule.termijn == _LATEST:
        if besluit.uiterlijke_reactiedatum is None:
            raise Unmapped("geen_uiterlijke_reactiedatum")
        body["termijn"] = {"laatsteDatum": besluit.uiterlijke_reactiedatum.isoformat()}
    elif rule.termijn is not None:
        body["termijn"] = {"duur": rule.termijn}
    return {key: value for key, value in body.items() if value is not None}


def _places(found: Found | None) -> dict[str, str]:
    return {
        "besluit.identificatie": found.besluit.identificatie if found else "",
        "besluit.datum": f"{found.besluit.datum:%d-%m-%Y}" if found else "",
        "besluit.toelichting": found.besluit.toelichting if found else "",
        "zaak.identificatie": found.zaak.identificatie if found else "",
        "zaak.omschrijving": found.zaak.omschrijving if found else "",
    }


def _filled(text: str, places: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda place: places[place[1]], text)


def _addressee_of(rol: wire.Rol) -> dict[str, Any]:
    who = rol.betrokkene_identificatie
    if who is None:
        raise Unmapped("geadresseerde_zonder_gegevens")
    match rol.betrokkene_type:
        case "natuurlijk_persoon":
            kind, number = "BSN", who.inp_bsn
            first = who.voornamen or who.voorletters
            name = " ".join(part for part in (first, who.voorvoegsel_geslachtsnaam, who.geslachtsnaam) if part)
        case "niet_natuurlijk_persoon" | "vestiging":
            kind, number = ("KVK", who.kvk_nummer) if who.kvk_nummer else ("RSIN", who.inn_nnp_id)
            name = who.statutaire_naam or next(iter(who.handelsnaam or ()), "")
        case _:
            raise Unmapped("geadresseerde_van_andere_soort")
    if not number:
        raise Unmapped("geadresseerde_zonder_nummer")
    address = _address(who)
    found = {"soort": kind, "nummer": number, "naam": rol.afwijkende_naam_betrokkene or name}
    return found | ({"adres": address} if address is not None else {})


def _address(who: wire.Betrokkene) -> dict[str, str] | None:
    """Give the postal address; none where there is none that a letter can go to."""
    here, abroad = who.verblijfsadres, who.sub_verblijf_buitenland
    if abroad is not None and abroad.line_1 and abroad.line_2 and abroad.lnd_landnaam:
        return {"straat": abroad.line_1, "woonplaats": abroad.line_2, "land": abroad.lnd_landnaam}
    if here is None or not here.aoa_postcode or here.aoa_huisnummer is None:
        return None
    number = f"{here.aoa_huisnummer}{here.aoa_huisletter}"
    if here.aoa_huisnummertoevoeging:
        number += f"-{here.aoa_huisnummertoevoeging}"
    return {
        "straat": here.gor_openbare_ruimte_naam,
        "huisnummer": number,
        "postcode": here.aoa_postcode,
        "woonplaats": here.wpl_woonplaats_naam,
    }


def _notice(rule: Rule, rol: wire.Rol) -> dict[str, Any]:
    match rule.kennisgeving:
        case NoticeFrom.PROFILE:
            return {"uitProfiel": True}
        case NoticeFrom.CONTACT if rol.contactpersoon_rol is not None and rol.contactpersoon_rol.emailadres:
            return {"email": rol.contactpersoon_rol.emailadres, "opgegevenDoor": "zaaksysteem"}
        case _:
            return {}


def _documents(found: Sequence[tuple[wire.Document, bytes]]) -> list[dict[str, str]]:
    named: dict[str, dict[str, str]] = {}
    for document, content in found:
        if document.formaat and document.formaat != "application/pdf":
            raise Unmapped("document_geen_pdf")
        stem = re.sub(r"[^\w .-]", "-", (document.bestandsnaam or document.titel).removesuffix(".pdf")).strip(". ")
        name, number = f"{stem[:100] or 'document'}.pdf", 1
        while name in named:
            number += 1
            name = f"{stem[:100] or 'document'} ({number}).pdf"
        inhoud = b64encode(content).decode("ascii")
        named[name] = {"naam": name, "mediatype": "application/pdf", "inhoud": inhoud}
    return list(named.values())
