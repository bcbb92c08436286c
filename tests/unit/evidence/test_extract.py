"""An extract: what it opens, what stays closed, and what its verification tells."""

import io
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

import bode.evidence
from bode.domain.decision import Fact
from bode.evidence.bundle import unpack
from bode.evidence.extract import build
from bode.evidence.note import KeyKind, NoteError, SigningKey
from bode.evidence.verify import MAX_BYTES, Trust, Verdict, read_keys, verify, verify_file, worst

V = Verdict


@pytest.mark.law("L12")
def test_an_extract_opens_what_was_asked_for_and_nothing_else(log, trust, lab):
    data = log.issue(2, 3)
    report = verify(data, trust)
    assert (report.verdict, list(report.faults)) == (V.VALID, [])
    assert "8 events before the copy; open: 2, 3; the others are counted, and closed" in report.proven
    for event in log.messages[lab.MESSAGE]:
        if event.seq not in (2, 3, 9):
            assert event.envelope not in data
            assert event.details is None or event.details not in data
            assert event.salt is None or event.salt.hex().encode() not in data
    assert all(event.envelope not in data for event in log.messages[lab.OTHER])


@pytest.mark.parametrize("opened", [(), (1,), (8,), tuple(range(1, 9))])
def test_any_choice_of_events_verifies(log, trust, opened):
    assert verify(log.issue(*opened), trust).verdict is V.VALID


def test_an_extract_is_the_last_event_of_its_message_and_the_next_one_counts_it(log, trust):
    first, second = log.issue(1), log.issue(1)
    assert verify(first, trust).verdict is V.VALID
    assert any("9 events before the copy" in line for line in verify(second, trust).proven)
    assert verify(first, trust).verdict is V.VALID, "an earlier extract stays what it was"


def test_the_same_extract_is_the_same_bytes(log, lab):
    draft = log.draft(1, 2)
    issued = log.record(Fact("copy.issued", ("L12",), detail={"extract": draft.digest}))
    proven = [log.prove(log.messages[lab.MESSAGE][seq - 1]) for seq in (1, 2, 9)]
    parts = {"issued": issued.envelope, "checkpoint": log.checkpoint()}
    assert build(draft, inclusions=proven, **parts) == build(draft, inclusions=proven[::-1], **parts)


def test_any_program_unpacks_it(log, tmp_path):
    data = log.issue(2, 3)
    with zipfile.ZipFile(io.BytesIO(data)) as found:
        assert found.testzip() is None
        assert {name: found.read(name) for name in found.namelist()} == unpack(data).files
        assert found.namelist() == sorted(found.namelist())


def test_erased_details_leave_an_extract_that_verifies_and_says_so(log, trust, lab):
    before = log.issue(3)
    events = log.messages[lab.MESSAGE]
    log.messages[lab.MESSAGE] = [replace(event, salt=None, details=None) for event in events]
    report = verify(log.issue(3), trust)
    assert report.verdict is V.VALID
    assert any("event 3" in line and "not in the extract" in line for line in report.unchecked)
    assert verify(before, trust).verdict is V.VALID, "an extract from before the erasure still verifies"


def test_an_extract_without_a_pdf(log, trust, lab):
    draft = log.draft(1, pdf=None)
    issued = log.record(Fact("copy.issued", ("L12",), detail={"extract": draft.digest}))
    inclusions = [log.prove(log.messages[lab.MESSAGE][0]), log.prove(issued)]
    data = build(draft, issued=issued.envelope, inclusions=inclusions, checkpoint=log.checkpoint())
    assert verify(data, trust).verdict is V.VALID
    assert "afschrift.pdf" not in unpack(data).files


def test_the_first_event_of_all_can_be_an_extract_of_nothing(lab, trust):
    log = lab.Log()
    log.messages[lab.MESSAGE] = []
    assert verify(log.issue(), trust).verdict is V.VALID


# ---------------------------------------------------------------------------------------------------------------- trust


def test_without_a_key_for_it_nothing_is_decided(log, lab):
    data = log.issue(2)
    stranger = SigningKey(lab.ORIGIN, KeyKind.LOG, bytes(32))
    for keys in ([], [stranger.verifier], [lab.WITNESS.verifier]):
        report = verify(data, Trust(keys))
        assert report.verdict is V.UNDECIDED
        assert "none of the keys given is a key of gemeente.example/bode" in report.faults[0]


def test_a_witness_that_is_named_must_have_signed(log, lab):
    both = Trust([lab.KEY.verifier, lab.WITNESS.verifier])
    assert verify(log.issue(2), both).faults == ["checkpoint: witness getuige.example/w1 did not sign it"]
    data = log.issue(2)
    data = lab.changed(data, cosignatures=lab.witnessed(unpack(data).files["checkpoint"]))
    report = verify(data, both)
    assert report.verdict is V.VALID
    assert "witness getuige.example/w1 saw the log like this at 2026-09-01T10:00:00Z" in report.proven
    alone = verify(data, Trust([lab.KEY.verifier]))
    assert alone.verdict is V.VALID
    assert list(alone.unchecked) == ["a signature under the checkpoint by getuige.example/w1: its key was not given"]


