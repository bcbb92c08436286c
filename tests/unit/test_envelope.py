"""The address in the window: three to six lines that the post can read, whatever the name and the country."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bode.compose.envelope import LONGEST_LINE, envelope_lines
from bode.compose.paper import Paper
from bode.domain.message import PostalAddress

HOME = PostalAddress("Dorpsstraat", "1", "1234ab", "Maasveld")


def test_a_dutch_address_has_two_spaces_after_its_postcode_and_its_city_in_capitals():
    assert envelope_lines("A. de Vries", HOME) == ["A. de Vries", "Dorpsstraat 1", "1234 AB  MAASVELD"]


def test_a_foreign_address_ends_with_its_country_in_capitals():
    address = PostalAddress("Rue Haute", "5", "B-1000", "Bruxelles", "België", "Service Logement", "Brabant")
    assert envelope_lines("A. de Vries", address) == [
        "A. de Vries",
        "Service Logement",
        "Rue Haute 5",
        "B-1000 BRUXELLES",
        "BRABANT",
        "BELGIË",
    ]


def test_an_address_without_number_or_postcode_has_no_holes():
    assert envelope_lines("A", PostalAddress("Main Street", "", "", "Dingle", "Ierland")) == [
        "A",
        "Main Street",
        "DINGLE",
        "IERLAND",
    ]


def test_a_long_name_wraps_before_it_is_shortened():
    name = "Stichting tot Behoud van het Cultuurhistorisch Erfgoed en de Natuurwaarden van de Utrechtse Heuvelrug"
    assert " ".join(envelope_lines(name, HOME)[:-2]) == name


def test_a_name_that_does_not_fit_is_shortened_where_everybody_reads_it():
    name = "Coöperatieve Vereniging tot Exploitatie van Gemeenschappelijke Landbouwwerktuigen in Nederland"
    address = PostalAddress("Rue Haute", "5", "1000", "Brussel", "België", "Logement", "Brabant")
    assert envelope_lines(name, address)[0].startswith("Coöp. Ver.")


def test_given_names_become_initials_and_the_family_name_stays():
    name = "Johannes Cornelis Maria Anna Wilhelmina van den Bergh-van Steenbergen tot Nieuwveld"
    address = PostalAddress("Rue Haute", "5", "1000", "Brussel", "België", "Logement")
    assert envelope_lines(name, address, is_person=True)[:2] == [
        "J.C.M.A.W. van den Bergh-van Steenbergen",
        "tot Nieuwveld",
    ]


def test_a_long_street_keeps_its_number():
    address = PostalAddress(
        "Burgemeester Professor Doctor van Haaren-Westerlingh tot Oldenzaalselaan", "12 bis", "1234AB", "X"
    )
    lines = envelope_lines("A", address)
    assert lines[-2].endswith("12 bis")
    assert len(lines) <= 4


@given(
    name=st.text(min_size=1, max_size=100),
    street=st.text(min_size=1, max_size=80),
    extra=st.none() | st.text(min_size=1, max_size=40),
    region=st.none() | st.text(min_size=1, max_size=40),
    country=st.none() | st.text(min_size=1, max_size=60),
    is_person=st.booleans(),
)
def test_never_more_than_six_lines_and_never_a_city_lost(**given_):
    is_person, name = given_.pop("is_person"), given_.pop("name")
    address = PostalAddress(number="1", postcode="1234AB", city="Maasveld", **given_)
    lines = envelope_lines(name, address, is_person=is_person)
    assert 1 <= len(lines) <= 6
    assert any("MAASVELD" in line for line in lines)
    assert all(len(line) <= max(LONGEST_LINE, 60) for line in lines)


@pytest.mark.parametrize(
    ("paper", "pages", "sheets", "grams"),
    [
        (Paper(), 1, 1, 12),
        (Paper(), 2, 1, 12),
        (Paper(), 3, 2, 17),
        (Paper(), 12, 6, 37),
        (Paper(both_sides=False), 12, 12, 67),
        (Paper(grams_per_square_metre=90, envelope_grams=5), 1, 1, 11),
    ],
)
def test_weight_follows_from_pages_and_paper(paper, pages, sheets, grams):
    assert (paper.sheets(pages), paper.grams(pages)) == (sheets, grams)
