"""One chunk's calls: make the items an adapter takes, make the call, and give an event per step."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from itertools import chain, groupby
from math import isfinite
from typing import Generic, TypeVar, assert_never
from uuid import UUID

import structlog

from bode.compose.letter import Letter, MessageLetterFacts, NoticeLetterFacts
from bode.compose.letter import LetterReason as WhyPaper
from bode.compose.letter import NoticeLetterReason as WhyNotice
from bode.compose.notice import NoticeFacts, NoticeText
from bode.domain import events as ev
from bode.domain.decision import Action
from bode.domain.message import AddresseeKind, Message
from bode.domain.parts import Delivery, LetterKind, LetterReason, PlacementState, letter_id
from bode.domain.policy import ChannelKind
from bode.domain.terms import last_day, legal_day
from bode.engine import answers
from bode.engine.hold import Hold
from bode.engine.journal import ChunkJournal, EventOf
from bode.engine.mail_health import Address
from bode.engine.parts import Organisation, Parts
from bode.engine.profile_guard import ProfileGuard
from bode.engine.return_path import Carries, Token, notice_id
from bode.failpoints import Point, failpoint
from bode.store.messages import StoredLetter
from bode.store.steps import Leased
from bode_adapters import contract

log = structlog.get_logger()

_Item = TypeVar("_Item")
_Sent = TypeVar("_Sent", contract.BoxMessage, contract.NoticeMail, contract.PrintLetter)

_WHY_PAPER: Mapping[LetterReason, WhyPaper] = {
    LetterReason.NO_CHANNEL: WhyPaper.NO_CHANNEL,
    LetterReason.BOX_REFUSED: WhyPaper.BOX_REFUSED,
    LetterReason.MAIL_RETURNED: WhyPaper.EMAIL_FAILED,
    LetterReason.ORDERED: WhyPaper.STAFF,
}
_WHY_NOTICE: Mapping[LetterReason, WhyNotice] = {
    LetterReason.NOTICE_BOUNCED: WhyNotice.NO_SUCH_ADDRESS,
    LetterReason.NOTICE_NOT_IN_TIME: WhyNotice.UNREACHABLE,
    LetterReason.NO_EMAIL: WhyNotice.NO_ADDRESS,
    LetterReason.ADDRESS_FAILING: WhyNotice.NO_SUCH_ADDRESS,
}


@dataclass(frozen=True, slots=True)
class Work:
    """A leased step with all that its call needs."""

    leased: Leased
    delivery: Delivery
    message: Message


@dataclass(frozen=True, slots=True)
class _Sending(Generic[_Sent]):
    """What a call sends for a step, and what an answer about it means."""

    item: _Sent
    step: Leased
    means: EventOf


@dataclass(slots=True)
class Outcome:
    """What came of a chunk: an event per step, and letters to keep."""

    hold: Hold
    """The worker's hold on the chunk: nothing is called after it."""
    journal: ChunkJournal
    events: list[tuple[Leased, ev.Event]] = field(default_factory=list[tuple[Leased, ev.Event]])
    letters: list[StoredLetter] = field(default_factory=list[StoredLetter])
    addresses: dict[UUID, Address] = field(default_factory=dict[UUID, Address])
    """For mail: who it was from and where it went, by message."""


