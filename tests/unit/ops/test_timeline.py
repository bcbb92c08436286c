"""The timeline and the summary in Dutch: every event has words, and the words say what the rules decided."""

import ast
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import get_args
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bode
from bode.domain import events as ev
from bode.domain.acts import Act
from bode.domain.bounces import Reason, Verdict
from bode.domain.decision import Fact
from bode.domain.delivery import decide
from bode.domain.message import AddresseeKind, Confidentiality, Consent, ConsentBasis, Nature, Term
from bode.domain.parts import (
    AttentionReason,
    Brief,
    Delivery,
    DeliveryState,
    LetterReason,
    LetterState,
    Outcome,
    PlacementState,
    letter_part,
    notice_part,
    placement_part,
)
from bode.domain.policy import ChannelKind, NoticeBy, Policy
from bode.domain.terms import Duration
from bode.evidence.chain import GENESIS
from bode.evidence.envelope import seal
from bode.store.events import StoredEvent
from bode.store.messages import Known
from bode_ops.story import Kind, Line, Summary, labels, length, render_text, summary, timeline, when, words

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
OIN = "00000001999000010000"
BOX, OTHER, MAIL = "mijnoverheid", "mijndomein", "email"
OURS, THEIRS = ev.TimeSource.OUR_CLOCK, ev.TimeSource.OTHER_SIDE
GONE = ev.Bounce(Verdict.HARD, Reason.USER_UNKNOWN, "user-1", 550, "5.1.1", "fatma@post.example", "mx.example", True)
FULL = ev.Bounce(Verdict.SOFT, Reason.MAILBOX_FULL, "quota-1", 452, "4.2.2")
HOUR = timedelta(hours=1)


@dataclass
class Story:
    """Decides events one after another, and keeps what the store would keep."""

    delivery: Delivery
    policy: Policy
    now: datetime = START
    events: list[StoredEvent] = field(default_factory=list)

    def then(self, *happenings: ev.Event, after: timedelta = timedelta(0)) -> "Story":
        self.now += after
        for happening in happenings:
            decision = decide(self.delivery, happening, self.policy, self.now)
            self.delivery = decision.delivery
            for fact in decision.facts:
                self.add(fact)
        return self

    def add(self, fact: Fact) -> "Story":
        self.events.append(stored(fact, len(self.events) + 1, self.now))
        return self

    def placed(self, channel: str = BOX, source: ev.TimeSource = THEIRS) -> "Story":
        return self.then(ev.Placed(channel, self.now, source, "R-1"))

    def lines(self) -> tuple[Line, ...]:
        return timeline(self.events, channels=labels(self.policy))

    def line(self, name: str) -> Line:
        """Give the last line of an event with this name."""
        seq = [event.seq for event in self.events if event.name == name][-1]
        return self.lines()[seq - 1]

    def said(self, now: datetime | None = None) -> Summary:
        return summary(self.delivery, self.policy, now=now or self.now)

    @property
    def known(self) -> Known:
        brief = self.delivery.brief
        return Known(brief.message_id, OIN, "MV-1", b"", brief.accepted_at, brief.nature, None, None, None)


def stored(fact: Fact, seq: int, now: datetime) -> StoredEvent:
    """Give an event as it is read with its details open."""
    sealed = seal(fact, message_id=UUID(int=1), organisation=OIN, seq=seq, previous=GENESIS, recorded_at=now)
    envelope = msgspec.json.decode(sealed.envelope)
    event = StoredEvent(
        seq,
        fact.name,
        fact.part,
        sealed.at,
        now,
        tuple(envelope["law"]),
        envelope["source"],
        envelope["detail"],
        sealed.envelope,
        sealed.hash,
        "detail_commit" in envelope,
    )
    return event if sealed.details is None else event.opened(sealed.details)


@pytest.fixture
def story(policy: Policy) -> Callable[..., Story]:
    """Start a story: an accepted decision with six weeks to object, for one box, unless changed."""

    def _story(*channels: str, **changes: object) -> Story:
        given = {
            "message_id": UUID(int=1),
            "accepted_at": START,
            "nature": Nature.BESCHIKKING,
            "term": Term(duration=Duration(weeks=6)),
            "confidentiality": Confidentiality.LAAG,
            "channels": tuple(Consent(name, ConsentBasis.DECLARED, date(2024, 3, 1)) for name in channels or (BOX,)),
            "addressee_kind": AddresseeKind.BSN,
            "has_email": True,
            "has_address": True,
            **changes,
        }
        return Story(Delivery(Brief(**given)), policy).then(ev.Accepted())

    return _story


