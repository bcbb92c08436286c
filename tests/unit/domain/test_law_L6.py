"""L6 (Awb 2:11, first paragraph): a message that cannot be delivered is sent again or another way."""

from datetime import timedelta
from uuid import UUID

import pytest

from bode.domain.bounces import Verdict
from bode.domain.decision import Action, AlarmKind
from bode.domain.events import RefusalKind
from bode.domain.parts import AttentionReason, LetterKind, LetterReason, LetterState, PlacementState
from bode.domain.policy import pick, spread

pytestmark = pytest.mark.law("L6")

BOX, PART = "mijnoverheid", "placement/mijnoverheid"
LOOKED_UP = "mijndomein"
CALL = "5b0f6d0e-0000-4000-8000-000000000001"


# ---- not now: again -------------------------------------------------------------------------------------------------


def test_not_now_means_again_in_the_same_channel(case):
    again = case(BOX).unavailable(BOX)
    assert again.placement(BOX).state is PlacementState.PLANNED
    assert again.steps[PART].action is Action.PLACE
    assert again.steps[PART].due_at > again.now
    assert again.letters == ()


def test_each_failure_is_recorded_with_the_boxs_own_code(case):
    again = case(BOX).unavailable(BOX)
    (fact,) = again.named("ContentConsignmentFailure")
    assert (fact.detail["code"], fact.detail["kind"], fact.detail["attempt"]) == ("http_503", "unavailable", 1)


def test_waits_grow_as_the_policy_says_and_its_last_one_repeats(case, policy):
    again, waits = case(BOX), []
    for _ in range(7):
        again.unavailable(BOX)
        waits.append(again.steps[PART].due_at - again.now)
    expected = [*policy.placement_retries, policy.placement_retries[-1], policy.placement_retries[-1]]
    for wait, plain in zip(waits, expected, strict=True):
        assert plain * 0.8 <= wait <= plain * 1.2


def test_the_box_may_ask_for_a_longer_wait(case):
    again = case(BOX).unavailable(BOX, retry_after=7200.0)
    assert again.steps[PART].due_at == again.now + timedelta(hours=2)


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_the_box_may_not_ask_for_a_shorter_wait(case, policy, seconds):
    again = case(BOX).unavailable(BOX, retry_after=seconds)
    assert again.steps[PART].due_at >= again.now + policy.placement_retries[0] * 0.8


def test_the_box_may_not_ask_for_more_than_a_day(case):
    again = case(BOX).unavailable(BOX, retry_after=1e9)
    assert again.steps[PART].due_at == again.now + timedelta(days=1)


def test_patience_ends_and_the_next_route_is_taken(case, policy):
    tired = case(BOX).unavailable(BOX)
    tired.later(hours=71, minutes=59).unavailable(BOX)
    assert tired.letters == ()
    tired.later(minutes=1).unavailable(BOX)
    assert policy.placement_patience == timedelta(hours=72)
    assert tired.placement(BOX).state is PlacementState.REFUSED
    assert tired.letters[0].reason is LetterReason.BOX_REFUSED
    assert tired.named("ContentConsignmentFailure")[-1].detail["final"] is True


def test_a_pending_result_that_turns_out_as_not_now_is_placed_anew(case):
    again = case(BOX).pending(BOX).later(hours=1).unavailable(BOX)
    assert again.placement(BOX).state is PlacementState.PLANNED
    assert again.placement(BOX).receipt is None
    assert again.steps[PART].action is Action.PLACE
    assert again.steps[PART].call is None


# ---- no: the next route ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RefusalKind.ADDRESSEE, RefusalKind.CONTENT])
def test_a_final_no_from_the_last_channel_means_a_letter_with_the_message_itself(case, kind):
    refused = case(BOX).refused(BOX, kind)
    (letter,) = refused.letters
    assert (letter.kind, letter.reason, letter.state) == (
        LetterKind.MESSAGE,
        LetterReason.BOX_REFUSED,
        LetterState.PLANNED,
    )
    assert refused.steps["letter/0"].due_at == refused.now
    (fact,) = refused.named("letter.ordered")
    assert (fact.law, fact.detail["kind"], fact.detail["reason"]) == (("L6",), "message", "box_refused")


