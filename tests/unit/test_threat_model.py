"""The threat model: every threat has a measure, and every test that is named for one exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
LOGS = (ROOT / "docs" / "logs.md").read_text("utf-8")


def rows(title):
    """Give the cells of the table under a heading."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_every_threat_has_a_test_that_exists_or_says_that_it_is_open():
    threats = rows("Threats")
    assert len(threats) > 25
    for part, threat, measure, named in threats:
        assert re.match(r"[STRIDE](, [STRIDE])*: ", threat), threat
        if named == "-":
            assert measure.startswith("*open*"), (part, threat)
            continue
        path, _, name = named.strip("`").partition("::")
        file = ROOT / path
        assert file.is_file(), named
        functions = {
            node.name
            for node in ast.walk(ast.parse(file.read_text("utf-8")))
            if hasattr(node, "args") and hasattr(node, "name")
        }
        assert not name or name in functions, named


def test_every_letter_of_stride_and_every_part_of_the_picture_is_looked_at():
    threats = rows("Threats")
    letters = {letter for _, threat, _, _ in threats for letter in threat.partition(":")[0].split(", ")}
    assert letters == set("STRIDE")
    assert {"intake", "database", "queue", "worker", "outside", "inbound", "people"} <= {row[0] for row in threats}


def test_every_log_event_that_is_named_for_security_is_written():
    for _, where in rows("Security events (BIO2)"):
        for name in re.findall(r"`([a-z]+\.[a-z_]+)`", where):
            known = f"| `{name}` |" in LOGS
            assert known or name in {
                "content.purged",
                "person.purged",
                "detail.shredded",
                "copy.issued",
                "staff.action",
            }, name
