"""The yardstick T: the worker that a competent team writes with the libraries' documentation beside it.

`python -m tests.benchmarks.textbook DATABASE BROKER BOX_URL SMTP_PORT COUNT FIRST`; an empty BROKER is dramatiq's own
in-process broker, beside SQLite. Speaks the protocol of `stage.Contender`.

One dramatiq message per job, retried by dramatiq. An async actor per step (dramatiq's AsyncIO middleware). The ORM of
SQLAlchemy: a short transaction to read, the call outside of it, a transaction for what came of it with a row in the
audit table. `aiosmtplib.send` per mail and an `httpx.AsyncClient` per placement, as their quick starts show. One thing
is kinder than a quick start: the TLS context is made once, for httpx would spend more on one per client than on all
the rest. WAL and a busy time-out on SQLite, as its users know.

It does less than Bode: nothing is validated, encrypted or chained; a crash between the call and the commit repeats the
call; there is no deadline, no bounce, no other channel.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import aiosmtplib
import dramatiq
import httpx
import sqlalchemy as sa
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware.asyncio import AsyncIO
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

DATABASE, BROKER, BOX, SMTP_PORT, COUNT, FIRST = *sys.argv[1:4], *map(int, sys.argv[4:7])

logging.basicConfig(level=logging.INFO, filename="/dev/null", format="%(asctime)s %(levelname)s %(message)s")
logging.getLogger("httpx").setLevel(logging.WARNING)
log = logging.getLogger("textbook")

broker: dramatiq.Broker = RedisBroker(url=BROKER, namespace="textbook") if BROKER else StubBroker()
broker.add_middleware(AsyncIO())
dramatiq.set_broker(broker)

drivers = {"postgresql": "postgresql+psycopg", "sqlite": "sqlite+aiosqlite"}
url = sa.make_url(DATABASE)
engine = create_async_engine(url.set(drivername=drivers[url.drivername]))
session = async_sessionmaker(engine, expire_on_commit=False)
tls = httpx.create_ssl_context()


class Base(DeclarativeBase):
    pass


class Message(Base):
    __tablename__ = "textbook_message"

    id: Mapped[int] = mapped_column(primary_key=True)
    reference: Mapped[str] = mapped_column(sa.String(64), unique=True)
    bsn: Mapped[str]
    email: Mapped[str]
    subject: Mapped[str]
    body: Mapped[str]
    status: Mapped[str]
    receipt: Mapped[str | None]


class Audit(Base):
    __tablename__ = "textbook_audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[int] = mapped_column(index=True)
    event: Mapped[str]
    at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))


@dramatiq.actor
async def place(message_id: int) -> None:
    async with session() as reading:
        message = await reading.get_one(Message, message_id)
    async with httpx.AsyncClient(verify=tls) as client:
        response = await client.post(
            f"{BOX}/aanleveringen",
            json={
                "afzender": "00000001999000010000",
                "ontvanger": {"type": "BSN", "waarde": message.bsn},
                "onderwerp": message.subject,
                "inhoud": f"{message.body}\n\nKenmerk: {message.reference}",
            },
        )
    response.raise_for_status()
    await record(message_id, "placed", receipt=response.json()["berichtId"])
    notify.send(message_id)


@dramatiq.actor
async def notify(message_id: int) -> None:
    async with session() as reading:
        message = await reading.get_one(Message, message_id)
    mail = EmailMessage()
    mail["From"] = "noreply@maasveld.example.nl"
    mail["To"] = message.email
    mail["Subject"] = "Er staat een bericht voor u klaar"
    mail.set_content(
        "Gemeente Maasveld heeft een bericht voor u klaargezet in Mijn Gemeente. Het is een beschikking.\n"
        "U kunt bezwaar maken. Dat kan zes weken lang. Vragen? Bel 14 0999.\n"
    )
    await aiosmtplib.send(mail, hostname="127.0.0.1", port=SMTP_PORT, start_tls=False)
    await record(message_id, "noticed")
    finished()


async def record(message_id: int, status: str, **values: str) -> None:
    async with session.begin() as writing:
        message = await writing.get_one(Message, message_id)
        message.status = status
        for name, value in values.items():
            setattr(message, name, value)
        writing.add(Audit(message_id=message_id, event=status, at=datetime.now(UTC)))
    log.info("message %s is %s", message_id, status)


# ---- the measurement around it -------------------------------------------------------------------------------------

left = COUNT
lock, done = threading.Lock(), threading.Event()


def finished() -> None:
    global left  # noqa: PLW0603 - the smallest thing that counts
    with lock:
        left -= 1
        if left == 0:
            done.set()


async def store() -> None:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with session.begin() as writing:
        for number in range(FIRST, FIRST + COUNT):
            writing.add(
                Message(
                    id=number,
                    reference=f"B-{number:08d}",
                    bsn="999990019",
                    email=f"b{number}@post.example.nl",
                    subject="Besluit op uw aanvraag",
                    body="Beste mevrouw, meneer, wij hebben een besluit genomen.",
                    status="accepted",
                )
            )
    await engine.dispose()  # its connections belong to this loop; the worker has its own


def prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "busy_timeout=30000", "synchronous=FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def main() -> None:
    if url.drivername == "sqlite":
        sa.event.listen(engine.sync_engine, "connect", prepare_sqlite)
    asyncio.run(store())
    for number in range(FIRST, FIRST + COUNT):
        place.send(number)
    worker = dramatiq.Worker(broker)
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    worker.start()
    done.wait()
    print(time.perf_counter() - started, flush=True)
    sys.stdin.readline()
    worker.stop()


if __name__ == "__main__":
    main()
