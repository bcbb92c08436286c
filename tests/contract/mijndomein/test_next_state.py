"""Each word of the message store's contract, through the rules: where it leaves the delivery, and who is told."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from bode.domain import events as ev
from bode.domain.decision import Decision
from bode.domain.delivery import decide
from bode.domain.message import AddresseeKind, Confidentiality, Consent, ConsentBasis, Nature
from bode.domain.parts import AttentionReason, Brief, Delivery, DeliveryState
from bode.domain.parts import PlacementState as P
from bode.domain.policy import Channel, ChannelKind, Policy
from bode.engine import answers
from bode_adapters.testing.box import new_message
from bode_ops import assembly

from .parts import BERICHT_ID, NOW, SENDER, Handler, always, answering, failing, problem, shelf

BOX = "mijndomein"
CALLED = NOW - timedelta(minutes=1)


@pytest.fixture(scope="module")
def rules() -> Any:
    return assembly.bounce_rules()


async def decided(handler: Handler, rules: Any, *, lookup: bool = False) -> Decision:
    """Place a message, or search for one whose outcome is unknown, and decide what follows."""
    message = new_message(SENDER, since=CALLED)
    async with answering(handler) as box:
        capabilities = box.capabilities
        ask = box.lookup if lookup else box.place
        (answer,) = await ask(messages=[message])
    channel = Channel(
        BOX,
        ChannelKind.BOX,
        "Mijn Gemeente",
        Confidentiality.HOOG,
        repeat_is_recognised=capabilities.repeat_is_recognised,
        can_lookup=capabilities.can_lookup,
    )
    policy = Policy(channels={BOX: channel}, is_holiday=lambda _: False)
    brief = Brief(
        message_id=message.id,
        accepted_at=CALLED,
        nature=Nature.OVERIG,
        term=None,
        confidentiality=Confidentiality.LAAG,
        channels=(Consent(BOX, ConsentBasis.DECLARED),),
        addressee_kind=AddresseeKind.BSN,
        has_email=True,
        has_address=True,
    )
    delivery = decide(Delivery(brief), ev.Accepted(), policy, CALLED).delivery
    if lookup:
        delivery = decide(delivery, ev.PlacementUnknown(BOX, "timeout", str(uuid4()), CALLED), policy, CALLED).delivery
    event = answers.of_box(BOX, answer, rules, call=uuid4(), called_at=CALLED)
    return decide(delivery, event, policy, NOW)


def stands(decision: Decision) -> tuple[P, int, bool]:
    """Give the placement's state, the letters ordered, and whether the lane stops."""
    (placement,) = decision.delivery.placements
    return placement.state, len(decision.delivery.letters), any(alarm.stop for alarm in decision.alarms)


@pytest.mark.law("L6")
@pytest.mark.parametrize(
    ("handler", "state", "letters", "stopped"),
    [
        (always(201, {"berichtId": BERICHT_ID}), P.PLACED, 0, False),
        (always(201, b"<html>"), P.UNKNOWN, 0, False),
        (always(302), P.PLANNED, 0, True),
        (always(400), P.HELD, 0, True),
        (always(401), P.PLANNED, 0, True),
        (always(403), P.PLANNED, 0, True),
        (always(404), P.PLANNED, 0, True),
        (always(405), P.PLANNED, 0, True),
        (always(406), P.HELD, 0, True),
        (always(408), P.PLANNED, 0, False),
        (always(409), P.UNKNOWN, 0, False),
        (always(413), P.REFUSED, 1, False),
        (always(415), P.HELD, 0, True),
        (always(418), P.HELD, 0, False),
        (always(429), P.PLANNED, 0, False),
        (always(500), P.UNKNOWN, 0, False),
        (always(502), P.UNKNOWN, 0, False),
        (always(503), P.PLANNED, 0, False),
        (always(504), P.UNKNOWN, 0, False),
        (problem(422, "https://mijn.example/problemen/ontvanger-onbekend"), P.REFUSED, 1, False),
        (problem(400, "https://mijn.example/problemen/postbus-vol"), P.HELD, 0, False),
        (failing(httpx.ConnectError("x")), P.PLANNED, 0, False),
        (failing(httpx.ReadTimeout("x")), P.UNKNOWN, 0, False),
    ],
)
async def test_where_an_answer_leaves_the_delivery(
    handler: Handler, state: P, letters: int, stopped: bool, rules: Any
) -> None:
    decision = await decided(handler, rules)
    assert stands(decision) == (state, letters, stopped)
    waits = decision.delivery.state is DeliveryState.NEEDS_PERSON
    assert waits == (state is P.HELD)
    assert decision.steps or waits, "nobody would look at it again"


async def test_a_word_nobody_knows_is_kept_and_shown_to_a_person(rules: Any) -> None:
    decision = await decided(problem(422, "https://mijn.example/problemen/postbus-vol"), rules)
    (attention,) = decision.delivery.attention
    assert attention.reason is AttentionReason.UNRECOGNISED
    (refusal,) = [fact for fact in decision.facts if fact.name == "ContentConsignmentFailure"]
    assert (refusal.detail["code"], refusal.detail["kind"]) == ("postbus-vol", "unrecognised")


@pytest.mark.law("L6")
@pytest.mark.parametrize(
    ("handler", "state"),
    [
        (always(200, shelf()), P.PLANNED),
        *((always(status), P.UNKNOWN) for status in (302, 400, 401, 403, 404, 406, 429, 500, 503)),
        (always(200, b"<html>"), P.UNKNOWN),
        (failing(httpx.ConnectError("x")), P.UNKNOWN),
    ],
)
async def test_only_a_search_that_was_whole_has_a_message_placed_again(handler: Handler, state: P, rules: Any) -> None:
    decision = await decided(handler, rules, lookup=True)
    assert stands(decision) == (state, 0, False)
    (step,) = decision.steps
    assert step.action == ("place" if state is P.PLANNED else "lookup")
