"""The catalogue of log events (docs/logs.md), read from the source: `python -m bode_ops.log_catalogue`."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_LEVELS = frozenset({"debug", "info", "warning", "error", "critical"})
_LOGGERS = frozenset({"log", "_log"})
_HEAD = """# Log events

Made from the source by `python -m bode_ops.log_catalogue`; a test compares them. Bode writes one JSON line per event to
standard error: `event` is a name below, beside `level`, `timestamp` (UTC) and the fields named. Names are constant;
fields are ids, codes and counts, never what is personal. `lane.chunk` is the one line per chunk of work.
`delivery.ended` is the one line per message: how it ended, how long that took (seconds by Bode's clock, from its
acceptance) and with how many attempts. Adapters of print services log what they meet in reports under names that the
reader of the report passes on, as `print_report_unreadable` and `print_status_unrecognised`.

| Event | Level | Fields | In |
|---|---|---|---|
"""


@dataclass(slots=True)
class LogEvent:
    """An event name, with the levels and fields it is logged with, and the modules that log it."""

    name: str
    levels: set[str] = field(default_factory=set[str])
    fields: set[str] = field(default_factory=set[str])
    modules: set[str] = field(default_factory=set[str])


def calls(root: Path) -> Iterator[tuple[Path, ast.Call, str]]:
    """Give every call of a logger under a folder of sources, with its file and level."""
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=logger), attr=level)) if (
                    logger in _LOGGERS and level in _LEVELS
                ):
                    yield path, node, level
                case _:
                    pass


def events(roots: list[Path]) -> list[LogEvent]:
    """Give all events that are logged under these folders by a constant name, sorted by name."""
    found: dict[str, LogEvent] = {}
    for root in roots:
        for path, call, level in calls(root):
            match call.args:
                case [ast.Constant(value=str(name))]:
                    event = found.setdefault(name, LogEvent(name))
                    event.levels.add(level)
                    event.fields |= {keyword.arg for keyword in call.keywords if keyword.arg is not None}
                    event.modules.add(".".join(path.relative_to(root.parent).with_suffix("").parts))
                case _:
                    pass
    return [found[name] for name in sorted(found)]


def page(sources: Path) -> str:
    """Give the text of docs/logs.md of a checkout."""
    roots = [sources / "worker" / "bode", sources / "adapters" / "bode_adapters", sources / "ops" / "bode_ops"]
    rows = (
        f"| `{event.name}` | {', '.join(sorted(event.levels))} "
        f"| {', '.join(f'`{name}`' for name in sorted(event.fields)) or '-'} | {', '.join(sorted(event.modules))} |\n"
        for event in events(roots)
    )
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(page(Path(__file__).parents[2]))
