"""The audit and the signer against hands in the database, a restored backup and a changed folder."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
import structlog
import toml_parts

from bode.engine.checkpoints import REFUSED, Checkpoints, SigningRefusedError
from bode.engine.evidence_audit import Audit
from bode.engine.sequencer import Sequencer
from bode.evidence.chain import chain_hash
from bode.evidence.merkle import Edge, Tile, leaf_hash, prove_inclusion, read_edge, verify_inclusion
from bode.evidence.note import Checkpoint, SigningKey, VerifierKey
from bode.store import tables
from bode.store.evidence_keys import make_keyring, read_keyring, rotate_keyring
from bode.store.evidence_log import length, prove_events, prove_growth
from bode.store.log_folder import LogFolder
from bode_adapters.contract import LetterStatus, MailRefused, RefusalKind, Refused
from bode_ops import cli
from bode_ops.commands import base

ORIGIN = "gemeente.example/test"
NOBODY = MailRefused("rcpt_to", 550, "5.1.1 user unknown", "mx.example.nl")
CONFIG = (
    """
[database]
url = "{url}"
[keys]
file = "{folder}/bode.key"
[evidence]
key_file = "{folder}/evidence.key"
origin = "{origin}"
folder = "{folder}/evidence"
[channels.email]
adapter = "smtp-carrier"
kind = "email"
label = "e-mail"
ceiling = "laag"
[channels.email.settings]
host = "127.0.0.1"
tls = "none"
"""
    + toml_parts.notices()
    + toml_parts.PRINT_FOLDER
)


@dataclass
class Stage:
    """A process with a log that is published, and a hand that can do anything in its database."""

    app: Any
    url: str
    folder: Path
    config: Path
    log: LogFolder
    checkpoints: Checkpoints

    async def sequence(self):
        while await Sequencer(self.app.database).work():
            pass

    async def publish(self):
        await self.sequence()
        return await self.checkpoints.publish()

    async def audit(self, *, details=False) -> list[str]:
        faults: list[str] = []
        vault = self.app.vault if details else None
        report = await Audit(
            self.app.database, lambda fault: faults.append(str(fault)), folder=self.log, vault=vault
        ).run()
        assert report.faults == len(faults)
        return faults

    def owner(self, *statements: str) -> None:
        """Do something in the database as its owner, who can turn triggers off."""
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
                found = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
                triggers = found.fetchall()
                for name, _ in triggers:
                    connection.execute(f"DROP TRIGGER {name}")
                for statement in statements:
                    connection.execute(statement)
                for _, sql in triggers:
                    connection.execute(sql)
            return
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")
            for statement in statements:
                connection.execute(statement.encode())

    def id(self, message: UUID) -> str:
        return f"'{message.hex}'" if self.url.startswith("sqlite") else f"'{message}'"

    def bytes(self, value: bytes) -> str:
        return f"x'{value.hex()}'" if self.url.startswith("sqlite") else f"'\\x{value.hex()}'"


@pytest.fixture
def make_stage(make_app):
    """Give a maker of a process with a log: a new one, or one that goes on in a copy of another's folder."""

    async def _make(url: str, folder: Path) -> Stage:
        app = await make_app(url)
        config = folder / "bode.toml"
        config.write_text(CONFIG.format(url=url, folder=folder, origin=ORIGIN))
        (folder / "print" / "in").mkdir(parents=True, exist_ok=True)
        (folder / "bode.key").write_text(bytes(range(32)).hex())
        (folder / "bode.key").chmod(0o600)
        path = folder / "evidence.key"
        ring = read_keyring(path, ORIGIN) if path.exists() else make_keyring(path, ORIGIN)
        log = LogFolder(folder / "evidence", ORIGIN, ring.verifiers)
        checkpoints = Checkpoints(app.database, app.clock, log, ring.signing, every_seconds=60)
        return Stage(app, url, folder, config, log, checkpoints)

    return _make


