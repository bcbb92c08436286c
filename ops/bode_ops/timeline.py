"""What happened to a message and how it stands, in plain Dutch: for the command line, the pages, and the telephone.

Pure: evidence events and a delivery go in, words come out. Every line says what happened, why, and what follows; codes
of other systems stand in brackets. An event without words of its own still gives a line. Nothing here holds personal
data of the addressee: events do not, and free text of staff and print services is cleaned of what could be a BSN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from textwrap import wrap
from typing import Any, NamedTuple, assert_never, cast

from bode.compose.plain import one_line, without_bsn
from bode.compose.wording import date_words, duration_words, weekday_words
from bode.domain.bounces import Reason, Verdict
from bode.domain.events import RefusalKind, TimeSource
from bode.domain.message import ConsentBasis, Nature
from bode.domain.parts import (
    Attention,
    AttentionReason,
    Delivery,
    DeliveryState,
    LegalTime,
    Letter,
    LetterKind,
    LetterReason,
    LetterState,
    Notice,
    NoticeState,
    Outcome,
    Placement,
    PlacementState,
    letter_part,
    placement_part,
)
from bode.domain.policy import ChannelKind, Policy
from bode.domain.terms import AMSTERDAM, LastDay, last_day, legal_day
from bode.store.events import StoredEvent
from bode.store.messages import Known


class Kind(StrEnum):
    """How a line or a state is to be read; pages give each a sign and a word beside its colour."""

    GOOD = "good"
    NEUTRAL = "neutral"
    WARNING = "warning"
    """Not as hoped; the worker handles it."""
    BAD = "bad"
    """Failed for good, or a term was missed."""
    PERSON = "person"
    """A person has to act, or did."""


@dataclass(frozen=True, slots=True)
class Line:
    """One event in words. `law` holds rows of the law table: `article` gives the article of each."""

    at: datetime
    title: str
    detail: str
    law: tuple[str, ...]
    kind: Kind
    seq: int


# ---- words --------------------------------------------------------------------------------------------------------

ARTICLES: Mapping[str, str] = {
    "L1": "Awb 2:8",
    "L2": "Awb 2:9",
    "L3": "Awb 2:10, eerste lid",
    "L4": "Awb 2:10, tweede lid",
    "L5": "Awb 2:10, derde lid",
    "L6": "Awb 2:11, eerste lid",
    "L7": "Awb 2:11, tweede lid",
    "L8": "Awb 2:11, derde lid",
    "L9": "Awb 2:12",
    "L10": "Awb 2:19",
    "L11": "Awb 2:22",
    "L12": "Awb 2:25",
    "L13": "Awb 2:27",
    "L14": "Awb 2:17",
    "L15": "Awb 6:8 en Algemene termijnenwet",
}

STATES: Mapping[DeliveryState, str] = {
    DeliveryState.SCHEDULED: "Ingepland",
    DeliveryState.UNDER_WAY: "Onderweg",
    DeliveryState.NEEDS_PERSON: "Wacht op een medewerker",
    DeliveryState.DONE: "Afgerond",
    DeliveryState.CANCELLED: "Geannuleerd",
}

OUTCOMES: Mapping[Outcome, str] = {
    Outcome.NONE: "Nog niets bezorgd",
    Outcome.PLACED: "Geplaatst, nog zonder kennisgeving",
    Outcome.NOTICED: "Geplaatst, kennisgeving verstuurd",
    Outcome.NOTICE_WAIVED: "Geplaatst, ontvanger wil geen kennisgeving",
    Outcome.NOTICE_BY_BOX: "Geplaatst, de box stuurt de kennisgeving",
    Outcome.NOTICE_BY_LETTER: "Geplaatst, kennisgeving ging per brief",
    Outcome.NOTICE_IMPOSSIBLE: "Geplaatst, geen e-mailadres bekend",
    Outcome.EMAIL: "Verstuurd per e-mail",
    Outcome.PAPER: "Verstuurd per brief",
    Outcome.CANCELLED: "Niet verstuurd",
}

BOUNCE_REASONS: Mapping[str, str] = {
    Reason.USER_UNKNOWN: "dit e-mailadres bestaat niet",
    Reason.HOST_UNKNOWN: "het deel na de @ van dit e-mailadres bestaat niet of neemt geen e-mail aan",
    Reason.ADDRESS_SYNTAX: "dit e-mailadres is niet goed geschreven",
    Reason.MOVED: "deze mailbox is verhuisd en stuurt niets door",
    Reason.MAILBOX_DISABLED: "deze mailbox is gesloten",
    Reason.MAILBOX_FULL: "de mailbox van de ontvanger is vol",
    Reason.RATE_LIMITED: "de mailserver krijgt nu te veel e-mails tegelijk",
    Reason.GREYLISTED: "de mailserver vraagt om het later nog eens te proberen",
    Reason.HOST_TEMPORARY: "de mailserver van de ontvanger heeft een storing",
    Reason.EXPIRED: "de e-mail kon te lang niet worden afgeleverd",
    Reason.SPAM: "de mailserver ziet onze e-mail aan voor spam",
    Reason.REPUTATION: "de mailserver vertrouwt onze mailserver niet",
    Reason.AUTHENTICATION: "de mailserver kan niet vaststellen dat de e-mail echt van ons komt",
    Reason.RELAY_DENIED: "de mailserver neemt van ons geen e-mail aan voor dit adres",
    Reason.CONTENT: "de mailserver weigert de vorm of de inhoud van onze e-mail",
    Reason.SIZE: "de e-mail is te groot",
    Reason.RECIPIENT_POLICY: "de ontvanger of zijn organisatie laat onze e-mail niet toe",
    Reason.ROUTING_LOOP: "de e-mail gaat rond tussen mailservers en komt nergens aan",
    Reason.PROTOCOL: "de mailservers begrijpen elkaar niet",
    Reason.UNMATCHED: "de mailserver geeft een reden die Bode niet kent",
    Reason.AMBIGUOUS: "de mailserver noemt meer dan één reden",
    Reason.DELAYED: "het afleveren duurt langer, de mailserver probeert het nog",
    Reason.DELIVERED: "de mailserver meldt dat de e-mail is aangekomen",
    Reason.AUTO_REPLY: "er kwam een automatisch antwoord, bijvoorbeeld omdat iemand afwezig is",
    Reason.CHALLENGE: "een filter vraagt of de afzender een mens is",
    Reason.ABUSE_REPORT: "de ontvanger heeft de e-mail als ongewenst gemeld",
    Reason.READ_RECEIPT: "er kwam een leesbevestiging",
    Reason.ORDINARY: "er kwam een gewone e-mail over iets anders",
}

LETTER_REASONS: Mapping[str, str] = {
    LetterReason.NO_CHANNEL: "er is geen digitaal kanaal dat mag worden gebruikt",
    LetterReason.BOX_REFUSED: "plaatsen in de box lukt niet",
    LetterReason.MAIL_RETURNED: "de e-mail met het bericht kon niet worden afgeleverd",
    LetterReason.ORDERED: "een medewerker heeft de brief besteld",
    LetterReason.NOTICE_BOUNCED: "de kennisgeving per e-mail kan niet worden afgeleverd",
    LetterReason.NOTICE_NOT_IN_TIME: "de kennisgeving per e-mail is niet binnen 48 uur gelukt",
    LetterReason.NO_EMAIL: "er is geen e-mailadres voor een kennisgeving",
}

ATTENTION_REASONS: Mapping[str, str] = {
    AttentionReason.RESULT_OVERDUE: "de box heeft het bericht aangenomen, maar meldt niet of het geplaatst is",
    AttentionReason.OUTCOME_UNKNOWN: "het is niet bekend of het bericht is aangekomen",
    AttentionReason.DEFECT: "het bericht is geweigerd door een fout bij ons",
    AttentionReason.UNRECOGNISED: "de box gaf een antwoord dat Bode niet kent",
    AttentionReason.CONTRADICTION: "de box meldt dat het bericht geplaatst is, maar zei eerder van niet",
    AttentionReason.NO_POSTAL_ADDRESS: "er moet een brief gaan, maar er is geen postadres",
    AttentionReason.LETTER_REFUSED: "de drukker wil de brief niet drukken",
    AttentionReason.LETTER_RETURNED: "de brief is teruggekomen",
    AttentionReason.POSTING_OVERDUE: "de drukker meldt niet dat de brief op de post is",
}

NOT_USED: Mapping[str, str] = {
    "not_declared": "de ontvanger heeft niet gezegd daar bereikbaar te zijn",
    "cannot_check": "de box kan niet zeggen of de ontvanger daar bereikbaar is",
    "addressee_kind": "dit kanaal is er niet voor dit soort ontvanger",
    "too_confidential": "het bericht is te vertrouwelijk voor dit kanaal",
    "no_email": "er is geen e-mailadres",
}

CONSENTS: Mapping[str, str] = {
    ConsentBasis.DECLARED: "door de ontvanger aangemeld",
    ConsentBasis.TO_CHECK: "eerst vragen aan de box",
}

PLACEMENTS: Mapping[PlacementState, tuple[str, Kind]] = {
    PlacementState.CHECKING: ("De box wordt gevraagd of de ontvanger bereikbaar is", Kind.NEUTRAL),
    PlacementState.STANDBY: ("Achter de hand, voor als geen box het bericht aanneemt", Kind.NEUTRAL),
    PlacementState.PLANNED: ("Staat klaar om te versturen", Kind.NEUTRAL),
    PlacementState.PENDING: ("Aangenomen, nog niet geplaatst", Kind.NEUTRAL),
    PlacementState.UNKNOWN: ("Niet bekend of het is aangekomen", Kind.WARNING),
    PlacementState.HELD: ("Staat stil tot een medewerker heeft gekeken", Kind.PERSON),
    PlacementState.PLACED: ("Geplaatst", Kind.GOOD),
    PlacementState.RETURNED: ("Teruggekomen", Kind.BAD),
    PlacementState.REFUSED: ("Gaat niet via dit kanaal", Kind.BAD),
    PlacementState.CANCELLED: ("Geannuleerd", Kind.NEUTRAL),
}

LETTER_STATES: Mapping[LetterState, tuple[str, Kind]] = {
    LetterState.PLANNED: ("Wordt gemaakt en naar de drukker gestuurd", Kind.NEUTRAL),
    LetterState.UNKNOWN: ("Niet bekend of de drukker de brief heeft", Kind.WARNING),
    LetterState.SUBMITTED: ("Bij de drukker", Kind.NEUTRAL),
    LetterState.PRINTED: ("Gedrukt, nog niet op de post", Kind.NEUTRAL),
    LetterState.POSTED: ("Op de post", Kind.GOOD),
    LetterState.RETURNED: ("Teruggekomen", Kind.PERSON),
    LetterState.REFUSED: ("Geweigerd door de drukker", Kind.PERSON),
    LetterState.BLOCKED: ("Kan niet weg: er is geen postadres", Kind.PERSON),
    LetterState.CANCELLED: ("Geannuleerd", Kind.NEUTRAL),
}

RECORDED: Mapping[str, str] = {
    "Accepted": "het bericht was al aangenomen",
    "ReachabilityChecked": "een antwoord op de vraag of de ontvanger bereikbaar is",
    "Placed": "een bevestiging dat het bericht geplaatst is",
    "PlacementPending": "een bevestiging dat de box het bericht heeft aangenomen",
    "PlacementRefused": "een weigering van een box",
    "PlacementUnavailable": "een box was niet bereikbaar",
    "PlacementUnknown": "een antwoord van een box dat ontbrak",
    "PlacementAbsent": "een box meldt dat het bericht er niet staat",
    "CarrierBounced": "een antwoord op de e-mail met het bericht",
    "Opened": "het bericht is geopend",
    "NoticeSent": "een kennisgeving is verstuurd",
    "NoticeBounced": "een antwoord op een kennisgeving",
    "NoticeUnavailable": "onze mailserver was niet bereikbaar",
    "NoticeUnknown": "niet bekend of een kennisgeving is verstuurd",
    "LetterSubmitted": "de drukker heeft een brief ontvangen",
    "LetterPrinted": "de drukker heeft een brief gedrukt",
    "LetterPosted": "een brief is op de post gedaan",
    "LetterReturned": "een brief is teruggekomen",
    "LetterRefused": "de drukker weigert een brief",
    "LetterUnavailable": "de drukker was niet bereikbaar",
    "LetterUnknown": "niet bekend of de drukker een brief heeft",
    "ClockStruck": "een wekker ging af voor iets dat al geregeld was",
    "LeaseExpired": "een onderdeel van Bode viel uit bij iets dat al geregeld was",
    "Superseded": "een later bericht noemt dit bericht",
    "Cancelled": "een verzoek om te annuleren, maar het bericht was al onderweg of al geannuleerd",
    "Retried": "een medewerker liet het nog eens proberen",
    "LetterOrdered": "een medewerker bestelde een brief",
}


def article(row: str) -> str:
    """Give the article of law of a row of the law table; an unknown row as it is."""
    return ARTICLES.get(row, row)


def when(at: datetime) -> str:
    """Write a moment as '24 november 2026 om 10:04', in Dutch local time."""
    local = at.astimezone(AMSTERDAM)
    return f"{date_words(local.date())} om {local:%H:%M}"


def length(wait: timedelta) -> str:
    """Write a length of time in its two largest units: '3 uur en 12 minuten'."""
    minutes = int(abs(wait).total_seconds()) // 60
    if not minutes:
        return "minder dan een minuut"
    days, rest = divmod(minutes, 1440)
    hours, minutes = divmod(rest, 60)
    units = ((days, "dag", "dagen"), (hours, "uur", "uur"), (minutes, "minuut", "minuten"))
    words = [f"{amount} {one if amount == 1 else many}" for amount, one, many in units if amount]
    return " en ".join(words[:2])


def labels(policy: Policy) -> dict[str, str]:
    """Give each channel's label as it reads after 'uw': 'Berichtenbox van MijnOverheid'."""
    return {name: one_line(channel.label) for name, channel in policy.channels.items()}


