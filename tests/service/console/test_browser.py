"""The console in a real browser (Debian's chromium): every act with and without JavaScript, on a phone, by keyboard."""

import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar, get
from playwright.async_api import Browser, Page, async_playwright
from tests.service.console.conftest import BOX, MANAGER, THEIRS, Office

from bode.domain import events as ev
from bode.engine.inbound import Raw
from bode.store.mail_health import BurstKind, open_burst
from bode_adapters.serving import serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
AXE = "axe-core@4.14.1"
DESK, PHONE, ZOOMED = {"width": 1280, "height": 900}, {"width": 360, "height": 740}, {"width": 640, "height": 450}
STRAY = (
    b"x@retour.example.nl\nFrom: MAILER-DAEMON@mx.example\nSubject: Undeliverable\nMIME-Version: 1.0\n"
    b'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n'
    b"--b\nContent-Type: text/plain\n\nno\n"
    b"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n"
    b"Final-Recipient: rfc822; weg@post.example.nl\nAction: failed\nStatus: 5.1.1\n"
    b"Diagnostic-Code: smtp; 550 5.1.1 User unknown\n--b--\n"
)


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    path = shutil.which("chromium")
    assert path, "these tests need Debian's chromium: apt-get install chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def url(office) -> AsyncIterator[str]:
    async with serve(office.build()) as found:
        yield found


async def opened(chromium: Browser, url: str, who: str = MANAGER, **options: Any) -> Page:
    page = await (await chromium.new_context(viewport=DESK, **options)).new_page()
    await page.goto(url)
    await page.click(f'button[value="{who}"]')
    assert await page.title() == "Overzicht – Bode"
    return page


async def do(page: Page, url: str, message: Any, title: str, **fields: str) -> None:
    """Do an act from the page of its message, as a person does."""
    await page.goto(f"{url}/berichten/{message.id}")
    await page.locator("ul.acts a").filter(has_text=title).first.click()
    assert await page.locator("ul.effects li").count() > 0, "it says what follows"
    for name, value in fields.items():
        await page.fill(f"#{name}", value)
    await page.fill("#reden", "de beller vraagt erom")
    await page.click('button:has-text("Doen")')
    assert "Vastgelegd" in await page.inner_text("main"), title


async def stray(office: Office) -> str:
    await office.app.inbound.store(Raw("ab" * 32, "smtp", office.app.clock.real(), STRAY))
    async with office.app.database.write() as connection:
        await connection.exec_driver_sql("UPDATE inbound SET state = 'unmatched', note = 'x'")
    return "ab" * 32


