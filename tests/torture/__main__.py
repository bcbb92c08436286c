"""`make torture`: real processes, servers and sockets; one thing goes wrong in each run; what came of it, as a table.

    make torture ARGS="--runs 300 --seed 1"
    make torture ARGS="--only 'redis: FLUSHALL' --runs 5"

Two places of their own (a PostgreSQL, a Redis, runs one after another) work side by side; ten runs share a database,
whose evidence is audited at their end. Exits with 1 when a promise was broken; the logs are kept then, and named.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.torture.faults import FAULTS, Fault
from tests.torture.ground import Ground
from tests.torture.run import HEARTBEAT, HOLD, Play, Result, Stage

MESSAGES = 20
RUNS_A_STAGE = 10


def planned(runs: int, seed: int, only: str) -> list[tuple[int, Fault]]:
    """Give the runs: each fault in turn, in an order that the seed turns."""
    faults = [fault for fault in FAULTS if only in fault.name]
    return [(seed * 10_000 + number, faults[(number + seed - 1) % len(faults)]) for number in range(runs)]


def work(options: argparse.Namespace) -> None:
    """Make the runs of one place, and print a line of JSON for each, and for each stage what its audit found wrong."""
    folder = Path(tempfile.mkdtemp(prefix="bode-torture-"))
    mine = planned(options.runs, options.seed, options.only)[options.place :: options.places]
    ground = Ground(folder)
    try:
        for number, first in enumerate(range(0, len(mine), RUNS_A_STAGE)):
            stage, good = Stage(ground, number, heartbeat=options.heartbeat, hold=options.hold), False
            try:
                results = []
                for seed, fault in mine[first : first + RUNS_A_STAGE]:
                    results.append(Play(stage, fault, seed, options.messages).run())
                    _say({"result": asdict(results[-1])})
                audit = stage.audit()
                good = not audit and all(one.is_good for one in results)
                _say({"audit": audit, "folder": "" if good else str(stage.folder)})
            finally:
                stage.close(keep=not good)
    finally:
        ground.remove()


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def table(results: Iterable[Result]) -> str:
    """Give the table: a row per fault, and a last one of all."""
    rows: dict[str, list[Result]] = {}
    for result in results:
        rows.setdefault(result.fault, []).append(result)
    order = {fault.name: number for number, fault in enumerate(FAULTS)}
    lines = [
        (
            "| fault | runs | messages | deaths | lost | placed twice | letters twice | notices twice | found out "
            "| ambiguous (most) | takeover, s |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    found = sorted(rows.items(), key=lambda row: order[row[0]])
    found.append(("all", [one for _, some in found for one in some]))
    for name, some in found:
        figures: list[object] = [
            len(some),
            sum(one.messages for one in some),
            sum(one.deaths for one in some),
            sum(len(one.lost) for one in some),
            sum(len(one.placed_twice) for one in some),
            sum(len(one.letters_twice) for one in some),
            sum(one.notices_twice for one in some),
            sum(one.unknown for one in some),
            f"{sum(one.ambiguous for one in some)} ({sum(one.open_connections for one in some)})",
            f"{max(one.takeover for one in some):.1f}" if any(one.takeover for one in some) else "",
        ]
        lines.append(f"| {name} | " + " | ".join(str(figure) for figure in figures) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--runs", type=int, default=len(FAULTS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--messages", type=int, default=MESSAGES, help="in each run")
    parser.add_argument("--only", default="", help="the faults whose name holds this")
    parser.add_argument("--places", type=int, default=2, help="how many runs at a time")
    parser.add_argument("--heartbeat", type=float, default=HEARTBEAT, help="seconds between two heartbeats")
    parser.add_argument("--hold", type=float, default=HOLD, help="the most seconds that a chunk is in hand")
    parser.add_argument("--place", type=int, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.place is not None:
        work(options)
        return
    began, results, bad = time.monotonic(), [], 0
    places = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.torture", *sys.argv[1:], "--place", str(place)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        for place in range(options.places)
    ]
    audits = 0
    for line in _lines(places):
        told = json.loads(line)
        if "result" in told:
            result = Result(**told["result"])
            results.append(result)
            if not result.is_good:
                bad += 1
                sys.stdout.write(f"BROKEN: {result}\n")
        elif told["folder"]:
            audits += bool(told["audit"])
            sys.stdout.write(f"the processes of that: {told['folder']}; audit: {told['audit'] or 'clean'}\n")
        sys.stdout.flush()
    codes = [place.wait() for place in places]
    sys.stdout.write(table(results) + "\n")
    sys.stdout.write(
        f"{len(results)} runs in {time.monotonic() - began:.0f} s: "
        + (f"{bad} broke a promise, {audits} audits found fault\n" if bad or audits else "every promise kept\n")
    )
    if bad or audits or any(codes) or len(results) != options.runs:
        raise SystemExit(1)


def _lines(places: list[subprocess.Popen[str]]) -> Iterable[str]:
    """Give the lines of all places as they come."""
    with selectors.DefaultSelector() as waiting:
        for place in places:
            assert place.stdout is not None
            waiting.register(place.stdout, selectors.EVENT_READ)
        while waiting.get_map():
            for key, _ in waiting.select():
                line = key.fileobj.readline()  # type: ignore[union-attr]  # each line is written whole
                if line:
                    yield line
                else:
                    waiting.unregister(key.fileobj)


if __name__ == "__main__":
    main()