def test_a_refused_content_is_told_to_the_sender_and_a_refused_addressee_is_not(case):
    assert case(BOX).refused(BOX, RefusalKind.CONTENT).alarmed(AlarmKind.CONTENT_REFUSED)
    assert case(BOX).refused(BOX, RefusalKind.ADDRESSEE).alarms == []


def test_a_refusal_keeps_the_boxs_code_and_seals_its_text(case):
    (fact,) = case(BOX).refused(BOX).named("ContentConsignmentFailure")
    assert (fact.detail["code"], fact.detail["kind"]) == ("NietGeabonneerd", "addressee")
    assert fact.sealed == {"text": "jan.jansen@voorbeeld.nl"}


def test_one_box_that_took_the_message_is_enough(case):
    placed = case(BOX, LOOKED_UP).placed(LOOKED_UP).refused(BOX)
    assert placed.letters == ()


def test_no_letter_while_another_box_may_still_take_the_message(case):
    refused = case(BOX, LOOKED_UP).refused(BOX)
    assert refused.letters == ()
    refused.refused(LOOKED_UP)
    assert len(refused.letters) == 1


@pytest.mark.parametrize("kind", [RefusalKind.DEFECT, RefusalKind.UNRECOGNISED])
def test_no_letter_while_another_box_waits_for_a_person(case, kind):
    refused = case(BOX, LOOKED_UP).refused(LOOKED_UP, kind).refused(BOX)
    assert refused.letters == ()


def test_after_every_box_comes_the_carrier_then_the_next_carrier_then_paper(case):
    route = case(BOX, "email", "email-reserve").refused(BOX)
    assert route.steps.keys() == {"placement/email"}
    assert route.steps["placement/email"].due_at == route.now
    route.mail_came_back("email", Verdict.HARD, reported=False)
    assert route.steps.keys() == {"placement/email-reserve"}
    route.mail_came_back("email-reserve", Verdict.HARD, reported=False)
    assert [letter.reason for letter in route.letters] == [LetterReason.MAIL_RETURNED]
    turns = [fact.detail["chosen"] for fact in route.named("channel.decision") if "chosen" in fact.detail]
    assert turns == ["email", "email-reserve"]


def test_a_carrier_is_not_used_when_a_box_took_the_message(case):
    placed = case(BOX, LOOKED_UP, "email").refused(BOX).placed(LOOKED_UP)
    assert placed.placement("email").state is PlacementState.STANDBY


def test_the_message_is_never_printed_twice_for_one_failure(case, to_check):
    refused = case(to_check("kluis"), LOOKED_UP).checked("kluis", reachable=False).refused(LOOKED_UP)
    refused.refused(LOOKED_UP).refused("kluis").checked("kluis", reachable=False)
    assert len(refused.letters) == 1


def test_a_letter_that_a_person_ordered_is_not_doubled_by_a_later_failure(case):
    refused = case(BOX).letter_ordered().refused(BOX)
    assert [letter.reason for letter in refused.letters] == [LetterReason.ORDERED]


def test_ordering_a_letter_is_an_act_with_a_name_and_a_reason(case):
    (fact,) = case(BOX).letter_ordered().named("staff.action")
    assert (fact.detail["act"], fact.detail["by"], fact.sealed["reason"]) == (
        "letter",
        "medewerker-12",
        "geadresseerde vroeg erom",
    )


# ---- ours to repair -------------------------------------------------------------------------------------------------


def test_a_wrong_configuration_stops_the_lane_and_gives_nobody_a_letter(case):
    wrong = case(BOX)
    for _ in range(50):
        wrong.later(hours=5).refused(BOX, RefusalKind.CONFIGURATION)
    assert wrong.letters == ()
    assert wrong.placement(BOX).state is PlacementState.PLANNED
    assert wrong.steps[PART].action is Action.PLACE
    assert [(alarm.stop, alarm.lane) for alarm in wrong.alarmed(AlarmKind.LANE_STOPPED)] == [(True, BOX)] * 50


