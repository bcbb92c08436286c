"""A whole Bode in a process of its own, on mock servers in this one that outlive it: for drills."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import toml_parts

from bode.clock import Clock
from bode.store import steps
from bode.store.database import Database
from bode_adapters.email.mock import MockMailServer
from bode_adapters.mijndomein import mock as mijndomein
from bode_adapters.mijnoverheid import mock as mijnoverheid
from bode_adapters.print_rest import mock as print_rest
from bode_adapters.serving import serve
from bode_ops import cli
from bode_ops.commands import base

LANES = ("mijnoverheid", "mijndomein", "kennisgeving", "print")
CONFIG = (
    """
[database]
url = "{database}"
[keys]
file = "{folder}/bode.key"
[evidence]
key_file = "{folder}/evidence.key"
origin = "{origin}"
folder = "{folder}/{published}"
every_seconds = 0.2
[clock]
factor = {factor}
origin = {start}
[api]
port = {port}
[bounces]
port = 0
[heartbeat]
[engine]
heartbeat_seconds = 1.6
journal_folder = "{folder}/journal"
sweep_seconds = 0.1
report_seconds = 0.3
grace_seconds = 3
[print]
adapter = "print-rest"
[print.settings]
base_url = "{print_service}"
token = "mock"
specification = "c5-venster"
"""
    + toml_parts.mijnoverheid(base_url="{mijnoverheid}")
    + toml_parts.mijndomein("{mijndomein}/api/v1")
    + toml_parts.notices("{smtp}")
    + toml_parts.MAASVELD
)


class Installation:
    """A configuration, and the process that runs on it."""

    def __init__(self, folder: Path, relay: contextlib.AsyncExitStack, values: Mapping[str, Any]) -> None:
        self.folder, self.relay, self.values = folder, relay, dict(values)
        self.config = folder / "bode.toml"
        self.process: asyncio.subprocess.Process | None = None
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.values["port"] = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.values['port']}"

    def use(self, **changes: Any) -> None:
        """Write the configuration, with something changed from now on."""
        self.values |= changes
        self.config.write_text(CONFIG.format(**self.values))

    async def make_ready(self) -> None:
        for command in (["keys", "init"], ["keys", "evidence", "init"], ["db", "upgrade"]):
            await self.bode(*command)

    async def bode(self, *words: str, code: int = 0) -> str:
        """Run a command to its end, in a thread: a process of its own would begin with reading all of Bode."""
        return await asyncio.to_thread(self._bode, [*words, "--config", str(self.config)], code)

    def _bode(self, words: list[str], code: int) -> str:
        printed, ended = io.StringIO(), 0
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            mock.patch.object(base.logs, "configure"),
            mock.patch.object(sys, "argv", ["bode", *words]),
        ):
            try:
                cli.main()
            except SystemExit as end:
                ended = end.code or 0
        assert ended == code, printed.getvalue()
        return printed.getvalue()

    async def start(self) -> None:
        with (self.folder / "bode.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bode_ops", "run", "--config", str(self.config), stdout=log, stderr=log
            )
        await self.until(lambda: self.get("/readyz"), 300)

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def relay_ends(self) -> None:
        """End the mail server, with every line to it."""
        await self.relay.aclose()

    async def relay_begins(self) -> None:
        """Start it again where it was."""
        await self.relay.enter_async_context(MockMailServer(port=self.values["smtp"]))

    async def stop_lanes(self, *lanes: str) -> None:
        async with self._database() as database, database.write() as connection:
            for lane in lanes:
                await steps.stop_lane(connection, lane, reason="Oefening", by="test", now=datetime.now(UTC))

    async def start_lanes(self, *lanes: str) -> None:
        async with self._database() as database, database.write() as connection:
            for lane in lanes:
                await steps.start_lane(connection, lane, by="test")

    @contextlib.asynccontextmanager
    async def _database(self) -> AsyncIterator[Database]:
        database = Database(self.values["database"])
        try:
            yield database
        finally:
            await database.close()

    @property
    def log(self) -> str:
        return (self.folder / "bode.log").read_text()

    def lines(self, event: str) -> int:
        return self.log.count(f'"event":"{event}"')

    async def get(self, path: str) -> httpx.Response | None:
        async with httpx.AsyncClient(timeout=10) as client:
            try:
                answer = await client.get(path if path.startswith("http") else self.url + path)
            except httpx.TransportError:
                return None
            return answer if answer.is_success else None

    async def until(self, holds: Callable[[], Any], seconds: float = 120) -> Any:
        """Wait until something holds, and give it; asked in turn, since what is asked is in other processes."""
        end = asyncio.get_running_loop().time() + seconds
        while True:
            found = holds()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            assert asyncio.get_running_loop().time() < end, self.log[-3000:]
            await asyncio.sleep(0.2)

    async def hand_in(self, bodies: Iterable[Mapping[str, Any]]) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            for body in bodies:
                answer = await client.post(f"{self.url}/v1/berichten", json=body)
                assert answer.status_code == 202, answer.text


@contextlib.asynccontextmanager
async def installed(folder: Path, database: str, *, factor: float) -> AsyncIterator[Installation]:
    """Give an installation that is not made ready yet, on a clock that runs so many times as fast as life."""
    clock = Clock(factor, datetime.now(UTC))
    first = mijnoverheid.create_mock(clock=clock.now, api_key="sleutel")
    second = mijndomein.create_mock(clock=clock.now)
    third = print_rest.create_mock(clock=clock.now, token="mock")
    relay = contextlib.AsyncExitStack()
    async with relay, serve(first) as one, serve(second) as two, serve(third) as three:
        mail = await relay.enter_async_context(MockMailServer())
        values = {"folder": folder, "mijnoverheid": one, "mijndomein": two, "print_service": three, "smtp": mail.port}
        made = Installation(folder, relay, values | {"factor": factor, "start": clock.origin.isoformat()})
        made.use(database=database, origin="drill.example/first", published="first")
        try:
            yield made
        finally:
            await made.kill()
