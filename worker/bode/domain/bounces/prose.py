"""A bounce in prose: which lines tell the story, of whom they tell it, and how far the dialogue had come."""

import re
from dataclasses import dataclass
from typing import Final

from bode.domain.bounces.delivery_status import addresses_in
from bode.domain.bounces.verdicts import Phase

MOST_LINES: Final = 1_500
MOST_LINE: Final = 1_000
MOST_BLOCKS: Final = 100
MOST_BLOCK: Final = 5_000

# Where the story ends and the returned mail begins, in the words of the mailers; matched at the start of a line.
_END: Final = re.compile(
    r"[\s>*=#|]{0,8}(?:-{2,}[\s-]{0,10})?(?:"
    r"below this line is a copy|(?:this is a )?copy of (?:the|your) (?:original )?(?:message|mail)|"
    r"(?:the )?(?:original|returned|unsent|undelivered|rejected) (?:message|e?-?mail)(?: headers?| text)?(?: is| are)?"
    r"(?: follows?| included| attached| below|\s{0,3}[-:=]|\s{0,3}$)|"
    r"message headers? follow|headers? (?:of|from) (?:the|your) (?:original|message)|message text follows|"
    r"start of (?:the )?(?:message|returned|original)|your (?:original )?message (?:is )?(?:follows|below)|"
    r"content of the (?:original|failed) message|first \d+ (?:lines|bytes)|"
    r"oorspronkelijke? (?:bericht|berichtkop)|hieronder volgt|kopie van het bericht|"
    r"urspr(?:u|ü|ue)ngliche (?:nachricht|nachrichtenkopf)|originalnachricht|"
    r"en-t[eê]tes? (?:du|de) message|message d'origine|copie du message)"
    # Header fields of the returned mail, or status fields in the text; indented ones are part of the story.
    r"|(?:> ?)?(?:return-path|received|message-id|x-mailer|mime-version|dkim-signature|reporting-mta|final-recipient|"
    r"original-recipient):\s?\S",
    re.IGNORECASE,
)
_SHORTEST_STORY: Final = 40
"""Characters before an ending is believed: some mailers open with the words that end the story of others."""

_OPENS_WITH_ADDRESS: Final = re.compile(
    r"[\s>*\-]{0,12}(?:[45]\d\d[ \-](?:[45]\.\d\.\d{1,3} )?)?"
    r"(?:(?:failed |final[- ])?(?:to|recipient|addressee|user|address|rcpt to|ontvanger|empf\w{1,12}|destinataire|an)"
    r"\s{0,3}:\s{0,4})?"
    r"[<\"'(]{0,2}((?:[^\s<>()\[\]:;,\"'@]{1,128}|\"[^\"@]{1,64}\")@[\w.\-]{1,255})[>\"')]{0,2}(.{0,1000})$",
    re.IGNORECASE,
)
_OWN: Final = re.compile(
    r"^(?:mailer-?daemon|postmaster|mail-?daemon|no-?reply|noreply|abuse|helpdesk)@", re.IGNORECASE
)
_BLANK: Final = re.compile(r"\s+")

_COMMANDS: Final = (
    (
        Phase.AFTER_DOT,
        r"end of (?:data|message)|(?:message|data) (?:content|block)|sending (?:message|data|mail)|\.(?=\s|$)",
    ),
    (Phase.DATA, r"data\b|bdat\b"),
    (Phase.RCPT_TO, r"rcpt(?![a-z])"),
    (Phase.MAIL_FROM, r"mail(?:_from)?\b"),
    (Phase.EHLO, r"ehlo\b|helo\b|starttls\b"),
    (Phase.AUTH, r"auth\b"),
    (Phase.CONNECT, r"initial connection|connect|greeting|banner"),
)
# Postfix: (in reply to RCPT TO command). Exim: after RCPT TO:<a@b>. Sendmail's transcript: >>> RCPT To:<a@b>.
# DragonFly: did not like our RCPT TO. Yahoo: [RCPT_TO]. m-FILTER: SMTP command, and DATA on the next line.
_AFTER: Final = re.compile(
    r"(?:in reply to (?:the )?|in response to (?:the )?|remote (?:mail )?(?:server|mailer|host) after (?:pipelined )?|"
    r"response to (?:the )?|error (?:\w+ )?(?:after|following) (?:sending |the )?|smtp;? >>> ?|>>>+ ?|--> ?|"
    r"did not like our |most progress was |\[(?=(?:rcpt_to|mail_from|data)\])|smtp command:?\s{1,4})("
    + "|".join(f"(?P<{phase.value}>{words})" for phase, words in _COMMANDS)
    + ")",
    re.IGNORECASE,
)
# qmail-remote.c tells the phase in words of its own; Postfix has some for a greeting, or an EHLO, that is a refusal.
_STORY_OF_PHASE: Final = re.compile(
    r"(?P<rcpt_to>does not like recipient|\brcpt to:? ?<[^<>\s]{1,200}>\W{0,20}5[0-5]\d\b)|"
    r"(?P<mail_from>does not like sender)|(?P<data>failed on data command)|"
    r"(?P<after_dot>failed after i sent the message)|(?P<ehlo>but my name was rejected)|"
    r"(?P<connect>but greeting failed|refused to talk to me)",
    re.IGNORECASE,
)


