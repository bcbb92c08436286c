"""What is made to be dear to read costs little, and says what is wrong: JSON that comes in, XML of other sides.

PDFs: tests/unit/intake/test_documents.py. Mail: tests/unit/bounces/test_bounce_bounds.py. ZIPs of extracts:
tests/unit/evidence/test_tampering.py. Answers over HTTP: tests/unit/adapters/test_connection.py and test_ssrf.py.
"""

import time
import tracemalloc

import pytest

from bode.intake.body import read
from bode_adapters.mijnoverheid import markup

MOST_SECONDS = 5.0  # on a machine that is busy with other tests, too
MOST_BYTES = 200_000_000


def bounded(work):
    """Do something, and fail when it took long or much memory."""
    tracemalloc.start()
    began = time.process_time()
    try:
        return work()
    finally:
        took, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert took < MOST_SECONDS
        assert peak < MOST_BYTES


MANY = 3_000_000
JSON = {
    "depth of lists": (b"[" * MANY, "te_veel_onderdelen"),
    "depth of lists within the count": (b"[" * 9_000 + b"]" * 9_000, "json_invalid"),
    "depth of objects": (b'{"a":' * 9_000 + b"1" + b"}" * 9_000, "json_invalid"),
    "a long list": (b"[" + b"1," * MANY + b"1]", "te_veel_onderdelen"),
    "many fields": (b"{" + b",".join(b'"f%d":1' % n for n in range(50_000)) + b"}", "te_veel_onderdelen"),
    "a number of a million digits": (b'{"afzender":' + b"9" * 1_000_000 + b"}", None),
    "a number beyond all floats": (b'{"afzender": 1e999999999}', None),
    "no number": (b'{"afzender": NaN}', "json_invalid"),
    "infinity": (b'{"afzender": -Infinity}', "json_invalid"),
    "a field twice": (b'{"afzender": "1", "afzender": "2"}', "veld_dubbel"),
    "a field a thousand times": (b"{" + b",".join([b'"afzender": "1"'] * 1_000) + b"}", "veld_dubbel"),
    "half a surrogate": (b'{"onderwerp": "\\ud800"}', None),
    "half a surrogate as a name": (b'{"\\ud800": 1, "\\ud800": 2}', "veld_dubbel"),
    "bytes that are no UTF-8": (b'{"onderwerp": "\xff"}', "geen_utf8"),
    "half a surrogate in UTF-8": (b'{"onderwerp": "\xed\xa0\x80"}', "geen_utf8"),
    "another encoding": ('{"a": 1}'.encode("utf-16"), "geen_utf8"),
    "nothing": (b" \n", "leeg"),
    "half": (b'{"afzender": "', "json_invalid"),
    "two": (b"{} {}", "json_invalid"),
    "a text of megabytes": (b'{"onderwerp": "' + b"x" * 10_000_000 + b'"}', None),
}


@pytest.mark.parametrize(("raw", "code"), JSON.values(), ids=JSON.keys())
def test_json_that_is_made_to_hurt_is_refused_in_bounded_time_and_memory(raw, code):
    found = bounded(lambda: read(raw))
    codes = {fault.code for fault in found.faults}
    assert codes, "with a fault it is refused, whatever else could be read of it"
    assert code is None or code in codes
    assert all(len(fault.detail) < 1000 and fault.detail.isprintable() for fault in found.faults)


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
XML = {
    "a milliard laughs": f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]><x>&l11;</x>'.encode(),
    "quadratic blow-up": f'<!DOCTYPE x [<!ENTITY a "{"a" * 50_000}">]><x>{"&a;" * 50_000}</x>'.encode(),
    "a file of this machine": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
    "an address": b'<!DOCTYPE x [<!ENTITY a SYSTEM "http://169.254.169.254/">]><x>&a;</x>',
    "a parameter entity": b'<!DOCTYPE x [<!ENTITY % a SYSTEM "http://127.0.0.1/x.dtd"> %a;]><x/>',
    "a document type from elsewhere": b'<!DOCTYPE x SYSTEM "http://127.0.0.1/x.dtd"><x/>',
    "an unknown entity": b"<x>&wat;</x>",
    "half": b"<x><y>",
    "an attribute twice": b'<x a="1" a="2"/>',
    "an unknown encoding": b'<?xml version="1.0" encoding="klingon"?><x/>',
    "a null byte": b"<x>\x00</x>",
    "half a surrogate": b"<x>&#xD800;</x>",
    "nothing": b"",
    "no XML": b"%PDF-1.7",
}


@pytest.mark.parametrize("document", XML.values(), ids=XML.keys())
def test_xml_that_is_made_to_hurt_is_refused_in_bounded_time_and_memory(document):
    with pytest.raises(markup.UnreadableError) as refused:
        bounded(lambda: markup.read(document))
    assert "passwd" not in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("depth", [1_000, 200_000])
def test_xml_of_a_great_depth_is_read_or_refused_and_nothing_breaks(depth):
    document = b"<x>" * depth + b"</x>" * depth
    try:
        root = bounded(lambda: markup.read(document))
    except markup.UnreadableError:
        return
    assert sum(1 for _ in root.iter()) == depth
