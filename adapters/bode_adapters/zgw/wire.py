"""What we read of the registers' JSON; the rest of it is left alone. Names are the API's, in snake case."""

from __future__ import annotations

from datetime import date

import msgspec


class Besluit(msgspec.Struct, rename="camel", frozen=True):
    """Schema Besluit of the Besluiten API."""

    url: str
    verantwoordelijke_organisatie: str
    besluittype: str
    datum: date
    identificatie: str = ""
    zaak: str = ""
    toelichting: str = ""
    verzenddatum: date | None = None
    uiterlijke_reactiedatum: date | None = None


class BesluitInformatieObject(msgspec.Struct, rename="camel", frozen=True):
    """The link between a decision and a document."""

    url: str
    informatieobject: str
    besluit: str


class Zaak(msgspec.Struct, rename="camel", frozen=True):
    """Schema Zaak of the Zaken API."""

    url: str
    identificatie: str = ""
    omschrijving: str = ""


class VerblijfsAdres(msgspec.Struct, rename="camel", frozen=True):
    """A Dutch address."""

    wpl_woonplaats_naam: str = ""
    gor_openbare_ruimte_naam: str = ""
    aoa_postcode: str = ""
    aoa_huisnummer: int | None = None
    aoa_huisletter: str = ""
    aoa_huisnummertoevoeging: str = ""


class Buitenland(msgspec.Struct, rename="camel", frozen=True):
    """An address abroad, in lines."""

    lnd_landnaam: str = ""
    line_1: str = msgspec.field(default="", name="subAdresBuitenland_1")
    line_2: str = msgspec.field(default="", name="subAdresBuitenland_2")


class Betrokkene(msgspec.Struct, rename="camel", frozen=True):
    """Who is concerned: the fields of a natural person, an organisation and an establishment together."""

    inp_bsn: str = ""
    geslachtsnaam: str = ""
    voorvoegsel_geslachtsnaam: str = ""
    voorletters: str = ""
    voornamen: str = ""
    inn_nnp_id: str = ""
    kvk_nummer: str = ""
    statutaire_naam: str = ""
    handelsnaam: list[str] | None = None
    verblijfsadres: VerblijfsAdres | None = None
    sub_verblijf_buitenland: Buitenland | None = None


class ContactPersoon(msgspec.Struct, rename="camel", frozen=True):
    """Who speaks for them."""

    emailadres: str = ""


class Rol(msgspec.Struct, rename="camel", frozen=True):
    """Schema Rol of the Zaken API."""

    url: str
    betrokkene_type: str
    omschrijving_generiek: str = ""
    betrokkene: str = ""
    afwijkende_naam_betrokkene: str = ""
    contactpersoon_rol: ContactPersoon | None = None
    betrokkene_identificatie: Betrokkene | None = None


class Document(msgspec.Struct, rename="camel", frozen=True):
    """Schema EnkelvoudigInformatieObject of the Documenten API, without its content."""

    url: str
    titel: str
    versie: int
    inhoud: str = ""
    status: str = ""
    formaat: str = ""
    bestandsnaam: str = ""
    vertrouwelijkheidaanduiding: str = ""


class Verzending(msgspec.Struct, rename="camel", frozen=True):
    """Schema Verzending of the Documenten API."""

    betrokkene: str
    informatieobject: str
    aard_relatie: str
    verzenddatum: date | None = None


class BesluitPage(msgspec.Struct, rename="camel", frozen=True):
    """A page of decisions."""

    results: list[Besluit]
    next: str | None = None


class RolPage(msgspec.Struct, rename="camel", frozen=True):
    """A page of roles."""

    results: list[Rol]
    next: str | None = None


class VerzendingPage(msgspec.Struct, rename="camel", frozen=True):
    """A page of sendings."""

    results: list[Verzending]
    next: str | None = None
