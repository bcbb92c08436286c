"""What an adapter is: the words between Bode and an outside system.

An adapter is a **box** (places messages where the addressee logs in to read them), a **carrier** (takes the message
itself elsewhere: e-mail), a **notifier** (tells the addressee that a message waits in a box) or a **print service**.
Each is asked for many items at once and gives one answer per item, in the same order. An adapter:

- never raises for what the other side says or does: a refusal, a time-out and a dropped line are answers;
- never guesses: a word it does not know comes back as `Refused(kind=RefusalKind.UNRECOGNISED)` with the raw word;
- never repeats a call by itself where the outcome is unknown: it answers `Unknown` and Bode decides;
- derives what it sends from the item alone, so that the same item sent again is recognised as the same;
- puts no personal data (addressee, address, subject, text) into codes, receipts, logs or exceptions.

This module depends on the standard library only. `bode_adapters.testing` has the suite that every adapter passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, Self, runtime_checkable
from uuid import UUID


class IdentifierKind(StrEnum):
    """The kinds of number an addressee is known by."""

    BSN = "BSN"
    KVK = "KVK"
    RSIN = "RSIN"


class RefusalKind(StrEnum):
    """Whom a refusal is about; the outside system's own code is kept beside it."""

    ADDRESSEE = "addressee"
    """This addressee is not reachable here: Bode takes the next channel."""
    CONTENT = "content"
    """This message cannot go here (too large, too long): Bode takes the next channel and tells the sender."""
    CONFIGURATION = "configuration"
    """Our registration or settings are wrong: Bode stops the lane and alarms; nobody gets a letter for it."""
    DEFECT = "defect"
    """We sent what we should not have sent: Bode stops the lane, alarms, and this message waits for a person."""
    UNRECOGNISED = "unrecognised"
    """A word this adapter does not know: kept, logged, counted, and shown to a person; never guessed."""


class TimeSource(StrEnum):
    """Whose clock a time comes from; evidence says so."""

    OTHER_SIDE = "other_side"
    OUR_CLOCK = "our_clock"


# ---------------------------------------------------------------------------------------------------------- answers


@dataclass(frozen=True, slots=True)
class Placed:
    """The item is where it should be: accessible in the box, or relayed to a mail server, or handed to the printer.

    `at` is the other side's own time where it gives one. `receipt` is its id for the item, kept for evidence.
    `already` says that the other side knew this item from an earlier call of ours.
    """

    at: datetime
    source: TimeSource
    receipt: str | None = None
    code: str | None = None
    already: bool = False
    stage: str | None = None
    """The other side's own word for the stage of its process that answered, where it gives one; kept for evidence."""
    by: str | None = None
    """Who took it, where there are several on the other side: for mail, the relay."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Taken in, not yet placed: the result comes later, by `lookup` with this receipt or in a `ResultDocument`."""

    receipt: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A final no. `code` is the other side's own word, `kind` what it means for us; `text` holds no personal data."""

    code: str
    kind: RefusalKind
    text: str = ""
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Certainly not placed, and worth another try. `retry_after` in seconds, where the other side asked for it.

    From `lookup` too it is the other side's own word that the item is not placed. A question that could not be asked or
    was not answered is `Pending` with the same receipt, or `Unknown`: never this.
    """

    code: str
    retry_after: float | None = None
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The call was made and its outcome is not known (time-out after sending, connection lost). Never 'failed'."""

    code: str


@dataclass(frozen=True, slots=True)
class Absent:
    """`lookup` only: the other side certainly does not have this item."""

    code: str = "absent"


@dataclass(frozen=True, slots=True)
class MailRefused:
    """A mail server answered with an SMTP reply that is not a success; Bode's bounce rules say what it means.

    `phase` is one of connect, ehlo, auth, mail_from, rcpt_to, data, after_dot: only the last three can say something
    about the addressee (RFC 5321). `text` is the server's, and may name the address: it is stored as personal data.
    """

    phase: str
    code: int
    text: str
    mta: str | None = None


Answer = Placed | Pending | Refused | Unavailable | Unknown | Absent | MailRefused