def test_time_lost_to_a_wrong_configuration_is_not_taken_from_patience(case):
    wrong = case(BOX).unavailable(BOX).later(hours=70).refused(BOX, RefusalKind.CONFIGURATION)
    wrong.later(hours=10).unavailable(BOX)
    assert wrong.placement(BOX).state is PlacementState.PLANNED


def test_a_wrong_configuration_while_the_outcome_is_unknown_leaves_it_unknown(case):
    repeated = case(BOX).unknown(BOX, call=CALL).refused(BOX, RefusalKind.CONFIGURATION)
    assert repeated.placement(BOX).state is PlacementState.UNKNOWN
    assert (repeated.steps[PART].action, repeated.steps[PART].call) == (Action.PLACE, CALL)
    searched = case(LOOKED_UP).unknown(LOOKED_UP, call=CALL).refused(LOOKED_UP, RefusalKind.CONFIGURATION)
    assert searched.placement(LOOKED_UP).state is PlacementState.UNKNOWN
    assert searched.steps["placement/mijndomein"].action is Action.LOOKUP


@pytest.mark.parametrize(
    ("kind", "reason", "stops"),
    [
        (RefusalKind.DEFECT, AttentionReason.DEFECT, True),
        (RefusalKind.UNRECOGNISED, AttentionReason.UNRECOGNISED, False),
    ],
)
def test_a_defect_or_a_word_nobody_knows_waits_for_a_person(case, kind, reason, stops):
    held = case(BOX).refused(BOX, kind)
    assert held.placement(BOX).state is PlacementState.HELD
    assert held.attention == {(PART, reason)}
    assert held.steps == {}
    assert held.letters == ()
    assert bool(held.alarmed(AlarmKind.LANE_STOPPED)) is stops
    assert [alarm.code for alarm in held.alarmed(AlarmKind.NEEDS_PERSON)] == [reason]


def test_what_a_person_repaired_is_tried_again_at_once_as_a_new_call(case):
    held = case(BOX).unknown(BOX, call=CALL).refused(BOX, RefusalKind.DEFECT).later(days=2).retried()
    assert held.attention == set()
    assert held.placement(BOX).state is PlacementState.PLANNED
    assert (held.steps[PART].action, held.steps[PART].due_at, held.steps[PART].call) == (Action.PLACE, held.now, None)
    assert held.named("staff.action")[0].detail["act"] == "retry"
    held.unavailable(BOX)
    assert held.placement(BOX).state is PlacementState.PLANNED, "patience counts from the repair"


def test_a_retry_touches_nothing_that_did_not_wait_for_a_person(case):
    fine = case(BOX, LOOKED_UP).unknown(BOX).pending(LOOKED_UP)
    before = fine.delivery
    fine.retried()
    assert fine.delivery == before
    assert fine.last.steps == ()


def test_a_held_message_that_turns_out_to_be_placed_is_placed(case):
    held = case(BOX).refused(BOX, RefusalKind.UNRECOGNISED).placed(BOX)
    assert held.placement(BOX).state is PlacementState.PLACED
    assert held.attention == set()


@pytest.mark.parametrize("how", ["refused", "returned"])
def test_a_placement_reported_after_a_final_no_is_shown_to_a_person_and_moves_nothing(case, how):
    if how == "refused":
        late, channel = case(BOX).refused(BOX), BOX
    else:
        late, channel = case("email").placed("email").mail_came_back("email", Verdict.HARD), "email"
    placements, sendings = late.delivery.placements, late.delivery.sendings
    late.placed(channel)
    assert (late.delivery.placements, late.delivery.sendings) == (placements, sendings)
    assert late.attention == {(f"placement/{channel}", AttentionReason.CONTRADICTION)}
    assert late.last.facts[0].detail["event"] == "Placed"


