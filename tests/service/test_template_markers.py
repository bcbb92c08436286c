"""What the law and the addressee's privacy keep out of a notice, and of the letter that a notice failed: by markers.

Each field of a message that must not be told holds a text that stands nowhere else; then all that leaves is searched.
"""

import base64
import dataclasses

import pytest

from bode.compose.letter import NoticeLetterFacts
from bode.domain import events as ev
from bode.domain.bounces import Reason, Verdict
from bode.domain.message import Nature

MARKS = {
    "kenmerk": "KENMERK-QX1",
    "zaak": "ZAAK-QX2",
    "onderwerp": "Onderwerp QX3",
    "tekst": "Tekst QX4, en meer daarvan.",
    "documenten": "documentnaam-QX5.pdf",
    "bsn": "999993653",
}
NOTICE_MAY_NOT = {*MARKS.values(), "Naam QX6", "Straat QX7", "1234 AB", "Plaats QX8", "qx9@post.example.nl"}
LETTER_MAY_NOT = set(MARKS.values())


@pytest.fixture
def marked(body, pdf):
    """Give a request with a mark in every field, for a nature."""

    def make(nature: Nature):
        return body(
            kenmerk=MARKS["kenmerk"],
            zaak=MARKS["zaak"],
            aard=str(nature),
            onderwerp=MARKS["onderwerp"],
            tekst=MARKS["tekst"],
            documenten=[
                {
                    "naam": MARKS["documenten"],
                    "mediatype": "application/pdf",
                    "inhoud": base64.b64encode(pdf).decode(),
                }
            ],
            geadresseerde={
                "soort": "BSN",
                "nummer": MARKS["bsn"],
                "naam": "Naam QX6",
                "adres": {"straat": "Straat QX7", "huisnummer": "7", "postcode": "1234 AB", "woonplaats": "Plaats QX8"},
            },
            kennisgeving={
                "email": "qx9@post.example.nl",
                "opgegevenDoor": "geadresseerde",
                "opgegevenTijdstip": "2025-06-01T10:00:00Z",
            },
        )

    return make


class Watched:
    """A letter composer that remembers what it was told; a template can show nothing else."""

    def __init__(self, real):
        self.real = real
        self.told = []

    def of(self, oin):
        del oin
        return self

    def message_letter(self, facts):
        return self.real.message_letter(facts)

    def notice_letter(self, facts):
        self.told.append(facts)
        return self.real.notice_letter(facts)


def found(marks, *texts):
    return {mark for mark in marks for text in texts if mark.lower() in text.lower()}


@pytest.mark.law("L4")
@pytest.mark.law("L7")
@pytest.mark.parametrize("nature", [nature for nature in Nature if not nature.rules.names_earlier])
async def test_no_notice_and_no_letter_about_a_failed_notice_tells_what_it_may_not(
    make_app, sqlite_url, shared, marked, nature
):
    watched = Watched(shared.letters)
    app = await make_app(sqlite_url, letter_composer=watched)
    accepted = await app.accept(marked(nature))
    await app.settle()
    (notice,) = app.notifier.notices.values()
    told = {field.name: str(getattr(notice, field.name)) for field in dataclasses.fields(notice)}
    told.pop("email")  # where it goes
    assert len(told["html"]) > 500
    assert found(NOTICE_MAY_NOT, *told.values()) == set()
    (placement,) = (await app.delivery(accepted.id)).placements
    bounce = ev.Bounce(Verdict.HARD, Reason.USER_UNKNOWN, "test", 550, "5.1.1", "unknown")
    await app.lanes.apply([(accepted.id, ev.NoticeBounced(placement.channel, bounce))])
    await app.settle()
    (facts,) = watched.told
    assert isinstance(facts, NoticeLetterFacts)
    whole = [str(value) for value in dataclasses.asdict(facts).values()]
    assert found(LETTER_MAY_NOT, *whole) == set()
    assert "Naam QX6" in " ".join(whole), "the marks are seen where they may stand"
