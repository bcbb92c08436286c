"""Whatever is done to an extract after it was issued, or while it was made, is told; and with the right exit code."""

import io
import json
import random
import stat
import warnings
import zipfile
from dataclasses import replace

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from bode.domain.decision import Fact
from bode.evidence.bundle import pack, unpack
from bode.evidence.chain import chain_hash
from bode.evidence.extract import Closed, Draft, Open, build
from bode.evidence.merkle import leaf_hash
from bode.evidence.note import Checkpoint, KeyKind, SigningKey
from bode.evidence.verify import MAX_JSON_BYTES, Trust, Verdict, verify

ALTERED, UNDECIDED = Verdict.ALTERED, Verdict.UNDECIDED
TWO, THREE, ISSUED = "events/000002.json", "events/000003.json", "events/000009.json"
MESSAGE = "0190b2c4-0000-7000-8000-000000000001"


# ------------------------------------------------------------------------------- by somebody else, after it was issued


def swap(data, lab, one, other):
    files = unpack(data).files
    return lab.changed(data, **{one: files[other], other: files[one]})


def restated(data, lab, change):
    """Change what `extract.json` states, written as it must be."""
    found = lab.stated(data)
    change(found)
    return lab.changed(data, **{"extract.json": rfc8785.dumps(found)})


def reproved(data, lab, change):
    found = json.loads(unpack(data).files["proof.json"])
    change(found["inclusions"])
    return lab.changed(data, **{"proof.json": rfc8785.dumps(found)})


def other_log(lab):
    return lab.a_log(SigningKey("andere.example/bode", KeyKind.LOG, bytes([5]) * 32))


def zipped(data, **options):
    """Pack an extract with an ordinary program."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as file:
        for name, content in unpack(data).files.items():
            file.writestr(name, content)
    return out


def streamed(data):
    """Pack an extract with a program that cannot go back to write sizes."""

    class Pipe(io.RawIOBase):
        def __init__(self):
            self.taken = bytearray()

        def writable(self):
            return True

        def write(self, content):
            self.taken += content
            return len(content)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as file:
        for name, content in unpack(data).files.items():
            file.writestr(name, content)
    return bytes(pipe.taken)


def added(data, name, content=b"", **options):
    """Add an entry to an extract with an ordinary program."""
    out = io.BytesIO(data)
    with zipfile.ZipFile(out, "a") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a name is there already
        entry = zipfile.ZipInfo(name)
        for key, value in options.items():
            setattr(entry, key, value)
        file.writestr(entry, content)
    return out.getvalue()


def omitted(data, lab):
    """Leave out event 2 and count on as if it had not been: the best one can do without the log's key."""

    def change(found):
        del found["events"][1]
        for seq, entry in enumerate(found["events"], start=1):
            entry["seq"] = seq

    files = dict(unpack(restated(data, lab, change)).files)
    files["events/000002.json"] = files.pop("events/000003.json")
    files["details/000002.json"] = files.pop("details/000003.json")
    files["events/000008.json"] = files.pop("events/000009.json")
    proof = json.loads(files["proof.json"])
    del proof["inclusions"][0]
    proof["inclusions"][0]["seq"], proof["inclusions"][1]["seq"] = 2, 8
    files["proof.json"] = rfc8785.dumps(proof)
    return pack(files)


