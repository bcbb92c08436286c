"""The pages: safe headers everywhere, no personal data, hostile text as text, filters and links that work."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.testing import AsyncTestClient

from bode.domain import events as ev
from bode.domain.bounces import Reason, Verdict
from bode.domain.policy import Policy
from bode.intake.accept import Accepted, Caller, Intake, Route
from bode.intake.status import StatusReader
from bode.store import messages
from bode.store.database import Database
from bode.store.messages import StoredLetter
from bode.store.record import lock, write
from bode.store.vault import Vault
from bode_ops.console import pages

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
MAASVELD, ZANDWIJK = "00000001999000010000", "00000001999000020000"
BOX, THEIRS = "mijnoverheid", ev.TimeSource.OTHER_SIDE
GONE = ev.Bounce(Verdict.HARD, Reason.USER_UNKNOWN, "user-1", 550, "5.1.1", "fatma@post.example", "mx.example", True)
FULL = ev.Bounce(Verdict.SOFT, Reason.MAILBOX_FULL, "quota-1", 452, "4.2.2")
HOSTILE = '"><script>x</script>'
SECRETS = ("Fatma Yildiz", "Yildiz", "999990019", "fatma@post.example", "Kerklaan", "1234 AB", "Dakkapel", "Geachte")
"""What may never stand on a page."""


class StandingClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time


@dataclass
class Desk:
    """The pages over a temporary database, and a way to put stories in it."""

    database: Database
    vault: Vault
    policy: Policy
    clock: StandingClock
    intake: Intake
    client: AsyncTestClient[Litestar]

    async def accept(self, reference: str, sender: str = MAASVELD, **changes: object) -> Accepted:
        body = {
            "afzender": sender,
            "kenmerk": reference,
            "zaak": "Z-1",
            "aard": "beschikking",
            "rechtsgevolgen": "Geachte mevrouw, u kunt bezwaar maken.",
            "termijn": {"duur": "P6W"},
            "geadresseerde": {
                "soort": "BSN",
                "nummer": "999990019",
                "naam": "Fatma Yildiz",
                "adres": {"straat": "Kerklaan", "huisnummer": "7", "postcode": "1234 AB", "woonplaats": "Maasveld"},
            },
            "kanalen": [{"kanaal": BOX}],
            "kennisgeving": {"email": "fatma@post.example", "opgegevenDoor": "geadresseerde"},
            "onderwerp": "Dakkapel",
            "tekst": "Geachte mevrouw",
            **changes,
        }
        raw = json.dumps({key: value for key, value in body.items() if value is not None}).encode()
        return await self.intake.accept(raw, route=Route.COMMAND, caller=Caller("test"))

    async def then(self, message_id: UUID, *happenings: ev.Event) -> None:
        async with self.database.write() as connection:
            ledgers = await lock(connection, [message_id], self.vault)
            for happening in happenings:
                ledgers[message_id].apply(happening, self.policy, self.clock.now())
            await write(connection, ledgers, policy=self.policy, vault=self.vault, now=self.clock.now())


@pytest.fixture
async def desk(tmp_path: Path, policy: Policy) -> AsyncIterator[Desk]:
    database = Database(f"sqlite:///{tmp_path}/t.db")
    await database.upgrade()
    vault, clock = Vault(bytes(32)), StandingClock()
    organisations = {MAASVELD: "Gemeente Maasveld", ZANDWIJK: "Gemeente <Zandwijk>"}

    async def ring(_lanes: object) -> None:
        """Nobody works here: stories are told by hand."""

    intake = Intake(
        database=database,
        vault=vault,
        policy=policy,
        clock=clock,
        organisations=frozenset(organisations),
        ring=ring,
    )
    router = pages.routes(
        database=database,
        vault=vault,
        policy=policy,
        status=StatusReader(database, policy),
        clock=clock,
        organisations=organisations,
    )
    app = Litestar([router], openapi_config=None, exception_handlers={HTTPException: pages.on_http_error})
    async with AsyncTestClient(app) as client:
        yield Desk(database, vault, policy, clock, intake, client)
    await database.close()


async def a_letter(desk: Desk, message_id: UUID, number: int = 0) -> None:
    async with desk.database.write() as connection:
        ledger = (await lock(connection, [message_id], desk.vault))[message_id]
        assert ledger.key is not None
        letter = StoredLetter(message_id, number, b"%PDF-1.7 Fatma Yildiz", 2, "t")
        await messages.store_letters(connection, [letter], {message_id: ledger.key}, desk.vault, desk.clock.now())


async def bounced(desk: Desk, reference: str = "MV-1") -> UUID:
    message_id = (await desk.accept(reference)).id
    now = desk.clock.now()
    await desk.then(message_id, ev.Placed(BOX, now, THEIRS), ev.NoticeSent(BOX, now), ev.NoticeBounced(BOX, GONE))
    return message_id


# ---- headers ------------------------------------------------------------------------------------------------------


async def test_every_answer_has_the_security_headers(desk):
    message_id = await bounced(desk)
    await a_letter(desk, message_id)
    paths = {
        "/": 200,
        "/?kenmerk=MV-1": 303,
        "/?kenmerk=anders": 200,
        "/overzicht": 200,
        f"/berichten/{message_id}": 200,
        f"/berichten/{message_id}/stand": 200,
        f"/berichten/{message_id}/brieven/0.pdf": 200,
        f"/berichten/{message_id}/brieven/9.pdf": 404,
        f"/berichten/{uuid4()}": 404,
        "/berichten/geen-id": 404,
        "/static/bode.css": 200,
        "/static/geen.css": 404,
        "/nergens": 404,
    }
    for path, status in paths.items():
        answer = await desk.client.get(path, follow_redirects=False)
        assert answer.status_code == status, path
        for name, value in pages.SECURITY_HEADERS.items():
            assert answer.headers[name] == value, path
        assert "set-cookie" not in answer.headers


async def test_the_policy_for_content_allows_nothing_inline(desk):
    message_id = await bounced(desk)
    for path in ("/", f"/berichten/{message_id}"):
        page = (await desk.client.get(path)).text
        assert " style=" not in page
        assert "<style" not in page
        assert not re.search(r"<script(?! src=\"/static/bode.js\")", page)
        assert not re.search(r"\son[a-z]+=", page)
        assert not re.search(r"(?:src|href|action)=\"(?!/|#)", page)


async def test_a_defect_gives_a_page_with_headers_and_without_its_text(desk, monkeypatch):
    def broken(*_args: object, **_more: object) -> None:
        raise RuntimeError("Fatma Yildiz")

    message_id = await bounced(desk)
    monkeypatch.setattr(pages, "summary", broken)
    answer = await desk.client.get(f"/berichten/{message_id}")
    assert answer.status_code == 500
    assert "Er ging iets mis" in answer.text
    assert "Fatma" not in answer.text
    assert answer.headers["Cache-Control"] == "no-store"


async def test_pages_are_only_read(desk):
    answer = await desk.client.post("/")
    assert answer.status_code == 405
    assert "Op dit adres kan alleen worden gelezen." in answer.text


# ---- no personal data, no hostile text ----------------------------------------------------------------------------


async def test_no_personal_data_stands_on_a_page(desk):
    message_id = await bounced(desk)
    await desk.then(message_id, ev.LetterOrdered("a.jansen", "gebeld over 999990019"))
    for path in ("/", "/overzicht", "/?kenmerk=MV-1", f"/berichten/{message_id}"):
        page = (await desk.client.get(path)).text
        assert not [secret for secret in SECRETS if secret in page], path
    assert "gebeld over" in page.partition('<details id="enveloppen">')[0]
    assert "gebeld over" not in page.partition('<details id="enveloppen">')[2], "an envelope holds nothing typed"


async def test_a_hostile_reference_stays_text(desk):
    accepted = await desk.accept(HOSTILE)
    for path in ("/", f"/berichten/{accepted.id}", f"/?kenmerk={HOSTILE}", f"/?kenmerk=anders{HOSTILE}"):
        page = (await desk.client.get(path)).text
        assert "<script>x" not in page
        assert "&lt;script&gt;x" in page


async def test_a_hostile_filter_is_no_filter(desk):
    await desk.accept("MV-1")
    page = (await desk.client.get(f"/?status={HOSTILE}&organisatie={HOSTILE}")).text
    assert "<script>x" not in page
    assert "MV-1" in page


async def test_a_name_of_an_organisation_is_text(desk):
    await desk.accept("ZW-1", ZANDWIJK)
    page = (await desk.client.get("/")).text
    assert "Gemeente &lt;Zandwijk&gt;" in page
    assert "<Zandwijk>" not in page


# ---- overview -----------------------------------------------------------------------------------------------------


async def test_an_empty_overview_says_so(desk):
    assert "Er zijn geen berichten" in (await desk.client.get("/")).text


async def test_the_overview_shows_the_message_that_moved_last_first(desk):
    first = await desk.accept("MV-1")
    await desk.accept("MV-2")
    await desk.then(first.id, ev.Placed(BOX, desk.clock.now(), THEIRS))
    page = (await desk.client.get("/")).text
    assert page.index(">MV-1<") < page.index(">MV-2<")
    assert "Geplaatst, nog zonder kennisgeving" in page
    assert "nog 2 dagen" in page


async def test_filters_by_state_and_organisation(desk):
    held = await desk.accept("MV-1")
    await desk.then(held.id, ev.PlacementRefused(BOX, "X", ev.RefusalKind.DEFECT))
    await desk.accept("ZW-1", ZANDWIJK)
    waiting = (await desk.client.get("/?status=wacht_op_medewerker")).text
    assert ">MV-1<" in waiting
    assert ">ZW-1<" not in waiting
    theirs = (await desk.client.get(f"/?organisatie={ZANDWIJK}")).text
    assert ">ZW-1<" in theirs
    assert ">MV-1<" not in theirs
    both = (await desk.client.get(f"/overzicht?status=wacht_op_medewerker&organisatie={ZANDWIJK}")).text
    assert "Er zijn geen berichten met deze keuze" in both
    assert f"/?status=onderweg&amp;organisatie={ZANDWIJK}" in both


async def test_done_messages_can_be_listed(desk):
    done = await desk.accept("MV-1")
    now = desk.clock.now()
    await desk.then(done.id, ev.Placed(BOX, now, THEIRS), ev.NoticeSent(BOX, now))
    await desk.accept("MV-2")
    page = (await desk.client.get("/?status=afgerond")).text
    assert ">MV-1<" in page
    assert ">MV-2<" not in page


async def test_open_messages_are_listed_by_deadline(desk):
    for reference, hours in (("MV-1", 5), ("MV-2", 1), ("MV-3", None)):
        accepted = await desk.accept(reference)
        if hours is not None:
            at = desk.clock.now() + timedelta(hours=hours)
            await desk.then(accepted.id, ev.Placed(BOX, at, THEIRS))
    page = (await desk.client.get("/?status=onderweg")).text
    assert page.index(">MV-2<") < page.index(">MV-1<") < page.index(">MV-3<")


async def test_the_overview_is_bounded_and_says_so(desk):
    for number in range(pages._MOST_ROWS + 2):
        await desk.accept(f"MV-{number}")
    page = (await desk.client.get("/")).text
    assert page.count('<th scope="row"') == pages._MOST_ROWS
    assert "Er zijn meer berichten" in page


async def test_a_deadline_that_passed_is_said_in_words(desk):
    accepted = await desk.accept("MV-1")
    await desk.then(accepted.id, ev.Placed(BOX, desk.clock.now(), THEIRS))
    desk.clock.time += timedelta(hours=49)
    assert "De 48 uur zijn voorbij" in (await desk.client.get("/")).text


# ---- search -------------------------------------------------------------------------------------------------------


async def test_search_leads_to_the_message_by_reference_or_id(desk):
    accepted = await desk.accept("MV-1")
    for sought in ("MV-1", " MV-1 ", str(accepted.id)):
        answer = await desk.client.get("/", params={"kenmerk": sought}, follow_redirects=False)
        assert answer.headers["Location"] == f"/berichten/{accepted.id}"


async def test_search_lists_the_same_reference_of_two_organisations(desk):
    await desk.accept("MV-1")
    await desk.accept("MV-1", ZANDWIJK)
    page = (await desk.client.get("/?kenmerk=MV-1")).text
    assert "2 berichten met kenmerk MV-1" in page
    assert "Gemeente Maasveld" in page


async def test_search_without_a_find_says_what_to_do(desk):
    answer = await desk.client.get("/?kenmerk=MV-1")
    assert answer.status_code == 200
    assert "Geen bericht gevonden" in answer.text


# ---- a message ----------------------------------------------------------------------------------------------------


async def test_a_message_page_tells_the_story(desk):
    message_id = await bounced(desk)
    page = (await desk.client.get(f"/berichten/{message_id}")).text
    for words in (
        "<h1>Bericht MV-1</h1>",
        "Beschikking van Gemeente Maasveld",
        "Moment van verzending",
        "24 november 2026 om 10:00",
        "Kennisgeving binnen 48 uur",
        "Kennisgeving teruggekomen: dit e-mailadres bestaat niet (550 5.1.1)",
        "Brief over de kennisgeving",
        "Dinsdag 24 november 2026",
        "Awb 2:11, tweede lid",
        "ConsignmentNotification",
    ):
        assert words in page, words


async def test_the_fragments_are_the_changing_part_of_their_pages(desk):
    message_id = await bounced(desk)
    for path, part in (("/", "/overzicht"), (f"/berichten/{message_id}", f"/berichten/{message_id}/stand")):
        page, fragment = (await desk.client.get(path)).text, (await desk.client.get(part)).text
        assert f'data-live="{part}"' in page
        assert fragment in page
        assert "<html" not in fragment


async def test_the_clock_that_runs_is_shown(desk):
    accepted = await desk.accept("MV-1")
    await desk.then(accepted.id, ev.Placed(BOX, desk.clock.now(), THEIRS), ev.NoticeBounced(BOX, FULL))
    desk.clock.time += timedelta(hours=12)
    page = (await desk.client.get(f"/berichten/{accepted.id}")).text
    assert 'value="0.250"' in page
    assert "Nog niet verstuurd, nog 1 dag en 12 uur" in page


async def test_what_a_person_can_do_comes_with_its_effect(desk):
    accepted = await desk.accept("MV-1")
    await desk.then(accepted.id, ev.PlacementRefused(BOX, "X", ev.RefusalKind.DEFECT))
    page = (await desk.client.get(f"/berichten/{accepted.id}")).text
    assert f"bode retry {accepted.id} --reason" in page
    assert f"bode letter {accepted.id} --reason" in page
    assert "Gevolg:" in page


async def test_a_withdrawal_and_its_message_link_to_each_other(desk):
    first = await desk.accept("MV-1")
    second = await desk.accept("MV-2", aard="intrekking", termijn=None, betreft="MV-1")
    assert f'href="/berichten/{second.id}"' in (earlier := (await desk.client.get(f"/berichten/{first.id}")).text)
    assert "Dit bericht is ingetrokken door een later bericht:" in earlier
    assert f'href="/berichten/{first.id}"' in (await desk.client.get(f"/berichten/{second.id}")).text


async def test_a_letter_is_linked_only_when_it_can_be_opened(desk):
    message_id = await bounced(desk)
    link = f'href="/berichten/{message_id}/brieven/0.pdf"'
    assert link not in (await desk.client.get(f"/berichten/{message_id}")).text
    await a_letter(desk, message_id)
    page = (await desk.client.get(f"/berichten/{message_id}")).text
    assert link in page
    assert "(pdf, 2 bladzijden)" in page
    assert "met naam en adres van de ontvanger" in page


async def test_a_letter_is_shown_as_pdf(desk):
    message_id = await bounced(desk)
    await a_letter(desk, message_id)
    answer = await desk.client.get(f"/berichten/{message_id}/brieven/0.pdf")
    assert answer.content.startswith(b"%PDF-1.7")
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["Content-Disposition"] == f'inline; filename="brief-0-{message_id}.pdf"'


@pytest.mark.parametrize("file", ["1.pdf", "0.txt", "0", "-1.pdf", "99999.pdf", "x.pdf", "0.pdf.exe"])
async def test_another_file_is_no_letter(desk, file):
    message_id = await bounced(desk)
    await a_letter(desk, message_id)
    answer = await desk.client.get(f"/berichten/{message_id}/brieven/{file}")
    assert answer.status_code == 404
    assert "Niet gevonden" in answer.text


# ---- for everyone -------------------------------------------------------------------------------------------------


async def test_headings_are_in_order_and_landmarks_are_there(desk):
    message_id = await bounced(desk)
    for path in ("/", f"/berichten/{message_id}", "/nergens", "/?kenmerk=x"):
        page = (await desk.client.get(path)).text
        levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", page)]
        assert levels[0] == 1, path
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels)), path
        assert '<html lang="nl">' in page
        assert 'href="#inhoud"' in page
        assert page.count("<main ") == 1
        ids = re.findall(r'\sid="([^"]+)"', page)
        assert len(ids) == len(set(ids))


async def test_every_field_has_a_label(desk):
    page = (await desk.client.get("/")).text
    fields = re.findall(r"<(?:input|select)[^>]*\sid=\"([^\"]+)\"", page)
    assert fields == ["kenmerk", "organisatie"]
    for name in fields:
        assert f'<label for="{name}">' in page


async def test_the_table_has_a_caption_and_scopes(desk):
    await desk.accept("MV-1")
    page = (await desk.client.get("/")).text
    assert "<caption>" in page
    assert page.count('scope="col"') == 7
    assert 'scope="row"' in page


async def test_the_stylesheet_is_small_and_has_its_type(desk):
    answer = await desk.client.get("/static/bode.css")
    assert answer.headers["Content-Type"].startswith("text/css")
    assert len(answer.content) < 12_000
    assert (await desk.client.get("/static/bode.js")).headers["Content-Type"].startswith("text/javascript")
    assert (await desk.client.get("/static/..%2fpages.py")).status_code == 404


async def test_the_organisations_are_known_by_their_oin(desk):
    page = (await desk.client.get(f"/?organisatie={MAASVELD}")).text
    assert f'<option value="{MAASVELD}" selected>Gemeente Maasveld</option>' in page
