"""The words of a reply, made ready to be compared: one spelling, no addresses, no repeated codes.

Words alone do not make an addressee unknown: filters and relays borrow them. They count when a second witness speaks,
which `Evidence.confirmed` tells: the command that was answered, a status of class 1, a code for addresses only, or a
report that vouches for its own words.

Addresses are taken out because they hold words of their own: mail to quota@ or spam@ must not decide anything.
Host names and links are set apart for the same reason: a filter called mx.spamexperts.example may well say "no such
user". They are kept, because some hosts put the reason in the link only, and blocklists are known by their names.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from bode.domain.bounces.verdicts import Phase, SmtpReply

MOST_TEXT: Final = 6000
"""Characters of a reply that are looked at. The longest real ones, Exchange's, put the reason in the first hundred."""

_SMTP_CODES: Final = range(200, 600)
# RFC 5321 section 4.3.2: these two answer a command that names an address, never DATA.
_ADDRESS_CODES: Final = frozenset({551, 553})
# RFC 3463 section 3.2: about the destination address, except X.1.7 and X.1.8, which are about the sender's.
_ADDRESS_STATUS: Final = re.compile(r"[245]\.1\.(?!7$|8$)\d{1,3}")
# RFC 3463 sections 3.1 and 3.6: "other or undefined", which contradicts no words.
_UNDEFINED_STATUS: Final = re.compile(r"5\.[05]\.0")
_TRANSIENT: Final = range(400, 500)

