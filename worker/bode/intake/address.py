"""Whether a letter can arrive at an address: asked before a message is accepted, not when the letter must go."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from bode.domain.message import PostalAddress

_POSTCODE = re.compile(r"[1-9][0-9]{3} ?[A-Z]{2}")
_NEVER_GIVEN = ("SA", "SD", "SS")
_COUNTRY_CODE = 3
_NETHERLANDS = frozenset(
    {"nederland", "nl", "nld", "holland", "netherlands", "the netherlands", "niederlande", "pays-bas"}
)


def country_of(name: str | None) -> str | None:
    """Give the country that stands on the envelope: none for the Netherlands, however it was written."""
    return None if name is None or name.casefold() in _NETHERLANDS else name


def address_faults(address: PostalAddress) -> Iterator[tuple[str, str, str]]:
    """Give what is missing or wrong: the field of the request, a code, and a sentence in Dutch."""
    yield from _dutch(address) if address.country is None else _abroad(address.country)
    for name, value in (("straat", address.street), ("woonplaats", address.city)):
        if not any(character.isalpha() for character in value):
            yield name, f"{name}_zonder_letters", "Hier staan geen letters. Schrijf de naam voluit."
    for name, value in _fields(address):
        if not all(map(_is_latin, value)):
            text = "Schrijf dit met Latijnse letters: andere letters kan de post niet lezen."
            yield name, "geen_latijnse_letters", text


def _dutch(address: PostalAddress) -> Iterator[tuple[str, str, str]]:
    postcode = address.postcode.upper()
    if not postcode:
        yield "postcode", "postcode_ontbreekt", "Bij een Nederlands adres hoort een postcode (1234 AB)."
    elif not _POSTCODE.fullmatch(postcode):
        yield "postcode", "postcode", "Dit is geen Nederlandse postcode (1234 AB)."
    elif postcode.endswith(_NEVER_GIVEN):
        yield "postcode", "postcode", "Deze postcode bestaat niet: SA, SD en SS komen niet voor."
    if not address.number:
        text = "Bij een Nederlands adres hoort een huisnummer, ook bij een postbus."
        yield "huisnummer", "huisnummer_ontbreekt", text
    elif not any(character.isdigit() for character in address.number):
        yield "huisnummer", "huisnummer", "Dit huisnummer heeft geen cijfer."
    if address.region:
        yield "regio", "regio_past_niet", "Een regio hoort alleen bij een adres buiten Nederland."


def _abroad(country: str) -> Iterator[tuple[str, str, str]]:
    """Ask nothing of house number and postcode: not every country has them."""
    if len(country) <= _COUNTRY_CODE or not any(character.isalpha() for character in country):
        yield "land", "land_voluit", "Schrijf het land voluit, in het Nederlands, Engels of Frans: Duitsland."


def _fields(address: PostalAddress) -> tuple[tuple[str, str], ...]:
    return (
        ("toevoeging", address.extra or ""),
        ("straat", address.street),
        ("huisnummer", address.number),
        ("postcode", address.postcode),
        ("woonplaats", address.city),
        ("regio", address.region or ""),
        ("land", address.country or ""),
    )


def _is_latin(character: str) -> bool:
    return not character.isalpha() or unicodedata.name(character, "").startswith(("LATIN", "FEMININE", "MASCULINE"))
