"""`bode simulate`: what it is asked is checked, and a broken promise is told briefly."""

import re
from datetime import timedelta

import pytest

from bode_ops.commands.base import UsageError
from bode_ops.simulate import command
from bode_ops.simulate.plan import ORIGIN, Fault, Options, arrivals, incidents, wish
from bode_ops.simulate.story import _briefly, _fewer


@pytest.mark.parametrize(("text", "seeds"), [("7", [7]), ("1..3", [1, 2, 3]), ("3..3", [3])])
def test_a_seed_is_a_number_or_several(text, seeds):
    assert list(command._seeds(text)) == seeds


@pytest.mark.parametrize("text", ["", "x", "1..", "1-3", "-1"])
def test_anything_else_is_refused_with_what_to_write(text):
    with pytest.raises(UsageError, match=re.escape("1..20")):
        command._seeds(text)


def test_faults_are_all_none_or_named():
    assert command._faults("all") == frozenset(Fault)
    assert command._faults("none") == frozenset()
    assert command._faults("late, crashes") == {Fault.LATE, Fault.CRASHES}
    with pytest.raises(UsageError, match="refusals"):
        command._faults("gremlins")


def test_a_message_keeps_its_fate_when_others_are_left_out():
    options = Options(messages=40, days=5, seed=9)
    alone = Options(messages=40, days=5, seed=9, only=frozenset({17}))
    assert wish(options, 17) == wish(alone, 17)
    ((at, numbers),) = arrivals(alone)
    assert numbers == [17]
    assert next(moment for moment, batch in arrivals(options) if 17 in batch) == at


def test_an_incident_that_is_left_out_leaves_the_others_as_they_were():
    options = Options(messages=40, days=5, seed=9)
    every = incidents(options)
    fewer = incidents(Options(messages=40, days=5, seed=9, without=frozenset({every[0].name})))
    assert fewer == every[1:]


def test_what_is_needed_to_break_it_is_found():
    tries = []

    def breaks(kept):
        tries.append(kept)
        return {3, 11} <= set(kept)

    assert sorted(_fewer(list(range(16)), breaks)) == [3, 11]
    assert len(tries) < 60


def test_what_happens_again_and_again_is_told_three_times():
    lines = [(ORIGIN + timedelta(hours=n), "the relay is down") for n in range(10)]
    told = list(_briefly([*lines, (ORIGIN + timedelta(hours=11), "it leaves")]))
    assert len(told) == 5
    assert told[3] == "  ... 7 lines like those above"
