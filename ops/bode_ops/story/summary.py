"""How a message stands, in words: the legal time of sending, the term, the 48 hours, letters, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from bode.compose.plain import one_line
from bode.compose.wording import duration_words, weekday_words
from bode.domain.acts import Choice, effect, possible
from bode.domain.by_hand import HANDLED
from bode.domain.events import TimeSource
from bode.domain.parts import (
    Attention,
    Delivery,
    DeliveryState,
    LegalTime,
    Letter,
    LetterKind,
    LetterState,
    Notice,
    NoticeState,
    Outcome,
    Placement,
    PlacementState,
)
from bode.domain.policy import ChannelKind, Policy
from bode.domain.terms import LastDay, last_day, legal_day
from bode_ops.story.effects import consequences
from bode_ops.story.effects import title as act_title
from bode_ops.story.words import (
    ATTENTION_REASONS,
    BOUNCE_REASONS,
    LETTER_REASONS,
    LETTER_STATES,
    LETTERS,
    OUTCOMES,
    PLACEMENTS,
    STATES,
    Kind,
    advice,
    capitalised,
    in_brackets,
    labels,
    length,
    lowered,
    sentences,
    when,
    with_article,
)


@dataclass(frozen=True, slots=True)
class Said:
    """One thing said about a message: the words, why it is so, and how it is to be read."""

    text: str
    why: str = ""
    kind: Kind = Kind.NEUTRAL
    law: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BoxClock:
    """The 48 hours of one box (L3): when they end, when the notice left, or why there is none."""

    channel: str
    label: str
    said: Said
    placed_at: datetime
    deadline_at: datetime
    sent_at: datetime | None
    counts: bool
    """False where the 48 hours ask nothing of us: waived, covered by another box, or the box's own task."""
    runs: bool
    """True while the notice is still to be settled: the time that is left counts."""
    used: float
    """The part of the 48 hours that is over, 0 to 1; at the moment of the notice where it left."""


@dataclass(frozen=True, slots=True)
class ChannelSaid:
    """Where the message itself stands in one channel."""

    channel: str
    label: str
    said: Said