def _the(label: str) -> str:
    """Give a label with its article: 'de Berichtenbox van MijnOverheid', but 'MijnDomein'."""
    first = label.partition(" ")[0].casefold()
    return f"de {label}" if first.endswith(("box", "bus")) else label


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _codes(*codes: object) -> str:
    """Give codes of other systems in brackets, or nothing."""
    found = [one_line(str(code)) for code in codes if code not in (None, "")]
    return f" ({' '.join(found)})" if found else ""


def _sentences(*texts: str) -> str:
    """Join sentences; empty ones are left out."""
    return " ".join(text for text in texts if text)


def _free(text: str) -> str:
    """Give free text of staff or of another system on one line, without what could be a BSN, and not too long."""
    text = without_bsn(one_line(text))
    return f"{text[:_LONGEST_FREE]}…" if len(text) > _LONGEST_FREE else text


_LONGEST_FREE = 200
_HEARD_LATE = timedelta(minutes=5)
_LETTER_SAYS = (
    "Er gaat een brief. Daarin staat dat er een bericht klaarstaat en hoe de ontvanger een e-mailadres kan doorgeven. "
    "De inhoud van het bericht staat er niet in."
)
_MESSAGE_ON_PAPER = "Het bericht zelf gaat nu per brief."


# ---- the timeline -------------------------------------------------------------------------------------------------


