"""The extract (afschrift): some events of one message in a ZIP, with all that a stranger needs to check them.

It is made in two steps, because it is itself an event. `Draft` states which events there are, which of them are open,
and what else is in the ZIP; its `digest` is recorded as `copy.issued`, the message's next event. Once a checkpoint
covers that event, `build` adds the proofs. So every byte is held by the log: what was stated by `copy.issued`, the
rest by the checkpoint. docs/evidence.md has the format byte by byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import files as package_files
from uuid import UUID

from bode.evidence.bundle import pack
from bode.evidence.envelope import canonical
from bode.evidence.merkle import leaf_hash
from bode.evidence.statement import (
    CHECKPOINT,
    COSIGNATURES,
    FORMAT,
    PROOF,
    STATEMENT,
    TIMESTAMP,
    Inclusion,
    details_name,
    envelope_name,
)

PDF = "afschrift.pdf"
README = "README.txt"


@dataclass(frozen=True, slots=True)
class Closed:
    """An event that was not asked for: counted, and nothing more."""

    hash: bytes


@dataclass(frozen=True, slots=True)
class Open:
    """An event that was asked for, with its details and their salt where it has them and they are still kept."""

    envelope: bytes
    salt: bytes | None = field(default=None, repr=False)
    details: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Draft:
    """What an extract states: all events of a message so far, in order, from the first."""

    log: str
    """The origin of the log."""
    message_id: UUID
    organisation: str
    events: Sequence[Open | Closed]
    pdf: bytes | None = None

    @property
    def statement(self) -> bytes:
        """Give `extract.json`."""
        events: list[dict[str, object]] = []
        for seq, event in enumerate(self.events, start=1):
            is_open = isinstance(event, Open)
            leaf = leaf_hash(event.envelope) if isinstance(event, Open) else event.hash
            entry: dict[str, object] = {"seq": seq, "hash": leaf.hex(), "open": is_open}
            if isinstance(event, Open) and event.salt is not None:
                entry["salt"] = event.salt.hex()
            events.append(entry)
        return canonical(
            {
                "format": FORMAT,
                "log": self.log,
                "message": str(self.message_id),
                "organisation": self.organisation,
                "events": events,
                "files": {name: sha256(content).hexdigest() for name, content in self._enclosed().items()},
            }
        )

    @property
    def digest(self) -> str:
        """Give what the event `copy.issued` states in its detail as `extract`: SHA-256 of the statement."""
        return sha256(self.statement).hexdigest()

    def contents(self) -> dict[str, bytes]:
        """Give the files that the draft itself brings."""
        found = {STATEMENT: self.statement, **self._enclosed()}
        for seq, event in enumerate(self.events, start=1):
            if isinstance(event, Open):
                found[envelope_name(seq)] = event.envelope
                if event.details is not None:
                    found[details_name(seq)] = event.details
        return found

    def _enclosed(self) -> dict[str, bytes]:
        enclosed = {README: package_files("bode.evidence").joinpath("extract_readme.txt").read_bytes()}
        if self.pdf is not None:
            enclosed[PDF] = self.pdf
        return enclosed


def build(
    draft: Draft,
    *,
    issued: bytes,
    inclusions: Sequence[Inclusion],
    checkpoint: bytes,
    cosignatures: bytes = b"",
    timestamp: bytes = b"",
) -> bytes:
    """Make the ZIP.

    `issued` is the envelope of `copy.issued`; `inclusions` prove it and every open event; `checkpoint` is the note as
    the log signed it, `cosignatures` the signature lines of witnesses, `timestamp` a time stamp response over
    `checkpoint`.
    """
    last = len(draft.events) + 1
    proven = [one.plain() for one in sorted(inclusions, key=lambda one: one.seq)]
    contents = draft.contents()
    contents |= {envelope_name(last): issued, PROOF: canonical({"inclusions": proven}), CHECKPOINT: checkpoint}
    if cosignatures:
        contents[COSIGNATURES] = cosignatures
    if timestamp:
        contents[TIMESTAMP] = timestamp
    return pack(contents)
