"""Real processes, servers and sockets, and something that goes wrong: `make torture` with fixed seeds."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]


def torture(*words):
    """Make runs in processes of their own; gives the row of all of them, by the heads of the columns."""
    made = subprocess.run(
        [sys.executable, "-m", "tests.torture", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
    print(made.stdout)  # noqa: T201 - `pytest -s` shows the table
    lines = [line for line in made.stdout.splitlines() if line.startswith("|")]
    head, last = ([cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], lines[-1]))
    return dict(zip(head, last, strict=True))


def test_in_three_hundred_runs_everything_goes_wrong_and_nothing_is_lost_or_done_twice():
    """Every fault six times or more; the harness fails by itself for a promise that is broken."""
    row = torture("--runs", "300", "--seed", "1")
    assert (row["runs"], row["lost"], row["placed twice"], row["letters twice"]) == ("300", "0", "0", "0")


def test_after_kill_9_everything_is_taken_over_within_15_seconds():
    """With the heartbeat that is in force when nobody sets it; in the other runs it is quicker."""
    row = torture("--only", "after_claim: kill", "--runs", "2", "--heartbeat", "4", "--hold", "120")
    assert int(row["deaths"]) >= 1
    assert 0 < float(row["takeover, s"]) < 15


def test_a_worker_that_was_stopped_past_its_lease_records_nothing_and_nothing_is_done_twice():
    row = torture("--only", "SIGSTOP", "--runs", "2")
    assert (row["lost"], row["placed twice"], row["letters twice"]) == ("0", "0", "0")
    assert float(row["takeover, s"]) > 0


def test_a_broker_that_is_wiped_or_down_loses_nothing():
    row = torture("--only", "redis", "--runs", "2")
    assert row["lost"] == "0"
