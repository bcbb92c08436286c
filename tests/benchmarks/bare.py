"""The yardstick of intake: the same framework's handler with one commit. `python -m tests.benchmarks.bare DATABASE`.

Prints its port, serves until killed. It reads the JSON, stores it in one row, and answers 202. Nothing is checked,
encrypted or written down as evidence.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
import uvicorn
from litestar import Litestar, post
from sqlalchemy.ext.asyncio import create_async_engine

metadata = sa.MetaData()
letter = sa.Table("letter_box", metadata, sa.Column("id", sa.Uuid, primary_key=True), sa.Column("body", sa.JSON))
engine = create_async_engine(sa.make_url(sys.argv[1]).set(drivername="postgresql+psycopg"))


@post("/", status_code=202)
async def accept(data: dict[str, Any]) -> dict[str, str]:
    identity = uuid4()
    async with engine.begin() as connection:
        await connection.execute(sa.insert(letter).values(id=identity, body=data))
    return {"id": str(identity)}


@asynccontextmanager
async def schema(_app: Litestar) -> AsyncGenerator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield


async def serve() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        Litestar([accept], lifespan=[schema], logging_config=None, openapi_config=None),
        log_config=None,
        access_log=False,
        server_header=False,
    )
    print(listener.getsockname()[1], flush=True)
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    asyncio.run(serve())
