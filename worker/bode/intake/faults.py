"""What is wrong with a request, all at once, in Dutch: field, code, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. `pointer` is a JSON pointer into the request; no value of the request is repeated."""

    pointer: str
    code: str
    detail: str


class Refused(Exception):  # noqa: N818 - the word of the contract: a message is refused
    """A request that was not accepted; nothing of it was stored."""

    status = 400
    title = "Het bericht is niet aangenomen"

    def __init__(self, faults: Sequence[Fault]) -> None:
        """Keep the faults; the message names their codes."""
        super().__init__(", ".join(sorted({fault.code for fault in faults})))
        self.faults = tuple(faults)


class Conflict(Refused):
    """The reference is in use for another message (or the message cannot change any more)."""

    status = 409
    title = "Dit botst met wat er al is"
