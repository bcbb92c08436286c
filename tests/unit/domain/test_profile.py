"""L1 through the profile service: asked before a channel is chosen; an error is never a no."""

from datetime import UTC, date, datetime, timedelta

import pytest

from bode.domain import events as ev
from bode.domain.decision import Action, AlarmKind
from bode.domain.events import RefusalKind, TimeSource
from bode.domain.parts import AttentionReason, DeliveryState, LetterKind, LetterReason
from bode.domain.parts import NoticeState as N
from bode.domain.parts import PlacementState as P
from bode.domain.parts import ProfileState as S

pytestmark = pytest.mark.law("L1")
SINCE = datetime(2025, 5, 6, 7, tzinfo=UTC)
EMAIL = "sanne@post.example.nl"


@pytest.fixture
def asked(case, from_profile):
    return case(from_profile("kluis"), email=False)


def answered(case, **said):
    return case.happens(ev.ProfileAnswered(case.now, **({"known": True} | said)))


def test_nothing_is_chosen_before_the_answer(asked, start):
    assert list(asked.steps) == ["profile"]
    step = asked.steps["profile"]
    assert (step.action, step.lane, step.due_at) == (Action.PROFILE, "profiel", start)
    assert asked.delivery.placements == ()
    assert asked.letters == ()
    assert asked.delivery.state is DeliveryState.UNDER_WAY


def test_it_is_asked_when_the_message_may_first_go(case, from_profile, start):
    scheduled = case(from_profile("kluis"), publish_after=timedelta(days=30))
    assert scheduled.steps["profile"].due_at == start + timedelta(days=30)
    assert scheduled.delivery.state is DeliveryState.SCHEDULED


@pytest.mark.law("L3")
def test_consent_makes_the_box_usable_and_is_recorded_with_what_it_rests_on(asked):
    answered(asked, receives=True, receives_since=SINCE, consent="voorkeur-7")
    assert asked.placement("kluis").state is P.PLANNED
    assert set(asked.steps) == {"placement/kluis"}
    fact = asked.named("preference.snapshot", "profile")[0]
    assert (fact.at, fact.source) == (asked.now, TimeSource.OTHER_SIDE)
    assert fact.detail["origin"] == "profielservice"
    assert (fact.detail["receives"], fact.detail["consent"]) == (True, "voorkeur-7")
    assert asked.delivery.brief.channels[0].since == date(2025, 5, 6)


@pytest.mark.parametrize(
    "said", [{"receives": False}, {"receives": None}, {"known": False, "code": "http_404"}], ids=str
)
def test_without_consent_the_message_goes_on_paper(asked, said):
    answered(asked, **said)
    (letter,) = asked.letters
    assert (letter.kind, letter.reason) == (LetterKind.MESSAGE, LetterReason.NO_CHANNEL)
    assert asked.delivery.placements == ()
    assert asked.delivery.brief.channels == ()
    considered = {
        item["channel"]: item["decision"] for item in asked.named("channel.decision")[-1].detail["considered"]
    }
    assert considered["kluis"] == "no_consent"


def test_without_consent_a_channel_that_was_declared_is_still_used(case, from_profile):
    both = case(from_profile("kluis"), "mijndomein")
    answered(both, receives=False)
    assert [placement.channel for placement in both.delivery.placements] == ["mijndomein"]


def test_the_address_is_sealed_and_who_gave_it_is_known(case):
    asked = case("mijndomein", email=False, email_from_profile=True)
    answered(asked, email=EMAIL, email_since=SINCE)
    (fact,) = asked.named("preference.snapshot", "profile")
    assert fact.sealed == {"email": EMAIL}
    assert EMAIL not in str(fact.detail)
    brief = asked.delivery.brief
    assert (brief.has_email, brief.email_given_by, brief.email_given_at) == (True, "profielservice", SINCE)
    assert asked.placed("mijndomein").notice("mijndomein").state is N.DUE


def test_an_address_that_was_not_asked_for_is_not_kept(asked):
    answered(asked, receives=True, email=EMAIL)
    (fact,) = asked.named("preference.snapshot", "profile")
    assert fact.sealed == {}
    assert not asked.delivery.brief.has_email


@pytest.mark.law("L11")
def test_no_verified_address_is_known_at_once(case):
    asked = case("mijndomein", email=False, email_from_profile=True)
    answered(asked).placed("mijndomein")
    assert asked.notice("mijndomein").state is N.IMPOSSIBLE


@pytest.mark.law("L7")
def test_an_address_that_bounced_before_is_not_mailed_to(case):
    asked = case("mijndomein", email=False, email_from_profile=True)
    answered(asked, email=EMAIL, email_failing_since=SINCE, email_failing_reason="user_unknown").placed("mijndomein")
    assert asked.letters[0].reason is LetterReason.ADDRESS_FAILING


def test_a_service_that_is_away_is_asked_again_and_never_means_no(asked):
    first = asked.now
    while asked.now < first + timedelta(days=5):
        asked.happens(ev.ProfileUnavailable("http_503"))
        step = asked.steps["profile"]
        asked.later(seconds=(step.due_at - asked.now).total_seconds())
    assert asked.letters == ()
    assert asked.delivery.profile.state is S.ASKING
    assert asked.attention == {("profile", AttentionReason.PROFILE_UNANSWERED)}
    answered(asked, receives=True)
    assert asked.attention == set()
    assert asked.placement("kluis").state is P.PLANNED


def test_wrong_settings_stop_the_lane_and_nobody_gets_a_letter(asked):
    asked.happens(ev.ProfileRefused("missing_jump", RefusalKind.CONFIGURATION))
    (alarm,) = asked.alarmed(AlarmKind.LANE_STOPPED)
    assert (alarm.lane, alarm.code, alarm.stop) == ("profiel", "missing_jump", True)
    assert asked.steps["profile"].due_at > asked.now
    assert asked.letters == ()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (RefusalKind.UNRECOGNISED, AttentionReason.PROFILE_UNRECOGNISED),
        (RefusalKind.DEFECT, AttentionReason.PROFILE_DEFECT),
    ],
)
def test_a_word_nobody_knows_waits_for_a_person_who_has_it_asked_again(asked, kind, reason):
    asked.happens(ev.ProfileRefused("waarde:misschien", kind))
    assert asked.attention == {("profile", reason)}
    assert asked.steps == {}
    assert asked.letters == ()
    assert asked.named("profile.refused")[0].detail["code"] == "waarde:misschien"
    asked.retried()
    assert asked.attention == set()
    assert asked.steps["profile"].action is Action.PROFILE


def test_called_back_while_it_is_asked(asked):
    asked.cancelled()
    assert asked.steps == {}
    answered(asked, receives=True)
    assert (asked.delivery.state, asked.delivery.placements) == (DeliveryState.CANCELLED, ())


def test_a_letter_that_a_person_orders_ends_the_question(asked):
    asked.happens(ev.ProfileUnavailable("http_503")).letter_ordered()
    answered(asked, receives=True)
    assert asked.delivery.placements == ()
    assert [letter.reason for letter in asked.letters] == [LetterReason.ORDERED]


def test_a_worker_that_was_lost_while_asking_leaves_the_question_open(asked):
    assert asked.lease_lost("profile").steps["profile"].action is Action.PROFILE


def test_an_answer_given_twice_counts_once(asked):
    answered(asked, receives=True)
    answered(asked, receives=False)
    assert asked.placement("kluis").state is P.PLANNED
    assert asked.letters == ()