def names_written() -> set[str]:
    """Every event name that stands in the worker's source, as the first text handed to `fact`, `Fact` or `_sent`."""
    found: set[str] = set()
    for path in Path(bode.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in {"fact", "Fact", "_sent"} and len(node.args) > (called == "_sent"):
                first = node.args[called == "_sent"]
                values = ast.walk(first) if isinstance(first, ast.IfExp) else [first]
                found |= {
                    item.value
                    for item in values
                    if isinstance(item, ast.Constant) and isinstance(item.value, str) and not item.value.endswith("/")
                }
    return found


# ---- every name has words -----------------------------------------------------------------------------------------


def test_the_names_are_found_in_the_source():
    assert {"ContentConsignment", "bounce.received", "SubmissionAcceptance", "RelayToNonERDSFailure"} <= names_written()


@pytest.mark.parametrize("name", sorted(names_written()))
def test_every_event_that_the_worker_writes_has_words_of_its_own(name):
    line = timeline([stored(Fact(name, ("L12",)), 1, START)], channels={})[0]
    assert not line.title.startswith("Vastgelegd: ")
    assert line.title


def test_an_unknown_event_still_gives_a_line():
    fact = Fact("something.new", ("L12",), part="placement/x", detail={"reason": "y"})
    line = timeline([stored(fact, 1, START)], channels={})[0]
    assert line.title == "Vastgelegd: something.new"
    assert "placement/x" in line.detail
    assert line.kind is Kind.NEUTRAL


@pytest.mark.parametrize(
    ("table", "enum"),
    [
        (words.BOUNCE_REASONS, Reason),
        (words.LETTER_REASONS, LetterReason),
        (words.ATTENTION_REASONS, AttentionReason),
        (words.ADVICE, AttentionReason),
        (words.CONSENTS, ConsentBasis),
        (words.STATES, DeliveryState),
        (words.OUTCOMES, Outcome),
        (words.PLACEMENTS, PlacementState),
        (words.LETTER_STATES, LetterState),
    ],
)
def test_every_member_has_words(table, enum):
    assert set(table) == set(enum)


def test_every_happening_that_can_be_recorded_without_a_move_has_words():
    assert set(words.RECORDED) == {happening.__name__ for happening in get_args(ev.Event)}


def test_every_reason_not_to_use_a_channel_has_words():
    source = Path(bode.__file__).parent / "domain" / "channels.py"
    tree = next(
        node
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name == "_why_not"
    )
    returned = {
        node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Constant) and node.value.value is not None
    }
    said_by_the_profile = {"no_consent"}
    assert returned | said_by_the_profile == set(words.NOT_USED)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_keys = st.sampled_from(
    [
        *("verdict", "reason", "kind", "moved", "final", "code", "channels", "considered", "deadline", "legal_time"),
        *("decision", "reachable", "chosen", "event", "act", "by", "nature", "attempts", "term_last_day", "pages"),
    ]
)
_values = _json | st.sampled_from([*Verdict, *Reason, *ev.RefusalKind, True, "2026-11-24T09:00:00+00:00"])


@given(
    name=st.sampled_from(sorted(names_written())) | st.text(max_size=10),
    part=st.none() | st.text(max_size=10) | st.sampled_from(["placement/x", "notice/x", "letter/0", "letter/"]),
    detail=st.dictionaries(_keys, _values, max_size=5),
    heard=st.timedeltas(min_value=timedelta(days=-1), max_value=timedelta(days=9)),
)
def test_whatever_is_in_an_event_it_gives_one_line(name, part, detail, heard):
    event = stored(Fact("x", ("L12",)), 1, START)
    event = replace(event, name=name, part=part, detail=detail, recorded_at=START + heard)
    lines = timeline([event, event], channels={"x": "Berichtenbox"})
    assert len(lines) == 2
    assert all(line.title for line in lines)


