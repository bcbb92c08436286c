"""The settings of the MijnOverheid adapter: checked whole, named when wrong, no secret repeated."""

import pytest
from mijnoverheid_sides import API_KEY, SETTINGS

from bode_adapters.contract import (
    SettingError,
)
from bode_adapters.mijnoverheid import MijnOverheidBox, MijnOverheidSettings
from bode_adapters.testing.box import (
    utc_now,
)


@pytest.mark.parametrize("missing", ["base_url", "api_key", "leverancier_oin"])
def test_a_required_setting_is_named(missing: str) -> None:
    with pytest.raises(SettingError) as error:
        MijnOverheidSettings.read({key: value for key, value in SETTINGS.items() if key != missing})
    assert error.value.key == missing


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("base_url", "http://gateway.example"),
        ("base_url", "ftp://127.0.0.1"),
        ("base_url", "https://"),
        ("base_url", "https://gateway.example/?x=1"),
        ("base_url", "https://[::1"),
        ("base_url", 8080),
        ("leverancier_oin", "123"),
        ("leverancier_oin", 12345678901234567890),
        ("timeout_seconds", 0),
        ("timeout_seconds", 301),
        ("timeout_seconds", True),
        ("timeout_seconds", "30"),
        ("concurrency", 0),
        ("concurrency", 101),
        ("concurrency", 1.5),
        ("concurrency", True),
        ("allow_http", "ja"),
    ],
)
def test_a_setting_out_of_bounds_is_named(key: str, value: object) -> None:
    with pytest.raises(SettingError) as error:
        MijnOverheidSettings.read(SETTINGS | {key: value})
    assert error.value.key == key


@pytest.mark.parametrize("settings", [{"api_key": "GEHEIM met blanco"}, {"api_kye": "GEHEIM"}, {"api_key": ["GEHEIM"]}])
def test_no_secret_is_in_an_error(settings: dict[str, object]) -> None:
    with pytest.raises(SettingError) as error:
        MijnOverheidSettings.read(SETTINGS | settings)
    assert "GEHEIM" not in str(error.value)
    assert "GEHEIM" not in repr(error.value.value)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingError) as error:
        MijnOverheidSettings.read(SETTINGS | {"base_url": "https://iemand:GEHEIM@gateway.example"})
    assert "GEHEIM" not in str(error.value)


def test_the_key_is_in_no_repr() -> None:
    settings = MijnOverheidSettings.read(SETTINGS)
    assert API_KEY not in repr(settings)
    assert API_KEY not in repr(MijnOverheidBox(settings, clock=utc_now))
