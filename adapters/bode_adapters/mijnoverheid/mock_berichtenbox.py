"""The Berichtenbox behind both mock servers: what it does with messages, and what it was told to do wrong.

`POST /_mock/gedrag` commands it, `GET /_mock/plaatsingen` tells what was really placed, `DELETE /_mock/gedrag` lets it
behave again. Whichever mock is in front, these can be commanded:

- any result code of the contract: the message gets that result (`NietActiefOfGeabonneerd`: no subscription either);
- `onbekende-code`: the message gets the result in `code`;
- `dubbel-resultaat`, `ontbreekt-in-resultaat`: the message is in the report twice, or not at all;
- `halve-batch`: the report is about the first half; the rest follows `code` hours later, or never without `code`;
- `laat`: the report comes `code` hours later; `nooit-resultaat`: it never comes;
- `geen-antwoord-abonnement`: the addressee is left out of the answer to a subscription check.

Times are those of the mock's clock, also the delay before results.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.datastructures import State

from bode_adapters.contract import Clock
from bode_adapters.serving import Misbehaviour, Order

_MOST_DOCUMENTS_BYTES: Final = 500_000
_FURTHEST: Final = timedelta(days=13)

_CODES: Final = frozenset({
    "Verwerkt",
    "TechnischProbleem",
    "NietActiefOfGeabonneerd",
    "BerichtTypeNietOndersteund",
    "AanmaakDatumLigtTeVerInHetVerleden",
    "PublicatieDatumLigtTeVerInDeToekomst",
    "BerichtBestaatAl",
    "BijlageTeGroot",
    "OinInCPAKomtNietOvereenMetOinInBericht",
    "XmlValidatieTegenXsdValtNegatiefUit",
})  # fmt: skip
_STAGES: Final = {
    "Verwerkt": "NA",
    "BerichtTypeNietOndersteund": "ValidatieBerichtType",
    "NietActiefOfGeabonneerd": "ValidatieGebruiker",
    "TechnischProbleem": "StoreMessage",
    "BerichtBestaatAl": "StoreMessage",
}
ON_THE_BATCH: Final = ("halve-batch", "laat", "nooit-resultaat")
ON_THE_MESSAGE: Final = ("onbekende-code", "dubbel-resultaat", "ontbreekt-in-resultaat", *sorted(_CODES))
ON_THE_CHECK: Final = ("geen-antwoord-abonnement",)


@dataclass(frozen=True, slots=True)
class Received:
    """A message as either mock read it."""

    id: str
    type: str
    user: str
    publish_at: datetime | None
    documents_bytes: int
    fault: str | None = None
    """The result code that its form alone gives it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A line of a report."""

    id: str
    type: str
    code: str

    @property
    def stage(self) -> str:
        """The stage that goes with the code."""
        return _STAGES.get(self.code, "NA")


@dataclass(slots=True)
class Placement:
    """A message that is in a box. `count` is how often it was placed: more than once is what must never be."""

    id: str
    batch: str
    ontvanger: str
    """The last two digits only."""
    at: datetime
    count: int = 1


@dataclass(slots=True)
class Report:
    """A report on (a part of) a batch, made when its time has come."""

    due: datetime
    messages: Sequence[Received]
    outcomes: list[Outcome] | None = None


@dataclass(slots=True)
class Batch:
    """A batch that was taken in."""

    id: str
    supplier: str
    messages: Sequence[Received]
    created: datetime
    reports: list[Report] = field(default_factory=list[Report])

    @property
    def outcomes(self) -> list[Outcome]:
        """What was reported so far."""
        return [outcome for report in self.reports for outcome in report.outcomes or ()]


class Berichtenbox:
    """Takes batches in, and reports on them after a delay."""

    def __init__(
        self, *, clock: Clock, result_delay: timedelta, berichttypes: frozenset[str] | None, more: Iterable[str]
    ) -> None:
        """Start empty; `more` is what the mock in front can be commanded besides."""
        self.clock = clock
        self.result_delay = result_delay
        self.berichttypes = berichttypes
        self.batches: list[Batch] = []
        self.placements: dict[str, Placement] = {}
        """By BerichtID."""
        self.misbehaviour = Misbehaviour([*ON_THE_BATCH, *ON_THE_MESSAGE, *ON_THE_CHECK, *more])

    def take_in(self, batch: str, supplier: str, messages: Sequence[Received]) -> Batch:
        """Take a batch in; what became of it shows once the delay is over."""
        made = Batch(batch, supplier, messages, self.clock())
        due = made.created + self.result_delay
        order = self.misbehaviour.take(ontvangers={one.user for one in messages}, prefixes=ON_THE_BATCH)
        hours = timedelta(hours=float(order.code)) if order is not None and order.code is not None else None
        match order.gedrag if order is not None else None:
            case "laat":
                made.reports = [Report(due + (hours or timedelta(hours=1)), messages)]
            case "halve-batch":
                half = (len(messages) + 1) // 2
                made.reports = [Report(due, messages[:half])]
                if hours is not None:
                    made.reports.append(Report(due + hours, messages[half:]))
            case "nooit-resultaat":
                pass
            case _:
                made.reports = [Report(due, messages)]
        self.batches.append(made)
        self.advance()
        return made

    def advance(self) -> None:
        """Make the reports whose time has come, oldest first."""
        now = self.clock()
        due = [
            (report.due, number, batch, report)
            for number, batch in enumerate(self.batches)
            for report in batch.reports
            if report.outcomes is None and report.due <= now
        ]
        for _, _, batch, report in sorted(due, key=lambda one: one[:2]):
            report.outcomes = [outcome for one in report.messages for outcome in self._process(one, batch, report.due)]

    def is_subscribed(self, number: str) -> bool | None:
        """Tell whether somebody takes messages; `None` leaves them out of the answer."""
        if self.misbehaviour.take(ontvangers={number}, prefixes=ON_THE_CHECK) is not None:
            return None
        return self.misbehaviour.take(ontvangers={number}, prefixes=("NietActiefOfGeabonneerd",)) is None

    def _process(self, message: Received, batch: Batch, now: datetime) -> list[Outcome]:
        order = self.misbehaviour.take(ontvangers={message.user}, prefixes=ON_THE_MESSAGE)
        code, times = self._own_code(message, batch), 1
        match order.gedrag if order is not None else None:
            case "ontbreekt-in-resultaat":
                times = 0
            case "dubbel-resultaat":
                times = 2
            case "onbekende-code":
                code = (order.code if order is not None else None) or "OnbekendeCode"
            case str() as commanded:
                code = commanded
            case None:
                pass
        if code == "Verwerkt":
            self._place(message, batch, now)
        return [Outcome(message.id, message.type, code)] * times

    def _own_code(self, message: Received, batch: Batch) -> str:
        if message.fault is not None:
            return message.fault
        if message.id in self.placements:
            return "BerichtBestaatAl"
        if self.berichttypes is not None and message.type not in self.berichttypes:
            return "BerichtTypeNietOndersteund"
        if message.publish_at is not None and message.publish_at > batch.created + _FURTHEST:
            return "PublicatieDatumLigtTeVerInDeToekomst"
        if message.documents_bytes > _MOST_DOCUMENTS_BYTES:
            return "BijlageTeGroot"
        return "Verwerkt"

    def _place(self, message: Received, batch: Batch, now: datetime) -> None:
        if (known := self.placements.get(message.id)) is not None:
            known.count += 1
            return
        self.placements[message.id] = Placement(message.id, batch.id, f"{'*' * 7}{message.user[-2:]}", now)


class HasBerichtenbox(Protocol):
    """The state of either mock."""

    box: Berichtenbox


@post("/_mock/gedrag", status_code=204)
async def command(request: Request[Any, Any, Any], state: State) -> Response[None]:
    """Take a command."""
    try:
        order = msgspec.json.decode(await request.body(), type=Order)
        if order.gedrag in ON_THE_BATCH and order.code is not None:
            float(order.code)
        box_of(state).misbehaviour.give(order)
    except (msgspec.MsgspecError, ValueError) as fault:
        return Response(None, status_code=400, headers={"X-Fout": str(fault)})
    return Response(None, status_code=204)


@delete("/_mock/gedrag")
async def behave(state: State) -> None:
    """Forget all commands."""
    box_of(state).misbehaviour.clear()


@get("/_mock/plaatsingen")
async def placements(state: State) -> Response[bytes]:
    """Tell what is in the boxes."""
    box = box_of(state)
    box.advance()
    return Response(msgspec.json.encode(list(box.placements.values())), media_type="application/json")


COMMANDS: Final = (command, behave, placements)


def box_of(state: State) -> Berichtenbox:
    """Give the Berichtenbox behind a mock."""
    mock: HasBerichtenbox = state.mock
    return mock.box
