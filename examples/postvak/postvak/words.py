"""What Postvak's words and statuses mean for Bode: two tables, and nothing that is not in them is guessed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import httpx
import msgspec

from bode_adapters.contract import Answer, RefusalKind, Refused, Unavailable, Unknown
from bode_adapters.rest import by_status, raw_word

WORDS: Final[Mapping[str, RefusalKind]] = {
    "GEEN_POSTVAK": RefusalKind.ADDRESSEE,
    "POSTVAK_OPGEZEGD": RefusalKind.ADDRESSEE,
    "AFZENDER_ONBEKEND": RefusalKind.CONFIGURATION,
    # Postvak scans documents. It can be the scanner that is wrong, but a letter brings the message all the same.
    "BIJLAGE_GEWEIGERD": RefusalKind.CONTENT,
    # Every limit was checked before the call: what is left is a fault of this adapter, and no reason for letters.
    "VELD_ONGELDIG": RefusalKind.DEFECT,
    # The same id with another text. Bode never does this.
    "ID_BEZET": RefusalKind.DEFECT,
}
"""Postvak's `code` in an answer that is not a success."""

STATUSES: Final[Mapping[int, Answer]] = {
    401: Refused("http_401", RefusalKind.CONFIGURATION, "Postvak does not accept the token"),
    403: Refused("http_403", RefusalKind.CONFIGURATION, "the token may not deliver"),
    404: Refused("http_404", RefusalKind.CONFIGURATION, "there is no Postvak at base_url"),
    429: Unavailable("http_429"),
    # Postvak says so before it takes anything in. A 500 is left out: it may have stored the message.
    503: Unavailable("http_503"),
}


class Problem(msgspec.Struct):
    """The body of an answer that is not a success."""

    code: str


def refusal(response: httpx.Response, *, now: datetime) -> Answer:
    """Tell what an answer to a placement that is not a success means."""
    if response.is_server_error:
        return by_status(response, STATUSES, now=now)
    try:
        word = msgspec.json.decode(response.content, type=Problem).code
    except msgspec.MsgspecError:
        return by_status(response, STATUSES, now=now)
    if (kind := WORDS.get(word)) is not None:
        return Refused(word, kind)
    return Refused(raw_word(word), RefusalKind.UNRECOGNISED, "Postvak names a reason that this adapter does not know")


def unanswered(answer: Answer) -> Unknown:
    """Make a question that failed into what it says about the message: nothing."""
    return Unknown(getattr(answer, "code", "unanswered"))
