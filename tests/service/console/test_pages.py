"""What stands on the pages: no personal data without a reason, hostile text as text, and every act as it is stated."""

import re
from datetime import timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from tests.service.console.conftest import (
    BOX,
    FULL,
    HANDLER,
    MAASVELD,
    MANAGER,
    OTHER_HANDLER,
    READER,
    THEIRS,
    ZANDWIJK,
)

from bode.domain import events as ev
from bode.domain.acts import Act, Choice
from bode.engine.acts import Acts, By
from bode.engine.jobs import Jobs
from bode.settings import ConsoleSettings
from bode.store import tables

HOSTILE = '"><script>x</script>'
SECRETS = ("Jantje Zonderbrief", "Zonderbrief", "goed.jan@post.example.nl", "Regenboogkade", "1234 AB", "dakkapel")
"""What stands on no page before somebody gave a reason."""


async def acted(browser, message: UUID, act: str, part: str = "", **fields: str):
    """Do an act as a person does: read its page, and send its form."""
    query = f"?onderdeel={part}" if part else ""
    page = await browser.page(f"/berichten/{message}/handelingen/{act}{query}")
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    values = dict(re.findall(r'id="(dag|tijd)" name="\w+" type="\w+" value="([^"]*)"', page))
    hidden = {key: value.replace("&#39;", "'") for key, value in hidden.items() if key != "csrf"}
    return await browser.post(
        f"/berichten/{message}/handelingen/{act}", **{"reden": "gebeld", **values, **hidden, **fields}
    )


# ---- personal data --------------------------------------------------------------------------------------------------


async def test_no_personal_data_stands_on_a_page_before_a_reason(office):
    message = await office.bounced()
    await office.letter(message.id)
    manager = await office.browser(MANAGER)
    for path in ("/", "/berichten", f"/berichten/{message.id}", f"/berichten/{message.id}/stand", "/controle"):
        page = await manager.page(path)
        assert not [secret for secret in SECRETS if secret in page], path
    assert (await manager.get(f"/berichten/{message.id}/brieven/0.pdf")).status_code == 403


async def test_personal_data_are_shown_for_a_while_to_who_gave_a_reason(office):
    message = await office.noticed()
    await office.letter(message.id)
    reader, other = await office.browser(READER), await office.browser(HANDLER)
    answer = await reader.post(f"/berichten/{message.id}/gegevens", reden="mevrouw belt zelf")
    assert answer.headers["Location"] == f"/berichten/{message.id}#gegevens"
    page = await reader.page(f"/berichten/{message.id}")
    for words in ("Jantje Zonderbrief", "Regenboogkade", "goed.jan@post.example.nl", "dakkapel"):
        assert words in page
    number = re.search(r"BSN •{6}(\d\d)", page)
    assert number, "a BSN is never shown whole"
    assert "De gemeente heeft een besluit genomen." in page, "the text of the notice"
    assert "De tekst is daarna veranderd" in page, "the hash of this one was not in evidence"
    pdf = await reader.get(f"/berichten/{message.id}/brieven/0.pdf")
    assert pdf.content.startswith(b"%PDF")
    assert "frame-ancestors 'self'" in pdf.headers["Content-Security-Policy"]
    assert "Zonderbrief" not in await other.page(f"/berichten/{message.id}"), "only to who asked"
    office.app.clock.move(minutes=11)
    assert "Zonderbrief" not in await reader.page(f"/berichten/{message.id}")
    event = (await office.app.events(message.id))[-1]
    assert (event.name, event.detail["act"], event.detail["by"]) == ("staff.action", "personal_data", READER)
    assert event.details == {"reason": "mevrouw belt zelf"}
    assert b"belt" not in event.envelope
    assert (READER, "personal_data", None) in await office.acts()
    assert (READER, "letter_shown", None) in await office.acts()


