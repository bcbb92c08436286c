"""Report files of a print service: every shape, every word, and each report counted once."""

from __future__ import annotations

import errno
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog

from bode_adapters.contract import LetterStatus, ReturnReason, TimeSource
from bode_adapters.printing.words import RETURN_REASONS, STATUSES

SOME_LETTER = UUID("00000000-0000-4000-8000-000000000001")


def line(number: UUID | str, status: str = "DISPATCHED", **changes: object) -> str:
    return json.dumps({"letter": str(number), "status": status, "at": "2026-03-02T16:00:00+01:00"} | changes)


async def statuses(house: Any) -> list[LetterStatus]:
    return [report.status for report in await house.service.reports()]


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("PENDING", LetterStatus.ACCEPTED),
        ("ACCEPTED", LetterStatus.ACCEPTED),
        ("REJECTED", LetterStatus.REJECTED),
        ("PRINTED", LetterStatus.PRINTED),
        ("ENCLOSED", LetterStatus.PRINTED),
        ("CANCELLED", LetterStatus.REJECTED),
        ("DISPATCHED", LetterStatus.POSTED),
        ("DELIVERED", LetterStatus.DELIVERED),
        ("FAILED", LetterStatus.REJECTED),
        ("RETURNED", LetterStatus.RETURNED),
        ("FORWARDED", LetterStatus.FORWARDED),
        ("dispatched", LetterStatus.UNRECOGNISED),
        ("VERZONDEN", LetterStatus.UNRECOGNISED),
    ],
)
async def test_every_word_has_its_meaning_and_any_other_is_kept(house: Any, word: str, status: LetterStatus) -> None:
    number = uuid4()
    house.write_report("a.json", line(number, word, reason_code="R01", reason_text="Addressee gone away") + "\n")
    with structlog.testing.capture_logs() as logs:
        (report,) = await house.service.reports()
        await house.service.reports()
    assert (report.letter, report.status, report.code) == (number, status, word)
    assert report.reason == "R01 Addressee gone away"
    assert report.at == datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
    assert report.source is TimeSource.OTHER_SIDE
    told = [{"event": "print_status_unrecognised", "log_level": "warning", "file": "a.json", "word": word}]
    assert logs == (told if status is LetterStatus.UNRECOGNISED else [])


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("R01", ReturnReason.GONE_AWAY),
        ("R02", ReturnReason.ADDRESS_INCOMPLETE),
        ("R03", ReturnReason.INACCESSIBLE),
        ("R04", ReturnReason.ADDRESSEE_UNKNOWN),
        ("R05", ReturnReason.GONE_AWAY_OR_REFUSED),
        ("R06", ReturnReason.NOT_COLLECTED),
        ("R07", ReturnReason.NO_SUCH_ADDRESS),
        ("R08", ReturnReason.NOT_GIVEN),
        ("R09", ReturnReason.DECEASED),
        ("R10", ReturnReason.OTHER),
        ("R11", ReturnReason.UNRECOGNISED),
        ("r01", ReturnReason.UNRECOGNISED),
        ("", ReturnReason.NOT_GIVEN),
    ],
)
async def test_every_return_reason_has_its_meaning_and_any_other_is_kept(house: Any, code: str, why: Any) -> None:
    house.write_report("a.json", line(uuid4(), "RETURNED", reason_code=code, reason_text="tekst") + "\n")
    with structlog.testing.capture_logs() as logs:
        (report,) = await house.service.reports()
        await house.service.reports()
    assert (report.status, report.why) == (LetterStatus.RETURNED, why)
    assert report.reason == f"{code} tekst".strip()
    told = [{"event": "print_reason_unrecognised", "log_level": "warning", "file": "a.json", "word": code}]
    assert logs == (told if why is ReturnReason.UNRECOGNISED else [])


def test_the_tables_hold_the_whole_vocabulary_and_nothing_else() -> None:
    statuses = "PENDING ACCEPTED REJECTED PRINTED ENCLOSED CANCELLED DISPATCHED DELIVERED FAILED RETURNED FORWARDED"
    assert list(STATUSES) == statuses.split()
    assert list(RETURN_REASONS) == [f"R{number:02}" for number in range(1, 11)]


@pytest.mark.parametrize(
    "content",
    [
        f"{line('11111111-1111-4111-8111-111111111111')}\n",
        f"\ufeff{line('11111111-1111-4111-8111-111111111111')}\n",
        f"\n{line('11111111-1111-4111-8111-111111111111')}\n\n",
        f"{line('11111111-1111-4111-8111-111111111111')}\r\n",
        f"[{line('11111111-1111-4111-8111-111111111111')}]",
        f"\ufeff[\n{line('11111111-1111-4111-8111-111111111111')}\n]\n",
        json.dumps(json.loads(line("11111111-1111-4111-8111-111111111111")), indent=2) + "\n",
    ],
)
async def test_every_shape_of_a_file_is_read(house: Any, content: str) -> None:
    house.write_report("a.jsonl", content)
    (report,) = await house.service.reports()
    assert report.letter == UUID("11111111-1111-4111-8111-111111111111")
    await house.service.confirm(keys=[report.key])
    assert house.names("reports/done") == ["a.jsonl"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json.part", f"{line(SOME_LETTER)}\n"),
        ("a.csv", f"{line(SOME_LETTER)}\n"),
        ("a.json", ""),
        ("a.json", line(SOME_LETTER)),
        ("a.json", f"{line(SOME_LETTER)}\n" + line(SOME_LETTER)[:20]),
        ("a.json", f"[{line(SOME_LETTER)},\n"),
        ("a.json", "["),
    ],
)
async def test_a_file_that_is_being_written_is_left_alone(house: Any, name: str, content: str) -> None:
    path = house.write_report(name, content)
    assert await statuses(house) == []
    await house.service.confirm(keys=[f"{name}:1:abc"])
    assert path.read_text() == content


