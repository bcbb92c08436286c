"""Return paths: signed, dated, under keys that rotate; a notice's id that can be undone."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from bode.engine.return_path import Carries, Flaw, ReturnPath, Seen, Token, notice_id, possible_messages

DOMAIN = "retour.example.nl"
VALID = timedelta(days=60)


@dataclass
class Calendar:
    time: datetime = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


def key_of(generation: int) -> bytes:
    return generation.to_bytes(32)


def paths(calendar: Calendar, *generations: int) -> ReturnPath:
    made = ReturnPath(key_of, DOMAIN, valid=VALID, now=calendar.now)
    if generations:
        made.use(generations)
    return made


def any_token() -> Token:
    return Token(uuid4(), 3, Carries.MESSAGE)


@pytest.mark.parametrize("carries", list(Carries))
@pytest.mark.parametrize("placement", [0, 1, 127])
def test_what_is_made_is_read_back_in_any_letter_case_and_fits_on_every_server(calendar, carries, placement):
    token = Token(uuid4(), placement, carries)
    made = paths(calendar).make(token)
    assert len(made.partition("@")[0]) == 51
    for written in (made, made.upper(), f"<{made}>", f" {made} "):
        assert paths(calendar).look(written) == Seen(token, None)


@pytest.mark.parametrize("placement", [-1, 128])
def test_a_placement_that_does_not_fit_is_an_error(calendar, placement):
    with pytest.raises(ValueError, match=f"placement {placement}"):
        paths(calendar).make(Token(uuid4(), placement, Carries.NOTICE))


def test_one_changed_letter_anywhere_is_forged(calendar):
    made = paths(calendar).make(any_token())
    local, _, domain = made.partition("@")
    for at, letter in enumerate(local[2:], start=2):
        if letter == "-":
            continue
        changed = local[:at] + ("a" if letter != "a" else "b") + local[at + 1 :]
        seen = paths(calendar).look(f"{changed}@{domain}")
        # In the one byte of the generation, the letter makes it a key that we do not have.
        assert seen.token is None
        assert seen.flaw in {Flaw.FORGED, Flaw.KEY_REMOVED}


@pytest.mark.parametrize(
    "address",
    ["", "@", "postmaster@" + DOMAIN, "b-aaaa-bbbb@" + DOMAIN, "b-" + "a" * 32 + "-" + "a" * 16 + "@elsewhere.example"],
)
def test_what_has_not_the_shape_of_ours_is_not_ours(calendar, address):
    assert not paths(calendar).is_ours(address)
    assert paths(calendar).look(address) == Seen(None, Flaw.ABSENT)


def test_a_token_of_another_domain_is_not_ours(calendar):
    made = paths(calendar).make(any_token())
    assert paths(calendar).look(made.replace(DOMAIN, "elsewhere.example")) == Seen(None, Flaw.ABSENT)


# ---- age -----------------------------------------------------------------------------------------------------------


@pytest.mark.law("L7")
def test_a_bounce_that_comes_weeks_later_is_believed_and_one_after_the_term_is_not(calendar):
    token = any_token()
    made = paths(calendar).make(token)
    calendar.time += VALID
    assert paths(calendar).look(made) == Seen(token, None)
    calendar.time += timedelta(days=1)
    assert paths(calendar).look(made) == Seen(token, Flaw.EXPIRED), "a person can still see what it was about"


def test_a_token_of_a_machine_whose_clock_runs_ahead_is_believed(calendar):
    token = any_token()
    made = paths(calendar).make(token)
    calendar.time -= timedelta(days=2)
    assert paths(calendar).look(made) == Seen(token, None)


@pytest.mark.parametrize("year", [1999, 2300])
def test_a_clock_that_is_far_off_makes_a_token_all_the_same(calendar, year):
    calendar.time = datetime(year, 1, 1, tzinfo=UTC)
    assert paths(calendar).look(paths(calendar).make(any_token())).token is not None


# ---- generations of the key ----------------------------------------------------------------------------------------


def test_the_newest_key_signs_and_older_ones_are_believed_until_they_are_removed(calendar):
    token = any_token()
    before = paths(calendar, 1).make(token)
    after = paths(calendar, 2, 1).make(token)
    assert before != after
    assert paths(calendar, 2, 1).look(before) == paths(calendar, 2, 1).look(after) == Seen(token, None)
    assert paths(calendar, 2).look(before) == Seen(None, Flaw.KEY_REMOVED)
    assert paths(calendar, 2).look(after) == Seen(token, None)


def test_the_generation_that_is_written_cannot_be_chosen_by_a_stranger(calendar):
    """A token under a removed key is not believed by writing that a valid key made it."""
    removed = paths(calendar, 1).make(any_token())
    for letter in "abcdefghijklmnopqrstuvwxyz234567":
        tried = removed[:29] + letter + removed[30:]
        assert paths(calendar, 3, 2).look(tried).token is None


def test_generations_beyond_a_byte_are_told_apart_by_their_signature(calendar):
    token = any_token()
    many = paths(calendar, 257, 256, 1)
    assert many.look(paths(calendar, 257).make(token)) == Seen(token, None)
    assert many.look(paths(calendar, 1).make(token)) == Seen(token, None)
    assert paths(calendar, 257, 256).look(paths(calendar, 1).make(token)) == Seen(None, Flaw.FORGED)


# ---- envelope ids and ids of notices ---------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["{item}.{local}", "{local}", "<{item}.{local}>", "rfc822; {item}.{local} (queue)"])
def test_the_envelope_id_proves_the_same_whatever_a_relay_puts_around_it(calendar, written):
    token = any_token()
    local = paths(calendar).make(token).partition("@")[0]
    text = written.format(item=uuid4(), local=local)
    assert paths(calendar).look_at_envelope_id(text) == Seen(token, None)
    assert paths(calendar).look_at_envelope_id(text.upper()) == Seen(token, None)


@pytest.mark.parametrize(
    "text", ["", "M7.42", "0b4f6c1e-9d2a-4c53-8a71-5e0d3f9b2c64", "b-" * 5000, "b-" + "a" * 32 + "-" + "a" * 15]
)
def test_an_envelope_id_of_another_system_says_nothing(calendar, text):
    assert paths(calendar).look_at_envelope_id(text) == Seen(None, Flaw.ABSENT)


def test_a_notices_id_is_stable_apart_for_each_channel_and_can_be_undone():
    message = UUID("019c0f3e-7c1a-7b7e-9d3f-0123456789ab")
    ids = {channel: notice_id(message, channel) for channel in ("mijnoverheid", "mijndomein")}
    assert len({message, *ids.values()}) == 3
    for channel, item in ids.items():
        assert notice_id(message, channel) == item
        assert (item.version, item.variant) == (message.version, message.variant)
        assert message in possible_messages(item, tuple(ids))
    assert message in possible_messages(message, ())
