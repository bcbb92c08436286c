"""Messages as bytes, written into a prepared frame.

The standard library's EmailMessage is right but costs a millisecond; a morning of a few hundred thousand notices would
spend more time on building than on sending. What is here is a narrow part of RFC 5322, 2045, 2047 and 2231. The tests
compare it with EmailMessage byte for byte, and where that one is wrong (it loses spaces between encoded words, and
folds addresses) read it back with the standard library's parser.

Lines end in CRLF and are at most 254 + 4 characters (`To:` with the longest address); a value never ends its header.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from datetime import UTC, datetime
from email.quoprimime import body_encode
from functools import lru_cache
from urllib.parse import quote
from uuid import UUID

from bode_adapters.contract import BoxMessage, Document, NoticeMail
from bode_adapters.email.address import Mailbox

_HEAD = (
    "From: {sender}\r\n"
    "Subject: {subject}\r\n"
    "MIME-Version: 1.0\r\n"
    "Auto-Submitted: auto-generated\r\n"  # RFC 3834: no out-of-office reply comes back
    "X-Auto-Response-Suppress: OOF\r\n"  # the same in Exchange's words; never DR or NDR, which are DSNs
)
_OWN = b"To: %b\r\nDate: %b\r\nMessage-ID: %b\r\n"
_TEXT = b'Content-Type: text/%b; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n%b\r\n%b'
_INNER = b"MIME-Version: 1.0\r\n"
"""EmailMessage writes it in every part but the first; readers ignore it there (RFC 2045 section 4)."""
# "=_" can stand in neither quoted-printable nor base64, so no part can hold its own boundary (RFC 2045, section 6.7).
_BOUNDARY = b"=_bode"
_MULTIPART = b'Content-Type: multipart/%b; boundary="' + _BOUNDARY + b'"\r\n'
_PART = b"\r\n--" + _BOUNDARY + b"\r\n"
_END = b"\r\n--" + _BOUNDARY + b"--\r\n"
_DOCUMENT = (
    b"Content-Type: %b\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n %b\r\n\r\n%b"
)

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_LINE = 66
"""Characters of one header line, its name not counted: with the longest name (`Subject: `) 75, RFC 2047 asks <= 76."""
_WORD_PAYLOAD = _LINE - len("=?utf-8?q??=")
_BASE64_LINE = _TEXT_LINE = _HEADER_LINE = 76
_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029], " ")
# RFC 2047 section 5 (3): what may stand unencoded in a phrase, which is the strictest place.
_Q_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_Q_TABLE = {byte: "_" if byte == ord(" ") else f"={byte:02X}" for byte in range(256) if byte not in _Q_SAFE}
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
# message/* and multipart/* may not be base64 (RFC 2045, section 6.4): those travel as octets.
_MEDIA_TYPE = re.compile(r"(?!message/|multipart/)[A-Za-z0-9!#$&^_.+-]{1,60}/[A-Za-z0-9!#$&^_.+-]{1,60}", re.IGNORECASE)


def message_id(item: UUID, sender: Mailbox) -> str:
    """Give the Message-ID of an item: the same for every attempt, so that a double can be recognised."""
    return f"<{item}@{sender.domain}>"


class NoticeWriter:
    """Writes notices. What is the same for many, a run's text and headers, is written once.

    Made for one call, so that no text outlives the call it was sent in.
    """

    def __init__(self) -> None:
        """Start with nothing written."""
        self._heads: dict[tuple[str, Mailbox, str], bytes] = {}
        self._bodies: dict[tuple[str, str | None], bytes] = {}

    def write(self, mail: NoticeMail, *, sender: Mailbox, to: Mailbox, at: datetime) -> bytes:
        """Give a notice: plain text, with HTML beside it where it has that (multipart/alternative)."""
        of_head = (mail.sender.name, sender, mail.subject)
        head = self._heads.get(of_head)
        if head is None:
            head = self._heads[of_head] = _head(*of_head)
        of_body = (mail.text, mail.html)
        body = self._bodies.get(of_body)
        if body is None:
            body = self._bodies[of_body] = _body_of_notice(*of_body)
        return b"".join((head, _own(mail.id, sender, to, at), body))


def _body_of_notice(text: str, html: str | None) -> bytes:
    if html is None:
        return _text(b"plain", text)
    plain, rich = _text(b"plain", text), _text(b"html", html, _INNER)
    return b"".join((_MULTIPART % b"alternative", _PART, plain, _PART, rich, _END))


def carried(message: BoxMessage, *, sender: Mailbox, to: Mailbox, at: datetime) -> bytes:
    """Build a message with its documents attached (multipart/mixed)."""
    head = _head(message.sender.name, sender, message.subject) + _own(message.id, sender, to, at)
    plain = _text(b"plain", message.text)
    if not message.documents:
        return head + plain
    pieces = [head, _MULTIPART % b"mixed", _PART, plain]
    for document in message.documents:
        pieces += (_PART, _document(document))
    pieces.append(_END)
    return b"".join(pieces)


def _head(name: str, sender: Mailbox, subject: str) -> bytes:
    """Give the headers that many mails share."""
    return _HEAD.format(sender=_from(name, str(sender)), subject=unstructured(subject)).encode("ascii")


def _own(item: UUID, sender: Mailbox, to: Mailbox, at: datetime) -> bytes:
    """Give the headers that are one mail's alone."""
    return _OWN % (str(to).encode(), _date(int(at.timestamp())), message_id(item, sender).encode("ascii"))


