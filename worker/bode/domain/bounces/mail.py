"""What a mail at a bounce address is, and what it says of whom."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from bode.domain.bounces.delivery_status import (
    TYPED,
    StatusFields,
    address_in,
    addresses_in,
    read_fields,
    read_notification,
)
from bode.domain.bounces.evidence import spell_once, statuses_in
from bode.domain.bounces.mime import Mail, Part, split_headers, take_apart, text_of_html
from bode.domain.bounces.prose import Block, blocks, phase_in, story
from bode.domain.bounces.replies import MOST_EVIDENCE, NO_RULE, classify_reply
from bode.domain.bounces.rules import RuleBook, Sign, Where
from bode.domain.bounces.verdicts import (
    VERDICT_OF,
    BounceMail,
    Classification,
    MailKind,
    Phase,
    Reason,
    RecipientReport,
    SmtpReply,
    Verdict,
)

MOST_DELIVERED_TO: Final = 50
MOST_TEXT: Final = 300_000
MOST_STORY: Final = 20_000

_REPORT_PARTS: Final = {"message/delivery-status", "message/global-delivery-status"}
_MDN_PARTS: Final = {"message/disposition-notification", "message/global-disposition-notification"}
_RETURNED_PARTS: Final = {
    "message/rfc822",
    "message/global",
    "text/rfc822-headers",
    "text/rfc822-header",
    "message/rfc822-headers",
    "message/global-headers",
}
_ADDRESSED: Final = ("to", "delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "x-delivered-to", "cc")
_FIELDS_IN_TEXT: Final = re.compile(r"^[ \t>]{0,4}final-recipient[ \t]{0,4}:", re.IGNORECASE | re.MULTILINE)
_MESSAGE_ID: Final = re.compile(r"^[ \t>|]{0,6}message-id:\s{0,200}<?([^\s<>]{1,500})>?", re.IGNORECASE | re.MULTILINE)
# "deliverable" is what address verification reports; the others are those of RFC 3464 section 2.3.3.
_ARRIVED: Final = frozenset({"delivered", "relayed", "expanded", "deliverable"})

# "Other or undefined", permanent: RFC 3463 sections 3.1 and 3.6.
_UNDEFINED: Final = frozenset({"5.0.0", "5.5.0"})
_PERMANENT: Final = re.compile(
    r"permanent|\bfatal\b|will not (?:be )?(?:continue|retr|try)|not (?:be )?(?:retried|retrying)|"
    r"no (?:further|more) (?:\w+ ){0,2}(?:attempt|tries|retries)|definiti(?:ef|ve)|dauerhaft|endgultig|definitiv",
)
HOST_OF_ANOTHER: Final = "host-of-another"
"""The rule id of a decision that a name unknown to the DNS is not the recipient's."""

_LOOKED_UP: Final = re.compile(
    r"(?:\bname=|\blookup of |\bdomain=|\bfound: |\bhost(?:name)? (?:named )?|\bdomain (?:name )?)"
    r"([a-z\d][\w\-]{0,62}(?:\.[\w\-]{1,63}){1,10})(?![\w@])",
    re.IGNORECASE,
)
# A mailer that speaks of its own house needs no code to be certain.
_OWN_HOUSE: Final = re.compile(
    r"\b(?:user|mailbox|account|address|recipient)\b[^.;:]{0,30} "
    r"(?:here\b|(?:on|at|in) this (?:host|server|system|domain|site))|"
    r"(?:gebruiker|postvak|adres)\b[^.;:]{0,40} (?:hier\b|(?:op|bij|in) (?:deze|dit) )",
    re.IGNORECASE,
)
_SMTP_CODE: Final = re.compile(r"(?<![\w.@/\-])[45][0-5]\d(?![\w.@/])")

_MACHINES: Final = ("daemon", "postmaster", "post_master", "mail delivery", "no-reply", "noreply", "mail system")

_KIND_REASON: Final = {
    MailKind.READ_RECEIPT: Reason.READ_RECEIPT,
    MailKind.ABUSE_REPORT: Reason.ABUSE_REPORT,
    MailKind.CHALLENGE: Reason.CHALLENGE,
    MailKind.AUTO_REPLY: Reason.AUTO_REPLY,
    MailKind.ORDINARY: Reason.ORDINARY,
}


def read_mail(raw: bytes, rules: RuleBook) -> BounceMail:
    """Give what the mail is and what it says of each recipient.

    Never raises, whatever the bytes, and takes bounded time and memory; see `mime` for the bounds. Whether the mail
    answers one of ours is for the caller to check, with the token in `delivered_to` or the envelope id.
    """
    return _Reader(take_apart(raw), rules).read()


