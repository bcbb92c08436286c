"""What an extract states is read strictly, also where its issuer wrote it: what is not known cannot be vouched for."""

import pytest
import rfc8785

from bode.evidence.statement import Inclusion, MalformedError, OtherVersionError, Statement

HASH = "ab" * 32


def a_statement(**changes):
    return {
        "format": "bode extract 1",
        "log": "gemeente.example/bode",
        "message": "0190b2c4-0000-7000-8000-000000000001",
        "organisation": "00000001999000010000",
        "events": [{"seq": 1, "hash": HASH, "open": False}, {"seq": 2, "hash": HASH, "open": True, "salt": HASH}],
        "files": {"README.txt": HASH},
    } | changes


def an_event(**changes):
    return a_statement(events=[{"seq": 1, "hash": HASH, "open": True} | changes])


def a_proof(**changes):
    return {"inclusions": [{"seq": 2, "position": 7, "proof": [HASH]} | changes]}


def test_what_is_stated_is_read():
    statement = Statement.parse(rfc8785.dumps(a_statement()))
    assert [(event.is_open, event.salt) for event in statement.events] == [(False, None), (True, bytes.fromhex(HASH))]
    assert Inclusion.parse_all(rfc8785.dumps(a_proof())) == [Inclusion(2, 7, [bytes.fromhex(HASH)])]
    assert Inclusion(2, 7, [bytes.fromhex(HASH)]).plain() == a_proof()["inclusions"][0]


def test_another_version_is_another_matter():
    with pytest.raises(OtherVersionError):
        Statement.parse(rfc8785.dumps(a_statement(format="bode extract 2", anything=1)))


@pytest.mark.parametrize(
    "value",
    [
        a_statement(format=1),
        a_statement(log=None),
        a_statement(log="a\nb"),
        a_statement(organisation=["a"]),
        a_statement(more=1),
        a_statement(events={}),
        a_statement(events=[1]),
        a_statement(files=[]),
        a_statement(files={"a": 1}),
        a_statement(files={"\u202e": HASH}),
        an_event(seq=2),
        an_event(seq=True),
        an_event(seq="1"),
        an_event(open=1),
        an_event(open=None),
        an_event(open=False, salt=HASH),
        an_event(hash=None),
        an_event(hash=HASH.upper()),
        an_event(hash=f" {HASH}"),
        an_event(hash=HASH[2:]),
        an_event(hash="zz" * 32),
        an_event(salt=HASH * 2),
        an_event(salt=""),
        an_event(details=HASH),
    ],
)
def test_a_statement_is_read_strictly(value):
    with pytest.raises(MalformedError):
        Statement.parse(rfc8785.dumps(value))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"inclusions": None},
        a_proof() | {"more": 1},
        a_proof(seq=-1),
        a_proof(seq=True),
        a_proof(position=-1),
        a_proof(position=False),
        a_proof(position=1.5),
        a_proof(proof=HASH),
        a_proof(proof=[1]),
        a_proof(proof=[HASH[1:]]),
        a_proof(more=1),
    ],
)
def test_proofs_are_read_strictly(value):
    with pytest.raises(MalformedError):
        Inclusion.parse_all(rfc8785.dumps(value))
