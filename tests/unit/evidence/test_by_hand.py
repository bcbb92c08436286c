"""Somebody else's verifier, with `openssl` alone, agrees with ours: on what is valid and on what was altered."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import rfc8785

from bode.evidence.verify import Trust, Verdict, verify

SCRIPT = Path(__file__).with_name("by_hand.py")
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl on this machine")


def by_hand(data, key, tmp_path):
    file = tmp_path / "extract.zip"
    file.write_bytes(data)
    command = [sys.executable, str(SCRIPT), str(file), str(key.verifier)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_it_imports_nothing_of_bode():
    assert "bode" not in SCRIPT.read_text("utf-8").split('"""', 2)[2]


def test_both_call_the_same_extract_valid(log, lab, trust, tmp_path):
    data = log.issue(1, 2, 3)
    told = by_hand(data, lab.KEY, tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == "8 events, the log of 17 is signed by gemeente.example/bode\n"
    assert verify(data, trust).verdict is Verdict.VALID


def a_byte(data, lab):
    return lab.replaced(data, "events/000002.json", b'"attempt":2', b'"attempt":1')


def a_detail(data, lab):
    return lab.replaced(data, "details/000003.json", b"sanne3", b"sanne4")


def a_closed_event(data, lab):
    stated = lab.stated(data)
    stated["events"][4]["hash"] = "00" * 32
    return lab.changed(data, **{"extract.json": rfc8785.dumps(stated)})


def the_pdf(data, lab):
    return lab.replaced(data, "afschrift.pdf", b"invented", b"improved")


def the_size(data, lab):
    return lab.replaced(data, "checkpoint", b"\n17\n", b"\n18\n")


def left_out(data, lab):
    return lab.without(data, "events/000002.json")


@pytest.mark.parametrize("tamper", [a_byte, a_detail, a_closed_event, the_pdf, the_size, left_out])
def test_both_find_the_same_fault(log, lab, trust, tmp_path, tamper):
    data = tamper(log.issue(1, 2, 3), lab)
    told = by_hand(data, lab.KEY, tmp_path)
    assert told.returncode == 1
    assert verify(data, Trust(trust.keys)).verdict is Verdict.ALTERED
