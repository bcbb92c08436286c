"""Who gets in, what each role may do, and what is refused: forged forms, other bodies' messages, old sessions."""

from uuid import uuid4

import pytest
from tests.service.console.conftest import (
    BASE,
    HANDLER,
    MANAGER,
    READER,
    ZANDWIJK,
    Browser,
)

from bode.store import tables
from bode_ops.console import frame


async def paths(office) -> dict[str, int]:
    message = (await office.bounced()).id
    return {
        "/": 200,
        "/overzicht": 200,
        "/berichten": 200,
        f"/berichten/{message}": 200,
        f"/berichten/{message}/stand": 200,
        f"/berichten/{message}/handelingen/letter": 200,
        f"/berichten/{message}/handelingen/nothing": 404,
        f"/berichten/{message}/afschrift": 200,
        f"/berichten/{uuid4()}": 404,
        "/berichten/geen-id": 404,
        "/teruggekomen": 200,
        "/opdrachten": 200,
        f"/opdrachten/{uuid4()}": 404,
        "/controle": 200,
        "/kanalen/print": 200,
        "/nergens": 404,
        "/static/bode.css": 200,
        "/static/vendor/htmx.js": 200,
        "/static/vendor/README.md": 404,
        "/inloggen": 200,
        "/uitgelogd": 200,
    }


async def test_every_answer_has_the_security_headers(office):
    manager = await office.browser(MANAGER)
    for path, status in (await paths(office)).items():
        answer = await manager.get(path)
        assert answer.status_code == status, path
        for name, value in frame.SECURITY_HEADERS.items():
            if name == "Cache-Control" and path.startswith("/static/") and status == 200:
                assert answer.headers[name] == "no-cache"
            else:
                assert answer.headers[name] == value, path
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


async def test_nobody_sees_anything_without_a_session(office):
    nobody = await office.browser()
    for path in await paths(office):
        answer = await nobody.get(path)
        if path.startswith("/static/") or path in ("/inloggen", "/uitgelogd", "/nergens"):
            continue
        assert answer.status_code == 303, path
        assert answer.headers["Location"].startswith("/inloggen?naar="), path


