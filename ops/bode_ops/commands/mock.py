"""`bode mock`: the shipped mock servers as processes of their own, to try a zaaksysteem or a configuration against.

What is printed is TOML, the explanation as comments: it can be pasted, or written to a file, as it is.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, assert_never
from uuid import UUID

import httpx
import msgspec
from cyclopts import App, Parameter
from litestar import Litestar

from bode_adapters.berichtenbox_bedrijven import mock as bedrijven_mock
from bode_adapters.email import mock as mail_mock
from bode_adapters.email.mock import MockMailServer
from bode_adapters.mijndomein import mock as mijndomein_mock
from bode_adapters.mijnoverheid import mock as mijnoverheid_mock
from bode_adapters.mijnoverheid import mock_berichtenbox, mock_ebms
from bode_adapters.print_folder import mock as folder_mock
from bode_adapters.print_folder.mock import Fate, MockPrintService
from bode_adapters.print_rest import mock as print_rest_mock
from bode_adapters.print_sftp import mock as sftp_mock
from bode_adapters.print_sftp.mock import USER, MockSftpServer
from bode_adapters.profielservice import mock as profile_mock
from bode_adapters.serving import LOOPBACK, serve
from bode_ops.commands.base import AwayError, UsageError, console

mock_app = App(
    name="mock",
    help="Run a mock of another side on this machine until Ctrl-C: strict, and wrong on command.",
)

Port = Annotated[int, Parameter(help="Where to listen; 0 takes a free port.")]
Host = Annotated[str, Parameter(help="The address of this machine to listen at.")]
Script = Annotated[
    Path | None,
    Parameter(help="A file of JSON Lines with what to do wrong from the start; what it prints says in which words."),
]
Delay = Annotated[float, Parameter(help="Seconds between taking messages in and their results.")]
Token = Annotated[str, Parameter(help="The token that calls need.")]

OIN = "00000001999000090000"


def utc_now() -> datetime:
    """Give the time now."""
    return datetime.now(UTC)


# ------------------------------------------------------------------------------------------------------ boxes, profiles


@mock_app.command
def mijnoverheid(
    *,
    port: Port,
    host: Host = LOOPBACK,
    script: Script = None,
    api_key: Annotated[str, Parameter(help="The key that calls need.")] = "mock",
    result_delay: Delay = 0,
) -> None:
    """Run the Berichtenbox behind a REST gateway, with the subscription check."""
    app = mijnoverheid_mock.create_mock(clock=utc_now, api_key=api_key, result_delay=timedelta(seconds=result_delay))
    settings = {"base_url": "{url}", "api_key": api_key, "leverancier_oin": OIN}
    fragment = [*_channel("mijnoverheid", "Berichtenbox van MijnOverheid", primary=True), *_table(settings)]
    fragment.append('subscriptions = {{ base_url = "{url}" }}')
    _run(_web(app, host, port, script), fragment, mijnoverheid_mock, mock_berichtenbox)


@mock_app.command
def ebms(*, port: Port, host: Host = LOOPBACK, script: Script = None, result_delay: Delay = 0) -> None:
    """Run the Berichtenbox behind an ebMS adapter (Digikoppeling), with the subscription check."""
    app = mock_ebms.create_mock(clock=utc_now, oin=OIN, result_delay=timedelta(seconds=result_delay))
    settings = {
        "transport": "ebms",
        "base_url": "{url}",
        "cpa_id": "mock-cpa",
        "from_party_id": f"urn:osb:oin:{OIN}",
        "to_party_id": "urn:osb:oin:00000004003214345001",
        "leverancier_oin": OIN,
    }
    fragment = [*_channel("mijnoverheid", "Berichtenbox van MijnOverheid", primary=True), *_table(settings)]
    fragment.append('subscriptions = {{ base_url = "{url}" }}')
    _run(_web(app, host, port, script), fragment, mock_ebms, mock_berichtenbox)


@mock_app.command
def mijndomein(*, port: Port, host: Host = LOOPBACK, script: Script = None, token: Token = "mock") -> None:
    """Run a portal on the message store of the Federatief Berichtenstelsel."""
    app = mijndomein_mock.create_mock(clock=utc_now, token=token)
    settings = {"base_url": "{url}/api/v1", "token": token}
    fragment = [*_channel("mijndomein", "berichtenbox van MijnDomein"), *_table(settings)]
    _run(_web(app, host, port, script), fragment, mijndomein_mock)


@mock_app.command
def bedrijven(*, port: Port, host: Host = LOOPBACK, script: Script = None, token: Token = "mock") -> None:
    """Run the Berichtenbox voor bedrijven: the same message store, for KVK numbers and RSINs alone."""
    app = bedrijven_mock.create_mock(clock=utc_now, token=token)
    settings = {"base_url": "{url}/api/v1", "token": token}
    fragment = [*_channel("berichtenbox-bedrijven", "Berichtenbox voor bedrijven"), *_table(settings)]
    _run(_web(app, host, port, script), fragment, bedrijven_mock, mijndomein_mock)


@mock_app.command
def profielservice(*, port: Port, host: Host = LOOPBACK, script: Script = None, token: Token = "mock") -> None:
    """Run the profile service: who wants messages in a box, and verified addresses."""
    app = profile_mock.create_mock(clock=utc_now, token=token)
    fragment = [
        "[profile]",
        'adapter = "profielservice"',
        "",
        "[profile.settings]",
        *_table({"base_url": "{url}", "token": token}),
    ]
    _run(_web(app, host, port, script), fragment, profile_mock)


def _channel(adapter: str, label: str, *, primary: bool = False) -> list[str]:
    lines = [f"[channels.{adapter}]", f'adapter = "{adapter}"', 'kind = "box"', f'label = "{label}"']
    lines += ['url = "https://mijn.example"', 'ceiling = "hoog"', *(["primary = true"] if primary else [])]
    return [*lines, "", f"[channels.{adapter}.settings]"]


def _table(settings: Mapping[str, str | int]) -> list[str]:
    # A string of JSON without escapes above U+007F is a basic string of TOML.
    return [f"{key} = {_not_to_fill_in(value)}" for key, value in settings.items()]


def _not_to_fill_in(value: str | int) -> str:
    written = json.dumps(value)
    return written if "{url}" in written or "{port}" in written else written.replace("{", "{{").replace("}", "}}")


# ------------------------------------------------------------------------------------------------------- mail and print


@mock_app.command
def smtp(
    *,
    port: Port,
    host: Host = LOOPBACK,
    script: Script = None,
    folder: Annotated[Path | None, Parameter(help="Where every mail is kept, as in a maildir.")] = None,
    bounces_to: Annotated[str, Parameter(help="HOST:PORT that returned mail goes to.")] = "127.0.0.1:8025",
    bounce_delay: Annotated[float, Parameter(help="Seconds before mail is returned.")] = 5.0,
) -> None:
    """Run a mail server without TLS that behaves by the address of the recipient."""
    report_host, _, report_port = bounces_to.rpartition(":")
    if not report_host or not report_port.isdecimal():
        raise UsageError(f"--bounces-to is {bounces_to!r}: write HOST:PORT")
    server = MockMailServer(
        host=host,
        port=port,
        folder=folder,
        report_to=(report_host, int(report_port)),
        dsn_delay_seconds=bounce_delay,
    )
    for line in _orders(script):
        _to_mail_server(server, line)
    settings = ["host = " + json.dumps(host), "port = {port}", 'tls = "none"']
    fragment = ["[notices]", 'adapter = "smtp-notifier"', "", "[notices.settings]", *settings]

    @asynccontextmanager
    async def running() -> AsyncGenerator[str]:
        async with server:
            yield f"smtp://{server.host}:{server.port}"

    _run(running(), fragment, mail_mock, more=_MAIL_SCRIPT)


_MAIL_SCRIPT = """In a script: {"phase": "data", "reply": "421 4.3.2 closing"} answers that phase of every mail so
(connect, ehlo, auth, mail_from, rcpt_to, data, after_dot, starttls; without a reply it never answers),
{"recipient": "a@b.nl", "reply": "550 5.1.1 unknown"} every RCPT of one address, and
{"tarpit_seconds": 2} slows every reply down."""


def _to_mail_server(server: MockMailServer, line: _Line) -> None:
    match line.order:
        case {"phase": str(phase), **rest} if set(rest) <= {"reply"} and isinstance(rest.get("reply"), str | None):
            server.replies[phase] = rest.get("reply")
        case {"recipient": str(recipient), "reply": str(reply), **rest} if not rest:
            server.rcpt_replies[recipient] = reply
        case {"tarpit_seconds": int() | float() as seconds, **rest} if not rest:
            server.tarpit_seconds = float(seconds)
        case _:
            raise UsageError(f"{line.where}: is no order for the mail server. {_MAIL_SCRIPT}")


class PrintBy(StrEnum):
    """How letters reach the print service."""

    REST = "rest"
    SFTP = "sftp"
    FOLDER = "folder"


@mock_app.command(name="print")
def print_service(
    *,
    port: Port = 0,
    host: Host = LOOPBACK,
    script: Script = None,
    by: Annotated[PrintBy, Parameter(help="How letters reach it; a folder needs no port.")] = PrintBy.REST,
    folder: Annotated[Path, Parameter(help="With sftp and folder: the directory it watches.")] = Path("var/print"),
    token: Token = "mock",
    print_delay: Annotated[float, Parameter(help="Seconds until a letter is printed (sftp, folder).")] = 5,
    post_delay: Annotated[float, Parameter(help="Seconds from there until it is posted.")] = 5,
) -> None:
    """Run a print service: a REST API, or a watched folder with or without an SFTP server in front of it."""
    if by is PrintBy.REST:
        app = print_rest_mock.create_mock(clock=utc_now, token=token)
        settings = {"base_url": "{url}", "token": token, "specification": "c5-venster"}
        fragment = ["[print]", 'adapter = "print-rest"', "", "[print.settings]", *_table(settings)]
        _run(_web(app, host, port, script), fragment, print_rest_mock)
        return
    fates = _Fates([_fate(line) for line in _orders(script)])
    service = MockPrintService(
        folder,
        clock=utc_now,
        print_delay=timedelta(seconds=print_delay),
        post_delay=timedelta(seconds=post_delay),
        late_delay=timedelta(seconds=post_delay),
        rule=fates.next,
    )
    match by:
        case PrintBy.FOLDER:
            fragment = ["[print]", 'adapter = "print-folder"', "", "[print.settings]"]
            fragment += _table({"folder": str(folder)})
            _run(_watching(service), fragment, folder_mock, more=_FATES)
        case PrintBy.SFTP:
            if host != LOOPBACK:
                raise UsageError(f"--host is {host!r}: the mock SFTP server listens at {LOOPBACK} only")
            server = MockSftpServer(folder, password=token)
            server.port = port
            (folder / ".bode").mkdir(exist_ok=True)  # the ledger, which on a real server is made once by hand
            fragment = ["[print]", 'adapter = "print-sftp"', "", "[print.settings]", "port = {port}"]
            public = str(server.settings["host_key"])
            fragment += _table({"host": LOOPBACK, "user": USER, "password": token, "host_key": public})
            _run(_watching(service, server), fragment, folder_mock, sftp_mock, more=_FATES)
        case _:
            assert_never(by)


_FATES = """In a script: {"status": "RETURNED", "reasonCode": "R05", "reasonText": "", "keer": 2} gives the next two
letters this fate, the following line those after them; without keer every letter from there on."""


@dataclass(slots=True)
class _Fated:
    fate: Fate
    times: int | None


class _Fates:
    """Gives each letter that comes in the fate whose turn it is."""

    def __init__(self, fates: list[_Fated]) -> None:
        self._fates = fates

    def next(self, letter: UUID) -> Fate | None:
        del letter
        if not self._fates:
            return None
        fated = self._fates[0]
        if fated.times is not None:
            fated.times -= 1
            if fated.times == 0:
                self._fates.pop(0)
        return fated.fate


def _fate(line: _Line) -> _Fated:
    match line.order:
        case {"status": str(status), **rest} if set(rest) <= {"reasonCode", "reasonText", "keer"}:
            times = rest.get("keer")
            if times is None or (isinstance(times, int) and times >= 1):
                return _Fated(Fate(status, str(rest.get("reasonCode", "")), str(rest.get("reasonText", ""))), times)
        case _:
            pass
    raise UsageError(f"{line.where}: is no fate of a letter. {_FATES}")


@asynccontextmanager
async def _watching(service: MockPrintService, server: MockSftpServer | None = None) -> AsyncGenerator[str]:
    printing = asyncio.create_task(service.run(every=0.5))
    try:
        if server is None:
            yield str(service.folder)
            return
        async with server:
            yield f"sftp://{LOOPBACK}:{server.port}"
    finally:
        printing.cancel()
        await asyncio.gather(printing, return_exceptions=True)


# --------------------------------------------------------------------------------------------------------------- parts


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a script."""

    where: str
    order: dict[str, Any]


