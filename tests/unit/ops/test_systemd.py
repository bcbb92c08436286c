"""systemd units: one per role, that stop Bode as it wants to be stopped, and that systemd itself finds in order."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bode.settings import EngineSettings
from bode_ops.run import Role

UNITS = sorted((Path(__file__).parents[3] / "ops" / "systemd").glob("*.service"))


def test_there_is_a_unit_for_every_role_that_stands_alone():
    assert {unit.stem for unit in UNITS} == {f"bode-{role}" for role in Role if role is not Role.ALL}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_runs_its_role_and_gives_it_time_to_end_its_calls(unit):
    values = dict(re.findall(r"^(\w+)=(.*)$", unit.read_text("utf-8"), re.MULTILINE))
    assert values["ExecStart"].endswith(f"/bode run {unit.stem.removeprefix('bode-')}")
    assert values["KillMode"] == "mixed"
    assert int(values["TimeoutStopSec"]) > EngineSettings().grace_seconds
    assert values["User"] == "bode"
    assert (values["NoNewPrivileges"], values["ProtectSystem"]) == ("yes", "strict")


def test_no_two_units_show_metrics_on_one_port():
    ports = [found for unit in UNITS for found in re.findall(r"METRICS__PORT=(\d+)", unit.read_text("utf-8"))]
    assert len(set(ports)) == len(ports) == len(UNITS) - 1


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_a_unit_in_order(unit, tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here: install Debian's systemd package")
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text("utf-8"), flags=re.MULTILINE)
    (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(tmp_path / unit.name)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
