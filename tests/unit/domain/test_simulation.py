"""Months of mishaps in a second: the rules under an engine, a clock and an outside world that are all made up.

The world decides at random what boxes, mail servers, the print service, workers and people do, and keeps for itself
what is really where. After every decision the promises are held against that truth.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from random import Random
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from bode.domain import events as ev
from bode.domain.bounces import Reason, Verdict
from bode.domain.decision import Action, Step
from bode.domain.delivery import decide
from bode.domain.events import RefusalKind, TimeSource
from bode.domain.parts import (
    AttentionReason,
    Brief,
    Delivery,
    DeliveryState,
    LetterKind,
    LetterReason,
    LetterState,
    NoticeState,
    PlacementState,
)
from bode.domain.policy import ChannelKind, Policy

A_LITTLE = timedelta(minutes=15)
"""How long a call, a lost lease and a slow sweep can take together."""
LEASE = timedelta(minutes=2)
PEACE = timedelta(days=21)
"""After this long the outside world has no more mishaps, so that every story comes to an end."""
CERTAIN_REASONS = {LetterReason.NOTICE_BOUNCED, LetterReason.NO_EMAIL}


@dataclass(eq=False)
class Open:
    """A step on the engine's list."""

    step: Step
    leased: bool = False


@dataclass
class Side:
    """What is really so in one channel."""

    copies: int = 0
    """How often the message was stored or mailed."""
    at: datetime | None = None
    batch_open: bool = False
    """Taken in, result to come."""
    may_send: int = 1
    """How often it may be stored or mailed: once, and once more for each return or person's order."""


