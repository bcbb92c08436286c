"""What an in-memory adapter answers, told beforehand."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from bode_adapters.contract import Answer, Pending, Placed, SettingError


class HasId(Protocol):
    """An item with the id that answers are told for."""

    @property
    def id(self) -> UUID:
        """The item's id."""
        ...


Item = TypeVar("Item", bound=HasId)


@dataclass(frozen=True, slots=True)
class Staged:
    """An answer, and whether the item was really taken: a lost reply is `Staged(Unknown("lost"), happened=True)`."""

    answer: Answer
    happened: bool


Rule = Callable[[Item], Answer | Staged | None]
"""Gives an answer for an item, or `None` for what the adapter does by itself."""


class Script(Generic[Item]):
    """Answers for items to come: first those queued for an id, then what the rule says.

    A bare `Placed` or `Pending` means that it happened; any other bare answer means that it did not.
    """

    def __init__(self, rule: Rule[Item] | None = None) -> None:
        """Start with nothing queued."""
        self.rule = rule
        self._queued: defaultdict[UUID, deque[Staged]] = defaultdict(deque)

    def then(self, item: UUID, *answers: Answer | Staged) -> None:
        """Queue answers for an id: one for each call that holds it."""
        self._queued[item].extend(_staged(answer) for answer in answers)

    def take(self, item: Item) -> Staged | None:
        """Give the next answer for an item, or `None` where nothing was told."""
        queue = self._queued.get(item.id)
        if queue:
            return queue.popleft()
        answer = self.rule(item) if self.rule is not None else None
        return None if answer is None else _staged(answer)


def _staged(answer: Answer | Staged) -> Staged:
    return answer if isinstance(answer, Staged) else Staged(answer, happened=isinstance(answer, Placed | Pending))


def no_settings(settings: Mapping[str, object]) -> None:
    """Refuse any setting: there are none."""
    for key in settings:
        raise SettingError(key, "given", "nothing: an in-memory adapter has no settings")
