"""Bytes from a mail server, read as SMTP replies (RFC 5321 section 4.2), within bounds.

What is not a reply ends the line: with several commands under way at once (RFC 2920) a reply that is misread would be
taken for the answer to another mail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

LONGEST_LINE = 2048
"""RFC 5321 section 4.5.3.1.5 allows 512; some servers say more."""
LONGEST_REPLY = 32 * 1024
"""All lines of one reply together. The longest real ones are answers to EHLO: a few hundred bytes."""

# The code ends in a space, a hyphen where more lines follow, or the line's end (RFC 5321 section 4.2.1 asks to take a
# bare code). A line end of LF alone is taken too: it cannot be anything else here.
_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\r\n]*))?\r?", re.DOTALL)
_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], " ")


class Reply(NamedTuple):
    """A reply: its code, and its text with a line end between its lines and no other control character."""

    code: int
    text: str


class NotSmtpError(Exception):
    """What came is no SMTP reply. The message holds nothing of it: it can be anything."""


class ReplyReader:
    """Takes bytes as they come and gives the replies that are complete."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self._rest = b""
        self._code = b""
        self._texts: list[bytes] = []
        self._size = 0

    @property
    def in_between(self) -> bool:
        """Whether part of a reply was read, and not yet all of it."""
        return bool(self._rest or self._texts)

    def feed(self, data: bytes) -> Iterator[Reply]:
        """Give the replies that these bytes complete, one by one.

        Raises `NotSmtpError` where it meets something else: what came before that still counts, and nothing after it.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            reply = self._line(line)
            if reply is not None:
                yield reply
        if len(self._rest) > LONGEST_LINE:
            raise NotSmtpError("a line without an end")

    def _line(self, line: bytes) -> Reply | None:
        found = _LINE.fullmatch(line)
        if found is None or len(line) > LONGEST_LINE:
            raise NotSmtpError("not a line of a reply")
        code, mark, text = found.groups()
        if self._texts and code != self._code:
            raise NotSmtpError("another code in the middle of a reply")
        self._size += len(line)
        if self._size > LONGEST_REPLY:
            raise NotSmtpError("a reply without an end")
        self._code = code
        self._texts.append(text or b"")
        if mark == b"-":
            return None
        texts, self._texts, self._size = self._texts, [], 0
        return Reply(int(code), "\n".join(_clean(text) for text in texts))


def _clean(text: bytes) -> str:
    """Make text that can be stored: what is no UTF-8 is shown as replaced, a control character is a space."""
    words = text.decode("utf-8", "replace")
    return words if words.isprintable() else words.translate(_CONTROLS)
