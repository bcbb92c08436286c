"""Every limit of the Berichtenbox, just within and just over it, before anything is sent."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from mijnoverheid_sides import EBMS_SETTINGS, NOW, SENDER, SETTINGS, always, ebms, gateway, pending, place_one

from bode_adapters.contract import (
    Identifier,
    IdentifierKind,
    Pending,
    RefusalKind,
    Refused,
)
from bode_adapters.testing.box import (
    new_document,
    new_message,
)

ODD = Identifier(IdentifierKind.BSN, "999990018")
"""Nine digits that do not pass the 11-test."""
SIDES = {"gateway": gateway, "ebms": ebms}
WITHIN = [
    {"subject": "o"},
    {"subject": "o" * 50},
    {"text": ""},
    {"text": "t" * 4000},
    {"text": "t\n" * 800},
    {"reference": ""},
    {"reference": "r" * 25},
    {"sender": replace(SENDER, box_types={"mijnoverheid": "12345678"})},
    {"documents": (new_document(250_000, "n" * 128), new_document(250_000, "n"))},
    {"publish_at": NOW + timedelta(days=13)},
]
OVER = [
    ("subject", {"subject": ""}),
    ("subject", {"subject": "o" * 51}),
    ("text", {"text": "t" * 4001}),
    ("text", {"text": "t\n" * 800 + "t"}),
    ("reference", {"reference": "r" * 26}),
    ("addressee", {"addressee": Identifier(IdentifierKind.BSN, "12345678")}),
    ("addressee", {"addressee": Identifier(IdentifierKind.BSN, "1234567890")}),
    ("addressee", {"addressee": ODD}),
    ("documents", {"documents": (new_document(9),) * 3}),
    ("documents_bytes", {"documents": (new_document(250_000), new_document(250_001))}),
    ("media_type", {"documents": (replace(new_document(9), media_type="image/png"),)}),
    ("description", {"documents": (new_document(9, "n" * 129),)}),
    ("description", {"documents": (new_document(9, ""),)}),
    ("characters", {"text": "een\x0btwee"}),
    ("characters", {"subject": "half \ud83d"}),
    ("publication", {"publish_at": NOW + timedelta(days=13, seconds=1)}),
]


@pytest.mark.parametrize("side", SIDES)
async def test_just_within_every_limit_is_placed(side: str) -> None:
    async with SIDES[side](clock=lambda: NOW) as (other, mock):
        for changes in WITHIN:
            message = new_message(SENDER, **changes)
            box = other.box
            box._clock = lambda: NOW
            (answer,) = await box.place(messages=[message])
            assert isinstance(answer, Pending), changes
        mock.box.advance()
        outcomes = [outcome.code for batch in mock.box.batches for outcome in batch.outcomes]
        assert outcomes == ["Verwerkt"] * len(WITHIN)


@pytest.mark.parametrize("settings", [SETTINGS, EBMS_SETTINGS], ids=["gateway", "ebms"])
@pytest.mark.parametrize(("field", "changes"), OVER)
async def test_over_a_limit_is_refused_for_its_content_without_a_call(
    field: str, changes: dict[str, Any], settings: dict[str, object]
) -> None:
    answer = await place_one(always(500), settings, **changes)
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == (f"limiet:{field}", RefusalKind.CONTENT)


@pytest.mark.parametrize("types", [{}, {"mijnoverheid": ""}, {"mijnoverheid": "123456789"}])
async def test_a_message_type_that_is_not_registered_is_configuration(types: dict[str, str]) -> None:
    answer = await place_one(always(500), sender=replace(SENDER, box_types=types))
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == ("limiet:box_type", RefusalKind.CONFIGURATION)


async def test_the_rest_of_a_batch_goes_on_and_a_repeat_has_the_same_members() -> None:
    async with gateway() as (side, mock):
        batch = uuid4()
        messages = [new_message(SENDER, batch=batch, subject=subject) for subject in ("een", "x" * 51, "drie")]
        first = await side.box.place(messages=messages)
        assert [type(answer) for answer in first] == [Pending, Refused, Pending]
        again = await side.box.place(messages=messages)
        assert again[0] == replace(pending(first[0]), code="http_409")
        assert again[1] == first[1]
        assert [bericht.Onderwerp for bericht in mock.received] == ["een", "drie"]
