"""What a letter weighs: sheets of A4 by weight, and the envelope."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

_A4_PER_SQUARE_METRE = 16
"""A0 is a square metre, and A4 a sixteenth of it (ISO 216)."""


@dataclass(frozen=True, slots=True)
class Paper:
    """The paper that an installation's print service uses."""

    grams_per_square_metre: float = 80.0
    both_sides: bool = True
    envelope_grams: float = 7.0
    """A C5 envelope with a window."""

    def sheets(self, pages: int) -> int:
        """Give how many sheets these pages take."""
        return ceil(pages / 2) if self.both_sides else pages

    def grams(self, pages: int) -> int:
        """Give the weight in whole grams, rounded up: postage goes by the step that a letter reaches."""
        return ceil(self.envelope_grams + self.sheets(pages) * self.grams_per_square_metre / _A4_PER_SQUARE_METRE)