class _Reader:
    """One mail being read: its texts are made once and asked by several questions."""

    def __init__(self, mail: Mail, rules: RuleBook) -> None:
        self._mail = mail
        self._rules = rules
        self._delivered_to = _unique(
            address for value in mail.headers.all(*_ADDRESSED) for address in addresses_in(value)
        )[:MOST_DELIVERED_TO]
        self._full_text = _text(mail.parts)
        self._story = story(self._full_text)
        self._is_permanent = _PERMANENT.search(spell_once(self._story[:MOST_STORY])) is not None
        self._envelope_id: str | None = None

    def read(self) -> BounceMail:
        if self._has(("message/feedback-report",)) or self._mail.report_type == "feedback-report":
            return self._not_a_bounce(MailKind.ABUSE_REPORT, "kind-feedback-report", "message/feedback-report")
        if self._has(_MDN_PARTS) or self._mail.report_type == "disposition-notification":
            return self._disposition()
        reports = self._status_fields()
        sign, seen = self._sign()
        if reports and not (sign and sign.kind is MailKind.CHALLENGE):
            return self._answer(MailKind.DSN, self._machine_reports(reports))
        if sign is None:
            return self._not_a_bounce(MailKind.ORDINARY, NO_RULE, "")
        if sign.kind is not MailKind.TEXT_BOUNCE:
            return self._not_a_bounce(sign.kind, sign.id, seen)
        if sign.delayed:
            return self._answer(MailKind.TEXT_BOUNCE, self._delayed(sign.id, seen))
        return self._answer(MailKind.TEXT_BOUNCE, self._told())

    def _has(self, kinds: Iterable[str]) -> bool:
        wanted = set(kinds)
        return any(part.kind in wanted for part in self._mail.parts)

    def _answer(self, kind: MailKind, recipients: list[RecipientReport]) -> BounceMail:
        return BounceMail(
            kind=kind,
            recipients=tuple(recipients),
            envelope_id=self._envelope_id,
            delivered_to=tuple(self._delivered_to),
            message_id=self._original_message_id(),
        )

    def _not_a_bounce(self, kind: MailKind, rule: str, seen: str) -> BounceMail:
        classification = _settled(_KIND_REASON[kind], rule, seen)
        return self._answer(kind, [_report(StatusFields(), None, None, classification)])

    # The kinds of mail

    def _disposition(self) -> BounceMail:
        """Read a disposition notification, which is a refusal when it displays nothing and tells of a quota."""
        # read_fields takes Final-Recipient for the start of a recipient; in a disposition all fields are of one.
        fields = _all_fields(self._mail.parts, _MDN_PARTS)
        disposition = fields.get("disposition").lower()
        told = classify_reply(_reply(f"{self._story} {fields.get('error')} {fields.get('failure')}"), self._rules)
        if told.reason is Reason.MAILBOX_FULL and "displayed" not in disposition:
            report = _report(fields, fields.recipient, told.evidence, told)
            return self._answer(MailKind.MDN_REJECTION, [report])
        settled = _settled(Reason.READ_RECEIPT, "kind-disposition", disposition or "disposition-notification")
        return self._answer(MailKind.READ_RECEIPT, [_report(fields, fields.recipient, None, settled)])

    def _status_fields(self) -> list[StatusFields]:
        """Give the fields of each recipient, from the parts made for them, else from a text that holds them."""
        texts = [part.text() for part in self._mail.parts if part.kind in _REPORT_PARTS]
        in_text = None if texts else _FIELDS_IN_TEXT.search(self._full_text)
        if in_text:
            texts = [self._full_text[in_text.start() :]]
        found: list[StatusFields] = []
        for text in texts:
            about, recipients = read_fields(text)
            self._envelope_id = self._envelope_id or about.get("original-envelope-id") or None
            found.extend(recipients)
        return found or read_notification(self._full_text)

    def _machine_reports(self, reports: list[StatusFields]) -> list[RecipientReport]:
        known = [one.recipient or one.original_recipient or "" for one in reports]
        told = {block.recipient: block for block in self._blocks(_unique(filter(None, known)))}
        return [
            self._machine_report(fields, told.get(name or None)) for fields, name in zip(reports, known, strict=True)
        ]

    def _machine_report(self, fields: StatusFields, block: Block | None) -> RecipientReport:
        action = fields.action
        name = fields.recipient or fields.original_recipient
        if action in _ARRIVED:
            return _report(fields, name, None, _settled(Reason.DELIVERED, "action-arrived", action))
        if action == "delayed":
            return _report(fields, name, None, _settled(Reason.DELAYED, "action-delayed", action))
        diagnostic = fields.diagnostic
        reply = self._reply_of(fields, block)
        said = classify_reply(reply, self._rules)
        if block and self._is_vague(said):
            # The fields say nothing a rule knows; the text around them often tells the story.
            told, _ = self._heard(block, reply)
            if not self._is_vague(told):
                said = told
        elif block and said.verdict is Verdict.HARD:
            said = self._milder(block, said)
        return _report(fields, name, diagnostic, _about(name, said, diagnostic or ""))

    def _milder(self, block: Block, said: Classification) -> Classification:
        """Give the full mailbox the text tells of where the fields say that nobody is there.

        Quota comes before the rest in one reply, and so it does in one report. A text that repeats what the fields say
        leaves them standing.
        """
        told, text = self._heard(block)
        return told if told.reason is Reason.MAILBOX_FULL and said.evidence not in spell_once(text) else said

    def _reply_of(self, fields: StatusFields, block: Block | None) -> SmtpReply:
        """Give the reply in the fields, with the phase from there or from the transcript around it."""
        text = fields.diagnostic or ""
        return SmtpReply(
            phase=_phase_of(text, *(block.texts if block else ())),
            code=0,
            text=text,
            status=fields.status,
            mta=fields.remote_mta,
            vouched=_vouches(fields),
        )

    def _heard(self, block: Block, around: SmtpReply | None = None) -> tuple[Classification, str]:
        """Give the verdict of the closest reading in which a rule recognises something, and that reading."""
        first: tuple[Classification, str] | None = None
        for text in block.texts:
            reply = self._prose_reply(text, block) if around is None else replace(around, text=text)
            said = classify_reply(reply, self._rules)
            if not self._is_vague(said):
                return said, text
            if first is None or first[0].verdict is Verdict.UNDETERMINED:
                first = said, text
        return first or (classify_reply(around or _reply(""), self._rules), "")

    def _prose_reply(self, text: str, block: Block) -> SmtpReply:
        """Give what a bounce in prose says as a reply.

        Without a code nothing tells a passing trouble from a lasting one, unless the bounce says which it is, or speaks
        of its own host. With one, another host spoke, and the bounce cannot vouch for what that host meant.
        """
        return SmtpReply(
            phase=_phase_of(text, *block.texts),
            code=0,
            text=text,
            vouched=not _SMTP_CODE.search(text) and (self._is_permanent or _OWN_HOUSE.search(text) is not None),
        )

    def _is_vague(self, said: Classification) -> bool:
        """Whether no rule spoke, or one that says little. An ambiguous text is not vague: a rule told it so."""
        return said.rule == NO_RULE or said.rule in self._rules.vague

    def _delayed(self, rule: str, seen: str) -> list[RecipientReport]:
        settled = _settled(Reason.DELAYED, rule, seen)
        return [_report(StatusFields(), block.recipient, None, settled) for block in self._blocks([])]

    def _blocks(self, known: list[str]) -> list[Block]:
        failed = [address for value in self._mail.headers.all("x-failed-recipients") for address in addresses_in(value)]
        ours = frozenset(address.lower() for address in self._delivered_to)
        return blocks(self._story, known=known or _unique(failed), not_these=ours)

    def _told(self) -> list[RecipientReport]:
        """Give what a bounce in prose says, of each recipient."""
        found = self._blocks([])
        return [self._told_of(block, alone=len(found) == 1) for block in found]

    def _told_of(self, block: Block, *, alone: bool) -> RecipientReport:
        said, text = self._heard(block)
        if alone and self._is_vague(said):
            # Sendmail and its kin put the reason in the subject: "Returned mail: User unknown".
            by_subject = classify_reply(self._prose_reply(self._mail.headers.first("subject"), block), self._rules)
            said = said if self._is_vague(by_subject) else by_subject
        statuses = statuses_in(text)
        fields = StatusFields({"status": statuses[-1]} if statuses else {})
        return _report(fields, block.recipient, text or None, _about(block.recipient, said, text))

    def _sign(self) -> tuple[Sign | None, str]:
        """Give the first sign that holds, and the words that made it hold."""
        headers = self._mail.headers
        subject = spell_once(headers.first("subject")[:500])
        author = spell_once(headers.first("from")[:500])
        body = spell_once(self._story[:4000])
        lines = [spell_once(f"{name}: {value[:300]}") for name, value in headers.fields]
        texts = {Where.SUBJECT: [subject], Where.FROM: [author], Where.HEADER: lines, Where.BODY: [body]}
        for sign in self._rules.signs:
            # People write about mail that did not arrive, too. Words in the text alone count for a machine's mail only.
            if sign.where is Where.BODY and sign.kind is MailKind.TEXT_BOUNCE and not self._is_from_a_machine():
                continue
            for text in texts[sign.where]:
                seen = sign.match(text)
                if seen is not None:
                    return sign, seen
        return None, ""

    def _is_from_a_machine(self) -> bool:
        headers = self._mail.headers
        author = headers.first("from").lower()
        return (
            headers.first("return-path").strip() == "<>"
            or not author.strip("<> ")
            or headers.first("auto-submitted").strip().lower().startswith("auto-")
            or bool(headers.first("x-failed-recipients"))
            or self._mail.kind == "multipart/report"
            or any(word in author for word in _MACHINES)
        )

    def _original_message_id(self) -> str | None:
        for part in self._mail.parts:
            if part.kind in _RETURNED_PARTS:
                text = part.text()
                headers, _ = split_headers(text.encode("utf-8", "replace"))
                found = headers.first("message-id").strip("<> ")
                if found:
                    return found[:500]
        found_in_text = _MESSAGE_ID.search(self._full_text)
        return found_in_text[1] if found_in_text else None