async def test_a_file_that_grew_is_read_further(house: Any) -> None:
    path = house.write_report("a.jsonl", line(uuid4()) + "\n")
    (first,) = await house.service.reports()
    with path.open("a") as file:
        file.write(line(uuid4(), "RETURNED") + "\n")
    await house.service.confirm(keys=[first.key])
    assert await statuses(house) == [LetterStatus.RETURNED]


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\n",
        b"no json\n",
        b"[1, 2,]",
        b"[no]\n",
        b"[" * 5000 + b"]",
        b'["x"]',
        b"{}\n",
        line("no uuid").encode() + b"\n",
        line(SOME_LETTER, at="2026-03-02T16:00:00").encode() + b"\n",
        line(SOME_LETTER, at="yesterday").encode() + b"\n",
        line(SOME_LETTER, at=None).encode() + b"\n",
        line(SOME_LETTER, status=5).encode() + b"\n",
        line(SOME_LETTER, status="").encode() + b"\n",
    ],
)
async def test_a_file_that_cannot_be_read_is_set_aside_and_named(house: Any, content: bytes) -> None:
    good = uuid4()
    house.write_report("b.json", line(good) + "\n")
    for _ in range(2):
        house.write_report("a.json", content)
        with structlog.testing.capture_logs() as logs:
            assert [report.letter for report in await house.service.reports()] == [good]
    house.write_report("a.json", content)
    await house.restart()
    with structlog.testing.capture_logs() as logs:
        assert [report.letter for report in await house.service.reports()] == [good]
    assert [(entry["event"], entry["file"]) for entry in logs] == [("print_report_unreadable", "a.json")]
    assert house.names("reports/unreadable") == ["a.json", "a.json.2", "a.json.3"]


async def test_good_lines_beside_a_bad_one_are_given_and_the_file_is_set_aside_afterwards(house: Any) -> None:
    house.write_report("a.json", f"{line(uuid4())}\nbad\n{line(uuid4(), 'RETURNED')}\n")
    with structlog.testing.capture_logs() as logs:
        found = await house.service.reports()
        await house.service.reports()
    assert [report.status for report in found] == [LetterStatus.POSTED, LetterStatus.RETURNED]
    assert [(entry["event"], entry["lines"]) for entry in logs] == [("print_report_lines_unreadable", [2])]
    await house.service.confirm(keys=[report.key for report in found])
    assert house.names("reports/unreadable") == ["a.json"]
    assert await statuses(house) == []


async def test_an_array_without_reports_is_done_at_once(house: Any) -> None:
    house.write_report("a.json", "[]")
    assert await statuses(house) == []
    assert house.names("reports/done") == ["a.json"]


async def test_the_same_line_twice_is_two_keys_and_the_same_file_twice_the_same_keys(house: Any) -> None:
    content = f"{line('11111111-1111-4111-8111-111111111111')}\n" * 2
    house.write_report("a.json", content)
    first = await house.service.reports()
    assert len({report.key for report in first}) == 2
    await house.service.confirm(keys=[report.key for report in first])
    house.write_report("a.json", content)
    again = await house.service.reports()
    assert again == first
    await house.service.confirm(keys=[report.key for report in again])
    assert house.names("reports/done") == ["a.json", "a.json.2"]


async def test_half_a_surrogate_pair_becomes_storable(house: Any) -> None:
    house.write_report("a.json", line(uuid4(), "X\ud800", reason_text="\udfff") + "\n")
    (report,) = await house.service.reports()
    assert (report.code, report.reason) == ("X?", "?")


async def test_a_key_that_was_half_written_at_a_crash_confirms_nothing(house: Any) -> None:
    house.write_report("a.json", f"{line(uuid4())}\n{line(uuid4(), 'RETURNED')}\n")
    first, second = await house.service.reports()
    await house.service.confirm(keys=[first.key])
    (house.folder / "reports" / ".confirmed" / "a.json").write_text(f"{first.key}\n{second.key}")
    assert await house.service.reports() == [second]


async def test_one_file_that_cannot_be_opened_does_not_hide_the_others(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.write_report("a.json", line(uuid4()) + "\n")
    house.write_report("b.json", line(uuid4(), "RETURNED") + "\n")
    read = Path.read_bytes

    def denied(path: Path) -> bytes:
        if path.name == "a.json":
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", denied)
    with structlog.testing.capture_logs() as logs:
        assert await statuses(house) == [LetterStatus.RETURNED]
        await house.service.confirm(keys=["a.json:1:x"])
    assert {entry["event"] for entry in logs} == {"print_report_unavailable", "print_reports_unavailable"}