def timeline(events: Sequence[StoredEvent], *, channels: Mapping[str, str]) -> tuple[Line, ...]:
    """Tell the events of one message, in the order in which they were recorded.

    `channels` gives each channel's label as it reads after 'uw' (see `labels`). Never raises, whatever is in an event.
    """
    return tuple(_line(_Scene(events, index, channels)) for index in range(len(events)))


@dataclass(frozen=True, slots=True)
class _Scene:
    """One event among the others of its message: what follows is told by the events recorded with it."""

    events: Sequence[StoredEvent]
    index: int
    channels: Mapping[str, str]

    @property
    def event(self) -> StoredEvent:
        return self.events[self.index]

    def text(self, key: str) -> str:
        value = self.event.detail.get(key)
        return "" if value is None or isinstance(value, (list, dict)) else one_line(str(value))

    def flag(self, key: str) -> bool:
        return self.event.detail.get(key) is True

    def items(self, key: str) -> Sequence[Any]:
        value: Any = self.event.detail.get(key)
        return cast("Sequence[Any]", value) if isinstance(value, list) else ()

    def moment(self, key: str) -> datetime | None:
        return _moment(self.text(key))

    @property
    def kind(self) -> str:
        """The kind of part: placement, notice or letter."""
        return (self.event.part or "").partition("/")[0]

    @property
    def label(self) -> str:
        name = (self.event.part or "").partition("/")[2]
        return self.channels.get(name, name) or "een onbekend kanaal"

    @property
    def box(self) -> str:
        return _the(self.label)

    def named(self, channel: str) -> str:
        return _the(self.channels.get(channel, channel))

    @property
    def letter_kind(self) -> object:
        """What kind of letter this part is, from the event that ordered it."""
        ordered = (item for item in self.events if item.name == "letter.ordered" and item.part == self.event.part)
        first = next(ordered, self.event)
        return first.detail.get("kind")

    @property
    def letter(self) -> str:
        return _LETTERS.get(str(self.letter_kind), "Brief")

    def beside(self, name: str) -> list[StoredEvent]:
        """Give the later events with this name that were recorded at the same time: what follows from this one."""
        later = self.events[self.index + 1 :]
        return [item for item in later if item.name == name and item.recorded_at == self.event.recorded_at]

    def follows(self) -> str:
        """Say which route is taken now, as the events recorded with this one tell."""
        for letter in self.beside("letter.ordered"):
            words = _LETTER_SAYS if letter.detail.get("kind") == LetterKind.NOTICE else _MESSAGE_ON_PAPER
            stuck = any(item.part == letter.part for item in self.beside("attention.asked"))
            return "Er moet een brief gaan, maar er is geen postadres. Een medewerker moet kijken." if stuck else words
        for choice in self.beside("channel.decision"):
            if chosen := choice.detail.get("chosen"):
                return f"Het bericht gaat nu via {self.named(str(chosen))}."
        return ""

    def told_before(self) -> bool:
        """Whether an event recorded with this one, before it, already told what follows."""
        earlier = self.events[: self.index]
        return any(
            item.part == self.event.part
            and item.recorded_at == self.event.recorded_at
            and (item.name == "deadline.missed" or item.detail.get("moved") is True)
            for item in earlier
        )

    def settled(self) -> bool:
        """Whether this part had ended before: what comes now changes nothing."""
        earlier = self.events[: self.index]
        return any(item.part == self.event.part and item.detail.get("final") is True for item in earlier)


class _Told(NamedTuple):
    title: str
    detail: str = ""
    kind: Kind = Kind.NEUTRAL


def _line(scene: _Scene) -> Line:
    event = scene.event
    teller = _TELLERS.get(event.name, _unknown)
    title, detail, kind = teller(scene)
    if event.source == TimeSource.OTHER_SIDE and event.recorded_at - event.at > _HEARD_LATE:
        detail = _sentences(detail, f"Bode hoorde dit op {when(event.recorded_at)}.")
    return Line(event.at, title, detail, event.law, kind, event.seq)


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _word(table: Mapping[str, str], raw: str) -> str:
    return table.get(raw) or f"de reden is Bode niet bekend{_codes(raw)}"


def _unknown(scene: _Scene) -> _Told:
    part = f"Onderdeel: {one_line(scene.event.part)}." if scene.event.part else ""
    detail = "Bode heeft hier nog geen eigen woorden voor. Bij het bewijs staat wat er precies is vastgelegd."
    return _Told(f"Vastgelegd: {one_line(scene.event.name)}", _sentences(detail, part))


def _accepted(scene: _Scene) -> _Told:
    nature = scene.text("nature")
    concerns = scene.text("concerns")
    words = Nature(nature).rules.label if nature in set(Nature) else "een bericht"
    return _Told(
        "Bericht aangenomen van het zaaksysteem",
        _sentences(
            f"Het gaat om {words}.",
            f"Dit bericht hoort bij het eerdere bericht met kenmerk {concerns}." if concerns else "",
            "Vanaf nu zorgt Bode voor het bezorgen.",
        ),
    )


def _preferences(scene: _Scene) -> _Told:
    known: list[str] = []
    for item in scene.items("channels"):
        name, _, rest = str(item).partition(":")
        basis, _, since = rest.partition(":")
        day = _day(since)
        how = CONSENTS.get(basis, basis)
        known.append(f"{scene.channels.get(name, name)} ({how}{f', sinds {date_words(day)}' if day else ''})")
    opted_out, given_at = scene.moment("opted_out_at"), scene.moment("email_given_at")
    if opted_out is not None:
        email = f"De ontvanger wil geen kennisgevingen, sinds {when(opted_out)}."
    elif scene.flag("email_known"):
        by = _free(scene.text("email_given_by"))
        given = f", opgegeven door {by}" if by else ""
        email = f"Er is een e-mailadres voor kennisgevingen{given}{f' op {when(given_at)}' if given_at else ''}."
    else:
        email = "Er is geen e-mailadres voor kennisgevingen."
    reachable = f"Digitaal bereikbaar via: {', '.join(known)}." if known else "Niet aangemeld voor een digitaal kanaal."
    return _Told("Vastgelegd wat de ontvanger had opgegeven", _sentences(reachable, email))