@pytest.mark.parametrize("reason", ["", "   ", "x" * 201])
async def test_without_a_reason_nothing_is_shown(office, reason):
    message = await office.noticed()
    reader = await office.browser(READER)
    answer = await reader.post(f"/berichten/{message.id}/gegevens", reden=reason)
    assert "fout=reden" in answer.headers["Location"]
    assert "Zonderbrief" not in await reader.page(f"/berichten/{message.id}")


async def test_the_notice_that_left_is_shown_word_for_word(office):
    message = await office.app.accept()
    await office.app.settle()
    reader = await office.browser(READER)
    await reader.post(f"/berichten/{message.id}/gegevens", reden="controle")
    assert "Precies deze tekst is verstuurd" in await reader.page(f"/berichten/{message.id}")


# ---- hostile text ---------------------------------------------------------------------------------------------------


async def test_hostile_text_stays_text_everywhere(office):
    message = await office.app.accept(kenmerk=HOSTILE, zaak=HOSTILE, onderwerp=HOSTILE)
    bad = ev.Bounce(FULL.verdict, FULL.reason, FULL.rule, 452, "4.2.2", HOSTILE, HOSTILE, reported=True)
    now = office.app.clock.now()
    await office.then(
        message.id, ev.Placed(BOX, now, THEIRS), ev.NoticeSent(BOX, now), ev.NoticeBounced(BOX, bad),
        ev.LetterOrdered(HOSTILE, HOSTILE), ev.LetterRefused(0, HOSTILE, HOSTILE),
    )  # fmt: skip
    manager = await office.browser(MANAGER)
    await manager.post(f"/berichten/{message.id}/gegevens", reden=HOSTILE)
    paths = ["/", "/berichten", f"/berichten/{message.id}", "/controle", f"/berichten?zaak={HOSTILE}"]
    paths += [
        f"/berichten/{message.id}/handelingen/letter",
        f"/controle?wie={HOSTILE}",
        f"/berichten?kenmerk=x{HOSTILE}",
    ]
    for path in paths:
        page = await manager.page(path)
        assert "<script>x" not in page, path
        assert not re.search(r"\s(?:on[a-z]+|style)=", page), path
        assert not re.search(r'<script(?! src="/static/)', page), path
        assert not re.search(r'(?:src|href|action|hx-get)="(?!/|#)', page), path


async def test_headings_landmarks_ids_and_labels_are_in_order(office):
    message = await office.bounced()
    manager = await office.browser(MANAGER)
    for path in (
        "/", "/berichten", f"/berichten/{message.id}", f"/berichten/{message.id}/handelingen/letter",
        f"/berichten/{message.id}/afschrift", "/teruggekomen", "/opdrachten", "/controle", "/kanalen/print",
    ):  # fmt: skip
        page = await manager.page(path)
        levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", page)]
        assert levels[0] == 1, path
        assert levels.count(1) == 1, path
        assert all(after - before <= 1 for before, after in pairwise(levels)), path
        ids = re.findall(r'\sid="([^"]+)"', page)
        assert len(ids) == len(set(ids)), path
        fields = re.findall(
            r'<(?:input|select|textarea)(?![^>]*type="hidden")(?![^>]*aria-label)[^>]*\sid="([^"]+)"', page
        )
        for name in fields:
            assert f'for="{name}"' in page, (path, name)
        assert page.count("<main ") == 1, path


# ---- finding --------------------------------------------------------------------------------------------------------


async def test_a_reference_or_id_leads_to_its_message(office):
    message = await office.noticed()
    reader = await office.browser(READER)
    for sought in (message.reference, f" {message.reference} ", str(message.id)):
        answer = await reader.client.get("/berichten", params={"kenmerk": sought}, follow_redirects=False)
        assert answer.headers["Location"] == f"/berichten/{message.id}"
    assert "Er is geen bericht met kenmerk" in await reader.page("/berichten?kenmerk=bestaat-niet")