@pytest.fixture
async def stage(make_stage, database_url, tmp_path) -> Stage:
    return await make_stage(database_url, tmp_path)


@pytest.fixture(scope="module")
def stories(tmp_path_factory) -> dict[str, tuple[str, Path, list[UUID]]]:
    """Keep what `told` copies, by kind of database: it is made once."""
    return {}


@pytest.fixture
async def told(
    make_stage, database_url, stories, postgres, tmp_path_factory
) -> AsyncIterator[tuple[Stage, list[UUID]]]:
    """Give a log of four stories over two checkpoints: noticed, noticed by letter, on paper, cancelled."""
    kind = database_url.split(":")[0]
    if kind not in stories:
        folder = tmp_path_factory.mktemp(kind)
        first = await make_stage(database_url, folder)
        ids = await _tell(first)
        await first.app.database.close()
        stories[kind] = (_copy(database_url, folder / "told.db", postgres), folder, ids)
    url, folder, ids = stories[kind]
    mine = tmp_path_factory.mktemp("mine")
    shutil.copytree(folder, mine, dirs_exist_ok=True)
    copy = _copy(url, mine / "bode.db", postgres)
    stage = await make_stage(copy, mine)
    yield stage, ids
    await stage.app.database.close()
    if kind == "postgresql":
        postgres.drop(copy)


def _copy(url: str, path: Path, postgres: Any) -> str:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as source, closing(sqlite3.connect(path)) as copy:
            source.backup(copy)
        return f"sqlite:///{path}"
    name = f"told_{path.parent.name.replace('-', '_')}"
    postgres.do(f"CREATE DATABASE {name} TEMPLATE {sa.make_url(url).database} STRATEGY FILE_COPY")
    return postgres.url(name)


async def _tell(stage: Stage) -> list[UUID]:
    app = stage.app
    ids = [(await app.accept()).id]
    await app.settle()
    await stage.publish()
    app.notifier.script.rule = lambda _: NOBODY
    ids.append((await app.accept()).id)
    await app.settle()
    app.printer.report(next(iter(app.printer.printed)), LetterStatus.POSTED)
    await app.inbound.read_reports()
    app.box.script.rule = lambda _: Refused("weg", RefusalKind.ADDRESSEE, "Jantje is onbekend")
    ids.append((await app.accept()).id)
    await app.settle()
    ids.append((await app.accept(email=None, publicatieTijdstip="2026-04-01T09:00:00Z")).id)
    await app.intake.cancel(ids[-1], by="test", reason="test")
    await stage.publish()
    return ids


@pytest.fixture
def command(monkeypatch, capsys):
    """Run `bode` in a thread of this process, beside the test's loop."""
    monkeypatch.delenv("BODE_CONFIG", raising=False)
    monkeypatch.setattr(base.logs, "configure", lambda _: None)

    async def _run(stage, *arguments):
        monkeypatch.setattr(sys, "argv", ["bode", *arguments, "--config", str(stage.config)])
        capsys.readouterr()

        def run():
            try:
                cli.main()
            except SystemExit as end:
                return end.code or 0
            return 0

        code = await asyncio.to_thread(run)
        printed = capsys.readouterr()
        return SimpleNamespace(code=code, out=printed.out, err=printed.err)

    return _run


# ---------------------------------------------------------------------------------------------------------------- clean


async def test_what_is_as_it_was_written_is_found_so(told, command):
    stage, _ = told
    assert await stage.audit(details=True) == []
    said = await command(stage, "evidence", "audit", "--details")
    assert (said.code, said.err) == (0, "")
    assert "in order" in said.out
    assert re.search(r"\d+ events of 4 messages, \d+ in the log, 0 waiting, 2 checkpoints \(2 published\)", said.out)
    assert re.search(r"[1-9]\d* details: .* us per event", said.out)


async def test_events_that_wait_are_counted_and_no_fault(told, command):
    stage, _ = told
    await stage.app.accept()
    assert await stage.audit() == []
    assert "3 waiting" in (await command(stage, "evidence", "audit")).out


