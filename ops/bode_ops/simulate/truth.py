"""What really happened, as the other sides know it: kept apart from all that Bode knows, for the oracle."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(slots=True)
class Sent:
    """A copy of the message itself that really is in a box, on its way by mail, or in the post."""

    where: str
    at: datetime
    came_back: bool = False


@dataclass(slots=True)
class Paper:
    """A letter that the print service really took in."""

    kind: str
    taken_at: datetime
    posted_at: datetime | None = None
    failed: bool = False
    """Refused afterwards, or back from the post."""


@dataclass(slots=True)
class Truth:
    """Of one message."""

    answered_at: datetime | None = None
    """When its sender was told that it is accepted: from then on nothing may be lost."""
    sent: list[Sent] = field(default_factory=list[Sent])
    notices: list[tuple[str, datetime]] = field(default_factory=list[tuple[str, datetime]])
    hard: dict[str, datetime] = field(default_factory=dict[str, datetime])
    """When a mail server last really said that the addressee cannot be reached, by channel."""
    letters: dict[UUID, Paper] = field(default_factory=dict[UUID, Paper])
    heard_at: dict[str, datetime] = field(default_factory=dict[str, datetime])
    """When a channel first told Bode that the message is there."""
    alarms: list[datetime] = field(default_factory=list[datetime])
    retries: int = 0
    """How often a person had it tried again."""
    orders: int = 0
    """How often a person ordered a letter."""
    log: list[tuple[datetime, str]] = field(default_factory=list[tuple[datetime, str]])

    def copies(self, where: str) -> list[Sent]:
        """Give the copies of the message that went there."""
        return [one for one in self.sent if one.where == where]
