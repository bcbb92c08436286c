"""What a message must be: numbers that can exist, and natures that say what the law asks of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bode.domain.message import AddresseeKind, Nature, number_fault, passes_eleven_test

nine_digits = st.integers(min_value=0, max_value=999_999_999).map(lambda number: f"{number:09d}")


def eleven_proof_by_the_book(number: str) -> bool:
    """The test as its definition has it: the digits before the last, weighted 9 to 2, leave the last one modulo 11."""
    weighted = sum(int(digit) * (9 - place) for place, digit in enumerate(number[:8]))
    return int(number) > 0 and weighted % 11 == int(number[8])


@given(nine_digits)
def test_the_eleven_test_is_that_of_its_definition(number):
    assert passes_eleven_test(number) is eleven_proof_by_the_book(number)


@given(st.integers(min_value=1, max_value=99_999_999).map(lambda number: f"{number:08d}"))
def test_eight_digits_have_at_most_one_last_digit_that_passes(start):
    passing = [digit for digit in "0123456789" if passes_eleven_test(start + digit)]
    remainder = sum(int(digit) * (9 - place) for place, digit in enumerate(start)) % 11
    assert passing == ([] if remainder == 10 else [str(remainder)])


@given(nine_digits, st.integers(0, 8), st.integers(1, 9))
def test_one_wrong_digit_is_always_seen(number, place, shift):
    if not passes_eleven_test(number):
        return
    wrong = number[:place] + str((int(number[place]) + shift) % 10) + number[place + 1 :]
    assert not passes_eleven_test(wrong)


@given(nine_digits, st.integers(0, 7))
def test_two_neighbours_that_changed_places_are_always_seen(number, place):
    swapped = number[:place] + number[place + 1] + number[place] + number[place + 2 :]
    if passes_eleven_test(number) and swapped != number:
        assert not passes_eleven_test(swapped)


@pytest.mark.parametrize("number", ["999990019", "999991772", "111222333"])
def test_numbers_that_are_known_to_be_right_pass(number):
    assert passes_eleven_test(number)


@pytest.mark.parametrize(
    "number",
    [
        "",
        "000000000",
        "99999001",
        "9999900190",
        "999990018",
        "99999001x",
        " 99990019",
        "99999-019",
        "٩٩٩٩٩٠٠١٩",
        "²²²²²²²²²",
    ],
)
def test_anything_else_than_nine_digits_that_add_up_fails(number):
    assert not passes_eleven_test(number)


@pytest.mark.parametrize("kind", [AddresseeKind.BSN, AddresseeKind.RSIN])
def test_bsn_and_rsin_are_held_to_the_eleven_test(kind):
    assert number_fault(kind, "999990019") is None
    assert "elfproef" in (number_fault(kind, "999990018") or "")
    assert "elfproef" in (number_fault(kind, "12345678") or "")


@pytest.mark.parametrize("number", ["12345678", "00000001", "90000000"])
def test_a_kvk_number_has_eight_digits(number):
    assert number_fault(AddresseeKind.KVK, number) is None


@pytest.mark.parametrize("number", ["", "00000000", "1234567", "123456789", "1234567x", "١٢٣٤٥٦٧٨", "1234 678"])
def test_anything_else_is_no_kvk_number(number):
    assert "8 cijfers" in (number_fault(AddresseeKind.KVK, number) or "")


@pytest.mark.parametrize("kind", AddresseeKind)
@given(number=st.text(alphabet="0123456789x", max_size=12))
def test_a_number_is_never_repeated_in_what_is_said_of_it(kind, number):
    fault = number_fault(kind, number)
    assert fault is None or len(number) < 2 or number not in fault


# ---- natures --------------------------------------------------------------------------------------------------------


@pytest.mark.law("L4")
@pytest.mark.parametrize(
    "nature", [Nature.BESCHIKKING, Nature.BETALINGSVERPLICHTING, Nature.ZIENSWIJZE, Nature.HOORZITTING]
)
def test_a_nature_with_a_term_to_act_asks_for_its_consequences_and_its_term(nature):
    assert nature.rules.needs_consequences
    assert nature.rules.needs_term
    assert not nature.rules.names_earlier


@pytest.mark.law("L9")
@pytest.mark.parametrize("nature", Nature)
def test_a_change_or_a_withdrawal_and_nothing_else_names_the_earlier_message(nature):
    assert nature.rules.names_earlier is (nature in (Nature.WIJZIGING, Nature.INTREKKING))


@pytest.mark.law("L14")
@pytest.mark.parametrize("nature", Nature)
def test_only_a_receipt_may_say_nothing_of_its_consequences(nature):
    assert nature.rules.needs_consequences is (nature is not Nature.ONTVANGSTBEVESTIGING)


@pytest.mark.law("L4")
@pytest.mark.parametrize("nature", Nature)
def test_an_addressee_reads_a_nature_with_its_article(nature):
    assert nature.rules.label.startswith("een ")


@pytest.mark.law("L4")
def test_no_two_natures_read_the_same():
    assert len({nature.rules.label for nature in Nature}) == len(Nature)
