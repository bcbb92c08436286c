"""`bode enqueue`: hand messages in from a file, into the database itself or over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
from cyclopts import Parameter
from rich.progress import Progress

from bode.client import Aangenomen, Bode, ProblemError
from bode.intake.accept import Caller, Route
from bode.intake.faults import Refused
from bode.intake.problems import described
from bode_ops.assembly import Application
from bode_ops.commands.base import AwayError, Config, UsageError, console, errors, me, with_application

_BAR_FROM_BYTES = 1_000_000


def enqueue(
    file: Path,
    /,
    *,
    url: Annotated[str | None, Parameter(help="Bode's address: hand in over HTTP, as an application.")] = None,
    key_file: Annotated[Path | None, Parameter(help="The file with the API key for --url.")] = None,
    config: Config = None,
) -> None:
    """Hand in a message, or many: a JSON file as the API takes it, or a file of JSON Lines (.jsonl).

    Prints a line per message. Exits with 1 when one was refused; handing in the same file again is safe.
    """
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    refused = _by_http(file, url, key_file) if url is not None else _here(file, config)
    if refused:
        raise SystemExit(1)


def _here(file: Path, config: Path | None) -> int:
    async def work(application: Application) -> int:
        refused, caller = 0, Caller(me())
        for number, body in _bodies(file):
            try:
                accepted = await application.intake.accept(body, route=Route.COMMAND, caller=caller)
            except Refused as error:
                refused += 1
                _tell(file, number, error.title, described(error.faults))
                continue
            again = " (was aangenomen)" if accepted.known else ""
            console.print(f"{accepted.reference}  {accepted.id}{again}", markup=False)
        return refused

    return with_application(config, work)


def _by_http(file: Path, url: str, key_file: Path | None) -> int:
    if key_file is None:
        raise UsageError("--url needs --key-file: the file with the API key of an application")
    refused = 0
    with Bode(url, key_file.read_text("utf-8").strip()) as client:
        try:
            if file.suffix != ".jsonl":
                return _one(file, client)
            numbers: list[int] = []

            def rows() -> Iterator[bytes]:
                for number, body in _bodies(file):
                    numbers.append(number)
                    yield body

            for row in client.aanleveren_veel(rows()):
                if row.bericht is not None:
                    console.print(f"{row.bericht.kenmerk}  {row.bericht.id}", markup=False)
                else:
                    refused += 1
                    _tell(file, numbers[row.nummer - 1], row.titel, row.fouten)
        except httpx.TransportError as error:
            raise AwayError(f"{url} cannot be reached ({type(error).__name__}); handing in again is safe") from None
        except ProblemError as error:
            raise UsageError(f"{url}: {error}") from None
    return refused


def _one(file: Path, client: Bode) -> int:
    try:
        accepted: Aangenomen = client.aanleveren(file.read_bytes())
    except ProblemError as error:
        if not error.faults:
            raise
        _tell(file, 1, str(error.problem.get("title", "")), error.faults)
        return 1
    console.print(f"{accepted.kenmerk}  {accepted.id}", markup=False)
    return 0


def _tell(file: Path, number: int, title: str, faults: list[dict[str, Any]]) -> None:
    console.print(f"{file}:{number}: {title}", markup=False)
    for fault in faults:
        console.print(f"    {fault['location'].get('pointer', '#')}: {fault['detail']}", markup=False)


def _bodies(file: Path) -> Iterator[tuple[int, bytes]]:
    """Give the messages of a file with their lines, one at a time; on a terminal a bar shows how far it is."""
    if file.suffix != ".jsonl":
        yield 1, file.read_bytes()
        return
    shown = errors.is_terminal and file.stat().st_size > _BAR_FROM_BYTES
    with file.open("rb") as lines, Progress(console=errors, disable=not shown, transient=True) as bar:
        task = bar.add_task(file.name, total=file.stat().st_size)
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, line
            bar.advance(task, len(line))
