"""Each row of config/bounces proves itself, and no row can be made slow."""

import re
import time
import tomllib
from itertools import chain
from pathlib import Path

import pytest

from bode.domain.bounces import Phase, Reason, RuleBook, RuleError, SmtpReply, Verdict, classify_reply
from bode.domain.bounces.evidence import spell_once
from bode.domain.bounces.rules import Rule, Sign, Stage
from bode.domain.bounces.verdicts import VERDICT_OF

TABLES = Path(__file__).parents[3] / "config" / "bounces"
BOOK = RuleBook.from_tables(tomllib.loads(path.read_text("utf-8")) for path in sorted(TABLES.glob("*.toml")))
BY_ID = [pytest.param(rule, id=rule.id) for rule in BOOK.rules]
SIGNS = [pytest.param(sign, id=sign.id) for sign in BOOK.signs]
PATTERNS = [
    pytest.param(pattern, one.example, id=f"{one.id}-{name}")
    for one in (*BOOK.rules, *BOOK.signs)
    for name in ("pattern", "unless", "link")
    if isinstance(pattern := getattr(one, name, None), re.Pattern)
]

ROW = {
    "id": "user-gone",
    "stage": "unknown",
    "pattern": "gone fishing",
    "verdict": "hard",
    "reason": "user_unknown",
    "source": "invented for this test",
    "example": "550 gone fishing",
}


def ask(rule: Rule, text: str):
    phase = min(rule.phases) if rule.phases else Phase.RCPT_TO
    return classify_reply(SmtpReply(phase=phase, code=0, text=text), BOOK)


@pytest.mark.parametrize("rule", BY_ID)
def test_the_example_is_decided_by_its_own_rule(rule: Rule):
    said = ask(rule, rule.example)
    assert said.rule == rule.id, f"decided by {said.rule}, which saw {said.evidence!r}"
    assert (said.verdict, said.reason) == (rule.verdict, rule.reason)


@pytest.mark.parametrize("rule", [param for param in BY_ID if param.values[0].counter_example])
def test_the_counter_example_is_decided_by_another_rule(rule: Rule):
    assert ask(rule, rule.counter_example or "").rule != rule.id


@pytest.mark.parametrize("rule", [param for param in BY_ID if param.values[0].verdict is Verdict.HARD])
def test_every_hard_rule_has_a_counter_example(rule: Rule):
    assert rule.counter_example, "a false hard is the worst mistake: say what this rule must not match"


@pytest.mark.parametrize("sign", SIGNS)
def test_a_sign_holds_for_its_example_and_not_for_its_counter_example(sign: Sign):
    assert sign.match(spell_once(sign.example))
    assert not sign.match(spell_once(sign.counter_example or ""))


