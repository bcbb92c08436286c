"""What an act of a person is called, and what follows from it in law, in plain Dutch. Told from `bode.domain.acts`."""

from __future__ import annotations

from collections.abc import Mapping

from bode.domain.acts import Act, Choice, Effect
from bode.domain.decision import Action
from bode.domain.parts import Delivery, Letter, LetterKind
from bode_ops.story.words import LETTER_REASONS, LETTERS, OUTCOMES, STATES, capitalised, lowered, when, with_article

ACTS: Mapping[Act, str] = {
    Act.NOTICE_AGAIN: "Kennisgeving opnieuw versturen",
    Act.NOTICE_NEW_ADDRESS: "Kennisgeving naar een nieuw e-mailadres",
    Act.PLACE: "Bericht alsnog plaatsen",
    Act.LETTER: "Bericht nu per brief sturen",
    Act.STOP_LETTER: "Brief tegenhouden",
    Act.RETRY: "Nog eens proberen",
    Act.FOUND: "Vastleggen dat het is aangekomen",
    Act.HANDLED: "Vastleggen dat u dit zelf hebt afgehandeld",
    Act.CANCEL: "Bericht annuleren",
}
"""What stands on the button."""

_FIRST: Mapping[Act, str] = {
    Act.NOTICE_NEW_ADDRESS: "Vraag de ontvanger naar het adres en herhaal het. Het bericht zelf verandert niet.",
    Act.RETRY: "Herstel eerst de oorzaak, of zoek uit dat het bericht er echt niet is: anders komt het dubbel aan.",
    Act.FOUND: "Doe dit alleen als u het zelf hebt gezien, of als de beheerder van de box of de drukker het zegt.",
    Act.HANDLED: "Bijvoorbeeld met een telefoontje, aan de balie of met een eigen brief.",
    Act.STOP_LETTER: "Dit kan tot de drukker de brief heeft.",
}

_WORK: Mapping[Action, str] = {
    Action.PROFILE: "Bode vraagt de profielservice wat de ontvanger wil.",
    Action.CHECK: "Bode vraagt eerst de box of de ontvanger daar bereikbaar is, en plaatst het bericht als dat zo is.",
    Action.PLACE: "Bode biedt het bericht aan.",
    Action.LOOKUP: "Bode vraagt de box of het bericht er staat.",
    Action.NOTIFY: "Bode verstuurt de kennisgeving.",
    Action.PRINT: "Bode maakt de brief en stuurt die naar de drukker.",
    Action.READ: "Bode vraagt de box later of het bericht is geopend.",
    Action.WATCH: "",
}


def title(choice: Choice, names: Mapping[str, str]) -> str:
    """Give the name of an act on this part."""
    kind, _, name = (choice.part or "").partition("/")
    where = ""
    if kind in ("notice", "placement"):
        where = names.get(name, name)
    elif kind == "letter":
        where = f"brief {int(name) + 1}" if name.isdecimal() else ""
    return f"{ACTS[choice.act]}{f' ({where})' if where else ''}"


def before(choice: Choice) -> str:
    """Say what to do or know first."""
    return _FIRST.get(choice.act, "")


def consequences(choice: Choice, effect: Effect, delivery: Delivery, names: Mapping[str, str]) -> list[str]:
    """Say what follows from an act: what Bode does, what it means for the time of sending and the term, what stays."""
    told = [*_work(effect, names), *_letters(effect.letters), *_stopped(choice, effect, names)]
    told.append(_legal(effect))
    if effect.last_day_moves:
        told.append("De laatste dag van de termijn gaat dan mee: die wordt vanaf dat moment gerekend (Awb 6:8).")
    if effect.other_letters:
        numbers = ", ".join(str(index + 1) for index in effect.other_letters)
        told.append(f"Een brief die al onderweg was, gaat gewoon door (brief {numbers}).")
    if effect.asked:
        told.append("Daarna wacht er iets op een medewerker.")
    if effect.state is not delivery.state or effect.outcome is not delivery.outcome:
        told.append(
            f"De status wordt: {lowered(STATES[effect.state])}. De uitkomst: {lowered(OUTCOMES[effect.outcome])}."
        )
    if choice.act is Act.CANCEL:
        told.append("Dit kan niet ongedaan worden gemaakt.")
    return told


def _work(effect: Effect, names: Mapping[str, str]) -> list[str]:
    told: list[str] = []
    for part, action in effect.work:
        words = _WORK[action]
        kind, _, name = part.partition("/")
        if kind == "placement" and action is Action.PLACE:
            words = f"Bode biedt het bericht aan bij {with_article(names.get(name, name))}."
        elif kind == "notice" and effect.tried_until is not None:
            until = when(effect.tried_until)
            words = f"{words} Komt die terug, dan probeert Bode het tot {until}; daarna gaat er een brief."
        told.append(words)
    return [words for words in dict.fromkeys(told) if words]


def _letters(letters: tuple[Letter, ...]) -> list[str]:
    return [
        f"Er gaat een brief: {lowered(LETTERS[letter.kind])}, want {LETTER_REASONS[letter.reason]}."
        + (" De inhoud van het bericht staat er niet in." if letter.kind is LetterKind.NOTICE else "")
        for letter in letters
    ]


def _stopped(choice: Choice, effect: Effect, names: Mapping[str, str]) -> list[str]:
    if choice.act not in (Act.HANDLED, Act.STOP_LETTER, Act.CANCEL, Act.FOUND):
        return []
    told: list[str] = []
    for part in effect.stopped:
        kind, _, name = part.partition("/")
        if kind == "letter":
            told.append(f"Brief {int(name) + 1} gaat niet (meer) weg. U kunt later een nieuwe brief bestellen.")
        elif choice.act is Act.FOUND:
            told.append("Bode zoekt niet verder: het bericht staat er.")
        else:
            told.append(f"Bode doet hier niets meer aan: {capitalised(names.get(name, name) or kind)}.")
    if choice.act is Act.HANDLED and not effect.stopped:
        told.append("De vraag aan u is dan beantwoord.")
    return told


def _legal(effect: Effect) -> str:
    """Say what becomes of the legal time of sending (L8, L10)."""
    legal = effect.legal
    if effect.legal_moved and legal is not None:
        return f"Het moment van verzending wordt {when(legal.at)} (Awb 2:19)."
    if effect.legal_rule_then is not None:
        rule = {
            "L8": "Dit is een tweede verzending: lukt die, dan telt dat moment als moment van verzending "
            "(Awb 2:11, derde lid).",
            "L10-several": "Lukt dit, dan telt het moment van MijnOverheid als moment van verzending (Awb 2:19).",
        }
        return rule.get(effect.legal_rule_then, "Lukt dit, dan telt dat moment als moment van verzending (Awb 2:19).")
    if legal is None:
        return "Het bericht is nog niet verzonden; dat verandert hierdoor niet."
    if not legal.standing:
        return "Het bericht is teruggekomen; dat verandert hierdoor niet."
    return f"Het moment van verzending verandert niet: dat blijft {when(legal.at)}."
