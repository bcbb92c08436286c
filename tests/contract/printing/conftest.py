"""A print service behind each adapter, with one clock that a test moves."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncssh
import pytest

from bode_adapters.contract import LetterStatus
from bode_adapters.print_folder import PrintFolder, disk
from bode_adapters.print_folder.mock import MockPrintService
from bode_adapters.print_rest import PrintRest
from bode_adapters.print_rest.mock import MockPrintApi, create_mock
from bode_adapters.print_sftp import PrintSftp
from bode_adapters.print_sftp.mock import MockSftpServer
from bode_adapters.serving import Order, serve

TOKEN = "a-token-of-the-print-service"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
WORDS = {
    LetterStatus.ACCEPTED: "ACCEPTED",
    LetterStatus.PRINTED: "PRINTED",
    LetterStatus.POSTED: "DISPATCHED",
    LetterStatus.DELIVERED: "DELIVERED",
    LetterStatus.RETURNED: "RETURNED",
    LetterStatus.FORWARDED: "FORWARDED",
    LetterStatus.REJECTED: "REJECTED",
}


class Time:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


class House:
    """A print service that watches a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.time = Time()
        self.printer = MockPrintService(folder, clock=self.time)

    def taken(self, number: UUID) -> int:
        """Count what lies ready and what was taken to be printed."""
        ready = sum(
            entry["id"] == str(number)
            for manifest in self.folder.glob("in/*/manifest.json")
            for entry in json.loads(manifest.read_bytes())["letters"]
        )
        return ready + self.printer.copies[number]

    async def report(self, number: UUID, status: LetterStatus) -> None:
        self.printer.say(number, WORDS[status], "R04" if status is LetterStatus.RETURNED else "")

    def write_report(self, name: str, content: str | bytes) -> Path:
        path = self.folder / "reports" / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def names(self, where: str) -> list[str]:
        folder = self.folder / where
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


class HotFolder(House):
    """The folder on a share, and the adapter before it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.service = PrintFolder(folder, clock=self.time)

    async def restart(self) -> None:
        await self.service.close()
        self.service = PrintFolder(self.folder, clock=self.time)
        await self.service.open()

    async def down(self) -> None:
        self.folder.rename(self.folder.with_name("unmounted"))
        self.folder.mkdir()

    async def up(self) -> None:
        self.folder.rmdir()
        self.folder.with_name("unmounted").rename(self.folder)


class Drop(House):
    """The folder behind an SFTP server, and the adapter before that."""

    def __init__(self, folder: Path, server: Mapping[str, object], **settings: object) -> None:
        super().__init__(folder)
        self.settings = dict(server) | settings
        (folder / ".bode").mkdir()
        self.service = PrintSftp.from_settings(self.settings, clock=self.time)

    async def restart(self) -> None:
        await self.service.close()
        self.service = PrintSftp.from_settings(self.settings, clock=self.time)
        await self.service.open()


class MockDrop(Drop):
    """The same, on the mock server."""

    def __init__(self, folder: Path, server: MockSftpServer, **settings: object) -> None:
        super().__init__(folder, server.settings, **settings)
        self.server = server

    async def down(self) -> None:
        await self.server.stop()

    async def up(self) -> None:
        await self.server.start()


class Api:
    """A print service with a REST API, and the adapter before it."""

    def __init__(self, time: Time) -> None:
        self.time = time
        app = create_mock(clock=time, token=TOKEN)
        self.mock: MockPrintApi = app.state.mock
        self.app = app
        self.url = ""
        self.stack = AsyncExitStack()
        self.service: PrintRest

    async def start(self) -> None:
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        self.url = await self.stack.enter_async_context(serve(self.app, port=port))

    async def connect(self, **settings: object) -> None:
        table = {
            "base_url": self.url,
            "token": TOKEN,
            "specification": "c5-venster",
            "timeout_seconds": 1.5,
        }
        self.service = PrintRest.from_settings(table | settings, clock=self.time)
        await self.service.open()

    def taken(self, number: UUID) -> int:
        return self.mock.copies[number]

    async def report(self, number: UUID, status: LetterStatus) -> None:
        self.mock.say(number, WORDS[status], "R04" if status is LetterStatus.RETURNED else None)

    def will(self, what: str, letter: UUID | None = None, code: str | None = None, times: int | None = 1) -> None:
        self.mock.misbehaviour.give(Order(what, str(letter) if letter else None, code, times))

    async def restart(self) -> None:
        await self.service.close()
        await self.connect()

    async def down(self) -> None:
        await self.stack.aclose()

    async def up(self) -> None:
        await self.start()


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    api = Api(Time())
    await api.start()
    await api.connect()
    yield api
    await api.service.close()
    await api.stack.aclose()


@pytest.fixture
def house_behind() -> type[Drop]:
    return Drop


@pytest.fixture
def hot_folder() -> type[HotFolder]:
    return HotFolder


@pytest.fixture
def house(tmp_path: Path) -> HotFolder:
    return HotFolder(tmp_path / "hot")


@pytest.fixture(scope="session")
def user_key(tmp_path_factory: pytest.TempPathFactory) -> tuple[asyncssh.SSHKey, Path]:
    key = asyncssh.generate_private_key("ssh-ed25519")
    path = tmp_path_factory.mktemp("keys") / "key"
    key.write_private_key(path)
    return key, path


@pytest.fixture
async def drop(tmp_path: Path, user_key: tuple[asyncssh.SSHKey, Path]) -> AsyncIterator[MockDrop]:
    key, path = user_key
    folder = tmp_path / "drop"
    folder.mkdir()
    async with MockSftpServer(folder, authorized=key) as server:
        drop = MockDrop(folder, server, key_file=str(path))
        yield drop
        await drop.service.close()


# ---- a disk that fails ----------------------------------------------------------------------------------------------


class Disk:
    """Counts what is done to the disk, looks after each step, and crashes at one of them."""

    STEPS = (
        (disk, "write"),
        (disk, "append"),
        (disk, "write_whole"),
        (disk, "settle"),
        (disk, "move_aside"),
        (Path, "rename"),
        (Path, "unlink"),
        (Path, "mkdir"),
        (Path, "hardlink_to"),
        (shutil, "rmtree"),
    )

    def __init__(self, patch: pytest.MonkeyPatch, look: Callable[[], None]) -> None:
        self.left = -1
        self.after = False
        self.error: BaseException | None = None
        self.look = look
        for owner, name in self.STEPS:
            patch.setattr(owner, name, self._watched(getattr(owner, name)))

    def _watched(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            crash = self.left == 0
            if crash and not self.after:
                raise self.error or AssertionError
            done = step(*args, **kwargs)
            self.look()
            if crash:
                raise self.error or AssertionError
            return done

        return watched


@pytest.fixture
def watched(house: HotFolder, monkeypatch: pytest.MonkeyPatch) -> Disk:
    def look() -> None:
        for batch in (house.folder / "in").iterdir():
            manifest = json.loads((batch / "manifest.json").read_bytes())
            files = {path.name: sha256(path.read_bytes()).hexdigest() for path in batch.glob("*.pdf")}
            assert files == {entry["file"]: entry["sha256"] for entry in manifest["letters"]}

    monkeypatch.setattr(os, "fsync", lambda _: None)  # processes die here, not the machine
    return Disk(monkeypatch, look)