CASES = {
    "a byte in an envelope": (
        lambda data, lab: lab.replaced(data, TWO, b'"attempt":2', b'"attempt":3'),
        ALTERED,
        f"event 2 of message {MESSAGE}: it does not have the hash that was committed to",
    ),
    "a time": (
        lambda data, lab: lab.replaced(data, TWO, b'"at":"2026-09-01T12', b'"at":"2026-09-01T11'),
        ALTERED,
        f"event 2 of message {MESSAGE}: it does not have the hash that was committed to",
    ),
    "a byte in an envelope, and the hash of it": (
        lambda data, lab: restated(
            moved := lab.replaced(data, TWO, b'"attempt":2', b'"attempt":3'),
            lab,
            lambda found: found["events"][1].update(hash=leaf_hash(unpack(moved).files[TWO]).hex()),
        ),
        ALTERED,
        f"event 2 of message {MESSAGE}: it is not in the log that the checkpoint states",
    ),
    "a byte in the last envelope": (
        lambda data, lab: lab.replaced(data, ISSUED, b"2026-09-02T02", b"2026-09-03T02"),
        ALTERED,
        f"event 9 of message {MESSAGE}: it is not in the log that the checkpoint states",
    ),
    "a detail": (
        lambda data, lab: lab.replaced(data, "details/000003.json", b"sanne3", b"sanne4"),
        ALTERED,
        f"event 3 of message {MESSAGE}: its details do not match what was committed",
    ),
    "a salt": (
        lambda data, lab: restated(data, lab, lambda found: found["events"][2].update(salt="00" * 32)),
        ALTERED,
        f"event 3 of message {MESSAGE}: its details do not match what was committed",
    ),
    "details without their salt": (
        lambda data, lab: restated(data, lab, lambda found: found["events"][2].pop("salt")),
        ALTERED,
        f"event 3 of message {MESSAGE}: its details are there without their salt, or the other way",
    ),
    "details left out": (
        lambda data, lab: lab.without(data, "details/000003.json"),
        ALTERED,
        f"event 3 of message {MESSAGE}: its details are there without their salt, or the other way",
    ),
    "details added to an event without": (
        lambda data, lab: lab.changed(data, **{"details/000002.json": b"{}"}),
        ALTERED,
        f"event 2 of message {MESSAGE}: its details are there without their salt, or the other way",
    ),
    "details and a salt added to an event without": (
        lambda data, lab: restated(
            lab.changed(data, **{"details/000002.json": b"{}"}),
            lab,
            lambda found: found["events"][1].update(salt="00" * 32),
        ),
        ALTERED,
        f"event 2 of message {MESSAGE}: its details do not match what was committed",
    ),
    "an event left out": (
        lambda data, lab: lab.without(data, TWO),
        ALTERED,
        f"event 2 of message {MESSAGE}: it was left out: events/000002.json is not there",
    ),
    "an event left out, and the others counted anew": (
        omitted,
        ALTERED,
        f"event 2 of message {MESSAGE}: it states another message, organisation or number",
    ),
    "the last event left out": (
        lambda data, lab: lab.without(data, ISSUED),
        ALTERED,
        f"event 9 of message {MESSAGE}: it was left out",
    ),
    "an event closed after all": (
        lambda data, lab: restated(lab.without(data, TWO), lab, lambda found: found["events"][1].update(open=False)),
        ALTERED,
        f"extract.json: it is not what event 9 of message {MESSAGE} (copy.issued) committed to",
    ),
    "two events swapped": (
        lambda data, lab: swap(data, lab, TWO, THREE),
        ALTERED,
        f"event 2 of message {MESSAGE}: it does not have the hash that was committed to",
    ),
    "two events swapped, and their hashes": (
        lambda data, lab: restated(
            swap(data, lab, TWO, THREE),
            lab,
            lambda found: (
                found["events"][1].update(hash=found["events"][2]["hash"], salt=found["events"][2].pop("salt")),
                found["events"][2].update(hash=leaf_hash(unpack(data).files[TWO]).hex()),
            ),
        ),
        ALTERED,
        f"event 2 of message {MESSAGE}: it states another message, organisation or number",
    ),
    "two closed events swapped": (
        lambda data, lab: restated(
            data,
            lab,
            lambda found: found["events"].__setitem__(
                slice(3, 5),
                [found["events"][4] | {"seq": 4}, found["events"][3] | {"seq": 5}],
            ),
        ),
        ALTERED,
        f"event 9 of message {MESSAGE}: the 8 events before it are not those that it states",
    ),
    "a closed event changed": (
        lambda data, lab: restated(data, lab, lambda found: found["events"][5].update(hash="00" * 32)),
        ALTERED,
        f"event 9 of message {MESSAGE}: the 8 events before it are not those that it states",
    ),
    "a closed event added": (
        lambda data, lab: restated(
            lab.changed(data, **{"events/000010.json": unpack(data).files[ISSUED]}),
            lab,
            lambda found: found["events"].append({"seq": 9, "hash": "00" * 32, "open": False}),
        ),
        ALTERED,
        f"event 10 of message {MESSAGE}: it states another message, organisation or number",
    ),
    "another message's name on it": (
        lambda data, lab: restated(data, lab, lambda found: found.update(message=str(lab.OTHER))),
        ALTERED,
        "event 2 of message 0190b2c4-0000-7000-8000-000000000002: it states another message",
    ),
    "another organisation's name on it": (
        lambda data, lab: restated(data, lab, lambda found: found.update(organisation="00000001999000020000")),
        ALTERED,
        f"event 2 of message {MESSAGE}: it states another message, organisation or number",
    ),
    "a checkpoint of another log": (
        lambda data, lab: lab.changed(data, checkpoint=other_log(lab).checkpoint()),
        ALTERED,
        "checkpoint: it is of another log than gemeente.example/bode",
    ),
    "a checkpoint of another log, and its name": (
        lambda data, lab: restated(
            lab.changed(data, checkpoint=other_log(lab).checkpoint()),
            lab,
            lambda found: found.update(log="andere.example/bode"),
        ),
        ALTERED,
        "extract.json: it is not what event 9",
    ),
    "a checkpoint by another key of the same name": (
        lambda data, lab: lab.changed(
            data, checkpoint=lab.a_log(SigningKey(lab.ORIGIN, KeyKind.LOG, bytes([5]) * 32)).checkpoint()
        ),
        UNDECIDED,
        "checkpoint: none of the keys given is a key of gemeente.example/bode that signed it",
    ),
    "a checkpoint of a fork by the log's own key": (
        lambda data, lab: lab.changed(data, checkpoint=Checkpoint(lab.ORIGIN, 17, bytes(32)).sign(lab.KEY).encode()),
        ALTERED,
        f"event 2 of message {MESSAGE}: it is not in the log that the checkpoint states",
    ),
    "an old checkpoint replayed": (
        lambda data, lab: lab.changed(data, checkpoint=Checkpoint(lab.ORIGIN, 3, bytes(32)).sign(lab.KEY).encode()),
        ALTERED,
        f"event 3 of message {MESSAGE}: the checkpoint is older than it: it states the first 3 events of the log, and",
    ),
    "a root": (
        lambda data, lab: lab.replaced(data, "checkpoint", b"\n17\n", b"\n18\n"),
        ALTERED,
        "checkpoint: a trusted key is named under it, and did not sign this",
    ),
    "a checkpoint that is none": (
        lambda data, lab: lab.changed(data, checkpoint=b"goed"),
        ALTERED,
        "checkpoint: a note is text, an empty line and signature lines",
    ),
    "no checkpoint": (lambda data, lab: lab.without(data, "checkpoint"), ALTERED, "checkpoint: it is not there"),
    "a place in the log": (
        lambda data, lab: reproved(data, lab, lambda proofs: proofs[0].update(position=3)),
        ALTERED,
        f"event 2 of message {MESSAGE}: it is not in the log",
    ),
    "a hash in a proof": (
        lambda data, lab: reproved(data, lab, lambda proofs: proofs[0]["proof"].__setitem__(0, "00" * 32)),
        ALTERED,
        f"event 2 of message {MESSAGE}: it is not in the log",
    ),
    "a proof left out": (
        lambda data, lab: reproved(data, lab, lambda proofs: proofs.pop(0)),
        ALTERED,
        "proof.json: it is not about the open events, in their order",
    ),
    "a proof that is none": (
        lambda data, lab: reproved(data, lab, lambda proofs: proofs[0].update(proof=[1, 2])),
        ALTERED,
        "proof.json: a hash or a salt is not 64 digits",
    ),
    "no proofs": (
        lambda data, lab: lab.without(data, "proof.json"),
        ALTERED,
        "proof.json: it is not a canonical JSON object",
    ),
    "the PDF": (
        lambda data, lab: lab.replaced(data, "afschrift.pdf", b"invented", b"improved"),
        ALTERED,
        "afschrift.pdf: it is not the file that was committed to",
    ),
    "the README": (
        lambda data, lab: lab.replaced(data, "README.txt", b"'KEY'", b"'EVE'"),
        ALTERED,
        "README.txt: it is not the file that was committed to",
    ),
    "the PDF left out": (
        lambda data, lab: lab.without(data, "afschrift.pdf"),
        ALTERED,
        "afschrift.pdf: it was left out",
    ),
    "a file added": (
        lambda data, lab: lab.changed(data, **{"gratis.pdf": b"%PDF"}),
        ALTERED,
        "gratis.pdf: no such file was issued",
    ),
    "an event opened that was closed": (
        lambda data, lab: lab.changed(data, **{"events/000004.json": b"{}"}),
        ALTERED,
        "events/000004.json: no such file was issued",
    ),
    "another version": (
        lambda data, lab: restated(data, lab, lambda found: found.update(format="bode extract 2")),
        UNDECIDED,
        "the extract is of another version than this verifier knows",
    ),
    "a field that nobody knows": (
        lambda data, lab: restated(data, lab, lambda found: found.update(note="valid")),
        ALTERED,
        "extract.json: it has fields that are not known",
    ),
    "names that would move the cursor": (
        lambda data, lab: restated(data, lab, lambda found: found.update(message="\x1b[2J")),
        ALTERED,
        "extract.json: message is not there, or not text",
    ),
    "a statement that is written otherwise": (
        lambda data, lab: lab.changed(data, **{"extract.json": json.dumps(lab.stated(data)).encode()}),
        ALTERED,
        "extract.json: it is not a canonical JSON object",
    ),
    "no statement": (
        lambda data, lab: lab.without(data, "extract.json"),
        UNDECIDED,
        "there is no extract.json that can be read: this is not an extract",
    ),
    "a ZIP with a path outside": (
        lambda data, lab: added(data, "../../etc/cron.d/evil", b"* * * * * root true"),
        ALTERED,
        "the ZIP has a file whose name leads outside, or is none of an extract",
    ),
    "a ZIP with an absolute path": (
        lambda data, lab: added(data, "/etc/passwd", b"root"),
        ALTERED,
        "the ZIP has a file whose name leads outside, or is none of an extract",
    ),
    "a ZIP with a name that is not ASCII": (
        lambda data, lab: added(data, "events/\u202efdp.zip", b""),
        ALTERED,
        "the ZIP has a file whose name leads outside, or is none of an extract",
    ),
    "a ZIP with a bomb": (
        lambda data, lab: added(data, "README.md", bytes(20_000_000), compress_type=zipfile.ZIP_DEFLATED),
        ALTERED,
        "README.md is compressed, and is not unpacked: nothing in an extract is",
    ),
    "a ZIP that is a bomb": (
        lambda data, lab: zipped(data, compression=zipfile.ZIP_DEFLATED).getvalue(),
        UNDECIDED,
        "extract.json is compressed, and is not unpacked: nothing in an extract is",
    ),
    "a ZIP with duplicate names": (
        lambda data, lab: added(data, TWO, b"{}"),
        ALTERED,
        "the ZIP has two files with the name events/000002.json",
    ),
    "a ZIP with a symbolic link": (
        lambda data, lab: added(
            lab.without(data, "README.txt"),
            "README.txt",
            b"/etc/passwd",
            external_attr=(stat.S_IFLNK | 0o777) << 16,
            create_system=3,
        ),
        ALTERED,
        "the ZIP itself (its times, links, comments, checksums, end) is not as it was packed",
    ),
    "a ZIP that was packed again": (
        lambda data, lab: zipped(data).getvalue(),
        ALTERED,
        "the ZIP itself (its times, links, comments, checksums, end) is not as it was packed",
    ),
    "a ZIP that was packed again as a stream": (
        lambda data, lab: streamed(data),
        UNDECIDED,
        "the ZIP was packed again, in another way than an extract is",
    ),
    "a ZIP with files without end": (
        lambda data, lab: pack({f"{number:05d}": b"" for number in range(50_001)}),
        UNDECIDED,
        "the ZIP has more files than any extract",
    ),
    "a ZIP with something behind it": (
        lambda data, lab: data + b"x",
        ALTERED,
        "the ZIP itself (its times, links, comments, checksums, end) is not as it was packed",
    ),
    "a ZIP with something before it": (
        lambda data, lab: b"#!/bin/sh\n" + data,
        UNDECIDED,
        "this is not a ZIP file",
    ),
    "a ZIP that lies about a size": (
        lambda data, lab: data[:22] + b"\xff\xff\xff\xff" + data[26:],
        ALTERED,
        "the ZIP itself (its times, links, comments, checksums, end) is not as it was packed",
    ),
    "a truncated ZIP": (lambda data, lab: data[: len(data) // 2], UNDECIDED, "the ZIP ends too early"),
    "a ZIP without its directory": (
        lambda data, lab: data[: data.index(b"PK\x01\x02")],
        UNDECIDED,
        "the ZIP ends too early",
    ),
    "an empty file": (lambda data, lab: b"", UNDECIDED, "this is not a ZIP file"),
    "another file": (lambda data, lab: b"%PDF-1.7", UNDECIDED, "this is not a ZIP file"),
    "too much to read": (
        lambda data, lab: lab.changed(data, **{"events/000001.json": b"[" * (MAX_JSON_BYTES + 1)}),
        UNDECIDED,
        "the file has more events than any extract",
    ),
}


@pytest.mark.law("L12")
@pytest.mark.parametrize("case", CASES)
def test_tampering_is_told(log, trust, lab, case):
    tamper, verdict, message = CASES[case]
    report = verify(tamper(log.issue(2, 3), lab), trust)
    assert report.verdict is verdict
    assert any(fault.startswith(message) for fault in report.faults), report.faults
    assert list(report.proven) == []


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][1] is ALTERED])
def test_without_a_key_nothing_that_was_altered_passes(log, lab, case):
    tamper, _, _ = CASES[case]
    report = verify(tamper(log.issue(2, 3), lab), Trust([]))
    assert report.verdict in (ALTERED, UNDECIDED)
    assert report.faults
    assert list(report.proven) == []


