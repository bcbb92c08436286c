"""A message's story as plain text: what `bode status` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from textwrap import wrap

from bode.compose.plain import one_line
from bode.domain.acts import Act, Choice
from bode.domain.parts import Delivery
from bode.domain.policy import Policy
from bode.store.events import StoredEvent
from bode.store.messages import Known
from bode_ops.story.summary import summary
from bode_ops.story.timeline import timeline
from bode_ops.story.words import Kind, article, labels, lowered, when

_SIGNS: Mapping[Kind, str] = {
    Kind.GOOD: "✓",
    Kind.NEUTRAL: "·",
    Kind.WARNING: "!",
    Kind.BAD: "✗",
    Kind.PERSON: "?",
}
_WIDTH = 110
_INDENT = 16


def render_text(
    known: Known,
    delivery: Delivery,
    later: Sequence[Known],
    story: Sequence[StoredEvent],
    *,
    policy: Policy,
    now: datetime,
) -> str:
    """Write how a message stands and what happened to it, as text for a terminal."""
    said = summary(delivery, policy, now=now)
    rows = [
        _row("Bericht", f"{one_line(known.reference)} ({known.nature}) van {known.organisation}"),
        _row("Id", str(known.id)),
        _row("Status", said.status.text, said.status.why),
        _row("Uitkomst", said.outcome.text, said.outcome.why),
        _row("Verzonden", said.sent.text, said.sent.why),
    ]
    if said.term is not None:
        rows.append(_row("Laatste dag", said.term.text, said.term.why))
    rows += [_row("Kanaal", f"{item.label}: {lowered(item.said.text)}", item.said.why) for item in said.channels]
    for item in said.clocks:
        limit = f"De 48 uur: tot {when(item.deadline_at)}." if item.counts else ""
        rows.append(_row("Kennisgeving", f"{item.label}: {lowered(item.said.text)}", item.said.why, limit))
    rows += [_row("Brief", f"{item.title}: {lowered(item.said.text)}", item.said.why) for item in said.letters]
    if said.opened is not None:
        rows.append(_row("Geopend", said.opened.text, said.opened.why))
    rows += [_row("Later bericht", f"{one_line(item.reference)} ({item.nature})") for item in later]
    rows += [_row("Dit wacht op u", f"{item.part}: {lowered(item.why)}", item.todo) for item in said.waiting]
    rows += [_row("Wat u kunt doen", act.title, command(known, act.choice), *act.effects) for act in said.acts]
    rows.append("\nTijdlijn")
    for line in timeline(story, channels=labels(policy)):
        law = f"[{'; '.join(article(row) for row in line.law)}]" if line.law else ""
        rows.append(_row(_SIGNS[line.kind], f"{when(line.at)}: {line.title}", line.detail, law, indent=2))
    return "\n".join(rows)


def command(known: Known, choice: Choice) -> str:
    """Give the command that does this; some acts are done in the console alone."""
    kind, _, name = (choice.part or "").partition("/")
    words = {
        Act.RETRY: "retry",
        Act.LETTER: "letter",
        Act.CANCEL: "cancel",
        Act.HANDLED: "handled",
        Act.STOP_LETTER: "stop-letter",
    }.get(choice.act)
    if words is None:
        return "in de console"
    part = f" --part {choice.part}" if choice.act is Act.HANDLED else ""
    number = f" --number {name}" if kind == "letter" and choice.act is Act.STOP_LETTER else ""
    return f'bode {words} {known.id}{part}{number} --reason "..."'


def _row(name: str, text: str, *more: str, indent: int = _INDENT) -> str:
    """Write a name with its text beside it, and what explains it in paragraphs under it."""
    blank = " " * indent
    lines = wrap(text, _WIDTH - indent, break_long_words=False, break_on_hyphens=False) or [""]
    for paragraph in more:
        lines += wrap(paragraph, _WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join((f"{name:<{indent}}" if index == 0 else blank) + line for index, line in enumerate(lines))
