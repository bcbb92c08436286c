"""Postvak against the suite of all boxes, and each of its words against what it means."""

from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import pytest

from bode_adapters.contract import (
    Absent,
    Placed,
    RefusalKind,
    Refused,
    Sender,
    SettingError,
    Unavailable,
    Unknown,
)
from bode_adapters.testing.box import BoxSuite, Lacks, OtherSide, mocked_side, new_message, utc_now
from postvak import PostvakBox, PostvakSettings
from postvak.mock import create_mock
from postvak.words import WORDS

SENDER = Sender(oin="00000001003214345000", name="Gemeente Voorbeeld", email="post@voorbeeld.example")
TOKEN = "bewijs-van-de-proef"
SETTINGS = {"base_url": "http://127.0.0.1:1", "token": TOKEN, "timeout_seconds": 1.0}


def new_box(url: str) -> PostvakBox:
    return PostvakBox.from_settings(SETTINGS | {"base_url": url}, clock=utc_now)


class TestPostvak(BoxSuite):
    lacks = frozenset({Lacks.CHECK})

    def other_side(self) -> AbstractAsyncContextManager[OtherSide]:
        app = create_mock(clock=utc_now, token=TOKEN)
        return mocked_side(app, box=new_box, sender=SENDER, unreachable="GEEN_POSTVAK")


@asynccontextmanager
async def answering(status: int, content: bytes = b""):
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=content))
    box = PostvakBox(PostvakSettings.read(SETTINGS), clock=utc_now, transport=transport)
    await box.open()
    yield box
    await box.close()


@pytest.mark.parametrize("word", sorted(WORDS))
async def test_each_word_has_its_meaning(word):
    async with answering(422, f'{{"code": "{word}"}}'.encode()) as box:
        (answer,) = await box.place(messages=[new_message(SENDER)])
    assert answer == Refused(word, WORDS[word])


@pytest.mark.parametrize(
    ("status", "meaning"),
    [(401, Refused), (404, Refused), (429, Unavailable), (500, Unknown), (502, Unknown), (503, Unavailable)],
)
async def test_a_bare_status_has_its_meaning(status, meaning):
    async with answering(status) as box:
        (answer,) = await box.place(messages=[new_message(SENDER)])
    assert isinstance(answer, meaning)
    assert not isinstance(answer, Refused) or answer.kind is RefusalKind.CONFIGURATION


@pytest.mark.parametrize("content", [b"<html>", b"{}", b'{"id": "1", "geplaatst": "2026-03-02T10:00:00"}'])
async def test_a_success_that_cannot_be_read_is_unknown(content):
    async with answering(201, content) as box:
        (answer,) = await box.place(messages=[new_message(SENDER)])
    assert isinstance(answer, Unknown)


async def test_only_postvaks_own_word_says_that_a_message_is_not_there():
    message = new_message(SENDER)
    async with answering(404, b'{"code": "NIET_GEVONDEN"}') as box:
        assert list(await box.lookup(messages=[message])) == [Absent()]
    async with answering(404) as box:
        (answer,) = await box.lookup(messages=[message])
        assert isinstance(answer, Unknown)


async def test_the_time_is_postvaks_own():
    async with answering(201, b'{"id": "7", "geplaatst": "2026-03-02T10:00:00+01:00"}') as box:
        (answer,) = await box.place(messages=[new_message(SENDER)])
    assert isinstance(answer, Placed)
    assert answer.at.isoformat() == "2026-03-02T09:00:00+00:00"


@pytest.mark.parametrize(("key", "value"), [("token", "twee woorden"), ("base_url", "ftp://x"), ("tokn", "geheim")])
def test_a_wrong_setting_is_named_and_a_secret_is_not_shown(key, value):
    with pytest.raises(SettingError) as caught:
        PostvakBox.from_settings(SETTINGS | {key: value}, clock=utc_now)
    assert caught.value.key == key
    assert "geheim" not in str(caught.value)
    assert "twee woorden" not in str(caught.value)
