"""What the words of the gateway itself mean for us; those of the Berichtenbox behind it are in `results`."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

from bode_adapters.contract import (
    Absent,
    Answer,
    BoxMessage,
    Pending,
    RefusalKind,
    Refused,
    TimeSource,
    Unavailable,
    Unknown,
)
from bode_adapters.mijnoverheid import gateway_wire as wire
from bode_adapters.mijnoverheid.results import WORDS, Moment, Result, answer_of
from bode_adapters.rest import moment_of, raw_word

POST_STATUSES: Final[Mapping[int, Answer]] = {
    # The contract's own, operation postMessages. 201 and 409 have a body that says more: see `GatewayTransport`.
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
    if reported.results and not results:
        return Unknown("not_in_result")
    if results:
        # The contract's form allows a result without a code.
        said = [Result(result.code or "", result.stage) for result in results]
        return answer_of(said, _moment(reported, now=now).not_before(message.publish_at), receipt=receipt)
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


def _moment(processed: wire.Processed, *, now: datetime) -> Moment:
    theirs = moment_of(processed.at)
    return Moment(theirs, TimeSource.OTHER_SIDE) if theirs is not None else Moment(now, TimeSource.OUR_CLOCK)
