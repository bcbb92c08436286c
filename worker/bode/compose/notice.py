"""The notice (kennisgeving): the e-mail that says that a message waits in a box (L3), with what L4 asks and no more."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined, Template, TemplateSyntaxError, select_autoescape

from bode.compose.plain import one_line, paragraphs, without_bsn
from bode.compose.templates import TemplateError, read_template, versioned
from bode.compose.wording import duration_words, typed_address, weekday_words
from bode.domain.message import Nature, Term
from bode.domain.terms import Duration, legal_day, utc

_SUBJECT, _TEXT, _HTML = "onderwerp.txt.j2", "kennisgeving.txt.j2", "kennisgeving.html.j2"
_MOST_KEPT = 256
"""Texts kept to be used again: each some kilobytes, and a run has a few."""


@dataclass(frozen=True, slots=True)
class NoticeFacts:
    """What a notice may say (L4). There is no place in it for a subject, content, name, number or reference."""

    organisation: str
    nature: Nature
    consequences: str | None
    term: Term | None
    last_day: date | None
    """The last day computed from the actual time of sending (L15); without it the duration of the term is given."""
    box_label: str
    """The box as it reads after 'uw': 'Berichtenbox van MijnOverheid'."""
    box_url: str
    """Where everyone logs in to the box; shown as text to type, never as a link."""
    accessible_at: datetime
    placed_elsewhere: tuple[str, ...] = ()
    """The labels of other boxes that hold the same message (L5)."""
    organisation_contact: str = ""


@dataclass(frozen=True, slots=True)
class NoticeText:
    """A notice ready to send. Messages of one run with the same facts have the same text, and so the same hash."""

    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    template: str
    sha256: str
    """Of subject, text and html after each other, in UTF-8."""


class NoticeComposer:
    """Writes notices from the three templates of one folder, compiled once. Safe to share between threads."""

    def __init__(self, folder: Path) -> None:
        """Read, compile and try the templates. Raises `TemplateError` that names the file that cannot be used."""
        sources = {name: read_template(folder / name) for name in (_SUBJECT, _TEXT, _HTML)}
        self._folder = folder
        self._version = versioned("kennisgeving", *sources.values())
        self._environment = Environment(
            loader=DictLoader(sources),
            autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._subject, self._text, self._html = (self._compiled(name) for name in sources)
        self._written = lru_cache(_MOST_KEPT)(self._write)
        for facts in _SAMPLES:
            for template in (self._subject, self._text, self._html):
                self._try(template, facts)

    def compose(self, facts: NoticeFacts) -> NoticeText:
        """Write the notice. Raises `ValueError` for a box address that is no plain address, or a time without zone.

        A run of one kind of decision says the same to everybody: its text is written once. Of the moment only the day
        is told, so the facts are compared by their day.
        """
        day = legal_day(utc(facts.accessible_at))
        return self._written(replace(facts, accessible_at=datetime(day.year, day.month, day.day, 12, tzinfo=UTC)))

    def _write(self, facts: NoticeFacts) -> NoticeText:
        words = _words(facts)
        subject = one_line(self._subject.render(words))
        text = self._text.render(words)
        html = self._html.render(words)
        digest = sha256(f"{subject}{text}{html}".encode()).hexdigest()
        return NoticeText(subject=subject, text=text, html=html, template=self._version, sha256=digest)

    def _compiled(self, name: str) -> Template:
        try:
            return self._environment.get_template(name)
        except TemplateSyntaxError as error:
            raise TemplateError(self._folder / name, f"line {error.lineno}: {error.message}") from error

    def _try(self, template: Template, facts: NoticeFacts) -> None:
        """Render once, so that a wrong name in a template stops the start and not a notice."""
        try:
            template.render(_words(facts))
        except Exception as error:  # a template can raise anything; whatever it is, this file is why
            raise TemplateError(self._folder / str(template.name), str(error)) from error


def _words(facts: NoticeFacts) -> dict[str, object]:
    """Give everything a template may use, as clean text."""
    term = facts.term or Term()
    last_day = facts.last_day or term.last_day
    return {
        "organisation": one_line(facts.organisation),
        "contact": one_line(facts.organisation_contact),
        "nature": facts.nature.rules.label,
        "consequences": paragraphs(without_bsn(facts.consequences or "")),
        "last_day": weekday_words(last_day) if last_day else None,
        "duration": duration_words(term.duration) if term.duration else None,
        "box": one_line(facts.box_label),
        "address": typed_address(facts.box_url),
        "since": weekday_words(legal_day(utc(facts.accessible_at))),
        "elsewhere": [one_line(label) for label in facts.placed_elsewhere],
    }


def _sample(term: Term | None, *, full: bool) -> NoticeFacts:
    return NoticeFacts(
        organisation="Gemeente Voorbeeld",
        nature=Nature.BESCHIKKING,
        consequences="U kunt bezwaar maken." if full else None,
        term=term,
        last_day=None,
        box_label="Berichtenbox van MijnOverheid",
        box_url="https://mijn.overheid.nl",
        accessible_at=datetime(2027, 1, 5, 12, tzinfo=UTC),
        placed_elsewhere=("MijnVoorbeeld",) if full else (),
        organisation_contact="14 030" if full else "",
    )


_SAMPLES = (
    _sample(None, full=False),
    _sample(Term(duration=Duration(weeks=6)), full=True),
    _sample(Term(last_day=date(2027, 1, 5)), full=True),
)
