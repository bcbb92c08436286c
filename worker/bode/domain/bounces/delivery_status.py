"""The fields a machine can read: delivery status (RFC 3464, RFC 6533), disposition (RFC 8098), feedback (RFC 5965).

Amazon SES tells the same in JSON, which Amazon SNS then sends by mail.
"""

import re
import sys
from dataclasses import dataclass, field
from typing import Final

MOST_RECIPIENTS: Final = 100
MOST_LINES: Final = 20_000
MOST_VALUE: Final = 6_000

_FIELD: Final = re.compile(r"([A-Za-z][A-Za-z\-]{1,60})[ \t]{0,10}:[ \t]{0,100}(.*)")
TYPED: Final = re.compile(r"^[\w\-]{1,30}\s{0,5};\s{0,20}")
_ADDRESS: Final = re.compile(r"[^\s<>()\[\]:;,\"'@]{1,128}@[\w.\-]{1,255}|\"[^\"@]{1,64}\"@[\w.\-]{1,255}")
_COMMENT: Final = re.compile(r"\([^()]{0,200}\)")
_UNICODE: Final = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_STATUS: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_NOTIFICATION: Final = re.compile(r'"(?:notificationType|eventType)"\s{0,5}:\s{0,5}"Bounce"')
_BOUNCED: Final = re.compile(r'"bouncedRecipients"\s{0,5}:\s{0,5}\[([^\]]{1,100000})\]')
_OBJECT: Final = re.compile(r"\{([^{}]{1,6000})\}")
_MEMBER: Final = re.compile(r'"(emailAddress|action|status|diagnosticCode)"\s{0,5}:\s{0,5}"((?:[^"\\]|\\.){0,4000})"')
_MEMBER_FIELD: Final = {
    "emailAddress": "final-recipient",
    "action": "action",
    "status": "status",
    "diagnosticCode": "diagnostic-code",
}
_RECIPIENT_FIELDS: Final = {"final-recipient", "original-recipient", "action", "status", "diagnostic-code"}


@dataclass(slots=True)
class StatusFields:
    """The fields of one recipient, or those about the message as a whole; names in lower case."""

    values: dict[str, str] = field(default_factory=dict[str, str])

    def get(self, name: str) -> str:
        """Give a field's value, or nothing."""
        return self.values.get(name, "").strip()

    @property
    def recipient(self) -> str | None:
        """The address delivery failed for."""
        return address_in(self.get("final-recipient")) or address_in(self.get("x-actual-recipient"))

    @property
    def original_recipient(self) -> str | None:
        """The address the sender gave, before aliases and forwarding."""
        return address_in(self.get("original-recipient"))

    @property
    def action(self) -> str | None:
        """RFC 3464 section 2.3.3, the first word in lower case."""
        words = _COMMENT.sub(" ", self.get("action")).lower().split()
        return words[0].strip(";,.") if words else None

    @property
    def status(self) -> str | None:
        """RFC 3464 section 2.3.4, without the comment some mailers add."""
        found = _STATUS.search(self.get("status"))
        return found[0] if found else None

    @property
    def diagnostic(self) -> str | None:
        """What the other host said, without the word for the protocol in front."""
        return TYPED.sub("", self.get("diagnostic-code"), count=1).strip() or None

    @property
    def remote_mta(self) -> str | None:
        """The host that said it."""
        return TYPED.sub("", self.get("remote-mta"), count=1).split("(")[0].strip() or None


def read_fields(text: str) -> tuple[StatusFields, list[StatusFields]]:
    """Give the fields about the message and those of each recipient.

    Groups are divided by blank lines (RFC 3464 section 2.1). Mailers that leave them out, or put some within a group,
    are followed by the fields themselves: a second Final-Recipient starts a new recipient.
    """
    about = StatusFields()
    recipients: list[StatusFields] = []
    group = about
    name = ""
    fresh = True
    for whole_line in text.replace("\r\n", "\n").split("\n", MOST_LINES)[:MOST_LINES]:
        line = whole_line[:MOST_VALUE]
        if not line.strip():
            fresh, name = True, ""
            continue
        if line[0] in " \t" and name:
            if len(group.values[name]) < MOST_VALUE:
                group.values[name] += " " + line.strip()
            continue
        found = _FIELD.match(line)
        if not found:
            if name and len(group.values[name]) < MOST_VALUE:
                # A long value broken over lines without the blank the RFC asks for.
                group.values[name] += " " + line.strip()
            continue
        name, value = found[1].lower(), found[2].strip()
        if name in _RECIPIENT_FIELDS and _starts_recipient(name, group, about, fresh=fresh):
            if len(recipients) >= MOST_RECIPIENTS:
                break
            group = StatusFields()
            recipients.append(group)
        fresh = False
        if name in group.values:
            name = f"{name}+"
        group.values[name] = value[:MOST_VALUE]
    return about, [one for one in recipients if one.values.keys() & _RECIPIENT_FIELDS]


def read_notification(text: str) -> list[StatusFields]:
    """Give the fields of each recipient in a bounce notification of Amazon SES, whole or within one of Amazon SNS."""
    plain = text.replace('\\"', '"')
    bounced = _BOUNCED.search(plain) if _NOTIFICATION.search(plain) else None
    found: list[StatusFields] = []
    for group in _OBJECT.finditer(bounced[1]) if bounced else ():
        values = {_MEMBER_FIELD[member[1]]: member[2] for member in _MEMBER.finditer(group[1])}
        if "final-recipient" in values and len(found) < MOST_RECIPIENTS:
            found.append(StatusFields(values))
    return found


def _starts_recipient(name: str, group: StatusFields, about: StatusFields, *, fresh: bool) -> bool:
    if group is about:
        return True
    if name in ("final-recipient", "original-recipient"):
        return name in group.values or (fresh and "action" in group.values)
    return fresh and name in group.values


def address_in(value: str) -> str | None:
    """Give the address in a field such as "rfc822; <a@b>", or None when it holds none (an X.400 name, a user id)."""
    found = _ADDRESS.search(_UNICODE.sub(_character, value))
    return found[0].strip(".") if found else None


def addresses_in(value: str) -> list[str]:
    """Give every address in a field or a text, in order."""
    return [found[0].strip(".") for found in _ADDRESS.finditer(value)]


def _character(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16)) if int(found[1], 16) <= sys.maxunicode else ""
    return character if character.isprintable() and character else found[0]
