"""One delivery at a time, with a clock that only moves when a test moves it. All people and numbers are invented."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from bode.domain import events as ev
from bode.domain.bounces import Reason, Verdict
from bode.domain.decision import Action, Alarm, AlarmKind, Decision, Fact, Step
from bode.domain.delivery import decide
from bode.domain.events import RefusalKind, TimeSource
from bode.domain.message import AddresseeKind, Confidentiality, Consent, ConsentBasis, Nature, Term
from bode.domain.parts import Brief, Delivery, Letter, Notice, Placement
from bode.domain.policy import Channel, ChannelKind, NoticeBy, Policy
from bode.domain.terms import Duration

MONDAY_MORNING = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MESSAGE_ID = UUID("5b0f6d0e-6d0c-4c8b-9d0e-3f1a52c7a111")

REASONS = {
    Verdict.HARD: Reason.USER_UNKNOWN,
    Verdict.SOFT: Reason.MAILBOX_FULL,
    Verdict.SENDER: Reason.REPUTATION,
    Verdict.UNDETERMINED: Reason.UNMATCHED,
    Verdict.NOT_A_BOUNCE: Reason.DELAYED,
}

CHANNELS = (
    # MijnOverheid: the one box whose notice suffices; a repeat with the same ids is recognised.
    Channel(
        "mijnoverheid",
        ChannelKind.BOX,
        "de Berichtenbox van MijnOverheid",
        Confidentiality.SUBSTANTIEEL,
        primary=True,
        repeat_is_recognised=True,
        can_lookup=True,
        can_check=True,
        addressees=frozenset({AddresseeKind.BSN}),
    ),
    # Another box: it can be searched, and would store a repeat twice.
    Channel("mijndomein", ChannelKind.BOX, "Mijn Gemeente", Confidentiality.HOOG, can_lookup=True),
    # A box that tells the addressee by itself.
    Channel(
        "kluis",
        ChannelKind.BOX,
        "de Ondernemerskluis",
        Confidentiality.HOOG,
        notice=NoticeBy.BOX,
        repeat_is_recognised=True,
        can_check=True,
    ),
    Channel("email", ChannelKind.EMAIL, "e-mail", Confidentiality.LAAG),
    Channel("email-reserve", ChannelKind.EMAIL, "e-mail langs een andere weg", Confidentiality.LAAG),
)

_ANSWERS = (
    ev.ReachabilityChecked,
    ev.ProfileAnswered,
    ev.ProfileUnavailable,
    ev.ProfileRefused,
    ev.Opened,
    ev.NotOpened,
    ev.Placed,
    ev.PlacementPending,
    ev.PlacementRefused,
    ev.PlacementUnavailable,
    ev.PlacementUnknown,
    ev.PlacementAbsent,
    ev.NoticeSent,
    ev.NoticeUnavailable,
    ev.NoticeUnknown,
    ev.LetterSubmitted,
    ev.LetterUnavailable,
    ev.LetterUnknown,
)


def make_policy(**choices) -> Policy:
    """Make a policy with all channels and no holidays; `channels` can name fewer."""
    choices.setdefault("channels", {channel.name: channel for channel in CHANNELS})
    choices.setdefault("is_holiday", lambda _day: False)
    return Policy(**choices)


def make_brief(
    *channels: str | Consent,
    email: bool = True,
    address: bool = True,
    opted_out: bool = False,
    term: Term | None = Term(duration=Duration(weeks=6)),  # noqa: B008 - frozen
    nature: Nature = Nature.BESCHIKKING,
    confidentiality: Confidentiality = Confidentiality.LAAG,
    kind: AddresseeKind = AddresseeKind.BSN,
    publish_after: timedelta | None = None,
    email_from_profile: bool = False,
    message_id: UUID = MESSAGE_ID,
) -> Brief:
    """Make what the rules know of a message; a channel given by name is declared."""
    return Brief(
        message_id=message_id,
        accepted_at=MONDAY_MORNING,
        nature=nature,
        term=term,
        confidentiality=confidentiality,
        channels=tuple(
            Consent(item, ConsentBasis.DECLARED, date(2026, 1, 5)) if isinstance(item, str) else item
            for item in channels
        ),
        addressee_kind=kind,
        has_email=email,
        has_address=address,
        email_given_by="geadresseerde" if email else None,
        email_given_at=MONDAY_MORNING - timedelta(days=90) if email else None,
        opted_out_at=MONDAY_MORNING - timedelta(days=30) if opted_out else None,
        publish_at=MONDAY_MORNING + publish_after if publish_after is not None else None,
        email_from_profile=email_from_profile,
    )


def make_bounce(verdict: Verdict, *, reported: bool = False) -> ev.Bounce:
    """Make what a mail server said, with a text that names the address, as real ones do."""
    return ev.Bounce(
        verdict,
        REASONS[verdict],
        rule="a-rule",
        code=450 if verdict is Verdict.SOFT else 550,
        status="5.1.1",
        diagnostic="<jan.jansen@voorbeeld.nl> has no mailbox here",
        mta="mx.voorbeeld.nl",
        reported=reported,
    )


class Case:
    """A delivery as it goes: each event is decided at the case's own time, and all that follows is kept.

    `steps` is what is open for each part, kept as the engine does: an answer takes the step it answers off the list,
    a decision closes and replaces, a clock that struck is struck once.
    """

    def __init__(self, brief: Brief, policy: Policy) -> None:
        self.policy = policy
        self.delivery = Delivery(brief)
        self.now = brief.accepted_at
        self.steps: dict[str, Step] = {}
        self.facts: list[Fact] = []
        self.alarms: list[Alarm] = []
        self.last = Decision(self.delivery)

    # ---- what happens ------------------------------------------------------------------------------------------

    def happens(self, event: ev.Event, *, after: timedelta = timedelta()) -> "Case":
        self.now += after
        self._consume(event)
        self.last = decide(self.delivery, event, self.policy, self.now)
        self.delivery = self.last.delivery
        for part in self.last.closed:
            self.steps.pop(part, None)
        self.steps |= {step.part: step for step in self.last.steps}
        for part, wake_at in self.last.rewake:
            if part in self.steps:
                self.steps[part] = replace(self.steps[part], wake_at=wake_at)
        self.facts += self.last.facts
        self.alarms += self.last.alarms
        return self

    def _consume(self, event: ev.Event) -> None:
        part = part_of(event)
        match event:
            case ev.ClockStruck():
                step = self.steps.get(event.part)
                if step is not None and step.action is Action.WATCH:
                    del self.steps[event.part]
                elif step is not None:
                    self.steps[event.part] = replace(step, wake_at=None)
            case ev.NoticeBounced() | ev.CarrierBounced() if not event.bounce.reported:
                self.steps.pop(part, None)
            case ev.LeaseExpired():
                self.steps.pop(event.part, None)
            case ev.LetterRefused() if self.steps.get(part) and self.steps[part].action is Action.PRINT:
                self.steps.pop(part, None)
            case _ if isinstance(event, _ANSWERS):
                self.steps.pop(part, None)
            case _:
                pass

    def later(self, **time: float) -> "Case":
        self.now += timedelta(**time)
        return self

    def accepted(self) -> "Case":
        return self.happens(ev.Accepted())

    def checked(self, channel: str, *, reachable: bool | None) -> "Case":
        return self.happens(ev.ReachabilityChecked(channel, reachable, self.now))

    def placed(self, channel: str, *, at: datetime | None = None) -> "Case":
        return self.happens(ev.Placed(channel, at or self.now, TimeSource.OTHER_SIDE, receipt="ontvangst-7"))

    def pending(self, channel: str) -> "Case":
        return self.happens(ev.PlacementPending(channel, "batch-7"))

    def refused(self, channel: str, kind: RefusalKind = RefusalKind.ADDRESSEE) -> "Case":
        return self.happens(ev.PlacementRefused(channel, "NietGeabonneerd", kind, text="jan.jansen@voorbeeld.nl"))

    def unavailable(self, channel: str, *, retry_after: float | None = None) -> "Case":
        return self.happens(ev.PlacementUnavailable(channel, "http_503", retry_after))

    def unknown(self, channel: str, *, call: str | None = "5b0f6d0e-0000-4000-8000-000000000001") -> "Case":
        return self.happens(ev.PlacementUnknown(channel, "timeout", call))

    def absent(self, channel: str) -> "Case":
        return self.happens(ev.PlacementAbsent(channel))

    def mail_came_back(self, channel: str, verdict: Verdict, *, reported: bool = True) -> "Case":
        return self.happens(ev.CarrierBounced(channel, make_bounce(verdict, reported=reported)))

    def notice_sent(self, channel: str, *, at: datetime | None = None) -> "Case":
        return self.happens(ev.NoticeSent(channel, at or self.now, "queue-7", "a" * 64, "kennisgeving/1"))

    def notice_bounced(self, channel: str, verdict: Verdict, *, reported: bool = False) -> "Case":
        return self.happens(ev.NoticeBounced(channel, make_bounce(verdict, reported=reported)))

    def relay_down(self, channel: str, *, configuration: bool = False) -> "Case":
        return self.happens(ev.NoticeUnavailable(channel, "connect_error", configuration))

    def notice_unknown(self, channel: str) -> "Case":
        return self.happens(ev.NoticeUnknown(channel, "connection_lost"))

    def clock(self, part: str) -> "Case":
        """Let the clock strike for a part at the moment it asked for."""
        step = self.steps[part]
        assert step.wake_at is not None, f"{part} did not ask to be woken"
        self.now = max(self.now, step.wake_at)
        return self.happens(ev.ClockStruck(part))

    def lease_lost(self, part: str) -> "Case":
        return self.happens(ev.LeaseExpired(part, "5b0f6d0e-0000-4000-8000-000000000002"))

    def submitted(self, letter: int = 0) -> "Case":
        return self.happens(
            ev.LetterSubmitted(letter, self.now, TimeSource.OUR_CLOCK, "print-7", "b" * 64, 2, "brief/1")
        )

    def printed(self, letter: int = 0) -> "Case":
        return self.happens(ev.LetterPrinted(letter, self.now, "PRINTED"))

    def posted(self, letter: int = 0, *, at: datetime | None = None) -> "Case":
        return self.happens(ev.LetterPosted(letter, at or self.now, TimeSource.OTHER_SIDE, "POSTED"))

    def came_back(self, letter: int = 0) -> "Case":
        return self.happens(ev.LetterReturned(letter, self.now, "RETURNED", "onbekend op dit adres"))

    def retried(self) -> "Case":
        return self.happens(ev.Retried("medewerker-12", "registratie hersteld"))

    def letter_ordered(self) -> "Case":
        return self.happens(ev.LetterOrdered("medewerker-12", "geadresseerde vroeg erom"))

    def cancelled(self) -> "Case":
        return self.happens(ev.Cancelled("zaaksysteem-1", "verkeerde bijlage"))

    # ---- what can be asked --------------------------------------------------------------------------------------

    def placement(self, channel: str) -> Placement:
        found = self.delivery.placement(channel)
        assert found is not None, f"nothing is placed in {channel}"
        return found

    def notice(self, channel: str) -> Notice:
        found = self.placement(channel).notice
        assert found is not None, f"there is no notice about {channel}"
        return found

    @property
    def letters(self) -> tuple[Letter, ...]:
        return self.delivery.letters

    def named(self, name: str, part: str | None = None) -> list[Fact]:
        """Give the facts of this name so far, of one part where it is given."""
        return [fact for fact in self.facts if fact.name == name and part in (None, fact.part)]

    def alarmed(self, kind: AlarmKind) -> list[Alarm]:
        return [alarm for alarm in self.alarms if alarm.kind is kind]

    @property
    def attention(self) -> set[tuple[str, str]]:
        return {(item.part, item.reason) for item in self.delivery.attention}

    @property
    def legal(self):
        found = self.delivery.legal_time(self.policy.primary_channels())
        assert found is not None, "nothing has left"
        return found


def part_of(event: ev.Event) -> str:
    """Name the part that an event is about; empty where it is about the whole."""
    if isinstance(event, (ev.NoticeSent, ev.NoticeBounced, ev.NoticeUnavailable, ev.NoticeUnknown)):
        return f"notice/{event.channel}"
    if isinstance(event, (ev.ClockStruck, ev.LeaseExpired)):
        return event.part
    if isinstance(event, (ev.ProfileAnswered, ev.ProfileUnavailable, ev.ProfileRefused)):
        return "profile"
    if isinstance(event, (ev.Opened, ev.NotOpened)):
        return f"reading/{event.channel}"
    if hasattr(event, "letter"):
        return f"letter/{event.letter}"
    return f"placement/{event.channel}" if hasattr(event, "channel") else ""


@pytest.fixture(scope="session")
def start() -> datetime:
    return MONDAY_MORNING


@pytest.fixture(scope="session")
def policy() -> Policy:
    return make_policy()


@pytest.fixture(scope="session")
def policy_with() -> Callable[..., Policy]:
    """Give the policy with some choices made otherwise."""
    return make_policy


@pytest.fixture(scope="session")
def brief() -> Callable[..., Brief]:
    return make_brief


@pytest.fixture(scope="session")
def to_check() -> Callable[[str], Consent]:
    """Give the consent of a channel that its box is to be asked about first."""
    return lambda channel: Consent(channel, ConsentBasis.TO_CHECK)


@pytest.fixture(scope="session")
def from_profile() -> Callable[[str], Consent]:
    """Give the consent of a channel that the profile service is to be asked about."""
    return lambda channel: Consent(channel, ConsentBasis.PROFILE)


@pytest.fixture(scope="session")
def case() -> Callable[..., Case]:
    """Give an accepted delivery: `case("mijnoverheid", email=False)`."""

    def _case(*channels: str | Consent, policy: Policy | None = None, **message) -> Case:
        return Case(make_brief(*channels, **message), policy or make_policy()).accepted()

    return _case


@pytest.fixture(scope="session")
def strike() -> Callable[[str], ev.ClockStruck]:
    """Give the clock's strike for a part, whether the part asked for it or not."""
    return ev.ClockStruck


@pytest.fixture(scope="session")
def unavailable_letter() -> ev.LetterUnavailable:
    return ev.LetterUnavailable(0, "folder:full")


@pytest.fixture(scope="session")
def unknown_letter() -> ev.LetterUnknown:
    return ev.LetterUnknown(0, "timeout", "5b0f6d0e-0000-4000-8000-000000000003")


@pytest.fixture(scope="session")
def refused_letter() -> ev.LetterRefused:
    return ev.LetterRefused(0, "REJECTED", "Jan Jansen woont hier niet")