def test_what_is_told_of_a_file_made_to_flood_a_screen_ends(log, trust, lab):
    flood = lab.changed(log.issue(2), **{f"gratis-{number}.pdf": b"" for number in range(1000)})
    lines = verify(flood, trust).lines()
    assert len(lines) == 102
    assert lines[-1] == "  and 900 more"


# ------------------------------------------------------------------------------------ by the one who issues it


def issue(log, lab, events, **more):
    """Issue an extract that states other events than the message has, and record that."""
    draft = Draft(lab.ORIGIN, lab.MESSAGE, lab.OIN, events, lab.PDF)
    issued = log.record(Fact("copy.issued", ("L12",), detail={"extract": draft.digest}), **more)
    known = {event.hash: event for event in log.messages[lab.MESSAGE]}
    inclusions = [
        replace(log.prove(known[leaf_hash(event.envelope)]), seq=seq)
        for seq, event in enumerate(events, start=1)
        if isinstance(event, Open)
    ]
    inclusions.append(replace(log.prove(issued), seq=len(events) + 1))
    return build(draft, issued=issued.envelope, inclusions=inclusions, checkpoint=log.checkpoint())


def stated_events(log, lab, *opened):
    return list(log.draft(*opened).events)


def test_an_issuer_who_changes_nothing_is_believed(log, trust, lab):
    assert verify(issue(log, lab, stated_events(log, lab, 2, 3)), trust).verdict is Verdict.VALID


