"""Mails at a bounce address, read: each shape and language that mailers write in. All of them are written here."""

import base64
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from bode.domain.bounces import BounceMail, MailKind, Reason, Verdict, describe_mail

Read = Callable[[str | bytes], BounceMail]
Write = Callable[..., str]

FIELDS = "Final-Recipient: rfc822; jan@example.nl\nAction: {action}\nStatus: {status}\n{more}"


def fields(action: str = "failed", status: str = "5.1.1", diagnostic: str = "", more: str = "") -> str:
    said = f"Diagnostic-Code: smtp; {diagnostic}\n" if diagnostic else ""
    return FIELDS.format(action=action, status=status, more=said + more)


def only(mail: BounceMail):
    assert len(mail.recipients) == 1
    return mail.recipients[0]


# The cases of the design that a mail decides


def test_case_5_a_quota_rejection_sent_as_a_disposition_is_a_soft_bounce(read: Read):
    mail = read("""\
Return-Path: <>
From: Mail Delivery Subsystem <postmaster@example.nl>
To: post+b7k2@bode.example
Subject: Rejected: U heeft een bericht
Content-Type: multipart/report; report-type=disposition-notification; boundary="=-x"

--=-x
Content-Type: text/plain

Your message to <jan@example.nl> was automatically rejected:
Quota exceeded (mailbox for user is full)

--=-x
Content-Type: message/disposition-notification

Reporting-UA: mx.example.nl; Dovecot Mail Delivery Agent
Final-Recipient: rfc822; jan@example.nl
Original-Message-ID: <m7.42@bode.example>
Disposition: automatic-action/MDN-sent-automatically; deleted

--=-x--
""")
    assert mail.kind is MailKind.MDN_REJECTION
    assert (only(mail).recipient, only(mail).classification.reason) == ("jan@example.nl", Reason.MAILBOX_FULL)


@pytest.mark.parametrize("said", ["452 4.2.2 mailbox full", "450 4.1.1 user unknown", "550 5.1.1 no such user"])
def test_case_6_a_delay_is_no_bounce_whatever_it_quotes(read: Read, dsn: Write, said: str):
    mail = read(dsn(fields("delayed", "4.4.7", said)))
    assert (only(mail).classification.verdict, only(mail).classification.reason) == (
        Verdict.NOT_A_BOUNCE,
        Reason.DELAYED,
    )


def test_case_7_a_failure_with_a_temporary_status_is_soft(read: Read, dsn: Write):
    assert only(read(dsn(fields("failed", "4.0.0")))).classification.verdict is Verdict.SOFT
    assert only(read(dsn(fields("failed", "4.4.7", "451 4.1.1 no such user")))).classification.verdict is Verdict.SOFT


def test_case_14_a_domain_that_does_not_exist_is_hard_under_a_temporary_status(read: Read, dsn: Write):
    said = "DNS Error: DNS type 'mx' lookup of example.nl responded with code NXDOMAIN"
    assert only(read(dsn(fields("failed", "4.0.0", said)))).classification.reason is Reason.HOST_UNKNOWN


def test_case_15_an_inner_status_counts_before_the_field(read: Read, dsn: Write):
    assert only(read(dsn(fields("failed", "5.0.0", "550 5.1.1 sorry")))).classification.verdict is Verdict.HARD


def test_case_17_an_unknown_user_found_after_data_is_hard(read: Read, dsn: Write):
    said = "host mx.example.nl[192.0.2.7] said: 550 5.1.1 no such user (in reply to end of DATA command)"
    assert only(read(dsn(fields(diagnostic=said)))).classification.verdict is Verdict.HARD


# Words want a second witness


@pytest.mark.parametrize("after", ["DATA command", "end of DATA command"])
@pytest.mark.parametrize("status", ["5.0.0", "5.2.0", "5.7.1"])
def test_an_unknown_user_after_data_is_in_doubt_unless_a_status_agrees(read: Read, dsn: Write, after: str, status: str):
    story = f"<jan@example.nl>: host mx.example.nl[192.0.2.7] said: 550 Unknown user (in reply to {after})"
    doubted = only(read(dsn(fields(status=status, diagnostic="550 Unknown user"), story=story)))
    agreed = only(read(dsn(fields(status="5.1.1", diagnostic="550 Unknown user"), story=story)))
    assert (doubted.classification.reason, agreed.classification.reason) == (Reason.AMBIGUOUS, Reason.USER_UNKNOWN)


