"""The log of evidence: what a log of a million events takes.

As a program (`python -m tests.benchmarks.evidence DATABASE`) it is the sequencer, alone in a process: see `notices`.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import sqlalchemy as sa

from bode.clock import Clock
from bode.compose.copy import CopyComposer, CopyFacts, Entry
from bode.domain.decision import Fact
from bode.domain.message import AddresseeKind, Confidentiality, Nature
from bode.domain.parts import Brief, Delivery
from bode.engine.checkpoints import Checkpoints
from bode.engine.copies import Audience, Copies
from bode.engine.evidence_audit import Audit
from bode.engine.sequencer import Sequencer
from bode.evidence.chain import GENESIS
from bode.evidence.envelope import Sealed, seal
from bode.evidence.merkle import verify_inclusion
from bode.evidence.note import SigningKey
from bode.evidence.verify import Trust, Verdict, verify
from bode.settings import config_folder
from bode.store import tables
from bode.store.database import Database
from bode.store.events import StoredEvent
from bode.store.evidence_log import latest_checkpoint, prove_events, prove_growth
from bode.store.log_folder import LogFolder
from bode.store.vault import Vault
from bode_ops.demo.scenarios import MAASVELD
from bode_ops.simulate.world import simulated_policy
from bode_ops.story import timeline, when

ORIGIN = "bench.example"
PER_MESSAGE = 10


async def large(database: Database, folder: Path, events: int) -> dict[str, float]:
    """Give what a log of so many events takes, in seconds unless its name says otherwise."""
    started = time.perf_counter()
    messages = [await _write(database, 1000) for _ in range(events // PER_MESSAGE // 1000)]
    took = {"events": float(events), "writing_us_per_event": (time.perf_counter() - started) / events * 1e6}
    started = time.perf_counter()
    while await Sequencer(database).work():
        pass
    took["sequencing_us_per_event"] = (time.perf_counter() - started) / events * 1e6
    key = SigningKey.generate(ORIGIN)
    log = LogFolder(folder / "log", ORIGIN, [key.verifier])
    started = time.perf_counter()
    await Checkpoints(database, Clock(), log, key, every_seconds=60).publish()
    took["first_publishing"] = time.perf_counter() - started
    took |= await _prove(database, [message for chunk in messages for message in chunk])
    took |= await _export(database, log, key, messages[0][0])
    faults: list[str] = []
    report = await Audit(database, lambda fault: faults.append(str(fault)), folder=log).run()
    if faults or report.leaves < events:
        raise SystemExit(f"audit: {report.leaves} leaves, {len(faults)} faults: {faults[:3]}")
    took["audit_us_per_event"] = report.seconds / report.events * 1e6
    return took


async def _prove(database: Database, messages: list[UUID]) -> dict[str, float]:
    drawn = random.Random(7).sample(messages, 20)
    times: list[float] = []
    async with database.read() as connection:
        for message in drawn:
            started = time.perf_counter()
            checkpoint = await latest_checkpoint(connection, ORIGIN)
            if checkpoint is None:
                raise SystemExit("no checkpoint was published")
            proofs = await prove_events(connection, message, range(1, PER_MESSAGE + 1), checkpoint)
            times.append(time.perf_counter() - started)
            event = tables.event.c
            rows = await connection.execute(sa.select(event.seq, event.hash).where(event.message_id == message))
            hashes = {row.seq: bytes(row.hash) for row in rows}
            for item in proofs:
                good = verify_inclusion(
                    leaf=hashes[item.seq],
                    index=item.position,
                    size=checkpoint.size,
                    root=checkpoint.root,
                    proof=item.proof,
                )
                if not good:
                    raise SystemExit(f"event {item.seq} of {message} is not proven")
        started = time.perf_counter()
        await prove_growth(connection, checkpoint.size // 3, checkpoint.size)
        consistency = time.perf_counter() - started
    return {
        "proofs_of_a_message_median_ms": sorted(times)[len(times) // 2] * 1e3,
        "proofs_of_a_message_worst_ms": max(times) * 1e3,
        "consistency_proof_ms": consistency * 1e3,
    }


async def _export(database: Database, log: LogFolder, key: SigningKey, message: UUID) -> dict[str, float]:
    """Give out an extract of one message, with its PDF, and verify it: as `bode evidence export` and `verify` do."""
    vault = Vault(os.urandom(32))
    row = {"message_id": message, "key_id": vault.key_id, "wrapped_key": vault.new_key(message).wrapped, "sealed": b""}
    async with database.write() as connection:
        await connection.execute(sa.insert(tables.content), [row])
    composer = CopyComposer(config_folder() / "extracts")

    def pdf(chosen: Sequence[StoredEvent], count: int) -> bytes:
        entries = [
            Entry(when(line.at), line.title, line.detail, (), "klok van de afzender")
            for line in timeline(chosen, channels={})
        ]
        return composer.compose(
            CopyFacts("Gemeente Maasveld", "B-1", str(message), entries[0].when, ORIGIN, entries, count - len(chosen))
        )

    copies = Copies(database, vault, simulated_policy(), Clock(), ORIGIN)
    started = time.perf_counter()
    issued = await copies.issue(message, audience=Audience.COURT, by="bench", make_pdf=pdf)
    while await Sequencer(database).work():
        pass
    await Checkpoints(database, Clock(), log, key, every_seconds=60).publish()
    extract = await copies.finish(issued)
    exported = time.perf_counter() - started
    times: list[float] = []
    for _ in range(20):
        started = time.perf_counter()
        report = verify(extract, Trust([key.verifier]))
        times.append(time.perf_counter() - started)
        if report.verdict is not Verdict.VALID:
            raise SystemExit(f"the extract does not verify: {report.lines()}")
    return {"export": exported, "verify_median_ms": sorted(times)[10] * 1e3, "verify_worst_ms": max(times) * 1e3}


async def _write(database: Database, count: int) -> list[UUID]:
    """Write so many messages of ten events each, as a worker would; and their deliveries, which the events explain."""
    now = datetime.now(UTC)
    ids = [uuid4() for _ in range(count)]
    events: list[Sealed] = []
    deliveries: list[dict[str, object]] = []
    for message in ids:
        chain = GENESIS
        for seq in range(1, PER_MESSAGE + 1):
            fact = Fact("SubmissionAcceptance" if seq == 1 else "event.recorded", ("L12",), detail={"moved": False})
            at = now + timedelta(seconds=seq)
            event = seal(fact, message_id=message, organisation=MAASVELD, seq=seq, previous=chain, recorded_at=at)
            chain = event.chain
            events.append(event)
        delivery = Delivery(
            Brief(
                message,
                now,
                Nature.OVERIG,
                None,
                Confidentiality.LAAG,
                (),
                AddresseeKind.BSN,
                has_email=False,
                has_address=False,
            )
        )
        deliveries.append(
            {
                "message_id": message,
                "organisation": MAASVELD,
                "state": str(delivery.state),
                "outcome": str(delivery.outcome),
                "document": msgspec.json.encode(delivery).decode(),
                "event_seq": PER_MESSAGE,
                "event_hash": chain,
                "updated_at": now,
            }
        )
    columns = ("message_id", "seq", "name", "part", "at", "recorded_at", "envelope", "hash")
    types = ("uuid", "int4", "varchar", "varchar", "timestamptz", "timestamptz", "bytea", "bytea")
    async with database.write() as connection:
        await connection.execute(sa.insert(tables.delivery), deliveries)
        driver: Any = (await connection.get_raw_connection()).driver_connection
        statement = f"COPY event ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
        async with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            for event in events:
                await copy.write_row([getattr(event, column) for column in columns])
    return ids


async def _beside(url: str) -> None:
    database = Database(url)
    await database.check_schema()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await Sequencer(database).run()


if __name__ == "__main__":
    asyncio.run(_beside(sys.argv[1]))
