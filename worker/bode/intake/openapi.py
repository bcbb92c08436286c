"""The OpenAPI 3.1 document: what the framework knows of the routes, completed with every answer that they can give.

The bodies are read by us, so that every fault is told, and the answers are made by us: neither has a type that the
framework could describe. Tests hold this page against the routes, and the answers against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from bode.intake.body import AnnuleringIn, BerichtIn
from bode.intake.problems import MEDIA_TYPE, VERSION
from bode.intake.scopes import Scope
from bode.intake.status import STATES
from bode.intake.strict_json import is_list, is_object
from bode.store.changes import Kind

Json = dict[str, Any]

ROWS = ("application/jsonl", "application/x-ndjson")
FOLLOWS = ("afzender", "aard", "betreft")
"""What a withdrawal has from the message that it withdraws."""

_ID = "0b9f3c52-7f0e-4a53-9a8e-3f6c3c3f1d10"
_MOMENT = {"type": "string", "format": "date-time"}
_MAYBE_MOMENT = {"type": ["string", "null"], "format": "date-time"}
_UUID = {"type": "string", "format": "uuid"}
_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_STATE = {"type": "string", "enum": list(STATES.values())}


def _object(properties: Json, *, description: str = "", also: Json | None = None) -> Json:
    """Describe an object whose properties are always there, but for those in `also`."""
    made: Json = {"type": "object", "properties": {**properties, **(also or {})}, "required": list(properties)}
    return {**made, "description": description} if description else made


def _list(item: Json) -> Json:
    return {"type": "array", "items": item}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


_ACCEPTED = {"id": _UUID, "afzender": _TEXT, "kenmerk": _TEXT, "aangenomenTijdstip": _MOMENT}
_FOUND = {
    "id": _UUID,
    "afzender": _TEXT,
    "kenmerk": _TEXT,
    "zaak": _MAYBE_TEXT,
    "aard": _TEXT,
    "status": _STATE,
    "uitkomst": _TEXT,
    "aangenomenTijdstip": _MOMENT,
}
_NOTICE = {
    "status": _TEXT,
    "uiterlijkTijdstip": _MOMENT,
    "verzondenTijdstip": _MAYBE_MOMENT,
    "pogingen": {"type": "integer"},
}
_PLACEMENT = {
    "kanaal": _TEXT,
    "status": _TEXT,
    "geplaatstTijdstip": _MAYBE_MOMENT,
    "code": _MAYBE_TEXT,
    "kennisgeving": {"oneOf": [_object(_NOTICE), {"type": "null"}]},
}
_LETTER = {
    "nummer": {"type": "integer"},
    "soort": _TEXT,
    "reden": _TEXT,
    "status": _TEXT,
    "gepostTijdstip": _MAYBE_MOMENT,
}
_SENT = {
    "verzondenTijdstip": _MOMENT,
    "kanaal": _TEXT,
    "regel": _TEXT,
    "bron": _TEXT,
    "geldig": {"type": "boolean"},
}
_ATTENTION = {"onderdeel": _TEXT, "reden": _TEXT, "sindsTijdstip": _MOMENT}
_LATER = {"id": _UUID, "kenmerk": _TEXT, "aard": _TEXT}
_MESSAGE = {
    "id": _UUID,
    "afzender": _TEXT,
    "kenmerk": _TEXT,
    "aard": _TEXT,
    "status": _STATE,
    "uitkomst": _TEXT,
    "aangenomenTijdstip": _MOMENT,
    "publicatieTijdstip": _MAYBE_MOMENT,
    "verzending": {"oneOf": [_object(_SENT, description="Het wettelijke tijdstip van verzending."), {"type": "null"}]},
    "plaatsingen": _list(_object(_PLACEMENT)),
    "brieven": _list(_object(_LETTER)),
    "aandacht": _list(_object(_ATTENTION, description="Waar een medewerker iets moet doen.")),
    "vervangenDoor": _list(_object(_LATER)),
}
_CHANGE = {
    "id": _UUID,
    "berichtId": _UUID,
    "afzender": _TEXT,
    "kenmerk": _TEXT,
    "soort": {"type": "string", "enum": [str(kind) for kind in Kind]},
    "status": _STATE,
    "uitkomst": _TEXT,
    "redenen": _list(_TEXT),
    "verzondenTijdstip": _MAYBE_MOMENT,
    "tijdstip": _MOMENT,
}
_FAULT = {
    "in": {"type": "string", "enum": ["body", "query", "header"]},
    "location": {
        "type": "object",
        "description": "Waar het fout zit: een JSON-pointer in het verzoek, of de naam van een parameter of header.",
        "properties": {"pointer": _TEXT, "name": _TEXT},
    },
    "code": _TEXT,
    "detail": _TEXT,
}

_SCHEMAS: Json = {
    "Problem": _object(
        {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT},
        also={"errors": _list(_object(_FAULT))},
        description="Wat er niet klopt (RFC 9457), met alle fouten tegelijk.",
    ),
    "Aangenomen": _object(_ACCEPTED),
    "Bericht": _object(_MESSAGE),
    "Zoekresultaat": _object({"berichten": _list(_object(_FOUND)), "volgendeCursor": _MAYBE_TEXT}),
    "Statuswijzigingen": _object(
        {
            "statuswijzigingen": _list(_object(_CHANGE)),
            "volgende": {**_TEXT, "description": "Geef deze de volgende keer mee als `na`."},
            "meer": {"type": "boolean"},
        }
    ),
}

_ACCEPTED_EXAMPLE = {
    "id": _ID,
    "afzender": "00000001999000010000",
    "kenmerk": "MV-2026-9001",
    "aangenomenTijdstip": "2026-03-02T09:00:00.000000Z",
}
_REQUEST_EXAMPLE: Json = {
    "afzender": "00000001999000010000",
    "kenmerk": "MV-2026-9001",
    "aard": "beschikking",
    "rechtsgevolgen": "U kunt bezwaar maken.",
    "termijn": {"duur": "P6W"},
    "geadresseerde": {"soort": "BSN", "nummer": "999993653", "naam": "Noor Voorbeeld"},
    "kanalen": [{"kanaal": "mijnoverheid"}],
    "kennisgeving": {"email": "noor@post.example.nl"},
    "onderwerp": "Uw dakkapel mag er komen",
    "tekst": "Beste mevrouw Voorbeeld, u krijgt de vergunning.",
}

_HEADERS: Json = {
    "API-Version": {"description": "De volledige versie van deze API.", "schema": {**_TEXT, "example": VERSION}},
    "Location": {
        "description": "Waar staat hoe het met het bericht gaat.",
        "schema": {**_TEXT, "format": "uri-reference"},
    },
    "Retry-After": {"description": "Na hoeveel seconden hetzelfde nog eens kan.", "schema": {"type": "integer"}},
}
_PROBLEMS = {
    400: "Het verzoek klopt niet: alle fouten tegelijk",
    401: "Geen geldige sleutel, token of certificaat",
    403: "Deze applicatie mag dit niet",
    404: "Er is geen bericht met dit id, of niet voor deze afzender",
    408: "Het verzoek kwam te langzaam binnen",
    409: "Dit botst met wat er al is; met Retry-After: het eerste verzoek wordt nog verwerkt",
    410: "Wat na deze cursor kwam, is niet meer bewaard",
    413: "Het verzoek is te groot",
    415: "Het verzoek heeft een vorm die hier niet hoort",
    422: "Deze Idempotency-Key hoort bij een ander verzoek",
    429: "Deze applicatie stuurt te veel verzoeken",
    500: "Een fout bij ons: hetzelfde nog eens sturen is veilig",
    503: "Even niet beschikbaar: hetzelfde nog eens sturen is veilig",
}
_ALWAYS = (401, 403, 429, 500, 503)
_BODY = (408, 413, 415)
_REPEATED = frozenset({"berichtAanleveren", "berichtIntrekken", "berichtAnnuleren"})
"""What looks at an `Idempotency-Key`."""
_REFUSALS: Mapping[str, tuple[int, ...]] = {
    "berichtAanleveren": (400, *_BODY, 409, 422),
    "berichtIntrekken": (400, 404, *_BODY, 409, 422),
    "berichtAnnuleren": (400, 404, *_BODY, 409, 422),
    "berichtenAanleveren": (400, 415),
    "berichtenZoeken": (400,),
    "berichtOpvragen": (400, 404),
    "bewijsOpvragen": (400, 404),
    "statuswijzigingenOpvragen": (400, 410),
}
_GIVEN: Mapping[str, tuple[int, str, str, str]] = {
    "berichtAanleveren": (202, "Aangenomen: opgeslagen, en het wordt bezorgd", "application/json", "Aangenomen"),
    "berichtIntrekken": (202, "Aangenomen: de intrekking is een nieuw bericht", "application/json", "Aangenomen"),
    "berichtAnnuleren": (200, "Teruggehaald: er is niets verstuurd", "application/json", "Bericht"),
    "berichtenAanleveren": (200, "Een regel per rij", "application/x-ndjson", ""),
    "berichtenZoeken": (200, "Wat er is gevonden, de nieuwste eerst", "application/json", "Zoekresultaat"),
    "berichtOpvragen": (200, "Hoe het met het bericht staat", "application/json", "Bericht"),
    "bewijsOpvragen": (200, "Een ZIP met het afschrift", "application/zip", ""),
    "statuswijzigingenOpvragen": (200, "Wijzigingen, de oudste eerst", "application/json", "Statuswijzigingen"),
}


def document(schema: Json, *, scopes: Mapping[str, Scope], server: str, contact: Mapping[str, str]) -> Json:
    """Complete the framework's document. `scopes` are those of the operations, `server` is the address up to `/v1`."""
    schemas = {**schema["components"]["schemas"], **_SCHEMAS}
    for model in (BerichtIn, AnnuleringIn):
        schemas |= _described(model)
    schemas["IntrekkingIn"] = {
        **schemas["BerichtIn"],
        "title": "IntrekkingIn",
        "properties": {k: v for k, v in schemas["BerichtIn"]["properties"].items() if k not in FOLLOWS},
        "required": [name for name in schemas["BerichtIn"]["required"] if name not in FOLLOWS],
    }
    paths: Json = {}
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            name = operation["operationId"]
            operation["responses"] = _answers(name)
            operation["security"] = [{"sleutel": [str(scopes[name])]}, {"certificaat": [str(scopes[name])]}]
            operation["description"] = f"{operation.get('description', '')}\n\nScope: `{scopes[name]}`.".strip()
            if name in _REPEATED:
                operation.setdefault("parameters", []).append({"$ref": "#/components/parameters/IdempotencyKey"})
            if name in _REQUESTS:
                operation["requestBody"] = _REQUESTS[name]
        paths[path.removeprefix("/v1")] = operations
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bode",
            "version": VERSION,
            "description": "Officiële berichten aanleveren, volgen en bewijzen.",
            "contact": dict(contact),
            "license": {"name": "EUPL-1.2", "identifier": "EUPL-1.2"},
        },
        "servers": [{"url": server}],
        "tags": [
            {"name": "berichten", "description": "Aanleveren, zoeken, intrekken en bewijzen."},
            {"name": "statuswijzigingen", "description": "Wat er met berichten is gebeurd."},
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": _HEADERS,
            "responses": {f"Problem{status}": _problem(status) for status in _PROBLEMS},
            "parameters": {"IdempotencyKey": _IDEMPOTENCY_KEY},
            "securitySchemes": _SECURITY,
        },
    }


