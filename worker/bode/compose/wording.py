"""Dates, lengths of time and addresses of boxes and mail in the words that people read."""

from __future__ import annotations

from datetime import date
from urllib.parse import urlsplit

from bode.compose.plain import one_line
from bode.domain.terms import Duration

_WEEKDAYS = ("maandag", "dinsdag", "woensdag", "donderdag", "vrijdag", "zaterdag", "zondag")
_MONTHS = (
    *("januari", "februari", "maart", "april", "mei", "juni"),
    *("juli", "augustus", "september", "oktober", "november", "december"),
)


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
