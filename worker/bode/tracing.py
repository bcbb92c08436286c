"""Traces: what was done for which message, and when. Only the words; `bode_ops.traces` sends them where they are asked.

A message's id is its trace's id. So nothing need travel along through the database and the queue, and whoever has the
id of a message (from a log line, from the pages) has its trace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from bode.domain.message import Message
from bode.store.vault import Vault


@dataclass(frozen=True, slots=True)
class About:
    """Whose data was worked with, and for whom: a body's OIN, the kind of number, and a pseudonym in its place."""

    organisation: str
    kind: str
    pseudonym: str
    """`Vault.pseudonyms`: who has not the key cannot tell whose it is, and finds it nowhere in the database."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of work for one message, on the wall's clock in nanoseconds. Attributes are codes, never personal."""

    message: UUID
    name: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, str]
    about: About | None = None
    """For the log of data processing alone; None where the message could not be read."""


def about(message: Message, vault: Vault) -> About:
    """Say whose data a message holds, without saying who that is."""
    addressee = message.addressee
    return About(message.sender, addressee.kind, vault.pseudonyms(addressee.kind, addressee.number)[0])


Trace = Callable[[Sequence[Span]], None]
"""Takes spans, and returns at once."""
