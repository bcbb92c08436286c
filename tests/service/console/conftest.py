"""The console over real parts on SQLite, with people who are logged in, and stories to look at."""

import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from httpx import Response
from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.testing import AsyncTestClient
from tests.service.conftest import App

from bode.domain import events as ev
from bode.domain.bounces import Reason, Verdict
from bode.engine.acts import Acts
from bode.engine.jobs import Jobs
from bode.intake.accept import Accepted
from bode.intake.status import StatusReader
from bode.settings import ConsoleSettings
from bode.store import messages, tables
from bode.store.messages import StoredLetter
from bode.store.record import lock
from bode_ops.console import frame, pages
from bode_ops.console.access import Access
from bode_ops.console.desk import Desk
from bode_ops.console.frame import Frame

BASE = "http://testserver.local"
MAASVELD, ZANDWIJK = "00000001999000010000", "00000001999000020000"
BOX, THEIRS = "mijnoverheid", ev.TimeSource.OTHER_SIDE
GONE = ev.Bounce(Verdict.HARD, Reason.USER_UNKNOWN, "user-1", 550, "5.1.1", "jan@post.example", "mx.example", True)
FULL = ev.Bounce(Verdict.SOFT, Reason.MAILBOX_FULL, "quota-1", 452, "4.2.2")
READER, HANDLER, OTHER_HANDLER, MANAGER = "l.dejong", "a.jansen", "p.bakker", "b.elamrani"


@dataclass
class Browser:
    """Somebody's browser: keeps cookies, and sends forms with the token of their pages."""

    client: AsyncTestClient[Litestar]
    token: str = ""

    async def login(self, who: str) -> None:
        answer = await self.client.post("/inloggen", data={"wie": who}, follow_redirects=False)
        assert answer.status_code == 303
        self.token = token_in((await self.client.get("/berichten")).text)

    async def get(self, path: str, **more: Any) -> Response:
        return await self.client.get(path, **({"follow_redirects": False} | more))

    async def post(self, path: str, **fields: str) -> Response:
        return await self.client.post(path, data={"csrf": self.token, **fields}, follow_redirects=False)

    async def page(self, path: str) -> str:
        answer = await self.get(path)
        assert answer.status_code == 200, answer.headers.get("Location", answer.status_code)
        return answer.text


def token_in(page: str) -> str:
    return re.search(r'name="csrf" value="([0-9a-f]{64})"', page)[1]


@dataclass
class Office:
    """A console, its people, and the application under it."""

    app: App
    desk: Desk
    build: Callable[[], Litestar]
    browsers: list[AsyncTestClient[Litestar]] = field(default_factory=list)

    async def browser(self, who: str | None = None) -> Browser:
        client = AsyncTestClient(self.build(), base_url=BASE)
        await client.__aenter__()
        self.browsers.append(client)
        browser = Browser(client)
        if who is not None:
            await browser.login(who)
        return browser

    async def then(self, message_id: UUID, *happenings: ev.Event) -> None:
        for happening in happenings:
            await self.app.lanes.apply([(message_id, happening)])

    async def bounced(self, **changes: Any) -> Accepted:
        accepted = await self.app.accept(**changes)
        now = self.app.clock.now()
        await self.then(accepted.id, ev.Placed(BOX, now, THEIRS), ev.NoticeSent(BOX, now), ev.NoticeBounced(BOX, GONE))
        return accepted

    async def noticed(self, **changes: Any) -> Accepted:
        accepted = await self.app.accept(**changes)
        now = self.app.clock.now()
        await self.then(accepted.id, ev.Placed(BOX, now, THEIRS), ev.NoticeSent(BOX, now))
        return accepted

    async def defect(self, **changes: Any) -> Accepted:
        accepted = await self.app.accept(**changes)
        await self.then(accepted.id, ev.PlacementRefused(BOX, "X", ev.RefusalKind.DEFECT))
        return accepted

    async def letter(self, message_id: UUID, number: int = 0) -> None:
        async with self.app.database.write() as connection:
            ledger = (await lock(connection, [message_id], self.app.vault))[message_id]
            assert ledger.key is not None
            letter = StoredLetter(message_id, number, b"%PDF-1.7 Jantje Zonderbrief", 2, "t")
            keys = {message_id: ledger.key}
            await messages.store_letters(connection, [letter], keys, self.app.vault, self.app.clock.now())

    async def acts(self) -> list[tuple[str, str, str | None]]:
        """Give who did what, and whether it was refused, without the log-ins."""
        rows = await self.app.rows(tables.staff_act)
        return [(row.who, row.act, row.outcome) for row in rows if row.act not in ("login", "logout")]


@pytest.fixture
def database_url(sqlite_template, tmp_path) -> str:
    """Give SQLite alone: what differs between databases is tested with the engine, and by the benchmark."""
    path = tmp_path / "bode.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
async def make_office(app) -> AsyncIterator[Callable[..., Awaitable[Office]]]:
    """Give a maker of consoles over one application."""
    made: list[Office] = []

    async def _make(settings: ConsoleSettings | None = None, public_url: str = BASE) -> Office:
        chosen = settings or ConsoleSettings(demo_login=True)
        organisations = {oin: item.name for oin, item in app.parts.organisations.items()}
        access = Access(
            chosen,
            database=app.database,
            vault=app.vault,
            clock=app.clock,
            organisations=organisations,
            public_url=public_url,
        )
        acts = Acts(app.parts, app.lanes.announce)
        desk = Desk(
            settings=chosen,
            access=access,
            frame=Frame(app.clock, organisations),
            parts=app.parts,
            status=StatusReader(app.database, app.parts.policy),
            acts=acts,
            jobs=Jobs(app.parts, acts, app.lanes.announce, confirm_above=chosen.confirm_above),
            lanes=app.lanes,
            inbound=app.inbound,
            extract=None,
            origin=None,
        )

        def build() -> Litestar:
            routers = [frame.files(), *pages.routes(desk, public_url=public_url)]
            handlers = {HTTPException: frame.on_http_error}
            return Litestar(routers, openapi_config=None, exception_handlers=handlers, logging_config=None)

        office = Office(app, desk, build)
        made.append(office)
        return office

    yield _make
    for office in made:
        for client in office.browsers:
            await client.__aexit__(None, None, None)


@pytest.fixture
async def office(make_office) -> Office:
    return await make_office()
