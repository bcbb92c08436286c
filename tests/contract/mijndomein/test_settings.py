"""The settings of MijnDomein."""

import pytest

from bode_adapters.contract import (
    Box,
    SettingError,
)
from bode_adapters.mijndomein import MijnDomeinSettings
from bode_adapters.testing.box import (
    new_identifier,
    new_message,
)

from .parts import SENDER, SETTINGS, TOKEN, new_box


def test_it_is_a_box() -> None:
    assert isinstance(new_box("http://127.0.0.1:1"), Box)


def test_only_the_address_is_required() -> None:
    settings = MijnDomeinSettings.read({"base_url": "https://mijn.example/api/v1"})
    connection = settings.connection
    assert (settings.token, connection.timeout_seconds, connection.concurrency, connection.headers) == (
        None,
        30,
        10,
        {},
    )


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("base_url", {"base_url": None}),
        ("base_url", {"base_url": "http://mijn.example"}),
        ("token", {"token": ""}),
        ("token", {"token": 7}),
        ("timeout_seconds", {"timeout_seconds": -1}),
        ("concurrency", {"concurrency": 0}),
        ("headers", {"headers": "X-Sleutel: GEHEIM"}),
        ("headers.X Sleutel", {"headers": {"X Sleutel": "GEHEIM"}}),
        ("headers.X-Sleutel", {"headers": {"X-Sleutel": "GEHEIM\n"}}),
        ("headers.X-Sleutel", {"headers": {"X-Sleutel": 7}}),
        ("headers.authorization", {"headers": {"authorization": "GEHEIM"}}),
        ("headers.X-Ontvanger", {"headers": {"X-Ontvanger": "GEHEIM"}}),
        ("tokn", {"tokn": "GEHEIM"}),
    ],
)
def test_a_wrong_setting_is_named_without_a_secret(key: str, settings: dict[str, object]) -> None:
    with pytest.raises(SettingError) as error:
        MijnDomeinSettings.read(SETTINGS | settings)
    assert error.value.key == key
    assert "GEHEIM" not in str(error.value)


def test_no_secret_is_in_a_repr() -> None:
    settings = MijnDomeinSettings.read(SETTINGS | {"headers": {"X-Sleutel": "GEHEIM"}})
    assert TOKEN not in repr(settings)
    assert "GEHEIM" not in repr(settings)


async def test_it_must_be_opened_first() -> None:
    with pytest.raises(RuntimeError, match="open"):
        await new_box("http://127.0.0.1:1").place(messages=[new_message(SENDER)])


async def test_it_cannot_check_an_addressee_and_says_so() -> None:
    (answer,) = await new_box("http://127.0.0.1:1").check(addressees=[new_identifier()], sender=SENDER)
    assert answer.reachable is None
