"""Terms of retention: never below what the law asks, and no kind of data before the one it is part of."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bode.domain.retention import PURGES, Kind, Stage, Terms

BELIEVED = timedelta(days=60)


@pytest.mark.law("L13")
def test_the_terms_of_a_fresh_installation_are_allowed():
    assert Terms().faults(bounces_believed=BELIEVED) == []


@pytest.mark.law("L13")
@pytest.mark.parametrize(
    ("kind", "days"), [("content", 59), ("personal", 89), ("evidence", 183), ("received", 6), ("audit", 183)]
)
def test_a_term_below_the_floor_is_refused_by_its_name(kind, days):
    terms = Terms(**({"personal": timedelta(days=100)} | {kind: timedelta(days=days)}))
    faults = terms.faults(bounces_believed=BELIEVED)
    assert [fault for fault in faults if fault.startswith(f"{kind} is {days}d")]


@given(st.builds(Terms, *(st.timedeltas(timedelta(0), timedelta(days=4000)) for _ in Kind)))
def test_what_is_allowed_goes_in_order_and_keeps_evidence_half_a_year(terms):
    if not terms.faults(bounces_believed=BELIEVED):
        assert BELIEVED <= terms.content <= terms.personal <= terms.evidence
        assert min(terms.evidence, terms.audit) >= timedelta(days=184)


def test_every_stage_but_the_last_is_moved_on_by_some_purge():
    moved = {stage for stages, _ in PURGES.values() for stage in stages}
    assert moved == set(Stage) - {Stage.NOTHING}
    for stages, to in PURGES.values():
        assert all(list(Stage).index(stage) < list(Stage).index(to) for stage in stages)