def _orders(script: Path | None) -> list[_Line]:
    """Read a script; raises `UsageError` that names the line."""
    if script is None:
        return []
    if not script.is_file():
        raise UsageError(f"--script: there is no file {script}")
    lines: list[_Line] = []
    for number, line in enumerate(script.read_text("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            order = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError:
            raise UsageError(f"{script}:{number}: is no JSON object") from None
        lines.append(_Line(f"{script}:{number}", order))
    return lines


@asynccontextmanager
async def _web(app: Litestar, host: str, port: int, script: Path | None) -> AsyncGenerator[str]:
    """Serve a mock that takes orders at `/_mock/gedrag`; those of a script are given there before it listens."""
    orders = _orders(script)
    within: Any = app  # httpx and Litestar name the same thing in two ways
    async with httpx.AsyncClient(transport=httpx.ASGITransport(within), base_url="http://mock") as client:
        for line in orders:
            answer = await client.post("/_mock/gedrag", json=line.order)
            if not answer.is_success:
                fault = answer.headers.get("X-Fout") or answer.text
                raise UsageError(f"{line.where}: the mock does not take this order ({fault[:300]})")
    async with serve(app, host=host, port=port) as url:
        yield url


def _run(
    server: AbstractAsyncContextManager[str], fragment: Sequence[str], *modules: ModuleType, more: str = ""
) -> None:
    """Run until SIGINT or SIGTERM; when everything listens, print where, what to configure and how to command it."""

    async def work() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with server as address:
            _say(address, fragment, modules, more)
            await stop.wait()

    try:
        asyncio.run(work())
    except OSError as error:
        raise AwayError(f"the mock cannot listen: {error.strerror or type(error).__name__}") from None
    console.print("# stopped", markup=False)


def _say(address: str, fragment: Sequence[str], modules: Sequence[ModuleType], more: str) -> None:
    about = [address]
    if address.startswith("http"):
        about += ["", f'curl -d \'{{"gedrag": "http-503", "keer": 1}}\' {address}/_mock/gedrag']
    for text in (*(module.__doc__ or "" for module in modules), more):
        about += ["", *text.strip().splitlines()] if text else []
    port = address.rpartition(":")[2]
    lines = [f"# {line}".rstrip() for line in about]
    lines += ["", *(line.format(url=_reachable(address), port=port) for line in fragment)]
    lines += ["", "# Ctrl-C stops it; what it took in is gone then."]
    console.print("\n".join(lines), markup=False)
    console.file.flush()


def _reachable(address: str) -> str:
    """Give the address to call where it listens at every address of this machine."""
    return address.replace("//0.0.0.0:", f"//{LOOPBACK}:").replace("//[::]:", "//[::1]:")
