"""The two letters: the message itself on paper (L6), and the letter that says that a notice did not arrive (L7).

Both are PDF/A-2a and PDF/UA-1 as typst writes them: tagged, with a title and a language, all fonts embedded. Everything
from outside is passed to the template as data and never becomes part of its source.

Documents that come with a message follow its letter as they are. Typst refuses to embed a PDF where a standard is asked
("embedding PDFs is currently not supported in this export mode"), and the documents' own pages may break any of its
rules, so a letter with documents makes no claim: the marks of PDF/A and PDF/UA are taken out of its metadata.
`Letter.standards` says which of the two it is.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from enum import StrEnum
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pikepdf
import typst

from bode.compose.envelope import envelope_lines, sender_line
from bode.compose.plain import one_line, paragraphs, without_bsn
from bode.compose.templates import TemplateError, read_template, versioned
from bode.compose.typeset import STANDARDS, typeset
from bode.compose.wording import (
    date_words,
    duration_words,
    masked_email,
    typed_address,
    weekday_words,
)
from bode.domain.message import Nature, PostalAddress, Term
from bode.domain.terms import Duration, legal_day, utc

_LETTERHEAD, _MESSAGE, _NOTICE, _LOGO = "briefhoofd.typ", "bericht.typ", "kennisgeving-mislukt.typ", "logo.svg"
_LETTERHEAD_IMPORT = f'#import "{_LETTERHEAD}": *'
_LONG_WORD = re.compile(r"\S{30}(?=\S)")
_PLACE = re.compile(r"\.typ:(\d+):\d+")


class LetterReason(StrEnum):
    """Why a message goes out on paper; its value is the key of the sentence in `bericht.typ`."""

    NO_CHANNEL = "geen-digitale-weg"
    """No electronic channel is declared for the addressee (L1)."""
    BOX_REFUSED = "berichtenbox-weigert"
    """The box refused the message for good."""
    EMAIL_FAILED = "e-mail-mislukt"
    """The message was sent by e-mail and bounced for good."""
    STAFF = "medewerker"
    """Somebody of the organisation ordered a letter."""


class NoticeLetterReason(StrEnum):
    """Why a notice did not arrive; its value is the key of the sentence in `kennisgeving-mislukt.typ`."""

    NO_SUCH_ADDRESS = "adres-bestaat-niet"
    """A hard bounce."""
    UNREACHABLE = "niet-bereikbaar"
    """Soft bounces until the 48 hours were over."""
    NO_ADDRESS = "geen-adres"
    """There was no address to send a notice to, and no opt-out either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFacts:
    """What both letters say: who writes, to whom, and what L4 asks."""

    organisation: str
    organisation_address: tuple[str, ...]
    """Its lines, without the name: where an undeliverable letter comes back to."""
    organisation_contact: str = ""
    addressee_name: str = field(repr=False)
    is_person: bool = False
    """Whether given names may be written as initials where the name is too long."""
    address: PostalAddress = field(repr=False)
    letter_date: date
    nature: Nature
    consequences: str | None
    term: Term | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLetterFacts(LetterFacts):
    """The message itself. A term that is a duration runs from the day of posting, which nobody knows yet (L10)."""

    reference: str
    subject: str = field(repr=False)
    text: str = field(repr=False)
    documents: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    """Name and PDF of each, in the order in which they follow the letter."""
    why: LetterReason


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeLetterFacts(LetterFacts):
    """That a message waits and its notice failed. There is no place in it for subject, content or reference."""

    last_day: date | None
    """The last day computed from the actual time of sending (L15); without it the duration of the term is given."""
    box_label: str
    """The box as it reads after 'uw': 'Berichtenbox van MijnOverheid'."""
    box_url: str
    accessible_at: datetime
    failed_address: str | None = field(default=None, repr=False)
    """The address in full; the letter shows it as 'j…@voorbeeld.nl'."""
    why: NoticeLetterReason


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter ready to print. The same facts give the same bytes, and so the same hash."""

    pdf: bytes = field(repr=False)
    pages: int
    sha256: str
    template: str
    standards: tuple[str, ...]
    """The standards that the PDF claims: `STANDARDS`, or none when documents follow the letter."""
    unprintable: str = ""
    """Characters that no font has (emoji, Chinese); they are printed as □."""
    fonts_missing: int = 0
    """How many documents after it rely on fonts that they do not hold: the print service puts others in their place."""


class DocumentError(Exception):
    """A document that cannot follow its letter: `name` is which, `fault` what is wrong with it."""

    def __init__(self, name: str, fault: str) -> None:
        """Say both in one sentence."""
        super().__init__(f"document {name!r} cannot be put after the letter: {fault}")
        self.name = name
        self.fault = fault


class LetterComposer:
    """Writes letters from the templates of one folder, read once; `of` gives an organisation its own.

    Safe to share between threads: a typst compiler serves one thread at a time, so each thread gets its own. The work
    runs outside the interpreter lock and holds nobody up, but two threads write no more letters than one: typst keeps
    one cache for the process.
    """

    def __init__(self, folder: Path, *, own: Mapping[str, Path] | None = None, over: Path | None = None) -> None:
        """Read the templates and try each with every reason and form of term.

        `own` holds folders of organisations, by OIN. What is in the folder `over` takes the place of the file in
        `folder`; it can also hold a logo. Raises `TemplateError` that names the file that cannot be used.
        """
        self._own = {oin: LetterComposer(folder, over=path) for oin, path in (own or {}).items()}
        files = _chosen(folder, over)
        compilers = _Compilers(typst.Fonts(include_system_fonts=False))
        logo = read_template(files[_LOGO]) if _LOGO in files else None
        head = _Letterhead(files[_LETTERHEAD], logo)
        self._message = _Template(files[_MESSAGE], head, compilers)
        self._notice = _Template(files[_NOTICE], head, compilers)
        for term in _SAMPLE_TERMS:
            for reason in LetterReason:
                self._message.check(_message_words(_message_sample(term, reason)), _SAMPLE_DATE)
            for notice_reason in NoticeLetterReason:
                self._notice.check(_notice_words(_notice_sample(term, notice_reason)), _SAMPLE_DATE)

    def of(self, oin: str) -> LetterComposer:
        """Give the composer of an organisation: its own where it has one, else this one."""
        return self._own.get(oin, self)

    def message_letter(self, facts: MessageLetterFacts) -> Letter:
        """Write the message on paper, with its documents after it. Raises `DocumentError` for one that is no PDF."""
        pdf, unprintable = self._message.compile(_message_words(facts), facts.letter_date)
        if not facts.documents:
            return _letter(pdf, self._message.version, STANDARDS, unprintable)
        whole, fonts_missing = _with_documents(pdf, facts.documents)
        return replace(_letter(whole, self._message.version, (), unprintable), fonts_missing=fonts_missing)

    def notice_letter(self, facts: NoticeLetterFacts) -> Letter:
        """Write the letter about a notice that failed. Raises `ValueError` as a notice does."""
        pdf, unprintable = self._notice.compile(_notice_words(facts), facts.letter_date)
        return _letter(pdf, self._notice.version, STANDARDS, unprintable)


class _Compilers(threading.local):
    """One typst compiler for each thread; the fonts are shared, and only those that come with typst."""

    def __init__(self, fonts: typst.Fonts) -> None:
        self.here = typst.Compiler(font_paths=fonts, ignore_system_fonts=True)


def _chosen(folder: Path, over: Path | None) -> dict[str, Path]:
    """Choose each file: the organisation's own, or the shipped one."""
    files = {name: folder / name for name in (_LETTERHEAD, _MESSAGE, _NOTICE)}
    for path in sorted(over.iterdir()) if over is not None else ():
        if path.name not in {*files, _LOGO}:
            raise TemplateError(path, f"it is none of {', '.join(sorted({*files, _LOGO}))}")
        files[path.name] = path
    return files