# ---- times --------------------------------------------------------------------------------------------------------


def test_times_are_dutch_local_times():
    assert when(datetime(2026, 11, 24, 9, 4, tzinfo=UTC)) == "24 november 2026 om 10:04"
    assert when(datetime(2026, 7, 1, 22, 30, tzinfo=UTC)) == "2 juli 2026 om 00:30"


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        (timedelta(seconds=20), "minder dan een minuut"),
        (timedelta(minutes=1), "1 minuut"),
        (timedelta(hours=3, minutes=12), "3 uur en 12 minuten"),
        (timedelta(days=1, hours=20, minutes=5), "1 dag en 20 uur"),
        (timedelta(days=2), "2 dagen"),
    ],
)
def test_lengths_are_written_in_two_units(wait, expected):
    assert length(wait) == expected


# ---- what happened ------------------------------------------------------------------------------------------------


def test_a_placement_says_where_and_that_it_counts_as_sending(story):
    line = story().placed().line("ContentConsignment")
    assert line.title == "Geplaatst in de Berichtenbox van MijnOverheid"
    assert "telt als moment van verzending (Awb 2:19)" in line.detail
    assert "De termijn loopt tot en met woensdag 6 januari 2027." in line.detail  # 5 January is a holiday in this test
    assert "De tijd komt van de box zelf." in line.detail
    assert line.kind is Kind.GOOD


def test_a_label_that_is_a_name_gets_no_article(story):
    line = story(OTHER).placed(OTHER, OURS).line("ContentConsignment")
    assert line.title == "Geplaatst in Mijn Gemeente"
    assert "De tijd komt van onze klok." in line.detail


def test_a_hard_bounce_says_why_and_that_a_letter_follows(story):
    told = story().placed().then(ev.NoticeSent(BOX, START)).then(ev.NoticeBounced(BOX, GONE), after=HOUR)
    line = told.line("bounce.received")
    assert line.title == "Kennisgeving teruggekomen: dit e-mailadres bestaat niet (550 5.1.1)"
    assert "Er gaat een brief." in line.detail
    assert line.kind is Kind.BAD
    assert told.line("letter.ordered").title == "Brief over de kennisgeving besteld"
    assert "kan niet worden afgeleverd" in told.line("letter.ordered").detail


def test_a_hard_bounce_without_postal_address_asks_for_a_person(story):
    told = story(has_address=False).placed().then(ev.NoticeBounced(BOX, GONE))
    assert "geen postadres" in told.line("bounce.received").detail
    asked = told.line("attention.asked")
    assert asked.kind is Kind.PERSON
    assert "Laat de ontvanger op een andere manier weten" in asked.detail


def test_a_soft_bounce_says_that_it_is_sent_again(story):
    line = story().placed().then(ev.NoticeBounced(BOX, FULL)).line("ConsignmentNotificationFailure")
    assert line.title == "Kennisgeving niet aangenomen: de mailbox van de ontvanger is vol (452 4.2.2)"
    assert "opnieuw tot de 48 uur voorbij zijn" in line.detail
    assert line.kind is Kind.WARNING


def test_a_block_of_our_mail_is_not_held_against_the_addressee(story):
    block = ev.Bounce(Verdict.SENDER, Reason.REPUTATION, "block-1", 554, "5.7.1")
    line = story().placed().then(ev.NoticeBounced(BOX, block)).line("ConsignmentNotificationFailure")
    assert "Dit ligt aan onze e-mail, niet aan de ontvanger." in line.detail
    assert line.kind is Kind.WARNING


def test_an_out_of_office_reply_changes_nothing(story):
    away = ev.Bounce(Verdict.NOT_A_BOUNCE, Reason.AUTO_REPLY, "away-1", reported=True)
    told = story().placed().then(ev.NoticeSent(BOX, START), ev.NoticeBounced(BOX, away))
    line = told.line("bounce.received")
    assert line.title.startswith("Antwoord op de kennisgeving: er kwam een automatisch antwoord")
    assert "Er verandert niets." in line.detail
    assert line.kind is Kind.NEUTRAL


