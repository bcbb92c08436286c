"""Letters that wait, are stopped, are dealt with by hand, or are reported about when nobody expected it."""

from datetime import UTC, datetime, time, timedelta

import pytest

from bode.domain import events as ev
from bode.domain.decision import AlarmKind
from bode.domain.delivery import decide
from bode.domain.events import TimeSource
from bode.domain.parts import AttentionReason, DeliveryState, LetterKind, LetterState, Outcome
from bode.domain.parts import PlacementState as P
from bode.domain.policy import Policy
from bode.domain.terms import next_cutoff

HOUR = timedelta(hours=1)
START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
PERSON = "medewerker-12"


class Told:
    """A delivery, and what was decided last."""

    def __init__(self, brief, policy) -> None:
        from bode.domain.parts import Delivery

        self.delivery, self.policy, self.now = Delivery(brief), policy, brief.accepted_at
        self.then(ev.Accepted())

    def then(self, event: ev.Event, *, after: timedelta = timedelta(0)) -> "Told":
        self.now += after
        self.last = decide(self.delivery, event, self.policy, self.now)
        self.delivery = self.last.delivery
        return self

    @property
    def letter(self):
        return self.delivery.letters[-1]

    def reasons(self) -> list[AttentionReason]:
        return [item.reason for item in self.delivery.attention]

    def facts(self, name: str):
        return [fact for fact in self.last.facts if fact.name == name]


@pytest.fixture
def paper(brief, policy) -> Told:
    """Give a message that goes on paper."""
    return Told(brief(), policy)


# ---- batches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ready", "goes"),
    [
        ("2026-03-02T14:59:59+00:00", "2026-03-02T15:00:00+00:00"),
        ("2026-03-02T15:00:00+00:00", "2026-03-02T15:00:00+00:00"),
        ("2026-03-02T15:00:01+00:00", "2026-03-03T15:00:00+00:00"),
        ("2026-03-06T15:00:01+00:00", "2026-03-09T15:00:00+00:00"),  # Friday afternoon: Monday
        ("2026-03-07T01:00:00+00:00", "2026-03-09T15:00:00+00:00"),  # Saturday
        ("2026-04-02T14:30:00+00:00", "2026-04-07T14:00:00+00:00"),  # before Easter: the Tuesday, in summer time
        ("2026-03-27T15:30:00+00:00", "2026-03-30T14:00:00+00:00"),  # over the change of the clock
        ("2026-12-24T15:00:01+00:00", "2026-12-28T15:00:00+00:00"),  # Christmas and a weekend
    ],
)
def test_a_letter_after_the_cut_off_belongs_to_the_next_working_days_batch(ready, goes):
    from bode.settings import holidays

    found = next_cutoff(datetime.fromisoformat(ready), time(16), holidays())
    assert found == datetime.fromisoformat(goes)


def test_letters_wait_for_the_cut_off_and_say_so(brief, policy_with):
    told = Told(brief(), policy_with(print_cutoff=time(16)))
    (step,) = told.last.steps
    assert step.due_at == told.policy.next_batch(told.now) > told.now
    (ordered,) = told.facts("letter.ordered")
    assert ordered.detail["batch"] == step.due_at.isoformat()


def test_without_a_cut_off_a_letter_goes_at_once(paper):
    (step,) = paper.last.steps
    assert step.due_at == paper.now
    assert "batch" not in paper.facts("letter.ordered")[0].detail


def test_a_letter_of_a_batch_that_could_not_be_handed_over_goes_as_soon_as_it_can(brief, policy_with):
    told = Told(brief(), policy_with(print_cutoff=time(16)))
    told.then(ev.LetterUnavailable(0, "away"), after=told.last.steps[0].due_at - told.now)
    (step,) = told.last.steps
    assert step.due_at - told.now < HOUR


# ---- stopped --------------------------------------------------------------------------------------------------------


@pytest.mark.law("L9")
def test_a_letter_that_was_not_handed_over_can_be_stopped_and_another_ordered(paper):
    paper.then(ev.LetterStopped(0, PERSON, "toch niet nodig"))
    assert paper.letter.state is LetterState.CANCELLED
    assert (paper.delivery.state, paper.delivery.outcome) == (DeliveryState.DONE, Outcome.BY_HAND)
    (act,) = paper.facts("staff.action")
    assert (act.detail["act"], act.detail["by"], act.sealed["reason"]) == ("letter_stopped", PERSON, "toch niet nodig")
    assert paper.last.closed == ("letter/0",)
    paper.then(ev.LetterOrdered(PERSON, "toch wel")).then(ev.LetterSubmitted(1, paper.now, TimeSource.OUR_CLOCK)).then(
        ev.LetterPosted(1, paper.now, TimeSource.OTHER_SIDE, "DISPATCHED")
    )
    assert (paper.delivery.state, paper.delivery.outcome) == (DeliveryState.DONE, Outcome.PAPER)