@dataclass(repr=False)
class World:
    random: Random
    policy: Policy
    delivery: Delivery
    now: datetime
    open: list[Open] = field(default_factory=list)
    queue: list[tuple[datetime, int, Callable[[], None]]] = field(default_factory=list)
    sides: dict[str, Side] = field(default_factory=dict)
    facts: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    printed: Counter[int] = field(default_factory=Counter)
    hard: set[str] = field(default_factory=set)
    first_notice: dict[str, datetime] = field(default_factory=dict)
    retries: int = 0
    orders: int = 0
    ticks: count = field(default_factory=count)
    staff_is_coming: bool = False

    def __post_init__(self) -> None:
        self.sides = {name: Side() for name in self.policy.channels}

    # ---- the engine ------------------------------------------------------------------------------------------------

    def happens(self, event: ev.Event) -> None:
        before = self.delivery
        decision = decide(before, event, self.policy, self.now)
        assert decision == decide(before, event, self.policy, self.now)
        self.delivery = decision.delivery
        replaced = {step.part for step in decision.steps}
        off = set(decision.closed) | replaced
        self.open = [item for item in self.open if item.leased or item.step.part not in off]
        self.open += [Open(step) for step in decision.steps]
        for part, wake_at in decision.rewake:
            for item in self.open:
                if item.step.part == part:
                    item.step = replace(item.step, wake_at=wake_at)
        self.facts.update((fact.name, fact.part) for fact in decision.facts)
        self._hold_promises(before)
        if self.delivery.attention and not self.staff_is_coming and self.retries < 4 and self.chance(0.8):
            self.staff_is_coming = True
            self.later(self.between(hours=1, most=timedelta(days=3)), self._staff)

    def run(self) -> None:
        self.happens(ev.Accepted())
        if self.chance(0.1):
            self.later(self.between(hours=0, most=timedelta(days=3)), self._call_back)
        for _ in range(600):
            moment = self._next_moment()
            if moment is None:
                break
            self.now = max(self.now, moment) + timedelta(seconds=self.random.choice((0, 0, 0, 30, 120)))
            self._tick()
        else:
            # Only a part that people know of may go on for ever: a question a box never answers.
            assert self.delivery.attention, f"nobody is told of {self.delivery}"
            return
        self._hold_the_end()

    def _next_moment(self) -> datetime | None:
        moments = [self.queue[0][0]] if self.queue else []
        moments += [item.step.due_at for item in self.open if item.step.due_at is not None and not item.leased]
        moments += [item.step.wake_at for item in self.open if item.step.wake_at is not None]
        return min(moments, default=None)

    def _tick(self) -> None:
        ready: list[Callable[[], None]] = []
        if self.queue and self.queue[0][0] <= self.now:
            ready.append(self._what_comes_in)
        for item in self.open:
            if item.step.due_at is not None and item.step.due_at <= self.now and not item.leased:
                ready.append(lambda item=item: self._call(item))
            if item.step.wake_at is not None and item.step.wake_at <= self.now:
                ready.append(lambda item=item: self._wake(item))
        self.random.choice(ready)()

    def _what_comes_in(self) -> None:
        _, _, act = heapq.heappop(self.queue)
        act()

    def _wake(self, item: Open) -> None:
        if item.step.action is Action.WATCH:
            self.open.remove(item)
        else:
            item.step = replace(item.step, wake_at=None)
        self.happens(ev.ClockStruck(item.step.part))

    def _call(self, item: Open) -> None:
        """A worker takes the step, calls, and brings the answer back; or dies with it in hand."""
        item.leased = True
        step = item.step
        call = step.call
        if call is None and step.action in (Action.PLACE, Action.PRINT):
            call = str(UUID(int=next(self.ticks)))
        answer = self._answer(step, call)

        def finish(event: ev.Event) -> None:
            self.open.remove(item)
            self.happens(event)

        if self.chance(0.04):
            self.later(LEASE, lambda: finish(ev.LeaseExpired(step.part, call)))
        else:
            self.later(timedelta(seconds=self.random.choice((0, 1, 20, 90))), lambda: finish(answer))

    def later(self, wait: timedelta, act: Callable[[], None]) -> None:
        heapq.heappush(self.queue, (self.now + wait, next(self.ticks), act))

    # ---- chance ----------------------------------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def between(self, *, hours: float, most: timedelta) -> timedelta:
        return timedelta(hours=hours) + (most - timedelta(hours=hours)) * self.random.random()

    @property
    def peace(self) -> bool:
        return self.now > self.delivery.brief.accepted_at + PEACE

    # ---- the world -------------------------------------------------------------------------------------------------

    def _answer(self, step: Step, call: str | None) -> ev.Event:
        kind, _, name = step.part.partition("/")
        match step.action:
            case Action.CHECK:
                reachable = self.random.choice((True, True, None, False))
                return ev.ReachabilityChecked(name, reachable, self.now)
            case Action.PLACE if self.policy.channels[name].kind is ChannelKind.EMAIL:
                return self._mail(name, call)
            case Action.PLACE:
                return self._place(name, call)
            case Action.LOOKUP:
                return self._look_up(name, call)
            case Action.NOTIFY:
                return self._notify(name)
            case Action.PRINT:
                return self._print(int(name), call)
            case _:
                raise AssertionError(f"{step.action} of {kind} is never called")

    def _store(self, name: str) -> None:
        side = self.sides[name]
        if self.policy.channels[name].repeat_is_recognised and side.copies:
            return
        side.copies += 1
        side.at = self.now
        assert side.copies <= side.may_send, f"{name} was given the message {side.copies} times on a guess"

    def _placed(self, name: str, *, already: bool = False) -> ev.Placed:
        at = self.sides[name].at
        assert at is not None
        return ev.Placed(name, at, TimeSource.OTHER_SIDE, "receipt", already=already)

    def _place(self, name: str, call: str | None) -> ev.Event:
        side = self.sides[name]
        if self.policy.channels[name].repeat_is_recognised:
            if side.copies:
                return self._placed(name, already=True)
            if side.batch_open:
                return ev.PlacementPending(name, "batch", "already")
        roll = 0.0 if self.peace else self.random.random()
        if roll < 0.35:
            self._store(name)
            return self._placed(name)
        if roll < 0.50 and name == "mijnoverheid":
            side.batch_open = True
            return ev.PlacementPending(name, "batch")
        if roll < 0.65:
            if self.chance(0.5):
                self._store(name)
            return ev.PlacementUnknown(name, "timeout", call)
        if roll < 0.80:
            return ev.PlacementUnavailable(name, "http_503", self.random.choice((None, 0.0, 3600.0)))
        return ev.PlacementRefused(name, "code", self.random.choice(tuple(RefusalKind)))

    def _look_up(self, name: str, call: str | None) -> ev.Event:
        side = self.sides[name]
        if not self.peace and self.chance(0.3):
            return ev.PlacementUnknown(name, "timeout", call)
        if side.copies:
            return self._placed(name, already=True)
        if not side.batch_open:
            return ev.PlacementAbsent(name)
        roll = 0.0 if self.peace else self.random.random()
        if roll < 0.4:
            side.batch_open = False
            self._store(name)
            if self.chance(0.3):  # It was accessible for a while already.
                side.at = self.now - self.between(hours=0, most=timedelta(hours=60))
            return self._placed(name)
        if roll < 0.8:
            return ev.PlacementPending(name, "batch")
        side.batch_open = False
        if roll < 0.9:
            return ev.PlacementUnavailable(name, "NOT_NOW")
        return ev.PlacementRefused(name, "code", self.random.choice(tuple(RefusalKind)))

    def _bounce(self, *, reported: bool) -> ev.Bounce:
        verdict = self.random.choice(tuple(Verdict))
        return ev.Bounce(verdict, Reason.UNMATCHED, "rule", 450, "4.0.0", "text", None, reported)

    def _mail(self, name: str, call: str | None) -> ev.Event:
        roll = 0.0 if self.peace else self.random.random()
        if roll < 0.6:
            self._mail_leaves(name)
            return ev.Placed(name, self.now, TimeSource.OUR_CLOCK, "queue")
        if roll < 0.7:
            if self.chance(0.5):
                self._mail_leaves(name)
            return ev.PlacementUnknown(name, "connection_lost", call)
        if roll < 0.8:
            return ev.PlacementUnavailable(name, "connect_error")
        return ev.CarrierBounced(name, self._bounce(reported=False))

    def _mail_leaves(self, name: str) -> None:
        side = self.sides[name]
        side.copies += 1
        assert side.copies <= side.may_send, f"{name} mailed the message {side.copies} times on a guess"
        wait = self.between(hours=0, most=timedelta(days=6))
        for _ in range(self.random.choice((0, 0, 1, 2))):
            bounce = self._bounce(reported=True)

            def come_back(bounce: ev.Bounce = bounce) -> None:
                placement = self.delivery.placement(name)
                if placement is not None and placement.state is PlacementState.PLACED:
                    side.may_send += bounce.verdict is not Verdict.NOT_A_BOUNCE
                self.happens(ev.CarrierBounced(name, bounce))

            self.later(wait, come_back)
            wait += timedelta(minutes=self.random.choice((0, 2, 60)))

    def _notify(self, name: str) -> ev.Event:
        roll = 0.0 if self.peace else self.random.random()
        if roll < 0.4:
            self._notice_leaves(name)
            return ev.NoticeSent(name, self.now, "queue")
        if roll < 0.7:
            bounce = self._bounce(reported=False)
            if bounce.verdict is Verdict.HARD:
                self.hard.add(name)
            return ev.NoticeBounced(name, bounce)
        if roll < 0.8:
            return ev.NoticeUnavailable(name, "connect_error", configuration=self.chance(0.2))
        if self.chance(0.5):
            self._notice_leaves(name)
        return ev.NoticeUnknown(name, "connection_lost")

    def _notice_leaves(self, name: str) -> None:
        self.first_notice.setdefault(name, self.now)
        wait = self.between(hours=0, most=timedelta(days=6))
        for _ in range(self.random.choice((0, 0, 1, 2))):
            bounce = self._bounce(reported=True)

            def come_back(bounce: ev.Bounce = bounce) -> None:
                if bounce.verdict is Verdict.HARD:
                    self.hard.add(name)
                self.happens(ev.NoticeBounced(name, bounce))

            self.later(wait, come_back)
            wait += timedelta(minutes=self.random.choice((0, 2, 60)))

    def _print(self, letter: int, call: str | None) -> ev.Event:
        roll = 0.0 if self.peace else self.random.random()
        if roll < 0.5 or self.printed[letter]:
            return self._submit(letter)
        if roll < 0.6:
            return ev.LetterRefused(letter, "REJECTED")
        if roll < 0.8:
            return ev.LetterUnavailable(letter, "folder")
        if self.chance(0.5):
            self._submit(letter)
        return ev.LetterUnknown(letter, "timeout", call)

    def _submit(self, letter: int) -> ev.LetterSubmitted:
        if not self.printed[letter]:
            self.printed[letter] += 1
            wait = self.between(hours=1, most=timedelta(days=8))
            reports: list[ev.Event] = [
                ev.LetterPrinted(letter, self.now + wait / 2, "PRINTED"),
                ev.LetterPosted(letter, self.now + wait, TimeSource.OTHER_SIDE, "POSTED"),
            ]
            if self.chance(0.2):
                reports.append(ev.LetterReturned(letter, self.now + wait * 2, "RETURNED"))
            if self.chance(0.1):
                reports = [ev.LetterRefused(letter, "REJECTED")]
            for report in reports:
                # Reports are read in files: late, twice, and not always in order.
                for _ in range(self.random.choice((1, 1, 1, 2))):
                    lag = self.between(hours=0, most=timedelta(days=2))
                    self.later(wait + lag, lambda report=report: self.happens(report))
        return ev.LetterSubmitted(letter, self.now, TimeSource.OUR_CLOCK, "receipt")

    def _staff(self) -> None:
        self.staff_is_coming = False
        if not self.delivery.attention:
            return
        if self.chance(0.15):
            self.orders += 1
            self.happens(ev.LetterOrdered("medewerker", "op verzoek"))
            return
        self.retries += 1
        for side in self.sides.values():
            side.may_send += 1
            side.batch_open = False
        self.happens(ev.Retried("medewerker", "hersteld"))

    def _call_back(self) -> None:
        """Somebody calls the message back; the engine says no while a worker has a step in hand."""
        if not any(item.leased for item in self.open):
            self.happens(ev.Cancelled("zaaksysteem", "verkeerde bijlage"))

    # ---- the promises ----------------------------------------------------------------------------------------------

    def _hold_promises(self, before: Delivery) -> None:
        delivery = self.delivery
        kept = [replace(sending, failed=None) for sending in delivery.sendings]
        assert kept[: len(before.sendings)] == [replace(sending, failed=None) for sending in before.sendings]
        for item in self.open:
            state = self._state_of(item.step.part)
            assert item.leased or state in OPEN_STATES, f"{item.step} goes on while it is {state}"
        at_hand = {item.step.part for item in self.open} | {item.part for item in delivery.attention}
        for placement in delivery.placements:
            if placement.state in OPEN:
                assert f"placement/{placement.channel}" in at_hand, f"{placement} is nobody's work"
            notice = placement.notice
            if notice is None:
                continue
            part = f"notice/{placement.channel}"
            is_open = notice.state in (NoticeState.DUE, NoticeState.WAITING)
            assert not is_open or part in at_hand, f"{notice} is nobody's work"
            # L3: when the 48 hours are over, it is out, or it is known why not. (A placement heard of late has `now`.)
            heard = max(notice.deadline_at, self._heard_of(placement.channel))
            assert not is_open or self.now <= heard + A_LITTLE, f"{notice} at {self.now}"
            assert self.facts["deadline.missed", part] <= 1
            if notice.state in (NoticeState.UNDELIVERABLE, NoticeState.EXPIRED):
                assert any(letter.about == placement.channel for letter in delivery.letters), f"no letter for {notice}"
        for index, letter in enumerate(delivery.letters):
            if letter.state in OPEN_LETTERS:
                assert f"letter/{index}" in at_hand, f"{letter} is nobody's work"
            if letter.kind is LetterKind.NOTICE and letter.reason not in CERTAIN_REASONS:
                placement = delivery.placement(letter.about or "")
                assert placement is not None
                assert placement.notice is not None
                assert letter.requested_at >= placement.notice.deadline_at, "a letter before the deadline on a guess"
            if letter.reason is LetterReason.NOTICE_BOUNCED:
                assert letter.about in self.hard
        self._hold_letters(delivery)
        self._hold_legal_time(delivery)

    def _state_of(self, part: str) -> PlacementState | NoticeState | LetterState:
        kind, _, name = part.partition("/")
        if kind == "letter":
            return self.delivery.letters[int(name)].state
        placement = self.delivery.placement(name)
        assert placement is not None
        if kind == "placement":
            return placement.state
        assert placement.notice is not None
        return placement.notice.state

    def _heard_of(self, channel: str) -> datetime:
        return self.heard.setdefault(channel, self.now)

    heard: dict[str, datetime] = field(default_factory=dict)

    def _hold_letters(self, delivery: Delivery) -> None:
        """No letter twice for one cause, unless it was refused or came back, or a person ordered it."""
        alive = [
            letter for letter in delivery.letters if letter.state not in (LetterState.REFUSED, LetterState.RETURNED)
        ]
        causes = Counter((letter.kind, letter.about) for letter in alive)
        for (kind, about), letters in causes.items():
            ordered = self.orders if kind is LetterKind.MESSAGE else 0
            assert letters <= 1 + ordered, f"{letters} letters of one kind ({kind}) about {about}"
        assert all(printed == 1 for printed in self.printed.values())

    def _hold_legal_time(self, delivery: Delivery) -> None:
        legal = delivery.legal_time(self.policy.primary_channels())
        if not delivery.sendings:
            assert legal is None
            return
        assert legal is not None
        live = [sending for sending in delivery.sendings if sending.failed is None]
        at_mine = [sending for sending in live if sending.channel == "mijnoverheid"]
        if at_mine:
            assert (legal.at, legal.channel) == (at_mine[0].at, "mijnoverheid")
        elif live:
            assert legal.at == min(sending.at for sending in live)
        assert legal.standing is bool(live)
        for sending in at_mine:
            assert sending.at == self.sides["mijnoverheid"].at, "the moment of sending is the box's own"

    def _hold_the_end(self) -> None:
        """The world has nothing more to do: the delivery is done, or a person knows."""
        delivery = self.delivery
        assert self.open == []
        if delivery.state is DeliveryState.CANCELLED:
            assert not self.printed
            assert not any(side.copies for side in self.sides.values()), "what was called back was sent"
            return
        assert delivery.state in (DeliveryState.DONE, DeliveryState.NEEDS_PERSON), delivery
        if delivery.state is DeliveryState.DONE:
            reached = [
                side.copies
                for name, side in self.sides.items()
                if (placement := delivery.placement(name)) and placement.state is PlacementState.PLACED
            ]
            posted = [letter for letter in delivery.letters if letter.posted_at and letter.kind is LetterKind.MESSAGE]
            assert any(reached) or posted, "202 was a promise, and nothing reached the addressee"
            assert not any(item.reason is AttentionReason.OUTCOME_UNKNOWN for item in delivery.attention)