def test_a_second_bounce_after_a_letter_says_that_it_changes_nothing(story):
    told = story().placed().then(ev.NoticeBounced(BOX, GONE)).then(ev.NoticeBounced(BOX, GONE), after=HOUR)
    assert told.line("bounce.received").detail == "Dit verandert niets: er was al een andere weg gekozen."


def test_a_missed_deadline_says_so_and_what_it_can_mean(story):
    told = story().placed().then(ev.ClockStruck(notice_part(BOX)), after=48 * HOUR)
    line = told.line("deadline.missed")
    assert line.title == "De 48 uur zijn voorbij zonder kennisgeving"
    assert "Awb 2:22" in line.detail
    assert "Er gaat een brief." in line.detail
    assert told.line("ConsignmentNotificationFailure").detail == "Bode probeert het niet meer per e-mail."


def test_a_refusal_says_which_route_follows(story):
    refused = ev.PlacementRefused(BOX, "NietActief", ev.RefusalKind.ADDRESSEE)
    line = story().then(refused).line("ContentConsignmentFailure")
    assert line.title == "De Berichtenbox van MijnOverheid neemt geen bericht aan voor deze ontvanger (NietActief)"
    assert line.detail == "Het bericht zelf gaat nu per brief."
    told = story(BOX, MAIL).then(refused)
    assert told.line("ContentConsignmentFailure").detail == "Het bericht gaat nu via e-mail."
    assert told.line("channel.decision").title == "Volgend kanaal gekozen: e-mail"


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (ev.RefusalKind.CONTENT, "weigert de inhoud"),
        (ev.RefusalKind.CONFIGURATION, "Onze aansluiting op"),
        (ev.RefusalKind.DEFECT, "door een fout bij ons"),
        (ev.RefusalKind.UNRECOGNISED, "dat Bode niet kent"),
    ],
)
def test_each_kind_of_refusal_has_its_own_words(story, kind, says):
    assert says in story().then(ev.PlacementRefused(BOX, "X9", kind)).line("ContentConsignmentFailure").title


def test_mail_that_comes_back_makes_the_letter_the_second_sending(story):
    told = story(MAIL).placed(MAIL, OURS).then(ev.CarrierBounced(MAIL, GONE), after=HOUR)
    assert told.line("bounce.received").title.startswith("Bericht per e-mail teruggekomen: dit e-mailadres bestaat")
    told.then(ev.LetterSubmitted(0, told.now, OURS, pages=1))
    assert told.line("RelayToNonERDS").title == "Brief met het bericht: bij de drukker"
    told.then(ev.LetterPosted(0, told.now, THEIRS, "POSTED"), after=HOUR)
    line = told.line("letter.posted")
    assert "tweede verzending" in line.detail
    assert "Awb 2:11, derde lid" in line.detail


def test_what_is_heard_late_says_when_it_was_heard(story):
    told = story().placed().then(ev.Opened(BOX, START + HOUR), after=5 * HOUR)
    line = told.line("ContentAccessTracking")
    assert line.at == START + HOUR
    assert f"Bode hoorde dit op {when(START + 5 * HOUR)}." in line.detail


def test_an_act_of_staff_has_a_name_and_a_reason_but_no_bsn(story):
    told = story().then(ev.LetterOrdered("a.jansen", "op verzoek van 999990019"))
    line = told.line("staff.action")
    assert line.title == "a.jansen bestelt een brief met het bericht"
    assert "999990019" not in line.detail
    assert line.kind is Kind.PERSON


REASON = "gebeld met de dochter"


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (ev.LetterOrdered("a.jansen", REASON), "staff.action"),
        (ev.Retried("a.jansen", REASON), "staff.action"),
        (ev.Cancelled("a.jansen", REASON), "message.cancelled"),
    ],
    ids=["letter", "retry", "cancel"],
)
def test_a_typed_reason_is_told_where_details_are_open_and_else_that_there_is_one(story, event, name):
    told = story().then(event)
    assert f"Reden: {REASON}." in told.line(name).detail
    closed = [replace(item, details=None) for item in told.events]
    (line,) = [line for line, item in zip(timeline(closed, channels={}), closed, strict=True) if item.name == name]
    assert words.REASON_GIVEN in line.detail
    assert REASON not in line.detail


