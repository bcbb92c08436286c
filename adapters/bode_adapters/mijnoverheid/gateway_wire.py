"""The gateway's own words: what `postMessages` takes and what it and `getMessageStatus` give (REST gateway v1.0)."""

import msgspec


class Bijlage(msgspec.Struct, omit_defaults=True):
    """A PDF with a message, in base64."""

    inhoud: bytes = msgspec.field(name="Inhoud")
    """msgspec writes bytes as base64, which is what the contract asks for."""
    omschrijving: str = msgspec.field(name="Omschrijving")
    volgorde: str | None = msgspec.field(name="Volgorde", default=None)
    """Only with two: "2" is shown first, so the numbers run against the order."""


class Bericht(msgspec.Struct, omit_defaults=True):
    """One message. The gateway sets the creation date (AanmaakDatum) itself, fresh with every call."""

    bericht_id: str = msgspec.field(name="BerichtID")
    bericht_type: str = msgspec.field(name="BerichtType")
    onderwerp: str = msgspec.field(name="Onderwerp")
    berichttekst: str = msgspec.field(name="Berichttekst")
    gebruiker_id: str = msgspec.field(name="GebruikerID")
    publicatie_datum: str | None = msgspec.field(name="PublicatieDatum", default=None)
    referentie: str | None = msgspec.field(name="Referentie", default=None)
    bijlagen: list[Bijlage] = msgspec.field(name="Bijlagen", default_factory=list[Bijlage])


class Berichten(msgspec.Struct):
    """The body of `postMessages`: 1 to 10 messages."""

    leverancier: str = msgspec.field(name="BerichtLeverancierID")
    berichten: list[Bericht] = msgspec.field(name="Berichten")


class Taken(msgspec.Struct):
    """The body of a 201, and of a 409 where the gateway says which call it knows."""

    status_id: str = msgspec.field(name="statusID")


class Fault(msgspec.Struct):
    """The body of an error. Its words are not kept: they may repeat what we sent."""

    error: str


class Member(msgspec.Struct):
    """A message that the gateway got in a call."""

    bericht_id: str = msgspec.field(name="BerichtID")


class Delivered(msgspec.Struct):
    """What the gateway got in a call; without it, or without the list, it does not say."""

    members: list[Member] = msgspec.field(name="Berichten", default_factory=list[Member])


class Result(msgspec.Struct):
    """What became of one message."""

    bericht_id: str = msgspec.field(name="BerichtID")
    code: str | None = msgspec.field(name="VerwerkingsCode", default=None)
    stage: str | None = msgspec.field(name="Stadium", default=None)


class Processed(msgspec.Struct):
    """The Berichtenbox's report on the whole call; its time is the only one there is for each message in it."""

    at: str | None = msgspec.field(name="DatumVerwerkt", default=None)
    results: list[Result] = msgspec.field(name="Berichten", default_factory=list[Result])


class Context(msgspec.Struct):
    """Given from IN_PROGRESS on; `processed` only once the Berichtenbox reported."""

    delivered: Delivered | None = msgspec.field(name="Aangeleverd", default=None)
    processed: Processed | None = msgspec.field(name="Verwerkt", default=None)


class Status(msgspec.Struct):
    """The body of `getMessageStatus`. `status` is a plain text, so that a new word can be kept instead of refused."""

    status: str | None = None
    context: Context | None = None