def _channels(scene: _Scene) -> _Told:
    detail = scene.event.detail
    if "considered" in detail:
        return _considered(scene)
    if "reachable" in detail:
        if scene.flag("reachable"):
            return _Told(f"Gecontroleerd: de ontvanger is bereikbaar in {scene.box}", "Het bericht mag daarheen.")
        title = f"Gecontroleerd: de ontvanger is niet bereikbaar in {scene.box}{_codes(scene.text('code'))}"
        return _Told(title, scene.follows() or "Dit kanaal wordt niet gebruikt.", Kind.WARNING)
    if chosen := scene.text("chosen"):
        return _Told(f"Volgend kanaal gekozen: {scene.named(chosen)}", "Het vorige kanaal lukte niet.", Kind.WARNING)
    match scene.text("decision"):
        case "covered":
            title = f"Geen aparte kennisgeving voor {scene.box} nodig"
            return _Told(
                title, "Het bericht staat ook bij MijnOverheid. Eén kennisgeving daarover is genoeg.", Kind.GOOD
            )
        case "waits":
            until = scene.moment("deadline")
            return _Told(
                f"Kennisgeving voor {scene.box} wacht op MijnOverheid",
                _sentences(
                    "Lukt plaatsen bij MijnOverheid, dan is één kennisgeving daarover genoeg.",
                    f"De 48 uur lopen door, tot {when(until)}." if until else "",
                ),
            )
        case _:
            return _Told("Keuze over een kanaal vastgelegd", f"Kanaal: {scene.label}.")


def _considered(scene: _Scene) -> _Told:
    words: list[str] = []
    for item in scene.items("considered"):
        choice = cast("dict[str, Any]", item) if isinstance(item, dict) else {}
        name, decision = str(choice.get("channel", "")), str(choice.get("decision", ""))
        label = _capital(scene.channels.get(name, name))
        words.append(f"{label}: ja." if decision == "used" else f"{label}: nee, want {_word(NOT_USED, decision)}.")
    if scene.flag("paper"):
        return _Told("Geen digitaal kanaal: het bericht gaat per brief", _sentences(*words), Kind.WARNING)
    return _Told("Kanalen gekozen", _sentences(*words))


def _counts(scene: _Scene) -> str:
    """Say what a sending means in law: which moment counts (L8, L10), and until when a term runs (L15)."""
    at, rule = scene.moment("legal_time"), scene.text("legal_rule")
    if at is None:
        return ""
    if at != scene.event.at:
        counts = (
            f"Als moment van verzending telt {when(at)}, via {scene.named(scene.text('legal_channel'))} (Awb 2:19)."
        )
        if scene.text("legal_channel") not in scene.channels:
            counts = f"Als moment van verzending telt {when(at)} (Awb 2:19)."
    elif rule == "L8":
        counts = (
            "Dit is een tweede verzending, omdat de eerste niet aankwam. "
            "Dit moment telt als moment van verzending (Awb 2:11, derde lid)."
        )
    else:
        counts = "Dit moment telt als moment van verzending (Awb 2:19)."
    end = _day(scene.text("term_last_day"))
    return _sentences(counts, f"De termijn loopt tot en met {weekday_words(end)}." if end else "")


def _clock_of(scene: _Scene, other: str) -> str:
    return (
        f"De tijd komt van {other}." if scene.event.source == TimeSource.OTHER_SIDE else "De tijd komt van onze klok."
    )


def _placed(scene: _Scene) -> _Told:
    already = "De box had het bericht al; het staat er één keer." if scene.flag("already") else ""
    title = f"Geplaatst in {scene.box}"
    return _Told(
        title,
        _sentences("De ontvanger kan het daar lezen.", already, _counts(scene), _clock_of(scene, "de box zelf")),
        Kind.GOOD,
    )


def _relayed(scene: _Scene) -> _Told:
    if scene.kind == "letter":
        pages = scene.text("pages")
        amount = f"{pages} bladzijde{'' if pages == '1' else 'n'}. " if pages else ""
        detail = f"{amount}De drukker heeft de brief ontvangen. Er volgt een melding als hij op de post is."
        return _Told(f"{scene.letter}: bij de drukker", detail)
    detail = "Een e-mail kan later nog terugkomen. Een kennisgeving is hierbij niet nodig."
    return _Told("Bericht verstuurd per e-mail", _sentences(detail, _counts(scene)), Kind.GOOD)


def _pending(scene: _Scene) -> _Told:
    title = f"Aangenomen door {scene.box}, nog niet geplaatst{_codes(scene.text('code'))}"
    detail = "De box plaatst het later. Dit telt nog niet als verzending. Bode blijft vragen of het geplaatst is."
    return _Told(title, detail)


def _placement_failed(scene: _Scene) -> _Told:
    codes = _codes(scene.text("code"))
    follows = scene.follows()
    match scene.text("kind"):
        case RefusalKind.ADDRESSEE:
            detail = follows or "Het bericht gaat niet via dit kanaal."
            return _Told(f"{_capital(scene.box)} neemt geen bericht aan voor deze ontvanger{codes}", detail, Kind.BAD)
        case RefusalKind.CONTENT:
            detail = _sentences("De beheerder krijgt een melding, want de afzender moet dit weten.", follows)
            return _Told(f"{_capital(scene.box)} weigert de inhoud van het bericht{codes}", detail, Kind.BAD)
        case RefusalKind.CONFIGURATION:
            detail = (
                "Dit ligt aan ons, niet aan de ontvanger. Het versturen naar deze box staat stil tot de beheerder het "
                "heeft hersteld. Niemand krijgt hierom een brief."
            )
            return _Told(f"Onze aansluiting op {scene.box} klopt niet{codes}", detail, Kind.WARNING)
        case RefusalKind.DEFECT:
            detail = "Het versturen naar deze box staat stil. De beheerder heeft een melding gekregen."
            return _Told(f"{_capital(scene.box)} weigert het bericht door een fout bij ons{codes}", detail, Kind.BAD)
        case RefusalKind.UNRECOGNISED:
            detail = "Bode gokt niet: een medewerker moet kijken."
            return _Told(f"{_capital(scene.box)} geeft een antwoord dat Bode niet kent{codes}", detail, Kind.BAD)
        case _ if scene.flag("final"):
            detail = _sentences("Er is lang genoeg geprobeerd.", follows or "Het bericht gaat niet via dit kanaal.")
            return _Told(f"Plaatsen in {scene.box} lukt niet{codes}", detail, Kind.BAD)
        case _:
            attempt = scene.text("attempt")
            tried = f"Dit was poging {attempt}. " if attempt else ""
            detail = f"{tried}Het bericht is zeker niet geplaatst. Bode probeert het later nog eens."
            return _Told(f"{_capital(scene.box)} kon het bericht nu niet aannemen{codes}", detail, Kind.WARNING)


def _relay_failed(scene: _Scene) -> _Told:
    if "verdict" in scene.event.detail:
        return _bounced(scene)
    if scene.kind == "letter":
        codes = _codes(scene.text("code"))
        if scene.flag("final"):
            return _Told(f"{scene.letter}: de drukker weigert{codes}", "Een medewerker moet kijken.", Kind.BAD)
        detail = "De brief is zeker niet bij de drukker. Bode probeert het later nog eens."
        return _Told(f"{scene.letter}: de drukker was niet bereikbaar{codes}", detail, Kind.WARNING)
    return _Told("Bericht per e-mail lukt niet", _given_up(scene), Kind.BAD)


def _given_up(scene: _Scene) -> str:
    if scene.told_before():
        return "Bode probeert het niet meer per e-mail."
    reason = scene.text("reason")
    why = f"De laatste reden: {_word(BOUNCE_REASONS, reason)}." if reason else ""
    return _sentences(why, scene.follows())


