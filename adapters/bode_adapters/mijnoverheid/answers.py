"""What the words of the gateway and the Berichtenbox mean for us: all of them, in the tables of this file only."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

from bode_adapters.contract import (
    Absent,
    Answer,
    BoxMessage,
    Pending,
    Placed,
    RefusalKind,
    Refused,
    TimeSource,
    Unavailable,
    Unknown,
)
from bode_adapters.mijnoverheid import wire
from bode_adapters.rest import moment_of, raw_word

POST_STATUSES: Final[Mapping[int, Answer]] = {
    # The contract's own, operation postMessages. 201 and 409 have a body that says more: see `MijnOverheidBox`.
    400: Refused("http_400", RefusalKind.DEFECT, "the gateway found a fault in the form of what was sent"),
    401: Refused("http_401", RefusalKind.CONFIGURATION, "the gateway does not accept api_key"),
    # Not certain: the gateway may have stored the call before it failed. A repeat with the same ids finds out.
    500: Unknown("http_500"),
    # What stands in front of a gateway says.
    403: Refused("http_403", RefusalKind.CONFIGURATION, "api_key may not send"),
    404: Refused("http_404", RefusalKind.CONFIGURATION, "there is no gateway at base_url"),
    405: Refused("http_405", RefusalKind.CONFIGURATION, "there is no gateway at base_url"),
    # Ten messages of 500 kB are within the contract, so a limit below that is set wrong; no message is to blame.
    413: Refused(
        "http_413", RefusalKind.CONFIGURATION, "something before the gateway takes less than the contract allows"
    ),
    # It waited in vain for the rest of the request.
    408: Unavailable("http_408"),
    429: Unavailable("http_429"),
    503: Unavailable("http_503"),
}

STATUS_STATUSES: Final[Mapping[int, Answer]] = {
    # Operation getMessageStatus. Any other status leaves the message as it was: taken in, and to be asked about again.
    # A refusal here is no proof that nothing was placed. It is answered all the same, because a key that expired must
    # raise an alarm before the results are overdue, and a message placed again is recognised by its BerichtID.
    400: Refused("http_400", RefusalKind.DEFECT, "the gateway does not accept the form of its own statusID"),
    401: Refused("http_401", RefusalKind.CONFIGURATION, "the gateway does not accept api_key"),
    403: Refused("http_403", RefusalKind.CONFIGURATION, "api_key may not ask for a status"),
}


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
    # The gateway sets the creation date on every call, so the next try has a fresh one. 13 days is the limit: it can
    # only mean that the gateway or the Berichtenbox held the call for that long.
    "AanmaakDatumLigtTeVerInHetVerleden": Meaning.NOT_NOW,
    # One word for two facts, no box or no subscription to this sender; both mean: not reachable here.
    "NietActiefOfGeabonneerd": RefusalKind.ADDRESSEE,
    "PublicatieDatumLigtTeVerInDeToekomst": RefusalKind.CONTENT,
    "BijlageTeGroot": RefusalKind.CONTENT,
    "BerichtTypeNietOndersteund": RefusalKind.CONFIGURATION,
    "OinInCPAKomtNietOvereenMetOinInBericht": RefusalKind.CONFIGURATION,
    # The gateway builds the XML, but from our fields: until a person looked, it is our fault.
    "XmlValidatieTegenXsdValtNegatiefUit": RefusalKind.DEFECT,
}

WORDS: Final[Mapping[RefusalKind, str]] = {
    RefusalKind.ADDRESSEE: "the addressee has no active Berichtenbox, or takes nothing from this sender",
    RefusalKind.CONTENT: "the Berichtenbox does not take this message",
    RefusalKind.CONFIGURATION: "the registration of this sender at the Berichtenbox does not fit what was sent",
    RefusalKind.DEFECT: "the Berichtenbox found a fault in the form of what was sent",
    RefusalKind.UNRECOGNISED: "the Berichtenbox gave a result that this version does not know",
}


class CallStage(StrEnum):
    """Where a call stands, as long as the Berichtenbox did not report on its messages."""

    UNDER_WAY = "under_way"
    FAILED = "failed"
    REPORTED = "reported"


STAGES: Final[Mapping[str, CallStage]] = {
    "RECEIVED": CallStage.UNDER_WAY,
    "IN_PROGRESS": CallStage.UNDER_WAY,
    # The contract does not explain it. Read as: the Berichtenbox acknowledged the call, which is not placed (L10).
    "DELIVERED": CallStage.UNDER_WAY,
    "FAILED": CallStage.FAILED,
    "REPORT": CallStage.REPORTED,
}


def from_status(status: wire.Status, message: BoxMessage, *, receipt: str, now: datetime) -> Answer:
    """Tell what a status says about one message of the call.

    A report decides, whatever the stage beside it says; a stage alone never says that a message was placed.
    """
    context = status.context if status.context is not None else wire.Context()
    delivered = context.delivered.members if context.delivered is not None else []
    reported = context.processed if context.processed is not None else wire.Processed()
    results = [result for result in reported.results if _is(result, message)]
    if delivered and not results and not any(_is(member, message) for member in delivered):
        # The gateway knows the batch, but never got this message in it: the first call did not arrive, and its repeat
        # came in parts.
        return Absent("not_in_call")
    if reported.results:
        return _from_results(results, _moment(reported, message, now=now), receipt=receipt)
    word = status.status if status.status is not None else ""
    match STAGES.get(word):
        case CallStage.UNDER_WAY:
            return Pending(receipt=receipt, code=word)
        case CallStage.REPORTED:
            return Unknown("not_in_result")
        case CallStage.FAILED:
            # No message of the call was reported on. `Unknown` would have the same call repeated, which the gateway
            # answers with this same failure for ever. A new call cannot place a message twice: if the Berichtenbox did
            # get it, the same BerichtID comes back as BerichtBestaatAl.
            return Unavailable("FAILED")
        case None:
            return Refused(f"status:{raw_word(word)}", RefusalKind.UNRECOGNISED, WORDS[RefusalKind.UNRECOGNISED])
        case _ as never:
            assert_never(never)


def _is(entry: wire.Member | wire.Result, message: BoxMessage) -> bool:
    return entry.bericht_id.lower() == str(message.id)


def _from_results(results: Sequence[wire.Result], moment: tuple[datetime, TimeSource], *, receipt: str) -> Answer:
    """Tell what the results for one message say: one, as a rule; the contract's form allows none and several too."""
    codes = list(dict.fromkeys(result.code if result.code is not None else "" for result in results))
    if not codes:
        return Unknown("not_in_result")
    if len(codes) == 1:
        return _from_code(codes[0], moment, receipt=receipt)
    answers = [_from_code(code, moment, receipt=receipt) for code in codes]
    if all(isinstance(answer, Placed) for answer in answers):
        # `Verwerkt` and then `BerichtBestaatAl` for the same id: placed by this very call.
        return min(answers, key=lambda answer: isinstance(answer, Placed) and answer.already)
    return Refused(
        "+".join(raw_word(code) for code in codes), RefusalKind.UNRECOGNISED, "the results contradict each other"
    )