# ---- unknown is not failed ------------------------------------------------------------------------------------------


def test_an_unknown_outcome_is_repeated_as_the_same_call_where_a_repeat_is_recognised(case, policy):
    unknown = case(BOX).unknown(BOX, call=CALL)
    step = unknown.steps[PART]
    assert (step.action, step.call) == (Action.PLACE, CALL)
    # Not spread: all messages of one call are repeated together.
    assert step.due_at == unknown.now + policy.placement_retries[0]


def test_an_unknown_outcome_is_searched_for_where_a_repeat_would_be_stored_twice(case):
    unknown = case(LOOKED_UP).unknown(LOOKED_UP, call=CALL)
    assert unknown.steps["placement/mijndomein"].action is Action.LOOKUP
    for _ in range(20):
        unknown.later(hours=6).unknown(LOOKED_UP)
        assert unknown.steps["placement/mijndomein"].action is Action.LOOKUP
    assert unknown.letters == ()


def test_a_mail_with_an_unknown_outcome_waits_for_a_person_and_is_never_sent_on_a_guess(case):
    unknown = case("email").unknown("email")
    assert unknown.steps == {}
    assert unknown.attention == {("placement/email", AttentionReason.OUTCOME_UNKNOWN)}
    assert unknown.letters == ()


def test_a_search_that_cannot_be_made_leaves_the_outcome_unknown(case):
    unknown = case(LOOKED_UP).unknown(LOOKED_UP).unavailable(LOOKED_UP)
    assert unknown.placement(LOOKED_UP).state is PlacementState.UNKNOWN
    assert unknown.steps["placement/mijndomein"].action is Action.LOOKUP


def test_a_repeat_that_could_not_be_made_keeps_the_first_calls_id(case):
    unknown = case(BOX).unknown(BOX, call=CALL).unavailable(BOX)
    assert unknown.placement(BOX).state is PlacementState.UNKNOWN
    assert unknown.steps[PART].call == CALL


def test_only_a_box_that_certainly_does_not_have_it_is_placed_in_again(case):
    absent = case(LOOKED_UP).unknown(LOOKED_UP).absent(LOOKED_UP)
    step = absent.steps["placement/mijndomein"]
    assert (step.action, step.due_at, step.call) == (Action.PLACE, absent.now, None)
    assert absent.named("outcome.reconciled")[0].detail["outcome"] == "absent"


def test_a_message_that_was_found_is_placed_with_the_time_of_the_box(case, start):
    found = case(LOOKED_UP).unknown(LOOKED_UP).later(hours=2).placed(LOOKED_UP, at=start + timedelta(seconds=1))
    assert found.delivery.sendings[0].at == start + timedelta(seconds=1)
    assert found.named("outcome.reconciled")[0].detail["outcome"] == "placed"


def test_an_outcome_that_stays_unknown_is_shown_to_a_person_and_still_asked_after(case):
    unknown = case(LOOKED_UP).unknown(LOOKED_UP).later(hours=72).unknown(LOOKED_UP)
    assert unknown.attention == {("placement/mijndomein", AttentionReason.OUTCOME_UNKNOWN)}
    assert unknown.steps["placement/mijndomein"].action is Action.LOOKUP
    unknown.later(hours=6).unknown(LOOKED_UP)
    assert len(unknown.named("attention.asked")) == 1


def test_a_person_may_have_an_unknown_outcome_tried_again(case):
    unknown = case("email").unknown("email").retried()
    assert unknown.steps["placement/email"].action is Action.PLACE
    assert unknown.attention == set()


@pytest.mark.parametrize("kind", [RefusalKind.ADDRESSEE, RefusalKind.CONTENT])
def test_an_unknown_outcome_that_turns_out_as_a_no_takes_the_next_route(case, kind):
    refused = case(BOX).unknown(BOX).refused(BOX, kind)
    assert refused.placement(BOX).state is PlacementState.REFUSED
    assert len(refused.letters) == 1


