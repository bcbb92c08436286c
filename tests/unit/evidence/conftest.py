"""A log of evidence in memory, with the events of invented messages, and extracts from it."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest

from bode.domain.decision import Fact
from bode.evidence.bundle import pack, unpack
from bode.evidence.chain import GENESIS
from bode.evidence.envelope import Sealed, seal
from bode.evidence.extract import Closed, Draft, Open, build
from bode.evidence.merkle import Edge, grow, prove_inclusion
from bode.evidence.note import Checkpoint, KeyKind, Note, SigningKey, cosign
from bode.evidence.statement import Inclusion
from bode.evidence.verify import Trust

OIN = "00000001999000010000"
ORIGIN = "gemeente.example/bode"
MESSAGE = UUID("0190b2c4-0000-7000-8000-000000000001")
OTHER = UUID("0190b2c4-0000-7000-8000-000000000002")
AT = datetime(2026, 9, 1, 10, tzinfo=UTC)
PDF = b"%PDF-1.7 an invented story"
KEY = SigningKey(ORIGIN, KeyKind.LOG, bytes(range(32)))
WITNESS = SigningKey("getuige.example/w1", KeyKind.WITNESS, bytes(range(32, 64)))


@dataclass
class Log:
    """A log in memory: every event it has, and the messages they belong to."""

    key: SigningKey = KEY
    edge: Edge = field(default_factory=Edge)
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)
    messages: dict[UUID, list[Sealed]] = field(default_factory=dict)
    positions: dict[bytes, int] = field(default_factory=dict)

    def append(self, *leaves: bytes) -> None:
        self.positions |= {leaf: self.edge.size + at for at, leaf in enumerate(leaves)}
        grown = grow(self.edge, leaves)
        self.edge = grown.edge
        self.tiles |= {(tile.level, tile.index): hashes for tile, hashes in grown.tiles}

    def record(self, fact: Fact, message: UUID = MESSAGE, **changed) -> Sealed:
        events = self.messages.setdefault(message, [])
        options = {
            "message_id": message,
            "organisation": OIN,
            "seq": len(events) + 1,
            "previous": events[-1].chain if events else GENESIS,
            "recorded_at": AT + timedelta(hours=len(self.positions)),
        }
        event = seal(fact, **(options | changed))
        events.append(event)
        self.append(event.hash)
        return event

    def prove(self, event: Sealed, size: int | None = None) -> Inclusion:
        position = self.positions[event.hash]
        proof = prove_inclusion(position, size or self.edge.size, lambda tile: self.tiles[tile.level, tile.index])
        return Inclusion(event.seq, position, proof)

    def checkpoint(self) -> bytes:
        return Checkpoint(self.key.name, self.edge.size, self.edge.root()).sign(self.key).encode()

    def draft(self, *opened: int, message: UUID = MESSAGE, pdf: bytes | None = PDF) -> Draft:
        events = [
            Open(event.envelope, event.salt, event.details) if event.seq in opened else Closed(event.hash)
            for event in self.messages[message]
        ]
        return Draft(self.key.name, message, OIN, events, pdf)

    def issue(self, *opened: int, message: UUID = MESSAGE, **more) -> bytes:
        """Issue an extract with some events open, as the export does: record it, sign, build."""
        draft = self.draft(*opened, message=message)
        issued = self.record(Fact("copy.issued", ("L12",), detail={"extract": draft.digest}), message)
        proven = [event for event in self.messages[message] if event.seq in (*opened, issued.seq)]
        options = {"inclusions": [self.prove(event) for event in proven], "checkpoint": self.checkpoint()}
        return build(draft, issued=issued.envelope, **(options | more))


def a_log(key: SigningKey = KEY, *, name: str = "ConsignmentNotification") -> Log:
    """Give a log with the eight events of a message, among those of another."""
    log = Log(key)
    for number in range(1, 9):
        sealed = {"email": f"sanne{number}@post.example.nl"} if number % 2 else {}
        log.record(Fact(name, ("L3", "L7"), "notice/mijnoverheid", detail={"attempt": number}, sealed=sealed))
        log.record(Fact("bounce.received", ("L7",)), OTHER)
    return log


def changed(data: bytes, **files) -> bytes:
    """Pack an extract again with other files: named `events_000003_json`, or as they are by `{"name": ...}`."""
    return pack(dict(unpack(data).files) | files)


def replaced(data: bytes, name: str, old: bytes, new: bytes) -> bytes:
    """Replace bytes of one file in an extract, and pack it as an extract is."""
    content = unpack(data).files[name]
    assert content.count(old) >= 1
    return changed(data, **{name: content.replace(old, new, 1)})


def without(data: bytes, *names: str) -> bytes:
    return pack({name: content for name, content in unpack(data).files.items() if name not in names})


def stated(data: bytes) -> dict:
    return json.loads(unpack(data).files["extract.json"])


def witnessed(checkpoint: bytes, key: SigningKey = WITNESS, at: int = 1788256800) -> bytes:
    """Give a witness's signature line under a checkpoint."""
    return str(cosign(Note.parse(checkpoint), key, at=at).signatures[-1]).encode()


@pytest.fixture(scope="session")
def lab() -> SimpleNamespace:
    """What the tests of evidence are made with."""
    return SimpleNamespace(
        OIN=OIN,
        ORIGIN=ORIGIN,
        MESSAGE=MESSAGE,
        OTHER=OTHER,
        AT=AT,
        PDF=PDF,
        KEY=KEY,
        WITNESS=WITNESS,
        Log=Log,
        a_log=a_log,
        changed=changed,
        replaced=replaced,
        without=without,
        stated=stated,
        witnessed=witnessed,
    )


@pytest.fixture
def log() -> Log:
    return a_log()


@pytest.fixture
def trust() -> Trust:
    return Trust([KEY.verifier])