@pytest.mark.parametrize(
    ("story", "verdict"),
    [
        ("<jan@example.nl>: 192.0.2.7 does not like recipient.\nRemote host said: 550 no such user", Verdict.HARD),
        ("<jan@example.nl>: 192.0.2.7 failed after I sent the message.\nRemote host said: 550 no such user", None),
        ("<jan@example.nl>: Connected to 192.0.2.7 but greeting failed.\nRemote host said: 550 no such user", None),
        (
            "<jan@example.nl>: Connected to 192.0.2.7 but my name was rejected.\nRemote host said: 550 no such user",
            None,
        ),
        ("<jan@example.nl>: 192.0.2.7 does not like sender.\nRemote host said: 550 no such user", None),
        ("<jan@example.nl>: host mx.example.nl[192.0.2.7] refused to talk to me: 550 no such user", None),
        ("<jan@example.nl>:\nRemote host said: 550 no such user\n[RCPT_TO]", Verdict.HARD),
        ("mx.example.nl [192.0.2.7] did not like our RCPT TO:\n550 <jan@example.nl>: no such user", Verdict.HARD),
        (
            "jan@example.nl\n    SMTP error from remote mailer after RCPT TO:<jan@example.nl>:\n    550 no such user",
            Verdict.HARD,
        ),
        (
            "--> MAIL From:<post@bode.nl>\n<-- 250 ok\n--> RCPT To:<jan@example.nl>\n<-- 550 no such user\n--> QUIT",
            Verdict.HARD,
        ),
        (
            ">>> RCPT To:<jan@example.nl>\n<<< 250 ok\n>>> DATA\n<<< 354 go on\n>>> .\n<<< 550 unknown user",
            None,
        ),
        ("--> RCPT To:<jan@example.nl>\n<-- 550 <jan@example.nl>, no such user", Verdict.HARD),
        ("RCPT TO:<jan@example.nl>\n550 <jan@example.nl>, no such user", Verdict.HARD),
        ("jan@example.nl\n-------server message\n550 no such user\n-------SMTP command\nDATA", None),
        (
            "<jan@example.nl>: mx.example.nl [192.0.2.7]:\n>>> RCPT TO:<jan@example.nl>\n<<< 550 no such user",
            Verdict.HARD,
        ),
    ],
)
def test_each_mailer_tells_in_its_own_words_what_was_answered(
    read: Read, prose: Write, story: str, verdict: Verdict | None
):
    said = only(read(prose(story))).classification.verdict
    assert said is verdict if verdict else said is not Verdict.HARD


@pytest.mark.parametrize(
    ("story", "verdict"),
    [
        ("jan@example.nl [User unknown]", Verdict.UNDETERMINED),
        ("These addresses had permanent errors:\n\njan@example.nl [User unknown]", Verdict.HARD),
        ("A permanent error:\n\njan@example.nl: the gateway said 550 user unknown", Verdict.UNDETERMINED),
        ("A permanent error:\n\njan@example.nl: the gateway said 550 5.1.1 user unknown", Verdict.HARD),
        ("A permanent error:\n\njan@example.nl: the gateway said 553 user unknown", Verdict.HARD),
        ("You wrote to jan@example.nl. That is not a valid user here.", Verdict.HARD),
        ("jan@example.nl (user not found)", Verdict.HARD),
        ("User Jan Jansen (jan@example.nl) not listed in public Name & Address Book", Verdict.HARD),
    ],
)
def test_a_bounce_in_prose_is_believed_when_it_says_that_it_is_for_good(
    read: Read, prose: Write, story: str, verdict: Verdict
):
    assert only(read(prose(story))).classification.verdict is verdict