# ---- a worker that was lost -----------------------------------------------------------------------------------------


def test_a_worker_lost_while_placing_leaves_an_unknown_outcome(case):
    lost = case(BOX).lease_lost(PART)
    assert lost.placement(BOX).state is PlacementState.UNKNOWN
    assert lost.steps[PART].call == "5b0f6d0e-0000-4000-8000-000000000002"
    assert lost.named("outcome.unknown")[0].detail["code"] == "worker_lost"


def test_a_worker_lost_while_mailing_leaves_the_question_to_a_person(case):
    lost = case("email").lease_lost("placement/email")
    assert lost.steps == {}
    assert lost.attention == {("placement/email", AttentionReason.OUTCOME_UNKNOWN)}


def test_a_worker_lost_while_asking_is_replaced_by_another_that_asks(case, to_check):
    lost = case(to_check("kluis")).lease_lost("placement/kluis")
    assert (lost.steps["placement/kluis"].action, lost.steps["placement/kluis"].due_at) == (Action.CHECK, lost.now)
    pending = case(BOX).pending(BOX).lease_lost(PART)
    assert pending.placement(BOX).state is PlacementState.PENDING
    assert pending.steps[PART].action is Action.LOOKUP


def test_a_worker_lost_after_the_outcome_was_known_is_recorded_only(case):
    placed = case(BOX).placed(BOX)
    before = placed.delivery
    placed.lease_lost(PART)
    assert placed.delivery == before
    assert placed.last.steps == ()


# ---- a result that does not come ------------------------------------------------------------------------------------


def test_a_pending_result_is_asked_for_and_never_placed_again(case, policy):
    pending = case(BOX).pending(BOX)
    for poll in range(1, 6):
        step = pending.steps[PART]
        assert step.action is Action.LOOKUP
        plain = pick(policy.result_polls, poll)
        assert plain * 0.8 <= step.due_at - pending.now <= plain * 1.2
        pending.now = step.due_at
        pending.pending(BOX)
    assert len(pending.named("placement.pending")) == 1


def test_a_result_that_does_not_come_is_shown_to_a_person_and_still_asked_for(case, policy):
    pending = case(BOX).pending(BOX)
    since = pending.now
    pending.clock(PART)
    assert pending.now == since + policy.result_overdue
    assert pending.attention == {(PART, AttentionReason.RESULT_OVERDUE)}
    assert pending.placement(BOX).state is PlacementState.PENDING
    assert pending.steps[PART].action is Action.LOOKUP
    assert pending.letters == ()


@pytest.mark.parametrize("answer", ["pending", "unknown"])
def test_a_result_that_became_overdue_while_it_was_asked_for_is_shown_to_a_person_too(case, answer):
    pending = case(BOX).pending(BOX).later(hours=24, minutes=1)
    getattr(pending, answer)(BOX)
    assert pending.attention == {(PART, AttentionReason.RESULT_OVERDUE)}
    assert pending.steps[PART].action is Action.LOOKUP


def test_a_question_that_failed_keeps_the_moment_at_which_the_result_is_overdue(case, policy):
    pending = case(BOX).pending(BOX)
    since = pending.now
    pending.later(hours=3).unknown(BOX)
    assert pending.placement(BOX).state is PlacementState.PENDING
    assert pending.steps[PART].wake_at == since + policy.result_overdue


def test_a_question_that_failed_counts_as_asked(case, policy):
    pending = case(BOX).pending(BOX).unknown(BOX).pending(BOX)
    plain = policy.result_polls[2]
    assert plain * 0.8 <= pending.steps[PART].due_at - pending.now <= plain * 1.2


def test_a_person_may_have_an_overdue_result_placed_again(case):
    overdue = case(BOX).pending(BOX).clock(PART).retried()
    assert overdue.attention == set()
    assert overdue.placement(BOX).receipt is None
    assert overdue.steps[PART].action is Action.PLACE


