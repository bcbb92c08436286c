"""What the message store takes (FBS 0.2.0), checked before a call, and the line that makes a message findable."""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Final, assert_never

from bode_adapters.contract import BoxMessage, Identifier, IdentifierKind, RefusalKind, Refused

SUBJECT: Final = 255
REFERENCE: Final = 100
TEXT: Final = 262_000
"""Characters that always fit: the contract's limit is 1 MiB of UTF-8, a character takes up to four bytes, and our own
line with the reference goes below."""
NAME: Final = 255
MEDIA_TYPE: Final = 127

_OIN: Final = re.compile(r"[0-9]{20}")
_NINE_DIGITS: Final = re.compile(r"[0-9]{9}")
_EIGHT_DIGITS: Final = re.compile(r"[0-9]{8}")
_LINE: Final = re.compile(r"\S.*")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_WEIGHTS: Final = (9, 8, 7, 6, 5, 4, 3, 2, -1)


def reference_line(message: BoxMessage) -> str:
    """Give the line by which `lookup` finds a message: the contract has no field for it."""
    return f"Kenmerk: {message.reference.strip()}"


def text_as_sent(message: BoxMessage) -> str:
    """Give the text with the reference as its last line; a text that ends with it already is left as it is."""
    text = message.text.rstrip()
    line = reference_line(message)
    if last_line(text) == line:
        return text
    return f"{text}\n\n{line}" if text else line


def last_line(text: str) -> str:
    """Give the last line that is not blank."""
    lines = text.rstrip().splitlines()
    return lines[-1].strip() if lines else ""


def over_limit(message: BoxMessage) -> Refused | None:
    """Give the first limit a message breaks, if any; the same message always gets the same answer."""
    return next(chain(_addressing(message), _words(message), _documents(message)), None)


def valid_number(identifier: Identifier) -> bool:
    """Say whether a number is one by the rules of its kind: length, digits, and the 11-test for BSN and RSIN."""
    number = identifier.number
    match identifier.kind:
        case IdentifierKind.BSN | IdentifierKind.RSIN:
            if not _NINE_DIGITS.fullmatch(number) or not number.strip("0"):
                return False
            return sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, number, strict=True)) % 11 == 0
        case IdentifierKind.KVK:
            return _EIGHT_DIGITS.fullmatch(number) is not None and number.strip("0") != ""
        case _ as never:
            assert_never(never)


def _addressing(message: BoxMessage) -> Iterator[Refused]:
    if not valid_number(message.addressee):
        yield _content("addressee", f"the number is not a {message.addressee.kind}")
    if not _OIN.fullmatch(message.sender.oin):
        # The sender's registration, not this message: nobody should get a letter for it.
        yield Refused("limiet:oin", RefusalKind.CONFIGURATION, "the sender's OIN needs 20 digits")


def _words(message: BoxMessage) -> Iterator[Refused]:
    if not 1 <= len(message.subject) <= SUBJECT:
        yield _content("subject", f"the subject has {len(message.subject)} characters; it needs 1 to {SUBJECT}")
    if len(message.text) > TEXT:
        yield _content("text", f"the text has {len(message.text)} characters; at most {TEXT} are taken")
    reference = message.reference.strip()
    if len(reference) > REFERENCE or not _LINE.fullmatch(reference) or len(reference.splitlines()) != 1:
        yield _content("reference", f"the reference needs 1 to {REFERENCE} characters on one line")
    written = (message.subject, message.text, reference, *(document.name for document in message.documents))
    if any(map(_SURROGATE.search, written)):
        yield _content("characters", "there is half a character in it, which UTF-8 cannot hold")


def _documents(message: BoxMessage) -> Iterator[Refused]:
    for document in message.documents:
        if not 1 <= len(document.name) <= NAME:
            yield _content("description", f"a document's name needs 1 to {NAME} characters")
        if not 1 <= len(document.media_type) <= MEDIA_TYPE:
            yield _content("media_type", f"a document's media type needs 1 to {MEDIA_TYPE} characters")
        if not document.content:
            yield _content("documents_bytes", "a document is empty")


def _content(field: str, text: str) -> Refused:
    return Refused(f"limiet:{field}", RefusalKind.CONTENT, text)
