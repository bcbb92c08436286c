"""Messages as bytes, built from a prepared template.

The standard library's EmailMessage is right but costs half a millisecond; a morning of a few hundred thousand notices
would spend more time on building than on sending. What is here is a narrow part of RFC 5322, 2045, 2047 and 2231, and
the tests read every kind of message back with the standard library.

Lines end in CRLF and are at most 254 + 5 characters (`To:` with the longest address); a value never ends its header.
"""

from __future__ import annotations

import re
from binascii import b2a_base64, b2a_qp
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote
from uuid import UUID

from bode_adapters.contract import BoxMessage, Document, NoticeMail
from bode_adapters.email.address import Mailbox

_HEAD = (
    b"From: %b\r\n"
    b"To: %b\r\n"
    b"Subject: %b\r\n"
    b"Date: %b\r\n"
    b"Message-ID: %b\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Auto-Submitted: auto-generated\r\n"  # RFC 3834: no out-of-office reply comes back
    b"X-Auto-Response-Suppress: OOF\r\n"  # the same in Exchange's words; never DR or NDR, which are DSNs
)
_TEXT = b"Content-Type: text/%b; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n%b"
# "=_" can stand in neither quoted-printable nor base64, so no part can hold its own boundary (RFC 2045, section 6.7).
_MULTIPART = b'Content-Type: multipart/%b; boundary="=_%b"\r\n\r\n'
_PART = b"--=_%b\r\n"
_END = b"--=_%b--\r\n"
_DOCUMENT = (
    b"Content-Type: %b\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n %b\r\n\r\n%b\r\n"
)

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_LINE = 66
"""Characters of one header line, its name not counted: with the longest name (`Subject: `) 75, RFC 2047 asks <= 76."""
_WORD_PAYLOAD = _LINE - len("=?utf-8?q??=")
_BASE64_LINE = 76
_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029], " ")
# RFC 2047 section 5 (3): what may stand unencoded in a phrase, which is the strictest place.
_Q_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_Q_TABLE = {byte: "_" if byte == ord(" ") else f"={byte:02X}" for byte in range(256) if byte not in _Q_SAFE}
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
# message/* and multipart/* may not be base64 (RFC 2045, section 6.4): those travel as octets.
_MEDIA_TYPE = re.compile(r"(?!message/|multipart/)[A-Za-z0-9!#$&^_.+-]{1,60}/[A-Za-z0-9!#$&^_.+-]{1,60}", re.IGNORECASE)
_LINE_ENDS = re.compile(r"\r\n|\r|\n")


def message_id(item: UUID, sender: Mailbox) -> str:
    """Give the Message-ID of an item: the same for every attempt, so that a double can be recognised."""
    return f"<{item}@{sender.domain}>"


def notice(mail: NoticeMail, *, sender: Mailbox, to: Mailbox, at: datetime) -> bytes:
    """Build a notice: plain text, with HTML beside it where the notice has it (multipart/alternative)."""
    head = _head(mail, _repeated(mail.subject), sender=sender, to=to, at=at)
    plain = _TEXT % (b"plain", _quoted_printable(mail.text))
    if mail.html is None:
        return head + plain
    boundary = mail.id.hex.encode("ascii")
    rich = _TEXT % (b"html", _quoted_printable(mail.html))
    part = _PART % boundary
    return b"".join((head, _MULTIPART % (b"alternative", boundary), part, plain, part, rich, _END % boundary))


def carried(message: BoxMessage, *, sender: Mailbox, to: Mailbox, at: datetime) -> bytes:
    """Build a message with its documents attached (multipart/mixed)."""
    head = _head(message, unstructured(message.subject), sender=sender, to=to, at=at)
    plain = _TEXT % (b"plain", _quoted_printable(message.text))
    if not message.documents:
        return head + plain
    boundary = message.id.hex.encode("ascii")
    part = _PART % boundary
    pieces = [head, _MULTIPART % (b"mixed", boundary), part, plain]
    for document in message.documents:
        pieces += (part, _document(document))
    pieces.append(_END % boundary)
    return b"".join(pieces)