async def test_a_large_log_is_found_as_it_was_written(stage, many_events):
    await many_events(stage.app, 1500)
    await stage.publish()
    await many_events(stage.app, 333)
    await stage.publish()
    assert [fault for fault in await stage.audit() if "no delivery" not in fault] == []
    tiles = {str(path.relative_to(stage.log.path)) for path in stage.log.path.rglob("tile/*/*") if path.is_file()}
    assert {"tile/0/000", "tile/0/013"} <= tiles
    assert (stage.log.path / "tile/0/014.p/82").stat().st_size == 82 * 32
    assert (stage.log.path / "tile/1/000.p/14").stat().st_size == 14 * 32


async def test_without_anything_published_a_clean_audit_decides_nothing(stage, command):
    await stage.app.accept()
    await stage.sequence()
    said = await command(stage, "evidence", "audit")
    assert said.code == 2
    assert "cannot decide: no published checkpoint" in said.err


async def test_without_the_key_an_audit_decides_nothing(told, command):
    stage, _ = told
    (stage.folder / "evidence.key").unlink()
    said = await command(stage, "evidence", "audit")
    assert said.code == 2
    assert "bode keys evidence init" in said.err


# -------------------------------------------------------------------------------------------------- hands in the tables


def _envelope(stage, ids):
    where = f"WHERE message_id = {stage.id(ids[0])} AND seq = 2"
    return f"UPDATE event SET envelope = envelope || {stage.bytes(b' ')} {where}"


def _column(what):
    return lambda stage, ids: f"UPDATE event SET {what} WHERE message_id = {stage.id(ids[0])} AND seq = 2"


def _delete(stage, ids):
    return f"DELETE FROM event WHERE message_id = {stage.id(ids[0])} AND seq = 2"


def _delete_last(stage, ids):
    return (
        f"DELETE FROM event WHERE message_id = {stage.id(ids[1])} "
        f"AND seq = (SELECT event_seq FROM delivery WHERE message_id = {stage.id(ids[1])})"
    )


def _swap(stage, ids):
    where = f"message_id = {stage.id(ids[0])}"
    return [
        f"UPDATE event SET seq = 99 WHERE {where} AND seq = 2",
        f"UPDATE event SET seq = 2 WHERE {where} AND seq = 3",
        f"UPDATE event SET seq = 3 WHERE {where} AND seq = 99",
    ]


def _swap_leaves(_stage, _ids):
    return [
        "UPDATE evidence_leaf SET position = -1 WHERE position = 2",
        "UPDATE evidence_leaf SET position = 2 WHERE position = 3",
        "UPDATE evidence_leaf SET position = 3 WHERE position = -1",
    ]


def _tile(stage, _ids):
    values = f"0, 0, {stage.bytes(bytes(8192))}, {stage.bytes(bytes(32))}"
    return f"INSERT INTO evidence_tile (level, number, hashes, root) VALUES ({values})"


