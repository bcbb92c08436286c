"""The verifier: says whether an extract is as it was issued, and in the log that its keys are trusted for.

No database, no network, no trust in the file: keys come from elsewhere. It stands apart: the standard library,
`cryptography`, `rfc8785` and its neighbours `bundle`, `chain`, `merkle`, `note` and `statement` are all it needs.

    python -m bode.evidence.verify EXTRACT.zip --key 'gemeente.example/bode+...'

Ends with 0: valid; 1: altered; 2: nothing can be decided (no key for it, unreadable, another version).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Any

from bode.evidence.bundle import BundleError, unpack
from bode.evidence.chain import GENESIS, chain_hash, commit
from bode.evidence.merkle import leaf_hash, verify_inclusion
from bode.evidence.note import (
    Checkpoint,
    KeyKind,
    Note,
    NoteError,
    Opened,
    SignatureError,
    UntrustedError,
    VerifierKey,
    open_checkpoint,
)
from bode.evidence.statement import (
    CHECKPOINT,
    COSIGNATURES,
    ISSUED,
    PROOF,
    STATEMENT,
    TIMESTAMP,
    Inclusion,
    MalformedError,
    OtherVersionError,
    StatedEvent,
    Statement,
    details_name,
    envelope_name,
    read_object,
)

MAX_BYTES = 1 << 26
"""No extract is larger than 64 MiB ..."""

MAX_JSON_BYTES = 1 << 23
"""... and what is read as JSON in it no more than 8 MiB, for it is the slow part."""

_ENVELOPE_VERSION = 1
_MOST_LINES = 100


class Verdict(IntEnum):
    """What is known of an extract; the number is the exit code."""

    VALID = 0
    """All that it states is proven."""
    ALTERED = 1
    """Something in it contradicts what the log or its sender committed to."""
    UNDECIDED = 2
    """Nothing contradicts, and something cannot be checked: a key, a part that can be read, a known version."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found."""

    verdict: Verdict
    faults: Sequence[str]
    """Each names the statement that fails, or cannot be decided."""
    proven: Sequence[str] = ()
    """What holds; empty unless the verdict is valid."""
    unchecked: Sequence[str] = ()
    """What is in the extract and was not looked at, because nobody is trusted for it."""

    def lines(self) -> list[str]:
        """Write it for people, the verdict first."""
        about = {
            Verdict.VALID: "valid",
            Verdict.ALTERED: "ALTERED: this is not what was issued",
            Verdict.UNDECIDED: "cannot be decided",
        }
        lines = [*self.faults, *self.proven, *(f"not checked: {what}" for what in self.unchecked)]
        more = [f"and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
        return [about[self.verdict], *(f"  {line}" for line in lines[:_MOST_LINES] + more)]


CheckTimestamp = Callable[[bytes, bytes], datetime | None]
"""Checks a time stamp response over bytes; gives its time, or nothing where it is not one that is trusted."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What the reader trusts, and has from elsewhere than the extract."""

    keys: Sequence[VerifierKey]
    """Of logs, and of witnesses: each witness named must have signed."""
    checkpoints: Sequence[bytes] = ()
    """Checkpoints of the same size that were published: must be the same tree."""
    timestamp: CheckTimestamp | None = None
    """Given, a time stamp must be there, and good."""


def verify_file(path: Path, trust: Trust) -> Report:
    """Verify an extract in a file. Never raises, whatever the file is."""
    try:
        if not path.is_file():
            return _undecided("there is no such file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        return _undecided(f"the file cannot be read: {error.strerror}")
    return verify(data, trust)


def verify(data: bytes, trust: Trust) -> Report:
    """Verify an extract. Never raises, whatever the bytes are."""
    if len(data) > MAX_BYTES:
        return _undecided("the file is larger than any extract")
    try:
        bundle = unpack(data)
    except BundleError as error:
        return _undecided(str(error))
    if sum(len(content) for name, content in bundle.files.items() if _is_json(name)) > MAX_JSON_BYTES:
        return _undecided("the file has more events than any extract")
    statement = bundle.files.get(STATEMENT)
    if statement is None:
        return _undecided(*bundle.faults, f"there is no {STATEMENT} that can be read: this is not an extract")
    try:
        return _Verification(bundle.files, Statement.parse(statement), trust).run(bundle.faults)
    except OtherVersionError:
        return _undecided("the extract is of another version than this verifier knows")
    except MalformedError as error:
        return Report(Verdict.ALTERED, [*bundle.faults, f"{STATEMENT}: {error}"])


def _undecided(*faults: str) -> Report:
    return Report(Verdict.UNDECIDED, faults)


def _is_json(name: str) -> bool:
    return name in (STATEMENT, PROOF) or name.startswith("events/")


# ------------------------------------------------------------------------------------------------------------ verifying


@dataclass(slots=True)
class _Verification:
    """One verification. Goes on after a fault, so that all that is wrong is told."""

    files: Mapping[str, bytes]
    stated: Statement
    trust: Trust
    altered: list[str] = field(default_factory=list[str])
    undecided: list[str] = field(default_factory=list[str])
    proven: list[str] = field(default_factory=list[str])
    unchecked: list[str] = field(default_factory=list[str])

    def run(self, faults: Sequence[str]) -> Report:
        self.altered += faults
        opened = self._checkpoint()
        issued = self._events()
        self._inclusions(opened)
        self._files()
        if opened is not None:
            self._others(opened)
        if self.altered:
            return Report(Verdict.ALTERED, [*self.altered, *self.undecided])
        if self.undecided or opened is None:
            return Report(Verdict.UNDECIDED, self.undecided)
        return Report(Verdict.VALID, [], [*self._summary(opened, issued), *self.proven], self.unchecked)

    def _name(self, seq: int) -> str:
        return f"event {seq} of message {self.stated.message}"

    # ---- the events and their chain --------------------------------------------------------------------------------

    def _events(self) -> str:
        """Check each event against its hash, its place and its details; gives when the copy was issued."""
        chain = GENESIS
        for seq, event in enumerate(self.stated.events, start=1):
            if event.is_open:
                envelope = self._envelope(seq, chain, event.hash)
                if envelope is not None:
                    self._details(seq, event, envelope)
            chain = chain_hash(chain, event.hash)
        last = len(self.stated.events) + 1
        envelope = self._envelope(last, chain, None)
        if envelope is None:
            return ""
        detail: dict[str, object] = envelope["detail"] if isinstance(envelope.get("detail"), dict) else {}
        if envelope.get("event") != ISSUED:
            self.altered.append(f"{self._name(last)}: it is not {ISSUED}, which ends every extract")
        elif detail.get("extract") != sha256(self.files[STATEMENT]).hexdigest():
            self.altered.append(f"{STATEMENT}: it is not what {self._name(last)} ({ISSUED}) committed to")
        return str(envelope.get("recorded_at"))

    def _envelope(self, seq: int, chain: bytes, hash_: bytes | None) -> Mapping[str, Any] | None:
        """Give an open event, or nothing where it is not what it must be; that is told then."""
        data = self.files.get(envelope_name(seq))
        if data is None:
            self.altered.append(f"{self._name(seq)}: it was left out: {envelope_name(seq)} is not there")
            return None
        if hash_ is not None and leaf_hash(data) != hash_:
            self.altered.append(f"{self._name(seq)}: it does not have the hash that was committed to")
            return None
        try:
            envelope = read_object(data)
        except MalformedError as error:
            self.altered.append(f"{self._name(seq)}: {error}")
            return None
        if envelope.get("version") != _ENVELOPE_VERSION:
            self.undecided.append(f"{self._name(seq)}: it is of another version than this verifier knows")
            return None
        place = (self.stated.message, self.stated.organisation, seq)
        if (envelope.get("message"), envelope.get("organisation"), envelope.get("seq")) != place:
            self.altered.append(f"{self._name(seq)}: it states another message, organisation or number")
        elif envelope.get("previous") != chain.hex():
            self.altered.append(
                f"{self._name(seq)}: the {seq - 1} events before it are not those that it states: "
                "one was left out, added or changed"
            )
        return envelope

    def _details(self, seq: int, event: StatedEvent, envelope: Mapping[str, Any]) -> None:
        committed, details = envelope.get("detail_commit"), self.files.get(details_name(seq))
        if event.salt is None or details is None:
            if event.salt is not None or details is not None:
                self.altered.append(f"{self._name(seq)}: its details are there without their salt, or the other way")
            elif committed is not None:
                self.unchecked.append(f"{self._name(seq)}: its details are not in the extract")
        elif not isinstance(committed, str) or not compare_digest(
            commit(event.salt, details).hex().encode(), committed.encode()
        ):
            self.altered.append(f"{self._name(seq)}: its details do not match what was committed")

    # ---- the log ---------------------------------------------------------------------------------------------------

    def _checkpoint(self) -> Opened | None:
        data = self.files.get(CHECKPOINT)
        if data is None:
            self.altered.append(f"{CHECKPOINT}: it is not there")
            return None
        try:
            stated = Checkpoint.parse(Note.parse(data).text)
            if stated.origin != self.stated.log:
                self.altered.append(f"{CHECKPOINT}: it is of another log than {self.stated.log}")
            return open_checkpoint(data + self.files.get(COSIGNATURES, b""), self.trust.keys)
        except UntrustedError:
            self.undecided.append(f"{CHECKPOINT}: none of the keys given is a key of {self.stated.log} that signed it")
        except SignatureError:
            self.altered.append(f"{CHECKPOINT}: a trusted key is named under it, and did not sign this")
        except NoteError as error:
            self.altered.append(f"{CHECKPOINT}: {error}")
        return None

    def _inclusions(self, opened: Opened | None) -> None:
        """Check that each open event is in the log that the checkpoint states."""
        wanted = [seq for seq, event in enumerate(self.stated.events, start=1) if event.is_open]
        wanted.append(len(self.stated.events) + 1)
        try:
            inclusions = Inclusion.parse_all(self.files.get(PROOF, b""))
        except MalformedError as error:
            self.altered.append(f"{PROOF}: {error}")
            return
        if [one.seq for one in inclusions] != wanted:
            self.altered.append(f"{PROOF}: it is not about the open events, in their order")
        elif opened is not None:
            for one in inclusions:
                self._inclusion(opened.checkpoint, one)

    def _inclusion(self, at: Checkpoint, one: Inclusion) -> None:
        envelope = self.files.get(envelope_name(one.seq))
        if envelope is None:
            return
        leaf = leaf_hash(envelope)
        if one.position >= at.size:
            self.altered.append(
                f"{self._name(one.seq)}: the checkpoint is older than it: it states the first {at.size} events of the "
                f"log, and this one stands at {one.position}"
            )
        elif not verify_inclusion(leaf=leaf, index=one.position, size=at.size, root=at.root, proof=one.proof):
            self.altered.append(f"{self._name(one.seq)}: it is not in the log that the checkpoint states")

    # ---- the rest of the ZIP, and what others say ------------------------------------------------------------------

    def _files(self) -> None:
        known = {STATEMENT, PROOF, CHECKPOINT, COSIGNATURES, TIMESTAMP, envelope_name(len(self.stated.events) + 1)}
        for seq, event in enumerate(self.stated.events, start=1):
            if event.is_open:
                known |= {envelope_name(seq), details_name(seq)}
        for name, hash_ in self.stated.files.items():
            content = self.files.get(name)
            if content is None:
                self.altered.append(f"{name}: it was left out")
            elif sha256(content).digest() != hash_:
                self.altered.append(f"{name}: it is not the file that was committed to")
        self.altered += [
            f"{name}: no such file was issued" for name in self.files.keys() - known - self.stated.files.keys()
        ]

    def _others(self, opened: Opened) -> None:
        """Hold published checkpoints, witnesses and a time stamp against the checkpoint, as far as they are trusted."""
        for data in self.trust.checkpoints:
            self._published(opened.checkpoint, data)
        signed = {witnessed.key.name: witnessed.at for witnessed in opened.witnesses}
        for name in sorted({key.name for key in self.trust.keys if key.kind is KeyKind.WITNESS}):
            if name in signed:
                self.proven.append(f"witness {name} saw the log like this at {_moment(signed[name])}")
            else:
                self.undecided.append(f"{CHECKPOINT}: witness {name} did not sign it")
        trusted = {(key.name, key.id) for key in self.trust.keys}
        self.unchecked += [
            f"a signature under the checkpoint by {line.name}: its key was not given"
            for line in opened.note.signatures
            if (line.name, line.key_id) not in trusted
        ]
        self._timestamp()

    def _published(self, mine: Checkpoint, data: bytes) -> None:
        try:
            published = open_checkpoint(data, self.trust.keys).checkpoint
        except NoteError as error:
            self.undecided.append(f"the published checkpoint: {error}")
            return
        if published.origin != mine.origin or published.size != mine.size:
            self.undecided.append(f"the published checkpoint is not the one of {mine.origin} with size {mine.size}")
        elif published.root != mine.root:
            self.altered.append(
                f"{CHECKPOINT}: the log signed two histories: another one of {mine.size} events was published"
            )
        else:
            self.proven.append("the checkpoint is the one that was published")

    def _timestamp(self) -> None:
        token = self.files.get(TIMESTAMP)
        if self.trust.timestamp is None:
            if token is not None:
                self.unchecked.append("the time stamp: no root of a time stamping authority was given")
            return
        at = None if token is None else self.trust.timestamp(token, self.files[CHECKPOINT])
        if at is None:
            self.undecided.append(f"{TIMESTAMP}: there is none over this checkpoint by an authority that was given")
        else:
            self.proven.append(f"a time stamping authority saw the checkpoint at {_moment(at.timestamp())}")

    def _summary(self, opened: Opened, issued: str) -> list[str]:
        count = len(self.stated.events)
        seqs = [str(seq) for seq, event in enumerate(self.stated.events, start=1) if event.is_open]
        at, keys = opened.checkpoint, ", ".join(f"{key.name}+{key.id.hex()}" for key in opened.signed_by)
        return [
            f"message {self.stated.message} of organisation {self.stated.organisation}, issued {issued}",
            f"{count} events before the copy; open: {', '.join(seqs) or 'none'}; the others are counted, and closed",
            f"log {at.origin}, checkpoint of {at.size} events, signed by {keys}",
        ]


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"second {seconds:.0f}"


# --------------------------------------------------------------------------------------------------- the command line


def read_keys(given: Iterable[str]) -> list[VerifierKey]:
    """Read public keys, each given as text or as the name of a file with one on each line.

    Raises `NoteError` or `OSError`.
    """
    keys: list[VerifierKey] = []
    for one in given:
        try:
            keys.append(VerifierKey.parse(one))
        except NoteError as error:
            if not Path(one).is_file():
                raise NoteError(f"--key: {error}, and there is no file with this name") from None
            lines = [line.strip() for line in Path(one).read_text("utf-8").splitlines()]
            keys += [VerifierKey.parse(line) for line in lines if line and not line.startswith("#")]
    return keys


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Give the verdict on several extracts together: one that was altered decides, then one that is undecided."""
    found = set(verdicts)
    return next(verdict for verdict in (Verdict.ALTERED, Verdict.UNDECIDED, Verdict.VALID) if verdict in found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify the extracts named on the command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bode.evidence.verify", description="Check extracts of evidence.")
    parser.add_argument("files", nargs="+", type=Path, metavar="EXTRACT.zip")
    parser.add_argument(
        "--key", action="append", required=True, help="a public key, or a file of them; not from the ZIP"
    )
    parser.add_argument("--checkpoint", action="append", default=[], type=Path, help="a checkpoint that was published")
    given = parser.parse_args(arguments)
    try:
        trust = Trust(read_keys(given.key), [path.read_bytes() for path in given.checkpoint])
    except (NoteError, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"{error}\n")
        return Verdict.UNDECIDED
    reports = [(path, verify_file(path, trust)) for path in given.files]
    for path, report in reports:
        sys.stdout.write("\n".join([f"{path}: {report.lines()[0]}", *report.lines()[1:]]) + "\n")
    return worst(report.verdict for _, report in reports)


if __name__ == "__main__":
    sys.exit(main())
