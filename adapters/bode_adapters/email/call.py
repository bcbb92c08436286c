"""The mails of one call of the adapter: what waits, what may go now, and what became of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from bode_adapters.contract import Answer, Clock, Journal, Placed, Refused, TimeSource, Unavailable
from bode_adapters.email import answers
from bode_adapters.email.connection import Envelope, Mail, Work
from bode_adapters.email.destinations import Destinations, Group
from bode_adapters.email.replies import Reply


class _HasId(Protocol):
    @property
    def id(self) -> UUID: ...


Item = TypeVar("Item", bound=_HasId)

PATIENCE_SECONDS = 40.0
"""How long a call hands out mails; what is left then goes with a later call. With the longest wait for one reply it is
less than a worker lets a call take: one that overstays makes all of its mails unknown, and they go out twice."""


@dataclass(slots=True, eq=False)
class Job(Generic[Item]):
    """One mail's place in the call."""

    at: int
    item: Item
    envelope: Envelope
    group: Group | None
    answer: Answer | None = None
    """What the relays so far said of it, for when there is no other."""


class Call(Generic[Item]):
    """Hands out the mails of a call and collects an answer for each, in the order given."""

    def __init__(
        self,
        items: Sequence[Item],
        *,
        address: Callable[[Item], Envelope | Refused],
        write: Callable[[Item, Envelope], Awaitable[Mail]],
        destinations: Destinations,
        clock: Clock,
        journal: Journal | None,
    ) -> None:
        """Take the items. `address` says where each goes, or why it cannot; `write` makes the mail in its turn."""
        self._journal = journal
        self._write = write
        self._destinations = destinations
        self._clock = clock
        self._answers: list[Answer | None] = [None] * len(items)
        self._ready: deque[Job[Item]] = deque()
        """In no group: these go when there is a line."""
        self._limited: dict[Group, deque[Job[Item]]] = {}
        self._left: list[Job[Item]] = []
        """Not taken by the relay in use, and worth another."""
        self._until = destinations.now() + PATIENCE_SECONDS
        self._by = ""
        for at, item in enumerate(items):
            envelope = address(item)
            if isinstance(envelope, Refused):
                self._answers[at] = envelope
            else:
                self._line_up(Job(at, item, envelope, destinations.group(envelope.recipient.domain)))
        self.work = Work(
            take=self._take,
            leaves=self._leaves,
            placed=self._placed,
            refused=self._refused,
            put_back=self._put_back,
        )
        """What a line needs of this call."""

    # ------------------------------------------------------------------------------------------------ for a relay

    @property
    def waiting(self) -> int:
        """How many mails have no answer yet and are in nobody's hands."""
        return len(self._ready) + sum(len(jobs) for jobs in self._limited.values())

    @property
    def can_go(self) -> bool:
        """Whether a mail may go now."""
        if self._destinations.now() >= self._until:
            return False
        return bool(self._ready) or any(wait == 0 for wait in self._waits())

    async def more(self) -> bool:
        """Wait until a mail may go now; tells whether one may, before the call's patience ends."""
        while not self.can_go:
            waits = self._waits()
            left = self._until - self._destinations.now()
            soonest = min((left if wait is None else wait for wait in waits), default=left)
            if not waits or soonest > left or left <= 0:
                return False
            await self._destinations.change(soonest)
        return True

    def _waits(self) -> list[float | None]:
        now = self._destinations.now()
        return [group.wait(now) for group, jobs in self._limited.items() if jobs]

    # ------------------------------------------------------------------------------------------------- for a line

    async def _take(self) -> tuple[Job[Item], Mail] | None:
        job = self._first()
        return None if job is None else (job, await self._write(job.item, job.envelope))

    def _first(self) -> Job[Item] | None:
        now = self._destinations.now()
        if now >= self._until:
            return None
        if self._ready:
            return self._ready.popleft()
        for group, jobs in self._limited.items():
            if jobs and group.wait(now) == 0:
                group.leave(now)
                return jobs.popleft()
        return None

    def _leaves(self, job: Job[Item]) -> None:
        if self._journal is not None:
            self._journal.leaves(job.item.id)

    def _placed(self, job: Job[Item], mail: Mail, reply: Reply) -> None:
        code = answers.receipt_code(reply, mail.envelope.recipient)
        answer = Placed(self._clock(), TimeSource.OUR_CLOCK, mail.message_id, code, by=self._by)
        self._note(job, answer)
        self._settle(job, answer)

    def _refused(self, job: Job[Item], answer: Answer) -> None:
        self._note(job, answer)
        if not answers.worth_another_relay(answer):
            self._settle(job, answer)
            return
        self._arrived(job)
        job.answer = _milder(job.answer, answer)
        self._left.append(job)

    def _note(self, job: Job[Item], answer: Answer) -> None:
        if self._journal is not None:
            self._journal.ended(job.item.id, answer)

    def _put_back(self, job: Job[Item]) -> None:
        self._arrived(job)
        self._line_up(job, first=True)

    def _settle(self, job: Job[Item], answer: Answer) -> None:
        self._arrived(job)
        self._answers[job.at] = answer

    def _arrived(self, job: Job[Item]) -> None:
        if job.group is not None:
            self._destinations.arrive(job.group)

    def _line_up(self, job: Job[Item], *, first: bool = False) -> None:
        jobs = self._ready if job.group is None else self._limited.setdefault(job.group, deque())
        if first:
            jobs.appendleft(job)
        else:
            jobs.append(job)

    # --------------------------------------------------------------------------------------------- for the relays

    def begin(self, by: str) -> None:
        """Let the next relay have what the one before it left; `by` is the name for evidence."""
        self._by = by
        left, self._left = self._left, []
        for job in sorted(left, key=lambda job: job.at):
            self._line_up(job)

    def could_not(self, trouble: Answer) -> None:
        """Take note that the relay in use could carry no more, and why: what waits was not tried there."""
        for jobs in (self._ready, *self._limited.values()):
            for job in jobs:
                job.answer = _milder(job.answer, trouble)

    @property
    def left(self) -> bool:
        """Whether the relay in use could not take what it tried, and another may."""
        return bool(self._left)

    def answers(self) -> list[Answer]:
        """Give what became of all. What no relay took has the answer of a relay that may take it later, if any."""
        now = self._destinations.now()
        for group, jobs in self._limited.items():
            for job in jobs:
                self._answers[job.at] = job.answer or Unavailable("destination_limit", retry_after=group.wait(now))
        for job in (*self._ready, *self._left):
            self._answers[job.at] = job.answer
        return [Unavailable("not_tried") if answer is None else answer for answer in self._answers]


def _milder(one: Answer | None, other: Answer) -> Answer:
    """Give the answer that leaves more hope: a relay's final no does not end a mail that another may take later."""
    return other if one is None or isinstance(one, Refused) else one
