"""No log line of a message's whole way holds what is personal of it: placed, notified, bounced, by letter, refused."""

from __future__ import annotations

import json

import msgspec
import pytest
import structlog

from bode.intake.accept import Caller, Route
from bode.intake.faults import Refused


def _personal(body) -> set[str]:
    """Give every personal text of a request that is long enough to be recognised."""
    addressee, address = body["geadresseerde"], body["geadresseerde"]["adres"]
    mail = body["kennisgeving"].get("email")
    return {
        addressee["nummer"],
        addressee["naam"],
        addressee["naam"].split()[-1],
        address["straat"],
        address["postcode"],
        address["woonplaats"],
        body["onderwerp"],
        body["tekst"],
        *((mail, mail.partition("@")[0]) if mail else ()),
    }


@pytest.mark.parametrize("mail", ["goed.jan@post.example.nl", "weg.piet@post.example.nl", None])
async def test_the_logs_of_a_message_hold_nothing_personal(app, body, mail):
    sent = body(email=mail)
    with structlog.testing.capture_logs() as lines:
        await app.accept(sent)
        await app.settle()
        await app.pass_time(hours=72, every=6)
        with pytest.raises(Refused):
            await app.intake.accept(
                msgspec.json.encode(sent | {"aard": sent["onderwerp"]}), route=Route.HTTP, caller=Caller("test")
            )
    if mail is not None and mail.startswith("goed"):
        (ended,) = [line for line in lines if line["event"] == "delivery.ended"]
        assert (ended["outcome"], ended["channels"], ended["letters"]) == ("noticed", ["mijnoverheid"], 0)
        assert (ended["placement_attempts"], ended["notice_attempts"]) == (1, 1)
        assert ended["seconds"] == ended["seconds_to_sent"] == ended["seconds_to_noticed"] == 0.0
    written = [json.dumps(line, ensure_ascii=False, default=str) for line in lines]
    assert {"intake.accepted", "lane.chunk", "intake.refused"} <= {line["event"] for line in lines}
    found = {(secret, line) for secret in _personal(sent) for line in written if secret in line}
    assert not found
