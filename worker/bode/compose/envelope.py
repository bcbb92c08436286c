"""The address as it stands in the window of an envelope: three to six lines, as PostNL and the UPU ask.

A Dutch city stands in capitals, two spaces after its postcode (`1234 AB  UTRECHT`), and without a country. Abroad the
postcode and city stand as that country has them, and the country in capitals on the last line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from textwrap import wrap

from bode.compose.plain import one_line
from bode.domain.message import PostalAddress

LONGEST_LINE = 40
"""Characters that fit in the window at the ordinary size of type; the letterhead sets a wide line smaller."""
MOST_LINES = 6
_MOST_OF_A_NAME, _MOST_OF_A_STREET = 3, 2
_POSTCODE_AND_CITY = re.compile(r"^([1-9][0-9]{3} [A-Z]{2}) (?=\S)")
_DUTCH_POSTCODE = re.compile(r"([1-9][0-9]{3})\s*([A-Za-z]{2})")

NAME_WORDS: Mapping[str, str] = {
    "besloten vennootschap": "B.V.",
    "naamloze vennootschap": "N.V.",
    "coöperatieve": "Coöp.",
    "coöperatie": "Coöp.",
    "exploitatie": "Expl.",
    "gebroeders": "Gebr.",
    "internationale": "Int.",
    "international": "Int.",
    "maatschappij": "Mij.",
    "nederlandse": "Ned.",
    "nederland": "Ned.",
    "stichting": "St.",
    "vereniging": "Ver.",
}
"""Words of names that everybody reads in their short form. Used only where the name does not fit."""
STREET_WORDS: Mapping[str, str] = {
    "admiraal": "Adm.",
    "burgemeester": "Burg.",
    "doctor": "Dr.",
    "dokter": "Dr.",
    "generaal": "Gen.",
    "ingenieur": "Ir.",
    "kapitein": "Kapt.",
    "koningin": "Kon.",
    "luitenant": "Luit.",
    "meester": "Mr.",
    "minister": "Min.",
    "president": "Pres.",
    "professor": "Prof.",
    "wethouder": "Weth.",
}
"""Words of streets as NEN 5825 shortens them. Used only where the street does not fit."""


def sender_line(line: str) -> str:
    """Give a line of the sender's own address, with two spaces after a Dutch postcode."""
    return _POSTCODE_AND_CITY.sub(r"\1  ", one_line(line))


def envelope_lines(name: str, address: PostalAddress, *, is_person: bool = False) -> list[str]:
    """Give the lines, three to six. A name or street that is too long wraps first, and is shortened after that."""
    city, postcode = one_line(address.city).upper(), one_line(address.postcode).upper()
    if address.country:
        region = one_line(address.region or "").upper()
        last = [f"{postcode} {city}".strip(), region, one_line(address.country).upper()]
    else:
        if found := _DUTCH_POSTCODE.fullmatch(postcode):
            postcode = f"{found[1]} {found[2]}"
        last = [f"{postcode}  {city}".strip()]
    last = [line for line in last if line]
    extra = _fitted(one_line(address.extra or ""), 1, NAME_WORDS)
    street = _fitted(one_line(f"{address.street} {address.number}"), _MOST_OF_A_STREET, STREET_WORDS)
    room = min(MOST_LINES - len(last) - len(street) - len(extra), _MOST_OF_A_NAME)
    return [*_fitted(one_line(name), room, NAME_WORDS, is_person=is_person), *extra, *street, *last]


def _fitted(text: str, most: int, words: Mapping[str, str], *, is_person: bool = False) -> list[str]:
    """Break a text over at most so many lines: whole, else with short words, else with initials, else cut off."""
    lines = wrap(text, LONGEST_LINE)
    if len(lines) > most:
        lines = wrap(text := _shortened(text, words), LONGEST_LINE)
    if len(lines) > most and is_person:
        lines = wrap(text := _with_initials(text), LONGEST_LINE)
    if len(lines) > most:
        lines = [*lines[: most - 1], f"{lines[most - 1][: LONGEST_LINE - 1].rstrip()}…"]
    return lines


def _shortened(text: str, words: Mapping[str, str]) -> str:
    for word, short in words.items():
        text = re.sub(rf"(?<!\w){word}(?!\w)", short, text, flags=re.IGNORECASE)
    return text


def _with_initials(name: str) -> str:
    """Write given names as initials: all words with a capital before the first without, or before the last word."""
    words = name.split()
    given = next((place for place, word in enumerate(words) if not word[:1].isupper()), len(words) - 1)
    initials = "".join(f"{word[0]}." for word in words[:given])
    return " ".join([initials, *words[given:]]) if given else name