@pytest.mark.parametrize("name", ["staff.action", "message.cancelled", "letter.returned", "letter.unclear"])
def test_an_event_from_before_reasons_were_sealed_still_tells_its_reason(name):
    fact = Fact(name, ("L9",), detail={"act": "retry", "by": "a.jansen", "reason": REASON})
    (line,) = timeline([stored(fact, 1, START)], channels={})
    assert f"{REASON}." in line.detail
    assert words.REASON_GIVEN not in line.detail


def test_what_the_post_wrote_on_a_letter_is_told_where_details_are_open(story):
    told = story(has_email=False).placed()
    told.then(ev.LetterSubmitted(0, START, ev.TimeSource.OUR_CLOCK)).then(
        ev.LetterReturned(0, START, "R01", REASON, ev.ReturnReason.GONE_AWAY)
    )
    line = told.line("letter.returned")
    assert f"De drukker meldt: {REASON}." in line.detail
    closed = [replace(item, details=None) for item in told.events if item.name == "letter.returned"]
    (line,) = timeline(closed, channels={})
    assert words.PRINTER_WROTE in line.detail
    assert "verhuisd" in line.title


def test_a_late_happening_is_told_as_one_without_consequence(story):
    line = story().then(ev.NoticeSent(BOX, START)).line("event.recorded")
    assert line.title == "Melding zonder gevolg: een kennisgeving is verstuurd"


def test_the_choice_of_channels_says_why_not(story):
    line = story(MAIL, OTHER, has_email=False).line("channel.decision")
    assert "Mijn Gemeente: ja." in line.detail
    assert "E-mail: nee, want er is geen e-mailadres." in line.detail
    assert "Berichtenbox van MijnOverheid: nee, want de ontvanger heeft niet gezegd" in line.detail


def test_the_letter_of_the_law_is_given_per_line(story):
    assert [words.article(row) for row in story().placed().line("notice.due").law] == ["Awb 2:10, eerste lid"]
    assert words.article("L99") == "L99"


# ---- how it stands ------------------------------------------------------------------------------------------------


def test_nothing_is_sent_yet(story):
    said = story().said()
    assert said.status.text == "Onderweg"
    assert said.sent.text == "Nog niet verzonden"
    assert said.term is not None
    assert said.term.text == "Nog niet bekend"
    assert said.clocks == ()
    assert [act.choice.act for act in said.acts] == [Act.LETTER, Act.CANCEL]
    assert "kan nog worden geannuleerd" in said.change


def test_the_legal_time_names_the_rule_and_the_clock(story):
    said = story().placed().said().sent
    assert said.text == "24 november 2026 om 10:00"
    assert "Berichtenbox van MijnOverheid" in said.why
    assert "Awb 2:19" in said.why
    assert "De tijd komt van de box zelf." in said.why


def test_with_several_boxes_the_moment_of_mijnoverheid_counts(story):
    told = story(BOX, OTHER).placed(OTHER).then(after=HOUR).placed(BOX)
    said = told.said()
    assert said.sent.text == when(START + HOUR)
    assert "meer boxen" in said.sent.why
    assert {clock.label: clock.counts for clock in said.clocks} == {
        "Berichtenbox van MijnOverheid": True,
        "Mijn Gemeente": False,
    }


def test_mail_that_came_back_does_not_count_until_the_second_sending(story):
    told = story(MAIL).placed(MAIL, OURS).then(ev.CarrierBounced(MAIL, GONE), after=HOUR)
    said = told.said()
    assert said.sent.kind is Kind.WARNING
    assert "teruggekomen" in said.sent.why
    assert said.term is not None
    assert said.term.text == "Nog niet bekend"
    told.then(ev.LetterSubmitted(0, told.now, OURS), ev.LetterPosted(0, told.now + HOUR, THEIRS, "P"), after=HOUR)
    said = told.said()
    assert said.sent.text == when(START + 2 * HOUR)
    assert "Awb 2:11, derde lid" in said.sent.why
    assert said.outcome.text == "Verstuurd per brief"


