"""The example configurations are valid as they stand, down to each adapter's settings."""

from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from bode import settings
from bode_ops import assembly

EXAMPLES = sorted((Path(__file__).parents[2] / "config" / "examples").glob("*.toml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_is_valid(file, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "var" / "print" / "in").mkdir(parents=True)
    monkeypatch.delenv("BODE_CONFIG", raising=False)
    found = settings.load(file)
    adapters = {point.name: point.load() for point in entry_points(group="bode.adapters")}
    parts = [*found.channels.values(), found.notices, found.print, found.profile]
    made = [adapters[part.adapter].from_settings(part.settings, clock=lambda: datetime.now(UTC)) for part in parts]
    capabilities = dict(zip(found.channels, (adapter.capabilities for adapter in made), strict=False))
    assert settings.build_policy(found, capabilities).primary_channels() == {"mijnoverheid"}


def test_there_are_examples():
    assert {file.stem for file in EXAMPLES} == {"one-machine", "production"}


def test_the_shipped_bounce_rules_can_be_used():
    assert assembly.bounce_rules().rules
