"""The readable part of an extract (afschrift): the facts of one message in plain Dutch, as PDF/A-2a and PDF/UA-1."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import typst

from bode.compose.plain import one_line
from bode.compose.templates import TemplateError, read_template
from bode.compose.typeset import typeset

_TEMPLATE = "afschrift.typ"


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
            pdf, _ = typeset(compiler, self._source, json.dumps(_fit_to_print(asdict(facts)), ensure_ascii=False))
        except typst.TypstError as error:
            raise TemplateError(self._path, str(error)) from error
        return pdf


def _fit_to_print(value: Any) -> Any:
    """Clean every text: a reference is a zaaksysteem's own, and may hold what no PDF can show."""
    match value:
        case str():
            return one_line(value)
        case dict():
            return {key: _fit_to_print(item) for key, item in cast("dict[str, Any]", value).items()}
        case list() | tuple():
            return [_fit_to_print(item) for item in cast("Sequence[Any]", value)]
        case _:
            return value
