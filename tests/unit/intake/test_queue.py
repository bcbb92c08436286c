"""Intake by queue: sealed bodies only; what cannot be read or is refused stays with the broker."""

import json
import os

import pytest
import structlog
import tenacity
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from sqlalchemy.exc import OperationalError

from bode.intake import queue
from bode.intake.accept import Route
from bode.intake.faults import Fault, Refused
from bode.intake.queue import QueueIntake, seal

KEY = os.urandom(32)
BODY = json.dumps({"geadresseerde": {"naam": "Jantje Zonderbrief", "nummer": "999990019"}}).encode()


class Intake:
    """Takes what comes, or raises what it was given, in turn."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.taken = []

    async def accept(self, raw, *, route, caller):
        if self.errors:
            raise self.errors.pop(0)
        self.taken.append((raw, route, caller))


def away():
    return OperationalError(None, None, ConnectionError("weg"))


async def test_a_sealed_message_is_taken_in_as_it_was():
    intake = Intake()
    await QueueIntake(intake, lambda: KEY).accept(seal(BODY, KEY))
    ((raw, route, caller),) = intake.taken
    assert (raw, route, caller.name, caller.organisations) == (BODY, Route.QUEUE, "queue", None)


def test_nothing_of_a_message_can_be_read_in_the_broker():
    one, other = seal(BODY, KEY), seal(BODY, KEY)
    assert one != other
    assert "Zonderbrief" not in one
    assert one.count(".") == 4


@pytest.mark.parametrize(
    "sealed",
    [
        "",
        ".",
        "....",
        BODY.decode(),
        "é",
        "\ud800",
        "\0",
        seal(BODY, os.urandom(32)),
        seal(BODY, KEY)[:-4] + "AAAA",
        seal(BODY, KEY) + ".x",
        jwe.encrypt_compact({"alg": "A256KW", "enc": "A256GCM"}, BODY, OctKey.import_key(os.urandom(32))),
        "eyJhbGciOiJub25lIn0." + "AAAA" + ".",
        "x" * 1_000_000,
    ],
    ids=[
        "empty",
        "dot",
        "dots",
        "clear",
        "accent",
        "surrogate",
        "nul",
        "key",
        "tag",
        "part",
        "wrapped",
        "none",
        "long",
    ],
)
async def test_what_cannot_be_opened_is_kept_by_the_broker_and_not_taken_in(sealed):
    intake = Intake()
    with structlog.testing.capture_logs() as logged, pytest.raises((JoseError, ValueError)):
        await QueueIntake(intake, lambda: KEY).accept(sealed)
    assert not intake.taken
    assert [line["event"] for line in logged] == ["intake.queue_unreadable"]
    assert "Zonderbrief" not in json.dumps(logged)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
async def test_any_text_is_unreadable_and_no_more(sealed):
    with structlog.testing.capture_logs(), pytest.raises((JoseError, ValueError)):
        await QueueIntake(Intake(), lambda: KEY).accept(sealed)


async def test_what_is_refused_is_kept_by_the_broker_and_logged_by_code():
    intake = Intake(Refused([Fault("#/aard", "enum", "Onbekend."), Fault("#/termijn", "termijn", "Ontbreekt.")]))
    with structlog.testing.capture_logs() as logged, pytest.raises(Refused):
        await QueueIntake(intake, lambda: KEY).accept(seal(BODY, KEY))
    assert [(line["event"], line["codes"]) for line in logged] == [("intake.queue_refused", ["enum", "termijn"])]


async def test_a_database_that_is_away_is_waited_for(monkeypatch):
    monkeypatch.setattr(queue, "wait_random_exponential", lambda **_: tenacity.wait_none())
    intake = Intake(away(), away(), away())
    await QueueIntake(intake, lambda: KEY).accept(seal(BODY, KEY))
    assert [raw for raw, _, _ in intake.taken] == [BODY]


async def test_a_database_that_stays_away_leaves_the_message_with_the_broker(monkeypatch):
    monkeypatch.setattr(queue, "wait_random_exponential", lambda **_: tenacity.wait_none())
    monkeypatch.setattr(queue, "stop_after_delay", lambda _: tenacity.stop_after_attempt(3))
    with pytest.raises(tenacity.RetryError):
        await QueueIntake(Intake(*(away() for _ in range(9))), lambda: KEY).accept(seal(BODY, KEY))


async def test_a_defect_is_not_tried_again():
    intake = Intake(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await QueueIntake(intake, lambda: KEY).accept(seal(BODY, KEY))
    assert not intake.errors
    assert not intake.taken
