"""Log events: constant names with keyword fields, all in the catalogue."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from bode_ops import log_catalogue

ROOT = Path(__file__).parents[3]
SOURCES = [ROOT / "worker" / "bode", ROOT / "adapters" / "bode_adapters", ROOT / "ops" / "bode_ops"]
PASSED_ON = {"report_files.py", "adapter.py"}
"""Two readers of reports log once under a name that their caller gives."""


def test_the_catalogue_is_that_of_the_source():
    assert (ROOT / "docs" / "logs.md").read_text("utf-8") == log_catalogue.page(ROOT)


def test_a_new_event_would_change_the_catalogue(tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "one.py").write_text('log.error("part.broke", lane=lane)\nother.error("no", x=1)\n')
    (event,) = log_catalogue.events([tmp_path / "part"])
    assert (event.name, event.levels, event.fields, event.modules) == ("part.broke", {"error"}, {"lane"}, {"part.one"})


def test_names_are_constants_and_what_is_logged_beside_them_has_a_name():
    for root in SOURCES:
        for path, call, _ in log_catalogue.calls(root):
            (name,) = call.args
            if isinstance(name, ast.Name):
                assert path.name in PASSED_ON, f"{path}:{call.lineno}"
                continue
            assert isinstance(name, ast.Constant), f"{path}:{call.lineno}"
            assert re.fullmatch(r"[a-z]+([._][a-z]+)+", name.value), f"{path}:{call.lineno}: {name.value}"