def _described(model: type[BaseModel]) -> Json:
    made = model.model_json_schema(ref_template="#/components/schemas/{model}", by_alias=True)
    found: Json = _plain({**made.pop("$defs", {}), model.__name__: made})
    return found


def _plain(schema: Any) -> Any:
    """Write what may be absent as a type, where that says it all: `["string", "null"]`."""
    if is_list(schema):
        return [_plain(item) for item in schema]
    if not is_object(schema):
        return schema
    made: Json = {key: _plain(item) for key, item in schema.items()}
    match made.get("anyOf"):
        case [{"type": str() as kind} as real, {"type": "null"}]:
            rest = {key: item for key, item in made.items() if key != "anyOf"}
            return {**rest, **real, "type": [kind, "null"]}
        case _:
            return made


def _problem(status: int) -> Json:
    headers = ["API-Version", *(["Retry-After"] if status in {409, 429, 503} else [])]
    return {
        "description": _PROBLEMS[status],
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": {MEDIA_TYPE: {"schema": _ref("Problem")}},
    }


def _answers(name: str) -> Json:
    status, description, media, schema = _GIVEN[name]
    headers = ["API-Version", *(["Location"] if status == 202 else [])]  # noqa: PLR2004 - accepted
    shape: Json = {"schema": _ref(schema)} if schema else {"schema": {"type": "string", "format": "binary"}}
    if schema == "Aangenomen":
        shape["example"] = _ACCEPTED_EXAMPLE
    given = {
        "description": description,
        "headers": {one: {"$ref": f"#/components/headers/{one}"} for one in headers},
        "content": {media: shape},
    }
    refusals = sorted({*_ALWAYS, *_REFUSALS[name]})
    return {str(status): given} | {str(one): {"$ref": f"#/components/responses/Problem{one}"} for one in refusals}