HANDS = {
    "a byte in an envelope": (_envelope, r"message {0}, event 2: its hash is not that of its envelope"),
    "a name": (_column("name = 'notice.due'"), r"message {0}, event 2: its row and its envelope differ in event"),
    "a time": (
        _column("at = '2020-01-01 00:00:00.000000'"),
        r"message {0}, event 2: its row and its envelope differ in at",
    ),
    "an event deleted": (_delete, r"message {0}, event 2: it is missing"),
    "the last event deleted": (_delete_last, r"message {1}, event \d+: it is missing"),
    "two events swapped": (_swap, r"message {0}, event 2: its row and its envelope differ in seq"),
    "two leaves swapped": (_swap_leaves, r"the kept checkpoint of \d+ states another root"),
    "a leaf without event": (_delete, r"log: leaf 1 is of an event that is not there"),
    "a leaf deleted": (
        lambda _s, _i: "DELETE FROM evidence_leaf WHERE position = 1",
        r"message {0}, event 2: it is neither in the log nor waits for it",
    ),
    "the end of the log deleted": (
        lambda _s, _i: "DELETE FROM evidence_leaf WHERE position > 5",
        r"log: the published checkpoint of \d+ states \d+ events, and the log has 6",
    ),
    "a delivery's state": (
        lambda s, i: f"UPDATE delivery SET state = 'under_way' WHERE message_id = {s.id(i[0])}",
        r"message {0}: the columns of its delivery are not what the delivery says",
    ),
    "a delivery without its events": (
        lambda s, i: f"DELETE FROM event WHERE message_id = {s.id(i[3])}",
        r"message {3}: it has no events at all",
    ),
    "a delivery deleted": (
        lambda s, i: f"DELETE FROM delivery WHERE message_id = {s.id(i[2])}",
        r"message {2}: it has events and no delivery",
    ),
    "a sending added": (
        lambda s, i: (
            'UPDATE delivery SET document = replace(document, \'"sendings":[\', \'"sendings":[{"channel":"post",'
            '"part":"letter/0","at":"2026-01-01T00:00:00Z","source":"our_clock","failed":null},\') '
            f"WHERE message_id = {s.id(i[0])}"
        ),
        r"message {0}: the sending by letter/0 at 2026-01-01T00:00:00\+00:00 has no event",
    ),
    "a sending taken away": (
        lambda s, i: (
            f"UPDATE delivery SET document = (SELECT document FROM delivery WHERE message_id = {s.id(i[3])}) "
            f"WHERE message_id = {s.id(i[0])}"
        ),
        r"message {0}: the sending by placement/mijnoverheid at .* is in its events, and not in its state",
    ),
    "a checkpoint's root": (
        lambda s, _i: f"UPDATE evidence_checkpoint SET root = {s.bytes(bytes(32))}",
        r"log: the kept checkpoint of \d+ is not what its signed note states",
    ),
    "a tile": (
        _tile,
        r"log: the kept tile/0/000 is past the end of the log",
    ),
}


@pytest.mark.parametrize("hand", HANDS)
async def test_a_hand_in_the_tables_is_found(told, hand):
    stage, ids = told
    acts, wanted = HANDS[hand]
    statements = acts(stage, ids)
    stage.owner(*([statements] if isinstance(statements, str) else statements))
    faults = await stage.audit()
    assert any(re.search(wanted.format(*ids), fault) for fault in faults), faults


@pytest.mark.parametrize(
    "what", ["at = 'gisteren'", "message_id = 'x'", "hash = 7", "hash = x'00'", "envelope = 'tekst'"]
)
async def test_what_bode_never_writes_is_a_fault_and_no_failure(told, what):
    stage, ids = told
    if not stage.app.database.is_sqlite and "hash = x" not in what:
        pytest.skip("PostgreSQL holds columns to their types")
    what = what.replace("x'00'", stage.bytes(b"\0"))
    stage.owner(f"UPDATE event SET {what} WHERE message_id = {stage.id(ids[0])} AND seq = 2")
    assert await stage.audit()


async def test_the_command_names_each_fault_without_personal_data_and_exits_with_1(told, command):
    stage, ids = told
    stage.owner(_envelope(stage, ids), _delete_last(stage, ids))
    said = await command(stage, "evidence", "audit")
    assert said.code == 1
    assert f"message {ids[0]}, event 2: its hash is not that of its envelope\n" in said.out
    assert re.search(rf"message {ids[1]}, event \d+: it is missing\n", said.out)
    assert re.search(r"\d+ faults: evidence is not as it was written", said.err)
    for personal in ("Jantje", "99999", "post.example", "dakkapel"):
        assert personal not in said.out + said.err