@dataclass(frozen=True, slots=True)
class ResultDocument:
    """A document in which a box tells, some time after it took messages in, what became of them.

    Bode stores it before anything acts on it. Results may come late, partly, twice or never; one for a message that is
    not Bode's is passed over. A document that cannot be read has no answers and says why in `fault`.
    """

    key: str
    """Unique: the same document read twice has the same key."""
    content: bytes = field(repr=False)
    """As it came in."""
    answers: Mapping[UUID, Placed | Refused | Unavailable] = field(
        default_factory=dict[UUID, Placed | Refused | Unavailable]
    )
    """What it says, by message."""
    receipt: str = ""
    """Names the batch it is about, as the answer to the hand-over of that batch did."""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Reachability:
    """Whether an addressee can be reached through a box; `None` where the box could not say now."""

    reachable: bool | None
    checked_at: datetime
    code: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """Whether the addressee opened a message in the box; `opened=None` where the box could not say now."""

    opened: bool | None
    at: datetime | None = None
    """When, where it was opened: the box's own time, or where it has none the time of the question."""
    source: TimeSource = TimeSource.OTHER_SIDE
    exact: bool = True
    """False: it was opened at this moment or before, as with a box that keeps the time of the last change only."""
    code: str = ""
    """The box's own word, where it could not say."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a profile service says of an addressee, as far as it holds for this sender."""

    asked_at: datetime
    receives: bool | None = None
    """Whether the addressee wants messages in a box; `None` where nothing is said about it."""
    receives_since: datetime | None = None
    consent: str | None = None
    """The service's own id of that preference, kept for evidence."""
    email: str | None = field(default=None, repr=False)
    """A verified address; one that is not verified is none."""
    email_since: datetime | None = None
    cached: bool = False
    """It was asked before, at `asked_at`, and that answer is recent enough."""


@dataclass(frozen=True, slots=True)
class NoProfile:
    """A profile service certainly has no profile of this addressee."""

    asked_at: datetime
    code: str


ProfileAnswer = Profile | NoProfile | Refused | Unavailable | Unknown
"""`Unavailable` and `Unknown`: to be asked again; neither means that there is no profile."""


# ------------------------------------------------------------------------------------------------------------ items


@dataclass(frozen=True, slots=True)
class Identifier:
    """An addressee's number. Its `repr` shows no more than the last two digits."""

    kind: IdentifierKind
    number: str = field(repr=False)

    def __str__(self) -> str:
        """Name it for a log line: the kind and the last two digits."""
        return f"{self.kind} {'*' * (len(self.number) - 2)}{self.number[-2:]}"


@dataclass(frozen=True, slots=True)
class Sender:
    """The administrative body (bestuursorgaan) a message comes from."""

    oin: str
    name: str
    email: str
    """The address that mail comes from (header `From`)."""
    box_types: dict[str, str] = field(default_factory=dict[str, str])
    """Message type (berichttype) registered per box, by channel name."""


@dataclass(frozen=True, slots=True)
class Document:
    """An attachment. Bode checked at intake that it is what `media_type` says."""

    name: str
    media_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class BoxMessage:
    """A message for a box or a carrier."""

    id: UUID
    """Ours, and the same in every repeat: what the other side recognises a repeat by."""
    batch: UUID
    """The call this item travels in, chosen and stored before the call; the same when the call is repeated."""
    reference: str
    """The sender's own reference (kenmerk)."""
    sender: Sender
    addressee: Identifier = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    documents: tuple[Document, ...] = ()
    publish_at: datetime | None = None
    email: str | None = field(default=None, repr=False)
    """For a carrier: the address to send to."""
    return_path: str | None = field(default=None, repr=False)
    """For a carrier: the envelope sender, where bounces come back to."""
    receipt: str | None = None
    """What an earlier answer gave, for `lookup`."""
    since: datetime | None = None
    """For `lookup` without a receipt: when the first call was made."""
    first_receipt: str | None = None
    """For `place`: what the first call's answer gave, when this is a later call; for a box that wants a message again
    under the batch it first came in."""


@dataclass(frozen=True, slots=True)
class NoticeMail:
    """A notice (kennisgeving) by e-mail; its text is Bode's, complete, and holds no content of the message."""

    id: UUID
    """The same for every attempt of one notice: the Message-ID is made of it."""
    sender: Sender
    email: str = field(repr=False)
    return_path: str = field(repr=False)
    """The envelope sender: an address of ours that tells which notice a bounce is about.

    A relay that offers DSN (RFC 3461) is given its local part in the envelope id as well."""
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str | None = field(default=None, repr=False)
    deadline: datetime | None = None
    """When the 48 hours end: a relay that offers DELIVERBY (RFC 2852) is told, and reports what came too late."""


