"""Secrets in files: a folder that BODE_SECRETS names, as Docker, Kubernetes and systemd hand them over."""

import pytest

from bode import settings
from bode.settings import ConfigError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("BODE_CONFIG", raising=False)
    monkeypatch.setenv("BODE_SECRETS", str(tmp_path))
    return tmp_path


def test_a_file_sets_the_variable_it_is_named_for_without_its_last_line_end(folder):
    (folder / "BODE__DATABASE__URL").write_text("postgresql://bode:geheim@db.example/bode\n")
    (folder / "something_else").write_text("not ours")
    assert settings.load(None).database.url == "postgresql://bode:geheim@db.example/bode"


def test_a_variable_goes_before_a_file_and_a_file_before_the_configuration(folder, monkeypatch):
    config = folder / "bode.toml"
    config.write_text('[broker]\nnamespace = "toml"\n[api]\nport = 1\n')
    (folder / "BODE__BROKER__NAMESPACE").write_text("file")
    (folder / "BODE__API__PORT").write_text("2")
    monkeypatch.setenv("BODE__API__PORT", "3")
    found = settings.load(config)
    assert (found.broker.namespace, found.api.port) == ("file", 3)


def test_a_folder_that_is_not_there_is_named(folder, monkeypatch):
    monkeypatch.setenv("BODE_SECRETS", str(folder / "none"))
    with pytest.raises(ConfigError, match=r"BODE_SECRETS.*none: No such file"):
        settings.load(None)


def test_what_is_wrong_in_a_file_is_told_without_what_is_in_it(folder):
    (folder / "BODE__API__PORT").write_text("geheim")
    with pytest.raises(ConfigError, match=r"api\.port") as caught:
        settings.load(None)
    assert "geheim" not in str(caught.value)