async def test_an_owner_who_computes_everything_anew_is_found_by_what_was_published(stage, many_events):
    """The envelope, its hash, the chain after it, the tile: all agree with each other, and not with the signature."""
    messages = await many_events(stage.app, 300)
    await stage.publish()
    (first, second) = await stage.app.rows(tables.event, tables.event.c.message_id == messages[20])
    envelope = first.envelope.replace(b'"L12"', b'"L13"')
    leaf = leaf_hash(envelope)
    chain = chain_hash(bytes(32), leaf)
    after = re.sub(rb'"previous":"[0-9a-f]{64}"', f'"previous":"{chain.hex()}"'.encode(), second.envelope)
    (tile,) = await stage.app.rows(tables.evidence_tile, tables.evidence_tile.c.number == 0)
    hashes = tile.hashes.replace(first.hash, leaf).replace(second.hash, leaf_hash(after))
    root = Edge(256, (hashes,)).root()
    stage.owner(
        f"UPDATE event SET envelope = {stage.bytes(envelope)}, hash = {stage.bytes(leaf)} WHERE id = {first.id}",
        f"UPDATE event SET envelope = {stage.bytes(after)} WHERE id = {second.id}",
        f"UPDATE event SET hash = {stage.bytes(leaf_hash(after))} WHERE id = {second.id}",
        f"UPDATE evidence_tile SET hashes = {stage.bytes(hashes)}, root = {stage.bytes(root)} WHERE number = 0",
    )
    faults = [fault for fault in await stage.audit() if "no delivery" not in fault]
    assert f"message {messages[20]}, event 1: it is not what the published tile/0/000 has at leaf 40" in faults
    assert any("the kept checkpoint of 600 states another root" in fault for fault in faults)
    await many_events(stage.app, 1)
    with pytest.raises(SigningRefusedError, match="not those of the published checkpoint"):
        await stage.publish()


async def test_details_that_were_changed_or_went_without_a_word_are_found(told):
    stage, ids = told
    (row,) = await stage.app.rows(tables.event_detail, tables.event_detail.c.message_id == ids[2])
    where = f"WHERE message_id = {stage.id(row.message_id)} AND seq = {row.seq}"
    stage.owner(f"UPDATE event_detail SET salt = {stage.bytes(bytes(32))} {where}")
    wanted = f"message {ids[2]}, event {row.seq}: its details are not those its envelope commits to"
    assert await stage.audit(details=True) == [wanted]
    stage.owner(f"UPDATE event_detail SET sealed = {stage.bytes(bytes(40))} {where}")
    assert await stage.audit(details=True) == [f"message {ids[2]}, event {row.seq}: its details cannot be opened"]
    stage.owner(f"DELETE FROM event_detail {where}")
    (fault,) = await stage.audit(details=True)
    assert fault == f"message {ids[2]}, event {row.seq}: its details are gone, and no event says that they were erased"
    assert await stage.audit() == [], "details are held against their commitments only where that is asked for"


async def test_details_that_were_erased_are_no_fault(told, evidence_event):
    stage, ids = told
    await evidence_event(stage.app, ids[2], "detail.shredded")
    async with stage.app.database.write() as connection:
        await connection.execute(sa.delete(tables.event_detail).where(tables.event_detail.c.message_id == ids[2]))
    assert await stage.audit(details=True) == []


# ------------------------------------------------------------------------------------------------- restores and folders


async def backup(stage):
    """Keep the database's rows as they are now, and give what puts them back."""
    kept = {name: await stage.app.rows(table) for name, table in tables.metadata.tables.items()}

    async def restore():
        stage.owner(*(f"DELETE FROM {name}" for name in kept))
        async with stage.app.database.write() as connection:
            if not stage.app.database.is_sqlite:
                await connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            for name, rows in kept.items():
                if rows:
                    await connection.execute(sa.insert(tables.metadata.tables[name]), [row._asdict() for row in rows])
        if stage.app.database.is_sqlite:
            stage.owner("DELETE FROM event_pending WHERE event_id IN (SELECT event_id FROM evidence_leaf)")

    return restore


