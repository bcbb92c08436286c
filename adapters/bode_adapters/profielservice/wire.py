"""The profile service's own words, as far as they are read: `POST /api/profielservice/v1/partij`."""

import msgspec


class PartijRequest(msgspec.Struct, rename="camel"):
    """Schema PartijRequest, without the optional `dienstverlener`.

    What the service does with a name it does not know is not in the contract: a 404 would read as "no profile". So the
    whole profile is asked for, and what holds for the sender is chosen here by the scopes.
    """

    identificatie_type: str
    identificatie_nummer: str


class Scope(msgspec.Struct, rename="camel"):
    """Schema ScopeResponse."""

    dienstverlener_naam: str | None = None
    dienst_naam: str | None = None


class Identificatie(msgspec.Struct, rename="camel"):
    """Schema IdentificatieResponse."""

    identificatie_type: str | None = None
    identificatie_nummer: str | None = None


class Voorkeur(msgspec.Struct, rename="camel"):
    """Schema VoorkeurResponse. Times are texts, so that one that cannot be read hides nothing else."""

    id: str | None = None
    voorkeur_type: str | None = None
    waarde: str | None = None
    created_at: str | None = None
    last_updated: str | None = None
    te_verwijderen_op: str | None = None
    scopes: list[Scope] | None = None


class Contactgegeven(msgspec.Struct, rename="camel"):
    """Schema ContactgegevenResponse."""

    type: str | None = None
    waarde: str | None = None
    is_geverifieerd: bool | None = None
    is_default: bool | None = None
    created_at: str | None = None
    last_updated: str | None = None
    te_verwijderen_op: str | None = None
    scopes: list[Scope] | None = None


class PartijResponse(msgspec.Struct, rename="camel"):
    """Schema PartijResponse; by the contract everything in it may be left out."""

    identificaties: list[Identificatie] | None = None
    voorkeuren: list[Voorkeur] | None = None
    contactgegevens: list[Contactgegeven] | None = None
