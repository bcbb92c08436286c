"""Webhooks: call who asked to be called, signed, until it arrives; what does not within three days is set apart."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
import structlog
from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.client import sign_webhook
from bode.clock import Clock
from bode.evidence.envelope import timestamp
from bode.intake.status import describe_change
from bode.store import webhooks
from bode.store.changes import Change
from bode.store.database import Database
from bode.store.webhooks import Due
from bode_adapters.connection import Connection
from bode_adapters.rest import SettingsTable

log = structlog.get_logger()

SENT = Counter("bode_webhooks_total", "Calls of webhooks, by receiver and answer.", ["receiver", "answer"])
GIVE_UP = timedelta(days=3)
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=15), timedelta(hours=1)
EVERY_SECONDS, TEND_SECONDS = 1.0, 60.0
_SECONDS = re.compile(r"[0-9]{1,5}")
_ROUNDS = 4
"""How many times over its calls at once a receiver's share is claimed."""
_MARGIN = 30.0
_SHORTEST_SECRET = 32
_MEDIA = "application/cloudevents+json; charset=utf-8"


class ReceiverError(Exception):
    """A receiver that cannot be used as configured; the message says why, and never a secret."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is called: where, for which bodies and kinds, and the secrets each call is signed with."""

    name: str
    organisations: frozenset[str]
    kinds: frozenset[str]
    connection: Connection
    secrets: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def read(
        cls,
        name: str,
        *,
        url: str,
        organisations: Sequence[str],
        kinds: Sequence[str],
        secrets: Mapping[str, Path],
        settings: Mapping[str, Any],
    ) -> Self:
        """Take a receiver as configured. Raises `ReceiverError`, or an adapter's `SettingError` for the connection."""
        table = SettingsTable({"timeout_seconds": 10, "concurrency": 4, **settings, "base_url": url})
        connection = Connection.read(table, reserved={"content-type"})
        table.finish()
        read: dict[str, bytes] = {}
        for key, path in secrets.items():
            try:
                read[key] = path.read_bytes().strip()
            except OSError as error:
                raise ReceiverError(f"secrets.{key}: {path}: {error.strerror}") from error
            if len(read[key]) < _SHORTEST_SECRET:
                raise ReceiverError(f"secrets.{key}: {path}: a secret has {_SHORTEST_SECRET} characters or more")
        return cls(name, frozenset(organisations), frozenset(kinds), connection, read)

    @property
    def call_seconds(self) -> float:
        """The longest that one call takes: a receiver that goes on dripping bytes is given up for now."""
        return 2 * self.connection.timeout_seconds

    @property
    def lease(self) -> timedelta:
        """How long nobody else takes what was claimed: as long as calling them all may take."""
        return timedelta(seconds=_ROUNDS * self.call_seconds + _MARGIN)

    def wants(self, change: Change) -> bool:
        """Tell whether this receiver is to be told of a change."""
        return change.organisation in self.organisations and change.kind in self.kinds


def event_of(change: Change) -> bytes:
    """Write a change as a CloudEvent (1.0, NL GOV profile), in its JSON form. Holds no personal data."""
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": str(change.id),
            "source": f"urn:nld:oin:{change.organisation}:systeem:bode",
            "type": f"nl.bode.bericht.{change.kind}",
            "subject": str(change.message_id),
            "time": timestamp(change.at),
            "sequence": f"{change.position:018d}",
            "datacontenttype": "application/json",
            "data": describe_change(change),
        }
    )


