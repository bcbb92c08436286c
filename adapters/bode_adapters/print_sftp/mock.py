"""An SFTP server for a print service, on this machine, that misbehaves on command: for tests and for trying out.

It serves one directory; `bode_adapters.print_folder.mock` watches the same directory and prints what comes in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import asyncssh

from bode_adapters.serving import LOOPBACK

USER = "bode"


class MockSftpServer:
    """The server, for `async with`. It does wrong once, or until told otherwise.

    - `cut_after_bytes`: the connection is cut when so many bytes were written;
    - `cut_at_rename`: it is cut when a manifest is renamed, `"before"` it is done or `"after"`;
    - `full`: every write fails, as on a full disk, until it is set to false;
    - `nothing_moves`: reports can be read and not moved or deleted, until it is set to false.
    """

    def __init__(self, folder: Path, *, authorized: asyncssh.SSHKey | None = None, password: str | None = None) -> None:
        """Take the directory to serve, and the one key or password that opens it."""
        self.folder = folder
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")  # pyright: ignore[reportUnknownMemberType]
        self.port = 0
        self.connections = 0
        """How many were made: a client that keeps its connection makes one."""
        self.cut_after_bytes: int | None = None
        self.cut_at_rename: str | None = None
        self.full = False
        self.nothing_moves = False
        self.open: set[asyncssh.SSHServerConnection] = set()
        self._authorized = authorized
        self.password = password
        self._server: asyncssh.SSHAcceptor | None = None

    @property
    def settings(self) -> Mapping[str, object]:
        """The adapter's settings for this server, but for the login."""
        public = self.host_key.export_public_key().decode().strip()
        return {"host": LOOPBACK, "port": self.port, "user": USER, "host_key": public}

    async def start(self) -> None:
        """Listen, on the same port as before where there was one."""
        keys = asyncssh.import_authorized_keys(
            self._authorized.export_public_key().decode() if self._authorized is not None else ""
        )
        self._server = await asyncssh.listen(
            LOOPBACK,
            self.port,
            server_factory=lambda: _Login(self),
            server_host_keys=[self.host_key],
            authorized_client_keys=keys if self._authorized is not None else None,
            sftp_factory=self._files,
            allow_scp=False,
        )
        self.port = self._server.get_port()

    def _files(self, channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        return _Files(channel, self)

    async def stop(self) -> None:
        """Cut all connections, and listen no more."""
        self.cut()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
        await asyncio.sleep(0)

    def cut(self) -> None:
        """Cut all connections, as a network does: without a word."""
        for connection in list(self.open):
            connection.abort()

    async def __aenter__(self) -> Self:
        """Listen."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()


class _Login(asyncssh.SSHServer):
    def __init__(self, mock: MockSftpServer) -> None:
        self._mock = mock
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._mock.connections += 1
        self._mock.open.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._connection is not None:
            self._mock.open.discard(self._connection)

    def password_auth_supported(self) -> bool:
        return self._mock.password is not None

    def validate_password(self, username: str, password: str) -> bool:
        return username == USER and password == self._mock.password


class _Files(asyncssh.SFTPServer):
    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], mock: MockSftpServer) -> None:
        super().__init__(channel, chroot=str(mock.folder).encode())  # pyright: ignore[reportUnknownMemberType]
        self._mock = mock

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        mock = self._mock
        if mock.full:
            raise asyncssh.SFTPFailure("No space left on device")
        if mock.cut_after_bytes is not None:
            if len(data) >= mock.cut_after_bytes:
                half = data[: mock.cut_after_bytes]
                mock.cut_after_bytes = None
                super().write(file_obj, offset, half)
                mock.cut()
                raise asyncssh.SFTPConnectionLost("cut")
            mock.cut_after_bytes -= len(data)
        written = super().write(file_obj, offset, data)
        assert isinstance(written, int)
        return written

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        mock = self._mock
        if mock.nothing_moves and b"reports/" in oldpath:
            raise asyncssh.SFTPPermissionDenied("Permission denied")
        when = mock.cut_at_rename if newpath.endswith(b"manifest.json") else None
        if when is not None:
            mock.cut_at_rename = None
        if when != "before":
            super().rename(oldpath, newpath)
        if when is not None:
            mock.cut()

    def remove(self, path: bytes) -> None:
        if self._mock.nothing_moves and b"reports/" in path:
            raise asyncssh.SFTPPermissionDenied("Permission denied")
        super().remove(path)