@pytest.mark.parametrize(
    ("status", "diagnostic", "verdict"),
    [
        ("5.0.0", "smtp; 550 no such user", Verdict.HARD),
        ("5.5.0", "smtp; 550 mailbox unavailable", Verdict.HARD),
        ("5.0.0", "X-Local; user unknown", Verdict.HARD),
        ("5.0.0", "The account that you tried to reach does not exist", Verdict.UNDETERMINED),
        ("", "smtp; 550 no such user", Verdict.UNDETERMINED),
        ("5.0.0", "smtp; 5.3.0 other mail system problem 550 unknown user", Verdict.UNDETERMINED),
        ("5.2.1", "smtp; 550 5.2.1 <jan@example.nl>... User unknown", Verdict.UNDETERMINED),
    ],
)
def test_a_report_that_tells_no_phase_vouches_by_keeping_to_the_standard(
    read: Read, dsn: Write, status: str, diagnostic: str, verdict: Verdict
):
    group = (
        f"Final-Recipient: rfc822; jan@example.nl\nAction: failed\nStatus: {status}\nDiagnostic-Code: {diagnostic}\n"
    )
    assert only(read(dsn(group))).classification.verdict is verdict


@pytest.mark.parametrize(
    "said",
    [
        "X-Postfix; Host or domain name not found. Name service error for name=relay.bode.nl type=A: Host not found",
        "smtp; DNS Error: DNS type 'mx' lookup of example.invalid responded with code NXDOMAIN",
    ],
)
def test_a_relay_that_the_dns_does_not_know_makes_no_recipient_fail(read: Read, dsn: Write, said: str):
    group = f"Final-Recipient: rfc822; jan@example.nl\nAction: failed\nStatus: 5.4.4\nDiagnostic-Code: {said}\n"
    told = only(read(dsn(group))).classification
    assert (told.verdict, told.rule) == (Verdict.UNDETERMINED, "host-of-another")


def test_a_mail_host_below_the_recipients_domain_counts_as_the_recipients(read: Read, dsn: Write):
    said = "Name service error for name=mx.example.nl type=A: Host not found"
    assert only(read(dsn(fields(status="5.4.4", diagnostic=said)))).classification.reason is Reason.HOST_UNKNOWN


def test_a_full_mailbox_in_the_text_counts_before_an_unknown_user_in_the_fields(read: Read, dsn: Write):
    story = "Your message to <jan@example.nl> was automatically rejected:\nNot enough disk space"
    mail = read(dsn(fields(diagnostic="550 5.1.1 <jan@example.nl>... User Unknown"), story=story))
    assert only(mail).classification.reason is Reason.MAILBOX_FULL


def test_an_address_that_our_own_message_wrote_badly_is_a_senders_matter(read: Read, prose: Write):
    story = """\
A message that you sent contained one or more recipient addresses that were
incorrectly constructed:

  jan@example.nl <piet@example.nl>: malformed address: <piet@example.nl> may not follow jan@example.nl
"""
    mail = read(prose(story, subject="Mail failure - malformed recipient address"))
    assert only(mail).classification.verdict is Verdict.SENDER


def test_a_reply_to_mail_from_is_not_about_the_addressee(read: Read, dsn: Write):
    said = "host mx.example.nl[192.0.2.7] said: 550 5.1.1 no such user (in reply to MAIL FROM command)"
    assert only(read(dsn(fields(diagnostic=said)))).classification.verdict is Verdict.SENDER


# Fields a machine can read


@pytest.mark.parametrize("action", ["delivered", "relayed", "expanded", "deliverable"])
def test_what_arrived_or_was_passed_on_is_no_bounce(read: Read, dsn: Write, action: str):
    assert only(read(dsn(fields(action, "2.0.0", "250 ok")))).classification.reason is Reason.DELIVERED


def test_each_recipient_has_its_own_fate(read: Read, dsn: Write):
    mail = read(
        dsn(
            fields(diagnostic="550 5.1.1 <jan@example.nl>: no such user"),
            "Final-Recipient: rfc822; piet@example.nl\nAction: failed\nStatus: 5.2.2\n",
            "Original-Recipient: rfc822; k.s@example.org\nFinal-Recipient: rfc822; kees@example.nl\nAction: delayed\n",
        )
    )
    assert [(one.recipient, one.classification.reason) for one in mail.recipients] == [
        ("jan@example.nl", Reason.USER_UNKNOWN),
        ("piet@example.nl", Reason.MAILBOX_FULL),
        ("kees@example.nl", Reason.DELAYED),
    ]
    assert mail.recipients[2].original_recipient == "k.s@example.org"


