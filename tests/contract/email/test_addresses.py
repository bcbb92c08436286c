"""Addresses: which can travel, and what is refused before a relay is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bode_adapters.contract import Document, RefusalKind, Refused, Sender
from bode_adapters.email.address import mailbox, xtext
from bode_adapters.email.mock import MockMailServer

from .parts import carry, message


@pytest.mark.parametrize(
    ("address", "travels_as"),
    [
        ("jan@example.nl", "jan@example.nl"),
        ("Jan.O'Neil+x=y@sub.example.nl", "Jan.O'Neil+x=y@sub.example.nl"),
        ('"jan jansen"@example.nl', '"jan jansen"@example.nl'),
        ("jan..x.@example.nl", "jan..x.@example.nl"),
        ("jan@[192.0.2.1]", "jan@[192.0.2.1]"),
        ("jan@BÜCHER.example", "jan@xn--bcher-kva.example"),
        ("jan@-x.nl", None),
        ("jan@x..nl", None),
        ("jan@ü..nl", None),
        ('"jan\r\n"@example.nl', None),
        ("jan\u00a0j@example.nl", None),
        ("jan\u2028j@example.nl", None),
        (f"jan@{'a.' * 126}nl", None),
    ],
)
def test_an_address_travels_or_does_not(address: str, travels_as: str | None) -> None:
    found = mailbox(address)
    assert (found and str(found)) == travels_as


def test_xtext_is_that_of_rfc_3461() -> None:
    assert xtext("a+b=c d\u00e9") == "a+2Bb+3Dc+20d+E9"


@pytest.mark.parametrize(
    ("changes", "code", "kind"),
    [
        ({"sender": Sender("1", "x", "geen adres")}, "sender_address", RefusalKind.CONFIGURATION),
        ({"sender": Sender("1", "x", "é@example.nl")}, "sender_address", RefusalKind.CONFIGURATION),
        ({"return_path": "x"}, "return_path", RefusalKind.CONFIGURATION),
        ({"email": "x"}, "address_syntax", RefusalKind.ADDRESSEE),
        ({"email": None}, "no_email", RefusalKind.ADDRESSEE),
        ({"return_path": None}, "no_return_path", RefusalKind.DEFECT),
        ({"documents": (Document("a", "a/b", b"x" * 7_000_001),)}, "size", RefusalKind.CONTENT),
    ],
)
async def test_a_message_that_cannot_travel_is_refused_beforehand(
    server: MockMailServer, changes: dict[str, object], code: str, kind: RefusalKind
) -> None:
    assert await carry(server, message(**changes)) == Refused(code, kind)
    assert server.connections == 0


@given(st.text(max_size=80) | st.from_regex(r"[^@]{0,20}@[a-z.-]{0,20}", fullmatch=True))
def test_no_address_ends_a_command_or_adds_to_it(address: str) -> None:
    found = mailbox(address)
    if found is not None:
        command = f"RCPT TO:<{found}>"
        assert command.splitlines() == [command]
        assert command.count("<") == command.count(">") == 1 or '"' in found.local
        assert found.domain.isascii()
