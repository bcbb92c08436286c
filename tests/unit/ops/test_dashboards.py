"""Dashboards: what Grafana loads by itself, and every query of it asks metrics and labels that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
GRAFANA = ROOT / "ops" / "grafana"
DASHBOARDS = {
    path.stem: json.loads(path.read_text("utf-8")) for path in sorted((GRAFANA / "dashboards").glob("*.json"))
}
METRICS = {
    name: set(re.findall(r"`(\w+)`", kind))
    for name, kind in re.findall(
        r"^\| `(bode_\w+)` \| (.*?) \|", (ROOT / "docs" / "metrics.md").read_text("utf-8"), re.MULTILINE
    )
}
PANELS = [(name, panel) for name, found in DASHBOARDS.items() for panel in found["panels"]]
FROM_PROMETHEUS = {"le", "instance", "job", "alertname", "alertstate"}


def test_there_are_the_four_that_were_promised():
    assert set(DASHBOARDS) == {"overview", "lanes", "deadlines", "evidence"}
    assert len({found["uid"] for found in DASHBOARDS.values()}) == 4


@pytest.mark.parametrize(("name", "panel"), PANELS, ids=[f"{name} {panel['title']}" for name, panel in PANELS])
def test_a_panel_asks_documented_metrics_by_labels_that_they_have(name, panel):
    assert panel["datasource"]["uid"] == "bode-prometheus"
    for target in panel["targets"]:
        query = target["expr"]
        asked = {re.sub(r"_bucket$", "", metric) for metric in re.findall(r"\bbode_\w+", query)}
        assert asked <= METRICS.keys()
        assert asked or "ALERTS{" in query
        known = set().union(*(METRICS[metric] for metric in asked), FROM_PROMETHEUS)
        named = [word for group in re.findall(r"\bby \(([^)]*)\)", query) for word in re.split(r",\s*", group)]
        named += re.findall(r"(\w+)(?:=~|!=|=)\"", query) + re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
        assert set(named) <= known


def test_panels_do_not_lie_over_each_other():
    for found in DASHBOARDS.values():
        cells = [
            (x, y)
            for grid in (panel["gridPos"] for panel in found["panels"])
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24


def test_grafana_finds_them_and_prometheus_where_compose_puts_them():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]["grafana"]
    inside = {volume.split(":")[1]: volume.split(":")[0] for volume in compose["volumes"]}
    provider = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "bode.yml").read_text("utf-8"))["providers"][0]
    assert (ROOT / inside[provider["options"]["path"]]).resolve() == GRAFANA / "dashboards"
    home = Path(compose["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (GRAFANA / "dashboards" / home.name).is_file()
    sources = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text("utf-8"))
    assert sources["datasources"][0]["uid"] == "bode-prometheus"
