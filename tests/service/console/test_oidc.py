"""Logging in with an identity provider: the code flow with PKCE, roles and bodies from claims, and what is refused."""

import asyncio
import time
from collections.abc import Iterator
from threading import Event, Thread
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr
from tests.service.console.conftest import BASE, MAASVELD, ZANDWIJK, Browser, Office
from tests.service.console.identity import Identity, application

from bode.settings import ConsoleSettings, OidcSettings
from bode.store import tables
from bode_adapters.serving import serve


@pytest.fixture
def identity() -> Iterator[Identity]:
    """Give a provider in a thread of its own: the test's client holds up the test's loop while it waits."""
    found = Identity(claims={"preferred_username": "k.smit", "name": "Kim Smit", "roles": ["behandelen"]})
    ready, loop = Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        async with serve(application(found)) as url:
            found.issuer = url
            ready.set()
            await stop.wait()

    thread = Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert ready.wait(30)
    yield found
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@pytest.fixture
async def office(make_office, identity) -> Office:
    oidc = OidcSettings(
        issuer=identity.issuer,
        client_id="bode",
        client_secret=SecretStr("geheim"),
        roles_claim="roles",
        organisations_claim="bestuursorganen",
    )
    identity.claims.setdefault("bestuursorganen", [MAASVELD])
    return await make_office(ConsoleSettings(oidc=oidc))


async def through(browser: Browser, path: str = "/inloggen/start?naar=/opdrachten", *, change=None) -> httpx.Response:
    """Log in as a browser would: to the provider and back; `change` alters the address that it comes back with."""
    begun = await browser.get(path)
    async with httpx.AsyncClient() as client:
        answer = await client.get(begun.headers["Location"])
    back = answer.headers["Location"].removeprefix(BASE)
    return await browser.get(change(back) if change else back)


async def test_a_log_in_by_code_with_pkce(office, identity):
    browser = await office.browser()
    answer = await through(browser)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/opdrachten")
    (asked,) = identity.asked
    assert (asked["response_type"], asked["code_challenge_method"], asked["scope"]) == (
        "code",
        "S256",
        "openid profile",
    )
    assert "Kim Smit" in await browser.page("/")
    (session,) = await office.app.rows(tables.console_session)
    assert (session.who, session.role, session.organisations) == ("k.smit", "behandelen", MAASVELD)
    assert await office.app.rows(tables.console_login) == [], "what was kept for the log-in is gone"


@pytest.mark.parametrize(
    ("roles", "role"),
    [(["lezen"], "lezen"), (["behandelen", "lezen"], "behandelen"), (["beheren"], "beheren"), ("lezen", "lezen")],
)
async def test_the_highest_role_of_the_claims_counts(office, identity, roles, role):
    identity.claims["roles"] = roles
    await through(await office.browser())
    (session,) = await office.app.rows(tables.console_session)
    assert session.role == role


@pytest.mark.parametrize(
    "claims",
    [
        {"roles": []},
        {"roles": ["iets anders"]},
        {"roles": None},
        {"bestuursorganen": []},
        {"bestuursorganen": ["00000000000000000000"]},
        {"preferred_username": ""},
        {"preferred_username": "x" * 65},
        {"preferred_username": 7},
    ],
)
async def test_without_a_role_a_body_or_a_name_nobody_gets_in(office, identity, claims):
    identity.claims |= claims
    answer = await through(await office.browser())
    assert answer.status_code == 403
    assert "U hebt geen toegang" in answer.text
    assert await office.app.rows(tables.console_session) == []
    (act,) = await office.app.rows(tables.staff_act)
    assert (act.act, act.outcome) == ("login", "refused")


async def test_bodies_of_the_claims_are_all_that_is_seen(office, identity):
    mine, theirs = await office.noticed(), await office.noticed(afzender=ZANDWIJK)
    browser = await office.browser()
    await through(browser)
    page = await browser.page("/berichten")
    assert str(mine.id) in page
    assert str(theirs.id) not in page


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"nonce": "anders"}, "nonce"),
        ({"aud": "anders"}, "audience"),
        ({"aud": ["bode", "anders"]}, "authorized_party"),
        ({"iss": "https://elders.example"}, "issuer"),
        ({"exp": int(time.time()) - 3600}, "expired"),
        ({"exp": None}, "expired"),
        ({"iat": int(time.time()) + 3600}, "issued_in_future"),
    ],
)
async def test_a_token_that_is_not_for_this_log_in_is_refused(office, identity, wrong, code):
    identity.wrong = wrong
    answer = await through(await office.browser())
    assert answer.status_code == 400
    assert f"<code>{code}</code>" in answer.text
    assert await office.app.rows(tables.console_session) == []


async def test_a_token_signed_by_somebody_else_is_refused(office, identity):
    identity.other_key = True
    answer = await through(await office.browser())
    assert "<code>signature</code>" in answer.text


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda back: back.replace("state=", "state=x"), "state"),
        (lambda back: back.split("?")[0] + "?error=access_denied&state=" + parse_qs(urlsplit(back).query)["state"][0],
         "refused_there"),
        (lambda back: back.replace("code=", "code=x"), "code_refused"),
        (lambda back: back + "&iss=https://elders.example", "other_issuer"),
    ],
)  # fmt: skip
async def test_an_answer_that_was_tampered_with_is_refused(office, change, code):
    answer = await through(await office.browser(), change=change)
    assert answer.status_code == 400
    assert f"<code>{code}</code>" in answer.text


async def test_an_answer_works_once_and_in_its_own_browser_only(office):
    mine, other = await office.browser(), await office.browser()
    begun = await mine.get("/inloggen/start")
    async with httpx.AsyncClient() as client:
        back = (await client.get(begun.headers["Location"])).headers["Location"].removeprefix(BASE)
    assert (await other.get(back)).status_code == 400
    assert (await mine.get(back)).status_code == 303
    assert (await mine.get(back)).status_code == 400


async def test_a_log_in_that_took_too_long_is_refused(office):
    browser = await office.browser()
    begun = await browser.get("/inloggen/start")
    office.app.clock.move(minutes=11)
    async with httpx.AsyncClient() as client:
        back = (await client.get(begun.headers["Location"])).headers["Location"].removeprefix(BASE)
    assert "<code>state</code>" in (await browser.get(back)).text


async def test_there_is_no_log_in_as_somebody_invented_beside_it(office):
    browser = await office.browser()
    assert "demonstratie" not in (await browser.get("/inloggen")).text
    answer = await browser.client.post("/inloggen", data={"wie": "b.elamrani"}, follow_redirects=False)
    assert answer.status_code == 404


async def test_a_provider_that_is_away_is_said_so(make_office):
    oidc = OidcSettings(issuer="http://127.0.0.1:9", client_id="bode")
    office = await make_office(ConsoleSettings(oidc=oidc))
    answer = await (await office.browser()).get("/inloggen/start")
    assert (answer.status_code, "<code>not_reached</code>" in answer.text) == (400, True)