@pytest.mark.parametrize(("pattern", "example"), PATTERNS)
def test_a_pattern_takes_linear_time_on_texts_that_nearly_match(pattern: re.Pattern[str], example: str):
    words = spell_once(example).split()
    seeds = {" ".join(words[:-1]) + " ", " ".join(words)[:-1] + " ", "mailbox ", "no not user ", "<address> ", "ab"}
    started = time.process_time()
    for seed in seeds:
        text = seed * (100_000 // len(seed))
        for _ in pattern.finditer(text):
            pass
    # Six texts of 100 kB. A pattern that backtracks without bound takes minutes for one of them.
    assert time.process_time() - started < 8


def test_a_reply_of_any_length_is_judged_by_its_beginning(rules: RuleBook):
    started = time.process_time()
    text = "550 " + "recipient mailbox user address unknown-ish " * 50_000
    classify_reply(SmtpReply(phase=Phase.RCPT_TO, code=550, text=text), rules)
    assert time.process_time() - started < 2


def test_every_reason_belongs_to_one_verdict():
    assert set(VERDICT_OF) == set(Reason)
    assert set(VERDICT_OF.values()) == set(Verdict)


def test_every_stage_has_rules():
    assert {rule.stage for rule in BOOK.rules} == set(Stage)


def test_stages_stand_in_the_order_of_decision():
    assert list(Stage) == ["phase", "quota", "rate", "sender", "unknown", "receiver", "status", "code"]


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        ({"stage": "sometimes"}, "stage", "is not one of phase, quota"),
        ({"verdict": "maybe"}, "verdict", "is not one of hard, soft"),
        ({"reason": "mailbox_full"}, "reason", "belongs to the verdict soft"),
        ({"pattern": "(unclosed"}, "pattern", "is not a regular expression"),
        ({"pattern": "User Gone"}, "pattern", "must be in lower case"),
        ({"code": "350"}, "code", "neither a code such as 550"),
        ({"code": "5x"}, "code", "neither a code such as 550"),
        ({"status": "5.1"}, "status", "is not a status such as"),
        ({"said": "5.1"}, "said", "is not a status such as"),
        ({"unless_status": "five"}, "unless_status", "is not a status such as"),
        ({"confirmed": "perhaps"}, "confirmed", "must be true or false"),
        ({"phase": "helo"}, "phase", "is not one of connect"),
        ({"family": "martians"}, "family", "is not one of"),
        ({"source": ""}, "source", "must be given"),
        ({"example": 7}, "example", "must be given"),
        ({"colour": "red"}, "colour", "is not a key of this table"),
        ({"even_if_transient": "yes"}, "even_if_transient", "must be true or false"),
        ({"code": [550]}, "code", "a text or a list of texts"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_by_name(change: dict[str, object], key: str, words: str):
    with pytest.raises(RuleError) as refused:
        RuleBook.from_tables([{"rule": [ROW | change]}])
    assert (refused.value.rule, refused.value.key) == ("user-gone", key)
    assert words in str(refused.value)


def test_a_row_without_any_condition_is_refused():
    with pytest.raises(RuleError, match="needs a code, a status, a pattern or a link"):
        RuleBook.from_tables([{"rule": [{key: value for key, value in ROW.items() if key != "pattern"}]}])


def test_an_id_is_used_once_over_all_tables():
    with pytest.raises(RuleError, match="taken by an earlier row"):
        RuleBook.from_tables([{"rule": [ROW]}, {"rule": [ROW]}])


@pytest.mark.parametrize("table", [{"rules": []}, {"rule": {"id": "x"}}, {"rule": ["x"]}])
def test_a_table_of_another_shape_is_refused(table: dict[str, object]):
    with pytest.raises(RuleError):
        RuleBook.from_tables([table])


def test_a_family_needs_hosts_or_marks_in_lower_case():
    with pytest.raises(RuleError, match="needs hosts or marks"):
        RuleBook.from_tables([{"family": [{"id": "nobody"}]}])
    with pytest.raises(RuleError, match="lower case"):
        RuleBook.from_tables([{"family": [{"id": "loud", "hosts": ["EXAMPLE.NL"]}]}])


def test_a_sign_needs_a_pattern():
    row = {"id": "s", "kind": "auto_reply", "where": "subject", "source": "x", "example": "x"}
    with pytest.raises(RuleError, match="pattern"):
        RuleBook.from_tables([{"sign": [row]}])


def test_a_rule_may_ask_for_a_status_in_the_reply_itself():
    book = RuleBook.from_tables([{"rule": [ROW | {"said": "5.0.0", "unless_status": "*.7.*"}]}])

    def ruled(text: str, status: str | None = None) -> bool:
        reply = SmtpReply(phase=Phase.RCPT_TO, code=550, text=text, status=status)
        return classify_reply(reply, book).rule == "user-gone"

    assert ruled("550 5.0.0 gone fishing")
    assert ruled("550 5.0.0 gone fishing", "5.1.1")
    assert not ruled("550 gone fishing", "5.0.0")
    assert not ruled("550 5.0.0 gone fishing", "5.7.1")


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_rule_may_ask_for_a_second_witness_or_for_none(confirmed: bool):
    book = RuleBook.from_tables([{"rule": [ROW | {"confirmed": confirmed}]}])

    def ruled(phase: Phase, text: str) -> bool:
        return classify_reply(SmtpReply(phase=phase, code=0, text=text), book).rule == "user-gone"

    assert ruled(Phase.RCPT_TO, "550 gone fishing") is confirmed
    assert ruled(Phase.UNTOLD, "550 gone fishing") is not confirmed


def test_an_empty_book_finds_everything_undetermined():
    said = classify_reply(
        SmtpReply(phase=Phase.RCPT_TO, code=550, text="550 5.1.1 no such user"), RuleBook.from_tables([])
    )
    assert (said.verdict, said.reason, said.status, said.code) == (Verdict.UNDETERMINED, Reason.UNMATCHED, "5.1.1", 550)


def test_every_family_has_a_rule():
    assert {rule.family.id for rule in BOOK.rules if rule.family} == {family.id for family in BOOK.families}


def test_each_rule_names_its_source():
    for one in chain(BOOK.rules, BOOK.signs):
        assert len(one.source) > 10, one.id