_LINK: Final = re.compile(r"\bhttps?:[^\s<>\"]{1,500}", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"<?[^\s<>()\[\]:;,\"'=@]{1,128}@[\w.\-]{1,255}>?")
# The module names of Exchange, such as RESOLVER.ADR.RecipientNotFound, look like hosts and are the reason itself.
_HOST: Final = re.compile(
    r"(?<![\w.@\-])(?!(?:resolver|storedrv|queue|smtpsend|smtp|routing|config|agent)\.)"
    r"[a-z\d](?:[\w\-]{0,62}\.){1,12}(?:com|net|org|info|biz|edu|gov|eu|nl|be|de|fr|uk|lu|at|ch|it|es|pt|dk|se|no|fi|pl|"
    r"cz|ie|ru|ua|jp|cn|br|us|ca|au|nz|za|in|io|me|tv|cc|co|cloud|mobi|email|online|local|lan|test|example|invalid)"
    r"(?![\w\-])",
)
_BLANK: Final = re.compile(r"\s+")
# A reply of several lines repeats its code on each: "550-5.1.1 no such 550 5.1.1 user". The repeats cut words apart.
_CODE: Final = r"(?<![\d.\-/:])([245]\d\d)"
_STATUS: Final = r"([245]\.\d{1,3}\.\d{1,3})"
_LEADING_CODE: Final = re.compile(r"^\W{0,3}([245]\d\d)(?=[\s\-#:;,(]|$)")
_ANY_STATUS: Final = re.compile(rf"(?<![\d.]){_STATUS}(?![\d.]*\d)")
_REPEATED: Final = re.compile(rf"{_CODE}(?:[ \-](?:#?{_STATUS}(?=[\s:;]|$))?|$)")
# A reply quoted by the host in between: "550 5.1.351 remote server returned ... -> 450 4.2.0 try later", or by a mailer
# that tells the story first: "host mx.example.nl said: 550 no such user".
_INNER_CODE: Final = re.compile(
    r"(?:->|<<<|\bsaid:?|\breturned:?|\breplied:?|\bresponse(?: was)?:?|\breply:?|\berror:?|: |[<>'\"(\[])\s{0,3}['\"]?"
    r"([45][0-5]\d)(?=[\s\-#:;,]|$)",
)
_TYPOGRAPHIC: Final = str.maketrans(
    {"’": "'", "‘": "'", "`": "'", "´": "'", "“": '"', "”": '"', "–": "-", "—": "-", "ß": "ss"}
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A reply as the rules see it.

    `statuses` runs from the innermost to the outermost; `said` holds those of the reply itself, without the report's.
    `confirmed` tells whether a second witness joins words about an unknown addressee.
    """

    phase: Phase
    code: int | None
    statuses: tuple[str, ...]
    said: tuple[str, ...]
    text: str
    links: str
    domains: str
    host: str
    transient: bool
    confirmed: bool


def spell_once(text: str) -> str:
    """Give the text in lower case, without accents, with plain quotes and single blanks."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.translate(_TYPOGRAPHIC))
        text = "".join(character for character in text if not unicodedata.combining(character))
    return _BLANK.sub(" ", text.lower()).strip()


def leading_code(text: str) -> int | None:
    """Give the SMTP code the text opens with, if any."""
    found = _LEADING_CODE.match(text)
    return int(found[1]) if found else None


def statuses_in(text: str) -> list[str]:
    """Give the enhanced status codes in the text in their order. RFC 3463 section 2."""
    return [found[1] for found in _ANY_STATUS.finditer(text)]


def weigh(reply: SmtpReply) -> Evidence:
    """Make a reply ready for the rules."""
    raw = reply.text[:MOST_TEXT]
    links = " ".join(_LINK.findall(raw)).lower()
    text = spell_once(_LINK.sub(" ", raw))
    # The statuses are read before addresses go: "<user@[192.0.2.1]>" holds nothing that looks like one.
    inner = statuses_in(text)
    outer = reply.status.strip() if reply.status else ""
    ordered = [*reversed(inner), outer] if _ANY_STATUS.fullmatch(outer) else [*reversed(inner)]
    statuses = tuple(dict.fromkeys(ordered))
    quoted = [int(found[1]) for found in _INNER_CODE.finditer(text)]
    code = reply.code if reply.code in _SMTP_CODES else leading_code(text) or next(iter(quoted), None)
    domains = " ".join(dict.fromkeys(found[0].strip("<>").rpartition("@")[2] for found in _ADDRESS.finditer(text)))
    masked = _ADDRESS.sub("<address>", text)
    hosts = " ".join(found[0] for found in _HOST.finditer(masked))
    masked = _HOST.sub("<host>", masked)
    if code:
        masked = _BLANK.sub(
            " ", _REPEATED.sub(lambda found: " " if int(found[1]) == code else found[0], masked)
        ).strip()
    return Evidence(
        phase=reply.phase,
        code=code,
        statuses=statuses,
        said=tuple(dict.fromkeys(reversed(inner))),
        text=masked,
        links=f"{links} {hosts}".strip(),
        domains=domains,
        host=(reply.mta or "").lower(),
        transient=_is_transient(code, quoted, inner, outer),
        confirmed=_is_confirmed(reply, code, statuses, inner) or masked.startswith("rcpt "),
    )


def _is_confirmed(reply: SmtpReply, code: int | None, statuses: tuple[str, ...], inner: list[str]) -> bool:
    """Whether a second witness tells that the reply is about the addressee.

    A host that opens with the name of the command, "rcpt", is its own second witness; the caller looks at that.
    """
    if reply.phase is Phase.RCPT_TO or code in _ADDRESS_CODES or any(map(_ADDRESS_STATUS.fullmatch, statuses)):
        return True
    return reply.vouched and reply.phase is Phase.UNTOLD and all(map(_UNDEFINED_STATUS.fullmatch, inner))


def _is_transient(code: int | None, quoted: list[int], inner: list[str], outer: str) -> bool:
    """Whether the innermost thing said is temporary; a contradiction counts as temporary, the harmless reading."""
    codes = [*quoted, code] if code else quoted
    if codes:
        return any(one in _TRANSIENT for one in codes) or any(status.startswith("4") for status in inner[-1:])
    if inner:
        return inner[-1].startswith("4")
    return outer.startswith("4")
