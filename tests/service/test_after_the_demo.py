"""After the demonstration: every personal value of its messages is looked for, in the raw bytes of all that is left.

Found only where docs/privacy.md says so: in letters for the print service and in mails at the relay, where they go.
"""

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from bode_ops.demo import scenarios
from bode_ops.demo.command import _Show
from bode_ops.demo.processes import Options, Stage, free_port

OUTSIDE = ("mail/", "mocks.log")  # the mock of the relay, and of the boxes: other people's systems


def personal(found):
    """Give every personal value of the messages, each with the name of its field."""
    values = {}
    for scenario in found:
        body = scenario.body
        addressee, address = body["geadresseerde"], body["geadresseerde"].get("adres") or {}
        email = body["kennisgeving"].get("email")
        fields = {
            "nummer": addressee["nummer"],
            "naam": addressee["naam"],
            "straat": address.get("straat"),
            "postcode": address.get("postcode"),
            "email": email,
            "email-local": email.partition("@")[0] if email else None,
            "onderwerp": body["onderwerp"],
            "tekst": body["tekst"][:40],
        }
        values |= {value: name for name, value in fields.items() if value}
    return values


def searched(raw, values, where):
    """Give what is found in bytes: as it is, in other letters, in UTF-16 and in hexadecimal."""
    low = raw.lower()
    found = set()
    for value, name in values.items():
        for form in (value.lower().encode(), value.encode("utf-16-le"), value.encode().hex().encode()):
            if form in low:
                found.add((name, where))
    return found


@pytest.fixture
def folder():
    """Give a folder that PostgreSQL's own user may go into, which pytest's is not."""
    made = Path(tempfile.mkdtemp(prefix="bode-demo-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_personal_stands_where_the_privacy_page_does_not_say(folder):
    values = personal(scenarios.build(datetime.now(UTC)))
    assert len(values) > 100
    with Stage(Options(folder, 3600.0, free_port(), True)) as stage:
        show = _Show(stage)
        show.run(kill=False)
        pages = [stage.url + path for path in ("/metrics", "/openapi.json", "/v1/statuswijzigingen")]
        served = {url: httpx.get(url).content for url in pages}
        redis = stage._parts._redis
        queue = {str(key): redis.dump(key) for key in redis.scan_iter()}
    found = set()
    for where, raw in {**served, **queue}.items():
        found |= searched(raw, values, where)
    outside, files = set(), 0
    for path in sorted(folder.rglob("*")):
        where = str(path.relative_to(folder))
        if not path.is_file() or path.is_socket():
            continue
        files += 1
        here = searched(where.encode() + b"\n" + path.read_bytes(), values, where)
        (outside if where.startswith(OUTSIDE) or path.suffix == ".pdf" else found).update(here)
    assert files > 100, "the database, its journal, logs, the hot folder"
    assert any(where.startswith("mail/") for _, where in outside), "the search finds what is there"
    assert found == set()
    assert (folder / "bode.log").stat().st_size > 1000