@pytest.mark.parametrize("how", ["BSN", "EMAIL"])
async def test_a_person_is_posted_and_found_by_a_hash(office, how, body, capsys):
    person = body(email="anna.zoek@post.example.nl")
    value = person["geadresseerde"]["nummer"] if how == "BSN" else "Anna.Zoek@post.example.nl"
    message = await office.app.accept(person)
    other = await office.noticed()
    reader = await office.browser(READER)
    capsys.readouterr()
    answer = await reader.post("/berichten/persoon", soort=how, waarde=f" {value} ")
    assert answer.headers["Location"] == "/berichten?persoon=ja"
    page = await reader.page("/berichten?persoon=ja")
    assert str(message.id) in page
    assert str(other.id) not in page
    assert value not in page
    assert value not in capsys.readouterr().out, "nothing of it is logged"
    stored = str([tuple(row) for row in await office.app.rows(tables.console_session)])
    assert value not in stored
    (act,) = [row for row in await office.app.rows(tables.staff_act) if row.act == "search"]
    assert act.who == READER
    assert value not in str(tuple(act))


@pytest.mark.parametrize(
    ("how", "value"), [("BSN", "12"), ("BSN", "abc"), ("EMAIL", "geen adres"), ("IETS", "123456789")]
)
async def test_what_cannot_be_a_number_or_address_is_not_searched(office, how, value):
    reader = await office.browser(READER)
    answer = await reader.post("/berichten/persoon", soort=how, waarde=value)
    assert answer.headers["Location"] == "/berichten?fout=waarde"


async def test_filters_and_saved_views(office):
    gone, held = await office.bounced(zaak="Z-9"), await office.defect(afzender=ZANDWIJK)
    waits = await office.app.accept()
    await office.then(waits.id, ev.Placed(BOX, office.app.clock.now() - timedelta(hours=40), THEIRS))
    late = await office.app.accept()
    await office.then(late.id, ev.Placed(BOX, office.app.clock.now() - timedelta(hours=50), THEIRS))
    reader = await office.browser(READER)
    found = {
        "?zaak=Z-9": {gone},
        "?terug=hard": {gone},
        "?beeld=teruggekomen": {gone},
        "?brief=planned": {gone},
        "?beeld=brieven-vandaag": {gone},
        "?beeld=wacht": {held},
        "?status=wacht_op_medewerker": {held},
        f"?organisatie={ZANDWIJK}": {held},
        f"?status=wacht_op_medewerker&organisatie={MAASVELD}": set(),
        f"?box={BOX}": {gone, waits, late},
        "?beeld=bijna-48-uur": {waits, late},
        "?termijn=12": {waits, late},
        "?beeld=te-laat": {late},
        f"?box={HOSTILE}&status={HOSTILE}": {gone, held, waits, late},
    }
    for query, wanted in found.items():
        page = await reader.page(f"/berichten{query}")
        assert set(re.findall(r'<a href="/berichten/([0-9a-f-]{36})"', page)) == {str(item.id) for item in wanted}, (
            query
        )


async def test_lists_are_read_page_by_page_without_a_gap_or_a_double(office, monkeypatch):
    monkeypatch.setattr("bode_ops.console.search.PAGE", 3)
    made = [await office.app.accept(afzender=sender) for sender in (MAASVELD, ZANDWIJK) * 4]
    reader = await office.browser(READER)
    seen, path = [], "/berichten"
    while path:
        page = await reader.page(path)
        seen += re.findall(r'<a href="/berichten/([0-9a-f-]{36})"', page)
        more = re.search(r'<a href="([^"]+)" rel="next"', page)
        path = more[1].replace("&amp;", "&") if more else ""
    assert sorted(seen) == sorted(str(item.id) for item in made)


# ---- acts -----------------------------------------------------------------------------------------------------------


async def test_an_act_says_what_follows_and_is_done_as_it_said(office):
    message = await office.bounced()
    handler = await office.browser(HANDLER)
    page = await handler.page(f"/berichten/{message.id}/handelingen/letter")
    assert "Er gaat een brief: brief met het bericht, want een medewerker heeft de brief besteld." in page
    assert "Het moment van verzending verandert niet" in page
    answer = await acted(handler, message.id, "letter")
    assert answer.headers["Location"] == f"/berichten/{message.id}?gedaan=letter"
    assert [letter.kind for letter in (await office.app.delivery(message.id)).letters] == ["notice", "message"]
    assert (HANDLER, "letter", None) in await office.acts()
    (event,) = await office.app.named(message.id, "staff.action")
    assert (event.detail["act"], event.detail["by"], event.details) == ("letter", HANDLER, {"reason": "gebeld"})