_REFUSED: Final = re.compile(r"(?:<<<|<--) {0,3}[45][0-5]\d")
_SPEAKING: Final = re.compile(
    r"(?<![\d.\-/:])[45][0-5]\d[ \-]|(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?![\d.])|\bsaid:|reason:|\berror:", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Block:
    """What a text says of one recipient, or of nobody it names.

    `texts` are readings of it, the closest first: the lines under the recipient's name, the lines in which a host
    speaks, and all of it. The closest one in which a rule recognises something counts; the polite words around a
    bounce mention many causes.
    """

    recipient: str | None
    texts: tuple[str, ...]


def story(text: str) -> str:
    """Give the text up to where the returned mail begins."""
    kept: list[str] = []
    length = 0
    for line in text.split("\n", MOST_LINES)[:MOST_LINES]:
        short = line[:MOST_LINE].rstrip()
        if length > _SHORTEST_STORY and _END.match(short):
            break
        kept.append(short)
        length += len(short.strip())
    return "\n".join(kept)


def blocks(text: str, *, known: list[str], not_these: frozenset[str]) -> list[Block]:
    """Give what the story says of each recipient.

    `known` are the recipients a header or a status field has named; without them, the lines that open with an address
    name them. `not_these` are addresses of ours, in lower case, that a text may mention without failing them.
    """
    lines = text.split("\n")
    starts: list[tuple[int, str]] = []
    wanted = {one.lower() for one in known}
    for number, line in enumerate(lines):
        found = _OPENS_WITH_ADDRESS.match(line)
        if found and len(starts) < MOST_BLOCKS:
            address = found[1].strip(".")
            lowered = address.lower()
            if lowered in wanted if wanted else lowered not in not_these and not _OWN.match(address):
                starts.append((number, address))
    told: dict[str, list[str]] = {}
    ends = [number for number, _ in starts[1:]] + [len(lines)]
    for (number, address), following in zip(starts, ends, strict=False):
        told.setdefault(address.lower(), [address]).extend(lines[number:following])
    names = known or [entry[0] for entry in told.values()]
    if not names:
        names = _named_within(text, not_these)
    return [
        Block(recipient=name, texts=_readings(name, told.get(name.lower(), [])[1:], lines, alone=len(names) == 1))
        for name in names[:MOST_BLOCKS]
    ] or [Block(recipient=None, texts=_readings("", [], lines, alone=True))]


def _readings(name: str, own: list[str], lines: list[str], *, alone: bool) -> tuple[str, ...]:
    lowered = name.lower()
    readings = [_joined(own)] if len(_joined(own)) > len(name) + 6 else []
    if alone:
        readings += [_joined(_speaking(lines)), _joined(lines)]
    elif not readings:
        readings = [_joined([line for line in lines if lowered in line.lower()])]
    return tuple(dict.fromkeys(filter(None, readings)))


def _speaking(lines: list[str]) -> list[str]:
    """Give the lines that hold a code, and the two after each, over which a long reply runs on."""
    kept: list[str] = []
    until = -1
    for number, line in enumerate(lines):
        if _SPEAKING.search(line):
            until = number + 2
        if number <= until and line.strip():
            kept.append(line)
        elif not line.strip():
            until = -1
    return kept


def _named_within(text: str, not_these: frozenset[str]) -> list[str]:
    """Give the first address a running text mentions: "Your message to a@b could not be delivered"."""
    for address in addresses_in(text[:MOST_BLOCK]):
        if address.lower() not in not_these and not _OWN.match(address):
            return [address]
    return []


def _joined(lines: list[str]) -> str:
    return _BLANK.sub(" ", " ".join(lines)).strip()[:MOST_BLOCK]


def phase_in(text: str) -> Phase | None:
    """Give how far the dialogue had come, as the mailer tells it; None when it does not."""
    found = _last_command(text) or _AFTER.search(text) or _STORY_OF_PHASE.search(text)
    return next(Phase(name) for name, words in found.groupdict().items() if words) if found else None


def _last_command(text: str) -> re.Match[str] | None:
    """Give the last command before the refusal in a transcript, which may hold the whole dialogue."""
    refused = _REFUSED.search(text)
    found = None
    for one in _AFTER.finditer(text, 0, refused.start()) if refused else ():
        found = one
    return found