@pytest.mark.parametrize("answer", ["placed", "refused", "unavailable", "absent"])
def test_a_result_that_comes_late_takes_the_person_off(case, answer):
    overdue = case(BOX).pending(BOX).clock(PART)
    assert overdue.attention
    assert getattr(overdue, answer)(BOX).attention == set()


@pytest.mark.parametrize("answer", ["placed", "refused", "pending", "absent"])
def test_an_outcome_that_becomes_known_late_takes_the_person_off(case, answer):
    unknown = case(LOOKED_UP).unknown(LOOKED_UP).later(hours=72).unknown(LOOKED_UP)
    assert unknown.attention
    assert getattr(unknown, answer)(LOOKED_UP).attention == set()


def test_a_box_that_does_not_know_its_own_receipt_is_placed_in_anew(case):
    absent = case(BOX).pending(BOX).absent(BOX)
    assert absent.placement(BOX).receipt is None
    assert absent.steps[PART].action is Action.PLACE


# ---- the message by e-mail ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reported", [False, True])
def test_mail_that_came_back_for_good_takes_the_next_route(case, reported):
    returned = case("email").placed("email") if reported else case("email")
    returned.mail_came_back("email", Verdict.HARD, reported=reported)
    assert returned.placement("email").state is (PlacementState.RETURNED if reported else PlacementState.REFUSED)
    assert returned.letters[0].reason is LetterReason.MAIL_RETURNED
    final = [fact.detail["reason"] for fact in returned.named("RelayToNonERDSFailure") if fact.detail.get("final")]
    assert final == ["user_unknown"]


@pytest.mark.parametrize("verdict", [Verdict.SOFT, Verdict.SENDER, Verdict.UNDETERMINED])
def test_mail_that_came_back_for_now_is_sent_again_until_patience_ends(case, verdict):
    again = case("email").placed("email").later(hours=3).mail_came_back("email", verdict)
    assert again.placement("email").state is PlacementState.PLANNED
    assert again.steps["placement/email"].action is Action.PLACE
    assert again.letters == ()
    again.placed("email").later(hours=72).mail_came_back("email", verdict)
    assert again.placement("email").state is PlacementState.RETURNED
    assert len(again.letters) == 1


def test_a_permanent_failure_reported_after_success_wins_and_a_later_success_does_not_undo_it(case):
    returned = case("email").placed("email").later(days=4).mail_came_back("email", Verdict.HARD)
    returned.mail_came_back("email", Verdict.SOFT).mail_came_back("email", Verdict.HARD)
    assert returned.placement("email").state is PlacementState.RETURNED
    assert len(returned.letters) == 1
    assert [fact.detail["moved"] for fact in returned.named("bounce.received")] == [True, False, False]


def test_a_permanent_failure_reported_while_the_mail_is_to_be_sent_again_calls_that_off(case):
    again = case("email").placed("email").mail_came_back("email", Verdict.SOFT)
    assert "placement/email" in again.steps
    again.mail_came_back("email", Verdict.HARD)
    assert again.placement("email").state is PlacementState.RETURNED
    assert again.steps.keys() == {"letter/0"}


@pytest.mark.parametrize("verdict", [Verdict.SOFT, Verdict.SENDER, Verdict.UNDETERMINED, Verdict.NOT_A_BOUNCE])
def test_a_report_that_comes_while_the_mail_is_to_be_sent_again_anyway_is_recorded_only(case, verdict):
    again = case("email").placed("email").mail_came_back("email", Verdict.SOFT)
    before, step = again.delivery, again.steps["placement/email"]
    again.later(minutes=1).mail_came_back("email", verdict)
    assert again.delivery == before
    assert again.steps["placement/email"] == step
    assert again.last.facts[0].detail["moved"] is False


def test_a_permanent_failure_settles_an_unknown_outcome(case):
    unknown = case("email").unknown("email").later(hours=2).mail_came_back("email", Verdict.HARD)
    assert unknown.placement("email").state is PlacementState.RETURNED
    assert unknown.attention == set()
    assert unknown.letters[0].reason is LetterReason.MAIL_RETURNED