def _from_code(code: str, moment: tuple[datetime, TimeSource], *, receipt: str) -> Answer:
    at, source = moment
    meaning = RESULTS.get(code, RefusalKind.UNRECOGNISED)
    if isinstance(meaning, RefusalKind):
        return Refused(raw_word(code) or "empty", meaning, WORDS[meaning])
    match meaning:
        case Meaning.PLACED:
            return Placed(at=at, source=source, receipt=receipt, code=code)
        case Meaning.ALREADY_PLACED:
            # The moment is that of this report. The message was accessible before it; the later moment is the careful
            # one, as a term counts from it. Whoever has the first report's moment should keep that.
            return Placed(at=at, source=source, receipt=receipt, code=code, already=True)
        case Meaning.NOT_NOW:
            return Unavailable(code)
        case _ as never:
            assert_never(never)


def _moment(processed: wire.Processed, message: BoxMessage, *, now: datetime) -> tuple[datetime, TimeSource]:
    """Give when a placed message became accessible (L10): not before the moment from which it is shown."""
    theirs = moment_of(processed.at)
    at, source = (theirs, TimeSource.OTHER_SIDE) if theirs is not None else (now, TimeSource.OUR_CLOCK)
    return (max(at, message.publish_at) if message.publish_at is not None else at), source
