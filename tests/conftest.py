"""For all tests: which row of the law each one keeps, told at the end; a row without a test is a failure."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

ROWS = ("L1", "L2", "L3", "L4", "L5", "L6", "L7", "L8", "L9", "L10", "L11", "L12", "L13", "L14", "L15")
"""The rows of docs/law.md."""

_kept: Counter[str] = Counter()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count the tests that keep each row, before any are left out."""
    _kept.clear()
    _kept.update(row for item in items for mark in item.iter_markers("law") for row in mark.args)


def _whole_suite(config: pytest.Config) -> bool:
    partly = config.getoption("keyword") or config.getoption("lf")
    return config.args == config.getini("testpaths") and not partly


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker process counted: each collects the whole suite."""
    _kept.update(Counter(node.workeroutput.get("law", {})) - _kept)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail when a row of the law has no test in the whole suite."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["law"] = dict(_kept)
        return
    if _whole_suite(session.config) and exitstatus == 0 and any(not _kept[row] for row in ROWS):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the number of tests per row, and what was skipped."""
    if not _whole_suite(config):
        return
    terminalreporter.write_line("law rows: " + ", ".join(f"{row} {_kept[row]}" for row in ROWS))
    missing = [row for row in ROWS if not _kept[row]]
    if missing:
        terminalreporter.write_line(f"law rows WITHOUT a test: {', '.join(missing)}", red=True)
    skipped = len(terminalreporter.stats.get("skipped", []))
    terminalreporter.write_line(f"skipped: {skipped or 'nothing'}")