async def test_a_restored_older_database_is_not_signed(told):
    """The log is smaller than what was published; and when it has grown past it, it is another one."""
    stage, _ = told
    restore = await backup(stage)
    published = stage.log.newest().checkpoint.size
    await stage.app.accept()
    await stage.publish()
    newest = stage.log.newest()
    assert newest.checkpoint.size == published + 3
    await restore()
    with pytest.raises(SigningRefusedError, match=f"the log has {published} events, and a checkpoint") as refused:
        await stage.publish()
    assert refused.value.code == "smaller"
    assert "bode keys evidence rotate" in str(refused.value)
    assert REFUSED._value.get() == 1
    first, _ = await stage.audit()
    assert f"the published checkpoint of {published + 3} states" in first
    assert f"and the log has {published}" in first

    for _ in range(2):
        await stage.app.accept()
    with pytest.raises(SigningRefusedError, match="not those of the published checkpoint") as refused:
        await stage.publish()
    assert refused.value.code == "forked"
    async with stage.app.database.read() as connection:
        assert await length(connection) == published + 6, "putting events in the log goes on"
    assert stage.log.newest() == newest
    assert any("states another root than its first" in fault for fault in await stage.audit())


async def test_a_log_that_is_lost_for_good_goes_on_under_a_new_name(told):
    stage, _ = told
    tmp_path = stage.folder
    restore = await backup(stage)
    await stage.app.accept()
    await stage.publish()
    await restore()
    with pytest.raises(SigningRefusedError):
        await stage.publish()
    ring = rotate_keyring(tmp_path / "evidence.key", f"{ORIGIN}/2")
    log = LogFolder(tmp_path / "evidence-2", f"{ORIGIN}/2", ring.verifiers)
    again = Checkpoints(stage.app.database, stage.app.clock, log, ring.signing, every_seconds=60)
    await stage.app.accept()
    await stage.sequence()
    assert await again.publish() is not None
    assert REFUSED._value.get() == 0
    faults: list[str] = []
    await Audit(stage.app.database, lambda fault: faults.append(str(fault)), folder=log).run()
    assert faults == []


async def test_an_old_checkpoint_put_back_in_the_folder_is_found(told):
    stage, _ = told
    first, last = stage.log.sizes()
    shutil.copy(stage.log.path / f"checkpoint.{first}", stage.log.path / "checkpoint")
    assert await stage.audit() == [
        f"log: the published newest checkpoint is an old one, of {first}: one of {last} was signed"
    ]
    assert await stage.checkpoints.publish() == last, "the one signed last is put back as it was signed"
    assert await stage.audit() == []


async def test_a_checkpoint_of_another_log_or_by_another_key_is_found_and_not_built_on(told):
    stage, _ = told
    theirs = SigningKey.generate(ORIGIN)
    newest = stage.log.newest()
    note = Checkpoint(ORIGIN, newest.checkpoint.size, bytes(32)).sign(theirs).encode()
    (stage.log.path / "checkpoint").write_bytes(note)
    assert any("no trusted key" in fault for fault in await stage.audit())
    with pytest.raises(SigningRefusedError, match="Put the file back") as refused:
        await stage.publish()
    assert refused.value.code == "unreadable"


async def test_a_forked_log_of_ours_is_found(told):
    """Our own key signed another root of the same size: the audit sees it beside the first."""
    stage, _ = told
    ring = read_keyring(stage.folder / "evidence.key", ORIGIN)
    size = stage.log.newest().checkpoint.size
    note = Checkpoint(ORIGIN, size, bytes(32)).sign(ring.signing).encode()
    (stage.log.path / "checkpoint").write_bytes(note)
    assert await stage.audit() == [
        f"log: the published newest checkpoint states another root than its first {size} events have"
    ]
    with pytest.raises(SigningRefusedError) as refused:
        await stage.publish()
    assert refused.value.code == "forked"


