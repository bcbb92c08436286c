"""Where a list goes on, as one word that means nothing to who gets it. It gives no right: the tenant is asked anew."""

from __future__ import annotations

import base64
import binascii
from typing import Literal

from bode.intake.faults import BadQuery, Fault

Of = Literal["s1", "z1"]
"""Which list, and how its places are written: the feed of status changes (`s1`), a search (`z1`)."""


def write(of: Of, *place: str) -> str:
    """Give the cursor of a place, which is some words without dots. What is in it may change."""
    return base64.urlsafe_b64encode(".".join((of, *place)).encode()).decode().rstrip("=")


def read(of: Of, word: str, parameter: str) -> list[str]:
    """Give the place of a cursor. Raises `BadQuery` for what was never given for this list."""
    try:
        plain = base64.b64decode(word + "=" * (-len(word) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        plain = ""
    kind, *place = plain.split(".")
    if kind != of or not place:
        raise not_ours(parameter)
    return place


def not_ours(parameter: str) -> BadQuery:
    """Give the refusal of a cursor that is none."""
    text = "Dit is geen cursor: neem die van het vorige antwoord over, of laat hem weg om bij het begin te beginnen."
    return BadQuery([Fault(parameter, "cursor", text, "query")])
