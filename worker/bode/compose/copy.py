"""The readable part of an extract (afschrift): the facts of one message in plain Dutch, as PDF/A-2a and PDF/UA-1."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import typst

from bode.compose.templates import TemplateError, read_template

_TEMPLATE = "afschrift.typ"
_STANDARDS: tuple[typst.PDFStandard, ...] = ("a-2a", "ua-1")


@dataclass(frozen=True, slots=True)
class Entry:
    """One event in words."""

    when: str
    title: str
    detail: str
    articles: tuple[str, ...]
    clock: str
    """Whose clock the time is of."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One of the facts that a judgement turns on (L11), with why it is so."""

    label: str
    value: str
    why: str


@dataclass(frozen=True, slots=True)
class CopyFacts:
    """What the PDF of an extract says; nothing in it is personal data of the addressee."""

    organisation: str
    reference: str
    message: str
    issued: str
    log: str
    entries: Sequence[Entry]
    closed: int
    """How many events are not shown."""
    facts: Sequence[Fact] = field(default=())
    """Empty where only some events were asked for: the others could say otherwise."""


class CopyComposer:
    """Writes the PDF of extracts from one template."""

    def __init__(self, folder: Path) -> None:
        """Read the template. Raises `TemplateError`."""
        self._path = folder / _TEMPLATE
        self._source = read_template(self._path).encode()
        self._fonts = typst.Fonts(include_system_fonts=False)

    def compose(self, facts: CopyFacts) -> bytes:
        """Write the PDF. Raises `TemplateError` where the template cannot."""
        compiler = typst.Compiler(font_paths=self._fonts, ignore_system_fonts=True)
        try:
            pdf = compiler.compile(
                self._source,
                format="pdf",
                pdf_standards=list(_STANDARDS),
                sys_inputs={"facts": json.dumps(asdict(facts), ensure_ascii=False)},
            )
        except typst.TypstError as error:
            raise TemplateError(self._path, str(error)) from error
        if not isinstance(pdf, bytes):
            raise TemplateError(self._path, "is no single document")
        return pdf