async def test_a_folder_that_was_lost_is_written_anew_only_when_asked(told, command):
    stage, _ = told
    newest = stage.log.newest()
    shutil.rmtree(stage.log.path)
    await stage.app.accept()
    with pytest.raises(SigningRefusedError, match="bode evidence republish") as refused:
        await stage.publish()
    assert refused.value.code == "folder_lost"
    assert any("has no newest checkpoint that is ours" in fault for fault in await stage.audit())
    said = await command(stage, "evidence", "republish")
    assert (said.code, said.err) == (0, "")
    assert stage.log.newest() == newest
    assert (await command(stage, "evidence", "republish")).code == 2, "a folder with a checkpoint is not written over"
    assert await stage.publish() == newest.checkpoint.size + 3
    assert await stage.audit() == []


async def test_a_checkpoint_that_was_published_and_not_kept_is_kept_later(told):
    """The process ended between the two."""
    stage, _ = told
    size = stage.log.newest().checkpoint.size
    stage.owner(f"DELETE FROM evidence_checkpoint WHERE size = {size}")
    assert await stage.audit() == []
    assert await stage.publish() is None
    assert [row.size for row in await stage.app.rows(tables.evidence_checkpoint)][-1] == size


async def test_nothing_new_is_nothing_signed(told):
    stage, _ = told
    assert await stage.publish() is None
    assert len(stage.log.sizes()) == 2


async def test_only_one_process_publishes_in_a_folder_at_a_time(told):
    stage, _ = told
    await stage.app.accept()
    with stage.log.alone() as alone:
        assert alone
        assert await stage.publish() is None
    assert await stage.publish() is not None


async def test_what_a_rotated_key_signed_keeps_verifying(told):
    stage, _ = told
    tmp_path = stage.folder
    ring = rotate_keyring(tmp_path / "evidence.key", ORIGIN)
    stage.log = LogFolder(stage.log.path, ORIGIN, ring.verifiers)
    stage.checkpoints = Checkpoints(stage.app.database, stage.app.clock, stage.log, ring.signing, every_seconds=60)
    assert await stage.audit() == []
    await stage.app.accept()
    await stage.publish()
    assert await stage.audit() == []
    text = (tmp_path / "evidence.key").read_text()
    assert text.count("PRIVATE+KEY+") == 1
    assert [VerifierKey.parse(line) for line in text.splitlines() if line.startswith(ORIGIN)] == list(ring.retired)


async def test_the_tiles_in_the_folder_are_enough_to_prove_with(told):
    """Whoever has the folder and nothing else can compute the root the checkpoint states, and proofs to it."""
    stage, ids = told

    def read(tile: Tile) -> bytes:
        return (stage.log.path / tile.path).read_bytes()

    stated = stage.log.newest().checkpoint
    assert read_edge(stated.size, read).root() == stated.root
    async with stage.app.database.read() as connection:
        kept = SimpleNamespace(size=stated.size)
        (proven,) = await prove_events(connection, ids[1], [2], kept)
        old, _ = stage.log.sizes()
        assert await prove_growth(connection, old, stated.size)
    assert list(proven.proof) == prove_inclusion(proven.position, stated.size, read)
    (row,) = await stage.app.rows(tables.event, tables.event.c.message_id == ids[1], tables.event.c.seq == 2)
    assert verify_inclusion(
        leaf=row.hash, index=proven.position, size=stated.size, root=stated.root, proof=proven.proof
    )


