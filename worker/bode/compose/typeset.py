"""Turns a typst source and facts into a PDF, whatever characters the facts hold."""

from __future__ import annotations

import re
from typing import Any

import typst

from bode.compose.plain import UNPRINTABLE

STANDARDS: tuple[typst.PDFStandard, ...] = ("a-2a", "ua-1")
"""What is written keeps to: PDF/A-2a and PDF/UA-1."""

_LACKING = re.compile(r'the text `"((?:\\.|[^"\\])+)"` could not be displayed')
_ESCAPED = re.compile(r"\\u\{([0-9a-f]+)\}")


def typeset(compiler: typst.Compiler, source: bytes, facts: str, **how: Any) -> tuple[bytes, str]:
    """Give the PDF, and the characters that had to be replaced because no font has them.

    `facts` is JSON, and is what the source finds as `sys.inputs.facts`. Raises `typst.TypstError`.
    """
    replaced: set[str] = set()
    while True:
        try:
            pdf = compiler.compile(
                source, format="pdf", pdf_standards=list(STANDARDS), sys_inputs={"facts": facts}, **how
            )
        except typst.TypstError as error:
            lacking = _lacking(error) - replaced
            if not lacking:
                raise
            replaced |= lacking
            for character in lacking:
                facts = facts.replace(character, UNPRINTABLE)
        else:
            assert isinstance(pdf, bytes)
            return pdf, "".join(sorted(replaced))


def _lacking(error: typst.TypstError) -> set[str]:
    """Give the characters that typst says no font has. ASCII is never among them: the facts are JSON."""
    shown = "".join(_LACKING.findall(f"{error.message}\n{error.diagnostic}"))
    text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), shown)
    return {character for character in text if not character.isascii()}
