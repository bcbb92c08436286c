"""A batch as files: a PDF per letter, and `manifest.json`, which says what is in it, without personal data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from bode_adapters.contract import PrintLetter

MANIFEST: Final = "manifest.json"


def file_name(letter: UUID) -> str:
    """Give the name of a letter's file in its batch."""
    return f"{letter}.pdf"


def manifest(name: str, letters: Sequence[PrintLetter], created: datetime) -> bytes:
    """Give `manifest.json`: what is in the batch, and how to see that it came over whole."""
    return as_json(
        {
            "batch": name,
            "created": created.isoformat(),
            "letters": [
                {
                    "id": str(letter.id),
                    "file": file_name(letter.id),
                    "sha256": letter.sha256,
                    "pages": letter.pages,
                    "sheets": letter.sheets,
                    "grams": letter.grams,
                    "kind": letter.kind,
                    "sender": letter.sender.oin,
                }
                for letter in letters
            ],
        }
    )


def as_json(value: object) -> bytes:
    """Write JSON as all files here have it: ASCII, an indent of one space, a line end at the end."""
    return json.dumps(value, indent=1).encode("ascii") + b"\n"
