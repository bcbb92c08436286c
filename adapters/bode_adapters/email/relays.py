"""Several relays: which goes first, and which takes over.

A call goes to one relay, and what that one certainly did not take goes to the next (`worth_another_relay`). A mail
whose dot went out, or that was refused for what it is, goes nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from bode_adapters.contract import Answer, Clock, Journal, MailRefused, Refused, Trouble, Unavailable
from bode_adapters.email.call import Call, Item
from bode_adapters.email.connection import Envelope, Mail
from bode_adapters.email.destinations import Destinations
from bode_adapters.email.pool import Pool
from bode_adapters.email.settings import SmtpSettings


class Relays:
    """All relays of an adapter."""

    def __init__(self, settings: SmtpSettings, *, clock: Clock) -> None:
        """Prepare; raises `SettingError` for a certificate file that cannot be used."""
        self._clock = clock
        self._pools = [Pool(relay, clock=clock) for relay in settings.relays]
        self._credit = dict.fromkeys(self._pools, 0)
        self._destinations = Destinations(settings.destinations)
        self.journal: Journal | None = None
        """Told of each mail as it goes."""

    async def open(self) -> None:
        """Make ready; no line is made before a mail needs one."""
        for pool in self._pools:
            await pool.open()

    async def close(self) -> None:
        """Take leave of all."""
        await asyncio.gather(*(pool.close() for pool in self._pools))

    async def probe(self) -> list[Trouble]:
        """Try a line to each relay; gives what is wrong with which."""
        tried = await asyncio.gather(*(pool.probe() for pool in self._pools))
        troubles = zip(self._pools, tried, strict=True)
        return [_trouble(pool.relay.host, answer) for pool, answer in troubles if answer is not None]

    async def deliver_all(
        self,
        items: Sequence[Item],
        *,
        address: Callable[[Item], Envelope | Refused],
        write: Callable[[Item, Envelope], Awaitable[Mail]],
    ) -> list[Answer]:
        """Send many; an answer per item, in the order given."""
        call = Call(
            items,
            address=address,
            write=write,
            destinations=self._destinations,
            clock=self._clock,
            journal=self.journal,
        )
        for pool in self.order():
            call.begin(pool.relay.host)
            trouble = await pool.deliver(call)
            if trouble is not None:
                call.could_not(trouble)
            if not call.left and (trouble is None or not call.waiting):
                break
        return call.answers()

    def order(self) -> list[Pool]:
        """Give the relays in the order to try: those at rest last, then by priority, then in turn by weight.

        Within a priority each gets its share exactly, in turn, not by chance: each call adds its weight to a relay's
        credit, and the one with most pays for all (smooth weighted round-robin).
        """
        ordered: list[Pool] = []
        for rests, priority in sorted({(pool.rests, pool.relay.priority) for pool in self._pools}):
            peers = [pool for pool in self._pools if (pool.rests, pool.relay.priority) == (rests, priority)]
            for pool in peers:
                self._credit[pool] += pool.relay.weight
            peers.sort(key=lambda pool: -self._credit[pool])
            self._credit[peers[0]] -= sum(pool.relay.weight for pool in peers)
            ordered += peers
        return ordered


def _trouble(relay: str, answer: Answer) -> Trouble:
    match answer:
        case MailRefused(phase=phase, code=code, text=text):
            return Trouble(f"{phase}:{code}", text, relay)
        case Refused(code=code, text=text):
            return Trouble(code, text, relay)
        case _:
            return Trouble(answer.code if isinstance(answer, Unavailable) else type(answer).__name__, where=relay)