def _text(parts: tuple[Part, ...]) -> str:
    """Give the plain texts before the returned mail, or the HTML ones when there is no plain text."""
    plain: list[str] = []
    rich: list[str] = []
    for part in parts:
        if part.kind in _RETURNED_PARTS:
            break
        if part.kind in ("text/plain", "text") or (part.kind.startswith("text/") and part.kind != "text/html"):
            plain.append(part.text())
        elif part.kind == "text/html":
            rich.append(text_of_html(part.text()))
    joined = "\n".join(plain)
    return (joined if joined.strip() else "\n".join(rich))[:MOST_TEXT]


def _all_fields(parts: tuple[Part, ...], kinds: set[str]) -> StatusFields:
    merged: dict[str, str] = {}
    for part in parts:
        if part.kind in kinds:
            about, recipients = read_fields(part.text())
            for fields in (about, *recipients):
                merged.update(fields.values)
    return StatusFields(merged)


def _reply(text: str) -> SmtpReply:
    return SmtpReply(phase=_phase_of(text), code=0, text=text)


def _phase_of(*texts: str) -> Phase:
    """Give the phase the first of these texts tells."""
    return next(filter(None, map(phase_in, texts)), Phase.UNTOLD)


def _vouches(fields: StatusFields) -> bool:
    """Whether a report stands in for the phase it does not tell.

    It does when it keeps to RFC 3464 (a status of its own, and a diagnostic that says in whose terms it is written) and
    its status is permanent and contradicts no words. A relay that only repeats what it heard gives neither.
    """
    said = fields.get("diagnostic-code")
    return (fields.status or "") in _UNDEFINED and (not said or TYPED.match(said) is not None)