@pytest.mark.law("L9")
def test_a_letter_that_was_handed_over_cannot_be_stopped(paper):
    paper.then(ev.LetterSubmitted(0, paper.now, TimeSource.OUR_CLOCK)).then(ev.LetterStopped(0, PERSON, "te laat"))
    assert paper.letter.state is LetterState.SUBMITTED
    assert [fact.name for fact in paper.last.facts] == ["event.recorded"]


@pytest.mark.law("L9")
def test_a_message_whose_only_letter_was_stopped_can_still_be_called_back(paper):
    paper.then(ev.LetterStopped(0, PERSON, "eerst nakijken"))
    assert not paper.delivery.handed_over
    paper.then(ev.Cancelled(PERSON, "verkeerd besluit"))
    assert paper.delivery.state is DeliveryState.CANCELLED


def test_a_scheduled_letter_that_was_stopped_does_not_stay_scheduled(brief, policy):
    told = Told(brief(publish_after=timedelta(days=3)), policy)
    assert told.delivery.state is DeliveryState.SCHEDULED
    assert told.then(ev.LetterStopped(0, PERSON, "nee")).delivery.state is DeliveryState.DONE


@pytest.mark.law("L10")
def test_a_stopped_letter_that_was_posted_all_the_same_is_recorded_as_posted(paper):
    paper.then(ev.LetterStopped(0, PERSON, "nee")).then(ev.LetterPosted(0, paper.now, TimeSource.OTHER_SIDE, "D"))
    assert paper.letter.state is LetterState.POSTED
    assert paper.delivery.outcome is Outcome.PAPER


# ---- by hand --------------------------------------------------------------------------------------------------------


@pytest.mark.law("L12")
def test_a_returned_letter_is_a_task_for_a_person_with_its_reason_and_ends_by_hand(paper):
    paper.then(ev.LetterSubmitted(0, paper.now, TimeSource.OUR_CLOCK))
    paper.then(ev.LetterPosted(0, paper.now, TimeSource.OTHER_SIDE, "DISPATCHED"))
    paper.then(ev.LetterReturned(0, paper.now, "RETURNED", "R01 Addressee gone away", ev.ReturnReason.GONE_AWAY))
    assert paper.facts("letter.returned")[0].detail["why"] == "gone_away"
    assert paper.reasons() == [AttentionReason.LETTER_RETURNED]
    paper.then(ev.Handled(PERSON, "nieuwe brief naar het nieuwe adres"))
    assert (paper.letter.state, paper.delivery.state) == (LetterState.RETURNED, DeliveryState.DONE)
    (act,) = paper.facts("staff.action")
    assert (act.detail["act"], act.detail["waited_for"]) == ("handled", "letter_returned")


def test_a_missing_postal_address_can_be_dealt_with_by_hand(brief, policy):
    told = Told(brief(address=False), policy).then(ev.Handled(PERSON, "aan de balie uitgereikt"))
    assert told.letter.state is LetterState.CANCELLED
    assert (told.delivery.state, told.delivery.outcome) == (DeliveryState.DONE, Outcome.BY_HAND)


@pytest.mark.law("L10")
def test_an_overdue_posting_dealt_with_by_hand_still_takes_the_report_that_comes_after_all(paper):
    paper.then(ev.LetterSubmitted(0, paper.now, TimeSource.OUR_CLOCK))
    paper.then(ev.ClockStruck("letter/0"), after=timedelta(days=5))
    assert paper.reasons() == [AttentionReason.POSTING_OVERDUE]
    paper.then(ev.Handled(PERSON, "drukker gebeld", "letter/0"))
    assert (paper.letter.state, paper.delivery.state) == (LetterState.HANDLED, DeliveryState.DONE)
    posted_at = paper.now - timedelta(days=4)
    paper.then(ev.LetterPosted(0, posted_at, TimeSource.OTHER_SIDE, "DISPATCHED"))
    assert paper.letter.state is LetterState.POSTED
    assert paper.delivery.sendings[0].at == posted_at


def test_a_contradiction_can_be_closed_and_moves_nothing(brief, policy):
    told = Told(brief("mijnoverheid"), policy)
    told.then(ev.PlacementRefused("mijnoverheid", "X", ev.RefusalKind.ADDRESSEE))
    told.then(ev.Placed("mijnoverheid", told.now, TimeSource.OTHER_SIDE))
    assert told.reasons() == [AttentionReason.CONTRADICTION]
    told.then(ev.Handled(PERSON, "nagekeken: het staat er niet"))
    assert told.reasons() == []
    assert told.delivery.placements[0].state is P.REFUSED


