"""Time stamps (RFC 3161): taken from an authority whose root is pinned, and from no other."""

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from bode.evidence.bundle import unpack
from bode.evidence.timestamp import TimestampError, ask, check, read_roots, trusting
from bode.evidence.verify import Trust, Verdict, verify

AT = datetime(2026, 9, 1, 10, tzinfo=UTC)
NOTE = b"gemeente.example/bode\n5\nAAAA\n"

# ---- an authority, with the little ASN.1 (DER) that it takes ---------------------------------------------------------


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + content


def sequence(*parts: bytes) -> bytes:
    return der(0x30, *parts)


def number(value: int) -> bytes:
    return der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(text: str) -> bytes:
    first, second, *rest = map(int, text.split("."))
    out = bytes([first * 40 + second])
    for arc in rest:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        out += bytes(reversed(groups))
    return der(0x06, out)


SHA256 = sequence(oid("2.16.840.1.101.3.4.2.1"))
SIGNED_DATA, TST_INFO = oid("1.2.840.113549.1.7.2"), oid("1.2.840.113549.1.9.16.1.4")
CONTENT_TYPE, MESSAGE_DIGEST = oid("1.2.840.113549.1.9.3"), oid("1.2.840.113549.1.9.4")
SIGNING_CERTIFICATE_V2 = oid("1.2.840.113549.1.9.16.2.47")
ECDSA_SHA256 = sequence(oid("1.2.840.10045.4.3.2"))


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass
class Authority:
    """A time stamping authority: a root, and a certificate made for time stamps."""

    name: str = "Een TSA"
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.TIME_STAMPING
    root_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.root = self._certify(f"{self.name} root", self.root_key, ca=True)
        self.certificate = self._certify(self.name, self.key, ca=False)

    def _certify(self, name: str, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        root = self.root_key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(f"{self.name} root"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(AT - timedelta(days=30))
            .not_valid_after(AT + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root), critical=False)
            .add_extension(
                x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False),
                critical=True,
            )
        )
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage([self.usage]), critical=True)
        return builder.sign(self.root_key, hashes.SHA256())

    def stamp(
        self, data: bytes, *, nonce: int | None = None, at: datetime = AT, bring: tuple[x509.Certificate, ...] = ()
    ):
        """Answer a request for a time stamp over bytes, and bring certificates along."""
        info = sequence(
            number(1),
            oid("1.3.6.1.4.1.99999.1"),
            sequence(SHA256, der(0x04, sha256(data).digest())),
            number(7),
            der(0x18, at.strftime("%Y%m%d%H%M%SZ").encode()),
            number(nonce) if nonce is not None else b"",
        )
        own = self.certificate.public_bytes(Encoding.DER)
        attributes = sorted(
            [
                sequence(CONTENT_TYPE, der(0x31, TST_INFO)),
                sequence(MESSAGE_DIGEST, der(0x31, der(0x04, sha256(info).digest()))),
                sequence(
                    SIGNING_CERTIFICATE_V2,
                    der(0x31, sequence(sequence(sequence(der(0x04, sha256(own).digest()))))),
                ),
            ]
        )
        signature = self.key.sign(der(0x31, *attributes), ec.ECDSA(hashes.SHA256()))
        signer = sequence(
            number(1),
            sequence(self.certificate.issuer.public_bytes(), number(self.certificate.serial_number)),
            SHA256,
            der(0xA0, *attributes),
            ECDSA_SHA256,
            der(0x04, signature),
        )
        signed = sequence(
            number(3),
            der(0x31, SHA256),
            sequence(TST_INFO, der(0xA0, der(0x04, info))),
            der(0xA0, *sorted([own, *(certificate.public_bytes(Encoding.DER) for certificate in bring)])),
            der(0x31, signer),
        )
        return sequence(sequence(number(0)), sequence(SIGNED_DATA, der(0xA0, signed)))


@lru_cache
def good() -> Authority:
    return Authority()


@lru_cache
def a_token() -> bytes:
    return good().stamp(NOTE)


# ----------------------------------------------------------------------------------------------------------------------


def test_a_time_stamp_of_the_authority_that_is_pinned_is_taken():
    assert check(good().stamp(NOTE), NOTE, [good().root]) == AT
    assert check(good().stamp(NOTE, bring=(good().root,)), NOTE, [Authority("Een ander").root, good().root]) == AT


def test_a_token_under_an_evil_root_of_its_own_is_refused():
    """Versions 1.0.3 to 1.0.8 of the library took it; the test above is its control."""
    evil = Authority()
    assert evil.root.subject == good().root.subject, "the evil root even bears the good one's name"
    for token in (
        evil.stamp(NOTE),
        evil.stamp(NOTE, bring=(evil.root,)),
        evil.stamp(NOTE, bring=(evil.root, good().root)),
    ):
        assert check(token, NOTE, [evil.root]) == AT, "who trusted the evil root would take it"
        with pytest.raises(TimestampError):
            check(token, NOTE, [good().root])


