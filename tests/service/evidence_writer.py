"""A process that accepts messages, puts their events in the log and publishes it, and kills itself at a given point.

Arguments: the database, the folder of keys and log, and the point (a statement, a commit or a file written); 0: never.
Prints the id of each message once it is accepted.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
from pathlib import Path

import sqlalchemy as sa

from bode.clock import Clock
from bode.domain.message import Confidentiality
from bode.domain.policy import Channel, ChannelKind, Policy
from bode.engine.checkpoints import Checkpoints
from bode.engine.sequencer import Sequencer
from bode.intake.accept import Caller, Intake, Route
from bode.settings import holidays
from bode.store import log_folder
from bode.store.database import Database
from bode.store.evidence_keys import read_keyring
from bode.store.vault import Vault

OIN, ORIGIN = "00000001999000010000", "gemeente.example/test"
_points = itertools.count(1)


def point(*_: object) -> None:
    if next(_points) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)


def body(number: int) -> bytes:
    return json.dumps(
        {
            "afzender": OIN,
            "kenmerk": f"K-{os.getpid()}-{number}",
            "aard": "beschikking",
            "rechtsgevolgen": "U kunt bezwaar maken.",
            "termijn": {"duur": "P6W"},
            "geadresseerde": {"soort": "BSN", "nummer": "999990019", "naam": "Jantje Zonderbrief"},
            "kanalen": [{"kanaal": "mijnoverheid"}],
            "kennisgeving": {"email": "goed.jan@post.example.nl"},
            "onderwerp": "Besluit",
            "tekst": "Wij hebben een besluit genomen.",
        }
    ).encode()


async def nothing(_lanes: object) -> None:
    return None


async def main(url: str, folder: Path) -> None:
    database = Database(url)
    for name in ("before_cursor_execute", "commit"):
        sa.event.listen(database.engine.sync_engine, name, point)
    written = log_folder._put

    def put(file: Path, content: bytes) -> None:
        point()
        written(file, content)
        point()

    log_folder._put = put
    clock = Clock()
    box = Channel("mijnoverheid", ChannelKind.BOX, "Berichtenbox", Confidentiality.HOOG, primary=True)
    intake = Intake(
        database=database,
        vault=Vault(bytes(range(32))),
        policy=Policy(channels={"mijnoverheid": box}, is_holiday=holidays()),
        clock=clock,
        organisations=frozenset({OIN}),
        ring=nothing,
    )
    ring = read_keyring(folder / "evidence.key", ORIGIN)
    log = log_folder.LogFolder(folder / "evidence", ORIGIN, ring.verifiers)
    sequencer = Sequencer(database, batch=7)
    checkpoints = Checkpoints(database, clock, log, ring.signing, every_seconds=1)
    for number in range(4):
        accepted = await intake.accept(body(number), route=Route.HTTP, caller=Caller("test"))
        sys.stdout.write(f"accepted {accepted.id}\n")
        sys.stdout.flush()
        if number % 2:
            await sequencer.work()
            await checkpoints.publish()
    await database.close()


asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