@pytest.mark.law("L5")
def test_a_held_placement_dealt_with_by_hand_lets_the_other_boxs_notice_go(brief, policy):
    told = Told(brief("mijnoverheid", "mijndomein"), policy)
    told.then(ev.Placed("mijndomein", told.now, TimeSource.OTHER_SIDE))
    told.then(ev.PlacementRefused("mijnoverheid", "X", ev.RefusalKind.DEFECT))
    told.then(ev.Handled(PERSON, "per brief gestuurd", "placement/mijnoverheid"))
    assert told.delivery.placement("mijnoverheid").state is P.REFUSED
    assert told.delivery.placement("mijndomein").notice.state == "due"
    assert not told.delivery.letters


def test_only_the_named_part_is_closed(brief, policy):
    told = Told(brief("mijnoverheid", "mijndomein"), policy)
    for channel in ("mijnoverheid", "mijndomein"):
        told.then(ev.PlacementRefused(channel, "X", ev.RefusalKind.DEFECT))
    told.then(ev.Handled(PERSON, "gebeld", "placement/mijndomein"))
    assert [item.part for item in told.delivery.attention] == ["placement/mijnoverheid"]


# ---- not now, never, or not known -----------------------------------------------------------------------------------


@pytest.mark.law("L6")
@pytest.mark.parametrize("event", [ev.LetterUnavailable(0, "away"), ev.LetterUnknown(0, "timeout")])
def test_a_letter_that_cannot_be_handed_over_for_a_day_is_shown_to_a_person_and_tried_on(paper, event):
    for _ in range(12):
        paper.then(event, after=2 * HOUR)
        assert paper.reasons() == []
    paper.then(event, after=2 * HOUR)
    assert paper.reasons() == [AttentionReason.PRINT_OVERDUE]
    assert paper.last.steps, "trying goes on"
    paper.then(ev.LetterSubmitted(0, paper.now, TimeSource.OUR_CLOCK))
    assert paper.reasons() == []


@pytest.mark.law("L6")
def test_a_refusal_about_our_settings_stops_the_lane_and_asks_nobody_about_the_letter(paper):
    paper.then(ev.LetterUnavailable(0, "ledger_lost", configuration=True))
    (alarm,) = paper.last.alarms
    assert (alarm.kind, alarm.lane, alarm.stop) == (AlarmKind.LANE_STOPPED, Policy({}, bool).print_lane, True)
    paper.then(ev.LetterUnavailable(0, "ledger_lost", configuration=True), after=timedelta(days=3))
    assert paper.letter.state is LetterState.PLANNED
    assert paper.reasons() == []
    assert paper.last.steps


@pytest.mark.law("L6")
def test_a_defect_of_ours_stops_the_lane_and_waits_for_a_person(paper):
    paper.then(ev.LetterRefused(0, "sha256", defect=True))
    assert [(alarm.kind, alarm.stop) for alarm in paper.last.alarms] == [
        (AlarmKind.LANE_STOPPED, True),
        (AlarmKind.NEEDS_PERSON, False),
    ]
    assert paper.reasons() == [AttentionReason.LETTER_REFUSED]


@pytest.mark.law("L10")
@pytest.mark.parametrize("known", [True, False])
def test_a_report_about_a_letter_whose_hand_over_is_not_known_counts_and_nothing_is_handed_over_again(paper, known):
    if known:
        paper.then(ev.LetterUnknown(0, "timeout"))
    paper.then(ev.LetterPosted(0, paper.now, TimeSource.OTHER_SIDE, "DISPATCHED"))
    assert paper.letter.state is LetterState.POSTED
    assert paper.last.closed == ("letter/0",)
    assert paper.facts("outcome.reconciled")


@pytest.mark.law("L10")
def test_a_word_that_does_not_tell_where_the_letter_is_moves_nothing_and_asks_a_person(paper):
    paper.then(ev.LetterSubmitted(0, paper.now, TimeSource.OUR_CLOCK))
    paper.then(ev.LetterUnclear(0, paper.now, "FORWARDED"))
    assert (paper.letter.state, paper.letter.kind) == (LetterState.SUBMITTED, LetterKind.MESSAGE)
    assert paper.reasons() == [AttentionReason.LETTER_UNCLEAR]
    paper.then(ev.LetterPosted(0, paper.now, TimeSource.OTHER_SIDE, "DISPATCHED"))
    assert paper.reasons() == []
