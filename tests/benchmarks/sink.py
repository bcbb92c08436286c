"""An SMTP sink that keeps up: accepts everything, in a process of its own. Prints its port, serves until killed."""

from __future__ import annotations

import asyncio
import sys


class _Sink(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = b""
        self._data = False
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        replies: list[bytes] = []
        while True:
            if self._data:
                end = self._buffer.find(b"\r\n.\r\n")
                if end < 0:
                    break
                self._buffer = self._buffer[end + 5 :]
                self._data = False
                replies.append(b"250 2.0.0 ok\r\n")
                continue
            line, found, rest = self._buffer.partition(b"\r\n")
            if not found:
                break
            self._buffer = rest
            word = line[:4].upper()
            if word == b"DATA":
                self._data = True
                replies.append(b"354 go\r\n")
            elif word == b"EHLO":
                replies.append(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 DSN\r\n")
            elif word == b"QUIT":
                replies.append(b"221 bye\r\n")
            else:
                replies.append(b"250 ok\r\n")
        if replies:
            self._transport.write(b"".join(replies))


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Sink, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