async def test_nothing_is_done_when_something_else_would_follow_by_now(office):
    message = await office.app.accept()
    handler = await office.browser(HANDLER)
    page = await handler.page(f"/berichten/{message.id}/handelingen/letter")
    seen = re.search(r'name="gevolgen" value="([^"]*)"', page)[1]
    await office.then(message.id, ev.Placed(BOX, office.app.clock.now(), THEIRS))
    answer = await handler.post(f"/berichten/{message.id}/handelingen/letter", gevolgen=seen, reden="gebeld")
    assert answer.status_code == 422
    assert "Er is intussen iets veranderd" in answer.text
    assert (await office.app.delivery(message.id)).letters == ()
    assert (await acted(handler, message.id, "letter")).status_code == 303


async def test_a_notice_goes_again_to_a_new_address_and_never_moves_the_time_of_sending(office):
    message = await office.app.accept(email="weg@post.example.nl")
    await office.app.settle()
    legal = (await office.app.delivery(message.id)).legal_time(frozenset({BOX}))
    await office.app.pass_time(hours=100, every=25)
    handler = await office.browser(HANDLER)
    wrong = await acted(handler, message.id, "notice_new_address", f"notice/{BOX}", email="geen adres")
    assert (wrong.status_code, "Dit is geen geldig e-mailadres" in wrong.text) == (422, True)
    done = await acted(handler, message.id, "notice_new_address", f"notice/{BOX}", email="nieuw@post.example.nl")
    assert done.status_code == 303
    assert "nieuw@post" not in str([tuple(row) for row in await office.app.rows(tables.staff_act)])
    await office.app.settle()
    (mail,) = office.app.notifier.notices.values()
    assert mail.email == "nieuw@post.example.nl"
    after = await office.app.delivery(message.id)
    assert after.placement(BOX).notice.state == "sent"
    assert after.legal_time(frozenset({BOX})) == legal
    assert (await office.app.named(message.id, "deadline.missed")) == []


async def test_what_was_unknown_is_said_to_have_arrived_at_a_moment(office):
    message = await office.app.accept()
    await office.then(message.id, ev.PlacementPending(BOX, "B-1"))
    office.app.clock.move(hours=30)
    handler = await office.browser(HANDLER)
    soon = await acted(handler, message.id, "found", f"placement/{BOX}", dag="2030-01-01")
    assert "mag niet in de toekomst" in soon.text
    done = await acted(handler, message.id, "found", f"placement/{BOX}", dag="2026-03-02", tijd="12:30")
    assert done.status_code == 303
    placement = (await office.app.delivery(message.id)).placement(BOX)
    assert (placement.state, placement.placed_at.isoformat()) == ("placed", "2026-03-02T11:30:00+00:00")


async def test_a_message_goes_to_a_channel_that_refused_it_before(office):
    message = await office.app.accept()
    await office.then(message.id, ev.PlacementRefused(BOX, "GEEN_BOX", ev.RefusalKind.ADDRESSEE))
    handler = await office.browser(HANDLER)
    assert (await acted(handler, message.id, "place", f"placement/{BOX}")).status_code == 303
    await office.app.settle()
    assert (await office.app.delivery(message.id)).placement(BOX).state == "placed"