OPEN = {
    PlacementState.CHECKING,
    PlacementState.PLANNED,
    PlacementState.PENDING,
    PlacementState.UNKNOWN,
    PlacementState.HELD,
}


OPEN_LETTERS = {
    LetterState.PLANNED,
    LetterState.UNKNOWN,
    LetterState.SUBMITTED,
    LetterState.PRINTED,
    LetterState.BLOCKED,
}
OPEN_STATES = OPEN | OPEN_LETTERS | {NoticeState.DUE, NoticeState.WAITING}
"""States of any part in which a worker may have something to do; as words no two of them mean different things."""


def briefs(random: Random, brief: Callable[..., Brief], to_check: Callable[[str], object]) -> Brief:
    names = [
        name for name in ("mijnoverheid", "mijndomein", "kluis", "email", "email-reserve") if random.random() < 0.5
    ]
    return brief(
        *(to_check(name) if name in ("mijnoverheid", "kluis") and random.random() < 0.3 else name for name in names),
        email=random.random() < 0.8,
        address=random.random() < 0.9,
        opted_out=random.random() < 0.15,
        publish_after=random.choice((None, None, timedelta(days=2))),
        message_id=UUID(int=random.getrandbits(128)),
    )


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_story_ends_well_or_with_a_person_who_knows(seed, brief, to_check, policy):
    random = Random(seed)
    known = briefs(random, brief, to_check)
    World(random, policy, Delivery(known), known.accepted_at).run()
