"""The other sides: the in-memory adapters, with mishaps, and with a memory of what really happened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any, Protocol
from uuid import UUID

from bode.compose.letter import Letter, LetterComposer, MessageLetterFacts, NoticeLetterFacts
from bode_adapters.contract import (
    Answer,
    BoxMessage,
    Capabilities,
    LetterStatus,
    MailRefused,
    NoticeMail,
    Pending,
    Placed,
    PrintLetter,
    RefusalKind,
    Refused,
    Unavailable,
    Unknown,
)
from bode_adapters.email.mock_reports import DeliveryReport, away_reply, delivery_status
from bode_adapters.memory import MemoryBox, MemoryNotifier, MemoryPrintService, Staged
from bode_ops.simulate.plan import BOX, CARRIER, PORTAL, Fault, Mishaps, What
from bode_ops.simulate.truth import Paper, Sent, Truth

RETURN_DOMAIN = "retour.example.nl"
_HARD, _SOFT, _LATE, _AWAY, _SENDER, _FORGED = "hard", "soft", "delayed", "away", "blocked", "forged"
BLOCKED = "554 5.7.1 Service unavailable; client host blocked using a blocklist"


class World(Protocol):
    """What the other sides ask of the world they are in."""

    mishaps: Mishaps

    def now(self) -> datetime: ...
    def truth(self, message: UUID) -> Truth: ...
    def number(self, message: UUID) -> int: ...
    def suffers(self, what: What) -> bool: ...
    def tell(self, message: UUID, text: str) -> None: ...
    def later(self, wait: timedelta, act: Callable[[], Any]) -> None: ...
    async def take_time(self) -> None: ...
    def hand_in(self, to: str, mail: bytes) -> None: ...


_ADDRESSEE, _CONTENT, _SETTINGS, _DEFECT, _WORD, _BUSY = "no", "content", "settings", "defect", "word", "busy"
_LOST_DONE, _LOST_UNDONE, _PENDING = "lost_done", "lost_undone", "pending"
_PLACE_ODDS: Mapping[str, tuple[Fault, float]] = {
    _ADDRESSEE: (Fault.REFUSALS, 0.015),
    _CONTENT: (Fault.REFUSALS, 0.003),
    _SETTINGS: (Fault.REFUSALS, 0.0004),
    _DEFECT: (Fault.REFUSALS, 0.0004),
    _WORD: (Fault.REFUSALS, 0.001),
    _BUSY: (Fault.REFUSALS, 0.03),
    _LOST_DONE: (Fault.TIMEOUTS, 0.01),
    _LOST_UNDONE: (Fault.TIMEOUTS, 0.01),
    _PENDING: (Fault.LATE, 0.04),
}
_MAIL_ODDS: Mapping[str, tuple[Fault, float]] = {
    _HARD: (Fault.REFUSALS, 0.012),
    _SOFT: (Fault.REFUSALS, 0.03),
    _SENDER: (Fault.REFUSALS, 0.001),
    _BUSY: (Fault.REFUSALS, 0.005),
    _LOST_DONE: (Fault.TIMEOUTS, 0.006),
    _LOST_UNDONE: (Fault.TIMEOUTS, 0.006),
}
_FATE_ODDS: Mapping[str, tuple[Fault, float]] = {
    _HARD: (Fault.LATE, 0.015),
    _SOFT: (Fault.LATE, 0.012),
    _LATE: (Fault.LATE, 0.015),
    _AWAY: (Fault.LATE, 0.02),
    _SENDER: (Fault.LATE, 0.003),
    _FORGED: (Fault.FORGED, 0.006),
}
_PRINT_ODDS: Mapping[str, tuple[Fault, float]] = {
    _ADDRESSEE: (Fault.REFUSALS, 0.005),
    _BUSY: (Fault.REFUSALS, 0.02),
    _LOST_DONE: (Fault.TIMEOUTS, 0.02),
    _LOST_UNDONE: (Fault.TIMEOUTS, 0.02),
}
_REFUSALS: Mapping[str, Refused] = {
    _ADDRESSEE: Refused("NOT_SUBSCRIBED", RefusalKind.ADDRESSEE),
    _CONTENT: Refused("TOO_LARGE", RefusalKind.CONTENT),
    _SETTINGS: Refused("UNKNOWN_TYPE", RefusalKind.CONFIGURATION),
    _DEFECT: Refused("BAD_REQUEST", RefusalKind.DEFECT),
    _WORD: Refused("NEVER_SEEN_WORD", RefusalKind.UNRECOGNISED),
}
_REPLIES: Mapping[str, MailRefused] = {
    _HARD: MailRefused("rcpt_to", 550, "5.1.1 User unknown", "mx.example.nl"),
    _SOFT: MailRefused("rcpt_to", 452, "4.2.2 Mailbox full", "mx.example.nl"),
    _SENDER: MailRefused("after_dot", 554, BLOCKED, "mx.example.nl"),
}

_BOXES: Mapping[str, Capabilities] = {
    BOX: Capabilities(bulk=100, repeat_is_recognised=True, can_lookup=True, can_check=True),
    PORTAL: Capabilities(bulk=10, repeat_is_recognised=False, can_lookup=True),
    CARRIER: Capabilities(bulk=100, repeat_is_recognised=False),
}
_DOWN: Mapping[str, What] = {BOX: What.BOX_DOWN, PORTAL: What.PORTAL_DOWN, CARRIER: What.RELAY_DOWN}


class SimulatedBox(MemoryBox):
    """A box or a carrier, in a world of mishaps."""

    def __init__(self, world: World, channel: str) -> None:
        """Start empty."""
        super().__init__(clock=world.now, capabilities=_BOXES[channel], rule=self._mishap)
        self._world = world
        self._channel = channel
        self._waiting: dict[UUID, Pending] = {}

    async def place(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Place, with the time on the way there and back."""
        await self._world.take_time()
        self.down = self._world.suffers(_DOWN[self._channel])
        answers = await super().place(messages=messages)
        await self._world.take_time()
        return [self._seen(message, answer) for message, answer in zip(messages, answers, strict=True)]

    async def lookup(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Look up, with the time it takes."""
        await self._world.take_time()
        self.down = self._world.suffers(_DOWN[self._channel])
        answers = await super().lookup(messages=messages)
        return [self._seen(message, answer) for message, answer in zip(messages, answers, strict=True)]

    def _seen(self, message: BoxMessage, answer: Answer) -> Answer:
        if isinstance(answer, Placed):
            self._world.truth(message.id).heard_at.setdefault(self._channel, self._world.now())
        self._world.tell(message.id, f"{self._channel} answers {_short(answer)}")
        return answer

    def _mishap(self, message: BoxMessage) -> Answer | Staged | None:
        if message.id in self._waiting and self._capabilities.repeat_is_recognised:
            return Staged(self._waiting[message.id], happened=False)
        if message.id in self.placements and self._capabilities.repeat_is_recognised:
            return None
        if self._channel == CARRIER:
            return self._mail(message)
        number = self._world.number(message.id)
        what, chance = self._world.mishaps.chance(number, f"place/{self._channel}", _PLACE_ODDS)
        match what:
            case "busy":
                return Unavailable("http_503", chance.choice((None, 60.0, 3600.0)))
            case "lost_done" | "lost_undone":
                return Staged(Unknown("timeout"), happened=what == _LOST_DONE)
            case "pending" if self._channel == BOX:
                return self._pend(message, chance.random())
            case None | "pending":
                return None
            case _:
                return _REFUSALS[what]

    def _pend(self, message: BoxMessage, roll: float) -> Answer:
        """Take it in first; what becomes of it is known minutes to days later."""
        pending = self._waiting[message.id] = Pending(f"batch-{message.batch.hex[:8]}")

        def settle() -> None:
            if self._waiting.pop(message.id, None) is None:
                return
            refused = roll < 0.1
            self._world.tell(message.id, f"{self._channel} {'refuses' if refused else 'places'} what it took in")
            self.settle(message.id, _REFUSALS[_ADDRESSEE] if refused else None)
            if not refused:
                self._world.truth(message.id).sent.append(Sent(self._channel, self._world.now()))

        self._world.later(timedelta(hours=60 * roll**4 if roll < 0.95 else 60, minutes=1), settle)
        return pending

    def _mail(self, message: BoxMessage) -> Answer | Staged | None:
        if self._world.suffers(What.BLOCKLIST):
            return _REPLIES[_SENDER]
        what, _ = self._world.mishaps.chance(self._world.number(message.id), "mail", _MAIL_ODDS)
        if what == _BUSY:
            return Unavailable("connect_error")
        if what in (_LOST_DONE, _LOST_UNDONE):
            return Staged(Unknown("connection_lost"), happened=what == _LOST_DONE)
        if what is None:
            return None
        if what == _HARD:
            self._world.truth(message.id).hard[self._channel] = self._world.now()
        return _REPLIES[what]

    def _record(self, message: BoxMessage, answer: Answer) -> None:
        before = self.placements[message.id]
        super()._record(message, answer)
        if self.placements[message.id] == before:
            return
        truth = self._world.truth(message.id)
        copy = Sent(self._channel, self._world.now())
        truth.sent.append(copy)
        self._world.tell(message.id, f"{self._channel} really has the message")
        if self._channel == CARRIER:
            to, back = message.email or "", message.return_path or ""
            bounces(self._world, message.id, CARRIER, email=to, return_path=back, copy=copy)


class SimulatedNotifier(MemoryNotifier):
    """Mail servers, in a world of mishaps."""

    def __init__(self, world: World) -> None:
        """Start empty."""
        super().__init__(clock=world.now, rule=self._mishap)
        self._world = world
        self.about: dict[UUID, tuple[UUID, str]] = {}
        """The message and channel of each notice id that can come by."""

    async def notify(self, *, notices: Sequence[NoticeMail]) -> Sequence[Answer]:
        """Send, with the time on the way there and back."""
        await self._world.take_time()
        self.down = self._world.suffers(What.RELAY_DOWN)
        before = [self.sent[notice.id] for notice in notices]
        answers = await super().notify(notices=notices)
        for notice, had, answer in zip(notices, before, answers, strict=True):
            message, channel = self.about[notice.id]
            if self.sent[notice.id] > had:
                self._world.truth(message).notices.append((channel, self._world.now()))
                self._world.tell(message, f"a notice about {channel} really leaves")
                bounces(self._world, message, channel, email=notice.email, return_path=notice.return_path)
            self._world.tell(message, f"the relay answers {_short(answer)}")
        await self._world.take_time()
        return answers

    def _mishap(self, notice: NoticeMail) -> Answer | Staged | None:
        message, channel = self.about[notice.id]
        number, mishaps = self._world.number(message), self._world.mishaps
        if self._world.suffers(What.BLOCKLIST):
            return _REPLIES[_SENDER]
        if self._world.suffers(What.DIRECTORY_LOST) and notice.email.endswith("@post.example.nl"):
            self._world.truth(message).hard[channel] = self._world.now()
            return _REPLIES[_HARD]
        if self._full(number):
            return _REPLIES[_SOFT]
        what, _ = mishaps.chance(number, "notify", _MAIL_ODDS)
        if what == _BUSY:
            return Unavailable("connect_error")
        if what in (_LOST_DONE, _LOST_UNDONE):
            return Staged(Unknown("connection_lost"), happened=what == _LOST_DONE)
        if what is None:
            return None
        if what == _HARD:
            self._world.truth(message).hard[channel] = self._world.now()
        return _REPLIES[what]

    def _full(self, number: int) -> bool:
        """Tell whether this mailbox is full, and stays so for days."""
        return self._world.mishaps.lasting(number, "mailbox", Fault.REFUSALS, 0.006)


class SimulatedPrinter(MemoryPrintService):
    """The print service and the post, in a world of mishaps."""

    def __init__(self, world: World) -> None:
        """Start empty."""
        super().__init__(clock=world.now, rule=self._mishap)
        self._world = world
        self.about: dict[UUID, UUID] = {}
        """The message of each letter id that can come by."""

    async def submit(self, *, letters: Sequence[PrintLetter]) -> Sequence[Answer]:
        """Take letters in, with the time that takes."""
        await self._world.take_time()
        self.down = self._world.suffers(What.PRINT_DOWN)
        answers = await super().submit(letters=letters)
        for letter, answer in zip(letters, answers, strict=True):
            self._world.tell(self.about[letter.id], f"the print service answers {_short(answer)}")
        return answers

    def _mishap(self, letter: PrintLetter) -> Answer | Staged | None:
        if letter.id in self.printed:
            return None
        number = self._world.number(self.about[letter.id])
        what, _ = self._world.mishaps.chance(number, "print", _PRINT_ODDS)
        if what == _ADDRESSEE:
            return Refused("REJECTED", RefusalKind.CONTENT)
        if what == _BUSY:
            return Unavailable("folder")
        if what in (_LOST_DONE, _LOST_UNDONE):
            return Staged(Unknown("timeout"), happened=what == _LOST_DONE)
        return None

    def _take(self, letter: PrintLetter) -> Placed:
        if letter.id not in self.printed:
            message = self.about[letter.id]
            paper = self._world.truth(message).letters[letter.id] = Paper(letter.kind, self._world.now())
            self._world.tell(message, f"the print service really has a letter ({letter.kind})")
            self._post(message, letter.id, paper)
        return super()._take(letter)

    def _post(self, message: UUID, letter: UUID, paper: Paper) -> None:
        """Print and post it; the reports come in files: late, twice, in any order."""
        number = self._world.number(message)
        late: Mapping[str, tuple[Fault, float]] = {"late": (Fault.LATE, 0.1)}
        what, chance = self._world.mishaps.chance(
            number, "post", {"rejected": (Fault.REFUSALS, 0.01), "returned": (Fault.LATE, 0.04)}
        )
        printed = timedelta(hours=1 + 20 * chance.random())
        posted = printed + timedelta(hours=2 + 20 * chance.random())
        steps = [(LetterStatus.PRINTED, printed), (LetterStatus.POSTED, posted)]
        if what == "returned":
            steps.append((LetterStatus.RETURNED, posted + timedelta(days=2 + 5 * chance.random())))
        if what == "rejected":
            steps = [(LetterStatus.REJECTED, printed)]
        for status, wait in steps:
            lag, detail = self._world.mishaps.chance(number, f"report/{status}", late)
            delay = timedelta(hours=60 * detail.random()) if lag else timedelta(0)
            mixed, _ = self._world.mishaps.chance(number, f"order/{status}", {"early": (Fault.REORDER, 0.1)})
            if mixed and status is LetterStatus.PRINTED:
                delay += posted
            twice, _ = self._world.mishaps.chance(number, f"twice/{status}", {"twice": (Fault.DUPLICATES, 0.1)})
            at = self._world.now() + wait
            self._world.later(wait, partial(self._happens, message, paper, status))
            for _ in range(2 if twice else 1):
                self._world.later(wait + delay, partial(self.report, letter, status, at=at))

    def _happens(self, message: UUID, paper: Paper, status: LetterStatus) -> None:
        self._world.tell(message, f"a letter ({paper.kind}) is really {status}")
        if status is LetterStatus.POSTED:
            paper.posted_at = self._world.now()
            if paper.kind == "message":
                self._world.truth(message).sent.append(Sent("print", self._world.now()))
        paper.failed |= status in (LetterStatus.RETURNED, LetterStatus.REJECTED)


def bounces(
    world: World, message: UUID, channel: str, *, email: str, return_path: str, copy: Sent | None = None
) -> None:
    """Decide what comes back of a mail that left: nothing, as a rule; or a bounce, a delay, a reply, a forgery."""
    number = world.number(message)
    what, chance = world.mishaps.chance(number, f"fate/{channel}", _FATE_ODDS)
    if what is None:
        return
    wait = timedelta(hours=130 * chance.random() ** 3, minutes=1)
    to = return_path
    if what == _FORGED:
        local, _, domain = return_path.partition("@")
        to = f"{local[:-4]}aaaa@{domain}" if chance.random() < 0.5 else f"postmaster@{domain}"
    report = {
        _HARD: DeliveryReport(email, diagnostic=f"550 5.1.1 <{email}> User unknown"),
        _FORGED: DeliveryReport(email, diagnostic=f"550 5.1.1 <{email}> User unknown"),
        _SOFT: DeliveryReport(email, status="4.2.2", diagnostic="452 4.2.2 Mailbox full"),
        _LATE: DeliveryReport(email, action="delayed", status="4.4.1", diagnostic="connect timed out"),
        _SENDER: DeliveryReport(email, status="5.7.1", diagnostic=BLOCKED),
    }.get(what)

    def come_back() -> None:
        if report is None:
            about = f"Message-ID: <{message}@example.nl>\r\n".encode()
            mail = away_reply(to, sender=email, about=about, at=world.now())
        else:
            mail = delivery_status(to, report, reporting_mta="mx.example.nl", at=world.now())
        if what == _HARD:
            world.truth(message).hard[channel] = world.now()
        if copy is not None and what in (_HARD, _SOFT, _SENDER):
            copy.came_back = True
        world.tell(message, f"a report about the mail for {channel} comes in: {what}")
        world.hand_in(to, mail)
        twice, _ = world.mishaps.chance(number, f"bounce-twice/{channel}", {"twice": (Fault.DUPLICATES, 0.2)})
        if twice:
            world.later(timedelta(hours=2), lambda: world.hand_in(to, mail))

    world.later(wait, come_back)


class PlainLetters(LetterComposer):
    """Sets letters without setting type, which is most of the work of a letter and no part of what is simulated."""

    def __init__(self) -> None:
        """Read no templates."""

    def of(self, oin: str) -> PlainLetters:
        """Give the same for every organisation."""
        del oin
        return self

    def message_letter(self, facts: MessageLetterFacts) -> Letter:
        """Give a letter that is the same for the same message and day."""
        return _plain(f"{facts.reference} {facts.letter_date}")

    def notice_letter(self, facts: NoticeLetterFacts) -> Letter:
        """Give a letter that is the same for the same placement and day."""
        return _plain(f"{facts.box_label} {facts.accessible_at} {facts.letter_date}")


def _plain(text: str) -> Letter:
    pdf = text.encode()
    return Letter(pdf, 1, sha256(pdf).hexdigest(), "plain", ())


def _short(answer: Answer) -> str:
    code = getattr(answer, "code", None)
    return f"{type(answer).__name__}({code})" if code else type(answer).__name__
