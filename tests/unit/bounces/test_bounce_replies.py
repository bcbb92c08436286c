"""What receiving hosts say, judged. The twenty cases of the design first; then the words of vendors' documentation."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from bode.domain.bounces import Classification, Phase, Reason, RuleBook, SmtpReply, Verdict, classify_reply

Judge = Callable[..., Classification]
WORDS: dict[str, list[str]] = tomllib.loads((Path(__file__).parent / "vendor_replies.toml").read_text("utf-8"))


@pytest.mark.parametrize(
    "text", ["552 5.2.2 over quota", "550 5.2.2 user quota exceeded", "552 5.1.1 <jan@example.nl> overquota"]
)
def test_case_1_a_full_mailbox_is_soft_under_any_permanent_code(judge: Judge, text: str):
    assert judge(text).reason is Reason.MAILBOX_FULL


@pytest.mark.parametrize("text", ["452 4.1.1 user over quota", "550 Mailbox is full / Inode limit"])
def test_case_2_a_full_mailbox_is_soft_under_any_status(judge: Judge, text: str):
    assert judge(text).reason is Reason.MAILBOX_FULL


@pytest.mark.parametrize(
    "text",
    [
        "550 Unknown or mailbox full",
        "550 5.1.1 user unknown or over quota",
        "550 mailbox full or does not exist",
        "554 Mailbox disabled or quota exceeded",
    ],
)
def test_case_3_two_opposite_causes_in_one_text_are_undetermined(judge: Judge, text: str):
    said = judge(text)
    assert (said.verdict, said.reason) == (Verdict.UNDETERMINED, Reason.AMBIGUOUS)


def test_case_4_a_full_mailbox_inside_an_expired_message_is_soft(judge: Judge):
    said = judge("450 4.2.2 Mailbox Full", status="4.4.7")
    assert (said.verdict, said.reason) == (Verdict.SOFT, Reason.MAILBOX_FULL)


def test_case_8_edge_blocking_at_microsoft_is_hard(judge: Judge):
    said = judge("550 5.4.1 Recipient address rejected: Access denied", mta="example-nl.mail.protection.outlook.com")
    assert (said.verdict, said.reason) == (Verdict.HARD, Reason.USER_UNKNOWN)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("550 5.7.1 No such user", Reason.USER_UNKNOWN),
        ("550 5.7.1 The DMARC policy of bode.example asks to reject this", Reason.AUTHENTICATION),
        ("550 5.7.1 SPF check failed", Reason.AUTHENTICATION),
        ("550 5.7.1 Low reputation of your address", Reason.REPUTATION),
    ],
)
def test_case_9_the_text_decides_under_5_7_1(judge: Judge, text: str, reason: Reason):
    assert judge(text).reason is reason


@pytest.mark.parametrize("text", ["550 5.1.0 MailFrom domain is listed", "550 5.1.8 bad origin"])
def test_case_10_a_status_of_class_1_about_us_is_a_senders_matter(judge: Judge, text: str):
    assert judge(text).verdict is Verdict.SENDER


def test_case_11_blacklisted_at_the_greeting_is_a_senders_matter(judge: Judge):
    assert judge("521 5.7.1 192.0.2.4 is blacklisted", phase=Phase.CONNECT).verdict is Verdict.SENDER


def test_case_12_the_text_divides_5_2_1_into_rate_and_disabled(judge: Judge):
    assert judge("550-5.2.1 this user is receiving mail at a rate that is too high").verdict is Verdict.SOFT
    assert judge("550-5.2.1 This account is disabled").reason is Reason.MAILBOX_DISABLED
    assert judge("550 5.2.1 sorry").verdict is Verdict.UNDETERMINED


@pytest.mark.parametrize("text", ["450 4.2.1 mailbox inactive", "451 Invalid Recipient", "450 unverified address"])
def test_case_13_a_temporary_code_is_soft_whatever_the_text(judge: Judge, text: str):
    assert judge(text).verdict is Verdict.SOFT


def test_case_14_only_the_dns_itself_makes_a_host_unknown(judge: Judge):
    assert judge("Host not found, try again").verdict is Verdict.SOFT
    assert judge("lookup of example.invalid responded with code NXDOMAIN", status="4.0.0").reason is Reason.HOST_UNKNOWN
    assert judge("556 5.1.10 the domain has a null MX").reason is Reason.HOST_UNKNOWN


def test_case_15_the_inner_status_counts_before_the_outer_one(judge: Judge):
    said = judge("550 5.1.1 sorry", status="5.0.0")
    assert (said.verdict, said.status, said.rule) == (Verdict.HARD, "5.1.1", "status-user-unknown")


def test_case_16_mailbox_unavailable_is_hard_unless_a_policy_is_named(judge: Judge):
    assert judge("550 mailbox unavailable", mta="hotmail-com.olc.protection.outlook.com").verdict is Verdict.HARD
    assert judge("550 mailbox unavailable, policy restrictions apply").verdict is Verdict.SENDER


@pytest.mark.parametrize("phase", [Phase.DATA, Phase.AFTER_DOT])
def test_case_17_an_unknown_user_found_late_is_hard(judge: Judge, phase: Phase):
    assert judge("550 5.1.1 no such user", phase=phase).reason is Reason.USER_UNKNOWN


@pytest.mark.parametrize("phase", [Phase.DATA, Phase.AFTER_DOT, Phase.UNTOLD])
def test_words_without_a_second_witness_are_in_doubt(judge: Judge, phase: Phase):
    for text in ("550 no such user", "550 5.2.0 unknown user", "550 5.7.1 user unknown", "550 mailbox unavailable"):
        said = judge(text, phase=phase)
        assert (said.verdict, said.rule) == (Verdict.UNDETERMINED, "status-unconfirmed"), text


@pytest.mark.parametrize("phase", [Phase.DATA, Phase.AFTER_DOT, Phase.UNTOLD])
@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("550 5.1.1 no such user", None),
        ("550 no such user", "5.1.1"),
        ("553 no such user", None),
        ("554 rcpt <jan@example.nl> unknown", None),
    ],
)
def test_a_status_of_class_1_or_a_code_for_addresses_is_a_second_witness(
    judge: Judge, phase: Phase, text: str, status: str | None
):
    assert judge(text, phase=phase, status=status).verdict is Verdict.HARD


def test_a_status_about_the_senders_address_is_no_witness(judge: Judge):
    assert judge("550 5.1.7 user unknown", phase=Phase.AFTER_DOT).verdict is not Verdict.HARD


def test_a_report_vouches_only_for_what_no_status_contradicts(rules: RuleBook):
    def said(text: str, phase: Phase = Phase.UNTOLD) -> Verdict:
        return classify_reply(SmtpReply(phase=phase, code=0, text=text, vouched=True), rules).verdict

    assert said("550 no such user") is Verdict.HARD
    assert said("550 5.0.0 no such user") is Verdict.HARD
    assert said("550 5.3.0 no such user") is Verdict.UNDETERMINED
    assert said("550 no such user", Phase.AFTER_DOT) is Verdict.UNDETERMINED


def test_a_form_that_a_vendor_documents_needs_no_second_witness(judge: Judge):
    for text in (
        "554 delivery error: dd This user doesn't have a yahoo.com account (jan@yahoo.com) [0] - mta1.yahoo.com",
        "550 5.5.0 Adresse destinataire invalide. OFR_416 [416]",
        "550 RESOLVER.ADR.RecipNotFound; not found",
        "550 <hanako@ezweb.ne.jp>: User unknown",
        "550 Unrouteable address",
    ):
        assert judge(text, phase=Phase.AFTER_DOT).verdict is Verdict.HARD, text


def test_words_that_contradict_the_status_are_in_doubt_even_after_rcpt(judge: Judge):
    for text in (
        "550 5.2.1 <jan@example.nl>... User unknown",
        "550 5.0.0 <jan@example.nl>... User unknown",
        "550 <jan@example.nl>... Account not found",
    ):
        assert judge(text).reason is Reason.AMBIGUOUS, text
    for text in (
        "550 <jan@example.nl>... User unknown",
        "550 jan@example.nl... No such user",
        "553 5.3.0 <jan@example.nl>... Address does not exist",
        "550 5.7.1 <jan@example.nl>: Recipient address rejected: User unknown",
    ):
        assert judge(text).verdict is Verdict.HARD, text


@pytest.mark.parametrize("phase", [Phase.CONNECT, Phase.EHLO, Phase.AUTH, Phase.MAIL_FROM])
@pytest.mark.parametrize(
    "text",
    [
        "550 5.1.1 user unknown",
        "550 5.2.1 mailbox disabled",
        "552 5.2.2 mailbox full",
        "550 domain does not exist",
        "521 host does not accept mail",
        "550 5.1.2 sorry",
        "556 sorry",
        "550 sorry",
    ],
)
def test_before_rcpt_nothing_is_said_about_the_addressee(judge: Judge, phase: Phase, text: str):
    said = judge(text, phase=phase)
    assert said.verdict in {Verdict.SENDER, Verdict.UNDETERMINED}


@pytest.mark.parametrize("phase", list(Phase))
def test_a_temporary_reply_is_never_hard_in_any_phase(judge: Judge, phase: Phase):
    for text in WORDS["hard"]:
        if text[:1] == "5":
            said = judge("4" + text[1:].replace(" 5.", " 4."), phase=phase)
            assert said.verdict is not Verdict.HARD or said.rule in {"unknown-no-domain", "unknown-null-mx"}, text


def test_names_in_addresses_hosts_and_links_do_not_decide(judge: Judge):
    for text in (
        "550 5.1.1 <quota@example.nl>: no such user",
        "550 5.1.1 <mailbox-full@spam.example.nl>: no such user",
        "550 host mx.spamfilter.example.com said: no such user",
        "550 no such user, see https://www.example.nl/dmarc-blacklist",
    ):
        assert judge(text).reason is Reason.USER_UNKNOWN, text


def test_the_decision_carries_rule_evidence_status_and_code(judge: Judge):
    said = judge("550-5.1.1 There is\n550-5.1.1 no such\n550 5.1.1 user here")
    assert (said.evidence, said.status, said.code) == ("no such user", "5.1.1", 550)


def test_the_code_of_the_reply_counts_before_the_one_in_the_text(rules: RuleBook):
    said = classify_reply(SmtpReply(phase=Phase.RCPT_TO, code=450, text="no such user"), rules)
    assert (said.verdict, said.code) == (Verdict.SOFT, 450)


def test_a_quoted_temporary_reply_keeps_the_whole_from_being_hard(judge: Judge):
    assert judge("550 5.0.350 Remote server returned an error -> 450 4.1.1 no such user").verdict is Verdict.SOFT


@pytest.mark.parametrize("text", WORDS["hard"])
def test_vendors_words_for_an_unknown_addressee(judge: Judge, text: str):
    assert judge(text).verdict is Verdict.HARD, judge(text)


@pytest.mark.parametrize("text", WORDS["soft"])
def test_vendors_words_for_not_now(judge: Judge, text: str):
    assert judge(text).verdict is Verdict.SOFT, judge(text)


@pytest.mark.parametrize("text", WORDS["sender"])
def test_vendors_words_about_the_sender(judge: Judge, text: str):
    assert judge(text).verdict is Verdict.SENDER, judge(text)


@pytest.mark.parametrize("text", WORDS["undetermined"])
def test_words_that_say_nothing(judge: Judge, text: str):
    assert judge(text).verdict is Verdict.UNDETERMINED, judge(text)


@pytest.mark.parametrize("text", WORDS["never_hard"])
def test_words_that_mislead_are_never_hard(judge: Judge, text: str):
    assert judge(text).verdict is not Verdict.HARD, judge(text)