@pytest.mark.parametrize(
    ("term", "text", "why"),
    [
        (Term(duration=Duration(weeks=6)), "Woensdag 6 januari 2027", "een feestdag"),
        (Term(duration=Duration(days=4)), "Maandag 30 november 2026", "in het weekend"),
        (Term(duration=Duration(days=7)), "Dinsdag 1 december 2026", "een werkdag en schuift dus niet op"),
        (Term(duration=Duration(weeks=13)), "Dinsdag 23 februari 2027", "schuift de laatste dag niet op"),
        (Term(last_day=date(2027, 2, 1)), "Maandag 1 februari 2027", "heeft deze dag zelf genoemd"),
    ],
)
def test_the_last_day_says_how_it_was_computed(story, term, text, why):
    said = story(term=term).placed().said().term
    assert said is not None
    assert said.text == text
    assert why in said.why


def test_a_message_without_a_term_has_none(story):
    assert story(term=None).placed().said().term is None


def test_a_notice_that_left_says_how_long_it_took(story):
    told = story().placed().then(ev.NoticeSent(BOX, START + timedelta(minutes=4)))
    clock = told.said().clocks[0]
    assert clock.said.text == "Verstuurd op 24 november 2026 om 10:04"
    assert clock.said.why == "4 minuten na het plaatsen: op tijd."
    assert not clock.runs
    assert told.said().status.text == "Afgerond"


def test_a_notice_to_come_says_how_long_is_left(story):
    told = story().placed().then(ev.NoticeBounced(BOX, FULL))
    clock = told.said(START + 36 * HOUR).clocks[0]
    assert clock.runs
    assert clock.used == 0.75
    assert clock.said.text == "Nog niet verstuurd, nog 12 uur"
    assert "mailbox van de ontvanger is vol" in clock.said.why


def test_a_notice_that_came_back_softly_is_not_called_unsent(story):
    soft = replace(FULL, reported=True)
    told = story().placed().then(ev.NoticeSent(BOX, START), ev.NoticeBounced(BOX, soft))
    assert told.said().clocks[0].said.text == "Teruggekomen, nog 2 dagen"


def test_a_missed_deadline_stands_in_the_status(story):
    told = story().placed().then(ev.ClockStruck(notice_part(BOX)), after=48 * HOUR)
    said = told.said()
    assert "niet binnen 48 uur" in said.status.why
    assert said.status.kind is Kind.WARNING
    assert said.clocks[0].said.text == "Niet verstuurd binnen 48 uur"
    assert said.letters[0].title == "Brief over de kennisgeving (Berichtenbox van MijnOverheid)"


def test_a_notice_that_left_too_late_is_said_to_be_late(story):
    told = story().placed().then(after=49 * HOUR)
    told.then(ev.NoticeSent(BOX, told.now))
    assert "De kennisgeving ging pas daarna weg." in told.line("deadline.missed").detail
    said = told.said()
    assert said.clocks[0].said.why == "2 dagen en 1 uur na het plaatsen: te laat."
    assert "niet binnen 48 uur" in said.status.why


def test_why_there_is_no_notice(story):
    opted_out = story(opted_out_at=datetime(2025, 1, 15, 9, tzinfo=UTC)).placed().said().clocks[0]
    assert opted_out.said.text == "Niet nodig: de ontvanger wil geen kennisgeving"
    assert "15 januari 2025 om 10:00" in opted_out.said.why
    no_email = story(has_email=False).placed().said().clocks[0]
    assert no_email.said.text == "Kan niet per e-mail"
    assert "Stand van de brief" in no_email.said.why


def test_a_box_that_tells_the_addressee_itself(story):
    told = story(OTHER)
    channel = replace(told.policy.channels[OTHER], notice=NoticeBy.BOX, kind=ChannelKind.BOX)
    told.policy = replace(told.policy, channels={**told.policy.channels, OTHER: channel})
    clock = told.placed(OTHER).said().clocks[0]
    assert clock.said.text == "De box stuurt de kennisgeving"
    assert not clock.counts


def test_a_held_placement_can_be_retried_or_go_by_letter(story):
    told = story().then(ev.PlacementRefused(BOX, "X", ev.RefusalKind.DEFECT))
    said = told.said()
    assert said.status.text == "Wacht op een medewerker"
    assert [act.choice.act for act in said.acts] == [Act.FOUND, Act.RETRY, Act.LETTER, Act.HANDLED]
    assert said.waiting[0].part == "Berichtenbox van MijnOverheid"
    assert "Wijzigen of intrekken kan alleen met een nieuw bericht" in said.change