@dataclass(frozen=True, slots=True)
class PrintLetter:
    """A letter ready to print: the PDF holds everything, the address included."""

    id: UUID
    batch: UUID
    sender: Sender
    kind: str
    """`message` (the message itself) or `notice` (tells that a notice could not be delivered)."""
    pdf: bytes = field(repr=False)
    pages: int
    sheets: int
    """Of paper, by the installation's choice of one or both sides."""
    grams: int
    """Of paper and envelope together, rounded up: what the postage follows from."""
    sha256: str
    receipt: str | None = None


class LetterStatus(StrEnum):
    """What a print service reports; the words of the richest public vocabulary, reduced to what has a consequence."""

    ACCEPTED = "accepted"
    PRINTED = "printed"
    POSTED = "posted"
    """Left for the post: the time that counts in law (Awb 2:19 by analogy)."""
    DELIVERED = "delivered"
    RETURNED = "returned"
    FORWARDED = "forwarded"
    """Sent on: by the post to another address, or to another print site. A person finds out which."""
    REJECTED = "rejected"
    UNRECOGNISED = "unrecognised"


class ReturnReason(StrEnum):
    """Why the post brought a letter back."""

    GONE_AWAY = "gone_away"
    ADDRESS_INCOMPLETE = "address_incomplete"
    INACCESSIBLE = "inaccessible"
    ADDRESSEE_UNKNOWN = "addressee_unknown"
    GONE_AWAY_OR_REFUSED = "gone_away_or_refused"
    NOT_COLLECTED = "not_collected"
    NO_SUCH_ADDRESS = "no_such_address"
    NOT_GIVEN = "not_given"
    DECEASED = "deceased"
    OTHER = "other"
    UNRECOGNISED = "unrecognised"
    """A code this adapter does not know; it stands in the report's `reason`."""


@dataclass(frozen=True, slots=True)
class LetterReport:
    """One line of a print service's report. `key` is unique: the same line read twice is the same report.

    `code` is its own word for the status, `reason` its own code and text for why; `why` is what a return reason means.
    """

    key: str
    letter: UUID
    status: LetterStatus
    at: datetime
    source: TimeSource
    code: str
    reason: str = ""
    why: ReturnReason | None = None


# ---------------------------------------------------------------------------------------------------------- trouble


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong between us and the other side, for a person to mend: about no message, and nothing personal."""

    code: str
    text: str = ""
    """What it means, where the code alone does not say it."""
    where: str = ""
    """Which one, where there are several on the other side: for mail, the relay."""


# ----------------------------------------------------------------------------------------------------- capabilities


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an adapter can do. Declared, so that it can be asked before anything is sent."""

    bulk: int
    """The most items one batch may hold; Bode gives no batch more. One call of a method can hold several batches."""
    repeat_is_recognised: bool
    """The same item (id and batch) sent again is answered as the first: after `Unknown` it may be repeated."""
    can_lookup: bool = False
    """`lookup` can find an item by its receipt or, without one, by our id."""
    can_check: bool = False
    """`check` tells whether an addressee is reachable."""
    read_times: bool = False
    """It is a `TellsReading`: the box says whether a message was opened."""
    brings_results: bool = False
    """Results come in by themselves: the box is a `BringsResults`, and Bode reads them from it."""
    addressees: frozenset[IdentifierKind] = frozenset(IdentifierKind)
    at_once: int | None = None
    """How many items it sends side by side, where it has such a number. Bode has no more in hand of what can neither be
    asked after nor repeated: all of that waits for a person when a worker dies."""
    max_subject: int | None = None
    """Characters."""
    max_text: int | None = None
    """Characters."""
    max_documents: int | None = None
    max_documents_bytes: int | None = None
    """All documents together, before any encoding."""


# -------------------------------------------------------------------------------------------------------- protocols


Clock = Callable[[], datetime]
"""Gives the time now, in UTC. Passed in, so that tests and the demo can run faster than life."""


class SettingError(ValueError):
    """A setting an adapter cannot start with: names the key, the value it got (never a secret) and what it needs."""

    def __init__(self, key: str, value: object, needs: str) -> None:
        """Keep the parts as attributes; the message is made of them."""
        super().__init__(f"setting {key!r} is {value!r}: {needs}")
        self.key = key
        self.value = value
        self.needs = needs