@pytest.mark.parametrize(
    "mode",
    [{"java_script_enabled": True}, {"java_script_enabled": False}, {"java_script_enabled": False, "viewport": PHONE}],
    ids=["script", "no script", "phone"],
)
async def test_every_act_is_done_in_the_browser(chromium, office, url, mode):  # noqa: PLR0915 - a long morning
    now = office.app.clock.now()
    view = mode.pop("viewport", None)
    page = await opened(chromium, url, **mode)
    if view:
        await page.set_viewport_size(view)
    await do(page, url, await office.defect(), "Nog eens proberen")
    await do(page, url, await office.defect(), "Vastleggen dat u dit zelf hebt afgehandeld")
    await do(page, url, await office.defect(), "Vastleggen dat het is aangekomen")
    await do(page, url, await office.app.accept(), "Bericht annuleren")
    gone = await office.bounced()
    await do(page, url, gone, "Brief tegenhouden")
    await do(page, url, gone, "Bericht nu per brief sturen")
    await do(page, url, gone, "Kennisgeving naar een nieuw e-mailadres", email="nieuw@post.example.nl")
    sent = await office.noticed()
    await do(page, url, sent, "Kennisgeving opnieuw versturen")
    refused = await office.app.accept()
    await office.then(refused.id, ev.PlacementRefused(BOX, "GEEN_BOX", ev.RefusalKind.ADDRESSEE))
    await do(page, url, refused, "Bericht alsnog plaatsen")
    about = await office.app.accept(email="weg@post.example.nl")
    await office.then(about.id, ev.Placed(BOX, now, THEIRS), ev.NoticeSent(BOX, now))
    await stray(office)
    await page.goto(f"{url}/teruggekomen")
    await page.click('a:has-text("Ontvangen op")')
    assert "dit e-mailadres bestaat niet" in await page.inner_text("main")
    await page.fill("#kenmerk", about.reference)
    await page.fill("#reden", "adres komt overeen")
    await page.click('button:has-text("Koppelen")')
    assert (await office.app.delivery(about.id)).placement(BOX).notice.state == "undeliverable"
    async with office.app.database.write() as connection:
        await open_burst(connection, BurstKind.PROVIDER, "outlook", now)
    await page.goto(f"{url}/teruggekomen")
    await page.click('a:has-text("Beslissen")')
    await page.check("#besluit-niet")
    await page.fill("#reden", "storing bij de provider")
    await page.click('button:has-text("Besluit vastleggen")')
    assert "Vastgelegd voor 0 kennisgevingen" in await page.inner_text("main")
    await page.goto(f"{url}/berichten?status=wacht_op_medewerker")
    await office.defect()
    await page.reload()
    await page.check('input[name="bericht"]')
    await page.click('button:has-text("Handeling op de gekozen berichten")')
    await page.select_option("#handeling", "retry")
    await page.fill("#reden", "hersteld")
    await page.click('button:has-text("Kijk wat er zou gebeuren")')
    while await office.desk.jobs.work():
        pass
    await page.reload()
    await page.click('button:has-text("Bevestigen")')
    while await office.desk.jobs.work():
        pass
    await page.reload()
    assert "1 bericht: gedaan" in await page.inner_text("main")
    await page.goto(f"{url}/kanalen/print")
    await page.fill("#reden", "drukker belt")
    await page.click('button:has-text("Stilzetten")')
    assert "drukker belt" in await page.inner_text("main")
    await page.goto(f"{url}/berichten/{sent.id}")
    await page.fill("#reden", "mevrouw belt zelf")
    await page.click('button:has-text("Toon persoonsgegevens")')
    assert "Jantje Zonderbrief" in await page.inner_text("#gegevens >> xpath=..")
    await page.click('button:has-text("Uitloggen")')
    assert "U bent uitgelogd" in await page.inner_text("h1")


async def test_a_caller_is_helped_by_keyboard_alone(chromium, office, url):
    message = await office.bounced()
    page = await (await chromium.new_context(viewport=DESK)).new_page()
    await page.goto(url)

    async def reach(text: str) -> None:
        for _ in range(80):
            await page.keyboard.press("Tab")
            focused = await page.evaluate(
                "(document.activeElement.innerText || document.activeElement.id || '').trim()"
            )
            if text in focused:
                ring = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert ring != "none", f"{text} has no ring when it has the focus"
                return
        raise AssertionError(f"{text} cannot be reached")

    await reach("Anna Jansen")
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    await reach("zoek-kenmerk")
    await page.keyboard.type(message.reference)
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    await reach("Bericht nu per brief sturen")
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    await reach("reden")
    await page.keyboard.type("wil het op papier")
    await reach("Doen")
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    assert len((await office.app.delivery(message.id)).letters) == 2


async def test_five_callers_are_helped_in_as_many_clicks_as_the_docs_say(chromium, office, url, body):
    table = (Path(__file__).parents[3] / "docs/console.md").read_text("utf-8").partition("## Five callers")[2]
    told = [int(line.split("|")[-2]) for line in table.splitlines() if line.startswith('| "')]
    caller = body()
    message = await office.bounced(**caller)
    page = await opened(chromium, url)
    clicks: list[int] = []

    async def call(*does: tuple[str, str], then: str) -> None:
        """Go through a call from the first page: fields to type in and things to click."""
        await page.goto(url)
        for where, typed in does:
            await (page.fill(where, typed) if typed else page.locator(where).first.click())
        await page.wait_for_load_state()
        assert then in await page.inner_text("main"), then
        clicks.append(sum(not typed for _, typed in does))

    search = (("#zoek-kenmerk", message.reference), ('button:text-is("Zoek")', ""))
    why, do = ("#reden", "de beller vraagt erom"), ('button:text-is("Doen")', "")
    await call(*search, then="dit e-mailadres bestaat niet")
    await call(
        ('nav a:text-is("Zoeken")', ""),
        ("#waarde", caller["geadresseerde"]["nummer"]),
        ('button:text-is("Zoek persoon")', ""),
        (f'a:text-is("{message.reference}")', ""),
        then="Tijdlijn",
    )
    new = ('a:has-text("naar een nieuw e-mailadres")', "")
    await call(*search, new, ("#email", "nieuw@post.example.nl"), why, do, then="Vastgelegd")
    await call(*search, then="Laatste dag van de termijn")
    await call(*search, ('a:has-text("Bericht nu per brief sturen")', ""), why, do, then="Vastgelegd")
    assert clicks == told


