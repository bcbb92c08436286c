"""Limits on what an organisation sends: which message is held, and when counting begins anew."""

from hypothesis import given
from hypothesis import strategies as st

from bode.domain.volume import (
    Volume,
    VolumeLimits,
    VolumeRule,
    holds_message,
    letters_left,
    most_before_sudden,
    usual_day,
)

_few = st.integers(min_value=0, max_value=400)
_limit = st.none() | st.integers(min_value=1, max_value=300)
_limits = st.builds(
    VolumeLimits,
    messages_per_day=_limit,
    letters_per_day=_limit,
    addressee_per_hour=_limit,
    sudden_times=st.none() | st.floats(min_value=1.5, max_value=20),
    sudden_floor=st.integers(min_value=1, max_value=300),
)
_volumes = st.builds(
    Volume,
    today=_few,
    usual=st.floats(min_value=0, max_value=300),
    decided_at=st.dictionaries(st.sampled_from(VolumeRule), _few),
    waiting=st.frozensets(st.sampled_from(VolumeRule)),
)


def test_without_limits_nothing_is_held_ever():
    volume = Volume(today=10**9, waiting=frozenset(VolumeRule))
    assert holds_message(VolumeLimits(), volume, to_addressee=10**9) is None
    assert letters_left(VolumeLimits(), volume, 10**6) == 10**6
    assert not VolumeLimits().hold_messages


def test_a_budget_holds_the_first_message_above_it():
    limits = VolumeLimits(messages_per_day=3)
    assert [holds_message(limits, Volume(today=n)) for n in (0, 2, 3, 4)] == [
        None,
        None,
        VolumeRule.MESSAGES,
        VolumeRule.MESSAGES,
    ]


def test_what_waits_for_a_person_holds_on_a_new_day_too():
    limits = VolumeLimits(messages_per_day=3)
    assert holds_message(limits, Volume(today=0, waiting={VolumeRule.MESSAGES})) is VolumeRule.MESSAGES


def test_a_decision_begins_the_count_anew():
    limits = VolumeLimits(messages_per_day=3)
    decided = {VolumeRule.MESSAGES: 5}
    assert holds_message(limits, Volume(today=7, decided_at=decided)) is None
    assert holds_message(limits, Volume(today=8, decided_at=decided)) is VolumeRule.MESSAGES


def test_sudden_is_many_times_the_usual_day_and_never_below_the_floor():
    limits = VolumeLimits(sudden_times=5, sudden_floor=100)
    assert most_before_sudden(limits, 40) == 200
    assert most_before_sudden(limits, 0) == 100
    assert holds_message(limits, Volume(today=199, usual=40)) is None
    assert holds_message(limits, Volume(today=200, usual=40)) is VolumeRule.SUDDEN


def test_a_usual_day_is_the_median_of_days_on_which_anything_was_sent():
    assert usual_day([]) == 0
    assert usual_day([0, 0]) == 0
    assert usual_day([10, 12, 0, 0, 11, 9_000]) == 11.5


def test_the_addressee_rule_leaves_others_alone():
    limits = VolumeLimits(addressee_per_hour=2)
    assert holds_message(limits, Volume(waiting={VolumeRule.ADDRESSEE}), to_addressee=1) is None
    assert holds_message(limits, Volume(), to_addressee=2) is VolumeRule.ADDRESSEE


@given(_limits, _volumes, _few)
def test_what_is_held_is_held_by_a_rule_that_is_set(limits, volume, to_addressee):
    rule = holds_message(limits, volume, to_addressee=to_addressee)
    is_set = {
        VolumeRule.MESSAGES: limits.messages_per_day,
        VolumeRule.SUDDEN: limits.sudden_times,
        VolumeRule.ADDRESSEE: limits.addressee_per_hour,
    }
    assert rule is None or is_set[rule] is not None
    assert rule is None or limits.hold_messages


@given(_limits, _volumes, _few, _few)
def test_more_is_never_let_go_where_less_was_held(limits, volume, to_addressee, more):
    held = holds_message(limits, volume, to_addressee=to_addressee)
    later = Volume(volume.today + more, volume.usual, volume.decided_at, volume.waiting)
    if held is not None:
        assert holds_message(limits, later, to_addressee=to_addressee + more) is not None


@given(_limits, _volumes, _few, st.lists(st.integers(min_value=1, max_value=50), max_size=20))
def test_letters_never_go_above_their_budget_however_they_come(limits, volume, wanted, chunks):
    left = letters_left(limits, volume, wanted)
    assert 0 <= left <= wanted
    if limits.letters_per_day is None or VolumeRule.LETTERS in volume.waiting:
        return
    gone = 0
    for chunk in chunks:
        today = Volume(volume.today + gone, volume.usual, volume.decided_at, volume.waiting)
        gone += letters_left(limits, today, chunk)
    assert gone <= max(0, limits.letters_per_day - volume.since(VolumeRule.LETTERS))
