"""Dates, lengths of time and addresses in the words that people read."""

from __future__ import annotations

import re
from datetime import date
from urllib.parse import urlsplit

from bode.compose.plain import one_line
from bode.domain.message import PostalAddress
from bode.domain.terms import Duration

_WEEKDAYS = ("maandag", "dinsdag", "woensdag", "donderdag", "vrijdag", "zaterdag", "zondag")
_MONTHS = (
    *("januari", "februari", "maart", "april", "mei", "juni"),
    *("juli", "augustus", "september", "oktober", "november", "december"),
)
_DUTCH_POSTCODE = re.compile(r"([1-9][0-9]{3})\s*([A-Za-z]{2})")
_LONGEST_NAME = 100
"""Characters of a name that fit in the address window together with a street, a city and a country."""


def date_words(day: date) -> str:
    """Write a date as '5 januari 2027'."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def weekday_words(day: date) -> str:
    """Write a date with its weekday, as 'dinsdag 5 januari 2027'."""
    return f"{_WEEKDAYS[day.weekday()]} {date_words(day)}"


def duration_words(duration: Duration) -> str:
    """Write a length of time as '6 weken', '1 maand' or '14 dagen'."""
    if duration.weeks:
        return _counted(duration.weeks, "week", "weken")
    if duration.months:
        return _counted(duration.months, "maand", "maanden")
    return _counted(duration.days, "dag", "dagen")


def _counted(amount: int, one: str, many: str) -> str:
    return f"{amount} {one if amount == 1 else many}"


def typed_address(box_url: str) -> str:
    """Give the address of a box as someone types it, 'mijn.overheid.nl'.

    Raises `ValueError` for an address that leads to one message or one person instead of to the box: people must be
    able to type it, and to trust a notice because it holds no link of its own.
    """
    parts = urlsplit(box_url)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ValueError(f"{box_url!r} is no web address: write it as https://mijn.overheid.nl")
    if parts.query or parts.fragment or parts.username or parts.password:
        raise ValueError("the address of a box has no query, fragment or user name: it leads to the box, for everyone")
    return one_line(f"{parts.netloc}{parts.path}").rstrip("/")


def masked_email(address: str) -> str:
    """Write an e-mail address so that only its owner knows it again: 'j…@voorbeeld.nl'."""
    local, _, domain = one_line(address).rpartition("@")
    if not local or not domain:
        return "…"
    return f"{local[0] if len(local) > 1 else ''}…@{domain}"


def envelope_lines(name: str, address: PostalAddress) -> list[str]:
    """Give the three or four lines of an address as PostNL reads them; the name may take more than one on paper.

    A Dutch city stands in capitals, two spaces after its postcode (`1234 AB  UTRECHT`), and without a country. Abroad
    the postcode and city stand as that country has them, and the country in capitals on the last line.
    """
    name = one_line(name)
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME - 1].rstrip()}…"
    city = one_line(address.city).upper()
    postcode = one_line(address.postcode).upper()
    street = one_line(f"{address.street} {address.number}")
    if address.country:
        lines = [name, street, f"{postcode} {city}".strip(), one_line(address.country).upper()]
    else:
        if found := _DUTCH_POSTCODE.fullmatch(postcode):
            postcode = f"{found[1]} {found[2]}"
        lines = [name, street, f"{postcode}  {city}".strip()]
    return [line for line in lines if line]
