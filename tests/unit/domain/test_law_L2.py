"""L2 (Awb 2:9): a message goes only where it is reliable and confidential enough for it."""

import pytest

from bode.domain.message import Confidentiality
from bode.domain.parts import LetterReason, PlacementState

pytestmark = pytest.mark.law("L2")

LAAG, SUBSTANTIEEL, HOOG = Confidentiality


@pytest.mark.parametrize(
    ("confidentiality", "used"),
    [
        (LAAG, {"mijnoverheid", "mijndomein", "email"}),
        (SUBSTANTIEEL, {"mijnoverheid", "mijndomein"}),
        (HOOG, {"mijndomein"}),
    ],
)
def test_a_message_above_a_channels_ceiling_never_goes_there(case, confidentiality, used):
    accepted = case("mijnoverheid", "mijndomein", "email", confidentiality=confidentiality)
    assert {placement.channel for placement in accepted.delivery.placements} == used


@pytest.mark.parametrize("confidentiality", [SUBSTANTIEEL, HOOG])
def test_email_carries_only_what_is_hardly_confidential(case, confidentiality):
    accepted = case("email", confidentiality=confidentiality)
    assert accepted.delivery.placements == ()
    assert accepted.letters[0].reason is LetterReason.NO_CHANNEL


def test_email_is_no_refuge_for_a_confidential_message_that_a_box_refused(case):
    refused = case("mijnoverheid", "email", confidentiality=SUBSTANTIEEL).refused("mijnoverheid")
    assert refused.delivery.placement("email") is None
    assert refused.letters[0].reason is LetterReason.BOX_REFUSED


def test_email_carries_a_message_of_low_confidentiality(case):
    assert case("email").placement("email").state is PlacementState.PLANNED


def test_the_refusal_of_a_channel_is_recorded_with_its_reason(case):
    (fact,) = case("mijnoverheid", "email", confidentiality=HOOG).named("channel.decision")
    decisions = {item["channel"]: item["decision"] for item in fact.detail["considered"]}
    assert decisions["mijnoverheid"] == decisions["email"] == "too_confidential"
    assert "L2" in fact.law


def test_confidentiality_is_ordered(case):
    del case
    assert [level.rank for level in Confidentiality] == [0, 1, 2]
