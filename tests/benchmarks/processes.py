"""Processes that are measured: started, waited for, and their CPU read from the operating system."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
_ENDED = (15, 16)
"""Where a process keeps the CPU of children that ended, counted from its state (proc(5): cutime, cstime)."""


def cpu_seconds(pid: int) -> float:
    """Give the CPU that a process and all its children used so far, those that ended included; 0 when it is gone."""
    return sum(_ticks(pid)) / _TICKS


def _ticks(pid: int) -> list[int]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text("ascii").split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return [0]
    return [*map(int, fields[11:15]), *(ticks for child in children for ticks in _ticks(child))]


def memory_bytes(pid: int) -> int:
    """Give the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize()


class Meter:
    """Reads the CPU of named processes between `start` and `read`, and the time on the wall."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self.start()

    def start(self) -> None:
        self._before = {name: cpu_seconds(pid) for name, pid in self._pids.items()}
        self._started = time.perf_counter()

    def read(self) -> tuple[float, dict[str, float]]:
        """Give the seconds on the wall, and those of CPU by name."""
        took = time.perf_counter() - self._started
        return took, {name: cpu_seconds(pid) - self._before[name] for name, pid in self._pids.items()}


class Contender:
    """A yardstick in a process of its own: it prints `ready`, waits for a line, works, prints its seconds, waits."""

    def __init__(self, module: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        self._read("ready")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def run(self) -> float:
        """Let it work; gives the seconds it took by its own clock."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return float(self._read("its seconds"))

    def _read(self, what: str) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args}: ended before it said {what}")
        return line


class Served:
    """A server in a process of its own that prints its port."""

    def __init__(self, module: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, arguments)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.pid = self._process.pid
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{module}: did not start")
        self.port = int(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def output(module: str, *arguments: object) -> str:
    """Run a module to its end; gives what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stderr}")
    return done.stdout