def _text(subtype: bytes, text: str, inner: bytes = b"") -> bytes:
    return _TEXT % (subtype, inner, _quoted_printable(text))


@lru_cache(maxsize=4)
def _date(second: int) -> bytes:
    at = datetime.fromtimestamp(second, UTC)
    clock = f"{at.year:04} {at.hour:02}:{at.minute:02}:{at.second:02} +0000"
    return f"{_DAYS[at.weekday()]}, {at.day:02} {_MONTHS[at.month - 1]} {clock}".encode("ascii")


def _from(name: str, address: str) -> str:
    name = _one_line(name)
    if not name:
        return address
    if not name.isascii() or "=?" in name:
        return f"{_encoded_words(name)}\r\n <{address}>"
    if _ATOMS.fullmatch(name) is None:
        phrase = name.replace("\\", "\\\\").replace('"', '\\"')
        if len(phrase) > _LINE:
            return f"{_encoded_words(name)}\r\n <{address}>"
        one = f'"{phrase}" <{address}>'
        return one if len("From: ") + len(one) <= _HEADER_LINE else f'"{phrase}"\r\n <{address}>'
    return _folded("From: ", f"{name} <{address}>") or f"{_encoded_words(name)}\r\n <{address}>"


def unstructured(text: str) -> str:
    """Give a subject on as many lines as it needs: as it is where that is ASCII, else RFC 2047."""
    text = _one_line(text)
    if not text.isascii() or "=?" in text:
        return _encoded_words(text)
    return _folded("Subject: ", text) or _encoded_words(text)


def _folded(name: str, value: str) -> str | None:
    """Break a header's value at spaces into lines as long as they may be; `None` where a word is too long for one."""
    lines = [name]
    for word in value.split(" "):
        if len(word) >= _HEADER_LINE:
            return None
        joint = "" if lines == [name] else " "
        if len(lines[-1]) + len(joint) + len(word) <= _HEADER_LINE:
            lines[-1] += joint + word
        else:
            lines.append(" " + word)
    return "\r\n".join(lines).removeprefix(name)


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
    lines = text.encode("utf-8", "replace").splitlines()
    return body_encode(b"\n".join([*lines, b""]).decode("latin-1") or "\n", _TEXT_LINE, "\r\n").encode("ascii")


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