class _Letterhead:
    """The letterhead's source, and the logo that goes into it as data."""

    def __init__(self, file: Path, logo: str | None) -> None:
        self.file = file
        self.source = read_template(file)
        self.logo = logo


class _Template:
    """One letter's source, with the letterhead in it, so that a letter never reads from disk."""

    def __init__(self, file: Path, head: _Letterhead, compilers: _Compilers) -> None:
        source, letterhead = read_template(file), head.source
        if source.count(_LETTERHEAD_IMPORT) != 1:
            raise TemplateError(file, f"it must have the line {_LETTERHEAD_IMPORT} once")
        self._file = file
        self._head = head
        self._letterhead_from = source[: source.index(_LETTERHEAD_IMPORT)].count("\n") + 1
        self._letterhead_lines = letterhead.count("\n")
        self._source = source.replace(_LETTERHEAD_IMPORT, letterhead).encode()
        self._compilers = compilers
        self.version = versioned(file.stem, letterhead, source, *([head.logo] if head.logo is not None else []))

    def check(self, words: dict[str, Any], day: date) -> None:
        """Compile a sample; what is only a warning for a letter (an unknown font) stops the start."""
        try:
            _, warnings = self._compilers.here.compile_with_warnings(
                self._source,
                format="pdf",
                pdf_standards=list(STANDARDS),
                sys_inputs={"facts": self._facts(words)},
                timestamp=_timestamp(day),
            )
        except typst.TypstError as error:
            raise self._error(error) from error
        if warnings:
            raise self._error(warnings[0])

    def compile(self, words: dict[str, Any], day: date) -> tuple[bytes, str]:
        """Give the PDF, and the characters that had to be replaced because no font has them."""
        try:
            return typeset(self._compilers.here, self._source, self._facts(words), timestamp=_timestamp(day))
        except typst.TypstError as error:
            raise self._error(error) from error

    def _error(self, error: typst.TypstError | typst.TypstWarning) -> TemplateError:
        """Name the file and line as they are on disk, not as they are with the letterhead filled in."""
        place = _PLACE.search(error.diagnostic)
        if place is None:
            return TemplateError(self._file, error.message)
        file, line = self._file, int(place[1])
        if line >= self._letterhead_from + self._letterhead_lines:
            line -= self._letterhead_lines
        elif line >= self._letterhead_from:
            file, line = self._head.file, line - self._letterhead_from + 1
        return TemplateError(file, f"line {line}: {error.message}")

    def _facts(self, words: dict[str, Any]) -> str:
        return json.dumps(words | {"logo": self._head.logo}, ensure_ascii=False)