@pytest.mark.parametrize("act", ["retry", "handled", "stop_letter", "cancel"])
async def test_the_other_acts(office, act):
    message = await (
        office.app.accept() if act == "cancel" else office.bounced() if act == "stop_letter" else office.defect()
    )
    part = {"handled": f"placement/{BOX}", "stop_letter": "letter/0"}.get(act, "")
    handler = await office.browser(HANDLER)
    assert (await acted(handler, message.id, act, part)).status_code == 303
    delivery = await office.app.delivery(message.id)
    assert {
        "retry": lambda: delivery.placements[0].state == "planned",
        "handled": lambda: delivery.attention == (),
        "stop_letter": lambda: delivery.letters[0].state == "cancelled",
        "cancel": lambda: delivery.cancelled,
    }[act]()
    again = await handler.get(f"/berichten/{message.id}/handelingen/{act}" + (f"?onderdeel={part}" if part else ""))
    assert "Dit kan nu niet (meer)" in again.text


async def test_an_act_without_a_reason_is_not_done(office):
    message = await office.defect()
    handler = await office.browser(HANDLER)
    answer = await acted(handler, message.id, "retry", reden="  ")
    assert (answer.status_code, "Geef een reden" in answer.text) == (422, True)


async def test_the_evidence_of_a_message_is_checked_on_its_page(office):
    message = await office.noticed()
    reader = await office.browser(READER)
    assert "volgen op elkaar, er is niets veranderd" in await reader.page(f"/berichten/{message.id}")
    async with office.app.database.write() as connection:
        await connection.exec_driver_sql("UPDATE delivery SET event_hash = zeroblob(32)")
    assert "Klopt niet" in await reader.page(f"/berichten/{message.id}")


async def test_a_lane_is_stopped_and_started_with_a_reason(office):
    manager = await office.browser(MANAGER)
    assert (await manager.post("/kanalen/print", doe="stop", reden="")).status_code == 422
    await manager.post("/kanalen/print", doe="stop", reden="drukker belt")
    assert await office.app.stopped() == {"print": "drukker belt"}
    assert "drukker belt" in await manager.page("/controle?wat=lane_stopped")
    await manager.post("/kanalen/print", doe="start", reden="weer goed")
    assert await office.app.stopped() == {}


# ---- many -----------------------------------------------------------------------------------------------------------


async def worked(office) -> None:
    while await office.desk.jobs.work():
        pass


async def test_many_are_counted_first_and_confirmed_by_a_second_person(make_office):
    office = await make_office(ConsoleSettings(demo_login=True, confirm_above=2))
    held = [await office.defect() for _ in range(3)]
    done = await office.noticed()
    maker, second = await office.browser(HANDLER), await office.browser(OTHER_HANDLER)
    asked = await maker.post("/opdrachten/nieuw", keuze="alle")
    assert "Voor alles wat is gevonden" in asked.text
    made = await maker.post("/opdrachten", keuze="alle", handeling="retry", reden="MijnOverheid is hersteld")
    where = made.headers["Location"]
    await worked(office)
    page = await maker.page(where)
    assert "3 berichten: dit kan" in page
    assert "1 bericht: dit kan niet. Er gebeurt niets mee." in page
    assert "Een andere collega moet dit bevestigen" in page
    assert "fout=same_person" in (await maker.post(f"{where}/bevestigen")).headers["Location"]
    await worked(office)
    assert [(await office.app.delivery(item.id)).placements[0].state for item in held] == ["held"] * 3, "a dry run"
    await second.post(f"{where}/bevestigen")
    await worked(office)
    assert "3 berichten: gedaan" in await second.page(where)
    assert [(await office.app.delivery(item.id)).placements[0].state for item in held] == ["planned"] * 3
    assert len(await office.app.named(done.id, "staff.action")) == 0
    for item in held:
        (event,) = await office.app.named(item.id, "staff.action")
        assert event.details == {"reason": "MijnOverheid is hersteld"}
    assert {(HANDLER, "job_confirmed", "refused"), (OTHER_HANDLER, "job_confirmed", None)} <= set(await office.acts())