def _bounced(scene: _Scene) -> _Told:
    """Tell what a mail server said of a notice, or of a mail with the message itself (L6, L7)."""
    reason, notice = scene.text("reason"), scene.kind != "placement"
    what = "Kennisgeving" if notice else "Bericht per e-mail"
    reported = scene.event.name == "bounce.received"
    codes = _codes(scene.text("code"), scene.text("status")) or _codes(scene.text("rule"))
    words = _word(BOUNCE_REASONS, reason)
    verdict = scene.text("verdict")
    if verdict == Verdict.NOT_A_BOUNCE:
        detail = "Dit zegt niet dat de e-mail niet is aangekomen. Er verandert niets."
        return _Told(f"Antwoord op {'de kennisgeving' if notice else 'de e-mail'}: {words}{codes}", detail)
    title = f"{what} {'teruggekomen' if reported else 'niet aangenomen'}: {words}{codes}"
    again = (
        "Bode probeert het opnieuw tot de 48 uur voorbij zijn. Lukt het dan niet, dan gaat er een brief."
        if notice
        else "Bode probeert het bericht alsnog te bezorgen."
    )
    if not scene.flag("moved"):
        if scene.settled():
            return _Told(title, "Dit verandert niets: er was al een andere weg gekozen.")
        return _Told(title, _sentences("Dit verandert niets.", again if notice else ""), Kind.WARNING)
    follows = scene.follows()
    match verdict:
        case Verdict.HARD:
            detail = _sentences("Nog eens sturen helpt niet.", follows)
            return _Told(title, detail, Kind.BAD)
        case Verdict.SENDER:
            us = "Dit ligt aan onze e-mail, niet aan de ontvanger. De beheerder heeft een melding gekregen."
            return _Told(title, _sentences(us, follows or again), Kind.WARNING)
        case Verdict.SOFT:
            return _Told(title, follows or f"Dit gaat vaak vanzelf over. {again}", Kind.WARNING)
        case _:
            return _Told(title, follows or f"Bode ziet dit als tijdelijk. {again}", Kind.WARNING)


def _notice_sent(scene: _Scene) -> _Told:
    attempt = scene.text("attempt")
    title = f"Kennisgeving verstuurd: er staat een bericht in {scene.box}"
    tried = f"Dit was poging {attempt}." if attempt not in ("", "1") else ""
    late = "Er was intussen al een andere weg gekozen; dit verandert niets." if not scene.flag("moved") else ""
    sent = "De e-mail is verstuurd. Dat is nog geen bewijs dat hij is aangekomen: hij kan terugkomen."
    return _Told(title, _sentences(sent, tried, late), Kind.GOOD if scene.flag("moved") else Kind.NEUTRAL)


def _notice_failed(scene: _Scene) -> _Told:
    if "verdict" in scene.event.detail:
        return _bounced(scene)
    if scene.flag("final"):
        return _Told("Kennisgeving per e-mail lukt niet", _given_up(scene), Kind.BAD)
    detail = "Dit ligt aan ons, niet aan de ontvanger. Bode probeert het zo nog eens."
    return _Told(
        f"Kennisgeving nog niet verstuurd: onze mailserver nam de e-mail niet aan{_codes(scene.text('code'))}",
        detail,
        Kind.WARNING,
    )


def _notice_due(scene: _Scene) -> _Told:
    until = scene.moment("deadline")
    detail = f"De ontvanger moet dit uiterlijk weten op {when(until)}: 48 uur na het plaatsen." if until else ""
    return _Told("Kennisgeving staat klaar om te versturen", _sentences(detail, "Bode verstuurt die meteen."))


def _notice_waived(scene: _Scene) -> _Told:
    since = scene.moment("opted_out_at")
    detail = f"De ontvanger heeft zich afgemeld op {when(since)}." if since else "De ontvanger heeft zich afgemeld."
    return _Told("Geen kennisgeving: de ontvanger wil die niet", detail, Kind.GOOD)


def _notice_by_box(scene: _Scene) -> _Told:
    detail = "Bode verstuurt zelf niets en kan niet bewijzen dat de box het heeft gedaan."
    return _Told(f"De kennisgeving is de taak van {scene.box}", detail)


def _notice_impossible(scene: _Scene) -> _Told:
    follows = scene.follows() or "Er gaat geen brief over de kennisgeving: dat is de keuze van de organisatie."
    detail = _sentences("De ontvanger heeft zich ook niet afgemeld.", follows)
    return _Told("Kennisgeving kan niet: er is geen e-mailadres", detail, Kind.WARNING)


def _deadline_missed(scene: _Scene) -> _Told:
    attempts = scene.text("attempts")
    tried = f"Er is {attempts} keer geprobeerd." if attempts not in ("", "0") else "Er was nog niets verstuurd."
    if scene.beside("ConsignmentNotification"):
        tried = "De kennisgeving ging pas daarna weg."
    detail = _sentences(tried, "Dit kan gevolgen hebben als de ontvanger een termijn mist (Awb 2:22).", scene.follows())
    return _Told("De 48 uur zijn voorbij zonder kennisgeving", detail, Kind.BAD)


def _outcome_unknown(scene: _Scene) -> _Told:
    codes = _codes(scene.text("code"))
    match scene.kind:
        case "notice":
            detail = "De kennisgeving is misschien verstuurd. Bode stuurt die nog eens: twee keer kan geen kwaad."
            return _Told(f"Niet bekend of de kennisgeving is verstuurd{codes}", detail, Kind.WARNING)
        case "letter":
            detail = "Bode vraagt het de drukker met hetzelfde nummer. Zo wordt de brief niet twee keer gedrukt."
            return _Told(f"{scene.letter}: niet bekend of de drukker hem heeft{codes}", detail, Kind.WARNING)
        case _:
            title = f"Niet bekend of het bericht is aangekomen in {scene.box}{codes}"
            return _Told(title, "Bode zoekt dit eerst uit. Er wordt niets op de gok nog eens gestuurd.", Kind.WARNING)


def _reconciled(scene: _Scene) -> _Told:
    codes = _codes(scene.text("code"))
    match scene.text("outcome"):
        case "placed":
            return _Told(f"Uitgezocht: het bericht was aangekomen in {scene.box}{codes}", "", Kind.GOOD)
        case "absent":
            detail = "Bode verstuurt het nu nog eens."
            return _Told(f"Uitgezocht: het bericht was niet aangekomen in {scene.box}{codes}", detail)
        case "submitted":
            return _Told(f"Uitgezocht: de drukker heeft de brief{codes}", "", Kind.GOOD)
        case "printed":
            return _Told(f"Uitgezocht: de drukker heeft de brief gedrukt{codes}", "", Kind.GOOD)
        case _:
            return _Told(f"Uitgezocht wat er was gebeurd{codes}")


def _opened(scene: _Scene) -> _Told:
    return _Told(
        f"Bericht geopend in {scene.box}", "De box meldt dit. De ontvanger heeft het bericht gezien.", Kind.GOOD
    )


def _attention(scene: _Scene) -> _Told:
    reason = scene.text("reason")
    title = f"Een medewerker moet kijken: {_word(ATTENTION_REASONS, reason)}"
    return _Told(title, _todo(reason, about_notice=scene.letter_kind == LetterKind.NOTICE), Kind.PERSON)


