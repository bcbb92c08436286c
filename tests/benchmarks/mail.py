"""`python -m tests.benchmarks.mail`: notices through the e-mail adapter alone, to the sink, with the CPU each costs.

Prints deliveries a second, and microseconds of CPU a mail on our side and in the sink, read from the operating system.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from tests.benchmarks.processes import cpu_seconds

from bode.compose.notice import NoticeComposer, NoticeFacts
from bode.domain.message import Nature, Term
from bode.domain.terms import Duration
from bode_adapters.contract import NoticeMail, Placed, Sender
from bode_adapters.email import SmtpNotifier

HERE = Path(__file__).parent
CHUNK = 100
"""Notices a call, as the worker does."""


def notices(count: int) -> list[NoticeMail]:
    facts = NoticeFacts(
        organisation="Gemeente Maasveld",
        nature=Nature.BESCHIKKING,
        consequences="U kunt bezwaar maken.",
        term=Term(duration=Duration(weeks=6)),
        last_day=date(2027, 4, 20),
        box_label="Berichtenbox van MijnOverheid",
        box_url="https://mijn.overheid.nl",
        accessible_at=datetime(2027, 3, 2, 9, tzinfo=UTC),
        organisation_contact="telefoon 14 0999",
    )
    text = NoticeComposer(HERE.parents[1] / "config" / "notices").compose(facts)
    sender = Sender("00000001999000010000", facts.organisation, "noreply@maasveld.example.nl")
    deadline = datetime.now(UTC) + timedelta(hours=40)
    return [
        NoticeMail(
            uuid4(),
            sender,
            email=f"b{number}@post.example.nl",
            return_path=f"b-{number:032}-abcdefghijklmnop@retour.maasveld.example.nl",
            subject=text.subject,
            text=text.text,
            html=text.html,
            deadline=deadline,
        )
        for number in range(count)
    ]


async def send(notifier: SmtpNotifier, chunks: Iterator[list[NoticeMail]]) -> None:
    for chunk in chunks:
        answers = await notifier.notify(notices=chunk)
        if not all(isinstance(answer, Placed) for answer in answers):
            raise SystemExit("not all were taken")


async def measure(count: int, connections: int) -> None:
    sink = subprocess.Popen([sys.executable, str(HERE / "sink.py")], stdout=subprocess.PIPE, text=True)
    assert sink.stdout is not None
    table = {"host": "127.0.0.1", "port": int(sink.stdout.readline()), "tls": "none", "connections": connections}
    notifier = SmtpNotifier.from_settings(table, clock=lambda: datetime.now(UTC))
    await notifier.open()
    mails = notices(count)
    chunks = iter([mails[start : start + CHUNK] for start in range(0, count, CHUNK)])
    await send(notifier, iter([notices(CHUNK)]))
    theirs, ours, started = cpu_seconds(sink.pid), time.process_time(), time.perf_counter()
    await asyncio.gather(send(notifier, chunks), send(notifier, chunks))
    took, ours, theirs = time.perf_counter() - started, time.process_time() - ours, cpu_seconds(sink.pid) - theirs
    await notifier.close()
    sink.kill()
    sys.stdout.write(
        f"{count / took:.0f} mails/s over {connections} connections; CPU a mail: "
        f"{ours / count * 1e6:.0f} us here, {theirs / count * 1e6:.0f} us in the sink\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.mail")
    parser.add_argument("--mails", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=8)
    args = parser.parse_args()
    asyncio.run(measure(args.mails, args.connections))


if __name__ == "__main__":
    main()