@dataclass(frozen=True, slots=True)
class LetterSaid:
    """One letter. `number` is its number in links and in the API."""

    number: int
    title: str
    said: Said


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that waits for a person."""

    part: str
    why: str
    since: datetime
    todo: str


@dataclass(frozen=True, slots=True)
class Act:
    """Something a person can do now, and what follows from it."""

    choice: Choice
    title: str
    effects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """How a message stands."""

    status: Said
    outcome: Said
    sent: Said
    """The legal time of sending (L8, L10): `text` the moment, `why` the rule and the clock."""
    term: Said | None
    """The last day of the term (L15), when there is a term."""
    opened: Said | None
    channels: tuple[ChannelSaid, ...]
    clocks: tuple[BoxClock, ...]
    letters: tuple[LetterSaid, ...]
    waiting: tuple[Waiting, ...]
    acts: tuple[Act, ...]
    change: str
    """Whether it can still be called back, or only be changed by a new message (L9)."""


def summary(delivery: Delivery, policy: Policy, *, now: datetime) -> Summary:
    """Tell how a message stands at this moment."""
    names = labels(policy)
    legal = delivery.legal_time(policy.primary_channels())
    return Summary(
        status=_status(delivery),
        outcome=Said(OUTCOMES[delivery.outcome], _OUTCOME_WHY.get(delivery.outcome, "")),
        sent=_sent(delivery, legal, policy, names),
        term=_term(delivery, legal, policy),
        opened=_opened(delivery),
        channels=tuple(_channel_said(placement, policy, names) for placement in delivery.placements),
        clocks=tuple(
            _box_clock(placement, placement.notice, delivery, names, now)
            for placement in delivery.placements
            if placement.notice is not None
        ),
        letters=tuple(_letter_said(number, letter, names) for number, letter in enumerate(delivery.letters)),
        waiting=tuple(_waiting(item, delivery, names) for item in delivery.attention),
        acts=acts_of(delivery, policy, now=now),
        change=_change(delivery),
    )


def _opened(delivery: Delivery) -> Said | None:
    """L12: when a box says that the message was opened; not all boxes know the exact moment."""
    if delivery.opened_at is None:
        return None
    return Said(when(delivery.opened_at), "Op dat moment of eerder; de box meldt dit.", Kind.GOOD, ("L12",))


def _status(delivery: Delivery) -> Said:
    said = _state_said(delivery)
    if any(placement.notice is not None and _missed(placement.notice) for placement in delivery.placements):
        missed = "Let op: de kennisgeving is niet binnen 48 uur verstuurd."
        kind = said.kind if said.kind is Kind.PERSON else Kind.WARNING
        return Said(said.text, sentences(missed, said.why), kind, ("L3", "L11"))
    return said


def _missed(notice: Notice) -> bool:
    """Whether no notice left within the 48 hours (L3): none at all, or too late."""
    if notice.sent_at is None:
        return notice.state is NoticeState.EXPIRED
    return notice.sent_at > notice.deadline_at


def _state_said(delivery: Delivery) -> Said:
    state = delivery.state
    text = STATES[state]
    match state:
        case DeliveryState.SCHEDULED:
            at = delivery.brief.publish_at
            return Said(text, f"Bode verstuurt het op {when(at)}. Tot dan kan het worden geannuleerd." if at else "")
        case DeliveryState.UNDER_WAY:
            return Said(text, "Bode is nog bezig. U hoeft niets te doen.")
        case DeliveryState.NEEDS_PERSON:
            return Said(text, "Hieronder staat waarop, en wat u kunt doen.", Kind.PERSON)
        case DeliveryState.DONE:
            return Said(text, "Er hoeft niets meer te gebeuren.", Kind.GOOD)
        case DeliveryState.CANCELLED:
            return Said(text, "Er is niets verstuurd.")
        case _:
            assert_never(state)


_OUTCOME_WHY: Mapping[Outcome, str] = {
    Outcome.NOTICE_BY_BOX: "Of de box dat heeft gedaan, kan Bode niet bewijzen.",
    Outcome.NOTICE_BY_LETTER: "De e-mail lukte niet; de brief zegt dat er een bericht klaarstaat.",
    Outcome.NOTICE_IMPOSSIBLE: "Een kennisgeving per e-mail kan niet.",
    Outcome.BY_HAND: "Bode heeft niets bezorgd. In de tijdlijn staat wat de medewerker heeft gedaan.",
}


def _is_box(channel: str, policy: Policy) -> bool:
    found = policy.channels.get(channel)
    return found is None or found.kind is ChannelKind.BOX


def _sent(delivery: Delivery, legal: LegalTime | None, policy: Policy, names: Mapping[str, str]) -> Said:
    if legal is None:
        text = "Niet verzonden" if delivery.cancelled else "Nog niet verzonden"
        return Said(
            text, "" if delivery.cancelled else "Het bericht is nog nergens geplaatst en niet op de post gedaan."
        )
    if legal.channel == policy.print_lane:
        how = "Toen ging de brief met het bericht op de post."
        clock = "de drukker"
    elif _is_box(legal.channel, policy):
        how = f"Vanaf dat moment stond het bericht in {with_article(names.get(legal.channel, legal.channel))}."
        clock = "de box zelf"
    else:
        how = "Toen verliet de e-mail met het bericht onze mailserver."
        clock = "de mailserver van de ontvanger"
    source = f"De tijd komt van {clock}." if legal.source is TimeSource.OTHER_SIDE else "De tijd komt van onze klok."
    if not legal.standing:
        back = "Dit bericht is teruggekomen. Een tweede verzending is nog niet gelukt; lukt die, dan telt dat moment."
        return Said(when(legal.at), sentences(how, back, source), Kind.WARNING, ("L8", "L10"))
    match legal.rule:
        case "L8":
            rule = "Een eerdere verzending kwam niet aan, daarom telt deze tweede verzending (Awb 2:11, derde lid)."
            return Said(when(legal.at), sentences(how, rule, source), Kind.GOOD, ("L8",))
        case "L10-several":
            rule = "Het bericht staat in meer boxen. Dan telt het moment van MijnOverheid (Awb 2:19)."
        case _:
            rule = "Dat moment telt als moment van verzending (Awb 2:19)."
    return Said(when(legal.at), sentences(how, rule, source), Kind.GOOD, ("L10",))


def _term(delivery: Delivery, legal: LegalTime | None, policy: Policy) -> Said | None:
    term = delivery.brief.term
    if term is None:
        return None
    if term.duration is None:
        if term.last_day is None:
            return None
        return Said(capitalised(weekday_words(term.last_day)), "De afzender heeft deze dag zelf genoemd.", law=("L15",))
    words = duration_words(term.duration)
    if delivery.cancelled:
        return Said("Geen", "Het bericht is niet verzonden, dus er loopt geen termijn.")
    if legal is None or not legal.standing:
        why = f"De termijn is {words} en begint op de dag na de verzending. Het bericht is nog niet verzonden."
        if legal is not None:
            why = f"De termijn is {words}. Het bericht is teruggekomen: de termijn wacht op de tweede verzending."
        return Said("Nog niet bekend", why, law=("L15",))
    end = last_day(term.duration, legal.at, policy.is_holiday)
    start = legal_day(legal.at) + timedelta(days=1)
    begins = f"De termijn is {words} en begint op de dag na de verzending: {weekday_words(start)}."
    return Said(capitalised(weekday_words(end.day)), sentences(begins, _moved(end, policy)), law=("L15",))


def _moved(end: LastDay, policy: Policy) -> str:
    """Say whether weekends and holidays moved the last day (Atw)."""
    if end.duration is not None and not end.duration.extends:
        return "Bij zo’n lange termijn schuift de laatste dag niet op (Algemene termijnenwet, artikel 4)."
    if end.day == end.unextended:
        return "De laatste dag is een werkdag en schuift dus niet op."
    if policy.is_holiday(end.unextended):
        what, number = "dat is een feestdag, daarom geldt de eerste werkdag daarna", 1
    elif end.unextended.weekday() > _FRIDAY:
        what, number = "dat is in het weekend, daarom geldt de eerste werkdag daarna", 1
    else:
        what, number = "dan zitten er geen twee werkdagen in, daarom duurt de termijn langer", 2
    plain = weekday_words(end.unextended)
    return f"Zo gerekend eindigt de termijn op {plain}: {what} (Algemene termijnenwet, artikel {number})."


_FRIDAY = 4


def _channel_said(placement: Placement, policy: Policy, names: Mapping[str, str]) -> ChannelSaid:
    text, kind = PLACEMENTS[placement.state]
    label = names.get(placement.channel, placement.channel)
    why = ""
    if placement.state is PlacementState.PLACED and placement.placed_at is not None:
        text = f"{'Geplaatst' if _is_box(placement.channel, policy) else 'Verstuurd'} op {when(placement.placed_at)}"
    elif placement.state in (PlacementState.REFUSED, PlacementState.RETURNED, PlacementState.HELD):
        reason = HANDLED_BY_HAND if placement.code == HANDLED else BOUNCE_REASONS.get(placement.code or "")
        why = f"{capitalised(reason)}." if reason else f"Code: {one_line(placement.code)}." if placement.code else ""
    elif placement.attempts and placement.state in (PlacementState.PLANNED, PlacementState.CHECKING):
        why = f"Al {placement.attempts} keer geprobeerd{in_brackets(placement.code)}. Bode probeert het nog eens."
    return ChannelSaid(placement.channel, capitalised(label), Said(text, why, kind))


def _box_clock(
    placement: Placement, notice: Notice, delivery: Delivery, names: Mapping[str, str], now: datetime
) -> BoxClock:
    placed_at = placement.placed_at or now
    whole = notice.deadline_at - placed_at
    runs = notice.state in (NoticeState.WAITING, NoticeState.DUE, NoticeState.HELD)
    until = notice.sent_at if notice.sent_at is not None and not runs else now
    used = min(max((until - placed_at) / whole, 0.0), 1.0) if whole else 1.0
    said = _notice_said(placement, notice, delivery, now)
    label = names.get(placement.channel, placement.channel)
    return BoxClock(
        channel=placement.channel,
        label=capitalised(label),
        said=said,
        placed_at=placed_at,
        deadline_at=notice.deadline_at,
        sent_at=notice.sent_at,
        counts=notice.state not in (NoticeState.COVERED, NoticeState.BY_BOX, NoticeState.WAIVED),
        runs=runs,
        used=used,
    )


def _notice_said(placement: Placement, notice: Notice, delivery: Delivery, now: datetime) -> Said:
    match notice.state:
        case NoticeState.SENT:
            return _in_time(placement, notice)
        case NoticeState.DUE | NoticeState.WAITING:
            return _notice_to_come(notice, now)
        case NoticeState.HELD:
            text = "Teruggekomen, wacht op een medewerker"
            return Said(text, _last_reason(notice), Kind.PERSON, ("L7",))
        case NoticeState.COVERED | NoticeState.BY_BOX | NoticeState.WAIVED:
            return _notice_not_ours(notice, delivery)
        case NoticeState.IMPOSSIBLE | NoticeState.UNDELIVERABLE | NoticeState.EXPIRED:
            return _notice_by_other_means(placement, notice, delivery)
        case _:
            assert_never(notice.state)


def _notice_to_come(notice: Notice, now: datetime) -> Said:
    tried = f"Al {notice.attempts} keer geprobeerd." if notice.attempts else ""
    if now >= notice.until:
        return Said("De 48 uur zijn voorbij", sentences(tried, _last_reason(notice)), Kind.BAD, ("L3",))
    left = length(notice.until - now)
    if notice.state is NoticeState.WAITING:
        why = "Lukt plaatsen daar, dan is één kennisgeving daarover genoeg."
        return Said(f"Wacht op MijnOverheid, nog {left}", why, Kind.NEUTRAL, ("L5",))
    why = sentences(tried, _last_reason(notice), "Bode stuurt de kennisgeving voor het einde van de 48 uur.")
    if notice.again_at is not None:
        asked = f"Een medewerker vroeg dit op {when(notice.again_at)}."
        return Said(f"Wordt opnieuw verstuurd, nog {left}", sentences(asked, tried), Kind.NEUTRAL, ("L7",))
    if notice.sent_at is not None:
        sent = f"Verstuurd op {when(notice.sent_at)}."
        return Said(f"Teruggekomen, nog {left}", sentences(sent, why), Kind.WARNING, ("L3", "L7"))
    kind = Kind.WARNING if notice.attempts else Kind.NEUTRAL
    return Said(f"Nog niet verstuurd, nog {left}", why, kind, ("L3",))


def _notice_not_ours(notice: Notice, delivery: Delivery) -> Said:
    """Say why we send nothing for this box."""
    if notice.state is NoticeState.COVERED:
        why = "Het bericht staat ook bij MijnOverheid. Eén kennisgeving daarover is genoeg."
        return Said("Geen eigen kennisgeving nodig", why, Kind.GOOD, ("L5",))
    if notice.state is NoticeState.BY_BOX:
        return Said("De box stuurt de kennisgeving", "Bode kan dat niet bewijzen.", Kind.NEUTRAL, ("L3",))
    opted_out = delivery.brief.opted_out_at
    why = f"De ontvanger heeft zich afgemeld op {when(opted_out)}." if opted_out else ""
    return Said("Niet nodig: de ontvanger wil geen kennisgeving", why, Kind.GOOD, ("L3",))


def _notice_by_other_means(placement: Placement, notice: Notice, delivery: Delivery) -> Said:
    """Say why the notice failed, and what the addressee gets instead (L7)."""
    letter = _letter_note(placement, delivery)
    if notice.state is NoticeState.IMPOSSIBLE:
        why = "Er is geen e-mailadres, en de ontvanger heeft zich niet afgemeld."
        return Said("Kan niet per e-mail", sentences(why, letter), Kind.WARNING, ("L3",))
    why = sentences(_last_reason(notice), letter)
    if notice.sent_at is None:
        text = "Niet verstuurd binnen 48 uur" if notice.state is NoticeState.EXPIRED else "Niet aangenomen"
        return Said(text, why, Kind.BAD, ("L3", "L7"))
    text = f"Verstuurd op {when(notice.sent_at)}, maar niet aangekomen"
    return Said(text, why, Kind.BAD, ("L7",))


def _last_reason(notice: Notice) -> str:
    reason = BOUNCE_REASONS.get(notice.last_reason or "", "")
    return f"De laatste reden: {reason}." if reason else ""


def _in_time(placement: Placement, notice: Notice) -> Said:
    if notice.sent_at is None:
        return Said("Verstuurd", "", Kind.GOOD, ("L3",))
    took = length(notice.sent_at - (placement.placed_at or notice.sent_at))
    if _missed(notice):
        late = f"{took} na het plaatsen: te laat."
        return Said(f"Verstuurd op {when(notice.sent_at)}", late, Kind.BAD, ("L3", "L11"))
    return Said(
        f"Verstuurd op {when(notice.sent_at)}", f"{capitalised(took)} na het plaatsen: op tijd.", Kind.GOOD, ("L3",)
    )


def _letter_note(placement: Placement, delivery: Delivery) -> str:
    letters = (item for item in delivery.letters if item.kind is LetterKind.NOTICE and item.about == placement.channel)
    letter = next(letters, None)
    if letter is None:
        return "Er gaat geen brief."
    if letter.posted_at is not None:
        return f"De brief ging op {when(letter.posted_at)} op de post."
    return f"Stand van de brief: {lowered(LETTER_STATES[letter.state][0])}."


def _letter_said(number: int, letter: Letter, names: Mapping[str, str]) -> LetterSaid:
    text, kind = LETTER_STATES[letter.state]
    if letter.posted_at is not None and letter.state is LetterState.POSTED:
        text = f"Op de post op {when(letter.posted_at)}"
    if letter.kind is LetterKind.NOTICE:
        about = names.get(letter.about or "", letter.about or "")
        title = f"Brief over de kennisgeving{f' ({about})' if about else ''}"
        says = "De brief zegt dat er een bericht klaarstaat; de inhoud staat er niet in."
    else:
        title, says = "Brief met het bericht", ""
    return LetterSaid(
        number, title, Said(text, sentences(f"{capitalised(LETTER_REASONS[letter.reason])}.", says), kind)
    )


def _waiting(item: Attention, delivery: Delivery, names: Mapping[str, str]) -> Waiting:
    kind, _, name = item.part.partition("/")
    part, about_notice = capitalised(names.get(name, name)), False
    if kind == "letter":
        index = int(name) if name.isdecimal() else -1
        letter = delivery.letters[index] if 0 <= index < len(delivery.letters) else None
        part = LETTERS[letter.kind] if letter is not None else "Brief"
        about_notice = letter is not None and letter.kind is LetterKind.NOTICE
    todo = advice(item.reason, about_notice=about_notice)
    return Waiting(part, f"{capitalised(ATTENTION_REASONS[item.reason])}.", item.since, todo)


def acts_of(delivery: Delivery, policy: Policy, *, now: datetime) -> tuple[Act, ...]:
    """Give what a person can do now, each with what follows by the rules themselves."""
    names = labels(policy)
    return tuple(
        Act(
            choice,
            act_title(choice, names),
            tuple(consequences(choice, effect(delivery, choice, policy, now), delivery, names)),
        )
        for choice in possible(delivery, policy, now)
    )


def _change(delivery: Delivery) -> str:
    if delivery.cancelled:
        return "Het bericht is geannuleerd voordat er iets was verstuurd."
    if not delivery.handed_over:
        return "Er is nog niets verstuurd: het bericht kan nog worden geannuleerd."
    return (
        "Dit bericht is al verstuurd of onderweg en verandert niet meer. Wijzigen of intrekken kan alleen met een "
        "nieuw bericht uit het zaaksysteem (Awb 2:12)."
    )


HANDLED_BY_HAND = "een medewerker heeft dit zelf afgehandeld"
