"""Secrets stay where they are: not in what a process prints when it cannot start, nor in its command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import toml_parts

from bode import settings as configuration

SECRETS = {
    "database": "GEHEIM-DATABASE-1",
    "broker": "GEHEIM-BROKER-2",
    "api_key": "GEHEIM-BOX-3",
    "relay": "GEHEIM-RELAIS-4-LANG-GENOEG",
    "key": "ab" * 32,
}
CONFIG = (
    """
[database]
url = "postgresql://bode:{database}@127.0.0.1:9/bode"
[broker]
url = "redis://:{broker}@127.0.0.1:9/0"
[keys]
environment = "BODE_TEST_KEY"
[bounces]
relays.postbode = {{ secrets = ["{relay}"] }}
"""
    + toml_parts.mijnoverheid(api_key="{api_key}")
    + toml_parts.notices()
    + toml_parts.PRINT_FOLDER
    + toml_parts.MAASVELD
)


@pytest.fixture
def config(tmp_path):
    (tmp_path / "print" / "in").mkdir(parents=True)
    path = tmp_path / "bode.toml"
    path.write_text(CONFIG.format(folder=tmp_path, **SECRETS))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [("run",), ("config", "check"), ("status", "X"), ("db", "upgrade"), ("keys", "list")]
)
def test_no_secret_is_shown_when_a_process_cannot_start(config, command):
    process = subprocess.Popen(
        [sys.executable, "-m", "bode_ops", *command, "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "BODE_TEST_KEY": SECRETS["key"], "NO_COLOR": "1"},
    )
    shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    out, _ = process.communicate(timeout=100)
    for name, secret in SECRETS.items():
        assert secret.encode() not in shown + out, name
    assert b"Traceback" not in out


@pytest.mark.parametrize("broken", ["postgres://bode:{database}@x/y", "nergens:{database}@"])
def test_a_wrong_address_of_the_database_is_told_without_its_password(config, broken):
    wrong = broken.format(**SECRETS)
    right = f"postgresql://bode:{SECRETS['database']}@127.0.0.1:9/bode"
    config.write_text(config.read_text().replace(right, wrong))
    with pytest.raises(configuration.ConfigError, match=r"database\.url") as refused:
        configuration.load(config)
    assert SECRETS["database"] not in str(refused.value)


def test_a_setting_of_the_wrong_kind_is_told_without_its_value(config):
    config.write_text(
        config.read_text().replace(f'secrets = ["{SECRETS["relay"]}"]', f'secrets = "{SECRETS["relay"]}"')
    )
    with pytest.raises(configuration.ConfigError, match="relays") as refused:
        configuration.load(config)
    assert SECRETS["relay"] not in str(refused.value)