def _about(recipient: str | None, said: Classification, text: str) -> Classification:
    """Give the verdict, taken back when the name that the DNS does not know is not the recipient's.

    A relay or a smart host that is gone fails every recipient at once, and none of them is to blame.
    """
    if said.reason is not Reason.HOST_UNKNOWN or recipient is None:
        return said
    domain = "." + recipient.rpartition("@")[2].lower()
    names = ["." + found[1].lower().strip(".") for found in _LOOKED_UP.finditer(text)]
    if not names or any(domain.endswith(name) or name.endswith(domain) for name in names):
        return said
    return replace(said, verdict=Verdict.UNDETERMINED, reason=Reason.AMBIGUOUS, rule=HOST_OF_ANOTHER)


def _settled(reason: Reason, rule: str, seen: str) -> Classification:
    return Classification(
        verdict=VERDICT_OF[reason], reason=reason, rule=rule, evidence=seen[:MOST_EVIDENCE], status=None, code=None
    )


def _report(
    fields: StatusFields, recipient: str | None, diagnostic: str | None, classification: Classification
) -> RecipientReport:
    return RecipientReport(
        recipient=recipient,
        original_recipient=fields.original_recipient or address_in(fields.get("original-recipient")),
        action=fields.action,
        status=fields.status,
        diagnostic=diagnostic,
        remote_mta=fields.remote_mta,
        classification=classification,
    )


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
