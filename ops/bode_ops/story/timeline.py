"""What happened to a message and how it stands, in plain Dutch: for the command line, the pages, and the telephone.

Pure: evidence events and a delivery go in, words come out. Every line says what happened, why, and what follows;
codes of other systems stand in brackets. An event without words of its own still gives a line. Envelopes hold no
personal data of the addressee; free text of staff and print services is told where an event's details are open,
cleaned of what could be a BSN, and where they are closed the line says that there is such a text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple, cast

from bode.compose.plain import one_line
from bode.compose.wording import date_words, weekday_words
from bode.domain.bounces import Reason, Verdict
from bode.domain.events import RefusalKind, TimeSource
from bode.domain.message import Nature
from bode.domain.parts import LetterKind
from bode.store.events import StoredEvent
from bode_ops.story.words import (
    ATTENTION_REASONS,
    BOUNCE_REASONS,
    CONSENTS,
    HEARD_LATE,
    LETTER_REASONS,
    LETTER_SAYS,
    LETTERS,
    MESSAGE_ON_PAPER,
    NOT_USED,
    PRINTER_WROTE,
    REASON_GIVEN,
    RECORDED,
    RETURN_ADVICE,
    RETURN_REASONS,
    Kind,
    advice,
    capitalised,
    free_text,
    in_brackets,
    sentences,
    when,
    with_article,
)


@dataclass(frozen=True, slots=True)
class Line:
    """One event in words. `law` holds rows of the law table: `article` gives the article of each."""

    at: datetime
    title: str
    detail: str
    law: tuple[str, ...]
    kind: Kind
    seq: int


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

    def typed(self, key: str) -> str:
        """Give free text, where its details are open; events of before it was sealed have it in the envelope."""
        value = (self.event.details or {}).get(key)
        return free_text(value if isinstance(value, str) else self.text(key))

    @property
    def closed(self) -> bool:
        """Whether it has details that cannot be read here."""
        return self.event.committed and self.event.details is None

    @property
    def reason(self) -> str:
        """Say the reason that a person gave, or that there is one."""
        if reason := self.typed("reason"):
            return f"Reden: {reason}."
        return REASON_GIVEN if self.closed else ""

    @property
    def printer_said(self) -> str:
        """Say what the print service wrote, or that it wrote something."""
        if said := self.typed("reason"):
            return f"De drukker meldt: {said}."
        return PRINTER_WROTE if self.closed else ""

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
        return with_article(self.label)

    def named(self, channel: str) -> str:
        return with_article(self.channels.get(channel, channel))

    @property
    def letter_kind(self) -> object:
        """What kind of letter this part is, from the event that ordered it."""
        ordered = (item for item in self.events if item.name == "letter.ordered" and item.part == self.event.part)
        first = next(ordered, self.event)
        return first.detail.get("kind")

    @property
    def letter(self) -> str:
        return LETTERS.get(str(self.letter_kind), "Brief")

    def beside(self, name: str) -> list[StoredEvent]:
        """Give the later events with this name that were recorded at the same time: what follows from this one."""
        later = self.events[self.index + 1 :]
        return [item for item in later if item.name == name and item.recorded_at == self.event.recorded_at]

    def follows(self) -> str:
        """Say which route is taken now, as the events recorded with this one tell."""
        for letter in self.beside("letter.ordered"):
            words = LETTER_SAYS if letter.detail.get("kind") == LetterKind.NOTICE else MESSAGE_ON_PAPER
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
    if event.source == TimeSource.OTHER_SIDE and event.recorded_at - event.at > HEARD_LATE:
        detail = sentences(detail, f"Bode hoorde dit op {when(event.recorded_at)}.")
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
    return table.get(raw) or f"de reden is Bode niet bekend{in_brackets(raw)}"


def _unknown(scene: _Scene) -> _Told:
    part = f"Onderdeel: {one_line(scene.event.part)}." if scene.event.part else ""
    detail = "Bode heeft hier nog geen eigen woorden voor. Bij het bewijs staat wat er precies is vastgelegd."
    return _Told(f"Vastgelegd: {one_line(scene.event.name)}", sentences(detail, part))


def _accepted(scene: _Scene) -> _Told:
    nature = scene.text("nature")
    concerns = scene.text("concerns")
    words = Nature(nature).rules.label if nature in set(Nature) else "een bericht"
    return _Told(
        "Bericht aangenomen van het zaaksysteem",
        sentences(
            f"Het gaat om {words}.",
            f"Dit bericht hoort bij het eerdere bericht met kenmerk {concerns}." if concerns else "",
            "Vanaf nu zorgt Bode voor het bezorgen.",
        ),
    )


def _profile(scene: _Scene) -> _Told:
    """Tell what the profile service said: the consent and the address that what follows rests on."""
    if not scene.flag("known"):
        known = f"De profielservice kent deze ontvanger niet{in_brackets(scene.text('code'))}."
        return _Told("Gevraagd aan de profielservice: geen profiel", sentences(known, scene.follows()), Kind.WARNING)
    since, words = scene.moment("receives_since"), ""
    if scene.items("asked"):
        match scene.event.detail.get("receives"):
            case True:
                day = f", sinds {date_words(since.date())}" if since is not None else ""
                words = f"De ontvanger wil berichten in een berichtenbox{day}."
            case False:
                words = "De ontvanger wil geen berichten in een berichtenbox."
            case _:
                words = "De ontvanger heeft niet gezegd of hij berichten in een berichtenbox wil. Dan mag het niet."
    if scene.flag("email_known"):
        email = "Er is een gecontroleerd e-mailadres voor de kennisgeving."
    else:
        email = "Er is geen gecontroleerd e-mailadres." if scene.flag("email_asked") else ""
    return _Told("Gevraagd aan de profielservice", sentences(words, email, scene.follows()))


def _profile_unavailable(scene: _Scene) -> _Told:
    detail = "Dat is geen nee van de ontvanger. Bode vraagt het later nog eens."
    return _Told(f"De profielservice gaf geen antwoord{in_brackets(scene.text('code'))}", detail, Kind.WARNING)


def _profile_refused(scene: _Scene) -> _Told:
    codes, kind = in_brackets(scene.text("code")), scene.text("kind")
    if scene.text("code") == "missing_jump":
        detail = (
            "Dat past niet bij wat zij eerder zei. Misschien klopt het adres van de service niet. Het vragen staat "
            "stil tot de beheerder heeft gekeken. Niemand krijgt hierom een brief."
        )
        return _Told(f"De profielservice kent opeens bijna niemand{codes}", detail, Kind.WARNING)
    if kind == RefusalKind.CONFIGURATION:
        detail = (
            "Dit ligt aan ons, niet aan de ontvanger. Het vragen staat stil tot de beheerder het heeft hersteld. "
            "Niemand krijgt hierom een brief."
        )
        return _Told(f"Onze aansluiting op de profielservice klopt niet{codes}", detail, Kind.WARNING)
    if kind == RefusalKind.DEFECT:
        detail = "Het vragen staat stil. De beheerder heeft een melding gekregen."
        return _Told(f"De profielservice weigert de vraag door een fout bij ons{codes}", detail, Kind.BAD)
    detail = "Bode gokt niet: een medewerker moet kijken."
    return _Told(f"De profielservice geeft een antwoord dat Bode niet kent{codes}", detail, Kind.BAD)


def _preferences(scene: _Scene) -> _Told:
    if scene.text("origin"):
        return _profile(scene)
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
    elif scene.flag("email_from_profile"):
        email = "Het e-mailadres voor de kennisgeving komt uit de profielservice."
    elif scene.flag("email_known"):
        by = free_text(scene.text("email_given_by"))
        given = f", opgegeven door {by}" if by else ""
        email = f"Er is een e-mailadres voor kennisgevingen{given}{f' op {when(given_at)}' if given_at else ''}."
    else:
        email = "Er is geen e-mailadres voor kennisgevingen."
    reachable = f"Digitaal bereikbaar via: {', '.join(known)}." if known else "Niet aangemeld voor een digitaal kanaal."
    return _Told("Vastgelegd wat de ontvanger had opgegeven", sentences(reachable, email))


def _channels(scene: _Scene) -> _Told:
    detail = scene.event.detail
    if "considered" in detail:
        return _considered(scene)
    if "reachable" in detail:
        if scene.flag("reachable"):
            return _Told(f"Gecontroleerd: de ontvanger is bereikbaar in {scene.box}", "Het bericht mag daarheen.")
        title = f"Gecontroleerd: de ontvanger is niet bereikbaar in {scene.box}{in_brackets(scene.text('code'))}"
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
                sentences(
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
        label = capitalised(scene.channels.get(name, name))
        words.append(f"{label}: ja." if decision == "used" else f"{label}: nee, want {_word(NOT_USED, decision)}.")
    if scene.flag("paper"):
        return _Told("Geen digitaal kanaal: het bericht gaat per brief", sentences(*words), Kind.WARNING)
    return _Told("Kanalen gekozen", sentences(*words))


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
    return sentences(counts, f"De termijn loopt tot en met {weekday_words(end)}." if end else "")


def _clock_of(scene: _Scene, other: str) -> str:
    return (
        f"De tijd komt van {other}." if scene.event.source == TimeSource.OTHER_SIDE else "De tijd komt van onze klok."
    )


def _placed(scene: _Scene) -> _Told:
    already = "De box had het bericht al; het staat er één keer." if scene.flag("already") else ""
    title = f"Geplaatst in {scene.box}"
    return _Told(
        title,
        sentences("De ontvanger kan het daar lezen.", already, _counts(scene), _clock_of(scene, "de box zelf")),
        Kind.GOOD,
    )


def _relayed(scene: _Scene) -> _Told:
    if scene.kind == "letter":
        pages = scene.text("pages")
        amount = f"{pages} bladzijde{'' if pages == '1' else 'n'}. " if pages else ""
        detail = f"{amount}De drukker heeft de brief ontvangen. Er volgt een melding als hij op de post is."
        return _Told(f"{scene.letter}: bij de drukker", detail)
    detail = "Een e-mail kan later nog terugkomen. Een kennisgeving is hierbij niet nodig."
    return _Told("Bericht verstuurd per e-mail", sentences(detail, _counts(scene)), Kind.GOOD)


def _pending(scene: _Scene) -> _Told:
    title = f"Aangenomen door {scene.box}, nog niet geplaatst{in_brackets(scene.text('code'))}"
    detail = "De box plaatst het later. Dit telt nog niet als verzending. Bode blijft vragen of het geplaatst is."
    return _Told(title, detail)


def _placement_failed(scene: _Scene) -> _Told:
    codes = in_brackets(scene.text("code"))
    follows = scene.follows()
    match scene.text("kind"):
        case RefusalKind.ADDRESSEE:
            detail = follows or "Het bericht gaat niet via dit kanaal."
            return _Told(
                f"{capitalised(scene.box)} neemt geen bericht aan voor deze ontvanger{codes}", detail, Kind.BAD
            )
        case RefusalKind.CONTENT:
            detail = sentences("De beheerder krijgt een melding, want de afzender moet dit weten.", follows)
            return _Told(f"{capitalised(scene.box)} weigert de inhoud van het bericht{codes}", detail, Kind.BAD)
        case RefusalKind.CONFIGURATION:
            detail = (
                "Dit ligt aan ons, niet aan de ontvanger. Het versturen naar deze box staat stil tot de beheerder het "
                "heeft hersteld. Niemand krijgt hierom een brief."
            )
            return _Told(f"Onze aansluiting op {scene.box} klopt niet{codes}", detail, Kind.WARNING)
        case RefusalKind.DEFECT:
            detail = "Het versturen naar deze box staat stil. De beheerder heeft een melding gekregen."
            return _Told(f"{capitalised(scene.box)} weigert het bericht door een fout bij ons{codes}", detail, Kind.BAD)
        case RefusalKind.UNRECOGNISED:
            detail = "Bode gokt niet: een medewerker moet kijken."
            return _Told(f"{capitalised(scene.box)} geeft een antwoord dat Bode niet kent{codes}", detail, Kind.BAD)
        case _ if scene.flag("final"):
            detail = sentences("Er is lang genoeg geprobeerd.", follows or "Het bericht gaat niet via dit kanaal.")
            return _Told(f"Plaatsen in {scene.box} lukt niet{codes}", detail, Kind.BAD)
        case _:
            attempt = scene.text("attempt")
            tried = f"Dit was poging {attempt}. " if attempt else ""
            detail = f"{tried}Het bericht is zeker niet geplaatst. Bode probeert het later nog eens."
            return _Told(f"{capitalised(scene.box)} kon het bericht nu niet aannemen{codes}", detail, Kind.WARNING)


def _relay_failed(scene: _Scene) -> _Told:
    if "verdict" in scene.event.detail:
        return _bounced(scene)
    if scene.kind == "letter":
        codes = in_brackets(scene.text("code"))
        if scene.flag("final"):
            return _Told(f"{scene.letter}: de drukker weigert{codes}", "Een medewerker moet kijken.", Kind.BAD)
        if scene.text("kind") == RefusalKind.CONFIGURATION:
            detail = (
                "Dit ligt aan ons, niet aan deze brief. Het versturen naar de drukker staat stil tot de beheerder het "
                "heeft hersteld. Daarna gaat de brief vanzelf."
            )
            return _Told(f"{scene.letter}: onze aansluiting op de drukker klopt niet{codes}", detail, Kind.WARNING)
        detail = "De brief is zeker niet bij de drukker. Bode probeert het later nog eens."
        return _Told(f"{scene.letter}: de drukker was niet bereikbaar{codes}", detail, Kind.WARNING)
    return _Told("Bericht per e-mail lukt niet", _given_up(scene), Kind.BAD)


def _given_up(scene: _Scene) -> str:
    if scene.told_before():
        return "Bode probeert het niet meer per e-mail."
    reason = scene.text("reason")
    why = f"De laatste reden: {_word(BOUNCE_REASONS, reason)}." if reason else ""
    return sentences(why, scene.follows())


def _bounced(scene: _Scene) -> _Told:
    """Tell what a mail server said (L6, L7), and who found out about which mail, where a person did."""
    said, by = _mail_server_said(scene), free_text(scene.text("matched_by"))
    if not by:
        return said
    why = scene.typed("matched_why")
    hand = f"{by} heeft dit antwoord bij dit bericht gezocht{f', met als reden: {why}' if why else ''}."
    return said._replace(detail=sentences(hand, said.detail))


def _mail_server_said(scene: _Scene) -> _Told:
    """Tell what a mail server said of a notice, or of a mail with the message itself."""
    reason, notice = scene.text("reason"), scene.kind != "placement"
    what = "Kennisgeving" if notice else "Bericht per e-mail"
    reported = scene.event.name == "bounce.received"
    codes = in_brackets(scene.text("code"), scene.text("status")) or in_brackets(scene.text("rule"))
    words = _word(BOUNCE_REASONS, reason)
    verdict = scene.text("verdict")
    if verdict == Verdict.NOT_A_BOUNCE:
        arrived = reason == Reason.DELIVERED
        detail = sentences("" if arrived else "Dit zegt niet dat de e-mail niet is aangekomen.", "Er verandert niets.")
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
        return _Told(title, sentences("Dit verandert niets.", again if notice else ""), Kind.WARNING)
    follows = scene.follows()
    match verdict:
        case Verdict.HARD:
            detail = sentences("Nog eens sturen helpt niet.", follows)
            return _Told(title, detail, Kind.BAD)
        case Verdict.SENDER:
            us = "Dit ligt aan onze e-mail, niet aan de ontvanger. De beheerder heeft een melding gekregen."
            return _Told(title, sentences(us, follows or again), Kind.WARNING)
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
    return _Told(title, sentences(sent, tried, late), Kind.GOOD if scene.flag("moved") else Kind.NEUTRAL)


def _notice_failed(scene: _Scene) -> _Told:
    if "verdict" in scene.event.detail:
        return _bounced(scene)
    if scene.flag("final"):
        return _Told("Kennisgeving per e-mail lukt niet", _given_up(scene), Kind.BAD)
    detail = "Dit ligt aan ons, niet aan de ontvanger. Bode probeert het zo nog eens."
    return _Told(
        f"Kennisgeving nog niet verstuurd: onze mailserver nam de e-mail niet aan{in_brackets(scene.text('code'))}",
        detail,
        Kind.WARNING,
    )


def _notice_due(scene: _Scene) -> _Told:
    until = scene.moment("deadline")
    if scene.text("again"):
        detail = f"Bode probeert dit tot {when(until)}." if until else ""
        return _Told("De kennisgeving wordt opnieuw verstuurd", detail)
    detail = f"De ontvanger moet dit uiterlijk weten op {when(until)}: 48 uur na het plaatsen." if until else ""
    return _Told("Kennisgeving staat klaar om te versturen", sentences(detail, "Bode verstuurt die meteen."))


def _notice_waived(scene: _Scene) -> _Told:
    since = scene.moment("opted_out_at")
    detail = f"De ontvanger heeft zich afgemeld op {when(since)}." if since else "De ontvanger heeft zich afgemeld."
    return _Told("Geen kennisgeving: de ontvanger wil die niet", detail, Kind.GOOD)


def _notice_by_box(scene: _Scene) -> _Told:
    detail = "Bode verstuurt zelf niets en kan niet bewijzen dat de box het heeft gedaan."
    return _Told(f"De kennisgeving is de taak van {scene.box}", detail)


def _notice_held(scene: _Scene) -> _Told:
    reason = _word(BOUNCE_REASONS, scene.text("reason"))
    detail = (
        "Er kwamen in korte tijd veel e-mails terug. Misschien klopt er iets anders niet dan dit adres. Er gaat geen "
        "brief tot een medewerker heeft beslist."
    )
    return _Told(f"Brief aangehouden: {reason}", detail, Kind.PERSON)


def _notice_impossible(scene: _Scene) -> _Told:
    if scene.text("reason") == "address_failing":
        since, why = scene.moment("since"), _word(BOUNCE_REASONS, scene.text("bounced"))
        when_ = f" op {when(since)}" if since is not None else ""
        detail = sentences(f"Een eerdere e-mail van deze organisatie kwam{when_} terug: {why}.", scene.follows())
        return _Told("Kennisgeving niet verstuurd: dit e-mailadres werkt niet", detail, Kind.WARNING)
    follows = scene.follows() or "Er gaat geen brief over de kennisgeving: dat is de keuze van de organisatie."
    detail = sentences("De ontvanger heeft zich ook niet afgemeld.", follows)
    return _Told("Kennisgeving kan niet: er is geen e-mailadres", detail, Kind.WARNING)


def _deadline_missed(scene: _Scene) -> _Told:
    attempts = scene.text("attempts")
    tried = f"Er is {attempts} keer geprobeerd." if attempts not in ("", "0") else "Er was nog niets verstuurd."
    if scene.beside("ConsignmentNotification"):
        tried = "De kennisgeving ging pas daarna weg."
    detail = sentences(tried, "Dit kan gevolgen hebben als de ontvanger een termijn mist (Awb 2:22).", scene.follows())
    return _Told("De 48 uur zijn voorbij zonder kennisgeving", detail, Kind.BAD)


def _outcome_unknown(scene: _Scene) -> _Told:
    codes = in_brackets(scene.text("code"))
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
    codes = in_brackets(scene.text("code"))
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
        case "posted":
            return _Told(f"Uitgezocht: de drukker heeft de brief op de post gedaan{codes}", "", Kind.GOOD)
        case "returned":
            return _Told(f"Uitgezocht: de brief was verstuurd, want hij kwam terug{codes}")
        case _:
            return _Told(f"Uitgezocht wat er was gebeurd{codes}")


def _opened(scene: _Scene) -> _Told:
    late = "De box bewaart één tijd: de ontvanger opende het bericht toen of eerder." if scene.flag("at_latest") else ""
    detail = sentences("De box meldt dit. De ontvanger heeft het bericht gezien.", late)
    return _Told(f"Bericht geopend in {scene.box}", detail, Kind.GOOD)


def _not_seen_opened(scene: _Scene) -> _Told:
    asked = scene.text("asked")
    detail = (
        f"Bode vroeg het {asked} keer en vraagt het niet meer. Dit bewijst niet dat de ontvanger het bericht niet kent."
    )
    return _Told(f"Niet gezien dat het bericht is geopend in {scene.box}{in_brackets(scene.text('code'))}", detail)


def _attention(scene: _Scene) -> _Told:
    reason = scene.text("reason")
    title = f"Een medewerker moet kijken: {_word(ATTENTION_REASONS, reason)}"
    return _Told(title, advice(reason, about_notice=scene.letter_kind == LetterKind.NOTICE), Kind.PERSON)


def _letter_ordered(scene: _Scene) -> _Told:
    reason = f"Reden: {_word(LETTER_REASONS, scene.text('reason'))}."
    stuck = any(item.part == scene.event.part for item in scene.beside("attention.asked"))
    if stuck:
        return _Told(f"{scene.letter} nodig, maar er is geen postadres", reason, Kind.PERSON)
    says = "De inhoud van het bericht staat er niet in." if scene.text("kind") == LetterKind.NOTICE else ""
    batch = scene.moment("batch")
    goes = f"De brief gaat naar de drukker op {when(batch)}. Tot dan kan hij worden tegengehouden." if batch else ""
    return _Told(f"{scene.letter} besteld", sentences(reason, says, goes))


def _letter_printed(scene: _Scene) -> _Told:
    return _Told(f"{scene.letter}: gedrukt{in_brackets(scene.text('code'))}", "Nog niet op de post.")


def _letter_posted(scene: _Scene) -> _Told:
    codes = in_brackets(scene.text("code"))
    detail = sentences(_counts(scene), _clock_of(scene, "de drukker"))
    return _Told(f"{scene.letter}: op de post{codes}", detail, Kind.GOOD)


def _letter_returned(scene: _Scene) -> _Told:
    why = scene.text("why")
    words = RETURN_REASONS.get(why, "")
    detail = sentences(scene.printer_said, RETURN_ADVICE.get(why, ""), "Een medewerker moet kijken.")
    title = f"{scene.letter}: teruggekomen{f', {words}' if words else ''}{in_brackets(scene.text('code'))}"
    return _Told(title, detail, Kind.BAD)


def _letter_unclear(scene: _Scene) -> _Told:
    detail = sentences(
        scene.printer_said, "Hieruit blijkt niet waar de brief is. Bode gokt niet: een medewerker moet kijken."
    )
    return _Told(f"{scene.letter}: niet duidelijk waar hij is{in_brackets(scene.text('code'))}", detail, Kind.WARNING)


def _cancelled(scene: _Scene) -> _Told:
    by, why = free_text(scene.text("by")), scene.reason
    title = f"Geannuleerd door {by}" if by else "Geannuleerd"
    return _Told(title, sentences(why, "Er was nog niets verstuurd."), Kind.PERSON)


def _superseded(scene: _Scene) -> _Told:
    words = {Nature.WIJZIGING: "gewijzigd", Nature.INTREKKING: "ingetrokken"}.get(
        Nature(scene.text("nature")) if scene.text("nature") in set(Nature) else Nature.OVERIG, "genoemd"
    )
    detail = "Dit bericht blijft zoals het was. Een verzonden bericht verandert alleen door een nieuw bericht."
    return _Told(f"{capitalised(words)} door een later bericht, kenmerk {scene.text('by')}", detail, Kind.WARNING)


def _staff(scene: _Scene) -> _Told:  # noqa: C901, PLR0912 - a table of acts
    by, why = free_text(scene.text("by")) or "Een medewerker", scene.reason
    match scene.text("act"):
        case "retry":
            return _Told(f"{by} laat het nog eens proberen", why, Kind.PERSON)
        case "release":
            return _Told(f"{by} laat het doorgaan", why, Kind.PERSON)
        case "letter":
            return _Told(f"{by} bestelt een brief met het bericht", why, Kind.PERSON)
        case "letter_stopped":
            detail = sentences(why, "De drukker had de brief nog niet: hij is niet verstuurd.")
            return _Told(
                f"{by} houdt een brief tegen ({scene.letter[:1].lower()}{scene.letter[1:]})", detail, Kind.PERSON
            )
        case "handled":
            waited = f"Het ging hierom: {_word(ATTENTION_REASONS, scene.text('waited_for'))}."
            return _Told(f"{by} heeft dit zelf afgehandeld", sentences(why, waited), Kind.PERSON)
        case "burst_confirmed":
            return _Told(f"{by} bevestigt dat dit e-mailadres niet werkt", sentences(why, scene.follows()), Kind.PERSON)
        case "burst_rejected":
            return _Told(f"{by} laat de kennisgeving nog eens versturen", sentences(why, scene.follows()), Kind.PERSON)
        case "bounce_matched":
            return _Told(f"{by} zegt dat deze teruggekomen mail over dit bericht gaat", why, Kind.PERSON)
        case "notice_again":
            to = "naar een nieuw e-mailadres, dat de ontvanger heeft doorgegeven" if scene.text("address") else ""
            return _Told(f"{by} laat de kennisgeving opnieuw versturen{to and ' '}{to}", why, Kind.PERSON)
        case "place":
            return _Told(f"{by} laat het bericht alsnog hier plaatsen", why, Kind.PERSON)
        case "found":
            return _Told(f"{by} heeft uitgezocht dat het is aangekomen", why, Kind.PERSON)
        case "personal_data":
            return _Told(f"{by} heeft de persoonsgegevens bekeken", why, Kind.PERSON)
        case "legal_hold":
            return _Told(f"{by} bewaart de gegevens voor een rechtszaak", why, Kind.PERSON)
        case "legal_hold_released":
            return _Told(f"{by} laat de gegevens weer los: de rechtszaak is klaar", why, Kind.PERSON)
        case act:
            return _Told(f"{by} heeft iets gedaan{in_brackets(act)}", why, Kind.PERSON)


_AUDIENCES: Mapping[str, str] = {
    "addressee": "de geadresseerde",
    "sender": "de afzender",
    "court": "de rechter",
}


def _copy_issued(scene: _Scene) -> _Told:
    whom = _word(_AUDIENCES, scene.text("audience"))
    detail = f"{scene.text('opened')} gebeurtenissen zijn te lezen; de andere zijn alleen geteld."
    return _Told(
        f"{free_text(scene.text('by')) or 'Een medewerker'} geeft een afschrift voor {whom}", detail, Kind.PERSON
    )


def _rejected(scene: _Scene) -> _Told:
    del scene
    detail = "De afzender kreeg die fout terug. Aan dit bericht verandert niets."
    return _Told("Een ander bericht met hetzelfde kenmerk is geweigerd", detail)


def _correction(scene: _Scene) -> _Told:
    by = free_text(scene.text("by")) or "Een medewerker"
    title = f"{by} verbetert gebeurtenis {scene.text('corrects')}: daar staat iets dat niet klopt"
    return _Told(
        title, sentences(scene.reason, "De gebeurtenis zelf blijft staan zoals die is vastgelegd."), Kind.PERSON
    )


def _content_purged(scene: _Scene) -> _Told:
    del scene
    return _Told(
        "De inhoud is gewist: de bewaartermijn is voorbij", "Onderwerp, tekst, documenten en brieven zijn weg."
    )


def _person_purged(scene: _Scene) -> _Told:
    del scene
    detail = "Naam, nummer en adressen zijn weg. Het bewijs blijft te controleren."
    return _Told("De persoonsgegevens zijn gewist: de bewaartermijn is voorbij", detail)


def _shredded(scene: _Scene) -> _Told:
    if scene.text("term"):
        detail = "De laatste gegevens en de sleutel zijn weg. Het bewijs blijft te controleren."
        return _Told("De bijzonderheden van het bewijs zijn gewist: de bewaartermijn is voorbij", detail)
    by = free_text(scene.text("by")) or "Een medewerker"
    detail = "De inhoud, de adressen en de sleutel zijn weg. Het bewijs blijft te controleren."
    return _Told(f"{by} heeft de persoonsgegevens gewist", detail, Kind.PERSON)


def _recorded(scene: _Scene) -> _Told:
    event = scene.text("event")
    what = RECORDED.get(event) or f"Bode kent deze soort niet{in_brackets(event)}"
    detail = "Dit kwam te laat, dubbel of in een andere volgorde. Het is bewaard en verandert niets."
    return _Told(f"Melding zonder gevolg: {what}", detail)


_TELLERS: Mapping[str, Callable[[_Scene], _Told]] = {
    "SubmissionAcceptance": _accepted,
    "SubmissionRejection": _rejected,
    "preference.snapshot": _preferences,
    "profile.unavailable": _profile_unavailable,
    "profile.refused": _profile_refused,
    "channel.decision": _channels,
    "ContentConsignment": _placed,
    "ContentConsignmentFailure": _placement_failed,
    "RelayToNonERDS": _relayed,
    "RelayToNonERDSFailure": _relay_failed,
    "placement.pending": _pending,
    "outcome.unknown": _outcome_unknown,
    "outcome.reconciled": _reconciled,
    "ContentAccessTracking": _opened,
    "access.not_seen": _not_seen_opened,
    "ConsignmentNotification": _notice_sent,
    "ConsignmentNotificationFailure": _notice_failed,
    "bounce.received": _bounced,
    "notice.due": _notice_due,
    "notice.waived": _notice_waived,
    "notice.held": _notice_held,
    "notice.by_box": _notice_by_box,
    "notice.impossible": _notice_impossible,
    "deadline.missed": _deadline_missed,
    "attention.asked": _attention,
    "letter.ordered": _letter_ordered,
    "letter.printed": _letter_printed,
    "letter.posted": _letter_posted,
    "letter.returned": _letter_returned,
    "letter.unclear": _letter_unclear,
    "message.cancelled": _cancelled,
    "message.superseded": _superseded,
    "staff.action": _staff,
    "copy.issued": _copy_issued,
    "correction": _correction,
    "content.purged": _content_purged,
    "person.purged": _person_purged,
    "detail.shredded": _shredded,
    "event.recorded": _recorded,
}
"""Every event of the vocabulary, with the words for it; a test compares it with what the rules write."""
