"""TLS of REST clients over a real handshake: a private authority, and certificates for both sides (mTLS)."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bode_adapters.connection import Connection
from bode_adapters.contract import Answer, Placed, RefusalKind, Refused, Sender, SettingError
from bode_adapters.mijndomein import MijnDomeinBox
from bode_adapters.mijndomein.mock import create_mock
from bode_adapters.rest import SettingsTable
from bode_adapters.serving import serve
from bode_adapters.testing.box import new_message, utc_now

SENDER = Sender(oin="00000001003214345000", name="Gemeente Voorbeeld", email="post@voorbeeld.example")
NOT_AFTER = datetime(2050, 1, 31, 12, 0, tzinfo=UTC)
Key = ec.EllipticCurvePrivateKey


@dataclass
class Authority:
    """A private certificate authority, and what it issued."""

    folder: Path
    name: str

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(self.name)
        self.certificate = self._sign(subject, self.key, x509.BasicConstraints(ca=True, path_length=0), ())
        self.file = self._write(f"{self.name}.pem", self.certificate)

    def issue(
        self, name: str, *, names: tuple[str, ...] = ("localhost",), passphrase: bytes | None = None
    ) -> tuple[Path, Path]:
        """Give a certificate and its key, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._sign(_name(name), key, x509.BasicConstraints(ca=False, path_length=None), names)
        lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
        path = self.folder / f"{name}-{self.name}-{uuid4().hex[:6]}.key"
        path.write_bytes(pem)
        return self._write(f"{path.stem}.pem", made), path

    def _sign(
        self, subject: x509.Name, key: Key, constraints: x509.BasicConstraints, names: tuple[str, ...]
    ) -> x509.Certificate:
        public = key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(_name(self.name))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.now(UTC) - timedelta(days=1))
            .not_valid_after(NOT_AFTER)
            .add_extension(constraints, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if constraints.ca:
            usage = x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            )
            builder = builder.add_extension(usage, critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), False)
        return builder.sign(self.key, hashes.SHA256())

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self.folder / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general(name: str) -> x509.GeneralName:
    return x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("theirs"), "theirs")


def server(certificate: tuple[Path, Path], *, asks: Authority | None = None) -> ssl.SSLContext:
    """Give a server's side; one that asks for a certificate takes those of this authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=asks.file if asks else None)
    context.load_cert_chain(*certificate)
    if asks is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def place(tls: ssl.SSLContext, **settings: object) -> Answer:
    """Place a message through a store behind this TLS."""
    async with serve(create_mock(clock=utc_now), tls=tls) as url:
        return await place_at(url, **settings)


async def place_at(url: str, **settings: object) -> Answer:
    box = MijnDomeinBox.from_settings({"base_url": f"{url}/api/v1", **settings}, clock=utc_now)
    await box.open()
    try:
        (answer,) = await box.place(messages=[new_message(SENDER)])
    finally:
        await box.close()
    return answer


@asynccontextmanager
async def refusing(tls: ssl.SSLContext) -> AsyncIterator[str]:
    """Serve no more than a handshake, and say why it failed as OpenSSL does; asyncio's own server hangs up instead."""

    async def handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        side = tls.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65_536))
            except ssl.SSLError:
                writer.write(outgoing.read())
                await reader.read()
                break
        writer.close()

    listening = await asyncio.start_server(handshake, "127.0.0.1", 0)
    try:
        yield f"https://localhost:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        await listening.wait_closed()


def shown(certificate: tuple[Path, Path]) -> dict[str, object]:
    return {"client_certificate": str(certificate[0]), "client_key": str(certificate[1])}


async def test_both_sides_show_a_certificate_of_a_private_authority(ours: Authority) -> None:
    tls = server(ours.issue("store"), asks=ours)
    assert isinstance(await place(tls, ca_file=str(ours.file), **shown(ours.issue("bode"))), Placed)


@pytest.mark.parametrize("wrong", ["authority", "name", "public"])
async def test_a_server_with_the_wrong_certificate_gets_nothing(ours: Authority, theirs: Authority, wrong: str) -> None:
    certificate = {
        "authority": lambda: theirs.issue("store"),
        "name": lambda: ours.issue("store", names=("elders.example",)),
        "public": lambda: ours.issue("store"),
    }[wrong]()
    settings = {} if wrong == "public" else {"ca_file": str(ours.file)}
    answer = await place(server(certificate), **settings)
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == ("server_certificate", RefusalKind.CONFIGURATION)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("wrong", ["none", "authority"])
async def test_a_store_that_does_not_accept_our_certificate_stops_the_lane(
    ours: Authority, theirs: Authority, wrong: str, version: ssl.TLSVersion
) -> None:
    tls = server(ours.issue("store"), asks=ours)
    tls.maximum_version = version
    certificate = {} if wrong == "none" else shown(theirs.issue("bode"))
    async with refusing(tls) as url:
        answer = await place_at(url, ca_file=str(ours.file), **certificate)
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == ("client_certificate", RefusalKind.CONFIGURATION)


# ------------------------------------------------------------------------------------------------------------- at start


def read(**settings: object) -> Connection:
    return Connection.read(SettingsTable({"base_url": "https://mijn.example", **settings}))


def test_when_our_certificate_runs_out_can_be_read(ours: Authority) -> None:
    assert read().certificate_not_after() is None
    assert read(**shown(ours.issue("bode"))).certificate_not_after() == NOT_AFTER


def test_a_key_of_another_certificate_is_refused_at_start(ours: Authority) -> None:
    (certificate, _), (_, other_key) = ours.issue("bode"), ours.issue("bode")
    with pytest.raises(SettingError) as error:
        read(**shown((certificate, other_key)))
    assert error.value.key == "client_certificate"


def test_a_key_with_a_passphrase_is_refused_and_not_asked_for(ours: Authority) -> None:
    with pytest.raises(SettingError, match="without a passphrase"):
        read(**shown(ours.issue("bode", passphrase=b"GEHEIM")))


@pytest.mark.parametrize("half", ["client_certificate", "client_key"])
def test_a_certificate_and_its_key_go_together(ours: Authority, half: str) -> None:
    with pytest.raises(SettingError, match="go together") as error:
        read(**{half: shown(ours.issue("bode"))[half]})
    assert error.value.key in {"client_certificate", "client_key"} - {half}
