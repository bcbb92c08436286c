"""The message store's own words: what `leverBerichtAan` takes, and what it and the lists give (FBS 0.2.0)."""

import msgspec


class Ontvanger(msgspec.Struct):
    """Schema Identificatienummer."""

    type: str
    waarde: str


class Bijlage(msgspec.Struct):
    """Schema BijlageAanleverenRequest; msgspec writes the bytes as base64."""

    naam: str
    mime_type: str = msgspec.field(name="mimeType")
    inhoud: bytes


class Aanlevering(msgspec.Struct, omit_defaults=True):
    """Schema BerichtAanleverenRequest. There is no field for an id of ours."""

    afzender: str
    ontvanger: Ontvanger
    onderwerp: str
    inhoud: str
    publicatietijdstip: str | None = None
    bijlagen: list[Bijlage] = msgspec.field(default_factory=list[Bijlage])


class Status(msgspec.Struct):
    """Schema BerichtStatusInfo: left out until the addressee does something with the message."""

    gelezen: bool = False
    gewijzigd: str | None = msgspec.field(name="gewijzigdOp", default=None)
    """Of the last change: also moving it to another folder, and reading it again."""


class Opgeslagen(msgspec.Struct):
    """What `leverBerichtAan` and `getBerichtById` give, as far as it says something new.

    The times are texts, so that one that cannot be read does not hide that the message was stored.
    """

    bericht_id: str = msgspec.field(name="berichtId")
    ontvangen: str | None = msgspec.field(name="tijdstipOntvangst", default=None)
    gepubliceerd: str | None = msgspec.field(name="publicatietijdstip", default=None)
    afzender: str | None = None
    inhoud: str | None = None
    """In a list the contract contradicts itself: the operation says that it is left out, the schema that it is in."""
    status: Status | None = None


class Lijst(msgspec.Struct):
    """Schema BerichtenLijst."""

    berichten: list[Opgeslagen]
    total_elements: int = msgspec.field(name="totalElements")
    total_pages: int = msgspec.field(name="totalPages")


class Problem(msgspec.Struct):
    """RFC 9457. `detail` is not read: by the contract nothing may depend on it, and it may repeat what we sent."""

    type: str = "about:blank"
