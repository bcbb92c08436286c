"""Decisions of a zaaksysteem, from notification to write-back, against mock registers that are strict."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest
import structlog
from litestar import Litestar
from litestar.testing import AsyncTestClient
from sqlalchemy.exc import OperationalError

from bode.domain.terms import legal_day
from bode.engine.routes.zgw_notifications import notifications
from bode.engine.zgw import Source, Zgw
from bode.intake.accept import Caller
from bode.intake.zgw_mapping import Rule
from bode.store import tables, zgw
from bode.store.zgw import State
from bode_adapters.contract import Unavailable
from bode_adapters.serving import serve
from bode_adapters.zgw import Registers
from bode_adapters.zgw.mock import BASES, Order, create_mock

OIN, RSIN = "00000001999000010000", "123456782"
KIND = "https://catalogi.example/besluittypen/1"
SECRET, TOKEN = "geheim van minstens zestien", "Bearer notificatie"
PERSON = {
    "inpBsn": "999990019",
    "voornamen": "Jantje",
    "voorvoegselGeslachtsnaam": "van",
    "geslachtsnaam": "Zonderbrief",
    "verblijfsadres": {
        "wplWoonplaatsNaam": "Maasveld",
        "gorOpenbareRuimteNaam": "Regenboogkade",
        "aoaPostcode": "1234AB",
        "aoaHuisnummer": 17,
    },
}
RULE = Rule(
    besluittype=KIND,
    aard="beschikking",
    rechtsgevolgen="De gemeente heeft een besluit genomen. U kunt bezwaar maken.",
    termijn="P6W",
    onderwerp="Besluit over {zaak.omschrijving}",
    tekst="Op {besluit.datum} namen wij een besluit.",
    kanalen=({"kanaal": "mijnoverheid"},),
)


class Side:
    """A zaaksysteem and Bode beside each other."""

    def __init__(self, app, mock, work, client, pdf):
        self.app, self.mock, self.zgw, self.client, self.pdf = app, mock, work, client, pdf

    def decision(self, *, documents=1, **document):
        """Have a decision with its documents; gives its address and the notifications of the links."""
        case = self.mock.add_case(betrokkene=PERSON, email="goed.jan@post.example.nl")
        url = self.mock.add_decision(case, rsin=RSIN, besluittype=KIND, datum=date(2026, 3, 2))
        made = [self.mock.add_document(self.pdf, **document) for _ in range(documents)]
        return SimpleNamespace(url=url, documents=made, told=[self.mock.link(url, one) for one in made])

    async def notify(self, told, *, token=TOKEN):
        return (await self.client.post("/inbound/zgw/zaak", json=told, headers={"Authorization": token})).status_code

    async def work(self, **later):
        """Let time pass, and work all that is due, the sending as well."""
        self.app.clock.move(**(later or {"seconds": 11}))
        await self.zgw.work()
        await self.app.settle()
        await self.zgw.work()

    async def row(self):
        (row,) = await self.app.rows(tables.zgw_decision)
        return row


@pytest.fixture
async def side(make_app, sqlite_url, pdf):
    app = await make_app(sqlite_url)
    server = create_mock(clock=lambda: datetime.now(UTC), client_id="bode", secret=SECRET)
    async with serve(server) as address:
        mock = server.state.mock
        mock.address = address
        table = {f"{name}_url": f"{address}{base}" for name, base in BASES.items()}
        registers = Registers.from_settings(
            table | {"client_id": "bode", "timeout_seconds": 5}, secret=SECRET, clock=lambda: datetime.now(UTC)
        )
        source = Source(
            "zaak",
            registers,
            [RULE],
            {RSIN: OIN},
            "zaakvertrouwelijk",
            date(2026, 1, 1),
            frozenset({"mijnoverheid"}),
            caller=Caller("zgw:zaak", frozenset({OIN})),
        )
        work = Zgw(app.database, app.clock, app.intake, app.parts.policy, [source])
        route = notifications({"zaak": TOKEN}, notified=work.notified, is_ours=work.is_ours)
        await registers.open()
        async with AsyncTestClient(Litestar([route], openapi_config=None, logging_config=None)) as client:
            yield Side(app, mock, work, client, pdf)
        await registers.close()


async def test_the_whole_way_from_notification_to_write_back(side):
    made = side.decision()
    assert await side.notify(made.told[0]) == 204
    await side.work()
    (message,) = await side.app.rows(tables.message)
    delivery = await side.app.delivery(message.id)
    besluit = side.mock.things[made.url]
    assert message.reference == besluit["identificatie"]
    assert side.app.box.placements[message.id] == 1
    day = legal_day(delivery.placements[0].placed_at).isoformat()
    assert besluit["verzenddatum"] == day
    (verzending,) = side.mock.verzendingen
    assert verzending.pop("url")
    role = side.mock.rollen[0]["url"]
    assert verzending == {
        "informatieobject": made.documents[0],
        "betrokkene": role,
        "contactPersoon": role,
        "aardRelatie": "geadresseerde",
        "verzenddatum": day,
        "mijnOverheid": True,
    }
    assert (await side.row()).state == State.WRITTEN
    assert await side.zgw.work() == 0


async def test_a_notification_that_comes_again_changes_nothing(side):
    made = side.decision()
    for _ in range(2):
        assert await side.notify(made.told[0]) == 204
    await side.work()
    assert await side.notify(made.told[0]) == 204
    await side.work()
    assert len(await side.app.rows(tables.message)) == 1
    assert len(side.mock.verzendingen) == 1
    row = await side.row()
    assert (row.state, row.late) == (State.WRITTEN, False)


async def test_notifications_out_of_order_make_one_message_with_all_documents(side):
    made = side.decision(documents=3)
    for told in reversed(made.told):
        assert await side.notify(told) == 204
    await side.work()
    assert len(await side.app.rows(tables.message)) == 1
    assert len(await side.app.rows(tables.document)) == 3
    assert {item["informatieobject"] for item in side.mock.verzendingen} == set(made.documents)


async def test_a_document_that_is_linked_after_sending_is_shown_to_a_person(side):
    made = side.decision()
    await side.notify(made.told[0])
    await side.work()
    late = side.mock.link(made.url, side.mock.add_document(side.pdf))
    with structlog.testing.capture_logs() as logs:
        assert await side.notify(late) == 204
    assert [line["log_level"] for line in logs if line["event"] == "zgw.document_after_sending"] == ["error"]
    assert (await side.row()).late
    assert len(await side.app.rows(tables.message)) == 1
    async with side.app.database.write() as connection:
        assert [item.late for item in await zgw.read(connection, states=[], limit=5)] == [True]
        assert await zgw.seen(connection, made.url.rpartition("/")[2]) == 1
    assert not (await side.row()).late


async def handled(side, url):
    async with side.app.database.write() as connection:
        return await zgw.handled(connection, url.rpartition("/")[2], side.app.clock.now())


async def test_a_decision_that_a_person_dealt_with_is_left_alone_and_asks_for_nobody(side):
    made = side.decision(vertrouwelijkheidaanduiding="geheim")
    await side.notify(made.told[0])
    await side.work()
    assert (await side.row()).state == State.REFUSED
    assert await handled(side, made.url) == 1
    assert await handled(side, made.url) == 0
    await side.work(days=2)
    assert await side.zgw.reconcile("zaak") == 0
    row = await side.row()
    assert (row.state, row.answer, row.message_id, row.late) == (State.WRITTEN, "handled", None, False)
    assert not await side.app.rows(tables.message)
    async with side.app.database.read() as connection:
        assert not await zgw.read(connection, states=[State.REFUSED, State.WAITING], limit=5)
    # Nobody knows which documents that person saw: another notification is shown, and sends nothing.
    await side.notify(made.told[0])
    await side.work()
    assert (await side.row()).late
    assert not await side.app.rows(tables.message)


async def test_what_a_worker_has_in_hand_when_it_is_called_handled_is_not_hidden(side):
    made = side.decision()
    await side.notify(made.told[0])
    side.app.clock.move(seconds=11)
    now = side.app.clock.now()
    async with side.app.database.write() as connection:
        (held,) = await zgw.claim(connection, limit=1, now=now, until=now + timedelta(minutes=10))
    assert await handled(side, made.url) == 1
    await side.zgw._do(held)
    (message,) = await side.app.rows(tables.message)
    row = await side.row()
    assert (row.state, row.message_id) == (State.ACCEPTED, message.id)


async def test_a_lost_notification_is_made_good_by_the_poller(side):
    made = side.decision()
    side.mock.add_decision("", rsin=RSIN, besluittype=KIND, datum=date(2025, 3, 2))  # before `since`
    side.mock.add_decision("", rsin=RSIN, besluittype=KIND, datum=date(2026, 3, 2))  # no document yet
    assert await side.zgw.reconcile("zaak") == 1
    await side.work(seconds=1)
    assert side.mock.things[made.url]["verzenddatum"]
    assert await side.zgw.reconcile("zaak") == 0
    assert len(await side.app.rows(tables.message)) == 1


async def test_the_poller_reads_every_page(side):
    case = side.mock.add_case(betrokkene=PERSON)
    for number in range(205):
        url = side.mock.add_decision(case, rsin=RSIN, besluittype=KIND, datum=date(2026, 3, 2))
        if number % 100 == 0:
            side.mock.link(url, side.mock.add_document(side.pdf))
    assert await side.zgw.reconcile("zaak") == 3


@pytest.mark.parametrize("status", ["in_bewerking", "ter_vaststelling", ""])
async def test_a_document_that_is_not_final_is_waited_for(side, status):
    made = side.decision(status=status)
    await side.notify(made.told[0])
    await side.work()
    row = await side.row()
    assert (row.state, row.answer) == (State.WAITING, "document_niet_definitief")
    assert await side.app.rows(tables.message) == []
    await side.work(minutes=4)
    side.mock.things[made.documents[0]]["status"] = "definitief"
    await side.work(hours=1)
    assert (await side.row()).state == State.WRITTEN


async def test_a_document_that_becomes_final_goes_at_once_when_a_notification_tells(side):
    made = side.decision(status="in_bewerking")
    await side.notify(made.told[0])
    await side.work()
    side.mock.things[made.documents[0]]["status"] = "definitief"
    await side.notify(made.told[0])
    await side.work()
    assert (await side.row()).state == State.WRITTEN


@pytest.mark.parametrize("word", ["geheim", "vertrouwelijk", "", "topgeheim"])
async def test_a_document_that_is_too_confidential_is_never_sent(side, word):
    made = side.decision(vertrouwelijkheidaanduiding=word)
    await side.notify(made.told[0])
    await side.work()
    row = await side.row()
    assert (row.state, row.answer) == (State.REFUSED, "te_vertrouwelijk")
    assert not [path for _, path in side.mock.calls if path.endswith("/download")]


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (lambda side, made: side.mock.things[made.url].update(besluittype="https://x.example"), "geen_regel"),
        (lambda side, made: side.mock.things[made.url].update(zaak=""), "geen_zaak"),
        (
            lambda side, made: side.mock.things[made.url].update(zaak="https://elders.example/z/1"),
            "zaken:other_address",
        ),
        (lambda side, made: side.mock.things[made.url].update(verantwoordelijkeOrganisatie="1"), "andere_organisatie"),
        (lambda side, _: side.mock.rollen.clear(), "geen_geadresseerde"),
        (lambda side, _: side.mock.rollen.append(dict(side.mock.rollen[0])), "meer_geadresseerden"),
        (lambda side, _: side.mock.rollen[0].update(betrokkeneType="medewerker"), "geadresseerde_van_andere_soort"),
        (lambda side, made: side.mock.contents.update({made.documents[0]: b"geen pdf"}), "intake: "),
        (lambda side, made: side.mock.things.pop(made.documents[0]), "documenten:404"),
        (lambda side, made: side.mock.things[made.documents[0]].update(formaat="text/html"), "document_geen_pdf"),
    ],
)
async def test_what_no_message_can_be_made_of_waits_for_a_person(side, change, answer):
    made = side.decision()
    change(side, made)
    await side.notify(made.told[0])
    with structlog.testing.capture_logs() as logs:
        await side.work()
    row = await side.row()
    assert row.state == State.REFUSED
    assert row.answer.startswith(answer)
    assert await side.app.rows(tables.message) == []
    assert [line["log_level"] for line in logs if line["event"] == "zgw.decided"] == ["error"]
    assert "Zonderbrief" not in repr(logs) + row.answer


async def test_what_a_person_mended_is_tried_again(side):
    made = side.decision()
    roles = list(side.mock.rollen)
    side.mock.rollen.clear()
    await side.notify(made.told[0])
    await side.work()
    side.mock.rollen.extend(roles)
    async with side.app.database.write() as connection:
        assert await zgw.retry(connection, made.url.rpartition("/")[2], side.app.clock.now()) == 1
    await side.work(seconds=1)
    assert (await side.row()).state == State.WRITTEN


async def test_registers_that_are_away_are_asked_again(side):
    made = side.decision()
    await side.notify(made.told[0])
    side.mock.orders.append(Order("http-503", keer=3))
    await side.work()
    assert (await side.row()).answer == "besluiten:503"
    for _ in range(8):
        await side.work(hours=1)
    assert (await side.row()).state == State.WRITTEN


@pytest.mark.parametrize("status", [403, 500])
async def test_a_write_back_that_fails_is_repeated_and_seen(side, status):
    made = side.decision()
    await side.notify(made.told[0])
    side.mock.orders.append(Order(f"schrijf-http-{status}", keer=1))
    await side.work()
    row = await side.row()
    assert (row.state, row.answer) == (State.WRITING, f"besluiten:{status}")
    await side.zgw.measure()
    async with side.app.database.read() as connection:
        assert [(source, state) for source, state, *_ in await zgw.counts(connection)] == [("zaak", "writing")]
    await side.work(hours=7)
    assert (await side.row()).state == State.WRITTEN
    assert len(side.mock.verzendingen) == 1
    assert len(await side.app.rows(tables.message)) == 1


async def test_a_write_back_that_stopped_half_way_adds_no_sending_twice(side):
    made = side.decision(documents=3)
    for told in made.told:
        await side.notify(told)
    side.mock.orders.append(Order("schrijf-http-502", na=2))
    await side.work()
    assert (await side.row()).answer == "documenten:502"
    assert len(side.mock.verzendingen) == 1
    await side.work(hours=1)
    assert (await side.row()).state == State.WRITTEN
    assert len(side.mock.verzendingen) == 3


async def test_a_second_sending_is_written_back_too(side):
    """L8: the first sending came back; the letter's posting is the day that counts."""
    made = side.decision()
    await side.notify(made.told[0])
    side.app.box.script.rule = lambda _: Unavailable("later")
    await side.work()
    assert (await side.row()).state == State.ACCEPTED
    assert side.mock.things[made.url]["verzenddatum"] is None
    side.app.box.script.rule = None
    await side.app.pass_time(hours=8, every=4)
    await side.work()
    assert side.mock.things[made.url]["verzenddatum"] == legal_day(side.app.clock.now()).isoformat()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"kanaal": "zaken"}, 204),
        ({"resource": "besluit", "actie": "update"}, 204),
        ({"actie": "destroy"}, 204),
        ({"hoofdObject": "https://elders.example/besluiten/api/v1/besluiten/1"}, 400),
        ({"hoofdObject": None}, 400),
    ],
)
async def test_what_is_no_link_of_ours_wakes_nothing(side, changes, status):
    assert await side.notify(side.decision().told[0] | changes) == status
    assert await side.app.rows(tables.zgw_decision) == []


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer fout", "notificatie"])
async def test_a_notification_needs_the_subscriptions_token(side, token):
    assert await side.notify(side.decision().told[0], token=token) == 401
    assert await side.app.rows(tables.zgw_decision) == []


