"""`bode evidence export`, `erase`, `hold`, `release`: giving out what can be proven, and erasing what is personal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated
from uuid import UUID

from cyclopts import App, Parameter

from bode.compose.copy import CopyComposer, CopyFacts, Entry, Fact
from bode.engine.checkpoints import Checkpoints
from bode.engine.copies import Audience, CannotEraseError, Copies, Issued, UnknownEventError
from bode.settings import EvidenceSettings, config_folder
from bode.store.events import StoredEvent
from bode.store.evidence_log import NotCoveredError
from bode_ops import assembly
from bode_ops.assembly import Application
from bode_ops.commands.base import (
    AwayError,
    By,
    Config,
    Reason,
    UsageError,
    a_reason,
    console,
    find,
    me,
    with_application,
)
from bode_ops.commands.evidence_keys import the_evidence
from bode_ops.story import Summary, article, labels, summary, timeline, when

_PATIENCE_SECONDS = 30.0
_CLOCKS = {"other_side": "klok van de ontvangende dienst", "our_clock": "klok van de afzender"}


def register(app: App) -> None:
    """Add these commands to `bode evidence`."""
    app.command(export, name="export")
    app.command(erase, name="erase")
    app.command(hold, name="hold")
    app.command(release, name="release")


def export(
    reference: str,
    /,
    *,
    audience: Annotated[
        Audience, Parameter(name="--for", help="Who asks: the addressee gets what was sent and came back, others all.")
    ] = Audience.SENDER,
    events: Annotated[
        tuple[str, ...],
        Parameter(consume_multiple=True, help="Open only these kinds of event; the others are counted, and closed."),
    ] = (),
    out: Annotated[Path | None, Parameter(help="The file to write; default: afschrift-REFERENCE.zip.")] = None,
    by: By | None = None,
    organisation: str | None = None,
    config: Config = None,
) -> None:
    """Write an extract (afschrift) of a message's evidence: a ZIP that a stranger can check. Giving it is recorded."""
    settings = the_evidence(config)

    async def work(application: Application) -> tuple[str, bytes]:
        known = await find(application, reference, organisation)
        try:
            made = await extract(application, settings, known.id, audience=audience, events=events, by=by or me())
        except LookupError:
            raise UsageError(f"there is no message with reference {reference!r}") from None
        except UnknownEventError as error:
            raise UsageError(str(error)) from None
        return known.reference, made

    name, content = with_application(config, work)
    path = out or Path(f"afschrift-{''.join(sign if sign.isalnum() or sign in '-_.' else '_' for sign in name)}.zip")
    path.write_bytes(content)
    console.print(f"wrote {path}: check it with 'bode evidence verify {path} --key KEY'", markup=False)


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
    `AwayError` while the log does not cover it.
    """
    seen = await application.status.read(message_id)
    if seen is None:
        raise LookupError(str(message_id))
    known, delivery, _ = seen
    parts, now = application.parts, application.clock.now()
    composer = CopyComposer(config_folder() / "extracts")
    sender = parts.organisations.get(known.organisation)
    facts = () if events else _facts(summary(known, delivery, parts.policy, now=now))

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

    copies = _copies(application, settings.origin)
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
                raise AwayError(f"the extract is recorded, and not signed yet: {error}") from None
        await asyncio.sleep(0.2)


def erase(
    reference: str, /, *, reason: Reason, by: By | None = None, organisation: str | None = None, config: Config = None
) -> None:
    """Erase for good what is personal of a finished message; its evidence stays, and old extracts keep verifying."""
    why = a_reason(reason)

    async def act(copies: Copies, message_id: UUID) -> bool:
        try:
            await copies.erase(message_id, by=by or me(), reason=why)
        except CannotEraseError as error:
            raise UsageError(f"{reference}: {error}") from None
        return True

    _on_message(reference, organisation, config, act)
    console.print(f"{reference}: persoonsgegevens gewist", markup=False)


def hold(
    reference: str, /, *, reason: Reason, by: By | None = None, organisation: str | None = None, config: Config = None
) -> None:
    """Keep a message's data for a case at law: it cannot be erased until it is released."""
    changed = _hold(reference, reason, by, organisation, config, on=True)
    console.print(f"{reference}: {'wordt bewaard' if changed else 'werd al bewaard'}", markup=False)


def release(
    reference: str, /, *, reason: Reason, by: By | None = None, organisation: str | None = None, config: Config = None
) -> None:
    """Release a message that was held for a case at law."""
    changed = _hold(reference, reason, by, organisation, config, on=False)
    console.print(f"{reference}: {'losgelaten' if changed else 'werd niet bewaard'}", markup=False)


def _hold(
    reference: str, reason: str, by: str | None, organisation: str | None, config: Path | None, *, on: bool
) -> bool:
    why = a_reason(reason)
    return _on_message(
        reference, organisation, config, lambda copies, one: copies.hold(one, by=by or me(), reason=why, on=on)
    )


def _on_message(
    reference: str, organisation: str | None, config: Path | None, act: Callable[[Copies, UUID], Awaitable[bool]]
) -> bool:
    origin = the_evidence(config).origin

    async def work(application: Application) -> bool:
        known = await find(application, reference, organisation)
        return await act(_copies(application, origin), known.id)

    return with_application(config, work)


def _copies(application: Application, origin: str) -> Copies:
    parts = application.parts
    return Copies(application.database, parts.vault, parts.policy, application.clock, origin)
