"""Reading SMTP replies: whatever comes, in whatever pieces, within bounds (RFC 5321 section 4.2)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bode_adapters.email.replies import LONGEST_LINE, LONGEST_REPLY, NotSmtpError, Reply, ReplyReader


def all_of(data: bytes) -> list[Reply]:
    return list(ReplyReader().feed(data))


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"250 2.1.0 Ok\r\n", Reply(250, "2.1.0 Ok")),
        (b"250\r\n", Reply(250, "")),
        (b"250 \r\n", Reply(250, "")),
        (b"250-\r\n250-two\r\n250 three\r\n", Reply(250, "\ntwo\nthree")),
        (b"250-one\r\n250\r\n", Reply(250, "one\n")),
        (b"550 bare line feed\n", Reply(550, "bare line feed")),
        (b"550 caf\xc3\xa9 \xff\r\n", Reply(550, "café \ufffd")),
        (b"550 a\x00b\x1bc\td\r\n", Reply(550, "a b c d")),
    ],
)
def test_a_reply_is_its_code_and_its_text(data: bytes, reply: Reply) -> None:
    assert all_of(data) == [reply]


def test_several_replies_in_one_go_stay_apart() -> None:
    assert all_of(b"250 a\r\n550-b\r\n550 c\r\n354 go\r\n25") == [
        Reply(250, "a"),
        Reply(550, "b\nc"),
        Reply(354, "go"),
    ]


def test_what_came_before_something_else_still_counts() -> None:
    found = []
    with pytest.raises(NotSmtpError):
        found.extend(ReplyReader().feed(b"250 taken\r\nwhat?\r\n250 never read\r\n"))
    assert found == [Reply(250, "taken")]


@pytest.mark.parametrize(
    "data",
    [
        b"what?\r\n",
        b"\r\n",
        b"25\r\n",
        b"2500 ok\r\n",
        b"150 preliminary\r\n",
        b"650 no\r\n",
        b"250_ok\r\n",
        b" 250 ok\r\n",
        b"250 a\rb\r\n",
        "٢٥٠ ok\r\n".encode(),
        b"250-one\r\n550 two\r\n",
        b"250-one\r\nwhat?\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28\r\n",
    ],
)
def test_what_is_no_reply_is_refused(data: bytes) -> None:
    with pytest.raises(NotSmtpError):
        all_of(data)


@pytest.mark.parametrize(
    "data",
    [
        b"250 " + b"x" * LONGEST_LINE,
        b"250 " + b"x" * LONGEST_LINE + b"\r\n",
        b"250-lorem ipsum\r\n" * (LONGEST_REPLY // 10),
    ],
)
def test_what_has_no_end_is_refused(data: bytes) -> None:
    with pytest.raises(NotSmtpError):
        all_of(data)


def test_what_is_kept_of_an_unfinished_reply_is_bounded() -> None:
    reader = ReplyReader()

    def on_and_on() -> None:
        while True:
            assert [*reader.feed(b"220-x"), *reader.feed(b"\r\n")] == []

    with pytest.raises(NotSmtpError):
        on_and_on()
    assert sum(len(text) for text in reader._texts) < LONGEST_REPLY


def test_it_is_known_whether_part_of_a_reply_was_read() -> None:
    reader = ReplyReader()
    assert not reader.in_between
    assert list(reader.feed(b"220 ready\r\n25")) == [Reply(220, "ready")]
    assert reader.in_between
    assert list(reader.feed(b"0-more\r\n")) == []
    assert reader.in_between
    assert list(reader.feed(b"250 done\r\n")) == [Reply(250, "more\ndone")]
    assert not reader.in_between


TEXT = st.text(st.characters(blacklist_categories=("Cc", "Cs"), blacklist_characters="\r\n"), max_size=80)
REPLIES = st.lists(st.tuples(st.integers(200, 599), st.lists(TEXT, min_size=1, max_size=4)), max_size=6)


@given(replies=REPLIES, cuts=st.lists(st.integers(0, 2000), max_size=8))
def test_replies_are_the_same_in_whatever_pieces_they_come(
    replies: list[tuple[int, list[str]]], cuts: list[int]
) -> None:
    data = b"".join(
        f"{code}{' ' if at == len(lines) - 1 else '-'}{line}\r\n".encode()
        for code, lines in replies
        for at, line in enumerate(lines)
    )
    reader, found = ReplyReader(), []
    ends = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in itertools.pairwise(ends):
        found += reader.feed(data[start:end])
    assert not reader.in_between
    assert [reply.code for reply in found] == [code for code, _ in replies]
    assert [reply.text.split("\n") for reply in found] == [
        ["".join(c if c.isprintable() else ("\x00" if c == "\n" else c) for c in line) for line in lines]
        for _, lines in replies
    ]


@given(
    pieces=st.lists(st.binary(max_size=60) | st.sampled_from([b"250 ok\r\n", b"250-", b"\r\n", b"550"]), max_size=30)
)
def test_anything_is_replies_or_refused(pieces: list[bytes]) -> None:
    reader = ReplyReader()
    try:
        for piece in pieces:
            for reply in reader.feed(piece):
                assert 200 <= reply.code <= 599
                assert all(char == "\n" or not "\x00" <= char <= "\x1f" for char in reply.text)
    except NotSmtpError:
        pass
