"""Log lines: JSON whatever is in them."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from io import StringIO
from uuid import UUID

import pytest
import structlog

from bode_ops.logs import configure


@pytest.fixture
def logged(monkeypatch):
    written, root = StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    before = structlog.get_config()
    monkeypatch.setattr("sys.stderr", written)
    configure("json")
    yield lambda: json.loads(written.getvalue())
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level


def test_a_line_is_json_with_its_level_and_time(logged):
    structlog.get_logger().info("lane.chunk", lane="kennisgeving", outcomes={"NoticeSent": 3}, call_ms=4)
    line = logged()
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo is not None
    assert line == {
        "event": "lane.chunk",
        "level": "info",
        "lane": "kennisgeving",
        "outcomes": {"NoticeSent": 3},
        "call_ms": 4,
    }


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("half \udc80", "half \udc80"),
        ({1, 2}, None),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (datetime(2026, 3, 2, tzinfo=UTC), "2026-03-02T00:00:00Z"),
        (float("nan"), None),
        (object, None),
        (2**80, 2**80),
        ({("a", "b"): 1}, None),
    ],
)
def test_nothing_that_is_logged_stops_the_line(logged, value, read):
    structlog.get_logger().warning("something.odd", value=value, code="x")
    line = logged()
    assert (line["event"], line["code"]) == ("something.odd", "x")
    if read is not None:
        assert line["value"] == read
