"""What the tests of the HTTP API share: Bode's API on a port of its own, a good message, and what a problem is."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import sqlite3
import threading
from contextlib import closing
from hashlib import sha256
from io import BytesIO
from itertools import count
from typing import Any, Self

import httpx
import pikepdf
import toml_parts
import uvicorn

from bode import settings as configuration
from bode.store.evidence_keys import make_keyring
from bode.store.vault import write_key_file
from bode_ops import assembly, web
from bode_ops.http_server import server_config

MAASVELD, ZANDWIJK = "00000001999000010000", "00000001999000020000"
KEYS = {"maasveld": (MAASVELD,), "zandwijk": (ZANDWIJK,), "samen": (MAASVELD, ZANDWIJK)}
MAX_BODY = 200_000
CONFIG = (
    """
[database]
url = "sqlite:///{folder}/bode.db"
[keys]
file = "{folder}/bode.key"
[evidence]
key_file = "{folder}/evidence.key"
origin = "bode.example/log"
folder = "{folder}/evidence"
[api]
max_body_bytes = {max_body}
client_timeout_seconds = 2
{keys}
[channels.email]
adapter = "smtp-carrier"
kind = "email"
label = "e-mail"
ceiling = "laag"
[channels.email.settings]
host = "127.0.0.1"
port = 9
tls = "none"
"""
    + toml_parts.mijnoverheid()
    + toml_parts.notices()
    + toml_parts.PRINT_FOLDER
    + toml_parts.MAASVELD
    + toml_parts.ZANDWIJK
)


def application(name: str, organisations, digest: str, **more: Any) -> str:
    """Write the configuration of an application with one API key."""
    lines = {"organisations": list(organisations), "keys": [digest], **more}
    return f"[api.applications.{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())


class Server:
    """Bode's API in a thread, on a port of its own."""

    def __init__(self, folder, *, keys=KEYS, applications: str = "", api: str = "", upgrade=True) -> None:
        """Take who may call, by key; `applications` are more of them, and `api` more settings, in TOML."""
        self.folder = folder
        write_key_file(folder / "bode.key")
        self.keyring = make_keyring(folder / "evidence.key", "bode.example/log")
        (folder / "print" / "in").mkdir(parents=True)
        tables = api + "".join(
            application(name, oins, sha256(name.encode()).hexdigest()) for name, oins in keys.items()
        )
        tables += applications
        path = folder / "bode.toml"
        path.write_text(CONFIG.format(folder=folder, keys=tables, max_body=MAX_BODY))
        self.settings = configuration.load(path)
        self.upgrade = upgrade
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._app = assembly.build(self.settings)
        self._web = web.build(self._app)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    async def _serve(self) -> None:
        app = self._app
        if self.upgrade:
            await app.database.upgrade()
        self._server = uvicorn.Server(server_config(self._web, self.settings.api))
        self._server.install_signal_handlers = lambda: None
        self._started.set()
        await self._server.serve(sockets=[self._listener])
        await app.close()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)

    def client(self, key: str | None = "samen", **how) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, **how)

    def rows(self) -> dict[str, int]:
        """Count the rows of every table."""
        with closing(sqlite3.connect(self.folder / "bode.db")) as connection:
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}


_numbers = count(1)


def body(**changes):
    number = next(_numbers)
    made = {
        "afzender": MAASVELD,
        "kenmerk": f"MV-{number:06d}",
        "zaak": f"Z-{number:06d}",
        "aard": "beschikking",
        "rechtsgevolgen": "U kunt bezwaar maken.",
        "termijn": {"duur": "P6W"},
        "geadresseerde": {
            "soort": "BSN",
            "nummer": "999990019",
            "naam": "Jantje Zonderbrief",
            "adres": {"straat": "Geheimepad", "huisnummer": "77", "postcode": "1234 AB", "woonplaats": "Verweg"},
        },
        "kanalen": [{"kanaal": "mijnoverheid"}],
        "kennisgeving": {"email": "jantje.geheim@post.example.nl", "opgegevenDoor": "geadresseerde"},
        "onderwerp": "Besluit over uw zwembad",
        "tekst": "Beste mevrouw, uw zwembad mag er komen.",
    }
    for key, value in changes.items():
        if value is None:
            del made[key]
        else:
            made[key] = value
    return made


def pdf(**how) -> dict[str, str]:
    made = pikepdf.new()
    made.add_blank_page()
    if "script" in how:
        made.Root.OpenAction = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS=pikepdf.String(how.pop("script")))
    out = BytesIO()
    made.save(out, **how)
    return {"naam": "besluit.pdf", "inhoud": base64.b64encode(out.getvalue()).decode()}


def strings_in(value) -> set[str]:
    """Every value of a request that could be about a person."""
    if isinstance(value, dict):
        return set().union(*(strings_in(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(set(), *(strings_in(item) for item in value))
    return {value} if isinstance(value, str) else set()


def is_problem(answer: httpx.Response, status: int) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].split(";")[0] == "application/problem+json"
    assert answer.headers["API-Version"] == "1.0.0"
    told = answer.json()
    assert told["status"] == status
    assert told["title"]
    assert told["detail"].endswith((".", "'."))
    for error in told.get("errors", []):
        assert set(error) == {"in", "location", "code", "detail"}
        if error["in"] == "body":
            assert error["location"]["pointer"].startswith("#")
        else:
            assert error["in"] in {"query", "header"}
            assert set(error["location"]) == {"name"}
        assert error["detail"][0].isupper()
    return told