class Calls:
    """Makes calls for the engine. A call that raises or takes too long has an unknown outcome, as any other."""

    def __init__(self, parts: Parts) -> None:
        """Take the adapters, composers and rules."""
        self._parts = parts
        self._limit = parts.hold_seconds * 0.75
        self._profile_guard = ProfileGuard(parts.profile_limits)

    async def make(self, lane: str, work: Sequence[Work], outcome: Outcome) -> None:
        """Make the calls of a chunk of one lane, and put into `outcome` what comes of them."""
        by_action: dict[Action, list[Work]] = {}
        for item in work:
            by_action.setdefault(item.leased.action, []).append(item)
        await asyncio.gather(*(self._of_action(lane, action, items, outcome) for action, items in by_action.items()))

    async def _of_action(self, lane: str, action: Action, work: list[Work], outcome: Outcome) -> None:
        match action:
            case Action.CHECK:
                await self._check(lane, work, outcome)
            case Action.PROFILE:
                await self._ask_profile(lane, work, outcome)
            case Action.PLACE | Action.LOOKUP:
                await self._place(lane, action, work, outcome)
            case Action.NOTIFY:
                await self._notify(work, outcome)
            case Action.PRINT:
                await self._print(work, outcome)
            case Action.READ:
                await self._read(lane, work, outcome)
            case Action.WATCH:
                # Nothing to call: such a step has no due time and is never claimed.
                outcome.events += [(item.leased, ev.ClockStruck(item.leased.part)) for item in work]
            case _:
                assert_never(action)

    async def _in_calls(
        self,
        lane: str,
        action: Action,
        groups: Iterable[Sequence[_Sending[_Sent]]],
        call: Callable[[Sequence[_Sent]], Awaitable[Sequence[contract.Answer]]],
        outcome: Outcome,
    ) -> list[tuple[contract.Answer, ev.Event]]:
        """Make a call for each group, side by side; gives the answers and what they mean, in that order."""
        groups = list(groups)
        made = await asyncio.gather(*(self._guarded(lane, action, group, call, outcome) for group in groups))
        return [
            (answer, _understood(answer, sent.means)) for sent, answer in zip(chain(*groups), chain(*made), strict=True)
        ]

    async def _guarded(
        self,
        lane: str,
        action: Action,
        group: Sequence[_Sending[_Sent]],
        call: Callable[[Sequence[_Sent]], Awaitable[Sequence[contract.Answer]]],
        outcome: Outcome,
    ) -> Sequence[contract.Answer]:
        """Make a call, and answer `Unknown` for all of it when the adapter raises or overstays: it may have acted.

        A worker that was stopped past its lease (a machine that slept, a database that was slow) does not call: another
        may have taken the steps over, found that nothing was placed, and placed them.
        """
        count = len(group)
        try:
            await failpoint(Point.BEFORE_CALL)
            if outcome.hold.is_over:
                log.error("call.too_late", lane=lane, action=action, items=count)
                # Nothing was done, for certain; but of a question that means: no answer.
                late = contract.Unknown if action is Action.LOOKUP else contract.Unavailable
                return [late("lease_over")] * count
            async with outcome.hold.call(self._limit):
                given = await self._noted(lane, action, group, call, outcome.journal)
        except TimeoutError:
            log.error("call.overstayed", lane=lane, action=action, items=count, limit_seconds=self._limit)
            return [contract.Unknown("call_overstayed")] * count
        except Exception as error:  # noqa: BLE001 - an adapter is other people's code; what it did is unknown
            log.error("call.raised", lane=lane, action=action, items=count, error=type(error).__name__)
            return [contract.Unknown(f"adapter_raised:{type(error).__name__}")] * count
        if len(given) != count:
            log.error("call.miscounted", lane=lane, action=action, items=count, answers=len(given))
            return [contract.Unknown("adapter_miscounted")] * count
        return given

    async def _noted(
        self,
        lane: str,
        action: Action,
        group: Sequence[_Sending[_Sent]],
        call: Callable[[Sequence[_Sent]], Awaitable[Sequence[contract.Answer]]],
        chunk: ChunkJournal,
    ) -> list[contract.Answer]:
        """Make a call, and note in the journal what leaves and what ends, unless the adapter does so item by item."""
        journal = self._parts.journal
        by_item = journal is not None and isinstance(self._parts.adapter(lane), contract.KeepsJournal)
        # A question sends nothing.
        noted: Sequence[_Sending[_Sent]] = () if by_item or action is Action.LOOKUP else group
        means = [(sent.item.id, sent.step.id, partial(_understood, event_of=sent.means)) for sent in group]
        for sent in noted:
            chunk.leaves(sent.step.id)
        with journal.expecting(chunk, lane, means) if journal is not None and by_item else nullcontext():
            given = list(await call([sent.item for sent in group]))
            await failpoint(Point.DURING_CALL)
        for (_, step, event_of), answer in zip(means if noted else (), given, strict=False):
            chunk.ended(step, answer, event_of)
        return given

    # ---- boxes and carriers --------------------------------------------------------------------------------------

    async def _check(self, lane: str, work: list[Work], outcome: Outcome) -> None:
        groups = list(self._by_sender(lane, work))
        found = await asyncio.gather(*(self._reachable(lane, group) for group in groups))
        outcome.events += [
            (item.leased, ev.ReachabilityChecked(lane, said.reachable, said.checked_at, said.code))
            for item, said in zip(chain(*groups), chain(*found), strict=True)
        ]

    async def _reachable(self, lane: str, items: Sequence[Work]) -> Sequence[contract.Reachability]:
        sender, who = _sender(self._parts.organisations[items[0].message.sender]), _identifiers(items)
        found, code = await self._asked(
            lane, Action.CHECK, len(items), lambda: self._parts.boxes[lane].check(addressees=who, sender=sender)
        )
        return found if not code else [contract.Reachability(None, self._parts.clock.now(), code)] * len(items)

    async def _ask_profile(self, lane: str, work: list[Work], outcome: Outcome) -> None:
        groups = list(self._by_sender(lane, work))
        found = await asyncio.gather(*(self._profiles(lane, group) for group in groups))
        given = self._profile_guard.weigh(list(chain(*found)))
        outcome.events += [
            (item.leased, answers.of_profile(answer)) for item, answer in zip(chain(*groups), given, strict=True)
        ]

    async def _profiles(self, lane: str, items: Sequence[Work]) -> Sequence[contract.ProfileAnswer]:
        sender, service = _sender(self._parts.organisations[items[0].message.sender]), self._parts.profile
        if service is None:
            # It was taken out of the configuration while messages waited for it.
            return [contract.Unavailable("not_configured")] * len(items)
        who = _identifiers(items)
        found, code = await self._asked(
            lane, Action.PROFILE, len(items), lambda: service.profiles(addressees=who, sender=sender)
        )
        return found if not code else [contract.Unavailable(code)] * len(items)

    async def _read(self, lane: str, work: list[Work], outcome: Outcome) -> None:
        groups = list(_batched(work, self._parts.bulk(lane)))
        found = await asyncio.gather(*(self._readings(lane, group) for group in groups))
        for item, reading in zip(chain(*groups), chain(*found), strict=True):
            outcome.events.append((item.leased, answers.of_reading(lane, reading)))

    async def _readings(self, lane: str, items: Sequence[Work]) -> Sequence[contract.Reading]:
        box = self._parts.boxes[lane]
        if not isinstance(box, contract.TellsReading):
            log.error("call.raised", lane=lane, action=Action.READ, items=len(items), error="not_offered")
            return [contract.Reading(None, code="not_offered")] * len(items)
        messages = [self._box_message(lane, item) for item in items]
        found, code = await self._asked(lane, Action.READ, len(items), lambda: box.readings(messages=messages))
        if code:
            return [contract.Reading(None, code=code)] * len(items)
        silent = Counter(reading.code for reading in found if reading.opened is None)
        if silent:
            log.warning("reading.not_told", lane=lane, codes=dict(silent))
        return found

    async def _asked(
        self, lane: str, action: Action, count: int, ask: Callable[[], Awaitable[Sequence[_Item]]]
    ) -> tuple[Sequence[_Item], str]:
        """Put a question about so many items: what was said, or why nothing was. It is asked again later then."""
        try:
            async with asyncio.timeout(self._limit):
                found = list(await ask())
            code = "adapter_miscounted" if len(found) != count else ""
        except Exception as error:  # noqa: BLE001 - as for any call
            found, code = [], type(error).__name__
        if code:
            log.error("call.raised", lane=lane, action=action, items=count, error=code)
        return found, code

    def _by_sender(self, lane: str, work: Sequence[Work]) -> Iterator[Sequence[Work]]:
        """Put together what one question may be about: of one sender, and no more than it may hold."""
        by_sender: dict[str, list[Work]] = {}
        for item in work:
            by_sender.setdefault(item.message.sender, []).append(item)
        return (group for items in by_sender.values() for group in _batched(items, self._parts.bulk(lane)))

    async def _place(self, lane: str, action: Action, work: list[Work], outcome: Outcome) -> None:
        box = self._parts.boxes[lane]
        # As many items as one call may hold were given the same call when they were claimed; a repeat comes whole.
        groups = list(_by_call(work) if action is Action.PLACE else _batched(work, self._parts.bulk(lane)))
        call = box.place if action is Action.PLACE else box.lookup
        sendings = [[self._placing(lane, item) for item in group] for group in groups]
        given = await self._in_calls(lane, action, sendings, lambda items: call(messages=items), outcome)
        by_mail = self._parts.policy.channels[lane].kind is ChannelKind.EMAIL
        for item, (answer, event) in zip(chain(*groups), given, strict=True):
            answers.note_unrecognised(lane, answer)
            if by_mail and (email := item.message.notice.email) is not None:
                outcome.addresses[item.message.id] = Address(item.message.sender, email)
            outcome.events.append((item.leased, event))

    def _placing(self, lane: str, work: Work) -> _Sending[contract.BoxMessage]:
        leased = work.leased
        means = partial(answers.of_box, lane, rules=self._parts.rules, call=leased.call, called_at=leased.called_at)
        return _Sending(self._box_message(lane, work), leased, means)

    def _box_message(self, lane: str, work: Work) -> contract.BoxMessage:
        message, leased = work.message, work.leased
        placement = work.delivery.placement(lane)
        email = message.notice.email
        index = next((n for n, item in enumerate(work.delivery.placements) if item.channel == lane), 0)
        return contract.BoxMessage(
            id=message.id,
            batch=leased.call or message.id,
            reference=message.reference,
            sender=_sender(self._parts.organisations[message.sender]),
            addressee=_identifier(message),
            subject=message.subject,
            text=message.text,
            documents=tuple(
                contract.Document(document.name, document.media_type, document.content)
                for document in message.documents
            ),
            publish_at=message.publish_at,
            email=email,
            return_path=self._parts.return_path.make(Token(message.id, index, Carries.MESSAGE)) if email else None,
            receipt=placement.receipt if placement is not None else None,
            since=placement.called_at if placement is not None else None,
            first_receipt=placement.first_receipt if placement is not None else None,
        )

    # ---- notices -------------------------------------------------------------------------------------------------

    async def _notify(self, work: list[Work], outcome: Outcome) -> None:
        ready: list[_Sending[contract.NoticeMail]] = []
        for item in work:
            channel = item.leased.part.removeprefix("notice/")
            try:
                text = self._parts.notice_composer.compose(self.notice_facts(item.delivery, item.message, channel))
            except Exception as error:  # noqa: BLE001 - templates can raise anything, and the other notices go out
                log.error("notice.not_composed", message=str(item.message.id), error=type(error).__name__)
                # What a template lacks is lacking for all; anything else is about this one message.
                lacking = isinstance(error, (ValueError, KeyError))
                unavailable = ev.NoticeUnavailable(channel, "not_composed", configuration=lacking)
                outcome.events.append((item.leased, unavailable))
                continue
            mail = self._notice_mail(item, channel, text)
            means = partial(
                answers.of_notifier,
                channel,
                rules=self._parts.rules,
                text_sha256=text.sha256,
                template=text.template,
            )
            ready.append(_Sending(mail, item.leased, means))
            outcome.addresses[item.message.id] = Address(item.message.sender, mail.email)
        if not ready:
            return
        lane = self._parts.policy.notice_lane
        notify = self._parts.notifier.notify
        calls = _batched(ready, self._parts.bulk(lane))
        given = await self._in_calls(lane, Action.NOTIFY, calls, lambda items: notify(notices=items), outcome)
        outcome.events += [(sent.step, event) for sent, (_, event) in zip(ready, given, strict=True)]

    def _notice_mail(self, work: Work, channel: str, text: NoticeText) -> contract.NoticeMail:
        message = work.message
        index = next((n for n, item in enumerate(work.delivery.placements) if item.channel == channel), 0)
        return contract.NoticeMail(
            id=notice_id(message.id, channel),
            sender=_sender(self._parts.organisations[message.sender]),
            email=message.notice.email or "",
            return_path=self._parts.return_path.make(Token(message.id, index, Carries.NOTICE)),
            subject=text.subject,
            text=text.text,
            html=text.html,
            deadline=work.leased.deadline_at,
        )

    def notice_facts(self, delivery: Delivery, message: Message, channel: str) -> NoticeFacts:
        """Give what a notice says (L4): nature, consequences, term and box; never content, number or reference."""
        placement = delivery.placement(channel)
        placed_at = placement.placed_at if placement is not None and placement.placed_at else delivery.brief.starts_at
        organisation = self._parts.organisations[message.sender]
        return NoticeFacts(
            organisation=organisation.name,
            nature=message.nature,
            consequences=message.consequences,
            term=message.term,
            last_day=self._last_day(delivery, message, placed_at),
            box_label=self._parts.policy.channels[channel].label,
            box_url=self._parts.box_urls[channel],
            accessible_at=placed_at,
            placed_elsewhere=tuple(
                self._parts.policy.channels[item.channel].label
                for item in delivery.placements
                if item.channel != channel
                and item.state is PlacementState.PLACED
                and item.notice is not None
                and item.channel in self._parts.policy.channels
            ),
            organisation_contact=organisation.contact,
        )

    def _last_day(self, delivery: Delivery, message: Message, placed_at: datetime) -> date | None:
        if message.term is None:
            return None
        if message.term.duration is None:
            return message.term.last_day
        legal = delivery.legal_time(self._parts.policy.primary_channels())
        sent_at = legal.at if legal is not None else placed_at
        return last_day(message.term.duration, sent_at, self._parts.policy.is_holiday).day

    # ---- letters -------------------------------------------------------------------------------------------------

    async def _print(self, work: list[Work], outcome: Outcome) -> None:
        ready: list[tuple[Work, int, Letter, _Sending[contract.PrintLetter]]] = []
        for item in work:
            number = int(item.leased.part.removeprefix("letter/"))
            try:
                letter = await asyncio.to_thread(self._compose, item, number)
            except Exception as error:  # noqa: BLE001 - typst and pikepdf raise what they like; other letters go on
                # What cannot be set will not be set by trying again: a person looks.
                log.error("letter.not_composed", message=str(item.message.id), error=type(error).__name__)
                refused = ev.LetterRefused(number, f"not_composed:{type(error).__name__}")
                outcome.events.append((item.leased, refused))
                continue
            if letter.fonts_missing:
                log.warning("letter.fonts_not_embedded", message=str(item.message.id), documents=letter.fonts_missing)
            order = contract.PrintLetter(
                id=letter_id(item.message.id, number),
                batch=item.leased.call or item.message.id,
                sender=_sender(self._parts.organisations[item.message.sender]),
                kind=item.delivery.letters[number].kind,
                pdf=letter.pdf,
                pages=letter.pages,
                sheets=self._parts.paper.sheets(letter.pages),
                grams=self._parts.paper.grams(letter.pages),
                sha256=letter.sha256,
            )
            means = partial(
                answers.of_printer,
                number,
                call=item.leased.call,
                sha256=letter.sha256,
                pages=letter.pages,
                template=letter.template,
            )
            ready.append((item, number, letter, _Sending(order, item.leased, means)))
        if not ready:
            return
        lane = self._parts.policy.print_lane
        ready.sort(key=lambda item: item[3].item.batch)
        orders = [[order for *_, order in group] for _, group in groupby(ready, key=lambda item: item[3].item.batch)]
        submit = self._parts.printer.submit
        given = await self._in_calls(lane, Action.PRINT, orders, lambda items: submit(letters=items), outcome)
        for (item, number, letter, _), (_, event) in zip(ready, given, strict=True):
            outcome.events.append((item.leased, event))
            if isinstance(event, ev.LetterSubmitted):
                outcome.letters.append(
                    StoredLetter(
                        item.message.id,
                        number,
                        letter.pdf,
                        letter.pages,
                        letter.template,
                    )
                )

    def _compose(self, work: Work, number: int) -> Letter:
        message, delivery = work.message, work.delivery
        organisation = self._parts.organisations[message.sender]
        composer = self._parts.letter_composer.of(message.sender)
        letter = delivery.letters[number]
        address = message.addressee.address
        if address is None:
            raise ValueError("there is no postal address")
        # The letter's date is the day it was ordered: the same letter set again after a crash has the same bytes.
        day = legal_day(letter.requested_at)
        if letter.kind is LetterKind.MESSAGE:
            return composer.message_letter(
                MessageLetterFacts(
                    organisation=organisation.name,
                    organisation_address=organisation.address,
                    organisation_contact=organisation.contact,
                    addressee_name=message.addressee.name,
                    is_person=message.addressee.kind is AddresseeKind.BSN,
                    address=address,
                    letter_date=day,
                    nature=message.nature,
                    consequences=message.consequences,
                    term=message.term,
                    reference=message.reference,
                    subject=message.subject,
                    text=message.text,
                    documents=tuple((document.name, document.content) for document in message.documents),
                    why=_WHY_PAPER[letter.reason],
                )
            )
        channel = letter.about or ""
        placement = delivery.placement(channel)
        placed_at = placement.placed_at if placement is not None and placement.placed_at else letter.requested_at
        return composer.notice_letter(
            NoticeLetterFacts(
                organisation=organisation.name,
                organisation_address=organisation.address,
                organisation_contact=organisation.contact,
                addressee_name=message.addressee.name,
                is_person=message.addressee.kind is AddresseeKind.BSN,
                address=address,
                letter_date=day,
                nature=message.nature,
                consequences=message.consequences,
                term=message.term,
                last_day=self._last_day(delivery, message, placed_at),
                box_label=self._parts.policy.channels[channel].label,
                box_url=self._parts.box_urls[channel],
                accessible_at=placed_at,
                failed_address=message.notice.email,
                why=_WHY_NOTICE[letter.reason],
            )
        )


