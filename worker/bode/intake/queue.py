"""Intake by queue, for zaaksystemen that share the broker.

A message in the broker is encrypted: a compact JWE (RFC 7516, `dir` with `A256GCM`) of the same JSON that the API
takes, under the intake key of this installation (`bode keys intake`). No personal data stands in Redis in the clear.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from bode.intake.accept import Caller, Intake, Route
from bode.intake.faults import Refused
from bode.store.database import DATABASE_AWAY

log = structlog.get_logger()

_HEADER = {"alg": "dir", "enc": "A256GCM"}


def seal(body: bytes, key: bytes) -> str:
    """Encrypt a request for the queue."""
    return jwe.encrypt_compact(_HEADER, body, OctKey.import_key(key))


class QueueIntake:
    """Takes sealed messages from the queue."""

    def __init__(self, intake: Intake, key: Callable[[], bytes]) -> None:
        """Take the intake, and what gives the key that messages are sealed with."""
        self._intake = intake
        self._key = key

    async def accept(self, sealed: str) -> None:
        """Accept one message. What is refused or unreadable raises: the broker keeps it among its dead messages.

        While the database is away the message is held here, and its worker thread with it: nothing is lost.
        """
        try:
            body = jwe.decrypt_compact(sealed, OctKey.import_key(self._key())).plaintext or b""
        except (JoseError, ValueError) as error:
            log.error("intake.queue_unreadable", error=type(error).__name__)
            raise
        patience = AsyncRetrying(
            retry=retry_if_exception_type(DATABASE_AWAY),
            wait=wait_random_exponential(max=30),
            stop=stop_after_delay(3600),
        )
        try:
            async for attempt in patience:
                with attempt:
                    await self._intake.accept(body, route=Route.QUEUE, caller=Caller("queue"))
        except Refused as refused:
            log.error("intake.queue_refused", codes=sorted({fault.code for fault in refused.faults}))
            raise
