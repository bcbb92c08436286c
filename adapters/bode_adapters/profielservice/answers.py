"""What the profile service's statuses and values mean for us: all of them, in the tables of this file only."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, TypeVar

import httpx
import msgspec

from bode_adapters.contract import (
    Answer,
    Identifier,
    NoProfile,
    Profile,
    ProfileAnswer,
    RefusalKind,
    Refused,
    Unavailable,
    Unknown,
)
from bode_adapters.profielservice import wire
from bode_adapters.rest import by_status, moment_of, raw_word

STATUSES: Final[Mapping[int, Answer]] = {
    # The contract's own, operation "Ophalen profiel van een partij"; 404 is in `from_response`.
    # What we send is a kind and a number that were checked before the call: what is left is a fault of ours.
    400: Refused("http_400", RefusalKind.DEFECT, "the profile service finds a fault in the question"),
    500: Unavailable("http_500"),
    # What a gateway in front of it says.
    401: Refused("http_401", RefusalKind.CONFIGURATION, "the profile service does not accept the token"),
    403: Refused("http_403", RefusalKind.CONFIGURATION, "the token or certificate may not ask"),
    405: Refused("http_405", RefusalKind.CONFIGURATION, "there is no profile service at base_url"),
    408: Unavailable("http_408"),
    415: Refused("http_415", RefusalKind.DEFECT, "the profile service does not take the form we sent"),
    429: Unavailable("http_429"),
    503: Unavailable("http_503"),
}

RECEIVES: Final[Mapping[str, bool]] = {
    # The contract says that a preference's value is a text and not which: these are what a yes-or-no in JSON becomes as
    # a text. Anything else is kept and shown to a person; that it means no would be a guess, and so would yes.
    "true": True,
    "false": False,
}

BOX_PREFERENCE: Final = "OntvangViaBerichtenbox"
EMAIL: Final = "Email"
_AN_EMAIL: Final = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,253}")
_MOST_EMAIL: Final = 254
_EARLIEST: Final = datetime(1, 1, 1, tzinfo=UTC)

_Scoped = TypeVar("_Scoped", wire.Voorkeur, wire.Contactgegeven)


def from_response(response: httpx.Response, *, who: Identifier, provider: str, asked_at: datetime) -> ProfileAnswer:
    """Tell what an answer means for messages of this provider (dienstverlener)."""
    if response.status_code == HTTPStatus.NOT_FOUND:
        if response.headers.get("Content-Type", "").partition(";")[0].strip() != "application/problem+json":
            # By the contract the service's own 404 is a problem document. A bare one comes from whatever stands there
            # instead: taken for "no profile" it would send a letter to everybody.
            text = "there is no profile service at base_url: its 404 is not the service's own"
            return Refused("http_404_bare", RefusalKind.CONFIGURATION, text)
        return NoProfile(asked_at, "http_404")
    if response.status_code != HTTPStatus.OK:
        answer = by_status(response, STATUSES, now=asked_at)
        return answer if isinstance(answer, Refused | Unavailable | Unknown) else Unknown("not_understood")
    try:
        party = msgspec.json.decode(response.content, type=wire.PartijResponse)
    except msgspec.MsgspecError:
        return Unknown("unreadable_answer")
    return _from_party(party, who, provider, asked_at)


def _from_party(party: wire.PartijResponse, who: Identifier, provider: str, asked_at: datetime) -> ProfileAnswer:
    named = [(one.identificatie_type, one.identificatie_nummer) for one in party.identificaties or ()]
    if named and (who.kind.value, who.number) not in named:
        return Refused("another_party", RefusalKind.UNRECOGNISED, "the answer is about somebody else")
    wishes = [each for each in party.voorkeuren or () if each.voorkeur_type == BOX_PREFERENCE]
    wish = _best(wishes, provider, asked_at)
    receives = RECEIVES.get((wish.waarde or "").strip().lower()) if wish is not None else None
    if wish is not None and receives is None:
        code = f"waarde:{raw_word(wish.waarde or '')}"
        return Refused(code, RefusalKind.UNRECOGNISED, f"a value of {BOX_PREFERENCE} that is not known here")
    addresses = [each for each in party.contactgegevens or () if _usable(each)]
    address = _best(addresses, provider, asked_at)
    return Profile(
        asked_at=asked_at,
        receives=receives,
        receives_since=_changed(wish) if wish is not None else None,
        consent=raw_word(wish.id) if wish is not None and wish.id is not None else None,
        email=address.waarde if address is not None else None,
        email_since=_changed(address) if address is not None else None,
    )


def _usable(contact: wire.Contactgegeven) -> bool:
    """Say whether this is an address to write to: verified, and written as one."""
    value = contact.waarde or ""
    return (
        contact.type == EMAIL
        and contact.is_geverifieerd is True
        and len(value) <= _MOST_EMAIL
        and _AN_EMAIL.fullmatch(value) is not None
    )


def _best(found: Sequence[_Scoped], provider: str, now: datetime) -> _Scoped | None:
    """Choose what was said to this provider before what was said in general, then the default, then the latest."""
    holding = [each for each in found if _scope(each.scopes, provider) and not _over(each.te_verwijderen_op, now)]
    return max(holding, key=lambda each: _order(each, provider), default=None)


def _order(each: wire.Voorkeur | wire.Contactgegeven, provider: str) -> tuple[int, bool, datetime]:
    default = isinstance(each, wire.Contactgegeven) and each.is_default is True
    return _scope(each.scopes, provider), default, _changed(each) or _EARLIEST


def _scope(scopes: Sequence[wire.Scope] | None, provider: str) -> int:
    """Say how closely a scope fits: 2 for this provider, 1 in general, 0 not at all.

    One for a single service (dienst) of the provider is not: a message does not say which service it is of.
    """
    if not scopes:
        return 1
    mine = (one for one in scopes if one.dienstverlener_naam == provider and one.dienst_naam is None)
    return 2 if next(mine, None) is not None else 0


def _over(moment: str | None, now: datetime) -> bool:
    until = moment_of(moment)
    return until is not None and until <= now


def _changed(each: wire.Voorkeur | wire.Contactgegeven) -> datetime | None:
    return moment_of(each.last_updated) or moment_of(each.created_at)
