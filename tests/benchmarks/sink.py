"""An SMTP server that keeps up, in a process of its own. Prints its port, serves until killed.

It remembers who got mail and when. `XTOLD` gives that as one line of JSON, and forgets it. An address beginning with
`hard-` does not exist; the mailbox of one beginning with `soft-` is full the first time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

_got: dict[str, list[float]] = {}
_full: set[str] = set()
_open: set[asyncio.BaseTransport] = set()


class _Sink(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        _open.add(transport)
        self._transport = transport
        self._buffer = b""
        self._data = False
        self._to: list[str] = []
        transport.write(b"220 sink\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        _open.discard(self._transport)

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
                for address in self._to:
                    _got.setdefault(address, []).append(time.monotonic())
                continue
            line, found, rest = self._buffer.partition(b"\r\n")
            if not found:
                break
            self._buffer = rest
            replies.append(self._answer(line))
        if replies:
            self._transport.write(b"".join(replies))

    def _answer(self, line: bytes) -> bytes:
        match line[:4].upper():
            case b"DATA":
                self._data = bool(self._to)
                return b"354 go\r\n" if self._to else b"503 5.5.1 nobody to send to\r\n"
            case b"EHLO":
                return b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 DSN\r\n"
            case b"MAIL" | b"RSET":
                self._to = []
            case b"RCPT":
                return self._recipient(line[line.index(b"<") + 1 : line.index(b">")].decode())
            case b"QUIT":
                return b"221 bye\r\n"
            case b"XTOL":
                told = json.dumps({"got": _got, "open": len(_open) - 1}).encode() + b"\r\n"
                _got.clear()
                return told
        return b"250 ok\r\n"

    def _recipient(self, address: str) -> bytes:
        if address.startswith("hard-"):
            return b"550 5.1.1 no such user\r\n"
        if address.startswith("soft-") and address not in _full:
            _full.add(address)
            return b"452 4.2.2 mailbox full\r\n"
        self._to.append(address)
        return b"250 ok\r\n"


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Sink, "127.0.0.1", 0, backlog=1000)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