@pytest.mark.parametrize("escaped", [False, True])
def test_a_notification_of_amazon_is_read_as_fields(read: Read, prose: Write, escaped: bool):
    said = """{"notificationType":"Bounce","bounce":{"bounceType":"Permanent","bouncedRecipients":[
{"emailAddress":"jan@example.nl","action":"failed","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 user unknown"},
{"emailAddress":"piet@example.nl","action":"failed","status":"5.2.2","diagnosticCode":"smtp; 552 5.2.2 full"}]}}"""
    text = '{"Type": "Notification", "Message": "' + said.replace('"', '\\"') + '"}' if escaped else said
    mail = read(prose(text, subject="Amazon SES Email Event Notification", author="no-reply@sns.amazonaws.com"))
    assert [(one.recipient, one.classification.reason) for one in mail.recipients] == [
        ("jan@example.nl", Reason.USER_UNKNOWN),
        ("piet@example.nl", Reason.MAILBOX_FULL),
    ]


def test_a_notification_of_another_kind_is_no_bounce(read: Read, prose: Write):
    text = '{"notificationType":"Delivery","delivery":{"recipients":["jan@example.nl"]},"bouncedRecipients":[]}'
    mail = read(prose(text, subject="Amazon SES Email Event Notification", author="no-reply@sns.amazonaws.com"))
    assert mail.kind is not MailKind.DSN


def test_recipients_without_a_blank_line_between_them_are_told_apart(read: Read, dsn: Write):
    both = fields() + "Final-Recipient: rfc822; piet@example.nl\nAction: failed\nStatus: 5.2.2"
    assert [one.recipient for one in read(dsn(both)).recipients] == ["jan@example.nl", "piet@example.nl"]


def test_fields_divided_by_blank_lines_stay_one_recipient(read: Read, dsn: Write):
    mail = read(dsn("Final-Recipient: rfc822; jan@example.nl\n\nAction: failed\n\nStatus: 5.1.1"))
    assert (only(mail).recipient, only(mail).action, only(mail).status) == ("jan@example.nl", "failed", "5.1.1")


def test_the_tokens_and_ids_are_given_to_the_caller(read: Read, dsn: Write):
    mail = read(dsn(fields(), about="Original-Envelope-Id: bode-m7-42"))
    assert mail.delivered_to == ("post+b7k2@bode.example",)
    assert (mail.envelope_id, mail.message_id) == ("bode-m7-42", "m7.42@bode.example")


def test_every_address_the_mail_was_sent_to_is_given(read: Read):
    mail = read(
        "To: A <a@bode.example>, b@bode.example\nX-Original-To: c@bode.example\nEnvelope-To: d@bode.example\n\nhi\n"
    )
    assert mail.delivered_to == ("a@bode.example", "b@bode.example", "c@bode.example", "d@bode.example")


def test_the_text_around_the_fields_is_heard_when_they_say_nothing(read: Read, dsn: Write):
    told = """\
   ----- The following addresses had permanent fatal errors -----
<jan@example.nl>

   ----- Transcript of session follows -----
... while talking to mx.example.nl.:
>>> RCPT To:<jan@example.nl>
<<< 550 no such mailbox here"""
    assert only(read(dsn(fields(status="5.0.0"), story=told))).classification.verdict is Verdict.HARD


def test_the_transcript_tells_the_phase(read: Read, dsn: Write):
    told = "while talking to mx.example.nl:\n>>> MAIL From:<post@bode.example>\n<<< 550 5.0.0 no such user"
    mail = read(dsn(fields(status="5.0.0", diagnostic="550 5.0.0 no such user"), story=told))
    assert only(mail).classification.verdict is Verdict.SENDER


@pytest.mark.parametrize(
    "recipient",
    [
        "rfc822;<jan@example.nl>",
        "RFC822 ; jan@example.nl",
        "jan@example.nl",
        "utf-8; jan@example.nl",
        "rfc822; jan@example.nl.",
    ],
)
def test_a_recipient_is_read_in_every_dress(read: Read, dsn: Write, recipient: str):
    assert only(read(dsn(f"Final-Recipient: {recipient}\nAction: failed\nStatus: 5.1.1"))).recipient == "jan@example.nl"


