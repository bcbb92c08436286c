"""Time stamps (RFC 3161) on checkpoints: another's word that the signed note was there at a moment.

Of a time stamp only this is taken: signed by a certificate made for it (extended key usage), which leads to a root that
is pinned here; never to one that the token brings along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimeStampRequest,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)


class TimestampError(Exception):
    """A response is no time stamp over these bytes by an authority that is trusted."""


def ask(data: bytes) -> TimeStampRequest:
    """Make the request for a time stamp over bytes; `.as_bytes()` is what is sent, with its nonce."""
    return TimestampRequestBuilder(data=data, hash_algorithm=HashAlgorithm.SHA256, nonce=True, cert_req=True).build()


def check(
    response: bytes, data: bytes, roots: Sequence[x509.Certificate], *, request: TimeStampRequest | None = None
) -> datetime:
    """Give the time that a response states for these bytes; checks its nonce, too, where the request is at hand.

    Raises `TimestampError`. Works without a network: revocation is not looked up.
    """
    builder = VerifierBuilder() if request is None else VerifierBuilder.from_request(request)
    for root in roots:
        builder = builder.add_root_certificate(root)
    try:
        decoded = decode_timestamp_response(response)
        builder.build().verify_message(decoded, data)
    except (VerificationError, ValueError) as error:
        raise TimestampError("this is no time stamp over these bytes by an authority that is trusted") from error
    return decoded.tst_info.gen_time


def trusting(roots: Sequence[x509.Certificate]) -> Callable[[bytes, bytes], datetime | None]:
    """Give a check for the verifier: a time stamp's time, or nothing where it is not to be trusted."""

    def time_of(response: bytes, data: bytes) -> datetime | None:
        try:
            return check(response, data, roots)
        except TimestampError:
            return None

    return time_of


def read_roots(path: Path) -> list[x509.Certificate]:
    """Read root certificates from a PEM file. Raises `TimestampError` or `OSError`."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError:
        raise TimestampError(f"{path} has no certificates in PEM") from None