def _letter_ordered(scene: _Scene) -> _Told:
    reason = f"Reden: {_word(LETTER_REASONS, scene.text('reason'))}."
    stuck = any(item.part == scene.event.part for item in scene.beside("attention.asked"))
    if stuck:
        return _Told(f"{scene.letter} nodig, maar er is geen postadres", reason, Kind.PERSON)
    says = "De inhoud van het bericht staat er niet in." if scene.text("kind") == LetterKind.NOTICE else ""
    return _Told(f"{scene.letter} besteld", _sentences(reason, says))


def _letter_printed(scene: _Scene) -> _Told:
    return _Told(f"{scene.letter}: gedrukt{_codes(scene.text('code'))}", "Nog niet op de post.")


def _letter_posted(scene: _Scene) -> _Told:
    codes = _codes(scene.text("code"))
    detail = _sentences(_counts(scene), _clock_of(scene, "de drukker"))
    return _Told(f"{scene.letter}: op de post{codes}", detail, Kind.GOOD)


def _letter_returned(scene: _Scene) -> _Told:
    reason = _free(scene.text("reason"))
    detail = _sentences(f"De drukker meldt: {reason}." if reason else "", "Een medewerker moet kijken.")
    return _Told(f"{scene.letter}: teruggekomen{_codes(scene.text('code'))}", detail, Kind.BAD)


def _cancelled(scene: _Scene) -> _Told:
    by, reason = _free(scene.text("by")), _free(scene.text("reason"))
    why = f"Reden: {reason}." if reason else ""
    title = f"Geannuleerd door {by}" if by else "Geannuleerd"
    return _Told(title, _sentences(why, "Er was nog niets verstuurd."), Kind.PERSON)


def _superseded(scene: _Scene) -> _Told:
    words = {Nature.WIJZIGING: "gewijzigd", Nature.INTREKKING: "ingetrokken"}.get(
        Nature(scene.text("nature")) if scene.text("nature") in set(Nature) else Nature.OVERIG, "genoemd"
    )
    detail = "Dit bericht blijft zoals het was. Een verzonden bericht verandert alleen door een nieuw bericht."
    return _Told(f"{_capital(words)} door een later bericht, kenmerk {scene.text('by')}", detail, Kind.WARNING)


def _staff(scene: _Scene) -> _Told:
    by, reason = _free(scene.text("by")) or "Een medewerker", _free(scene.text("reason"))
    why = f"Reden: {reason}." if reason else ""
    match scene.text("act"):
        case "retry":
            return _Told(f"{by} laat het nog eens proberen", why, Kind.PERSON)
        case "letter":
            return _Told(f"{by} bestelt een brief met het bericht", why, Kind.PERSON)
        case act:
            return _Told(f"{by} heeft iets gedaan{_codes(act)}", why, Kind.PERSON)


def _recorded(scene: _Scene) -> _Told:
    event = scene.text("event")
    what = RECORDED.get(event) or f"Bode kent deze soort niet{_codes(event)}"
    detail = "Dit kwam te laat, dubbel of in een andere volgorde. Het is bewaard en verandert niets."
    return _Told(f"Melding zonder gevolg: {what}", detail)


_TELLERS: Mapping[str, Callable[[_Scene], _Told]] = {
    "SubmissionAcceptance": _accepted,
    "preference.snapshot": _preferences,
    "channel.decision": _channels,
    "ContentConsignment": _placed,
    "ContentConsignmentFailure": _placement_failed,
    "RelayToNonERDS": _relayed,
    "RelayToNonERDSFailure": _relay_failed,
    "placement.pending": _pending,
    "outcome.unknown": _outcome_unknown,
    "outcome.reconciled": _reconciled,
    "ContentAccessTracking": _opened,
    "ConsignmentNotification": _notice_sent,
    "ConsignmentNotificationFailure": _notice_failed,
    "bounce.received": _bounced,
    "notice.due": _notice_due,
    "notice.waived": _notice_waived,
    "notice.by_box": _notice_by_box,
    "notice.impossible": _notice_impossible,
    "deadline.missed": _deadline_missed,
    "attention.asked": _attention,
    "letter.ordered": _letter_ordered,
    "letter.printed": _letter_printed,
    "letter.posted": _letter_posted,
    "letter.returned": _letter_returned,
    "message.cancelled": _cancelled,
    "message.superseded": _superseded,
    "staff.action": _staff,
    "event.recorded": _recorded,
}
"""Every event of the vocabulary, with the words for it; a test compares it with what the rules write."""

_LETTERS: Mapping[str, str] = {
    LetterKind.MESSAGE: "Brief met het bericht",
    LetterKind.NOTICE: "Brief over de kennisgeving",
}

_TODO: Mapping[str, str] = {
    AttentionReason.RESULT_OVERDUE: (
        "Bode blijft de box vragen. Vraag zelf de beheerder van de box naar dit bericht. Staat het er niet? "
        "Laat Bode het dan nog eens proberen, of stuur het bericht per brief."
    ),
    AttentionReason.OUTCOME_UNKNOWN: (
        "Zoek uit of het bericht is aangekomen. Is het er niet? Laat Bode het dan nog eens proberen. "
        "Is het er wel? Doe dat dan niet, want dan komt het misschien twee keer aan."
    ),
    AttentionReason.DEFECT: "Laat de beheerder de fout herstellen. Laat Bode het daarna nog eens proberen.",
    AttentionReason.UNRECOGNISED: (
        "Vraag de beheerder van de box wat de code betekent. Laat Bode het daarna nog eens proberen, of stuur het "
        "bericht per brief."
    ),
    AttentionReason.CONTRADICTION: (
        "Kijk in de box of het bericht er staat. Misschien is er ook al een brief onderweg: dan heeft de ontvanger het "
        "bericht twee keer. Leg uit wat geldt als de ontvanger ernaar vraagt."
    ),
    AttentionReason.NO_POSTAL_ADDRESS: (
        "Zoek het postadres op. Een aangenomen bericht kan niet meer veranderen: bied het in het zaaksysteem aan als "
        "nieuw bericht, met een nieuw kenmerk en met het postadres."
    ),
    AttentionReason.LETTER_REFUSED: "Vraag de drukker wat er mis is. Laat Bode het daarna nog eens proberen.",
    AttentionReason.LETTER_RETURNED: (
        "Controleer het postadres. Klopt het? Laat Bode het dan nog eens proberen: er gaat een nieuwe brief naar "
        "hetzelfde adres. Klopt het niet? Bied het bericht dan aan als nieuw bericht, met het goede adres."
    ),
    AttentionReason.POSTING_OVERDUE: (
        "Vraag de drukker waar de brief is. Komt zijn melding alsnog, dan verwerkt Bode die vanzelf."
    ),
}


_TELL_OTHERWISE = (
    "Laat de ontvanger op een andere manier weten dat er een bericht klaarstaat, bijvoorbeeld met een telefoontje. "
    "Leg in het zaaksysteem vast wie dat deed en wanneer."
)
_TODO_ABOUT_NOTICE: Mapping[str, str] = {
    AttentionReason.NO_POSTAL_ADDRESS: f"Het bericht zelf staat in de box. {_TELL_OTHERWISE}",
    AttentionReason.LETTER_RETURNED: (
        "Het bericht zelf staat in de box. Controleer het postadres. Klopt het? Laat Bode het dan nog eens proberen: "
        f"er gaat een nieuwe brief naar hetzelfde adres. Klopt het niet? {_TELL_OTHERWISE}"
    ),
}