async def test_a_page_that_refreshes_itself_is_sent_to_the_log_in_when_the_session_ended(office):
    nobody = await office.browser()
    answer = await nobody.client.get("/overzicht", headers={"HX-Request": "true"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (200, "/inloggen")


async def test_whoever_is_idle_is_logged_out_and_a_refreshing_page_is_no_work(office):
    reader = await office.browser(READER)
    for _ in range(3):
        office.app.clock.move(minutes=6)
        answer = await reader.client.get("/overzicht", headers={"HX-Request": "true"}, follow_redirects=False)
    assert "HX-Redirect" in answer.headers
    reader = await office.browser(READER)
    for _ in range(4):
        office.app.clock.move(minutes=6)
        assert (await reader.get("/")).status_code == 200
    office.app.clock.move(minutes=16)
    assert (await reader.get("/")).status_code == 303
    assert await office.app.rows(tables.console_session, tables.console_session.c.who == "nobody") == []


async def test_nobody_stays_logged_in_for_ever(office):
    reader = await office.browser(READER)
    for _ in range(60):
        office.app.clock.move(minutes=10)
        await reader.get("/")
    office.app.clock.move(minutes=1)
    assert (await reader.get("/")).status_code == 303


async def test_logging_out_ends_the_session_for_good(office):
    reader = await office.browser(READER)
    secret = reader.client.cookies["bode"]
    assert (await reader.post("/uitloggen")).headers["Location"] == "/uitgelogd"
    thief = await office.browser()
    thief.client.cookies.set("bode", secret)
    assert (await thief.get("/")).status_code == 303


async def test_a_session_that_was_fixed_beforehand_is_worth_nothing(office):
    victim = await office.browser()
    victim.client.cookies.set("bode", "chosen-by-somebody-else", domain="testserver.local")
    assert (await victim.get("/")).status_code == 303
    await victim.client.post("/inloggen", data={"wie": HANDLER}, follow_redirects=False)
    assert victim.client.cookies["bode"] != "chosen-by-somebody-else"


async def test_each_log_in_has_a_secret_of_its_own_and_ends_the_one_before(office):
    handler = await office.browser(HANDLER)
    first = handler.client.cookies["bode"]
    await handler.client.post("/inloggen", data={"wie": READER}, follow_redirects=False)
    assert handler.client.cookies["bode"] != first
    old = await office.browser()
    old.client.cookies.set("bode", first)
    assert (await old.get("/")).status_code == 303


async def test_the_database_has_no_secret_that_lets_anybody_in(office):
    handler = await office.browser(HANDLER)
    (row,) = await office.app.rows(tables.console_session)
    stored = b"".join(value if isinstance(value, bytes) else str(value).encode() for value in row)
    assert handler.client.cookies["bode"].encode() not in stored
    assert handler.token.encode() not in stored


async def test_over_https_cookies_are_locked_to_the_host(make_office):
    office = await make_office(public_url="https://bode.example")
    browser = await office.browser()
    answer = await browser.client.post("/inloggen", data={"wie": READER}, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-bode=")
    for word in ("Secure", "HttpOnly", "Path=/", "SameSite=lax"):
        assert word in cookie
    assert "Domain" not in cookie


@pytest.mark.parametrize("token", ["", "0" * 64, "of another session"])
async def test_a_form_without_the_token_of_its_session_is_refused_and_written_down(office, token):
    message = await office.defect()
    handler, other = await office.browser(HANDLER), await office.browser(HANDLER)
    handler.token = other.token if token == "of another session" else token
    for path in (f"/berichten/{message.id}/gegevens", f"/berichten/{message.id}/handelingen/retry", "/opdrachten"):
        answer = await handler.post(path, reden="gebeld", handeling="retry", keuze="alle")
        assert answer.status_code == 403
        assert "formulier is verlopen" in answer.text
    assert [event.name for event in await office.app.events(message.id)].count("staff.action") == 0
    assert await office.acts() == [(HANDLER, "csrf", "refused")] * 3


@pytest.mark.parametrize("headers", [{"Origin": "https://elders.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_a_form_from_another_site_is_refused_even_with_the_token(office, headers):
    message = await office.defect()
    handler = await office.browser(HANDLER)
    for path in (f"/berichten/{message.id}/handelingen/retry", "/inloggen", "/uitloggen"):
        fields = {"csrf": handler.token, "reden": "x", "wie": MANAGER}
        answer = await handler.client.post(path, data=fields, headers=headers, follow_redirects=False)
        assert answer.status_code == 403, path
    fields = {"wie": READER}
    ours = await handler.client.post("/inloggen", data=fields, headers={"Origin": BASE}, follow_redirects=False)
    assert ours.status_code == 303


@pytest.mark.parametrize(
    "back_to", ["https://elders.example", "//elders.example", "/\\elders.example", "javascript:x", "/\r\nX: y"]
)
async def test_a_log_in_leads_to_no_other_site(office, back_to):
    nobody = await office.browser()
    answer = await nobody.client.post("/inloggen", data={"wie": READER, "naar": back_to}, follow_redirects=False)
    assert answer.headers["Location"] == "/"


async def test_a_log_in_leads_back_to_the_page_that_was_asked_for(office):
    nobody = await office.browser()
    page = (await nobody.get("/inloggen?naar=/opdrachten")).text
    assert 'name="naar" value="/opdrachten"' in page


# ---- roles ----------------------------------------------------------------------------------------------------------


async def forbidden(office, browser: Browser, message, *requests: tuple[str, str, dict[str, str]]) -> None:
    before = len(await office.app.events(message))
    for method, path, fields in requests:
        answer = await (browser.get(path) if method == "GET" else browser.post(path, **fields))
        assert answer.status_code == 403, path
        assert "Dit mag u niet" in answer.text
    assert len(await office.app.events(message)) == before
    refused = [act for act in await office.acts() if act[2] == "refused"]
    assert len(refused) == len(requests), "every refusal is written down"


async def test_a_reader_cannot_act(office):
    message = (await office.defect()).id
    reason = {"reden": "omdat het kan", "handeling": "letter", "keuze": "alle", "voor": "afzender", "doe": "stop"}
    requests = [
        *(("GET", f"/berichten/{message}/handelingen/{act}", {}) for act in ("letter", "retry", "handled", "cancel")),
        *(("POST", f"/berichten/{message}/handelingen/{act}", reason) for act in ("letter", "retry", "notice_again")),
        ("GET", f"/berichten/{message}/afschrift", {}),
        ("POST", f"/berichten/{message}/afschrift", reason),
        ("GET", "/teruggekomen", {}),
        ("POST", "/teruggekomen/mail/abc", reason),
        ("POST", "/teruggekomen/golf/provider/outlook", reason),
        ("GET", "/opdrachten", {}),
        ("POST", "/opdrachten/nieuw", reason),
        ("POST", "/opdrachten", reason),
        ("POST", f"/opdrachten/{uuid4()}/bevestigen", {}),
        ("GET", "/controle", {}),
        ("GET", "/controle.csv", {}),
        ("POST", "/kanalen/print", reason),
    ]
    await forbidden(office, await office.browser(READER), message, *requests)


async def test_who_handles_cannot_manage(office):
    message = (await office.defect()).id
    reason = {"reden": "omdat het kan", "besluit": "echt", "doe": "stop"}
    requests = [
        ("GET", "/controle", {}),
        ("GET", "/controle.csv", {}),
        ("GET", "/kanalen/print", {}),
        ("POST", "/kanalen/print", reason),
        ("GET", "/teruggekomen/golf/provider/outlook", {}),
        ("POST", "/teruggekomen/golf/provider/outlook", reason),
    ]
    await forbidden(office, await office.browser(HANDLER), message, *requests)
    assert "print" not in await office.app.stopped()


async def test_the_menu_shows_what_a_role_may_do(office):
    shown = {who: await (await office.browser(who)).page("/") for who in (READER, HANDLER, MANAGER)}
    assert 'href="/opdrachten"' not in shown[READER]
    assert 'href="/opdrachten"' in shown[HANDLER]
    assert 'href="/controle"' not in shown[HANDLER]
    assert 'href="/controle"' in shown[MANAGER]


# ---- other bodies' messages ------------------------------------------------------------------------------------------


async def test_another_bodys_message_is_not_there_and_the_try_is_written_down(office):
    theirs = await office.bounced(afzender=ZANDWIJK, zaak="Z-GEHEIM")
    await office.letter(theirs.id)
    handler = await office.browser(HANDLER)
    async with office.app.database.write() as connection:
        await connection.execute(tables.console_session.update().values(organisations="00000001999000010000"))
    reason = {"reden": "nieuwsgierig"}
    for method, path in (
        ("GET", f"/berichten/{theirs.id}"),
        ("GET", f"/berichten/{theirs.id}/stand"),
        ("GET", f"/berichten/{theirs.id}/brieven/0.pdf"),
        ("POST", f"/berichten/{theirs.id}/gegevens"),
        ("GET", f"/berichten/{theirs.id}/handelingen/letter"),
        ("POST", f"/berichten/{theirs.id}/handelingen/letter"),
        ("POST", f"/berichten/{theirs.id}/afschrift"),
    ):
        answer = await (handler.get(path) if method == "GET" else handler.post(path, **reason))
        assert answer.status_code == 404, path
    assert len([act for act in await office.acts() if act[2] == "refused"]) == 7
    for path in (
        "/",
        "/berichten",
        f"/berichten?kenmerk={theirs.reference}",
        "/berichten?zaak=Z-GEHEIM",
        f"/berichten?organisatie={ZANDWIJK}",
        f"/berichten?kenmerk={theirs.id}",
    ):
        page = await handler.page(path)
        assert f'href="/berichten/{theirs.id}"' not in page, path
        assert "Zandwijk" not in page


async def test_a_job_made_for_other_bodies_is_not_shown_or_confirmed(office):
    theirs = await office.defect(afzender=ZANDWIJK)
    maker = await office.browser(MANAGER)
    made = await maker.post("/opdrachten", handeling="retry", reden="hersteld", bericht=str(theirs.id))
    where = made.headers["Location"]
    other = await office.browser(HANDLER)
    async with office.app.database.write() as connection:
        limited = tables.console_session.c.who == HANDLER
        await connection.execute(
            tables.console_session.update().where(limited).values(organisations="00000001999000010000")
        )
    assert (await other.get(where)).status_code == 404
    assert (await other.post(f"{where}/bevestigen")).status_code == 404
    assert where not in await other.page("/opdrachten")
