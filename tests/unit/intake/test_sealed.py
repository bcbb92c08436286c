"""Sealed messages: opened with the installation's key alone, by the two algorithms we name, and nothing else."""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwe
from joserfc.jwk import ECKey, OctKey

from bode.intake.sealed import ALGORITHMS, UnreadableError, private_key, public_key, seal, unseal

KEY = private_key(bytes(range(64)))
PUBLIC = public_key(KEY)
BODY = json.dumps({"geadresseerde": {"naam": "Jantje Zonderbrief", "nummer": "999990019"}}).encode()


def test_what_is_sealed_is_opened_as_it_was_and_not_the_same_twice():
    one, other = seal(BODY, PUBLIC), seal(BODY, PUBLIC)
    assert unseal(one, KEY) == unseal(other, KEY) == BODY
    assert one != other
    assert "Zonderbrief" not in one


def test_the_key_follows_from_the_seed_and_its_public_half_tells_nothing_private():
    assert public_key(private_key(bytes(range(64)))) == PUBLIC
    assert public_key(private_key(os.urandom(64))) != PUBLIC
    assert set(PUBLIC) == {"kty", "crv", "x", "y", "use", "alg", "kid"}
    assert (PUBLIC["kty"], PUBLIC["crv"], PUBLIC["use"], PUBLIC["alg"]) == ("EC", "P-256", "enc", "ECDH-ES")
    with pytest.raises(ValueError, match="48 bytes"):
        private_key(bytes(47))


def test_a_key_that_another_library_wrote_is_taken():
    """Without kid, use and alg, as `jose jwk pub` writes it."""
    assert unseal(seal(BODY, {name: PUBLIC[name] for name in ("kty", "crv", "x", "y")}), KEY) == BODY


def _zipped():
    header = {"alg": "ECDH-ES", "enc": "A256GCM", "zip": "DEF"}
    return jwe.encrypt_compact(header, BODY * 100, ECKey.import_key(KEY.as_dict(private=False)), [*ALGORITHMS, "DEF"])


@pytest.mark.parametrize(
    "sealed",
    [
        pytest.param("", id="empty"),
        ".",
        "....",
        BODY.decode(),
        "é",
        pytest.param("\ud800", id="surrogate"),
        pytest.param("\0", id="nul"),
        pytest.param("x" * 1_000_000, id="long"),
        seal(BODY, public_key(private_key(os.urandom(64)))),
        seal(BODY, PUBLIC)[:-4] + "AAAA",
        seal(BODY, PUBLIC) + ".x",
        _zipped(),
        jwe.encrypt_compact({"alg": "dir", "enc": "A256GCM"}, BODY, OctKey.import_key(bytes(32)), ["dir", "A256GCM"]),
        "eyJhbGciOiJub25lIn0.AAAA.",
    ],
)
def test_what_cannot_be_opened_is_told_in_a_word(sealed):
    with pytest.raises(UnreadableError) as raised:
        unseal(sealed, KEY)
    assert "Zonderbrief" not in str(raised.value)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_unreadable_and_no_more(sealed):
    with pytest.raises(UnreadableError):
        unseal(sealed, KEY)
