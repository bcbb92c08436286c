"""Messages themselves by e-mail, with their documents."""

from __future__ import annotations

from bode_adapters.contract import Document, Placed, Unknown
from bode_adapters.email import SmtpCarrier
from bode_adapters.email.mock import MockMailServer
from bode_adapters.testing.notifier import SENDER

from .parts import carry, clock, content, message, read, settings


async def test_a_message_travels_with_its_documents(server: MockMailServer) -> None:
    documents = (
        Document("besluit.pdf", "application/pdf", bytes(range(256)) * 10),
        Document("één heel lange naam " * 12 + ".pdf", "application/pdf", b""),
        Document('a/b\\c"d\r\nX-Evil: 1.txt', "text/plain; charset=evil\r\nX: y", b"x"),
        Document("", "message/rfc822", b"From: x\r\n\r\n"),
    )
    assert isinstance(await carry(server, message(documents=documents)), Placed)
    parsed = read(server.accepted[0].data)
    assert parsed.get_content_type() == "multipart/mixed"
    text, *attached = parsed.iter_parts()
    assert content(text) == "Zie de bijlage.\n"
    assert [part.get_content_disposition() for part in attached] == ["attachment"] * 4
    assert [part.get_payload(decode=True) for part in attached] == [document.content for document in documents]
    assert [part.get_filename() for part in attached] == [
        "besluit.pdf",
        "één heel lange naam " * 12 + ".pdf",
        'a_b_c"d X-Evil: 1.txt',
        "document",
    ]
    kinds = ["application/pdf", "application/pdf", "application/octet-stream", "application/octet-stream"]
    assert [part.get_content_type() for part in attached] == kinds


async def test_lines_that_begin_with_a_dot_arrive_as_they_were(server: MockMailServer) -> None:
    text = ".\n..\n.punt\n\n.\nRSET\n"
    assert isinstance(await carry(server, message(text=text)), Placed)
    assert content(read(server.accepted[0].data)) == text


async def test_a_message_without_documents_is_a_plain_mail(server: MockMailServer) -> None:
    assert isinstance(await carry(server, message()), Placed)
    assert content(read(server.accepted[0].data)) == "Zie de bijlage.\n"


async def test_a_large_message_arrives_whole(server: MockMailServer) -> None:
    content = b".\r\n" * 1_000_000
    assert isinstance(await carry(server, message(documents=(Document("a.bin", "a/b", content),))), Placed)
    _, attached = read(server.accepted[0].data).iter_parts()
    assert attached.get_payload(decode=True) == content


async def test_a_carrier_cannot_check_or_look_up(server: MockMailServer) -> None:
    carrier = SmtpCarrier.from_settings(settings(server.port), clock=clock)
    assert not carrier.capabilities.repeat_is_recognised
    assert not carrier.capabilities.can_lookup
    (found,) = await carrier.check(addressees=[message().addressee], sender=SENDER)
    assert found.reachable is None
    assert await carrier.lookup(messages=[message()]) == [Unknown("no_lookup")]