def test_retry_is_offered_only_where_the_rules_would_act_on_it(story):
    """What `bode retry` does is decided by the rules: the summary must not promise more, or less."""
    overdue = (
        story(OTHER)
        .then(ev.PlacementPending(OTHER, "B-1"))
        .then(ev.ClockStruck(placement_part(OTHER)), after=25 * HOUR)
    )
    blocked = story(has_address=False, channels=())
    waiting = story(channels=()).then(ev.LetterUnavailable(0, "away"))
    waiting.then(ev.LetterUnavailable(0, "away"), after=25 * HOUR)
    held = story().then(ev.PlacementRefused(BOX, "X", ev.RefusalKind.UNRECOGNISED))
    placed = story().placed()
    returned = story().then(ev.PlacementRefused(BOX, "X", ev.RefusalKind.ADDRESSEE))
    returned.then(ev.LetterSubmitted(0, START, OURS), ev.LetterReturned(0, START, "R"))
    for told, helps in (
        (overdue, True),
        (blocked, False),
        (held, True),
        (returned, True),
        (waiting, True),
        (placed, False),
    ):
        offered = any(act.choice.act is Act.RETRY for act in told.said().acts)
        before = told.delivery
        told.then(ev.Retried("a", "b"))
        assert offered == helps == (told.delivery != before)


def test_a_letter_that_was_ordered_by_hand_does_not_move_the_time_of_a_placed_message(story):
    told = story().placed().then(ev.NoticeBounced(BOX, GONE))
    told.then(ev.LetterSubmitted(0, told.now, OURS), ev.LetterReturned(0, told.now, "R"))
    effects = {act.choice.act: act.effects for act in told.said().acts}
    assert "Het moment van verzending verandert niet: dat blijft 24 november 2026 om 10:00." in effects[Act.LETTER]
    assert "Controleer het postadres" in told.said().waiting[0].todo


def test_a_scheduled_message_can_be_cancelled_and_then_nothing_can_be_done(story):
    told = story(publish_at=START + 30 * HOUR)
    assert told.said().status.text == "Ingepland"
    assert "25 november 2026 om 16:00" in told.said().status.why
    told.then(ev.Cancelled("a.jansen", "fout"))
    said = told.said()
    assert said.status.text == "Geannuleerd"
    assert said.sent.text == "Niet verzonden"
    assert said.acts == ()


# ---- as text ------------------------------------------------------------------------------------------------------


def test_the_text_holds_the_summary_and_the_timeline(story):
    told = story().placed().then(ev.NoticeBounced(BOX, GONE))
    later = replace(told.known, reference="MV-2", nature="intrekking")
    text = render_text(told.known, told.delivery, [later], told.events, policy=told.policy, now=told.now)
    for words_ in ("MV-1 (beschikking)", "Status", "Verzonden", "Laatste dag", "MV-2 (intrekking)", "Tijdlijn"):
        assert words_ in text
    assert "✗ 24 november 2026 om 10:00: Kennisgeving teruggekomen: dit e-mailadres bestaat niet (550 5.1.1)" in text
    assert all(len(line) <= 110 for line in text.splitlines())


def test_no_code_of_ours_is_read_aloud(story):
    """Titles are for the telephone: words of our own code stand in brackets, or nowhere."""
    told = story(BOX, OTHER).placed(OTHER).then(ev.PlacementUnavailable(BOX, "http_503"), after=HOUR)
    told.then(ev.PlacementUnknown(BOX, "timeout"), ev.Placed(BOX, told.now, THEIRS), ev.NoticeBounced(BOX, GONE))
    told.then(ev.LetterRefused(0, "E7")).then(ev.Retried("a.jansen", "opgelost")).then(ev.LetterUnknown(0, "timeout"))
    told.then(ev.ClockStruck(letter_part(0)))
    for line in told.lines():
        bare = "".join(piece.split(")")[-1] for piece in line.title.split("("))
        assert "_" not in bare
        assert "None" not in line.title + line.detail
        assert line.detail == line.detail.strip()