async def test_a_notification_that_cannot_be_stored_is_to_be_sent_again(side, monkeypatch):
    async def away(*_args, **_options):
        raise OperationalError(None, None, ConnectionError("weg"))

    monkeypatch.setattr(zgw, "wake", away)
    assert await side.notify(side.decision().told[0]) == 503


async def test_several_workers_make_one_message(side):
    made = side.decision()
    await side.notify(made.told[0])
    side.app.clock.move(seconds=11)
    done = await asyncio.gather(*(side.zgw.work() for _ in range(4)))
    assert sum(done) == 1
    assert len(await side.app.rows(tables.message)) == 1


async def test_a_worker_that_died_with_a_decision_leaves_it_to_another(side):
    """Killed after the message was stored and before that was recorded: the same message, known."""
    made = side.decision()
    await side.notify(made.told[0])
    side.app.clock.move(seconds=11)
    now = side.app.clock.now()
    async with side.app.database.write() as connection:
        (held,) = await zgw.claim(connection, limit=1, now=now, until=now + timedelta(minutes=10))
    await side.zgw._send(side.zgw._sources["zaak"], held)
    assert len(await side.app.rows(tables.message)) == 1
    await side.work(minutes=11)
    assert len(await side.app.rows(tables.message)) == 1
    assert (await side.row()).state == State.WRITTEN
