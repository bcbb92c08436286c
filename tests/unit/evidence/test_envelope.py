"""The bytes of an event: canonical JSON (RFC 8785), what it refuses, and what an envelope gives away."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
import rfc8785

from bode.domain.decision import Fact
from bode.evidence.chain import GENESIS, chain_hash, commit
from bode.evidence.envelope import canonical, seal
from bode.evidence.merkle import leaf_hash
from bode.evidence.statement import MalformedError, read_object

AT = datetime(2026, 9, 1, 10, tzinfo=UTC)


def sealed(seq=1, previous=GENESIS, **fact):
    return seal(
        Fact("bounce.received", ("L7",), **fact),
        message_id=UUID(int=1),
        organisation="00000001999000010000",
        seq=seq,
        previous=previous,
        recorded_at=AT,
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"b": 1, "a": True, "c": None}, b'{"a":true,"b":1,"c":null}'),
        ({"peach": 1, "péché": 2, "pêche": 3, "sin": 4}, '{"peach":1,"péché":2,"pêche":3,"sin":4}'.encode()),
        # By UTF-16, as RFC 8785 section 3.2.3 has it: U+1F600 is written D83D DE00 and goes before U+FB33.
        ({"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3}, '{"\u20ac":3,"\U0001f600":2,"\ufb33":1}'.encode()),
        ({"a": "\u20ac$\u000f\nA'B\"\\/\u007f"}, b'{"a":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\/\x7f"}'),
        ({"a": [1e21, 1e-7, 4.50, 333333333.33333329, -0.0]}, b'{"a":[1e+21,1e-7,4.5,333333333.3333333,0]}'),
        ({"a": 2**53 - 1, "b": -(2**53) + 1}, b'{"a":9007199254740991,"b":-9007199254740991}'),
    ],
)
def test_one_writing_for_a_value(value, written):
    assert canonical(value) == written
    assert read_object(written) == value


@pytest.mark.parametrize("value", [2**53, 2**60, -(2**60), float("nan"), float("inf"), "\ud800", b"bytes"])
def test_what_others_could_read_differently_is_not_written(value):
    with pytest.raises((rfc8785.CanonicalizationError, UnicodeEncodeError)):
        canonical({"a": value})
    if isinstance(value, str):
        with pytest.raises((rfc8785.CanonicalizationError, UnicodeEncodeError)):
            canonical({value: 1})


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1}\n',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":1.0}',
        b'{"a":1e0}',
        b'{"a":-0}',
        b'{"a":1152921504606846976}',
        b'{"a":NaN}',
        b'{"a":1e400}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\\ud800"}',
        b'{"\\ud800":1}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\/"}',
        '{"\ufb33":1,"\U0001f600":2}'.encode(),
        '{"a":"é"}'.encode("utf-16"),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[]",
        b"1",
        b'"a"',
        b"",
        b"\x00",
    ],
)
def test_another_writing_is_not_read(data):
    with pytest.raises(MalformedError):
        read_object(data)


def test_an_envelope_is_canonical_and_chained():
    first = sealed()
    second = sealed(2, first.chain)
    envelope = json.loads(second.envelope)
    assert canonical(envelope) == second.envelope
    assert second.hash == leaf_hash(second.envelope)
    assert envelope["previous"] == chain_hash(GENESIS, first.hash).hex()
    assert second.chain == chain_hash(chain_hash(GENESIS, first.hash), second.hash)


def test_personal_details_are_committed_to_and_nowhere_in_the_envelope():
    event = sealed(sealed={"email": "sanne@post.example.nl"})
    assert b"sanne" not in event.envelope
    assert json.loads(event.envelope)["detail_commit"] == commit(event.salt, event.details).hex()
    assert "sanne" not in repr(event)


def test_the_hash_of_an_event_does_not_tell_who_knows_all_else_what_it_says():
    assert sealed().hash != sealed().hash
    assert len(bytes.fromhex(json.loads(sealed().envelope)["nonce"])) == 16
