"""What the result codes of the Berichtenbox mean for us, whichever way they come: all of them, in one table.

Source: GLOBEBatchResponseTypes.xsd of Logius (2026); the REST gateway v1.0 repeats the same words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

from bode_adapters.contract import Placed, RefusalKind, Refused, TimeSource, Unavailable
from bode_adapters.rest import raw_word

ResultAnswer = Placed | Refused | Unavailable


class Meaning(StrEnum):
    """What a result says when it is not a refusal."""

    PLACED = "placed"
    ALREADY_PLACED = "already_placed"
    NOT_NOW = "not_now"


RESULTS: Final[Mapping[str, Meaning | RefusalKind]] = {
    "Verwerkt": Meaning.PLACED,
    # Logius' own sample of a result has `00` where the schema says `Verwerkt`.
    "00": Meaning.PLACED,
    # An earlier call of ours placed it. The first moment is not given: see `_from_code`.
    "BerichtBestaatAl": Meaning.ALREADY_PLACED,
    "TechnischProbleem": Meaning.NOT_NOW,
    # The creation date is made anew with every call, so the next try has a fresh one. 13 days is the limit: it can
    # only mean that something on the way held the call for that long.
    "AanmaakDatumLigtTeVerInHetVerleden": Meaning.NOT_NOW,
    # One word for two facts, no box or no subscription to this sender; both mean: not reachable here.
    "NietActiefOfGeabonneerd": RefusalKind.ADDRESSEE,
    "PublicatieDatumLigtTeVerInDeToekomst": RefusalKind.CONTENT,
    "BijlageTeGroot": RefusalKind.CONTENT,
    "BerichtTypeNietOndersteund": RefusalKind.CONFIGURATION,
    "OinInCPAKomtNietOvereenMetOinInBericht": RefusalKind.CONFIGURATION,
    # Through the gateway the XML is not ours, but it is made of our fields: until a person looked, it is our fault.
    "XmlValidatieTegenXsdValtNegatiefUit": RefusalKind.DEFECT,
}

WORDS: Final[Mapping[RefusalKind, str]] = {
    RefusalKind.ADDRESSEE: "the addressee has no active Berichtenbox, or takes nothing from this sender",
    RefusalKind.CONTENT: "the Berichtenbox does not take this message",
    RefusalKind.CONFIGURATION: "the registration of this sender at the Berichtenbox does not fit what was sent",
    RefusalKind.DEFECT: "the Berichtenbox found a fault in the form of what was sent",
    RefusalKind.UNRECOGNISED: "the Berichtenbox gave a result that this version does not know",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What a report says about one message: the result code, and the stage of the Berichtenbox that gave it."""

    code: str
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """When the Berichtenbox processed a batch, and by whose clock."""

    at: datetime
    source: TimeSource

    def not_before(self, publish_at: datetime | None) -> "Moment":
        """Give when a placed message became accessible (L10): not before the moment from which it is shown."""
        return self if publish_at is None or publish_at <= self.at else Moment(publish_at, self.source)


def answer_of(results: Sequence[Result], moment: Moment, *, receipt: str) -> ResultAnswer:
    """Tell what the results for one message say: one, as a rule; the contract's form allows several too."""
    by_code = {result.code: result for result in results}
    answers = [_from_code(result, moment, receipt=receipt) for result in by_code.values()]
    if len(answers) == 1:
        return answers[0]
    if all(isinstance(answer, Placed) for answer in answers):
        # `Verwerkt` and then `BerichtBestaatAl` for the same id: placed by this very call.
        return min(answers, key=lambda answer: isinstance(answer, Placed) and answer.already)
    return Refused("+".join(map(raw_word, by_code)), RefusalKind.UNRECOGNISED, "the results contradict each other")


def _from_code(result: Result, moment: Moment, *, receipt: str) -> ResultAnswer:
    code, stage = result.code, raw_word(result.stage) if result.stage else None
    meaning = RESULTS.get(code, RefusalKind.UNRECOGNISED)
    if isinstance(meaning, RefusalKind):
        return Refused(raw_word(code) or "empty", meaning, WORDS[meaning], stage)
    match meaning:
        case Meaning.PLACED:
            return Placed(moment.at, moment.source, receipt, code, stage=stage)
        case Meaning.ALREADY_PLACED:
            # The moment is that of this report. The message was accessible before it; the later moment is the careful
            # one, as a term counts from it. Bode keeps the moment of the first report, also when that comes later.
            return Placed(moment.at, moment.source, receipt, code, already=True, stage=stage)
        case Meaning.NOT_NOW:
            return Unavailable(code, stage=stage)
        case _ as never:
            assert_never(never)
