"""Alerts: each says what to do in a runbook, uses metrics that exist, and fires and stays quiet when it should."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
RULES = ROOT / "ops" / "prometheus" / "rules" / "bode.yml"
TESTS = ROOT / "ops" / "prometheus" / "tests" / "bode.yml"
ALERTS = yaml.safe_load(RULES.read_text("utf-8"))["groups"][0]["rules"]
NAMES = [alert["alert"] for alert in ALERTS]


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_an_alert_has_a_runbook_that_says_what_it_means_where_to_look_and_what_to_do(alert):
    page = (ROOT / alert["annotations"]["runbook_url"]).read_text("utf-8")
    assert page.startswith(f"# {alert['alert']}\n")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == ["What it means", "Look here", "Do this"]
    assert alert["labels"]["severity"] in {"page", "ticket"}


def test_every_runbook_is_of_an_alert():
    assert {path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md")} == set(NAMES)
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_an_alert_asks_documented_metrics_only(alert):
    documented = set(re.findall(r"^\| `(bode_\w+)`", (ROOT / "docs" / "metrics.md").read_text("utf-8"), re.MULTILINE))
    asked = set(re.findall(r"\bbode_\w+", alert["expr"]))
    assert asked
    assert asked <= documented


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not():
    found = [
        (case["alertname"], bool(case["exp_alerts"]))
        for test in yaml.safe_load(TESTS.read_text("utf-8"))["tests"]
        for case in test["alert_rule_test"]
    ]
    assert sorted(found) == sorted((name, fires) for name in NAMES for fires in (False, True))


@pytest.mark.slow
@pytest.mark.parametrize("how", [("check", RULES), ("test", TESTS)], ids=["check", "test"])
def test_promtool_agrees(how):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here: install Debian's prometheus package")
    done = subprocess.run([promtool, how[0], "rules", str(how[1])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