def test_an_issuer_cannot_leave_out_a_closed_event(log, trust, lab):
    events = stated_events(log, lab, 2, 8)
    del events[4]
    report = verify(issue(log, lab, events), trust)
    assert report.verdict is ALTERED
    assert any(
        fault.startswith("event 7") and "another message, organisation or number" in fault for fault in report.faults
    )


def test_an_issuer_cannot_put_another_closed_event_in_its_place(log, trust, lab):
    events = stated_events(log, lab, 2, 8)
    events[4] = Closed(log.messages[lab.OTHER][4].hash)
    report = verify(issue(log, lab, events), trust)
    assert report.verdict is ALTERED
    assert any(fault.startswith("event 8") and "one was left out, added or changed" in fault for fault in report.faults)


def test_an_issuer_cannot_pass_off_an_event_of_another_message(log, trust, lab):
    events = stated_events(log, lab, 2)
    other = log.messages[lab.OTHER][4]
    events[4] = Open(other.envelope)
    log.messages[lab.MESSAGE].append(other)
    report = verify(issue(log, lab, events, seq=9, previous=log.messages[lab.MESSAGE][7].chain), trust)
    assert report.verdict is ALTERED
    assert any(fault.startswith("event 5") and "another message" in fault for fault in report.faults)


def test_an_issuer_who_ends_the_count_early_contradicts_the_last_event_that_was_kept(log, trust, lab):
    """Taking out the end of a message and nothing after it needs a second chain in the log: the audit finds that."""
    events = stated_events(log, lab, 2)[:5]
    hidden = issue(log, lab, events)
    assert verify(hidden, trust).verdict is ALTERED, "the event that it was issued states nine"
    second_chain = issue(log, lab, events, seq=6, previous=log.messages[lab.MESSAGE][4].chain)
    assert verify(second_chain, trust).verdict is Verdict.VALID
    sixth = [event for event in log.messages[lab.MESSAGE] if event.seq == 6]
    assert len(sixth) == 2, "but the log now has two sixth events of one message, for ever"