def _timestamp(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())


def _letter(pdf: bytes, template: str, standards: tuple[str, ...], unprintable: str) -> Letter:
    with pikepdf.open(BytesIO(pdf)) as opened:
        pages = len(opened.pages)
    return Letter(pdf, pages, sha256(pdf).hexdigest(), template, standards, unprintable)


def _with_documents(letter: bytes, documents: tuple[tuple[str, bytes], ...]) -> tuple[bytes, int]:
    """Put the documents' pages after the letter, and take out the marks of the standards it then no longer keeps.

    Gives as well how many documents do not hold all their fonts.
    """
    fonts_missing = 0
    with ExitStack() as opened:
        whole = opened.enter_context(pikepdf.open(BytesIO(letter)))
        own_pages = len(whole.pages)
        for name, content in documents:
            try:
                document = opened.enter_context(pikepdf.open(BytesIO(content)))
                fonts_missing += any(map(_lacks_a_font, document.pages))
                whole.pages.extend(document.pages)
            except pikepdf.PasswordError:
                raise DocumentError(name, "it has a password") from None
            except pikepdf.PdfError as error:
                raise DocumentError(name, f"it is no PDF that can be read ({error})") from error
        for page in whole.pages[own_pages:]:
            _strip(page.obj)
        with whole.open_metadata(set_pikepdf_as_editor=False, update_docinfo=False) as metadata:
            for claim in ("pdfaid:part", "pdfaid:conformance", "pdfuaid:part", "xmpTPg:NPages"):
                metadata.pop(claim, None)
        merged = BytesIO()
        whole.save(merged, deterministic_id=True)
        return merged.getvalue(), fonts_missing


def _lacks_a_font(page: pikepdf.Page) -> bool:
    """Tell whether a page names a font that is not in the document (PDF/A asks that all are)."""
    resources = page.obj.get("/Resources")
    fonts = resources.get("/Font") if isinstance(resources, pikepdf.Dictionary) else None
    if not isinstance(fonts, pikepdf.Dictionary):
        return False
    return not all(_is_embedded(font) for _, font in fonts.items() if isinstance(font, pikepdf.Dictionary))


