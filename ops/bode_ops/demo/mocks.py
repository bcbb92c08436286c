"""The outside world of the demonstration, in a process of its own: two boxes, a mail server, a print service."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bode.clock import Clock
from bode_adapters.email.mock import MockMailServer
from bode_adapters.mijndomein import mock as mijndomein
from bode_adapters.mijnoverheid import mock as mijnoverheid
from bode_adapters.print_folder.mock import MockPrintService
from bode_adapters.serving import serve


async def run(options: dict[str, Any]) -> None:
    """Run until SIGTERM; writes the ports as one JSON line to standard output when everything listens."""
    clock = Clock(options["factor"], datetime.fromisoformat(options["origin"]))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    printer = MockPrintService(
        Path(options["print_folder"]), clock=clock.now, print_delay=timedelta(minutes=30), post_delay=timedelta(hours=3)
    )
    mail = MockMailServer(
        report_to=("127.0.0.1", options["bounce_port"]),
        dsn_delay_seconds=clock.real_wait(timedelta(hours=2)),
        folder=Path(options["mail_folder"]),
        clock=clock.now,
    )
    first = mijnoverheid.create_mock(
        clock=clock.now,
        api_key=options["api_key"],
        result_delay=timedelta(minutes=10),
    )
    second = mijndomein.create_mock(clock=clock.now)
    async with mail, serve(first) as mijnoverheid_url, serve(second) as mijndomein_url:
        printing = asyncio.create_task(printer.run(every=0.1))
        ports = {"mijnoverheid": mijnoverheid_url, "mijndomein": mijndomein_url, "smtp": mail.port}
        sys.stdout.write(json.dumps(ports) + "\n")
        sys.stdout.flush()
        await stop.wait()
        printing.cancel()


if __name__ == "__main__":
    asyncio.run(run(json.loads(sys.argv[1])))
