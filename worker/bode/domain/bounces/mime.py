"""A mail taken apart, whatever state it is in, in bounded time and memory.

The parser of the standard library is made for mail that keeps the rules and nests without bound; bounce mails are old,
broken and sometimes hostile. This one never raises: where a mail breaks the rules it gives what is there. It looks at
the first and the last megabytes, at so many parts and so deep, and says nothing about the rest.
"""

import base64
import binascii
import html
import quopri
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MOST_BYTES_AT_THE_HEAD: Final = 2_000_000
MOST_BYTES_AT_THE_TAIL: Final = 500_000
"""A bounce tells its story before the mail it returns, or, in a few systems, after it; never in the middle."""

MOST_HEADER_BYTES: Final = 200_000
MOST_FIELDS: Final = 500
MOST_LINES_OF_A_FIELD: Final = 200
MOST_FIELD_CHARACTERS: Final = 8_000
MOST_PARTS: Final = 300
MOST_DEPTH: Final = 12
MOST_TEXT_BYTES: Final = 120_000

_FIELD: Final = re.compile(rb"([!-9;-~]{1,100})[ \t]{0,20}:(.*)", re.DOTALL)
_BOUNDARY: Final = re.compile(r"boundary\s{0,20}=\s{0,20}(?:\"([^\"]{1,200})\"|([^\s;\"]{1,200}))", re.IGNORECASE)
_CHARSET: Final = re.compile(r"charset\s{0,20}=\s{0,20}\"?'?([\w.:\-]{1,40})", re.IGNORECASE)
_PARAMETER: Final = re.compile(r"([\w\-]{1,40})\s{0,20}=\s{0,20}(?:\"([^\"]{0,200})\"|([^\s;\"]{1,200}))")
_TYPE: Final = re.compile(r"\s*([\w.+\-]{1,60}/[\w.+\-]{1,60})")
_ENCODED_WORD: Final = re.compile(
    r"=\?([\w.:\-]{1,40})(?:\*[\w\-]{0,20})?\?([bBqQ])\?([^?\s]{0,2000})\?=(?:\s{1,10}(?==\?))?"
)
_SNIFFED: Final = re.compile(rb"(?:\A|\n)--([!-~][ -~]{0,198}[!-~])[ \t]{0,20}\n(?=[\w\-]{1,60}:)")
_TAG: Final = re.compile(r"<[^<>]{0,4000}>")
_BREAKING_TAG: Final = re.compile(r"<(?:br|/p|/div|/tr|/h\d|/li|/table)\b[^<>]{0,200}>", re.IGNORECASE)
_UNREAD: Final = re.compile(r"<(style|script)\b")
_ASCII_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
# Python also knows codecs that are slow or do more than decode (punycode, idna, unicode_escape): only those of mail are
# asked for.
_KNOWN_CHARSET: Final = re.compile(
    r"utf-?8|utf-16(?:le|be)?|(?:us-)?ascii|(?:iso[-_]?)?8859[-_]\d{1,2}|latin[-_]?\d|windows-\d{3,4}|cp\d{3,4}|koi8-[ru]|"
    r"gb(?:2312|k|18030)|big5|euc-(?:jp|kr)|shift[-_]jis|sjis|iso-2022-(?:jp|kr)[-_\w]{0,4}|ks_c_5601-1987|macintosh|"
    r"mac-?roman|tis-620",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Headers:
    """Header fields in their order, names in lower case, values unfolded and decoded."""

    fields: tuple[tuple[str, str], ...]

    def first(self, name: str) -> str:
        """Give the first field of that name, or nothing."""
        return next((value for one, value in self.fields if one == name), "")

    def all(self, *names: str) -> list[str]:
        """Give every field with one of these names."""
        return [value for one, value in self.fields if one in names]


@dataclass(frozen=True, slots=True)
class Part:
    """A part without parts of its own. A returned mail is one such part, not opened."""

    kind: str
    headers: Headers
    raw: bytes

    def text(self) -> str:
        """Give the body as text, decoded as its own headers say, or as well as can be guessed."""
        return _decode_body(self.raw[:MOST_TEXT_BYTES], self.headers)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail taken apart: its headers, what it says it is, and its parts in order."""

    headers: Headers
    kind: str
    report_type: str
    parts: tuple[Part, ...]


def take_apart(raw: bytes) -> Mail:
    """Give the mail in parts. Never raises; parts beyond the bounds of this module are left out."""
    if len(raw) > MOST_BYTES_AT_THE_HEAD + MOST_BYTES_AT_THE_TAIL:
        raw = raw[:MOST_BYTES_AT_THE_HEAD] + b"\n" + raw[-MOST_BYTES_AT_THE_TAIL:]
    raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").lstrip(b"\n \t\xef\xbb\xbf")
    headers, body = split_headers(raw)
    content_type = headers.first("content-type")
    return Mail(
        headers=headers,
        kind=_media_type(content_type),
        report_type=_parameters(content_type).get("report-type", "").lower(),
        parts=tuple(_parts(headers, body)),
    )


def _parts(headers: Headers, body: bytes) -> Iterator[Part]:
    """Give the parts in order, without recursion: the depth of a mail is chosen by whoever sends it."""
    waiting = [(headers, body, 0, "text/plain")]
    given = 0
    while waiting and given < MOST_PARTS:
        headers, body, depth, default = waiting.pop()
        content_type = headers.first("content-type")
        kind = _media_type(content_type) or default
        pieces = _cut(content_type, body) if kind.startswith("multipart/") and depth < MOST_DEPTH else None
        if pieces is None:
            given += 1
            # A multipart in which no boundary is found is read as the text it most likely is.
            yield Part(kind="text/plain" if kind.startswith("multipart/") else kind, headers=headers, raw=body)
            continue
        inner_default = "message/rfc822" if kind == "multipart/digest" else "text/plain"
        waiting.extend((*split_headers(piece, is_part=True), depth + 1, inner_default) for piece in reversed(pieces))


def _cut(content_type: str, body: bytes) -> list[bytes] | None:
    """Give the pieces between the boundaries, or None when no boundary is to be found."""
    found = _BOUNDARY.search(content_type)
    named = (found[1] or found[2] or "").strip().encode("utf-8", "replace") if found else b""
    pieces = _between(named, body) if named else []
    if not pieces:
        # The boundary is missing or mistyped, as some gateways do: the first line that looks like one is taken.
        sniffed = _SNIFFED.search(body[:MOST_HEADER_BYTES])
        pieces = _between(sniffed[1], body) if sniffed else []
    return pieces or None


def _between(boundary: bytes, body: bytes) -> list[bytes]:
    pieces: list[bytes] = []
    body = b"\n" + body
    delimiter = b"\n--" + boundary
    start = -1
    at = body.find(delimiter)
    while at >= 0 and len(pieces) < MOST_PARTS:
        line_end = body.find(b"\n", at + len(delimiter))
        rest = body[at + len(delimiter) : line_end if line_end >= 0 else len(body)]
        closes = rest.startswith(b"--") and not rest.strip(b"- \t")
        if rest.strip() and not closes:
            # A longer boundary that starts with this one: that of an inner multipart. It belongs to the piece.
            at = body.find(delimiter, at + 1)
            continue
        if start >= 0:
            pieces.append(body[start:at])
        if closes:
            return pieces
        start = line_end + 1 if line_end >= 0 else len(body)
        at = body.find(delimiter, line_end) if line_end >= 0 else -1
    if start >= 0 and len(pieces) < MOST_PARTS:
        pieces.append(body[start:])
    return pieces


def split_headers(raw: bytes, *, is_part: bool = False) -> tuple[Headers, bytes]:
    """Give the header fields and the body. Lines that are no fields are skipped, as "From " of an mbox is."""
    if is_part and raw.startswith(b"\n"):
        return Headers(()), raw[1:]
    end = raw.find(b"\n\n", 0, MOST_HEADER_BYTES)
    head = raw[:MOST_HEADER_BYTES] if end < 0 else raw[:end]
    body = b"" if end < 0 else raw[end + 2 :]
    fields: list[tuple[str, str]] = []
    current: list[bytes] = []
    position = 0
    for line in head.split(b"\n"):
        if line[:1] in (b" ", b"\t") and current:
            if len(current) < MOST_LINES_OF_A_FIELD:
                current.append(line)
        elif _FIELD.match(line):
            _keep(current, fields)
            current = [line]
        elif fields and is_part:
            # No blank line stands between the fields and the text: the text starts here.
            body = raw[position:]
            break
        elif not fields and not current and is_part:
            return Headers(()), raw
        position += len(line) + 1
        if len(fields) >= MOST_FIELDS:
            break
    _keep(current, fields)
    return Headers(tuple(fields)), body


def _keep(lines: list[bytes], fields: list[tuple[str, str]]) -> None:
    found = _FIELD.match(b" ".join(line.strip() for line in lines)[:MOST_FIELD_CHARACTERS]) if lines else None
    if found:
        fields.append((found[1].decode("ascii").lower(), decode_words(to_text(found[2].strip()))))


def to_text(raw: bytes, charset: str = "utf-8") -> str:
    """Give the bytes as text in that character set, or in the likeliest one when they do not fit."""
    for candidate in (charset, "utf-8") if _KNOWN_CHARSET.fullmatch(charset) else ("utf-8",):
        try:
            return raw.decode(candidate)
        except (UnicodeError, LookupError):
            continue
    # Windows-1252 gives every byte a character but five.
    return raw.decode("cp1252", "replace")


def decode_words(value: str) -> str:
    """Give a header value with its encoded words (RFC 2047) decoded; those that cannot be stay as they are."""
    return _ENCODED_WORD.sub(_decode_word, value) if "=?" in value else value


def _decode_word(found: re.Match[str]) -> str:
    charset, encoding, content = found[1], found[2].lower(), found[3]
    try:
        if encoding == "b":
            raw = binascii.a2b_base64(content + "=" * (-len(content) % 4))
        else:
            raw = quopri.decodestring(content.replace("_", " ").encode("utf-8", "replace"), header=True)
    except (binascii.Error, ValueError):
        return found[0]
    return to_text(raw, charset)


def _media_type(content_type: str) -> str:
    found = _TYPE.match(content_type)
    return found[1].lower() if found else ""


def _parameters(content_type: str) -> dict[str, str]:
    return {found[1].lower(): found[2] or found[3] or "" for found in _PARAMETER.finditer(content_type)}


def _decode_body(raw: bytes, headers: Headers) -> str:
    encoding = headers.first("content-transfer-encoding").strip().lower()
    if encoding == "base64":
        raw = _decode_base64(raw)
    elif encoding == "quoted-printable":
        raw = quopri.decodestring(raw)
    found = _CHARSET.search(headers.first("content-type"))
    return to_text(raw, found[1] if found else "utf-8")


def _decode_base64(raw: bytes) -> bytes:
    """Give what can be decoded: a cut at the bound, or a line that is not base64, costs the end, not the whole."""
    compact = b"".join(raw.split())
    try:
        return base64.b64decode(compact[: len(compact) // 4 * 4])
    except (binascii.Error, ValueError):
        return raw


def text_of_html(source: str) -> str:
    """Give the words of an HTML text, with line breaks where a reader would see them."""
    words: list[str] = []
    at = 0
    # The lower-case copy keeps every position because only ASCII letters are made small.
    lowered = source.translate(_ASCII_LOWER)
    while at < len(source):
        opening = _UNREAD.search(lowered, at)
        words.append(source[at : opening.start() if opening else len(source)])
        end = lowered.find(f"</{opening[1]}", opening.end()) if opening else -1
        at = len(source) if end < 0 else end
    text = _BREAKING_TAG.sub("\n", " ".join(words))
    return html.unescape(_TAG.sub(" ", text))