@pytest.mark.parametrize("verdict", [Verdict.SOFT, Verdict.SENDER, Verdict.UNDETERMINED, Verdict.NOT_A_BOUNCE])
def test_any_other_report_leaves_an_unknown_outcome_to_a_person(case, verdict):
    unknown = case("email").unknown("email").mail_came_back("email", verdict)
    assert unknown.placement("email").state is PlacementState.UNKNOWN
    assert unknown.attention
    assert unknown.steps == {}


def test_a_delay_or_an_automatic_reply_to_the_mail_is_no_failure(case):
    placed = case("email").placed("email")
    before = placed.delivery
    placed.mail_came_back("email", Verdict.NOT_A_BOUNCE)
    assert placed.delivery == before
    assert placed.last.facts[0].detail["moved"] is False


def test_an_answer_while_mailing_that_is_no_refusal_is_no_success_either(case, policy):
    planned = case("email").mail_came_back("email", Verdict.NOT_A_BOUNCE, reported=False)
    assert planned.placement("email").state is PlacementState.PLANNED
    assert planned.steps["placement/email"].due_at == planned.now + policy.relay_retry


def test_a_block_of_our_mail_alarms_the_operator_of_that_lane(case):
    (alarm,) = case("email").placed("email").mail_came_back("email", Verdict.SENDER).alarmed(AlarmKind.SENDER_SIDE)
    assert alarm.lane == "email"


def test_no_mail_can_bring_back_what_lies_in_a_box(case):
    placed = case(BOX).placed(BOX)
    before = placed.delivery
    placed.mail_came_back(BOX, Verdict.HARD)
    assert placed.delivery == before


# ---- letters --------------------------------------------------------------------------------------------------------


def test_a_letter_is_handed_over_printed_and_posted(case):
    paper = case().submitted()
    assert paper.letters[0].state is LetterState.SUBMITTED
    assert paper.steps["letter/0"].action is Action.WATCH
    assert paper.later(hours=1).printed().letters[0].state is LetterState.PRINTED
    assert paper.later(hours=1).posted().letters[0].state is LetterState.POSTED
    assert paper.steps == {}


@pytest.mark.parametrize("stage", ["submitted", "printed"])
def test_a_letter_without_a_report_of_posting_is_shown_to_a_person(case, policy, stage):
    paper = case().submitted()
    since = paper.now
    if stage == "printed":
        paper.printed()
    paper.clock("letter/0")
    assert paper.now == since + policy.posting_overdue
    assert paper.attention == {("letter/0", AttentionReason.POSTING_OVERDUE)}
    assert paper.posted().attention == set()


def test_a_letter_the_print_service_cannot_take_now_is_offered_again(case, policy, unavailable_letter):
    paper = case()
    for attempt in range(1, 6):
        paper.happens(unavailable_letter)
        plain = pick(policy.print_retries, attempt)
        assert plain * 0.8 <= paper.steps["letter/0"].due_at - paper.now <= plain * 1.2
    assert paper.letters[0].state is LetterState.PLANNED
    failures = paper.named("RelayToNonERDSFailure", "letter/0")
    assert [(fact.detail["code"], fact.detail["attempt"]) for fact in failures] == [
        ("folder:full", attempt) for attempt in range(1, 6)
    ]


def test_a_letter_with_an_unknown_outcome_is_repeated_as_the_same_call(case, unknown_letter, unavailable_letter):
    paper = case().happens(unknown_letter)
    call = paper.letters[0].call
    assert paper.letters[0].state is LetterState.UNKNOWN
    assert call is not None
    for event in (unavailable_letter, unknown_letter):
        paper.happens(event)
        assert (paper.steps["letter/0"].action, paper.steps["letter/0"].call) == (Action.PRINT, call)
        assert paper.letters[0].state is LetterState.UNKNOWN
    assert paper.submitted().letters[0].state is LetterState.SUBMITTED
    assert len(paper.letters) == 1
    assert [fact.detail["call"] for fact in paper.named("outcome.unknown", "letter/0")] == [call]
    assert paper.named("outcome.reconciled", "letter/0")[0].detail["outcome"] == "submitted"