def test_an_internationalised_recipient_is_decoded(read: Read, dsn: Write):
    mail = read(dsn("Final-Recipient: utf-8; jos\\x{E9}@example.nl\nAction: failed\nStatus: 5.1.1"))
    assert only(mail).recipient == "josé@example.nl"


def test_a_recipient_that_is_no_address_is_none(read: Read, dsn: Write):
    assert only(read(dsn("Final-Recipient: x400; /G=Jan/S=Jansen/\nAction: failed\nStatus: 5.1.1"))).recipient is None


def test_fields_in_a_plain_text_are_read(read: Read, prose: Write):
    mail = read(prose("A report:\n\nReporting-MTA: dns; mx.example.nl\n\n" + fields(diagnostic="550 no such user")))
    assert (mail.kind, only(mail).classification.verdict) == (MailKind.DSN, Verdict.HARD)


def test_a_base64_report_is_read(read: Read):
    body = base64.encodebytes(b"Reporting-MTA: dns; x\n\n" + fields(diagnostic="550 user unknown").encode()).decode()
    mail = read(
        "From: MAILER-DAEMON@example.nl\nContent-Type: multipart/report; boundary=b\n\n--b\n"
        f"Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n{body}\n--b--\n"
    )
    assert only(mail).classification.reason is Reason.USER_UNKNOWN


# Bounces in prose


EXIM = """\
This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  jan@example.nl
    host mx.example.nl [192.0.2.7]
    SMTP error from remote mail server after RCPT TO:<jan@example.nl>:
    550 5.1.1 <jan@example.nl>: No such user here
  piet@example.nl
    mailbox is full: retry timeout exceeded

------ This is a copy of the message, including all the headers. ------

Return-path: <post+b7k2@bode.example>
Subject: ons spamfilter is vol
"""

QMAIL = """\
Hi. This is the qmail-send program at mx.example.nl.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<jan@example.nl>:
Sorry, no mailbox here by that name. (#5.1.1)

<piet@example.nl>:
192.0.2.7 does not like recipient.
Remote host said: 552 5.2.2 Over quota
Giving up on 192.0.2.7.

--- Below this line is a copy of the message.

Return-Path: <post+b7k2@bode.example>
"""

POSTFIX = """\
This is the mail system at host mx.example.nl.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

                   The mail system

<jan@example.nl>: host mx2.example.nl[192.0.2.8] said: 550 5.1.1
    <jan@example.nl>: Recipient address rejected: User unknown in local
    recipient table (in reply to RCPT TO command)

<piet@example.nl>: host mx2.example.nl[192.0.2.8] said: 452 4.2.2
    <piet@example.nl>: mailbox full (in reply to RCPT TO command)
"""


@pytest.mark.parametrize("text", [EXIM, QMAIL, POSTFIX], ids=["exim", "qmail", "postfix"])
def test_exim_qmail_and_postfix_tell_of_two_recipients(read: Read, prose: Write, text: str):
    mail = read(prose(text))
    assert mail.kind is MailKind.TEXT_BOUNCE
    assert [(one.recipient, one.classification.reason) for one in mail.recipients] == [
        ("jan@example.nl", Reason.USER_UNKNOWN),
        ("piet@example.nl", Reason.MAILBOX_FULL),
    ]


SHAPES = tomllib.loads((Path(__file__).parent / "prose_bounces.toml").read_text("utf-8"))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_bounce_in_prose_is_understood(read: Read, prose: Write, shape: dict[str, str]):
    mail = read(prose(shape["text"]))
    assert mail.kind is MailKind.TEXT_BOUNCE
    assert only(mail).classification.reason == shape["reason"], only(mail)
    assert "@" in (only(mail).recipient or "")


def test_the_header_of_exim_and_google_names_the_recipients(read: Read, prose: Write):
    mail = read(
        prose("It failed for good: permanent error, no such user.", headers="X-Failed-Recipients: jan@example.nl")
    )
    assert (only(mail).recipient, only(mail).classification.verdict) == ("jan@example.nl", Verdict.HARD)


def test_the_subject_speaks_when_the_text_does_not(read: Read, prose: Write):
    mail = read(prose("These addresses had permanent fatal errors. See below.", subject="Returned mail: User unknown"))
    assert only(mail).classification.verdict is Verdict.HARD