def _todo(reason: str, *, about_notice: bool) -> str:
    """Say what a person does; for a letter about a notice the message itself has arrived already."""
    return (_TODO_ABOUT_NOTICE.get(reason) if about_notice else None) or _TODO.get(reason, "")


# ---- how it stands ------------------------------------------------------------------------------------------------


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
    """Something a person can do from the command line, and what that means in law."""

    command: str
    does: str
    effect: str


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


def summary(known: Known, delivery: Delivery, policy: Policy, *, now: datetime) -> Summary:
    """Tell how a message stands at this moment."""
    names = labels(policy)
    legal = delivery.legal_time(policy.primary_channels())
    return Summary(
        status=_status(delivery),
        outcome=Said(OUTCOMES[delivery.outcome], _OUTCOME_WHY.get(delivery.outcome, "")),
        sent=_sent(delivery, legal, policy, names),
        term=_term(delivery, legal, policy),
        opened=Said(when(delivery.opened_at), "De box meldt dit.", Kind.GOOD) if delivery.opened_at else None,
        channels=tuple(_channel_said(placement, policy, names) for placement in delivery.placements),
        clocks=tuple(
            _box_clock(placement, placement.notice, delivery, names, now)
            for placement in delivery.placements
            if placement.notice is not None
        ),
        letters=tuple(_letter_said(number, letter, names) for number, letter in enumerate(delivery.letters)),
        waiting=tuple(_waiting(item, delivery, names) for item in delivery.attention),
        acts=_acts(known, delivery, legal),
        change=_change(delivery),
    )


def _status(delivery: Delivery) -> Said:
    said = _state_said(delivery)
    if any(placement.notice is not None and _missed(placement.notice) for placement in delivery.placements):
        missed = "Let op: de kennisgeving is niet binnen 48 uur verstuurd."
        kind = said.kind if said.kind is Kind.PERSON else Kind.WARNING
        return Said(said.text, _sentences(missed, said.why), kind, ("L3", "L11"))
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
        how = f"Vanaf dat moment stond het bericht in {_the(names.get(legal.channel, legal.channel))}."
        clock = "de box zelf"
    else:
        how = "Toen verliet de e-mail met het bericht onze mailserver."
        clock = "de mailserver van de ontvanger"
    source = f"De tijd komt van {clock}." if legal.source is TimeSource.OTHER_SIDE else "De tijd komt van onze klok."
    if not legal.standing:
        back = "Dit bericht is teruggekomen. Een tweede verzending is nog niet gelukt; lukt die, dan telt dat moment."
        return Said(when(legal.at), _sentences(how, back, source), Kind.WARNING, ("L8", "L10"))
    match legal.rule:
        case "L8":
            rule = "Een eerdere verzending kwam niet aan, daarom telt deze tweede verzending (Awb 2:11, derde lid)."
            return Said(when(legal.at), _sentences(how, rule, source), Kind.GOOD, ("L8",))
        case "L10-several":
            rule = "Het bericht staat in meer boxen. Dan telt het moment van MijnOverheid (Awb 2:19)."
        case _:
            rule = "Dat moment telt als moment van verzending (Awb 2:19)."
    return Said(when(legal.at), _sentences(how, rule, source), Kind.GOOD, ("L10",))


def _term(delivery: Delivery, legal: LegalTime | None, policy: Policy) -> Said | None:
    term = delivery.brief.term
    if term is None:
        return None
    if term.duration is None:
        if term.last_day is None:
            return None
        return Said(_capital(weekday_words(term.last_day)), "De afzender heeft deze dag zelf genoemd.", law=("L15",))
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
    return Said(_capital(weekday_words(end.day)), _sentences(begins, _moved(end, policy)), law=("L15",))


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
        reason = BOUNCE_REASONS.get(placement.code or "")
        why = f"{_capital(reason)}." if reason else f"Code: {one_line(placement.code)}." if placement.code else ""
    elif placement.attempts and placement.state in (PlacementState.PLANNED, PlacementState.CHECKING):
        why = f"Al {placement.attempts} keer geprobeerd{_codes(placement.code)}. Bode probeert het nog eens."
    return ChannelSaid(placement.channel, _capital(label), Said(text, why, kind))