class Adapter(Protocol):
    """What all adapters share."""

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], *, clock: Clock) -> Self:
        """Build one from its table in the configuration, which it validates whole; raises `SettingError`.

        This is what the entry point `bode.adapters` names: `name = "package.module:Class"`.
        """
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What this adapter can do."""
        ...

    async def open(self) -> None:
        """Make ready (connection pools); called once, in the event loop that will make the calls."""
        ...

    async def close(self) -> None:
        """Finish, and release what `open` took."""
        ...


@runtime_checkable
class Probed(Protocol):
    """What an adapter has beside its protocol when a person can have it ask whether the other side is there."""

    async def probe(self) -> Sequence[Trouble]:
        """Ask the other side something that changes nothing and is about nobody; gives what is wrong, if anything."""
        ...


class Journal(Protocol):
    """Takes note, item by item, of what a call sends: a worker that dies leaves in doubt what is not noted as ended."""

    def leaves(self, item: UUID) -> None:
        """Note that this item (by its `id`) is about to leave: from here on the other side may have it."""
        ...

    def ended(self, item: UUID, answer: Answer) -> None:
        """Note what became of it, as soon as that is known."""
        ...


@runtime_checkable
class KeepsJournal(Protocol):
    """What a box, carrier or notifier has beside its protocol when one call of it sends items one after another.

    Of any other adapter Bode notes whole calls: all items of a call leave when it begins, and end when it returns.
    """

    def keep_journal(self, journal: Journal) -> None:
        """Take the journal to write to, in every call from now on; told once, before `open`."""
        ...


@runtime_checkable
class Box(Adapter, Protocol):
    """A box or a carrier: takes the message itself."""

    async def check(self, *, addressees: Sequence[Identifier], sender: Sender) -> Sequence[Reachability]:
        """Tell who is reachable, in the order asked. Without `can_check`: `reachable=None` for all."""
        ...

    async def place(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Place messages; an answer per message, in the order given.

        Bode hands a message over when it may be read: a carrier need not look at `publish_at`, a box passes it on.
        """
        ...

    async def lookup(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Ask what became of messages handed over before. Never places anything. Without `can_lookup`: `Unknown`."""
        ...


@runtime_checkable
class TellsReading(Box, Protocol):
    """A box that says whether its messages were opened (Awb 2:25): one that declares `read_times`."""

    async def readings(self, *, messages: Sequence[BoxMessage]) -> Sequence[Reading]:
        """Tell of messages placed before whether they were opened, in the order given. Never changes anything."""
        ...


@runtime_checkable
class BringsResults(Protocol):
    """What a box has beside `Box` when the results of what it took in come to us in documents."""

    async def results(self) -> Sequence[ResultDocument]:
        """Read documents not yet confirmed. A document comes again until `confirm` has been told its key.

        Raises what it likes when the other side cannot be read: Bode tries again.
        """
        ...

    async def confirm(self, *, keys: Sequence[str]) -> None:
        """Tell that these documents are stored and need not come again."""
        ...


@runtime_checkable
class Notifier(Adapter, Protocol):
    """Tells addressees that a message waits for them."""

    async def notify(self, *, notices: Sequence[NoticeMail]) -> Sequence[Answer]:
        """Send notices; an answer per notice, in the order given."""
        ...


@runtime_checkable
class ProfileService(Adapter, Protocol):
    """Knows what addressees said about being reached: consent for a box, and a verified e-mail address."""

    async def profiles(self, *, addressees: Sequence[Identifier], sender: Sender) -> Sequence[ProfileAnswer]:
        """Tell what holds for messages of this sender, in the order asked. Never changes anything."""
        ...


@runtime_checkable
class PrintService(Adapter, Protocol):
    """Prints and posts letters."""

    async def submit(self, *, letters: Sequence[PrintLetter]) -> Sequence[Answer]:
        """Hand over letters; an answer per letter, in the order given. `Placed` means: taken in, not yet posted."""
        ...

    async def lookup(self, *, letters: Sequence[PrintLetter]) -> Sequence[Answer]:
        """Ask what became of letters handed over before."""
        ...

    async def reports(self) -> Sequence[LetterReport]:
        """Read reports not yet confirmed. A report comes again until `confirm` has been told its key."""
        ...

    async def confirm(self, *, keys: Sequence[str]) -> None:
        """Tell that these reports are stored and need not come again."""
        ...