def _is_embedded(font: pikepdf.Object) -> bool:
    inside = font.get("/DescendantFonts")
    if isinstance(inside, pikepdf.Array) and len(inside):
        font = inside[0]
    descriptor = font.get("/FontDescriptor") if isinstance(font, pikepdf.Dictionary) else None
    held = isinstance(descriptor, pikepdf.Dictionary) and any(
        key in descriptor for key in ("/FontFile", "/FontFile2", "/FontFile3")
    )
    return held or (isinstance(font, pikepdf.Dictionary) and font.get("/Subtype") == pikepdf.Name.Type3)


def _strip(page: pikepdf.Object) -> None:
    """Take out the keys of a tag tree that stayed behind, which would point into the letter's, and of actions."""
    annotations = page.get("/Annots")
    parts = [page, *annotations.as_list()] if isinstance(annotations, pikepdf.Array) else [page]
    for part in parts:
        for key in ("/StructParents", "/StructParent", "/AA"):
            if isinstance(part, pikepdf.Dictionary) and key in part:
                del part[key]


def _breakable(line: str) -> str:
    """Let the longest words break: a web address may be longer than a line."""
    return _LONG_WORD.sub("\\g<0>\u200b", line)


def _line(text: str) -> str:
    return _breakable(one_line(text))


def _running(text: str) -> list[list[str]]:
    return [[_breakable(line) for line in lines] for lines in paragraphs(text)]


def _shared_words(facts: LetterFacts) -> dict[str, Any]:
    return {
        "organisation": one_line(facts.organisation),
        "sender": [sender_line(line) for line in facts.organisation_address],
        "contact": one_line(facts.organisation_contact),
        "envelope": [
            _breakable(line) for line in envelope_lines(facts.addressee_name, facts.address, is_person=facts.is_person)
        ],
        "letter_date": date_words(facts.letter_date),
        "nature": facts.nature.rules.label,
        "duration": duration_words(facts.term.duration) if facts.term and facts.term.duration else None,
    }


def _message_words(facts: MessageLetterFacts) -> dict[str, Any]:
    last_day = facts.term.last_day if facts.term else None
    return _shared_words(facts) | {
        "consequences": _running(facts.consequences or ""),
        "last_day": weekday_words(last_day) if last_day else None,
        "reference": _line(facts.reference),
        "subject": _line(facts.subject),
        "text": _running(facts.text),
        "documents": [_line(name) for name, _ in facts.documents],
        "why": facts.why.value,
    }


def _notice_words(facts: NoticeLetterFacts) -> dict[str, Any]:
    last_day = facts.last_day or (facts.term.last_day if facts.term else None)
    return _shared_words(facts) | {
        "consequences": _running(without_bsn(facts.consequences or "")),
        "last_day": weekday_words(last_day) if last_day else None,
        "box": one_line(facts.box_label),
        "box_address": typed_address(facts.box_url),
        "placed_on": weekday_words(legal_day(utc(facts.accessible_at))),
        "failed_address": None if facts.failed_address is None else masked_email(facts.failed_address),
        "why": facts.why.value,
    }


_SAMPLE_DATE = date(2027, 1, 5)
_SAMPLE_TERMS = (None, Term(duration=Duration(weeks=6)), Term(last_day=_SAMPLE_DATE))


def _sample(term: Term | None) -> dict[str, Any]:
    return {
        "organisation": "Gemeente Voorbeeld",
        "organisation_address": ("Postbus 1", "1234 AB Voorbeeld"),
        "organisation_contact": "14 030" if term else "",
        "addressee_name": "A. Voorbeeld",
        "address": PostalAddress("Straat", "1", "1234AB", "Voorbeeld"),
        "letter_date": _SAMPLE_DATE,
        "nature": Nature.BESCHIKKING,
        "consequences": "U kunt bezwaar maken." if term else None,
        "term": term,
    }


def _message_sample(term: Term | None, why: LetterReason) -> MessageLetterFacts:
    return MessageLetterFacts(**_sample(term), reference="V-1", subject="Besluit", text="Tekst.", why=why)


def _notice_sample(term: Term | None, why: NoticeLetterReason) -> NoticeLetterFacts:
    return NoticeLetterFacts(
        **_sample(term),
        last_day=None,
        box_label="Berichtenbox van MijnOverheid",
        box_url="https://mijn.overheid.nl",
        accessible_at=datetime(2027, 1, 5, 12, tzinfo=UTC),
        failed_address="voorbeeld@voorbeeld.nl" if term else None,
        why=why,
    )
