"""The same against a real OpenSSH server, started for this test by whoever runs it. Needs Debian's openssh-server."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from bode_adapters.contract import LetterStatus, Placed, RefusalKind, Refused, Unavailable
from bode_adapters.print_sftp import PrintSftp
from bode_adapters.testing.print_service import PrintServiceSuite, letter, letters

pytestmark = pytest.mark.slow
SSHD = Path("/usr/sbin/sshd")


class OpenSsh:
    """An sshd of our own on a loopback port: its own keys and settings, public keys only, SFTP only."""

    def __init__(self, folder: Path, user_key: asyncssh.SSHKey) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "authorized_keys").write_bytes(user_key.export_public_key())
        self.new_host_key()
        self.process: subprocess.Popen[bytes] | None = None

    def new_host_key(self) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        self.public_key = key.export_public_key().decode().strip()
        path = self.folder / "host_key"
        path.write_bytes(key.export_private_key())
        path.chmod(0o600)

    def start(self) -> None:
        settings = self.folder / "sshd_config"
        settings.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host_key\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where root's sshd locks its unprivileged half in
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", settings], stderr=log, start_new_session=True)
        end = time.monotonic() + 15
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            assert time.monotonic() < end, (self.folder / "log").read_text()
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.02)

    def children(self) -> list[int]:
        """Give the processes of sessions: what our own server started, and what those started."""
        assert self.process is not None
        found, look = [], [self.process.pid]
        while look:
            listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(look.pop())], capture_output=True, check=False)
            look += (new := [int(word) for word in listed.stdout.split()])
            found += new
        return found

    def cut(self) -> None:
        """End every session at once, as a crash of the server does."""
        for child in reversed(self.children()):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def stop(self) -> None:
        if self.process is not None:
            self.cut()
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path: Path, user_key: Any) -> Iterator[OpenSsh]:
    folder = tmp_path / "sshd"
    folder.mkdir()
    server = OpenSsh(folder, user_key[0])
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def stage(tmp_path: Path, server: OpenSsh, user_key: Any, house_behind: Any) -> Any:
    folder = tmp_path / "drop"
    folder.mkdir()

    class Real(house_behind):
        """The folder behind it; the settings name the real server."""

        async def down(self) -> None:
            server.stop()

        async def up(self) -> None:
            server.start()

    settings = {
        "host": "127.0.0.1",
        "port": server.port,
        "user": getpass.getuser(),
        "host_key": server.public_key,
        "key_file": str(user_key[1]),
        "folder": str(folder),
    }
    real = Real(folder, settings)
    yield real
    await real.service.close()


class TestPrintSftpOnOpenSsh(PrintServiceSuite):
    pass


async def test_an_interrupted_upload_leaves_no_half_letter(stage, server, monkeypatch):
    write = asyncssh.SFTPClientFile.write
    for packets in range(1, 9):
        left = packets

        async def and_cut(self: Any, data: bytes, offset: int | None = None) -> int:
            nonlocal left
            left -= 1
            if left == 0:
                await write(self, data[: len(data) // 2], offset)
                server.cut()
            return await write(self, data, offset)

        given = [letter(pdf=b"%PDF-1.7\n" + bytes(300_000)), letter()]
        given[1] = letter(batch=given[0].batch)
        with monkeypatch.context() as patched:
            patched.setattr(asyncssh.SFTPClientFile, "write", and_cut)
            answers = await stage.service.submit(letters=given)
        for path in stage.folder.glob("in/*/*.pdf"):
            assert sha256(path.read_bytes()).hexdigest() in {one.sha256 for one in given}
        stage.printer.step()
        if left > 0:
            assert all(isinstance(answer, Placed) for answer in answers)
            return
        assert answers == [Unavailable("connection_lost")] * 2
        assert [stage.taken(one.id) for one in given] == [0, 0]
        await stage.service.submit(letters=given)
        stage.printer.step()
        assert [stage.taken(one.id) for one in given] == [1, 1]
    raise AssertionError("the upload never came to its end")


async def test_report_files_are_read_once(stage):
    given = letters(3)
    await stage.service.submit(letters=given)
    for one in given:
        await stage.report(one.id, LetterStatus.POSTED)
    found = await stage.service.reports()
    assert {report.letter for report in found} == {one.id for one in given}
    await stage.service.confirm(keys=[report.key for report in found])
    assert await stage.service.reports() == []
    await stage.restart()
    assert await stage.service.reports() == []
    assert len(stage.names("reports/done")) == 3


async def test_a_changed_host_key_is_refused_and_nothing_is_sent(stage, server):
    await stage.service.submit(letters=[letter()])
    server.stop()
    server.new_host_key()
    server.start()
    given = letter()
    await stage.restart()
    assert await stage.service.submit(letters=[given]) == [Refused("host_key", RefusalKind.CONFIGURATION)]
    assert stage.taken(given.id) == 0


async def test_a_key_that_is_not_authorized_is_refused(stage, tmp_path):
    other = tmp_path / "other"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(other)
    service = PrintSftp.from_settings(stage.settings | {"key_file": str(other)}, clock=stage.time)
    assert await service.submit(letters=[letter()]) == [Refused("login", RefusalKind.CONFIGURATION)]
    await service.close()