async def pages(office: Office) -> list[str]:
    message, done = await office.bounced(), await office.noticed()
    await office.letter(message.id)
    await stray(office)
    async with office.app.database.write() as connection:
        await open_burst(connection, BurstKind.PROVIDER, "outlook", office.app.clock.now())
    return [
        "/", "/berichten", "/berichten?beeld=teruggekomen", f"/berichten/{message.id}", f"/berichten/{done.id}",
        f"/berichten/{message.id}/handelingen/letter", f"/berichten/{message.id}/afschrift",
        f"/berichten/{message.id}/handelingen/notice_new_address?onderdeel=notice/{BOX}",
        "/teruggekomen", f"/teruggekomen/mail/{'ab' * 32}", "/teruggekomen/golf/provider/outlook", "/opdrachten",
        "/controle", "/kanalen/print", "/inloggen", "/uitgelogd", "/nergens",
    ]  # fmt: skip


@pytest.fixture
def axe(tmp_path) -> str:
    npm = shutil.which("npm")
    assert npm, "this test needs npm, for axe-core"
    subprocess.run([npm, "install", "--silent", "--prefix", str(tmp_path), AXE], check=True, timeout=120)
    return Path(tmp_path / "node_modules/axe-core/axe.min.js").read_text()


async def test_axe_finds_nothing_and_nothing_is_cut_off_at_200_percent(chromium, office, url, axe):
    page = await opened(chromium, url)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if "Content Security Policy" in said.text else None)
    for path in await pages(office):
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            await page.goto(url + path)
            await page.evaluate(axe)
            found = await page.evaluate("axe.run()")
            wrong = [(item["id"], [node["html"][:200] for node in item["nodes"]]) for item in found["violations"]]
            assert wrong == [], (path, scheme)
        for size in (ZOOMED, PHONE):
            await page.set_viewport_size(size)
            wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, (path, size, wide)
        await page.set_viewport_size(DESK)
    assert errors == []


async def test_another_sites_page_cannot_show_ours_in_a_frame(chromium, office, url):
    @get("/", media_type="text/html")
    async def trap() -> str:
        return f'<iframe src="{url}/inloggen"></iframe>'

    async with serve(Litestar([trap], openapi_config=None)) as elsewhere:
        page = await (await chromium.new_context()).new_page()
        await page.goto(elsewhere)
        await page.wait_for_timeout(500)
        shown = [await frame.evaluate("document.body ? document.body.innerText : ''") for frame in page.frames[1:]]
        assert not any("Inloggen" in text for text in shown)


async def test_a_page_refreshes_itself_only_while_it_is_seen(chromium, office, url):
    page = await opened(chromium, url)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/overzicht") else None)
    await page.wait_for_timeout(5000)
    assert asked, "it refreshes itself"
    await page.evaluate("Object.defineProperty(document, 'hidden', {get: () => true, configurable: true})")
    await page.wait_for_timeout(300)
    asked.clear()
    await page.wait_for_timeout(5000)
    assert asked == [], "nobody looks"
    await page.evaluate("Object.defineProperty(document, 'hidden', {get: () => false, configurable: true})")
    await page.click('button:has-text("Bijwerken pauzeren")')
    await page.wait_for_timeout(300)
    asked.clear()
    await page.wait_for_timeout(5000)
    assert asked == [], "it was told to stop"