def test_a_time_stamp_over_something_else_is_refused():
    with pytest.raises(TimestampError):
        check(good().stamp(NOTE), NOTE + b" ", [good().root])


def test_a_certificate_that_was_not_made_for_time_stamps_is_refused():
    server = Authority(usage=ExtendedKeyUsageOID.SERVER_AUTH)
    with pytest.raises(TimestampError):
        check(server.stamp(NOTE), NOTE, [server.root])


def test_a_time_stamp_from_before_or_after_the_certificate_is_refused():
    for at in (AT - timedelta(days=31), AT + timedelta(days=31)):
        with pytest.raises(TimestampError):
            check(good().stamp(NOTE, at=at), NOTE, [good().root])


def test_an_answer_to_another_request_is_refused():
    request = ask(NOTE)
    assert check(good().stamp(NOTE, nonce=request.nonce), NOTE, [good().root], request=request) == AT
    for nonce in (request.nonce + 1, None):
        with pytest.raises(TimestampError):
            check(good().stamp(NOTE, nonce=nonce), NOTE, [good().root], request=request)


def test_a_request_asks_for_the_certificate_and_hides_the_note():
    request = ask(NOTE)
    assert request.cert_req
    assert request.nonce != ask(NOTE).nonce
    assert request.message_imprint.message == sha256(NOTE).digest()
    assert NOTE not in request.as_bytes()


def test_without_a_root_nothing_is_trusted():
    with pytest.raises(TimestampError):
        check(good().stamp(NOTE), NOTE, [])


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_whatever_a_token_is_it_is_refused_or_good(data):
    token = a_token()
    at, new = data.draw(st.integers(0, 1 << 16)) % len(token), data.draw(st.binary(max_size=4))
    length = data.draw(st.integers(0, 8))
    found = trusting([good().root])(token[:at] + new + token[at + length :], NOTE)
    assert found in (None, AT), "another time is never taken"


def test_roots_are_read_from_pem(tmp_path):
    file = tmp_path / "roots.pem"
    file.write_bytes(good().root.public_bytes(Encoding.PEM) + Authority().root.public_bytes(Encoding.PEM))
    assert read_roots(file)[0] == good().root
    file.write_bytes(b"no certificate")
    with pytest.raises(TimestampError, match="no certificates in PEM"):
        read_roots(file)


# ---- in an extract ---------------------------------------------------------------------------------------------------


def test_a_time_stamp_in_an_extract_is_checked_by_who_has_the_root(log, lab):
    checkpoint_only = log.issue(2)
    token = good().stamp(unpack(checkpoint_only).files["checkpoint"])
    data = lab.changed(checkpoint_only, **{"timestamp.tsr": token})
    stamped = Trust([lab.KEY.verifier], timestamp=trusting([good().root]))
    report = verify(data, stamped)
    assert report.verdict is Verdict.VALID
    assert "a time stamping authority saw the checkpoint at 2026-09-01T10:00:00Z" in report.proven
    unasked = verify(data, Trust([lab.KEY.verifier]))
    assert unasked.verdict is Verdict.VALID
    assert list(unasked.unchecked) == ["the time stamp: no root of a time stamping authority was given"]
    assert verify(checkpoint_only, stamped).verdict is Verdict.UNDECIDED
    evil = lab.changed(checkpoint_only, **{"timestamp.tsr": Authority().stamp(unpack(data).files["checkpoint"])})
    report = verify(evil, stamped)
    assert report.verdict is Verdict.UNDECIDED
    assert report.faults == ["timestamp.tsr: there is none over this checkpoint by an authority that was given"]
    other = lab.changed(checkpoint_only, **{"timestamp.tsr": good().stamp(NOTE)})
    assert verify(other, stamped).verdict is Verdict.UNDECIDED


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl on this machine")
def test_openssl_takes_the_same_time_stamp_and_refuses_the_same(tmp_path):
    (tmp_path / "note").write_bytes(NOTE)
    (tmp_path / "root.pem").write_bytes(good().root.public_bytes(Encoding.PEM))
    attime = str(int(AT.timestamp()))
    command = f"openssl ts -verify -data note -in token.tsr -CAfile root.pem -attime {attime}".split()
    for token, code in ((good().stamp(NOTE), 0), (Authority().stamp(NOTE), 1), (good().stamp(NOTE + b" "), 1)):
        (tmp_path / "token.tsr").write_bytes(token)
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, env=dict(os.environ))
        assert done.returncode == code, done.stderr