def test_a_rotated_key_is_passed_over_and_told(log, lab):
    new = SigningKey(lab.ORIGIN, KeyKind.LOG, bytes([7]) * 32)
    data = log.issue(2)
    line = str(new.sign(f"{lab.ORIGIN}\n17\n")).encode()
    report = verify(lab.changed(data, checkpoint=unpack(data).files["checkpoint"] + line), Trust([lab.KEY.verifier]))
    assert report.verdict is V.VALID
    assert any("its key was not given" in what for what in report.unchecked)


def test_a_published_checkpoint_shows_a_log_with_two_histories(log, lab):
    data, published = log.issue(2), log.checkpoint()
    assert verify(data, Trust([lab.KEY.verifier], [published])).verdict is V.VALID
    forked = lab.a_log()
    forked.issue(1)
    report = verify(data, Trust([lab.KEY.verifier], [forked.checkpoint()]))
    assert report.verdict is V.ALTERED
    assert "two histories" in report.faults[0]
    log.issue(3)
    later = verify(data, Trust([lab.KEY.verifier], [log.checkpoint()]))
    assert later.verdict is V.UNDECIDED
    assert later.faults == ["the published checkpoint is not the one of gemeente.example/bode with size 17"]
    broken = verify(data, Trust([lab.KEY.verifier], [b"no checkpoint"]))
    assert broken.verdict is V.UNDECIDED


def test_keys_come_as_text_or_in_files(tmp_path, lab):
    file = tmp_path / "keys"
    file.write_text(f"# of the log, since 2026\n{lab.KEY.verifier}\n\n{lab.WITNESS.verifier}\n", "utf-8")
    assert read_keys([str(file)]) == [lab.KEY.verifier, lab.WITNESS.verifier]
    assert read_keys([str(lab.KEY.verifier)]) == [lab.KEY.verifier]
    with pytest.raises(NoteError, match="no file"):
        read_keys(["gemeente.example/bode"])
    with pytest.raises(NoteError, match="private key"):
        read_keys([lab.KEY.text()])


def test_of_several_extracts_an_altered_one_decides():
    assert worst([V.VALID, V.UNDECIDED, V.ALTERED]) is V.ALTERED
    assert worst([V.VALID, V.UNDECIDED]) is V.UNDECIDED
    assert worst([V.VALID]) is V.VALID


# ---------------------------------------------------------------------------------------------------------------- files


def test_whatever_is_in_the_place_of_a_file_is_told(tmp_path, trust):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (tmp_path, tmp_path / "none", fifo, Path("a\0b")):
        assert verify_file(path, trust).verdict is V.UNDECIDED
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert verify_file(large, trust).faults == ("the file is larger than any extract",)


STAND_ALONE = ["__init__", "bundle", "chain", "merkle", "note", "statement", "verify"]

ONLY = """
import sys
allowed = set(sys.stdlib_module_names) | {"bode", "cryptography", "rfc8785", "_cffi_backend", "cffi", "pycparser"}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ImportError(f"the verifier may not import {name}")
sys.meta_path.insert(0, Refuse())
sys.path.insert(0, sys.argv.pop(1))
from bode.evidence import verify
assert verify.__file__.startswith(sys.path[0])
sys.exit(verify.main(sys.argv[1:]))
"""


def test_the_verifier_runs_without_the_rest_of_bode(log, lab, tmp_path):
    source, alone = Path(bode.evidence.__file__).parent, tmp_path / "alone"
    (alone / "bode/evidence").mkdir(parents=True)
    (alone / "bode/__init__.py").write_bytes((source.parent / "__init__.py").read_bytes())
    for name in STAND_ALONE:
        (alone / f"bode/evidence/{name}.py").write_bytes((source / f"{name}.py").read_bytes())
    good, bad = tmp_path / "good.zip", tmp_path / "bad.zip"
    data = log.issue(2)
    good.write_bytes(data)
    bad.write_bytes(lab.replaced(data, "events/000002.json", b'"attempt":2', b'"attempt":1'))

    def run(*arguments):
        command = [sys.executable, "-c", ONLY, str(alone), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    key = str(lab.KEY.verifier)
    told = run(good, "--key", key)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith(f"{good}: valid\n  message {lab.MESSAGE}")
    told = run(good, bad, "--key", key)
    assert told.returncode == 1
    assert f"event 2 of message {lab.MESSAGE}: it does not have the hash that was committed to" in told.stdout
    assert run(good, "--key", str(SigningKey.generate(lab.ORIGIN).verifier)).returncode == 2
    told = run(good, "--key", "nothing")
    assert (told.returncode, told.stdout) == (2, "")
    assert "name+id+base64" in told.stderr


@pytest.mark.slow
def test_an_extract_from_a_log_of_a_million(log, trust):
    log.append(*(sha256(number.to_bytes(4, "big")).digest() for number in range(1_000_000)))
    assert "checkpoint of 1000017 events" in " ".join(verify(log.issue(1, 2, 3), trust).proven)