def _head(item: NoticeMail | BoxMessage, subject: bytes, *, sender: Mailbox, to: Mailbox, at: datetime) -> bytes:
    return _HEAD % (
        _from(item.sender.name, str(sender)),
        str(to).encode(),
        subject,
        _date(at),
        message_id(item.id, sender).encode("ascii"),
    )


def _date(at: datetime) -> bytes:
    at = at.astimezone(UTC)
    clock = f"{at.year:04} {at.hour:02}:{at.minute:02}:{at.second:02} +0000"
    return f"{_DAYS[at.weekday()]}, {at.day:02} {_MONTHS[at.month - 1]} {clock}".encode("ascii")


@lru_cache(maxsize=256)
def _from(name: str, address: str) -> bytes:
    name = _one_line(name)
    if not name:
        return address.encode("ascii")
    if name.isascii() and len(name) <= _LINE and "=?" not in name:
        if _ATOMS.fullmatch(name) is None:
            name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        name = _encoded_words(name)
    return f"{name}\r\n <{address}>".encode("ascii")


def unstructured(text: str) -> bytes:
    """Give a header's value on as many lines as it needs: as it is where that is ASCII, else RFC 2047."""
    text = _one_line(text)
    if not text.isascii() or "=?" in text:
        return _encoded_words(text).encode("ascii")
    if len(text) <= _LINE:
        return text.encode("ascii")
    lines: list[str] = []
    for word in text.split(" "):
        if len(word) > _LINE:
            return _encoded_words(text).encode("ascii")
        if lines and len(lines[-1]) + 1 + len(word) <= _LINE:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return "\r\n ".join(lines).encode("ascii")


@lru_cache(maxsize=256)
def _repeated(subject: str) -> bytes:
    """Do the same for a notice's subject, which is Bode's own and one of a few. A message's subject is not kept."""
    return unstructured(subject)


def _one_line(text: str) -> str:
    """Leave no control character and no line end of any script: this is what makes a second header impossible."""
    return " ".join(text.translate(_CONTROLS).split())


def _q(text: str) -> str:
    return text.encode("utf-8", "replace").decode("latin-1").translate(_Q_TABLE)


def _encoded_words(text: str) -> str:
    payload = _q(text)
    if len(payload) <= _WORD_PAYLOAD:
        return f"=?utf-8?q?{payload}?="
    words = [""]
    for char in text:  # a character is never split over two words (RFC 2047, section 5)
        encoded = _q(char)
        if len(words[-1]) + len(encoded) > _WORD_PAYLOAD:
            words.append("")
        words[-1] += encoded
    return "\r\n ".join(f"=?utf-8?q?{word}?=" for word in words)


def _quoted_printable(text: str) -> bytes:
    if "\r" in text:
        text = _LINE_ENDS.sub("\n", text)
    if not text.endswith("\n"):
        text += "\n"  # always one at least: b2a_qp makes its soft line breaks like the first hard one it sees
    return b2a_qp(text.replace("\n", "\r\n").encode("utf-8", "replace"))


def _document(document: Document) -> bytes:
    media_type = document.media_type if _MEDIA_TYPE.fullmatch(document.media_type) else "application/octet-stream"
    text = b2a_base64(document.content, newline=False)
    lines = b"\r\n".join(text[start : start + _BASE64_LINE] for start in range(0, len(text), _BASE64_LINE))
    return _DOCUMENT % (media_type.encode("ascii"), _file_name(document.name), lines)


def _file_name(name: str) -> bytes:
    """Give the `filename` parameter (RFC 2183), in pieces (RFC 2231) where long or not ASCII. No path survives."""
    name = _one_line(name).replace("/", "_").replace("\\", "_") or "document"
    if name.isascii() and len(name) <= _LINE - len('filename=""') and '"' not in name:
        return f'filename="{name}"'.encode("ascii")
    pieces = [""]
    for char in name:
        encoded = quote(char, safe="", errors="replace")
        if len(pieces[-1]) + len(encoded) > _WORD_PAYLOAD:
            pieces.append("")
        pieces[-1] += encoded
    pieces[0] = "utf-8''" + pieces[0]
    if len(pieces) == 1:
        return f"filename*={pieces[0]}".encode("ascii")
    return ";\r\n ".join(f"filename*{at}*={piece}" for at, piece in enumerate(pieces)).encode("ascii")