def test_an_event_of_a_later_version_is_not_judged(log, trust, lab):
    """What a field means can change with the version: this verifier says that it does not know."""
    event = log.messages[lab.MESSAGE][7]
    later = event.envelope.replace(b'"version":1', b'"version":2')
    log.messages[lab.MESSAGE][7] = later = replace(
        event,
        envelope=later,
        hash=leaf_hash(later),
        chain=chain_hash(log.messages[lab.MESSAGE][6].chain, leaf_hash(later)),
    )
    log.append(later.hash)
    report = verify(log.issue(8), trust)
    assert report.verdict is UNDECIDED
    assert report.faults == [f"event 8 of message {MESSAGE}: it is of another version than this verifier knows"]


def test_another_event_cannot_stand_in_for_the_issue(log, trust, lab):
    draft = log.draft(2)
    issued = log.record(Fact("staff.action", ("L12",), detail={"extract": draft.digest}))
    inclusions = [log.prove(log.messages[lab.MESSAGE][1]), log.prove(issued)]
    data = build(draft, issued=issued.envelope, inclusions=inclusions, checkpoint=log.checkpoint())
    assert verify(data, trust).faults == [
        f"event 9 of message {MESSAGE}: it is not copy.issued, which ends every extract"
    ]


# ------------------------------------------------------------------------------------------------------------ any byte