def test_the_returned_mail_does_not_decide(read: Read, prose: Write):
    ours = "Delivery to jan@example.nl has failed, sorry about that.\n\n"
    mail = read(prose(ours + "Received: from a\nSubject: no such user\n\nmailbox full\n"))
    assert only(mail).classification.verdict is Verdict.UNDETERMINED


def test_a_bounce_in_html_only_is_read(read: Read, prose: Write):
    said = "<p>550 5.1.1 user&nbsp;unknown</p>"
    page = f"<style>p {{ color: red }}</style><p>Delivery to <b>jan@example.nl</b> failed:</p>{said}"
    mail = read(prose(page, content_type="text/html; charset=utf-8"))
    assert (only(mail).recipient, only(mail).classification.verdict) == ("jan@example.nl", Verdict.HARD)


def test_a_bounce_that_names_nobody_has_one_report_without_a_recipient(read: Read, prose: Write):
    mail = read(prose("The mailbox is full.", subject="Returned mail"))
    assert (only(mail).recipient, only(mail).classification.reason) == (None, Reason.MAILBOX_FULL)
    assert describe_mail("a.eml", mail)[0]["recipient"] is None


# What is no bounce


@pytest.mark.parametrize(
    "subject",
    [
        "Out of Office: your letter",
        "Automatisch antwoord: U heeft een bericht",
        "Automatic reply: U heeft een bericht",
        "Automatische Antwort: U heeft een bericht",
        "Réponse automatique : U heeft een bericht",
        "=?utf-8?B?" + base64.b64encode("Réponse automatique".encode()).decode() + "?=",
        "=?iso-8859-1?Q?R=E9ponse_automatique?=",
        "Afwezig: vakantie",
    ],
)
def test_an_auto_reply_is_known_by_its_subject(read: Read, prose: Write, subject: str):
    mail = read(prose("Ik ben er even niet; no such user.", subject=subject, author="Jan <jan@example.nl>"))
    assert (mail.kind, only(mail).classification.reason) == (MailKind.AUTO_REPLY, Reason.AUTO_REPLY)


@pytest.mark.parametrize("header", ["Auto-Submitted: auto-replied", "X-Autoreply: yes", "Precedence: auto_reply"])
def test_an_auto_reply_is_known_by_its_header(read: Read, prose: Write, header: str):
    mail = read(prose("Tot ziens.", subject="Re: U heeft een bericht", author="Jan <jan@example.nl>", headers=header))
    assert mail.kind is MailKind.AUTO_REPLY


@pytest.mark.parametrize(
    "text",
    [
        "I am currently out of the office and return on Monday.",
        "Ik ben momenteel met vakantie.",
        "Ich bin derzeit nicht im Büro.",
        "Je suis actuellement absent.",
        "Bedankt voor uw bericht. Wij nemen contact met u op.",
    ],
)
def test_an_auto_reply_is_known_by_its_first_words(read: Read, prose: Write, text: str):
    mail = read(prose(text, subject="Re: bericht", author="Jan <jan@example.nl>"))
    assert mail.kind is MailKind.AUTO_REPLY


def test_a_read_receipt_changes_nothing(read: Read):
    mail = read("""\
From: jan@example.nl
Subject: Gelezen: U heeft een bericht
Content-Type: multipart/report; report-type=disposition-notification; boundary=r

--r
Content-Type: text/plain

Uw bericht is gelezen.
--r
Content-Type: message/disposition-notification

Final-Recipient: rfc822; jan@example.nl
Disposition: manual-action/MDN-sent-manually; displayed
--r--
""")
    assert (mail.kind, only(mail).classification.reason) == (MailKind.READ_RECEIPT, Reason.READ_RECEIPT)
    assert only(mail).recipient == "jan@example.nl"


def test_a_complaint_changes_nothing(read: Read):
    mail = read("""\
From: fbl@example.nl
Subject: Abuse report
Content-Type: multipart/report; report-type=feedback-report; boundary=f

--f
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: Example/1
--f
Content-Type: message/rfc822

Subject: no such user
--f--
""")
    assert (mail.kind, only(mail).classification.verdict) == (MailKind.ABUSE_REPORT, Verdict.NOT_A_BOUNCE)