def _by_call(work: Sequence[Work]) -> Iterable[Sequence[Work]]:
    """Put together what travels in one call."""
    groups: dict[UUID, list[Work]] = {}
    for item in work:
        groups.setdefault(item.leased.call or item.message.id, []).append(item)
    return groups.values()


def _batched(items: Sequence[_Item], most: int) -> Iterator[Sequence[_Item]]:
    """Cut into pieces of at most so many."""
    return (items[start : start + most] for start in range(0, len(items), most))


def _understood(answer: contract.Answer, event_of: Callable[[contract.Answer], ev.Event]) -> ev.Event:
    """Give the event of an answer; one that is no answer by the contract says nothing about what was done."""
    fault = _fault(answer)
    if fault is None:
        try:
            return event_of(answer)
        except Exception as error:  # noqa: BLE001 - an adapter is other people's code, and may answer anything
            fault = type(error).__name__
    log.error("call.not_understood", answer=type(answer).__name__, fault=fault)
    return event_of(contract.Unknown(f"adapter_answered:{fault}"))


def _fault(answer: contract.Answer) -> str | None:
    match answer:
        case contract.Placed(at=at) if at.tzinfo is None:
            return "time_without_zone"
        case contract.Unavailable(retry_after=float(wait)) if not isfinite(wait):
            return "no_number_of_seconds"
        case _:
            return None


def _sender(organisation: Organisation) -> contract.Sender:
    return contract.Sender(organisation.oin, organisation.name, organisation.email, organisation.box_types)


def _identifiers(items: Sequence[Work]) -> list[contract.Identifier]:
    return [_identifier(item.message) for item in items]


def _identifier(message: Message) -> contract.Identifier:
    return contract.Identifier(contract.IdentifierKind(message.addressee.kind), message.addressee.number)