async def test_a_job_that_was_interrupted_goes_on_without_a_double(office, monkeypatch):
    held = [(await office.defect()).id for _ in range(12)]
    jobs = office.desk.jobs
    by = By(HANDLER, "hersteld")
    job_id = await jobs.make(Act.RETRY, held, by, organisations={MAASVELD}, chosen="")
    await worked(office)
    await jobs.confirm(job_id, HANDLER)
    await jobs.work(5)
    times = {"left": 7}
    real = Acts.apply

    async def dies(self, *args, **more):
        times["left"] -= 1
        if times["left"] < 4:
            raise KeyboardInterrupt
        return await real(self, *args, **more)

    monkeypatch.setattr(Acts, "apply", dies)
    with pytest.raises(KeyboardInterrupt):
        await jobs.work(5)
    monkeypatch.undo()
    job = await jobs.read(job_id)
    assert (job.state, job.number("done"), job.number("fit")) == ("running", 5, 7), "the part that died did nothing"
    after = Jobs(office.app.parts, office.desk.acts, office.app.lanes.announce)
    while await after.work(5):
        pass
    assert (await after.read(job_id)).number("done") == 12
    for message in held:
        assert len(await office.app.named(message, "staff.action")) == 1


async def test_one_message_that_cannot_be_done_does_not_hold_up_the_others(office, monkeypatch):
    held = [(await office.defect()).id for _ in range(3)]
    jobs = office.desk.jobs
    job_id = await jobs.make(Act.RETRY, held, By(HANDLER, "hersteld"), organisations={MAASVELD}, chosen="")
    await worked(office)
    await jobs.confirm(job_id, HANDLER)
    real = Acts.apply

    async def fails(self, connection, ledger, message_id, *args, **more):
        if message_id == held[1]:
            raise RuntimeError("Jantje Zonderbrief")
        return await real(self, connection, ledger, message_id, *args, **more)

    monkeypatch.setattr(Acts, "apply", fails)
    await worked(office)
    job = await jobs.read(job_id)
    assert (job.state, job.number("done"), job.notes("skipped")) == ("done", 2, {"RuntimeError": 1})


async def test_a_job_can_be_stopped_and_its_reason_is_forgotten(office):
    held = [await office.defect() for _ in range(2)]
    handler = await office.browser(HANDLER)
    made = await handler.post("/opdrachten", handeling="retry", reden="hersteld", bericht=str(held[0].id))
    await handler.post(f"{made.headers['Location']}/stoppen")
    await worked(office)
    assert "Gestopt" in await handler.page(made.headers["Location"])
    (row,) = await office.app.rows(tables.staff_job)
    assert (row.state, row.sealed) == ("stopped", None)


# ---- who did what ---------------------------------------------------------------------------------------------------


async def test_who_did_what_is_searched_exported_and_cannot_be_changed(office):
    message = await office.defect()
    handler, manager = await office.browser(HANDLER), await office.browser(MANAGER)
    await acted(handler, message.id, "retry", reden="=1+1 gebeld met 999990019")
    page = await manager.page(f"/controle?wie={HANDLER}&wat=retry&bericht={message.id}")
    assert "nog eens proberen" in page
    assert "999990019" not in page
    assert "Er is niets gevonden" in await manager.page("/controle?wie=niemand")
    answer = await manager.get("/controle.csv?wat=retry")
    assert answer.headers["Content-Type"].startswith("text/csv")
    head, line = answer.text.splitlines()
    assert head.startswith("tijdstip;wie;wat")
    assert f";{HANDLER};retry;" in line
    assert (MANAGER, "audit_exported", None) in await office.acts()
    for statement in ("UPDATE staff_act SET who = 'x'", "DELETE FROM staff_act"):
        with pytest.raises(Exception, match="only ever added to"):
            async with office.app.database.write() as connection:
                await connection.exec_driver_sql(statement)


async def test_what_a_spreadsheet_would_run_is_text_in_the_export(office):
    manager = await office.browser(MANAGER)
    await manager.post("/kanalen/print", doe="stop", reden="=HYPERLINK(1)")
    assert ";'=HYPERLINK(1)" in (await manager.get("/controle.csv?wat=lane_stopped")).text


def test_every_act_on_a_part_has_its_choice():
    for act in Act:
        assert Choice(act, "letter/0").event(by="a", reason="b", now=None) is not None
