"""A hundred thousand rows in one request, one in a hundred bad: all answered, memory flat, a repeat changes nothing."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from api_server import body

ROWS = int(os.environ.get("BULK_ROWS", "100000"))
BASE = body()
SERVE = """
import sys, threading
from pathlib import Path
from api_server import Server
from bode_ops import logs
logs.configure("json")
with Server(Path(sys.argv[1])) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def served(tmp_path) -> Iterator[tuple[str, int]]:
    """Give a server in a process of its own, so that its memory is its own."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", SERVE, str(tmp_path)]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, text=True
        ) as process,
    ):
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.pid
        process.kill()


def memory(pid: int) -> int:
    """Give the memory of a process, in MB."""
    (line,) = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS")]
    return int(line.split()[1]) // 1024


def rows(wrong: set[int], told: list[int], pid: int) -> Iterator[bytes]:
    for number in range(ROWS):
        if number % (ROWS // 20) == 0:
            told.append(memory(pid))
        row = BASE | {"kenmerk": f"BULK-{number:07d}"}
        yield json.dumps(row | {"aard": "vonnis"} if number in wrong else row).encode() + b"\n"


def messages(folder: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(folder / "bode.db")) as connection:
        return tuple(
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("message", "event")
        )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_row_is_answered_in_flat_memory_and_the_whole_file_again_changes_nothing(served, tmp_path):
    url, pid = served
    wrong = set(range(50, ROWS, 100))
    first: list[bytes] = []
    counts: list[tuple[int, int]] = []
    for turn in range(2):
        used: list[int] = []
        start = time.monotonic()
        answers = []
        with (
            httpx.Client(timeout=600, headers={"Authorization": "Bearer samen"}) as client,
            client.stream(
                "POST",
                f"{url}/v1/berichten/bulk",
                content=rows(wrong, used, pid),
                headers={"Content-Type": "application/x-ndjson"},
            ) as answer,
        ):
            assert answer.status_code == 200
            answers.extend(line.encode() for line in answer.iter_lines())
        speed = ROWS / (time.monotonic() - start)
        sys.stderr.write(f"turn {turn}: {speed:.0f} rows a second, MB {[*used, memory(pid)]}\n")
        told = [json.loads(line) for line in answers]
        assert [row["rij"] for row in told] == list(range(1, ROWS + 1))
        assert {row["rij"] - 1 for row in told if row["status"] == 400} == wrong
        assert {row["status"] for row in told} == {202, 400}
        assert max(used[5:]) - used[2] < 60, used
        first = first or answers
        assert answers == first
        counts.append(messages(tmp_path))
    assert counts[0] == counts[1]
    assert counts[0][0] == ROWS - len(wrong)
