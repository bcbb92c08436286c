"""A real Prometheus scrapes Bode for ten minutes of accelerated time through an outage: alerts fire in order, and end.

Bode's clock runs 360 times as fast as life: ten minutes are two and a half days, and the 48 hours of a notice eight
minutes. How long an alert waits to be sure is shortened 60 times. What the alerts ask of Bode's own time (ages, hours
left) stays as it is. No Grafana is to be had here: what its panels ask is asked of Prometheus, as Grafana does.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
import time
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
"""Metrics without a series in this outage, and why: what asks for them is only asked whether it is understood."""
IN_ORDER = ["BodeLaneStopped", "BodeNoticeAgeHigh", "BodeNoticesCloseToDeadline"]
SECONDS = 600


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
                response = await client.get(f"{self.url}/api/v1/query", params={"query": query})
            except httpx.TransportError:
                return []  # it starts
        if response.status_code == 503:
            return []  # it starts
        answer = response.json()
        assert answer["status"] == "success", (query, answer)
        return answer["data"]["result"]


class Watch:
    """What was seen from the first look on: which alerts, when; and what the dashboards ask that gave no data yet."""

    def __init__(self, prometheus: Prometheus) -> None:
        self.prometheus = prometheus
        self.began = time.monotonic()
        self.fired: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        asked = {query for dashboard in DASHBOARDS for query in queries(dashboard)}
        self.quiet = {query for query in asked if any(metric in query for metric in QUIET)}
        self.unanswered = asked - self.quiet

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    async def look(self) -> set[str]:
        firing = await self.prometheus.firing()
        for name in sorted(firing - set(self.fired)):
            self.fired[name] = self.seconds
        for name in set(self.fired) - firing - set(self.ended):
            self.ended[name] = self.seconds
        for query in sorted(self.unanswered):
            if await self.prometheus.ask(query):
                self.unanswered.remove(query)
        return firing

    async def fires(self, name: str) -> bool:
        return name in await self.look()

    async def is_quiet(self) -> bool:
        return not await self.look()

    def __str__(self) -> str:
        lines = [f"{self.fired[name]:5.0f} s to {self.ended.get(name, 0):5.0f} s {name}" for name in self.fired]
        return "\n".join(["", *lines, f"{self.seconds:.0f} s in all"])


@pytest.fixture
async def bode(tmp_path):
    url = f"sqlite:///{tmp_path}/bode.db"
    async with installed(tmp_path, url, factor=360) as made:
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


async def test_an_outage_of_the_relay_is_told_in_order_and_ends(bode, prometheus, body, capsys):
    await bode.until(lambda: prometheus.ask("up == 1"))
    watch = Watch(prometheus)
    await bode.hand_in(body() for _ in range(3))
    await bode.hand_in([body(channels=(), email=None), body(email="unknown.piet@post.example.nl")])
    await bode.until(lambda: prometheus.ask('bode_step_outcomes_total{outcome="NoticeSent"} >= 3'))
    await bode.until(lambda: prometheus.ask("bode_bounces_total >= 1"))

    # The relay is away; one lane is stopped for a while, too, and somebody hands in nonsense.
    await bode.relay_ends()
    await bode.hand_in(body() for _ in range(5))
    with pytest.raises(AssertionError):
        await bode.hand_in([body(aard="sprookje")])
    await bode.stop_lanes("print")
    await bode.until(lambda: watch.fires("BodeLaneStopped"))
    await bode.start_lanes("print")
    await bode.until(lambda: watch.fires("BodeNoticeAgeHigh"), 300)
    await bode.until(lambda: watch.fires("BodeNoticesCloseToDeadline"), 300)

    # The relay is back: the notices go out within their 48 hours, and it is quiet, and stays so.
    await bode.relay_begins()
    await bode.until(lambda: prometheus.ask('bode_step_outcomes_total{outcome="NoticeSent"} >= 8'))
    await bode.until(watch.is_quiet)
    while watch.seconds < SECONDS:
        assert await watch.is_quiet(), watch
        await asyncio.sleep(1)
    with capsys.disabled():
        print(watch)  # noqa: T201 - which alerts, when, and how long it took
    assert list(watch.fired) == IN_ORDER, watch
    assert watch.ended["BodeLaneStopped"] < watch.fired["BodeNoticeAgeHigh"]

    # What every panel asks was data while things went wrong; the exceptions are named, with why, and are understood.
    assert not watch.unanswered
    for query in watch.quiet:
        await prometheus.ask(query)
