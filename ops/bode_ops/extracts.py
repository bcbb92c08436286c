"""Extracts of evidence (afschriften), for the command line and the API alike; signed when the log covers them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from bode.compose.copy import CopyComposer, CopyFacts, Entry, Fact
from bode.engine.checkpoints import Checkpoints
from bode.engine.copies import Audience, Copies, Issued
from bode.settings import EvidenceSettings, config_folder
from bode.store.events import StoredEvent
from bode.store.evidence_log import NotCoveredError
from bode_ops import assembly
from bode_ops.assembly import Application
from bode_ops.story import Summary, article, labels, summary, timeline, when

_PATIENCE_SECONDS = 30.0
_CLOCKS = {"other_side": "klok van de ontvangende dienst", "our_clock": "klok van de afzender"}


class NotSignedYetError(Exception):
    """An extract that is recorded as given, while no checkpoint covers it: it can be asked for again later."""


async def extract(
    application: Application,
    settings: EvidenceSettings,
    message_id: UUID,
    *,
    audience: Audience,
    events: Collection[str] = (),
    by: str,
) -> bytes:
    """Give an extract as a ZIP; that it was given out, and to whom, is recorded.

    Raises `LookupError` where there is no such message, `UnknownEventError` for events that it does not have, and
    `NotSignedYetError` while the log does not cover it.
    """
    seen = await application.status.read(message_id)
    if seen is None:
        raise LookupError(str(message_id))
    known, delivery, _ = seen
    parts, now = application.parts, application.clock.now()
    composer = CopyComposer(config_folder() / "extracts")
    sender = parts.organisations.get(known.organisation)
    facts = () if events else _facts(summary(delivery, parts.policy, now=now))

    def pdf(chosen: Sequence[StoredEvent], count: int) -> bytes:
        return composer.compose(
            CopyFacts(
                organisation=sender.name if sender is not None else known.organisation,
                reference=known.reference,
                message=str(known.id),
                issued=when(now),
                log=settings.origin,
                entries=_entries(chosen, labels(parts.policy)),
                closed=count - len(chosen),
                facts=facts,
            )
        )

    copies = copies_of(application, settings.origin)
    issued = await copies.issue(message_id, audience=audience, only=events, by=by, make_pdf=pdf)
    checkpoints = assembly.build_checkpoints(settings, application.database, application.clock)
    return await _covered(application, checkpoints, copies, issued)


def _facts(said: Summary) -> list[Fact]:
    """Give the facts that a judgement turns on (L11)."""
    facts = [Fact("Verzonden", said.sent.text, said.sent.why)]
    if said.term is not None:
        facts.append(Fact("Laatste dag", said.term.text, said.term.why))
    facts += [Fact(f"Kanaal {item.label}", item.said.text, item.said.why) for item in said.channels]
    facts += [Fact(f"Kennisgeving {item.label}", item.said.text, item.said.why) for item in said.clocks]
    facts += [Fact(item.title, item.said.text, item.said.why) for item in said.letters]
    if said.opened is not None:
        facts.append(Fact("Geopend", said.opened.text, said.opened.why))
    return facts


def _entries(events: Sequence[StoredEvent], channels: Mapping[str, str]) -> list[Entry]:
    return [
        Entry(
            when(line.at),
            line.title,
            line.detail,
            tuple(article(row) for row in line.law),
            _CLOCKS.get(event.source, event.source),
        )
        for line, event in zip(timeline(events, channels=channels), events, strict=True)
    ]


async def _covered(application: Application, checkpoints: Checkpoints, copies: Copies, issued: Issued) -> bytes:
    """Wait until the log covers the extract; puts it there and signs, unless a running worker does."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        await application.sequencer.work()
        await checkpoints.publish()
        try:
            return await copies.finish(issued)
        except NotCoveredError as error:
            if time.monotonic() > until:
                raise NotSignedYetError(f"the extract is recorded, and not signed yet: {error}") from None
        await asyncio.sleep(0.2)


def copies_of(application: Application, origin: str) -> Copies:
    """Give what makes extracts of one log, and erases and holds."""
    parts = application.parts
    return Copies(
        application.database, parts.vault, parts.policy, application.clock, origin, documents=parts.elsewhere.documents
    )
