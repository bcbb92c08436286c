"""One kept SFTP connection: made when it is needed, made anew when it broke."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import asyncssh

from bode_adapters.print_sftp.settings import SftpSettings

_KEEPALIVE_SECONDS: Final = 15
_KEEPALIVES: Final = 3

BROKEN: Final = (
    OSError,
    asyncssh.DisconnectError,
    asyncssh.ChannelOpenError,
    asyncssh.SFTPConnectionLost,
    asyncssh.SFTPNoConnection,
)
"""Errors after which the connection is of no use. Any other SFTP error is an answer of the server."""


async def read_file(client: asyncssh.SFTPClient, path: str) -> bytes:
    """Give a file's content. Raises `asyncssh.SFTPNoSuchFile` where there is none."""
    async with client.open(path, "rb") as file:
        content: Any = await file.read()  # asyncssh's type is text or bytes; by the mode it is bytes
    return bytes(content)


class Connection:
    """Gives an SFTP client over the kept connection."""

    def __init__(self, settings: SftpSettings) -> None:
        """Keep the settings; nothing is connected yet."""
        self._settings = settings
        self._lock = asyncio.Lock()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._client: asyncssh.SFTPClient | None = None

    async def client(self) -> asyncssh.SFTPClient:
        """Give the client, connecting where needed. Raises `OSError` or an `asyncssh.Error`."""
        async with self._lock:
            if self._client is None or self._connection is None or self._connection.is_closed():
                self._connection = await self._connect()
                async with asyncio.timeout(self._settings.timeout_seconds):
                    self._client = await self._connection.start_sftp_client()
            return self._client

    async def drop(self) -> None:
        """Forget the connection: the next call makes a new one."""
        connection, self._connection, self._client = self._connection, None, None
        if connection is not None:
            connection.abort()
            await connection.wait_closed()

    async def close(self) -> None:
        """Say goodbye to the server."""
        connection, self._connection, self._client = self._connection, None, None
        if connection is not None:
            connection.close()
            await connection.wait_closed()

    async def _connect(self) -> asyncssh.SSHClientConnection:
        settings = self._settings
        return await asyncssh.connect(
            settings.host,
            settings.port,
            username=settings.user,
            password=settings.password,
            client_keys=[settings.key] if settings.key is not None else None,
            # Only what is in the settings counts: no known_hosts file, agent or configuration of whoever runs this.
            known_hosts=(list(settings.host_keys), [], []),
            agent_path=None,
            config=None,
            preferred_auth="publickey" if settings.key is not None else "password",
            connect_timeout=settings.timeout_seconds,
            login_timeout=settings.timeout_seconds,
            keepalive_interval=_KEEPALIVE_SECONDS,
            keepalive_count_max=_KEEPALIVES,
        )
