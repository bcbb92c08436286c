"""The chart for Kubernetes, as far as it can be held without Helm: its values name what Bode has, and no rights."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import yaml

from bode import settings
from bode_ops.cli import app
from bode_ops.run import Role

CHART = Path(__file__).parents[3] / "ops" / "helm" / "bode"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
TEMPLATES = {path.name: path.read_text("utf-8") for path in sorted((CHART / "templates").iterdir())}
ALL = "\n".join(TEMPLATES.values())


def test_it_is_of_this_version_and_has_every_role_that_stands_alone():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["appVersion"] == version("bode")
    assert set(VALUES["roles"]) == {str(role) for role in Role if role is not Role.ALL}
    assert VALUES["terminationGracePeriodSeconds"] > settings.EngineSettings().grace_seconds
    assert VALUES["inboundPort"] == settings.BounceSettings().port


def test_every_value_that_a_template_asks_is_there():
    for asked in re.findall(r"\.Values\.([\w.]+)", ALL):
        found = VALUES
        for key in asked.split("."):
            assert key in found, asked
            found = found[key]


def test_every_value_is_asked_and_every_part_of_a_template_is_there():
    asked = {name.split(".")[0] for name in re.findall(r"\.Values\.([\w.]+)", ALL)}
    assert set(VALUES) == asked
    assert set(re.findall(r'include "([\w.]+)"', ALL)) == set(re.findall(r'define "([\w.]+)"', ALL))


def test_what_it_runs_are_commands():
    assert 'args: ["run", "{{ $role }}"]' in TEMPLATES["roles.yaml"]
    assert 'args: ["db", "upgrade"]' in TEMPLATES["migrate.yaml"]
    for words in (["db", "upgrade"], *(["run", role] for role in VALUES["roles"])):
        assert app.parse_args(words, exit_on_error=False, print_error=False)


def test_its_pods_are_nobody_without_rights_in_the_cluster():
    assert not re.search(r"kind: (Cluster)?Role(Binding)?\b|kind: ServiceAccount\b", ALL)
    pod = TEMPLATES["_helpers.tpl"]
    for line in ("automountServiceAccountToken: false", "runAsNonRoot: true", "readOnlyRootFilesystem: true"):
        assert line in pod
    specs = len(re.findall(r"^ +containers:", ALL, re.MULTILINE))
    assert specs == ALL.count('include "bode.pod"') == 2
    assert {"PodDisruptionBudget", "ServiceMonitor", "Deployment", "Service", "Job", "ConfigMap"} == set(
        re.findall(r"^kind: (\w+)", ALL, re.MULTILINE)
    )
    assert ALL.count("Probe:") >= 5