def _message_body(schema: str, example: Json) -> Json:
    parts = {"bericht": _ref(schema), "document": _list({"type": "string", "contentMediaType": "application/pdf"})}
    return {
        "required": True,
        "content": {
            "application/json": {"schema": _ref(schema), "example": example},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": parts, "required": ["bericht"]},
                "encoding": {
                    "bericht": {"contentType": "application/json"},
                    "document": {"contentType": "application/pdf"},
                },
            },
        },
    }


_REQUESTS: Json = {
    "berichtAanleveren": _message_body("BerichtIn", _REQUEST_EXAMPLE),
    "berichtIntrekken": _message_body(
        "IntrekkingIn",
        {name: value for name, value in _REQUEST_EXAMPLE.items() if name not in {*FOLLOWS, "termijn"}}
        | {"kenmerk": "MV-2026-9002"},
    ),
    "berichtAnnuleren": {
        "required": True,
        "content": {"application/json": {"schema": _ref("AnnuleringIn"), "example": {"reden": "Fout in het besluit"}}},
    },
    "berichtenAanleveren": {
        "required": True,
        "description": "Op elke regel een bericht, zoals bij POST /berichten.",
        "content": {kind: {"schema": {"type": "string"}} for kind in ROWS},
    },
}
_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": (
        "Hetzelfde verzoek met dezelfde sleutel krijgt een dag lang het antwoord van de eerste keer. Een verzoek dat "
        "werd geweigerd, mag verbeterd terugkomen met dezelfde sleutel. Een kenmerk is ook zonder sleutel één bericht."
    ),
    "schema": {"type": "string", "maxLength": 200},
    "example": '"8e03978e-40d5-43e8-bc93-6894a57f9324"',
}
_SECURITY: Json = {
    "sleutel": {
        "type": "http",
        "scheme": "bearer",
        "description": (
            "Een API-sleutel, een access token (OAuth 2.0, client credentials) of een JWT zoals in ZGW. "
            f"Scopes: {', '.join(Scope)}."
        ),
    },
    "certificaat": {
        "type": "mutualTLS",
        "description": "Een clientcertificaat, dat de proxy hiervoor controleert.",
    },
}
