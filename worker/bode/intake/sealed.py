"""Messages on the queue are sealed: a compact JWE (RFC 7516, `ECDH-ES` with `A256GCM`) of what the HTTP API takes.

Who sends needs the public key alone, and cannot open what others sent. Every language has a library for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

ALGORITHMS = ["ECDH-ES", "A256GCM"]
"""No others are taken; so nothing compressed either, which could be far larger than it looks."""
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256 (SEC 2): private keys are 1 up to, not including, this."""


class UnreadableError(Exception):
    """What stands on the queue cannot be opened with our key; the text is a word for the kind of fault."""


def private_key(seed: bytes) -> ECKey:
    """Make the key of an installation from its seed: always the same one. Raises `ValueError` for a short seed."""
    if len(seed) < 48:  # noqa: PLR2004 - 128 bits more than the order, so that no key is likelier than another
        raise ValueError("a seed has 48 bytes or more")
    number = int.from_bytes(seed) % (_ORDER - 1) + 1
    return ECKey.import_key(ec.derive_private_key(number, ec.SECP256R1()))


def public_key(key: ECKey) -> dict[str, Any]:
    """Give the public half as a JWK, with what it is for."""
    return {**key.as_dict(private=False), "use": "enc", "alg": ALGORITHMS[0], "kid": key.thumbprint()}


def seal(body: bytes, public: Mapping[str, Any]) -> str:
    """Seal a request for the queue."""
    header = {"alg": ALGORITHMS[0], "enc": ALGORITHMS[1], "kid": public.get("kid", "")}
    point = {name: public[name] for name in ("kty", "crv", "x", "y")}
    return jwe.encrypt_compact(header, body, ECKey.import_key(point), algorithms=ALGORITHMS)


def unseal(sealed: str, key: ECKey) -> bytes:
    """Give the request. Raises `UnreadableError`."""
    try:
        return jwe.decrypt_compact(sealed, key, algorithms=ALGORITHMS).plaintext or b""
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnreadableError(type(error).__name__) from None
