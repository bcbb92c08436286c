"""The words themselves: states, reasons and rules in plain Dutch, and how times and lengths of time are written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from bode.compose.plain import one_line, without_bsn
from bode.compose.wording import date_words
from bode.domain.bounces import Reason
from bode.domain.events import ReturnReason
from bode.domain.message import ConsentBasis
from bode.domain.parts import (
    AttentionReason,
    DeliveryState,
    LetterKind,
    LetterReason,
    LetterState,
    Outcome,
    PlacementState,
)
from bode.domain.policy import Policy
from bode.domain.terms import AMSTERDAM


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
    Outcome.BY_HAND: "Door een medewerker afgehandeld",
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
    LetterReason.ADDRESS_FAILING: "op dit e-mailadres kwam eerder een bericht van deze organisatie terug",
}

ATTENTION_REASONS: Mapping[str, str] = {
    AttentionReason.RESULT_OVERDUE: "de box heeft het bericht aangenomen, maar meldt niet of het geplaatst is",
    AttentionReason.OUTCOME_UNKNOWN: "het is niet bekend of het bericht is aangekomen",
    AttentionReason.DEFECT: "het bericht is geweigerd door een fout bij ons",
    AttentionReason.UNRECOGNISED: "de box gaf een antwoord dat Bode niet kent",
    AttentionReason.CONTRADICTION: "de box meldt dat het bericht geplaatst is, maar zei eerder van niet",
    AttentionReason.BURST: "er kwamen in korte tijd veel e-mails terug, dus misschien klopt er iets anders niet",
    AttentionReason.NO_POSTAL_ADDRESS: "er moet een brief gaan, maar er is geen postadres",
    AttentionReason.LETTER_REFUSED: "de drukker wil de brief niet drukken",
    AttentionReason.LETTER_RETURNED: "de brief is teruggekomen",
    AttentionReason.LETTER_UNCLEAR: "de drukker meldt iets waaruit niet blijkt waar de brief is",
    AttentionReason.PRINT_OVERDUE: "het lukt al lang niet om de brief aan de drukker te geven",
    AttentionReason.POSTING_OVERDUE: "de drukker meldt niet dat de brief op de post is",
    AttentionReason.PROFILE_UNANSWERED: "de profielservice geeft al lang geen antwoord",
    AttentionReason.PROFILE_DEFECT: "de profielservice weigert de vraag door een fout bij ons",
    AttentionReason.PROFILE_UNRECOGNISED: "de profielservice gaf een antwoord dat Bode niet kent",
    AttentionReason.MANY_MESSAGES: "er kwamen vandaag meer berichten van deze organisatie dan is afgesproken",
    AttentionReason.SUDDENLY_MANY: "er kwamen opeens veel meer berichten van deze organisatie dan op andere dagen",
    AttentionReason.MANY_TO_ONE: "er kwamen in een uur wel erg veel berichten voor dezelfde ontvanger",
    AttentionReason.MANY_LETTERS: "er gingen vandaag meer brieven van deze organisatie dan is afgesproken",
}

NOT_USED: Mapping[str, str] = {
    "no_consent": "de ontvanger heeft in de profielservice niet gezegd dit te willen",
    "not_declared": "de ontvanger heeft niet gezegd daar bereikbaar te zijn",
    "cannot_check": "de box kan niet zeggen of de ontvanger daar bereikbaar is",
    "addressee_kind": "dit kanaal is er niet voor dit soort ontvanger",
    "too_confidential": "het bericht is te vertrouwelijk voor dit kanaal",
    "no_email": "er is geen e-mailadres",
    "address_failing": "het e-mailadres bleek eerder niet te bestaan",
}

CONSENTS: Mapping[str, str] = {
    ConsentBasis.DECLARED: "door de ontvanger aangemeld",
    ConsentBasis.TO_CHECK: "eerst vragen aan de box",
    ConsentBasis.PROFILE: "eerst vragen aan de profielservice",
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
    LetterState.BLOCKED: ("Kan niet weg: een medewerker moet kijken", Kind.PERSON),
    LetterState.CANCELLED: ("Gaat niet weg", Kind.NEUTRAL),
    LetterState.HANDLED: ("Door een medewerker afgehandeld", Kind.NEUTRAL),
}

RETURN_REASONS: Mapping[str, str] = {
    ReturnReason.GONE_AWAY: "de ontvanger is verhuisd",
    ReturnReason.ADDRESS_INCOMPLETE: "het adres is niet volledig",
    ReturnReason.INACCESSIBLE: "de postbode kon het adres niet bereiken",
    ReturnReason.ADDRESSEE_UNKNOWN: "de ontvanger is op dit adres niet bekend",
    ReturnReason.GONE_AWAY_OR_REFUSED: "de ontvanger is verhuisd of wilde de brief niet aannemen",
    ReturnReason.NOT_COLLECTED: "de brief is niet opgehaald",
    ReturnReason.NO_SUCH_ADDRESS: "dit adres bestaat niet",
    ReturnReason.NOT_GIVEN: "er is geen reden genoemd",
    ReturnReason.DECEASED: "de ontvanger is overleden",
    ReturnReason.OTHER: "er is een andere reden",
    ReturnReason.UNRECOGNISED: "de drukker noemt een reden die Bode niet kent",
}

RETURN_ADVICE: Mapping[str, str] = {
    ReturnReason.GONE_AWAY: "Zoek het nieuwe adres op.",
    ReturnReason.ADDRESS_INCOMPLETE: "Kijk welk deel van het adres ontbreekt.",
    ReturnReason.ADDRESSEE_UNKNOWN: "Zoek op waar de ontvanger nu woont of is gevestigd.",
    ReturnReason.GONE_AWAY_OR_REFUSED: "Zoek eerst op of de ontvanger is verhuisd.",
    ReturnReason.NO_SUCH_ADDRESS: "Controleer straat, huisnummer en postcode.",
    ReturnReason.DECEASED: "Stuur de brief niet nog eens. Zoek uit wie de zaken van de overledene regelt.",
    ReturnReason.UNRECOGNISED: "Vraag de drukker wat de code betekent.",
}
"""What a person looks at first, where the reason says more than that the letter came back."""

RECORDED: Mapping[str, str] = {
    "Accepted": "het bericht was al aangenomen",
    "ReachabilityChecked": "een antwoord op de vraag of de ontvanger bereikbaar is",
    "ProfileAnswered": "een antwoord van de profielservice",
    "ProfileUnavailable": "de profielservice was niet bereikbaar",
    "ProfileRefused": "een weigering van de profielservice",
    "Placed": "een bevestiging dat het bericht geplaatst is",
    "PlacementPending": "een bevestiging dat de box het bericht heeft aangenomen",
    "PlacementRefused": "een weigering van een box",
    "PlacementUnavailable": "een box was niet bereikbaar",
    "PlacementUnknown": "een antwoord van een box dat ontbrak",
    "PlacementAbsent": "een box meldt dat het bericht er niet staat",
    "CarrierBounced": "een antwoord op de e-mail met het bericht",
    "Opened": "het bericht is geopend",
    "NotOpened": "de box meldt niet dat het bericht is geopend",
    "NoticeSent": "een kennisgeving is verstuurd",
    "NoticeBounced": "een antwoord op een kennisgeving",
    "BurstSuspected": "er kwamen veel e-mails tegelijk terug",
    "BurstDecided": "een medewerker besliste over e-mails die tegelijk terugkwamen",
    "NoticeUnavailable": "onze mailserver was niet bereikbaar",
    "NoticeUnknown": "niet bekend of een kennisgeving is verstuurd",
    "LetterSubmitted": "de drukker heeft een brief ontvangen",
    "LetterPrinted": "de drukker heeft een brief gedrukt",
    "LetterPosted": "een brief is op de post gedaan",
    "LetterReturned": "een brief is teruggekomen",
    "LetterUnclear": "de drukker meldt iets dat niet duidelijk is",
    "LetterRefused": "de drukker weigert een brief",
    "LetterUnavailable": "de drukker was niet bereikbaar",
    "LetterUnknown": "niet bekend of de drukker een brief heeft",
    "LetterHeld": "er gingen te veel brieven op een dag, maar deze was al weg",
    "ClockStruck": "een wekker ging af voor iets dat al geregeld was",
    "LeaseExpired": "een onderdeel van Bode viel uit bij iets dat al geregeld was",
    "Superseded": "een later bericht noemt dit bericht",
    "Cancelled": "een verzoek om te annuleren, maar het bericht was al onderweg of al geannuleerd",
    "Retried": "een medewerker liet het nog eens proberen",
    "Released": "een medewerker liet iets doorgaan dat niet meer werd tegengehouden",
    "LetterOrdered": "een medewerker bestelde een brief",
    "LetterStopped": "een medewerker wilde een brief tegenhouden, maar die was al weg of al tegengehouden",
    "Handled": "een medewerker handelde iets af dat al geregeld was",
    "NoticeResent": "een medewerker wilde de kennisgeving nog eens versturen, maar dat kon niet",
    "PlacementOrdered": "een medewerker wilde het bericht via een ander kanaal sturen, maar dat kon niet",
    "Found": "een medewerker meldde dat iets was aangekomen, maar dat was al bekend",
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


def with_article(label: str) -> str:
    """Give a label with its article: 'de Berichtenbox van MijnOverheid', but 'MijnDomein'."""
    first = label.partition(" ")[0].casefold()
    return f"de {label}" if first.endswith(("box", "bus")) else label


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def in_brackets(*codes: object) -> str:
    """Give codes of other systems in brackets, or nothing."""
    found = [one_line(str(code)) for code in codes if code not in (None, "")]
    return f" ({' '.join(found)})" if found else ""


def sentences(*texts: str) -> str:
    """Join sentences; empty ones are left out."""
    return " ".join(text for text in texts if text)


def free_text(text: str) -> str:
    """Give free text of staff or of another system on one line, without what could be a BSN, and not too long."""
    text = without_bsn(one_line(text))
    return f"{text[:_LONGEST_FREE]}…" if len(text) > _LONGEST_FREE else text


_LONGEST_FREE = 200
REASON_GIVEN = "Er is een reden gegeven; die is hier niet te lezen."
PRINTER_WROTE = "De drukker schreef er iets bij; dat is hier niet te lezen."
HEARD_LATE = timedelta(minutes=5)
LETTER_SAYS = (
    "Er gaat een brief. Daarin staat dat er een bericht klaarstaat en hoe de ontvanger een e-mailadres kan doorgeven. "
    "De inhoud van het bericht staat er niet in."
)
MESSAGE_ON_PAPER = "Het bericht zelf gaat nu per brief."

LETTERS: Mapping[str, str] = {
    LetterKind.MESSAGE: "Brief met het bericht",
    LetterKind.NOTICE: "Brief over de kennisgeving",
}

_DECIDE_HELD = (
    "Beslis dan voor alles wat wacht met 'bode hold release' of 'bode hold cancel'. Eén bericht kan ook: laat Bode het "
    "nog eens proberen, of annuleer het."
)
_TOO_MUCH = (
    "Vraag de afzender of dit klopt. Weet hij van niets? Trek dan de sleutel van de applicatie in. Er is nog niets "
    f"verstuurd. {_DECIDE_HELD}"
)

ADVICE: Mapping[str, str] = {
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
    AttentionReason.BURST: (
        "Kijk wat er aan de hand is: een storing bij de mailprovider, of verkeerde e-mailadressen van de afzender. "
        "Beslis dan voor alle berichten tegelijk met 'bode bounce decide': een brief, of nog eens proberen?"
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
    AttentionReason.PROFILE_UNANSWERED: (
        "Bode blijft het vragen. Vraag de beheerder van de profielservice wat er aan de hand is. Duurt het te lang? "
        "Stuur het bericht dan per brief."
    ),
    AttentionReason.PROFILE_DEFECT: "Laat de beheerder de fout herstellen. Laat Bode het daarna nog eens proberen.",
    AttentionReason.PROFILE_UNRECOGNISED: (
        "Vraag de beheerder van de profielservice wat de code betekent. Laat Bode het daarna nog eens proberen, of "
        "stuur het bericht per brief."
    ),
    AttentionReason.MANY_MESSAGES: _TOO_MUCH,
    AttentionReason.SUDDENLY_MANY: _TOO_MUCH,
    AttentionReason.MANY_TO_ONE: (
        "Kijk of deze berichten echt voor deze ontvanger zijn: misschien geeft het zaaksysteem iedereen hetzelfde "
        f"nummer. {_DECIDE_HELD}"
    ),
    AttentionReason.MANY_LETTERS: (
        "Kijk waarom er zo veel brieven gaan: een storing bij een box, of een zaaksysteem dat fouten maakt. "
        f"{_DECIDE_HELD}"
    ),
    AttentionReason.LETTER_UNCLEAR: (
        "Vraag de drukker wat zijn melding betekent en waar de brief is. Komt daarna een duidelijke melding, dan "
        "verwerkt Bode die vanzelf. Is de brief kwijt? Stuur dan een nieuwe."
    ),
    AttentionReason.PRINT_OVERDUE: (
        "Vraag de drukker of hij brieven aanneemt, en of hij deze brief al heeft. Bode blijft het proberen."
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


def advice(reason: str, *, about_notice: bool) -> str:
    """Say what a person does; for a letter about a notice the message itself has arrived already."""
    return (_TODO_ABOUT_NOTICE.get(reason) if about_notice else None) or ADVICE.get(reason, "")
