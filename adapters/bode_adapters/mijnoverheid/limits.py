"""What the Berichtenbox takes, checked before a call: one message over a limit would have its whole call refused."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain
from typing import Final

from bode_adapters.contract import BoxMessage, IdentifierKind, RefusalKind, Refused

CHANNEL: Final = "mijnoverheid"
"""The key of a sender's message type in `Sender.box_types`."""

MESSAGES: Final = 1000
BATCH_BYTES: Final = 100_000_000
"""100 MB for a whole batch. As with documents: whether that is 1000 or 1024 to the kB is written nowhere."""
CHECKED: Final = 250
"""Addressees in one question about subscriptions."""
SUBJECT: Final = 50
TEXT: Final = 4000
REFERENCE: Final = 25
MESSAGE_TYPE: Final = 8
DESCRIPTION: Final = 128
"""The contract's. A manual says 40 for what is shown; more than that is cut off on screen, not refused."""
LINE_BREAK: Final = r"\r\n"
"""What a line break is in the Berichtenbox's text: these four characters, which count as four."""
PUBLICATION_AHEAD: Final = timedelta(days=13)
"""How far ahead a message may be published. A creation date may be as old, but is made anew with every call."""
DOCUMENTS: Final = 2
DOCUMENTS_BYTES: Final = 500_000
"""500 kB together, before base64. Whether that is 500 000 or 512 000 is written nowhere: the smaller is safe."""

_BSN: Final = re.compile(r"[0-9]{9}")
_NOT_IN_XML: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML cannot hold (XML 1.0, 2.2), as a vertical tab out of a word processor. The gateway makes XML of a
message, so one of these would come back as a defect of ours and stop everybody's messages."""
_ANY_BREAK: Final = re.compile(r"\r\n|\r|\n")
_BSN_WEIGHTS: Final = (9, 8, 7, 6, 5, 4, 3, 2, -1)


def text_as_sent(message: BoxMessage, *, line_break: str = LINE_BREAK) -> str:
    """Give the text with its line breaks as this transport takes them."""
    return _ANY_BREAK.sub(lambda _: line_break, message.text)


def over_limit(message: BoxMessage, *, now: datetime) -> Refused | None:
    """Give the first limit a message breaks, if any, naming the field."""
    return next(chain(_addressing(message), _words(message), _documents(message), _times(message, now)), None)


def _addressing(message: BoxMessage) -> Iterator[Refused]:
    if message.addressee.kind is not IdentifierKind.BSN:
        # Companies and other legal persons have no MijnOverheid.
        yield Refused("limiet:addressee_kind", RefusalKind.ADDRESSEE, "the Berichtenbox knows addressees by BSN only")
    elif not _BSN.fullmatch(message.addressee.number):
        yield _content("addressee", "a BSN has 9 digits")
    elif sum(w * int(digit) for w, digit in zip(_BSN_WEIGHTS, message.addressee.number, strict=True)) % 11:
        yield _content("addressee", "a BSN passes the 11-test")
    message_type = message.sender.box_types.get(CHANNEL, "")
    if not 1 <= len(message_type) <= MESSAGE_TYPE:
        # The sender's registration, not this message: nobody should get a letter for it.
        yield Refused(
            "limiet:box_type",
            RefusalKind.CONFIGURATION,
            f"the sender's message type for {CHANNEL} has {len(message_type)} characters; it needs 1 to {MESSAGE_TYPE}",
        )


def _words(message: BoxMessage) -> Iterator[Refused]:
    if not 1 <= len(message.subject) <= SUBJECT:
        yield _content("subject", f"the subject has {len(message.subject)} characters; it needs 1 to {SUBJECT}")
    if (length := len(text_as_sent(message))) > TEXT:
        yield _content("text", f"the text has {length} characters, line breaks as four; at most {TEXT} are taken")
    if (length := len(message.reference)) > REFERENCE:
        yield _content("reference", f"the reference has {length} characters; at most {REFERENCE} are taken")
    written = (message.subject, message.text, message.reference, *(document.name for document in message.documents))
    if any(map(_NOT_IN_XML.search, written)):
        yield _content("characters", "there is a control character in it that the Berichtenbox cannot take")


def _documents(message: BoxMessage) -> Iterator[Refused]:
    if len(message.documents) > DOCUMENTS:
        yield _content("documents", f"there are {len(message.documents)} documents; at most {DOCUMENTS} are taken")
    if any(document.media_type != "application/pdf" for document in message.documents):
        yield _content("media_type", "a document is not a PDF; no other kind is taken")
    if any(not 1 <= len(document.name) <= DESCRIPTION for document in message.documents):
        yield _content("description", f"a document's name needs 1 to {DESCRIPTION} characters")
    if (size := sum(len(document.content) for document in message.documents)) > DOCUMENTS_BYTES:
        yield _content(
            "documents_bytes", f"the documents are {size} bytes together; at most {DOCUMENTS_BYTES} are taken"
        )


def _times(message: BoxMessage, now: datetime) -> Iterator[Refused]:
    if message.publish_at is not None and message.publish_at - now > PUBLICATION_AHEAD:
        yield _content("publication", f"the publication is more than {PUBLICATION_AHEAD.days} days ahead")


def _content(field: str, text: str) -> Refused:
    return Refused(f"limiet:{field}", RefusalKind.CONTENT, text)
