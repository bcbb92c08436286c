"""`bode evidence export`, `correct`, `erase`, `hold`, `release`: give proof out, erase what is personal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated
from uuid import UUID

from cyclopts import App, Parameter

from bode.engine.copies import Audience, CannotEraseError, Copies, UnknownEventError
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
from bode_ops.extracts import NotSignedYetError, copies_of, extract


def register(app: App) -> None:
    """Add these commands to `bode evidence`."""
    app.command(export, name="export")
    app.command(correct, name="correct")
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
        except NotSignedYetError as error:
            raise AwayError(str(error)) from None
        return known.reference, made

    name, content = with_application(config, work)
    path = out or Path(f"afschrift-{''.join(sign if sign.isalnum() or sign in '-_.' else '_' for sign in name)}.zip")
    path.write_bytes(content)
    console.print(f"wrote {path}: check it with 'bode evidence verify {path} --key KEY'", markup=False)


def correct(
    reference: str,
    /,
    *,
    event: Annotated[int, Parameter(help="The number of the event that states something wrongly.")],
    reason: Reason,
    by: By | None = None,
    organisation: str | None = None,
    config: Config = None,
) -> None:
    """Record that an event states something wrongly, and what is true: it stays, with the correction beside it."""
    why = a_reason(reason)

    async def act(copies: Copies, message_id: UUID) -> bool:
        try:
            await copies.correct(message_id, seq=event, by=by or me(), reason=why)
        except LookupError as error:
            raise UsageError(f"{reference}: {error}") from None
        return True

    _on_message(reference, organisation, config, act)
    console.print(f"{reference}: verbetering van gebeurtenis {event} vastgelegd", markup=False)


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
        return await act(copies_of(application, origin), known.id)

    return with_application(config, work)
