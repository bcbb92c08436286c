"""What goes over the line: JSON:API documents (`application/vnd.api+json`), as docs/adapters/print.md has them."""

from __future__ import annotations

from typing import Final

import msgspec

MEDIA_TYPE: Final = "application/vnd.api+json"


class LetterAttributes(msgspec.Struct, rename="camel", kw_only=True):
    """A letter as it is handed over; `pdf` is base64."""

    specification_id: str
    group_id: str
    sender_id: str
    kind: str
    pages: int
    sheets: int
    grams: int
    sha256_hash: str = msgspec.field(name="sha256Hash")
    pdf: bytes


class LetterOrder(msgspec.Struct, kw_only=True):
    """The resource of a letter to print."""

    type: str = "Letter"
    id: str
    attributes: LetterAttributes


class Order(msgspec.Struct):
    """The body of `PUT /letters/{id}`."""

    data: LetterOrder


class TakenAttributes(msgspec.Struct, rename="camel"):
    """What the print service says about a letter it has."""

    status: str
    group_id: str
    received_at: str
    sha256_hash: str = msgspec.field(name="sha256Hash")


class TakenLetter(msgspec.Struct):
    """A letter that the print service has."""

    id: str
    attributes: TakenAttributes


class Taken(msgspec.Struct):
    """The answer to `PUT` and `GET /letters/{id}`."""

    data: TakenLetter


class UpdateAttributes(msgspec.Struct, rename="camel"):
    """One thing that happened to a letter."""

    letter_id: str
    status: str
    at: str
    reason_code: str | None = None
    reason_text: str | None = None


class Update(msgspec.Struct):
    """A status update with an id of its own."""

    id: str
    attributes: UpdateAttributes


class Updates(msgspec.Struct):
    """The answer to `GET /letter-updates`. Each element is read by itself: a wrong one does not hide the others."""

    data: list[msgspec.Raw]


class Reference(msgspec.Struct):
    """One update that is stored."""

    id: str
    type: str = "LetterUpdate"


class Confirmation(msgspec.Struct):
    """The body of `POST /letter-updates/confirmations`."""

    data: list[Reference]


class ErrorItem(msgspec.Struct):
    """One error of an `errors` document; its `detail` may repeat what was sent, and is not read."""

    code: str | None = None


class Errors(msgspec.Struct):
    """The body of an answer that is no success."""

    errors: list[ErrorItem] = []
