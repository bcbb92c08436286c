"""Traces: what was done for which message, and when. Only the words; `bode_ops.traces` sends them where they are asked.

A message's id is its trace's id. So nothing need travel along through the database and the queue, and whoever has the
id of a message (from a log line, from the pages) has its trace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of work for one message, on the wall's clock in nanoseconds. Attributes are codes, never personal."""

    message: UUID
    name: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, str]


Trace = Callable[[Sequence[Span]], None]
"""Takes spans, and returns at once."""
