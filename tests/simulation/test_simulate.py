"""The simulator: it keeps every promise, the same seed gives the same run, and it finds rules that are broken.

The rules are broken on purpose here, one at a time: a simulator that finds none of them proves nothing.
"""

from dataclasses import replace
from datetime import timedelta

import pytest

from bode.domain import notices, placements
from bode.domain.bounces import Verdict
from bode.domain.decision import Action
from bode.domain.parts import placement_part
from bode_ops.simulate.plan import Fault, Options
from bode_ops.simulate.story import run, shrink, told
from bode_ops.simulate.world import simulated_policy


@pytest.fixture(scope="session")
def policy():
    return simulated_policy()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_every_promise_is_kept_in_two_days_of_mishaps(policy, seed):
    made = run(Options(messages=30, days=2, seed=seed, trouble=3), policy)
    assert made.violations == ()
    assert made.accepted == 30
    assert made.mishaps


def test_the_same_seed_gives_the_same_run(policy):
    options = Options(messages=8, days=1, seed=3, trouble=5)
    first, again = run(options, policy), run(options, policy)
    assert (first.mishaps, first.accepted) == (again.mishaps, again.accepted)


def test_without_faults_nothing_goes_wrong(policy):
    made = run(Options(messages=20, days=1, seed=4, faults=frozenset()), policy)
    assert (made.violations, made.mishaps) == ((), ())


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(1, 21))
def test_every_promise_is_kept_in_a_month_of_mishaps(policy, seed):
    made = run(Options(messages=2000, days=30, seed=seed), policy)
    assert made.violations == (), "\n".join(told(shrink(made, policy)))


# ---- rules broken on purpose ----------------------------------------------------------------------------------------


def seventy_two_hours(policy, _monkeypatch):
    """L3: the notice may take 72 hours instead of 48."""
    return replace(policy, notice_within=timedelta(hours=72))


def again_on_a_guess(policy, monkeypatch):
    """L6: a placement with an unknown outcome is made again, where it should be looked up."""
    find_out = placements._find_out

    def guess(story, placement, due_at):
        known = find_out(story, placement, due_at)
        deadline = story.brief.starts_at + story.policy.notice_within
        part = placement_part(placement.channel)
        story.step(part, Action.PLACE, placement.channel, due_at, deadline_at=deadline, call=placement.call)
        return known

    monkeypatch.setattr(placements, "_find_out", guess)
    return policy


def letters_for_a_blocklist(policy, monkeypatch):
    """L7: a block of our mail is taken for an address that does not exist."""
    bounced = notices._notice_bounced

    def taken_for_hard(story, placement, notice, event):
        if event.bounce.verdict is Verdict.SENDER:
            event = replace(event, bounce=replace(event.bounce, verdict=Verdict.HARD))
        bounced(story, placement, notice, event)

    monkeypatch.setattr(notices, "_notice_bounced", taken_for_hard)
    return policy


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("broken", "faults", "rule"),
    [
        (seventy_two_hours, {Fault.REFUSALS}, "noticed"),
        (again_on_a_guess, {Fault.TIMEOUTS}, "once"),
        (letters_for_a_blocklist, {Fault.REFUSALS, Fault.LATE}, "fair_letters"),
    ],
    ids=["48-hours-made-72", "placed-again-on-a-guess", "letters-for-a-blocklist"],
)
def test_a_rule_broken_on_purpose_is_found_within_twenty_seeds(policy, monkeypatch, broken, faults, rule):
    wrong = broken(policy, monkeypatch)
    for seed in range(1, 21):
        made = run(Options(messages=60, days=3, seed=seed, faults=frozenset(faults), trouble=5), wrong)
        if any(one.rule == rule for one in made.violations):
            break
    else:
        pytest.fail("twenty seeds, and not found")
    small = shrink(made, wrong, tries=20)
    story = "\n".join(told(small))
    print(f"found with seed {seed}:\n{story}")  # noqa: T201 - `pytest -s` shows what a person would get
    assert small.violations[0].rule == made.violations[0].rule
    assert len(small.numbers) <= len(made.numbers)
    assert "what happened:" in story
