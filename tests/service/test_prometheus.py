"""A real Prometheus scrapes Bode in accelerated time through an outage: alerts fire in order, and end; dashboards show.

Bode's clock runs 720 times as fast as life, and how long an alert waits to be sure is shortened 60 times: the 48 hours
of a notice are over in four minutes. What the alerts ask of Bode's own time (ages, hours left) stays as it is.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml
from installation import installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "ops" / "grafana" / "dashboards").glob("*.json"))
QUIET = {
    "bode_certificate_days_left": "no client certificate is configured",
    "bode_evidence_attestations_total": "no time stamping authority or witness is configured",
    "bode_unrecognised_answers_total": "no mock says a word that no table knows",
    "bode_lost_leases_total": "no worker loses a lease",
    "bode_rings_failed_total": "the broker is inside the process",
}
"""Metrics without a series in this outage, and why."""


def queries(dashboard: Path) -> list[str]:
    panels = json.loads(dashboard.read_text("utf-8"))["panels"]
    return [target["expr"].replace("$lane", ".*") for panel in panels for target in panel["targets"]]


class Prometheus:
    """A Prometheus of our own, with Bode's rules, whose waits are a sixtieth."""

    def __init__(self, program: str, folder: Path, target: str, bode) -> None:
        self.bode = bode
        rules = (ROOT / "ops" / "prometheus" / "rules" / "bode.yml").read_text("utf-8")
        rules = re.sub(r"(?<=for: )(\d+)m", r"\1s", rules)
        rules = re.sub(r"(?<=for: )(\d+)h", r"\1m", rules)
        (folder / "rules.yml").write_text(rules)
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = found.getsockname()[1]
        (folder / "prometheus.yml").write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": ["rules.yml"],
                    "scrape_configs": [{"job_name": "bode", "static_configs": [{"targets": [target]}]}],
                }
            )
        )
        options = {"config.file": folder / "prometheus.yml", "storage.tsdb.path": folder / "prometheus"}
        options |= {"web.listen-address": f"127.0.0.1:{port}"}
        self.url = f"http://127.0.0.1:{port}"
        with (folder / "prometheus.log").open("wb") as log:
            self.process = subprocess.Popen(
                [program, *(f"--{name}={value}" for name, value in options.items())], stdout=log, stderr=log
            )

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    async def firing(self) -> set[str]:
        answer = await self.bode.get(f"{self.url}/api/v1/alerts")
        alerts = answer.json()["data"]["alerts"] if answer else []
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    async def ask(self, query: str):
        async with httpx.AsyncClient(timeout=30) as client:
            try:
                answer = (await client.get(f"{self.url}/api/v1/query", params={"query": query})).json()
            except httpx.TransportError:
                return []  # it starts
        assert answer["status"] == "success", (query, answer)
        return answer["data"]["result"]


@pytest.fixture
async def bode(tmp_path):
    url = f"sqlite:///{tmp_path}/bode.db"
    async with installed(tmp_path, url, factor=720) as made:
        await made.make_ready()
        await made.start()
        yield made


@pytest.fixture
def prometheus(bode, tmp_path):
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not here: install Debian's prometheus package")
    made = Prometheus(program, tmp_path, bode.url.removeprefix("http://"), bode)
    yield made
    made.stop()


async def test_an_outage_of_the_relay_is_told_in_order_and_ends(bode, prometheus, body):
    seen: list[str] = []

    async def watch(wanted: set[str]) -> bool:
        firing = await prometheus.firing()
        seen.extend(sorted(firing - set(seen)))
        return wanted <= firing

    await bode.until(lambda: prometheus.ask("up == 1"))
    await bode.hand_in(body() for _ in range(3))
    await bode.hand_in([body(channels=(), email=None), body(email="unknown.piet@post.example.nl")])
    await bode.until(lambda: prometheus.ask('bode_step_outcomes_total{outcome="NoticeSent"} >= 3'))
    await bode.until(lambda: prometheus.ask("bode_bounces_total >= 1"))
    await bode.relay_ends()
    await bode.hand_in(body() for _ in range(5))
    with pytest.raises(AssertionError):
        await bode.hand_in([body(aard="sprookje")])
    await bode.stop_lanes("print")
    await bode.until(lambda: watch({"BodeLaneStopped"}), 120)
    await bode.start_lanes("print")
    await bode.until(lambda: watch({"BodeNoticeAgeHigh"}), 240)
    assert "BodeLaneStopped" not in await prometheus.firing()
    await bode.until(lambda: watch({"BodeNoticesCloseToDeadline"}), 240)

    # What every panel asks is data while things go wrong; the exceptions are named, with why.
    asked = {query for dashboard in DASHBOARDS for query in queries(dashboard)}
    for query in asked:
        if not any(metric in query for metric in QUIET):
            # A gauge of steps has no series in the moment in which a worker has them all: a look or two later it has.
            await bode.until(lambda query=query: prometheus.ask(query), 10)

    # The relay is back: the notices go out within their 48 hours, and it is quiet again.
    await bode.relay_begins()
    await bode.until(lambda: prometheus.ask('bode_step_outcomes_total{outcome="NoticeSent"} >= 8'))

    async def quiet() -> bool:
        return not await prometheus.firing()

    await bode.until(quiet, 120)
    order = [name for name in seen if name in {"BodeLaneStopped", "BodeNoticeAgeHigh", "BodeNoticesCloseToDeadline"}]
    assert order == ["BodeLaneStopped", "BodeNoticeAgeHigh", "BodeNoticesCloseToDeadline"]
    assert "BodeHeartbeatLost" not in seen
