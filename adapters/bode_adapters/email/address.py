"""Addresses as they may stand on an SMTP command line, and texts without addresses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

LONGEST_ADDRESS = 254
LONGEST_LOCAL_PART = 64
LONGEST_DOMAIN = 253
"""RFC 5321 section 4.5.3.1, with the erratum (1690) that leaves 254 characters for an address."""

# Nothing that ends a path or a command: no space, control, quote, bracket or angle. Atoms and quoted strings only
# (RFC 5321 section 4.1.2); non-ASCII is RFC 6531. Dots in odd places are let through: some providers issue them.
_PLAIN_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")
"""What nearly all are, found much faster than by the rule for all."""
_LOCAL_PART = re.compile(r'[^\x00-\x20\x7f-\xa0<>()\[\]\\,;:"@\s]+|"(?:[^"\\\x00-\x1f\x7f-\x9f]|\\[\x20-\x7e])*"')
_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?"
    r"|\[(?:IPv6:)?[0-9A-Fa-f:.]+\]"
)
_LOOKS_LIKE_ADDRESS = re.compile(r'<?(?:"[^"]*"|[^\s<>"@]+)@[^\s<>@]+>?')
_PLAIN_XTEXT = re.compile(r"[!-*,-<>-~]*")
_SHORTEST_TELLING_LOCAL_PART = 3


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address that is safe on a command line: the domain in A-labels, the local part as given."""

    local: str
    domain: str
    needs_utf8: bool
    """Whether the local part can only travel with SMTPUTF8 (RFC 6531)."""

    def __str__(self) -> str:
        """Write the address out."""
        return f"{self.local}@{self.domain}"


def mailbox(address: str) -> Mailbox | None:
    """Give the address in a shape that can travel, or `None` where it is no address.

    The domain is made of A-labels with the standard library's codec, which knows IDNA 2003: a domain with `ß` goes to
    its `ss` spelling. Registries that issue both give both to one holder.
    """
    local, at, domain = address.rpartition("@")
    if not at or len(local) > LONGEST_LOCAL_PART:
        return None
    if _PLAIN_LOCAL_PART.fullmatch(local) is None and _LOCAL_PART.fullmatch(local) is None:
        return None
    found = _domain(domain)
    if found is None or len(local) + len(found) + 1 > LONGEST_ADDRESS:
        return None
    return Mailbox(local, found, needs_utf8=not local.isascii())


@lru_cache(maxsize=1024)
def _domain(domain: str) -> str | None:
    """Give a domain in A-labels: remembered, for most mail goes to a few."""
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    return domain if len(domain) <= LONGEST_DOMAIN and _DOMAIN.fullmatch(domain) is not None else None


@lru_cache(maxsize=256)
def own_mailbox(address: str) -> Mailbox | None:
    """Do the same for an address of a sender: a handful, so remembered."""
    return mailbox(address)


def without_addresses(text: str, recipient: Mailbox) -> str:
    """Give a server's words with everything that looks like an address, or like this recipient, left out."""
    text = _LOOKS_LIKE_ADDRESS.sub("<...>", text) if "@" in text else text
    if len(recipient.local) >= _SHORTEST_TELLING_LOCAL_PART and recipient.local.lower() in text.lower():
        text = re.sub(re.escape(recipient.local), "<...>", text, flags=re.IGNORECASE)
    return text


def xtext(value: str) -> str:
    """Encode a value for a DSN parameter (RFC 3461, section 4)."""
    if _PLAIN_XTEXT.fullmatch(value):
        return value
    return "".join(char if "!" <= char <= "~" and char not in "+=" else f"+{ord(char):02X}" for char in value)