def test_a_challenge_changes_nothing(read: Read, prose: Write):
    text = "Please click this link in order to have your message delivered to jan@example.nl."
    mail = read(prose(text, subject="Please confirm your message", author="Jan <jan@example.nl>"))
    assert (mail.kind, only(mail).classification.reason) == (MailKind.CHALLENGE, Reason.CHALLENGE)


@pytest.mark.parametrize(
    "text",
    [
        "Geachte gemeente, mijn oude e-mailadres bestaat niet meer, dit is het nieuwe.",
        "Ik kreeg de melding dat mijn mailbox vol was. Kunt u uw bericht nog eens sturen?",
        "Your letter could not be delivered to my neighbour. He is a user unknown to me.",
    ],
)
def test_a_person_who_writes_about_mail_is_no_bounce(read: Read, text: str):
    mail = read(f"Return-Path: <jan@example.nl>\nFrom: Jan <jan@example.nl>\nSubject: Re: uw brief\n\n{text}\n")
    assert (mail.kind, only(mail).classification.reason) == (MailKind.ORDINARY, Reason.ORDINARY)


# Broken mails


def test_a_missing_boundary_parameter_is_guessed(read: Read, dsn: Write):
    raw = dsn(fields(diagnostic="550 no such user")).replace(';\n boundary="A1B2C3/mx.example.nl"', "")
    assert only(read(raw)).classification.verdict is Verdict.HARD


def test_a_mistyped_boundary_is_guessed(read: Read, dsn: Write):
    raw = dsn(fields(diagnostic="550 no such user")).replace('boundary="A1B2C3/', 'boundary="Z9/')
    assert only(read(raw)).classification.verdict is Verdict.HARD


def test_a_mail_cut_off_in_the_middle_is_read(read: Read, dsn: Write):
    raw = dsn(fields(diagnostic="550 no such user"))
    assert (
        only(read(raw[: raw.index("--A1B2C3/mx.example.nl\nContent-Type: text/rfc822")])).classification.verdict
        is Verdict.HARD
    )


def test_latin_1_in_headers_and_text_is_read(read: Read):
    raw = (
        "From: MAILER-DAEMON@example.fr\nSubject: Échec de remise\n\n<anne@example.fr>: 5.1.1 boîte inconnue\n".encode(
            "latin-1"
        )
    )
    mail = read(raw)
    assert (only(mail).recipient, only(mail).classification.verdict) == ("anne@example.fr", Verdict.HARD)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_any_line_end_will_do(read: Read, dsn: Write, end: bytes):
    raw = dsn(fields(diagnostic="550 no such user")).encode().replace(b"\n", end)
    assert only(read(raw)).classification.verdict is Verdict.HARD


def test_line_ends_may_be_mixed(read: Read, dsn: Write):
    lines = dsn(fields(diagnostic="550 no such user")).encode().split(b"\n")
    raw = b"".join(line + (b"\r\n" if number % 2 else b"\n") for number, line in enumerate(lines))
    assert only(read(raw)).classification.verdict is Verdict.HARD


def test_an_unknown_charset_is_guessed(read: Read, prose: Write):
    mail = read(prose("<jan@example.nl>: 550 5.1.1 no such user", content_type="text/plain; charset=x-martian"))
    assert only(mail).classification.verdict is Verdict.HARD


def test_a_bounce_inside_a_forwarded_mail_is_not_opened(read: Read, dsn: Write):
    inner = dsn(fields(diagnostic="550 no such user"))
    mail = read(
        "From: Jan <jan@example.nl>\nSubject: kijk eens\nContent-Type: multipart/mixed; boundary=o\n\n--o\n"
        f"Content-Type: text/plain\n\nWat is dit?\n--o\nContent-Type: message/rfc822\n\n{inner}\n--o--\n"
    )
    assert mail.kind is MailKind.ORDINARY


@pytest.mark.parametrize(
    "raw", [b"", b"\n", b"\x00" * 100, b"\xff\xfe", b":", b"From ", b"Content-Type: multipart/report\n\n--\n"]
)
def test_hardly_a_mail_is_ordinary(read: Read, raw: bytes):
    assert only(read(raw)).classification.verdict is Verdict.NOT_A_BOUNCE
