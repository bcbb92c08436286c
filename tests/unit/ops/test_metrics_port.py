"""Metrics of a process without an API: its own counters on a port of its own, and nothing of the database's."""

from __future__ import annotations

import socket

import httpx
import pytest

from bode.settings import MetricsSettings, Settings
from bode_ops.run import Role, _own_metrics


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_worker_shows_its_own_counters_and_no_gauge_of_the_database():
    port = free_port()
    with _own_metrics(Settings(metrics=MetricsSettings(port=port)), Role.WORKER):
        scrape = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    assert "# TYPE bode_step_outcomes_total counter" in scrape
    assert "bode_oldest_unnoticed_age_seconds" not in scrape
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/metrics")


@pytest.mark.parametrize("role", [Role.API, Role.ALL])
def test_a_process_with_the_api_opens_no_second_port(role):
    port = free_port()
    with (
        _own_metrics(Settings(metrics=MetricsSettings(port=port)), role),
        pytest.raises(httpx.ConnectError),
    ):
        httpx.get(f"http://127.0.0.1:{port}/metrics")
