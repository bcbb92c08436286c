"""What was measured, as a table, JSON, and the page for operators: `python -m tests.benchmarks.report` writes that."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE, CHART = ROOT / "docs" / "performance.md", ROOT / "docs" / "performance.svg"
JSON = ROOT / "var" / "bench.json"
_PARTS = {
    "goals": "rows",
    "cpu": "rows",
    "sizing": "sizing",
    "morning": "morning",
    "log": "large_log",
    "console": "console",
    "machine": "machine",
}

Cpu = dict[str, float]
"""Microseconds of CPU an item, by process."""


@dataclass
class Row:
    """One goal: a number of ours, over a yardstick's of the same run where there is one; one of each per run."""

    goal: str
    what: str
    unit: str
    must: float
    stretch: float
    lower: bool = False
    """Whether less is better."""
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    cpu: dict[str, Cpu] = field(default_factory=dict)
    """Who used how much CPU, by what was measured."""
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        """Give what is held against the goal, a number per run, the smallest first."""
        if not self.theirs:
            return sorted(self.ours)
        return sorted(ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True))

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def verdict(self) -> str:
        """Tell which of the two goals the median makes."""

        def makes(goal: float) -> bool:
            return self.ratio <= goal if self.lower else self.ratio >= goal

        return "stretch" if makes(self.stretch) else "must" if makes(self.must) else "missed"


def read(path: Path) -> dict[str, Any]:
    """Give the document of earlier runs; an empty one where there is none."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {"rows": []}


def merged(document: Mapping[str, Any], rows: Sequence[Row], parts: Mapping[str, Any]) -> dict[str, Any]:
    """Give the document with these rows in the place of earlier ones of the same goal; None keeps what was there."""
    kept = {row["goal"]: row for row in document["rows"]} | {row.goal: asdict(row) for row in rows}
    ordered = sorted(kept.values(), key=lambda row: (int(row["goal"].rstrip("ab") or 99), row["goal"]))
    return {**document, **{name: part for name, part in parts.items() if part is not None}, "rows": ordered}


def rows_of(document: Mapping[str, Any]) -> list[Row]:
    return [Row(**row) for row in document["rows"]]


def sizing(document: Mapping[str, Any]) -> dict[str, str]:
    """Give what an operator needs, from what a message took: cores, disk, memory."""
    by_name = {name: cpu for row in rows_of(document) for name, cpu in row.cpu.items()}
    ours = ("worker", "sweeper", "api", "bode")
    lines: dict[str, str] = {}
    for name, what in (
        ("Bode, whole path", "placed, noticed and in the log"),
        ("Bode, notices", "notices alone"),
        ("Bode, in bulk", "intake in bulk"),
        ("Bode, one request", "intake, one request each"),
        ("Bode, whole path, SQLite", "placed, noticed and in the log, one process on SQLite"),
    ):
        if (cpu := by_name.get(name)) is not None:
            bode, base = sum(cpu.get(process, 0) for process in ours), cpu.get("postgresql", 0)
            share = f"; of it PostgreSQL {base / (bode + base):.0%}" if base else ""
            lines[f"messages an hour per core, {what}"] = f"{number(3600e6 / (bode + base))}{share}"
    if taken := document.get("taken"):
        lines["database, a million messages without documents"] = f"{taken['bytes'] * 1e6 / 2**30:.1f} GiB"
        lines["events in the log, a message"] = f"{taken['events']:.1f}"
        lines["memory of Redis, at its most"] = f"{taken['redis'] / 2**20:.1f} MiB, however many messages wait"
    return lines


# ---- on the terminal -------------------------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> str:
    """Give the table for a terminal."""
    lines = [("", "goal", "ours", "theirs", "ratio", "spread", "must", "stretch", "")]
    lines += [(row.goal, row.what, *_cells(row), row.verdict) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    left = {1, 8}
    drawn = [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    notes = [f"{row.goal}: {row.note}" for row in rows if row.note]
    return "\n".join([*drawn, *notes]) + "\n"


def _cells(row: Row) -> tuple[str, str, str, str, str, str]:
    sign = "<=" if row.lower else ">="
    theirs = f"{number(statistics.median(row.theirs))} {row.unit}" if row.theirs else "-"
    return (
        f"{number(statistics.median(row.ours))} {row.unit}",
        theirs,
        number(row.ratio),
        f"{number(row.ratios[0])} - {number(row.ratios[-1])}",
        f"{sign} {number(row.must)}",
        f"{sign} {number(row.stretch)}",
    )


def number(value: float) -> str:
    """Write a number with three figures, and thousands apart."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


# ---- the page --------------------------------------------------------------------------------------------------------


def page(text: str, document: Mapping[str, Any]) -> str:
    """Put what was measured between the marks of the page; what people wrote, and what was not measured, stays."""
    made = {
        "goals": _goals(rows_of(document)),
        "cpu": _cpu(rows_of(document)),
        "sizing": _two_columns("what", "measured", document.get("sizing", {})),
        "morning": _two_columns("what", "measured", document.get("morning", {})),
        "log": _two_columns("what", "took", document.get("large_log", {})),
        "console": _two_columns("page", "median, and 95th percentile", document.get("console", {})),
        "machine": _two_columns("what", "value", document.get("machine", {})),
    }
    for name, key in _PARTS.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"{PAGE.name} has no place for {name}: {begin.strip()} ... {end}")
        if key in document:
            text = f"{before}{begin}{made[name]}{end}{after}"
    return text