class Webhooks:
    """Sends the webhooks of one database. More than one may run: each takes its own."""

    def __init__(
        self, database: Database, clock: Clock, receivers: Sequence[Receiver], *, jitter: random.Random | None = None
    ) -> None:
        """Take who is to be called; `jitter` spreads the repeats, so that they do not come all at once."""
        self._database = database
        self._clock = clock
        self._receivers = {receiver.name: receiver for receiver in receivers}
        self._jitter = jitter or random.SystemRandom()

    async def add(self, connection: AsyncConnection, found: Sequence[Change]) -> None:
        """Write a row per change and receiver, in the transaction that numbers the changes."""
        now = self._clock.now()
        rows: list[dict[str, object]] = [
            {
                "subscription": receiver.name,
                "position": change.position,
                "message_id": change.message_id,
                "kind": str(change.kind),
                "event_id": change.id,
                "body": event_of(change).decode(),
                "state": "waiting",
                "attempt": 0,
                "due_at": now,
                "since": now,
            }
            for change in found
            for receiver in self._receivers.values()
            if receiver.wants(change)
        ]
        await webhooks.insert(connection, rows)

    async def run(self) -> None:
        """Send until cancelled, to each receiver on its own: one that is slow holds up no other."""
        await asyncio.gather(self._run_tend(), *(self._run(receiver) for receiver in self._receivers.values()))

    async def _run_tend(self) -> None:
        while True:
            try:
                await self.tend()
            except Exception as error:  # noqa: BLE001 - the next round does what this one did not
                log.error("webhooks.not_tended", error=type(error).__name__)
            await asyncio.sleep(TEND_SECONDS)

    async def tend(self) -> None:
        """Set apart what has not arrived for three days, and forget what was for receivers that are no more."""
        now = self._clock.now()
        async with self._database.write() as connection:
            given_up = await webhooks.give_up(connection, now - GIVE_UP, now)
            forgotten = await webhooks.forget(connection, self._receivers, now - GIVE_UP)
        if given_up:
            log.error("webhooks.given_up", count=given_up)
        if forgotten:
            log.warning("webhooks.forgotten", count=forgotten)

    async def _run(self, receiver: Receiver) -> None:
        while True:
            done = 0
            try:
                done = await self.work(receiver.name)
            except Exception as error:  # noqa: BLE001 - what is to be told waits in the database: nothing may end this
                log.error("webhooks.failed", receiver=receiver.name, error=type(error).__name__)
            if not done:
                await asyncio.sleep(EVERY_SECONDS)

    async def work(self, name: str) -> int:
        """Send what is due to one receiver, some at once; gives how many were tried."""
        receiver, now = self._receivers[name], self._clock.now()
        async with self._database.write() as connection:
            limit = receiver.connection.concurrency * _ROUNDS
            due = await webhooks.claim(connection, name, limit=limit, now=now, until=now + receiver.lease)
        if due:
            turns = asyncio.Semaphore(receiver.connection.concurrency)

            async def in_turn(client: httpx.AsyncClient, one: Due) -> None:
                async with turns:
                    await self._send(receiver, client, one)

            async with receiver.connection.client(headers={"Content-Type": _MEDIA}) as client:
                await asyncio.gather(*(in_turn(client, one) for one in due))
        return len(due)

    async def _send(self, receiver: Receiver, client: httpx.AsyncClient, due: Due) -> None:
        body = due.body.encode()
        signed = sign_webhook(body, event_id=str(due.event_id), at=self._clock.now(), secrets=receiver.secrets)
        wait = timedelta(0)
        try:
            # Its answer is not read: nothing a receiver says but its status means anything.
            async with (
                asyncio.timeout(receiver.call_seconds),
                client.stream("POST", receiver.connection.base_url, content=body, headers=signed) as got,
            ):
                answer, good = str(got.status_code), got.is_success
                told: str = got.headers.get("Retry-After", "")
                wait = timedelta(seconds=int(told)) if _SECONDS.fullmatch(told) else wait
        except (httpx.HTTPError, OSError) as error:
            answer, good = type(error).__name__, False
        SENT.labels(receiver.name, answer).inc()
        now = self._clock.now()
        async with self._database.write() as connection:
            if good:
                await webhooks.arrived(connection, due)
            else:
                await webhooks.again(connection, due, at=now + self._wait(due.attempt, wait), answer=answer)
        if not good:
            log.warning("webhooks.not_taken", receiver=receiver.name, event_id=str(due.event_id), answer=answer)

    def _wait(self, attempt: int, asked: timedelta) -> timedelta:
        grown: timedelta = min(FIRST_WAIT * 2 ** min(attempt - 1, 12), LONGEST_WAIT)
        return max(min(asked, LONGEST_WAIT), grown * self._jitter.uniform(0.75, 1.25))
