"""The box adapter for MijnOverheid: the limits every message is held against, and the transport that carries it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Self
from uuid import UUID

import httpx

from bode_adapters.contract import (
    Answer,
    BoxMessage,
    Capabilities,
    Clock,
    Identifier,
    IdentifierKind,
    Reachability,
    RefusalKind,
    Refused,
    ResultDocument,
    Sender,
    Trouble,
)
from bode_adapters.mijnoverheid import gateway, limits
from bode_adapters.mijnoverheid.ebms import EbmsTransport
from bode_adapters.mijnoverheid.gateway import GatewayTransport
from bode_adapters.mijnoverheid.settings import EbmsSettings, MijnOverheidSettings
from bode_adapters.mijnoverheid.subscriptions import Subscriptions


class MijnOverheidBox:
    """Places messages in MijnOverheid Berichtenbox, over ebMS or through a REST gateway.

    A batch that was taken in is `Pending`: only the result per message, which comes later, is a placement (L10). The
    Berichtenbox knows a message by its BerichtID, our message id, which is the same in every call: nothing is placed
    twice, whatever is repeated.

    A message that breaks a limit is left out of its batch: it would have the others refused with it.
    """

    def __init__(
        self,
        settings: MijnOverheidSettings,
        *,
        clock: Clock,
        transport: httpx.MockTransport | None = None,
    ) -> None:
        """Keep the settings; `transport` stands in for the network in a test."""
        self._clock = clock
        self._ebms: EbmsTransport | None = None
        self._transport: EbmsTransport | GatewayTransport
        if isinstance(settings.transport, EbmsSettings):
            self._ebms = self._transport = EbmsTransport(settings, settings.transport, clock=clock, transport=transport)
        else:
            self._transport = GatewayTransport(settings, settings.transport, clock=clock, transport=transport)
        self._subscriptions = Subscriptions(settings, clock=clock, transport=transport)
        self._capabilities = Capabilities(
            bulk=limits.MESSAGES if self._ebms is not None else gateway.MESSAGES,
            repeat_is_recognised=True,
            can_lookup=self._ebms is None,
            can_check=settings.subscriptions is not None,
            brings_results=self._ebms is not None,
            addressees=frozenset({IdentifierKind.BSN}),
            max_subject=limits.SUBJECT,
            max_text=limits.TEXT,
            max_documents=limits.DOCUMENTS,
            max_documents_bytes=limits.DOCUMENTS_BYTES,
        )

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], *, clock: Clock) -> Self:
        """Build one from its table; raises `SettingError`."""
        return cls(MijnOverheidSettings.read(settings), clock=clock)

    @property
    def capabilities(self) -> Capabilities:
        """A thousand messages a batch over ebMS, ten through a gateway; a repeat is recognised; addressees by BSN."""
        return self._capabilities

    async def open(self) -> None:
        """Make ready what makes the calls."""
        await self._transport.open()
        await self._subscriptions.open()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()
        await self._subscriptions.close()

    async def probe(self) -> Sequence[Trouble]:
        """Ask what takes our messages whether it is there."""
        return await self._transport.probe()

    async def check(self, *, addressees: Sequence[Identifier], sender: Sender) -> Sequence[Reachability]:
        """Ask who takes this sender's messages; without `subscriptions` in the settings it cannot say."""
        return await self._subscriptions.check(addressees, sender)

    async def place(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Hand messages over, one call per batch, the calls side by side; an answer per message, in order."""
        now = self._clock()
        answered: dict[int, Answer] = {}
        batches: dict[UUID, list[int]] = {}
        for place, message in enumerate(messages):
            refusal = limits.over_limit(message, now=now)
            if refusal is not None:
                answered[place] = refusal
            else:
                batches.setdefault(message.batch, []).append(place)
        calls = [self._hand_over(batch, [messages[place] for place in places]) for batch, places in batches.items()]
        for places, answers in zip(batches.values(), await asyncio.gather(*calls), strict=True):
            answered.update(zip(places, answers, strict=True))
        return [answered[place] for place in range(len(messages))]

    async def _hand_over(self, batch: UUID, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        most = self._capabilities.bulk
        if len(messages) > most:
            text = f"the batch has {len(messages)} messages; at most {most} are taken"
            return [Refused("limiet:batch", RefusalKind.DEFECT, text)] * len(messages)
        return await self._transport.hand_over(batch, messages)

    async def lookup(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Ask what became of messages; over ebMS: only how their hand-over stands, as results come by themselves."""
        return await self._transport.lookup(messages)

    async def results(self) -> Sequence[ResultDocument]:
        """Read the result documents that came in over ebMS and were not confirmed; a gateway brings none."""
        return await self._ebms.results() if self._ebms is not None else ()

    async def confirm(self, *, keys: Sequence[str]) -> None:
        """Tell the ebMS adapter that these documents are stored."""
        if self._ebms is not None:
            await self._ebms.confirm(keys=keys)