def test_a_letter_whose_worker_was_lost_is_repeated_as_the_same_call(case):
    paper = case().lease_lost("letter/0")
    assert paper.letters[0].state is LetterState.UNKNOWN
    assert paper.steps["letter/0"].call == "5b0f6d0e-0000-4000-8000-000000000002"


def test_a_letter_reported_printed_before_its_hand_over_was_known_is_watched(case, unknown_letter):
    paper = case().happens(unknown_letter).printed()
    assert paper.letters[0].state is LetterState.PRINTED
    assert paper.steps["letter/0"].action is Action.WATCH
    assert paper.named("outcome.reconciled", "letter/0")[0].detail["outcome"] == "printed"
    paper.clock("letter/0")
    assert paper.attention == {("letter/0", AttentionReason.POSTING_OVERDUE)}


@pytest.mark.parametrize("stage", ["planned", "submitted", "printed"])
def test_a_letter_the_print_service_will_not_print_waits_for_a_person(case, refused_letter, stage):
    paper = case()
    if stage != "planned":
        paper.submitted()
    if stage == "printed":
        paper.printed()
    paper.happens(refused_letter)
    assert paper.letters[0].state is LetterState.REFUSED
    assert paper.attention == {("letter/0", AttentionReason.LETTER_REFUSED)}
    assert paper.steps == {}
    assert paper.named("RelayToNonERDSFailure")[0].detail == {"code": "REJECTED", "final": True}


def test_a_letter_that_came_back_waits_for_a_person(case):
    paper = case().submitted().posted().later(days=9).came_back()
    assert paper.letters[0].state is LetterState.RETURNED
    assert paper.attention == {("letter/0", AttentionReason.LETTER_RETURNED)}
    (fact,) = paper.named("letter.returned")
    assert (fact.at, fact.detail["code"]) == (paper.now, "RETURNED")


@pytest.mark.parametrize("how", ["refused", "returned"])
def test_a_letter_tried_again_is_a_new_letter_because_a_print_service_prints_one_once(case, refused_letter, how):
    paper = case().happens(refused_letter) if how == "refused" else case().submitted().posted().came_back()
    paper.later(days=1).retried()
    assert [letter.state for letter in paper.letters][1:] == [LetterState.PLANNED]
    assert paper.letters[1].reason is LetterReason.NO_CHANNEL
    assert paper.steps.keys() == {"letter/1"}
    assert paper.attention == set()
    paper.retried()
    assert len(paper.letters) == 2, "the first one was settled already"


def test_a_letter_without_an_address_cannot_be_tried_again(case):
    blocked = case(address=False)
    before = blocked.delivery
    blocked.retried()
    assert blocked.delivery == before
    assert blocked.steps == {}


def test_reports_about_a_letter_that_was_posted_already_are_recorded_only(case, refused_letter, unavailable_letter):
    paper = case().submitted().posted()
    before = paper.delivery
    paper.printed().posted().submitted().happens(refused_letter).happens(unavailable_letter)
    assert paper.delivery == before
    assert paper.attention == set()


# ---- no thundering herd ---------------------------------------------------------------------------------------------


def test_waits_are_spread_by_a_fifth_and_are_the_same_for_the_same_message_and_attempt():
    hour = timedelta(hours=1)
    waits = [spread(hour, UUID(int=number), 1) for number in range(500)]
    assert all(hour * 0.8 <= wait <= hour * 1.2 for wait in waits)
    assert min(waits) < hour * 0.85
    assert max(waits) > hour * 1.15
    assert waits == [spread(hour, UUID(int=number), 1) for number in range(500)]
    assert spread(hour, UUID(int=1), 1) != spread(hour, UUID(int=1), 2)
