"""Both transports over TLS with a certificate of our own and a private authority, and what a wrong one means."""

import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mijnoverheid_sides import API_KEY, EBMS_SETTINGS, SENDER, SETTINGS

from bode_adapters.contract import Answer, Pending, RefusalKind, Refused, Unknown
from bode_adapters.mijnoverheid import MijnOverheidBox, mock, mock_ebms
from bode_adapters.mijnoverheid.mock_subscriptions import PATH
from bode_adapters.serving import serve
from bode_adapters.testing.box import new_identifier, new_message, utc_now


def made(folder: Path, name: str) -> tuple[Path, Path]:
    """Give a certificate that vouches for itself, and its key."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string(f"CN={name}")
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    folder = tmp_path_factory.mktemp("certificates")
    return {name: made(folder, name) for name in ("server", "ours", "stranger")}


SIDES: dict[str, tuple[dict[str, object], Callable[[], Any]]] = {
    "gateway": (SETTINGS, lambda: mock.create_mock(clock=utc_now, api_key=API_KEY)),
    "ebms": (EBMS_SETTINGS, lambda: mock_ebms.create_mock(clock=utc_now, login=("bode", API_KEY))),
}


async def place(
    side: str, certificates: dict[str, tuple[Path, Path]], *, client: str | None, trust: str = "server"
) -> tuple[Answer, bool | None]:
    """Give the answer to a message, and whether its addressee was said to be reachable."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*certificates["server"])
    tls.load_verify_locations(certificates["ours"][0])
    tls.verify_mode = ssl.CERT_REQUIRED
    settings, create = SIDES[side]
    shown: dict[str, object] = {"ca_file": str(certificates[trust][0])}
    if client is not None:
        shown |= dict(zip(("client_certificate", "client_key"), map(str, certificates[client]), strict=True))
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve(create(), tls=tls))
        subscriptions = {"subscriptions": {"base_url": f"{url}{PATH}"} | shown}
        box = MijnOverheidBox.from_settings(settings | shown | subscriptions | {"base_url": url}, clock=utc_now)
        await box.open()
        stack.push_async_callback(box.close)
        (answer,) = await box.place(messages=[new_message(SENDER)])
        (reachable,) = await box.check(addressees=[new_identifier()], sender=SENDER)
        return answer, reachable.reachable


@pytest.mark.parametrize("side", SIDES)
async def test_with_the_right_certificates_on_both_sides_it_works(
    side: str, certificates: dict[str, tuple[Path, Path]]
) -> None:
    answer, reachable = await place(side, certificates, client="ours")
    assert isinstance(answer, Pending)
    assert reachable is True


@pytest.mark.parametrize("side", SIDES)
async def test_a_server_with_the_wrong_certificate_is_configuration_and_gets_nothing(
    side: str, certificates: dict[str, tuple[Path, Path]]
) -> None:
    answer, reachable = await place(side, certificates, client="ours", trust="stranger")
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == ("server_certificate", RefusalKind.CONFIGURATION)
    assert reachable is None


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("client", [None, "stranger"])
async def test_without_the_right_certificate_of_ours_nothing_is_taken(
    side: str, certificates: dict[str, tuple[Path, Path]], client: str | None
) -> None:
    answer, reachable = await place(side, certificates, client=client)
    # The server here hangs up without saying why; one that says so makes it a refusal, `client_certificate`.
    assert answer == Unknown("connection_lost")
    assert reachable is None
