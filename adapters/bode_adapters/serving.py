"""What the mock servers share: running on a loopback port, and doing wrong on command.

Used by the tests and the demonstration; no adapter imports it.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
import uvicorn
from litestar import Request, Response

LOOPBACK: Final = "127.0.0.1"


@asynccontextmanager
async def serve(
    app: Any, *, port: int = 0, host: str = LOOPBACK, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[str]:
    """Serve an ASGI app in the running loop and give its address; port 0 takes a free one.

    `host` is an address of this machine: what it does not have raises `OSError`, as a port that is taken does. With
    `tls` the address is https, at the name that certificates have for this machine: localhost.

    uvicorn's own `serve` would take SIGINT and SIGTERM from whoever embeds this, so its parts are called here. Its own
    `shutdown` always waits a tenth of a second for clients that are gone already, so stopping is done here as well: at
    once, answers under way are cut off.
    """
    # With the protocol named, asyncio switches Nagle's delay off: 40 ms less for every answer.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        config = uvicorn.Config(app, log_config=None, log_level="critical", access_log=False, ws="none")
        config.load()
        config.ssl = tls
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listener])
        ticking = asyncio.create_task(server.main_loop())
        try:
            name = f"[{host}]" if ":" in host else host
            address = f"http://{name}" if tls is None else "https://localhost"
            yield f"{address}:{listener.getsockname()[1]}"
        finally:
            ticking.cancel()
            await _stop(server)
            await asyncio.gather(ticking, return_exceptions=True)


async def _stop(server: uvicorn.Server) -> None:
    for listening in server.servers:
        listening.close()
    for connection in list(server.server_state.connections):
        connection.shutdown()
    for task in list(server.server_state.tasks):
        task.cancel()
    async with asyncio.timeout(1):
        while server.server_state.connections or server.server_state.tasks:  # noqa: ASYNC110  uvicorn sets no event
            await asyncio.sleep(0.001)
    await server.lifespan.shutdown()


# ----------------------------------------------------------------------------------------------- doing wrong on command


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """One command to a mock server: what to do wrong, for whom, how often. The body of `POST /_mock/gedrag`."""

    gedrag: str
    ontvanger: str | None = None
    """The addressee's number; null means everyone."""
    code: str | None = None
    """The word, where the behaviour needs one; for `http-503` the value of Retry-After."""
    keer: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many times; null means from now on."""

    @property
    def status(self) -> int:
        """The status that `http-NNN` and `vraag-http-NNN` ask for."""
        return int(self.gedrag.rpartition("-")[2])

    @property
    def headers(self) -> dict[str, str]:
        """The headers that go with that status: `Retry-After` with 503, and whenever `code` has a value for it."""
        if self.status != HTTPStatus.SERVICE_UNAVAILABLE and self.code is None:
            return {}
        return {"Retry-After": self.code if self.code is not None else "2"}


class Misbehaviour:
    """The commands a mock server was given and has not used up."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = allowed
        self._orders: list[Order] = []

    def give(self, order: Order) -> None:
        """Take a command. `http-NNN` and `vraag-http-NNN` are any status; another unknown word is a ValueError."""
        words = order.gedrag.removeprefix("vraag-")
        known = order.gedrag in self._allowed or (words.startswith("http-") and words[5:].isdigit())
        if not known:
            raise ValueError(f"gedrag {order.gedrag!r} is not one of {sorted(self._allowed)}, http-NNN, vraag-http-NNN")
        self._orders.append(order)

    def take(self, *, ontvangers: Collection[str], prefixes: tuple[str, ...]) -> Order | None:
        """Use a command for one of these addressees whose behaviour starts with one of the prefixes, oldest first."""
        for order in self._orders:
            if order.gedrag.startswith(prefixes) and (order.ontvanger is None or order.ontvanger in ontvangers):
                if order.keer is not None:
                    order.keer -= 1
                    if order.keer == 0:
                        self._orders.remove(order)
                return order
        return None

    def clear(self) -> None:
        """Forget all commands: behave again."""
        self._orders.clear()


AFTER_TAKING: Final = ("timeout-na-acceptatie", "verbreek", "onleesbaar", "fout-na-acceptatie")
"""What a mock server can do wrong after it did what was asked. The last is for each to say in its own words."""


async def wrong_answer(request: Request[Any, Any, Any], order: Order | None, *, status: int) -> Response[bytes] | None:
    """Give the answer that is wrong as a whole, as ordered; nothing where no such answer was."""
    match order.gedrag if order is not None else None:
        case "timeout-na-acceptatie" | "timeout":
            return await keep_silent(request)
        case "verbreek":
            return broken_off()
        case "onleesbaar":
            return Response(b"<html>", media_type="text/html", status_code=status)
        case _:
            return None


async def keep_silent(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Give no answer until the client gives up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response(b"")


def broken_off() -> Response[bytes]:
    """Begin an answer that ends before it is whole: the server then closes the connection."""
    return Response(b"{", headers={"content-length": "1000"}, media_type="application/json")