def _goals(rows: Sequence[Row]) -> str:
    lines = [
        "| # | goal | ours | yardstick | ratio | spread | must | stretch | made |",
        "|---|---|--:|--:|--:|---|--:|--:|---|",
    ]
    for row in rows:
        ours, theirs, ratio, spread, must, stretch = _cells(row)
        made = "**missed**" if row.verdict == "missed" else row.verdict
        lines.append(
            f"| {row.goal} | {row.what} | {ours} | {theirs} | **{ratio}** | {spread} | {must} | {stretch} | {made} |"
        )
    notes = [f"- {row.goal}: {row.note}" for row in rows if row.note]
    return "\n".join([*lines, "", *notes] if notes else lines) + "\n"


def _cpu(rows: Sequence[Row]) -> str:
    """Give who used how much CPU, microseconds an item."""
    measured = [(row.goal, name, cpu) for row in rows for name, cpu in row.cpu.items()]
    names = list(dict.fromkeys(process for _, _, cpu in measured for process in cpu))
    lines = ["| # | measured | " + " | ".join(names) + " | all |", "|---|---|" + "--:|" * (len(names) + 1)]
    for goal, name, cpu in measured:
        cells = [number(cpu[process]) if process in cpu else "-" for process in names]
        lines.append(f"| {goal} | {name} | {' | '.join(cells)} | **{number(sum(cpu.values()))}** |")
    return "\n".join(lines) + "\n"


def _two_columns(left: str, right: str, values: Mapping[str, Any]) -> str:
    lines = [f"| {left} | {right} |", "|---|---|"]
    lines += [f"| {name} | {number(value) if isinstance(value, float) else value} |" for name, value in values.items()]
    return "\n".join(lines) + "\n"


# ---- the chart -------------------------------------------------------------------------------------------------------

_LINE, _LEFT, _WIDE, _RIGHT = 30, 330, 380, 110
_COLOURS = {"stretch": "#1a7f4b", "must": "#2f6fb3", "missed": "#b3402f"}


def chart(rows: Sequence[Row]) -> str:
    """Draw how each goal was made: a bar to the median, as a share of "must"; where less is better, upside down.

    The scale is a square root, so that one goal that is made ten times leaves the others to be seen.
    """
    shown = [(row, _share(row, row.ratio), sorted(_share(row, ratio) for ratio in row.ratios)) for row in rows]
    most = max([2.0, *(spread[-1] for _, _, spread in shown)])

    def place(share: float) -> float:
        return _LEFT + _WIDE * (share / most) ** 0.5

    wide, high = _LEFT + _WIDE + _RIGHT, _LINE * len(shown) + 50
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="12">',
        "<title>How each goal was made, as a share of what it must be</title>",
        f'<rect width="{wide}" height="{high}" fill="#ffffff"/>',
    ]
    for at, (row, share, spread) in enumerate(shown):
        top, name = 10 + at * _LINE, escape(f"{row.goal}  {_short(row.what)}")
        middle = top + _LINE / 2
        drawn += [
            f'<text x="{_LEFT - 8}" y="{middle + 4:.0f}" text-anchor="end">{name}</text>',
            f'<path d="M{_LEFT} {top + 6}H{place(share):.1f}v{_LINE - 12}H{_LEFT}z" fill="{_COLOURS[row.verdict]}"/>',
            f'<path d="M{place(spread[0]):.1f} {middle:.1f}H{place(spread[-1]):.1f}" stroke="#222222"/>',
            f'<text x="{max(place(share), place(spread[-1])) + 6:.1f}" y="{middle + 4:.0f}">{number(row.ratio)}</text>',
        ]
    must = place(1)
    drawn += [
        f'<path d="M{must:.1f} 6V{high - 34}" stroke="#222222" stroke-dasharray="4 3"/>',
        f'<text x="{must:.1f}" y="{high - 18}" text-anchor="middle">must</text>',
        "</svg>",
    ]
    return "\n".join(drawn) + "\n"


def _share(row: Row, ratio: float) -> float:
    """Give a ratio as a share of what it must be; 1 is just enough, more is better."""
    if not row.lower:
        return ratio / row.must
    # Nothing at all is as good as can be: drawn as twice enough, not as without end.
    return row.must / ratio if ratio and row.must else (0.5 if ratio else 2.0)


def _short(text: str) -> str:
    return text if len(text) <= 48 else f"{text[:47]}…"


def main() -> None:
    document = read(Path(sys.argv[1]) if len(sys.argv) > 1 else JSON)
    PAGE.write_text(page(PAGE.read_text("utf-8"), document), "utf-8")
    CHART.write_text(chart(rows_of(document)), "utf-8")


if __name__ == "__main__":
    main()