@pytest.fixture(scope="module")
def whole():
    return {}


def an_extract(whole, lab):
    """Give an extract with all that one can have, and the trust in all who signed it."""
    if not whole:
        log = lab.a_log()
        data = log.issue(2, 3)
        data = lab.changed(data, cosignatures=lab.witnessed(unpack(data).files["checkpoint"]))
        whole["data"], whole["trust"] = data, Trust([lab.KEY.verifier, lab.WITNESS.verifier])
        assert verify(data, whole["trust"]).verdict is Verdict.VALID
    return whole["data"], whole["trust"]


@given(data=st.data())
@settings(deadline=None, max_examples=300)
def test_no_byte_of_an_extract_can_be_another(whole, lab, data):
    extract, trust = an_extract(whole, lab)
    at = data.draw(st.integers(0, len(extract) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != extract[at]))
    assert verify(extract[:at] + bytes([byte]) + extract[at + 1 :], trust).verdict is not Verdict.VALID


@pytest.mark.slow
def test_not_one_byte_of_an_extract_can_be_another(whole, lab):
    extract, trust = an_extract(whole, lab)
    passed = []
    for at, byte in enumerate(extract):
        other = extract[:at] + bytes([byte ^ 1 << at % 8]) + extract[at + 1 :]
        if verify(other, trust).verdict is Verdict.VALID:
            passed.append(at)
    assert passed == []


@given(data=st.data())
@settings(deadline=None, max_examples=200)
def test_no_byte_can_be_added_or_taken_out(whole, lab, data):
    extract, trust = an_extract(whole, lab)
    at, length = data.draw(st.integers(0, len(extract))), data.draw(st.integers(0, 40))
    new = data.draw(st.binary(max_size=40))
    other = extract[:at] + new + extract[at + length :]
    if other != extract:
        assert verify(other, trust).verdict is not Verdict.VALID


@given(st.binary(max_size=300), st.booleans())
@settings(deadline=None, max_examples=300)
def test_no_bytes_at_all_make_it_raise(content, headed):
    verify(b"PK\x03\x04" + content if headed else content, Trust([]))


def test_no_json_makes_it_raise(log, trust, lab):
    """Put a value of every kind in the place of every value of every JSON file, one at a time."""
    data, chance = log.issue(2, 3), random.Random(1)
    values = [None, True, 0, -1, 2**53 - 1, 0.5, "", "x", "00" * 32, "\u202e", [], [[]], [None], {}, {"": None}]

    def places(value, path=()):
        yield path
        if isinstance(value, (dict, list)):
            for key in value if isinstance(value, dict) else range(len(value)):
                yield from places(value[key], (*path, key))

    for name in ("extract.json", "proof.json", TWO, ISSUED):
        content = unpack(data).files[name]
        for path in places(json.loads(content)):
            for value in chance.sample(values, 5):
                holder = found = {"": json.loads(content)}
                for key in ("", *path)[:-1]:
                    found = found[key]
                found[("", *path)[-1]] = value
                written = rfc8785.dumps(holder[""])
                if written != content:
                    assert verify(lab.changed(data, **{name: written}), trust).verdict is not Verdict.VALID
