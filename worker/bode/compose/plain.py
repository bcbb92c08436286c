"""Text from outside made fit to print: no control characters, no reordered lines, no citizen service numbers."""

from __future__ import annotations

import re
import unicodedata

from bode.domain.message import passes_eleven_test

UNPRINTABLE = "□"
"""What stands in the place of a character that cannot be shown."""

_LINE_END = re.compile("\r\n?|[\v\f\x85\u2028\u2029]")
# Control characters, the byte order mark, and the ones that reorder what is read: a name could turn a sentence around.
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
# Lone surrogates cannot be written at all; private characters look different to everyone and are forbidden in PDF/A.
_MEANINGLESS = re.compile("[\ud800-\udfff\ue000-\uf8ff\U000f0000-\U0010ffff]")
_BLANK_LINES = re.compile(r"\n\s*\n")
# Nine digits, or in groups as people write a BSN; not a part of a longer number or an amount.
_NINE_DIGITS = re.compile(
    r"(?<![0-9])(?<![0-9][.,])"
    r"(?:[0-9]{9}|[0-9]{3}([. \xa0-])[0-9]{3}\1[0-9]{3}|[0-9]{4}([. \xa0-])[0-9]{2}\2[0-9]{3})"
    r"(?![0-9]|[.,][0-9])"
)


def one_line(text: str) -> str:
    """Give the text on one line, with single spaces: a name or a subject can never add a line or a mail header."""
    return " ".join(_clean(text).split())


def paragraphs(text: str) -> list[list[str]]:
    """Give the text as paragraphs of lines; blank lines separate paragraphs, and there are no empty ones."""
    lines = ([line.strip() for line in part.split("\n")] for part in _BLANK_LINES.split(_clean(text)))
    return [kept for paragraph in lines if (kept := [line for line in paragraph if line])]


def without_bsn(text: str) -> str:
    """Hide numbers that could be a BSN (nine digits that pass the 11-test): L4 keeps them out of every notice.

    The consequences are free text from the zaaksysteem. Refusing a notice at this point would break L3, so the number
    is hidden and the rest is sent.
    """

    def hide(found: re.Match[str]) -> str:
        digits = re.sub("[^0-9]", "", found[0])
        return "*" * len(digits) if passes_eleven_test(digits) else found[0]

    return _NINE_DIGITS.sub(hide, _clean(text))  # cleaned first: an invisible character could split the number


def _clean(text: str) -> str:
    text = unicodedata.normalize("NFC", _LINE_END.sub("\n", text)).replace("\t", " ")
    return _MEANINGLESS.sub(UNPRINTABLE, _INVISIBLE.sub("", text))