def _box_clock(
    placement: Placement, notice: Notice, delivery: Delivery, names: Mapping[str, str], now: datetime
) -> BoxClock:
    placed_at = placement.placed_at or now
    whole = notice.deadline_at - placed_at
    runs = notice.state in (NoticeState.WAITING, NoticeState.DUE)
    until = notice.sent_at if notice.sent_at is not None and not runs else now
    used = min(max((until - placed_at) / whole, 0.0), 1.0) if whole else 1.0
    said = _notice_said(placement, notice, delivery, now)
    label = names.get(placement.channel, placement.channel)
    return BoxClock(
        channel=placement.channel,
        label=_capital(label),
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
        case NoticeState.COVERED | NoticeState.BY_BOX | NoticeState.WAIVED:
            return _notice_not_ours(notice, delivery)
        case NoticeState.IMPOSSIBLE | NoticeState.UNDELIVERABLE | NoticeState.EXPIRED:
            return _notice_by_other_means(placement, notice, delivery)
        case _:
            assert_never(notice.state)


def _notice_to_come(notice: Notice, now: datetime) -> Said:
    tried = f"Al {notice.attempts} keer geprobeerd." if notice.attempts else ""
    if now >= notice.deadline_at:
        return Said("De 48 uur zijn voorbij", _sentences(tried, _last_reason(notice)), Kind.BAD, ("L3",))
    left = length(notice.deadline_at - now)
    if notice.state is NoticeState.WAITING:
        why = "Lukt plaatsen daar, dan is één kennisgeving daarover genoeg."
        return Said(f"Wacht op MijnOverheid, nog {left}", why, Kind.NEUTRAL, ("L5",))
    why = _sentences(tried, _last_reason(notice), "Bode stuurt de kennisgeving voor het einde van de 48 uur.")
    if notice.sent_at is not None:
        sent = f"Verstuurd op {when(notice.sent_at)}."
        return Said(f"Teruggekomen, nog {left}", _sentences(sent, why), Kind.WARNING, ("L3", "L7"))
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
        return Said("Kan niet per e-mail", _sentences(why, letter), Kind.WARNING, ("L3",))
    why = _sentences(_last_reason(notice), letter)
    if notice.sent_at is None:
        text = "Niet verstuurd binnen 48 uur" if notice.state is NoticeState.EXPIRED else "Niet aangenomen"
        return Said(text, why, Kind.BAD, ("L3", "L7"))
    text = f"Verstuurd op {when(notice.sent_at)}, maar niet aangekomen"
    return Said(text, why, Kind.BAD, ("L7",))


def _last_reason(notice: Notice) -> str:
    reason = BOUNCE_REASONS.get(notice.last_reason or "", "")
    return f"De laatste reden: {reason}{_codes(notice.last_reason)}." if reason else ""


def _in_time(placement: Placement, notice: Notice) -> Said:
    if notice.sent_at is None:
        return Said("Verstuurd", "", Kind.GOOD, ("L3",))
    took = length(notice.sent_at - (placement.placed_at or notice.sent_at))
    if _missed(notice):
        late = f"{took} na het plaatsen: te laat."
        return Said(f"Verstuurd op {when(notice.sent_at)}", late, Kind.BAD, ("L3", "L11"))
    return Said(
        f"Verstuurd op {when(notice.sent_at)}", f"{_capital(took)} na het plaatsen: op tijd.", Kind.GOOD, ("L3",)
    )


def _letter_note(placement: Placement, delivery: Delivery) -> str:
    letters = (item for item in delivery.letters if item.kind is LetterKind.NOTICE and item.about == placement.channel)
    letter = next(letters, None)
    if letter is None:
        return "Er gaat geen brief."
    if letter.posted_at is not None:
        return f"De brief ging op {when(letter.posted_at)} op de post."
    return f"Stand van de brief: {_lower(LETTER_STATES[letter.state][0])}."


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


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
    return LetterSaid(number, title, Said(text, _sentences(f"{_capital(LETTER_REASONS[letter.reason])}.", says), kind))


def _waiting(item: Attention, delivery: Delivery, names: Mapping[str, str]) -> Waiting:
    kind, _, name = item.part.partition("/")
    part, about_notice = _capital(names.get(name, name)), False
    if kind == "letter":
        index = int(name) if name.isdecimal() else -1
        letter = delivery.letters[index] if 0 <= index < len(delivery.letters) else None
        part = _LETTERS[letter.kind] if letter is not None else "Brief"
        about_notice = letter is not None and letter.kind is LetterKind.NOTICE
    todo = _todo(item.reason, about_notice=about_notice)
    return Waiting(part, f"{_capital(ATTENTION_REASONS[item.reason])}.", item.since, todo)


def _acts(known: Known, delivery: Delivery, legal: LegalTime | None) -> tuple[Act, ...]:
    """Give what a person can do now; each only where the rules would act on it."""
    acts: list[Act] = []
    if _retry_helps(delivery):
        does = "Alles nog eens proberen wat op een medewerker wacht. Herstel eerst de oorzaak."
        acts.append(Act(f'bode retry {known.id} --reason "..."', does, _retry_effect(legal)))
    if delivery.attention and delivery.brief.has_address:
        acts.append(
            Act(f'bode letter {known.id} --reason "..."', "Het bericht zelf per brief sturen.", _letter_effect(legal))
        )
    if not delivery.handed_over and not delivery.cancelled:
        effect = (
            "Er is nog niets verstuurd, dus er is ook niets om in te trekken. Dit kan niet ongedaan worden gemaakt."
        )
        acts.append(
            Act(f'bode cancel {known.id} --reason "..."', "Het bericht annuleren: Bode bezorgt het dan niet.", effect)
        )
    return tuple(acts)


def _change(delivery: Delivery) -> str:
    if delivery.cancelled:
        return "Het bericht is geannuleerd voordat er iets was verstuurd."
    if not delivery.handed_over:
        return "Er is nog niets verstuurd: het bericht kan nog worden geannuleerd."
    return (
        "Dit bericht is al verstuurd of onderweg en verandert niet meer. Wijzigen of intrekken kan alleen met een "
        "nieuw bericht uit het zaaksysteem (Awb 2:12)."
    )


def _retry_helps(delivery: Delivery) -> bool:
    """Whether the rules would act on a retry: see `bode.domain.delivery`; a test compares the two."""
    waits = {item.part for item in delivery.attention}
    if any(
        placement.state is PlacementState.HELD
        or (
            placement.state in (PlacementState.UNKNOWN, PlacementState.PENDING)
            and placement_part(placement.channel) in waits
        )
        for placement in delivery.placements
    ):
        return True
    return any(
        (letter.state is LetterState.BLOCKED and delivery.brief.has_address)
        or (letter.state in (LetterState.REFUSED, LetterState.RETURNED) and letter_part(number) in waits)
        for number, letter in enumerate(delivery.letters)
    )


def _retry_effect(legal: LegalTime | None) -> str:
    if legal is not None and legal.standing:
        return f"Het moment van verzending verandert niet: dat blijft {when(legal.at)}."
    return "Lukt het versturen nu pas, dan telt dat moment als moment van verzending."


def _letter_effect(legal: LegalTime | None) -> str:
    if legal is None:
        return "Het moment waarop de brief op de post gaat, telt als moment van verzending (Awb 2:19)."
    if legal.standing:
        return f"Het moment van verzending verandert niet: dat blijft {when(legal.at)}."
    return "Dit is een tweede verzending: het moment waarop de brief op de post gaat, telt (Awb 2:11, derde lid)."


# ---- as plain text ------------------------------------------------------------------------------------------------

_SIGNS: Mapping[Kind, str] = {
    Kind.GOOD: "✓",
    Kind.NEUTRAL: "·",
    Kind.WARNING: "!",
    Kind.BAD: "✗",
    Kind.PERSON: "?",
}
_WIDTH = 110
_INDENT = 16


def render_text(
    known: Known,
    delivery: Delivery,
    later: Sequence[Known],
    story: Sequence[StoredEvent],
    *,
    policy: Policy,
    now: datetime,
) -> str:
    """Write how a message stands and what happened to it, as text for a terminal."""
    said = summary(known, delivery, policy, now=now)
    rows = [
        _row("Bericht", f"{one_line(known.reference)} ({known.nature}) van {known.organisation}"),
        _row("Id", str(known.id)),
        _row("Status", said.status.text, said.status.why),
        _row("Uitkomst", said.outcome.text, said.outcome.why),
        _row("Verzonden", said.sent.text, said.sent.why),
    ]
    if said.term is not None:
        rows.append(_row("Laatste dag", said.term.text, said.term.why))
    rows += [_row("Kanaal", f"{item.label}: {_lower(item.said.text)}", item.said.why) for item in said.channels]
    for item in said.clocks:
        limit = f"De 48 uur: tot {when(item.deadline_at)}." if item.counts else ""
        rows.append(_row("Kennisgeving", f"{item.label}: {_lower(item.said.text)}", item.said.why, limit))
    rows += [_row("Brief", f"{item.title}: {_lower(item.said.text)}", item.said.why) for item in said.letters]
    if said.opened is not None:
        rows.append(_row("Geopend", said.opened.text, said.opened.why))
    rows += [_row("Later bericht", f"{one_line(item.reference)} ({item.nature})") for item in later]
    rows += [_row("Dit wacht op u", f"{item.part}: {_lower(item.why)}", item.todo) for item in said.waiting]
    rows += [_row("Wat u kunt doen", act.command, act.does, act.effect) for act in said.acts]
    rows.append("\nTijdlijn")
    for line in timeline(story, channels=labels(policy)):
        law = f"[{'; '.join(article(row) for row in line.law)}]" if line.law else ""
        rows.append(_row(_SIGNS[line.kind], f"{when(line.at)}: {line.title}", line.detail, law, indent=2))
    return "\n".join(rows)


def _row(name: str, text: str, *more: str, indent: int = _INDENT) -> str:
    """Write a name with its text beside it, and what explains it in paragraphs under it."""
    blank = " " * indent
    lines = wrap(text, _WIDTH - indent, break_long_words=False, break_on_hyphens=False) or [""]
    for paragraph in more:
        lines += wrap(paragraph, _WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join((f"{name:<{indent}}" if index == 0 else blank) + line for index, line in enumerate(lines))
