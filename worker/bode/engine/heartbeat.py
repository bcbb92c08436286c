"""The heartbeat: a message of nobody to nowhere, every few minutes, through everything that a real one goes through.

Accepted, stored, rung for, claimed, placed, recorded and put in the log; only the box it is placed in is none. That it
never reaches a citizen, and that no citizen's message goes its way, is decision 25 (docs/decisions).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Self

import msgspec
import structlog

from bode.clock import Clock
from bode.domain.message import Confidentiality
from bode.domain.policy import Channel, ChannelKind, Policy
from bode.engine.parts import Organisation
from bode.intake.accept import Caller, Intake, Route
from bode_adapters import contract
from bode_adapters.contract import Answer, BoxMessage, Capabilities, Identifier, Placed, RefusalKind, Refused, Sender

log = structlog.get_logger()

CHANNEL = "hartslag"
"""Its channel, and so its lane."""
OIN = "0" * 20
"""Its sender: no administrative body has this number."""
ORGANISATION = Organisation(OIN, "Bode (hartslag)", "hartslag@bode.invalid", "geen", ())
_CAPABILITIES = Capabilities(bulk=100, repeat_is_recognised=True, can_lookup=True)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Nowhere:
    """A box without another side: what it is given is placed as soon as it is said. It takes heartbeats alone."""

    def __init__(self, *, clock: contract.Clock) -> None:
        """Take the clock; there is nothing else."""
        self._clock = clock

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], *, clock: contract.Clock) -> Self:
        """Build one. No entry point names it: a configuration cannot."""
        del settings
        return cls(clock=clock)

    @property
    def capabilities(self) -> Capabilities:
        """It knows everything again, since it never knew anything."""
        return _CAPABILITIES

    async def open(self) -> None:
        """Nothing to make ready."""

    async def close(self) -> None:
        """Nothing to release."""

    async def probe(self) -> Sequence[contract.Trouble]:
        """Nothing can be wrong with what is not there."""
        return ()

    async def check(self, *, addressees: Sequence[Identifier], sender: Sender) -> Sequence[contract.Reachability]:
        """Say that nobody is reachable here."""
        del sender
        return [contract.Reachability(reachable=False, checked_at=self._clock()) for _ in addressees]

    async def place(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Say that heartbeats are placed. Anything else is a defect: its lane stops, and a person looks."""
        return [self._answer(message) for message in messages]

    async def lookup(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Say the same: a heartbeat whose worker died was placed as much as any other."""
        return [self._answer(message) for message in messages]

    def _answer(self, message: BoxMessage) -> Answer:
        if message.sender.oin != OIN:
            return Refused("not_a_heartbeat", RefusalKind.DEFECT, "only heartbeats go nowhere")
        return Placed(self._clock(), contract.TimeSource.OUR_CLOCK, receipt=str(message.id))


def with_heartbeat(policy: Policy) -> Policy:
    """Give a policy with the heartbeat's channel, for who carries messages out; never for who takes them in."""
    channel = Channel(
        CHANNEL,
        ChannelKind.BOX,
        "hartslag",
        Confidentiality.LAAG,
        repeat_is_recognised=_CAPABILITIES.repeat_is_recognised,
        can_lookup=_CAPABILITIES.can_lookup,
    )
    return replace(policy, channels={**policy.channels, CHANNEL: channel})


class Heartbeat:
    """Hands heartbeats in. Several may run: one of the same moment is the same message, and accepted once."""

    def __init__(self, intake: Intake, clock: Clock, *, every: timedelta) -> None:
        """Take an intake of its own, which knows its sender and its channel."""
        self._intake = intake
        self._clock = clock
        self._every = every

    async def run(self) -> None:
        """Beat until cancelled. One that is not accepted is told by its absence: the age of the last one grows."""
        while True:
            try:
                await self.beat()
            except Exception as error:  # noqa: BLE001 - the database is away: nothing may end this
                log.error("heartbeat.failed", error=type(error).__name__)
            await asyncio.sleep(self._clock.real_wait(self._every))

    async def beat(self) -> None:
        """Hand in the heartbeat of this moment, unless it was."""
        moment = _EPOCH + (self._clock.now() - _EPOCH) // self._every * self._every
        await self._intake.accept(_body(moment), route=Route.HEARTBEAT, caller=Caller("bode", frozenset({OIN})))


def _body(moment: datetime) -> bytes:
    return msgspec.json.encode(
        {
            "afzender": OIN,
            # In the order of time, so that the newest is found by the index on references.
            "kenmerk": f"hartslag-{moment:%Y%m%dT%H%M%S}",
            "aard": "ontvangstbevestiging",
            "vertrouwelijkheid": "laag",
            "geadresseerde": {"soort": "BSN", "nummer": "999990019", "naam": "Hartslag"},
            "kanalen": [{"kanaal": CHANNEL, "sindsDatum": "2000-01-01"}],
            "kennisgeving": {"afgemeldTijdstip": "2000-01-01T00:00:00Z"},
            "onderwerp": "Hartslag",
            "tekst": "Dit bericht is van Bode zelf en komt nergens aan.",
        }
    )