async def test_the_loop_signs_goes_on_after_a_refusal_and_says_so(told, until):
    stage, _ = told
    stage.checkpoints._every = 0.01
    size = stage.log.newest().checkpoint.size
    kept = (stage.log.path / "checkpoint").read_bytes()
    (stage.log.path / "checkpoint").write_bytes(b"changed")
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(stage.checkpoints.run())
        await until(lambda: any(line["event"] == "evidence.signing_refused" for line in logs))
        (stage.log.path / "checkpoint").write_bytes(kept)
        await stage.app.accept()
        await stage.sequence()
        await until(lambda: stage.log.newest().checkpoint.size == size + 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    (refusal,) = {line["reason"] for line in logs if line["event"] == "evidence.signing_refused"}
    assert refusal == "unreadable"


# -------------------------------------------------------------------------------------------------------------- kill -9

WRITER = Path(__file__).with_name("evidence_writer.py")
POINTS = random.Random(7).sample(range(1, 80), 20)
"""Where the writer dies: a statement, a commit or a file. A whole run has some 80 of them."""


async def write_and_die(stage, point):
    """Run the writer; gives the messages that it said were accepted, and whether it was killed."""
    writer = await asyncio.create_subprocess_exec(
        sys.executable, str(WRITER), stage.url, str(stage.folder), str(point), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await writer.communicate()
    accepted = [UUID(line.split()[1]) for line in out.decode().splitlines() if line.startswith("accepted ")]
    return accepted, writer.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=[] if index == 0 else pytest.mark.slow) for index, point in enumerate(POINTS)]
)
async def test_killed_at_any_point_nothing_is_lost_nor_in_the_log_twice(stage, point):
    accepted, killed = await write_and_die(stage, point)
    assert killed
    more, killed = await write_and_die(stage, 0)
    assert not killed
    await stage.publish()
    assert await stage.audit() == []
    known = {row.id for row in await stage.app.rows(tables.message)}
    assert known >= {*accepted, *more}
    assert len(known) - len(accepted) - len(more) <= 1, "one may have been accepted without a word"
    events = {row.id for row in await stage.app.rows(tables.event)}
    leaves = [row.event_id for row in await stage.app.rows(tables.evidence_leaf)]
    assert sorted(leaves) == sorted(events)
    assert stage.log.newest().checkpoint.size == len(events) == 3 * len(known)
    assert await stage.app.rows(tables.event_pending) == []


class Vouching:
    """Says something of checkpoints, and knows it again."""

    def __init__(self, kind):
        self.kind = kind

    async def attest(self, note, checkpoint, prove):
        return self.said(note)

    def said(self, note):
        return f"{self.kind} of {sha256(note).hexdigest()}".encode()

    def vouches(self, note, said):
        return said == self.said(note)


OTHERS = (Vouching("timestamp"), Vouching("witness"))


@pytest.fixture
async def attested(told):
    """Give a stage of which others attested the newest checkpoint."""
    stage, _ = told
    for attestor in OTHERS:
        assert await stage.checkpoints.attest(attestor)
    return stage


async def hold_attestations(stage, attestors=OTHERS):
    faults = []
    report = await Audit(
        stage.app.database, lambda fault: faults.append(str(fault)), folder=stage.log, attestors=attestors
    ).run()
    return report, faults


async def test_what_others_said_of_a_checkpoint_is_checked_where_they_are_named_and_counted_where_not(attested):
    report, faults = await hold_attestations(attested)
    assert (report.attestations, report.attestations_of_others, faults) == (2, 0, [])
    report, faults = await hold_attestations(attested, OTHERS[:1])
    assert (report.attestations, report.attestations_of_others, faults) == (1, 1, [])


@pytest.mark.parametrize("kind", ["timestamp", "witness"])
async def test_what_others_said_and_a_hand_changed_is_found(attested, kind):
    where = f"kind = '{kind}'"
    attested.owner(f"UPDATE evidence_attestation SET content = {attested.bytes(b'forged')} WHERE {where}")
    _, (fault,) = await hold_attestations(attested)
    assert "is not one of who is named" in fault
    attested.owner(f"UPDATE evidence_attestation SET size = size + 1 WHERE {where}")
    _, faults = await hold_attestations(attested)
    assert any("that checkpoint is not" in fault for fault in faults)


async def test_a_published_time_stamp_that_is_not_the_kept_one_is_found(attested):
    (file,) = attested.log.path.glob("checkpoint.*.timestamp")
    file.write_bytes(b"another")
    _, (fault,) = await hold_attestations(attested)
    assert "is another than the one that is kept" in fault
