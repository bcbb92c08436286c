"""What is wrong with a request, all at once, in Dutch: field, code, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. No value of the request is repeated.

    `pointer` is a JSON pointer into the body; where `place` is another one, it is the name of a parameter there.
    """

    pointer: str
    code: str
    detail: str
    place: Literal["body", "query", "header"] = "body"


class Refused(Exception):  # noqa: N818 - the word of the contract: a message is refused
    """A request that was not accepted; nothing of it was stored."""

    status = 400
    title = "Het bericht is niet aangenomen"
    retry_after: int | None = None
    """Seconds after which the same request may have another answer."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        """Keep the faults; the message names their codes."""
        super().__init__(", ".join(sorted({fault.code for fault in faults})))
        self.faults = tuple(faults)


class BadQuery(Refused):
    """A question with a parameter that is none."""

    title = "Het verzoek klopt niet"


class Conflict(Refused):
    """The reference is in use for another message (or the message cannot change any more)."""

    status = 409
    title = "Dit botst met wat er al is"

    def __init__(self, faults: Sequence[Fault], *, about: UUID | None = None, body_hash: bytes = b"") -> None:
        """Keep the faults, the message that is there already, and the hash of what was refused because of it."""
        super().__init__(faults)
        self.about = about
        self.body_hash = body_hash
