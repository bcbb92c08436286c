"""The other sides, in a process of their own: two boxes, a mail server and a print service that keep count."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from datetime import datetime, timedelta
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bode.clock import Clock
from bode_adapters.email.mock import AcceptedMail, MockMailServer
from bode_adapters.mijndomein import mock as mijndomein
from bode_adapters.mijnoverheid import mock as mijnoverheid
from bode_adapters.print_folder.mock import MockPrintService
from bode_adapters.serving import Order, serve


def main(pipe: Connection, folder: str, origin: str, factor: float, bounce_ports: tuple[int, ...]) -> None:
    """Serve until told to end: takes commands from the pipe, and answers each."""
    asyncio.run(_serve(pipe, Path(folder), Clock(factor, datetime.fromisoformat(origin)), bounce_ports))


async def _serve(pipe: Connection, folder: Path, clock: Clock, bounce_ports: tuple[int, ...]) -> None:
    printer = MockPrintService(
        folder / "print", clock=clock.now, print_delay=timedelta(minutes=5), post_delay=timedelta(minutes=5)
    )
    mail = MailServer(bounce_ports, clock)
    boxes = {
        "mijnoverheid": mijnoverheid.create_mock(clock=clock.now, api_key="key", result_delay=timedelta(minutes=2)),
        "mijndomein": mijndomein.create_mock(clock=clock.now),
    }
    async with mail, serve(boxes["mijnoverheid"]) as first, serve(boxes["mijndomein"]) as second:
        printing = asyncio.create_task(printer.run(every=0.05))
        pipe.send({"mijnoverheid": first, "mijndomein": second, "smtp": mail.port})
        commands: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        threading.Thread(target=_read, args=(pipe, asyncio.get_running_loop(), commands), daemon=True).start()
        while True:
            word, value = await commands.get()
            match word:
                case "tell":
                    pipe.send(_told(boxes, mail, printer))
                case "box":
                    name, order = value
                    behaving = boxes[name].state.mock
                    getattr(behaving, "box", behaving).misbehaviour.give(Order(**order))
                    pipe.send(None)
                case "behave":
                    for app in boxes.values():
                        getattr(app.state.mock, "box", app.state.mock).misbehaviour.clear()
                    mail.tarpit_seconds, mail.dropping = 0.0, 0
                    pipe.send(None)
                case "mail":
                    for name, number in value.items():
                        setattr(mail, name, number)
                    pipe.send(None)
                case _:
                    break
        printing.cancel()


def _read(pipe: Connection, loop: asyncio.AbstractEventLoop, commands: asyncio.Queue[tuple[str, Any]]) -> None:
    try:
        while True:
            loop.call_soon_threadsafe(commands.put_nowait, pipe.recv())
    except (EOFError, OSError, RuntimeError):
        if not loop.is_closed():
            loop.call_soon_threadsafe(commands.put_nowait, ("end", None))


class MailServer(MockMailServer):
    """The mock mail server, which can lose the connection after the final dot of any mail."""

    def __init__(self, bounce_ports: tuple[int, ...], clock: Clock) -> None:
        super().__init__(dsn_delay_seconds=0.2, clock=clock.now)
        self._bounce_ports = cycle(bounce_ports)
        self.dropping = 0
        """How many mails more it takes without a word."""

    @property
    def to_report(self) -> int:
        """How many bounces are still to be handed in."""
        return len(self._tasks)

    async def _hand_in(self, to: str, mail: bytes) -> None:
        """Hand a bounce in as mail servers do: again and again, until it was taken."""
        while True:
            failed = len(self.unreported)
            self.report_to = "127.0.0.1", next(self._bounce_ports)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(super()._hand_in(to, mail), 1.5)
                if len(self.unreported) == failed:
                    return
            await asyncio.sleep(0.1)

    def at_dot(self, session: Any, data: bytes) -> tuple[str | None, float]:
        """Take a mail; the answer to some is a lost connection."""
        answer = super().at_dot(session, data)
        if self.dropping > 0 and answer[0] is not None and answer[0].startswith("250"):
            self.dropping -= 1
            return "", 0.0
        return answer


def _told(boxes: dict[str, Any], mail: MailServer, printer: MockPrintService) -> dict[str, Any]:
    overheid = boxes["mijnoverheid"].state.mock.box
    overheid.advance()
    stored: Counter[str] = Counter()
    for one in boxes["mijndomein"].state.mock.placements():
        stored[one.id] += one.count
    return {
        "mijnoverheid": {one.id: one.count for one in overheid.placements.values()},
        "mijndomein": dict(stored),
        "mails": dict(Counter(_of(one) for one in mail.accepted)),
        "letters": {str(letter): copies for letter, copies in printer.copies.items()},
        "problems": [*printer.problems],
        "to_report": mail.to_report,
    }


def _of(mail: AcceptedMail) -> str:
    return mail.recipients[0].lower()
