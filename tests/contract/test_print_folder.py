"""Letters through a hot folder, with a print service that watches it, and with crashes at every step."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog

from bode_adapters.contract import (
    Absent,
    LetterStatus,
    Placed,
    PrintLetter,
    RefusalKind,
    Refused,
    SettingError,
    TimeSource,
    Unavailable,
    Unknown,
)
from bode_adapters.print_folder import PrintFolder, disk
from bode_adapters.print_folder.mock import Fate, MockPrintService
from bode_adapters.print_folder.reports import STATUSES
from bode_adapters.testing.print_service import PRIVATE, PrintServiceSuite, letter, letters

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
WORDS = {
    LetterStatus.ACCEPTED: "ACCEPTED",
    LetterStatus.PRINTED: "PRINTED",
    LetterStatus.POSTED: "DISPATCHED",
    LetterStatus.DELIVERED: "DELIVERED",
    LetterStatus.RETURNED: "RETURNED",
    LetterStatus.REJECTED: "REJECTED",
}

SOME_LETTER = UUID("00000000-0000-4000-8000-000000000001")


class Time:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


class House:
    """A hot folder, the adapter before it and the print service behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.time = Time()
        self.printer = MockPrintService(folder, clock=self.time)
        self.service = PrintFolder(folder, clock=self.time)

    def taken(self, number: UUID) -> int:
        """Count what lies ready and what was taken to be printed."""
        ready = sum(
            entry["id"] == str(number)
            for manifest in self.folder.glob("in/*/manifest.json")
            for entry in json.loads(manifest.read_bytes())["letters"]
        )
        return ready + self.printer.copies[number]

    async def report(self, number: UUID, status: LetterStatus) -> None:
        self.printer.say(number, WORDS[status])

    async def restart(self) -> None:
        await self.service.close()
        self.service = PrintFolder(self.folder, clock=self.time)
        await self.service.open()

    async def down(self) -> None:
        self.folder.rename(self.folder.with_name("unmounted"))
        self.folder.mkdir()

    async def up(self) -> None:
        self.folder.rmdir()
        self.folder.with_name("unmounted").rename(self.folder)

    def write_report(self, name: str, content: str | bytes) -> Path:
        path = self.folder / "reports" / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def names(self, where: str) -> list[str]:
        folder = self.folder / where
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "hot")


class TestPrintFolder(PrintServiceSuite):
    @pytest.fixture
    def stage(self, house: House) -> House:
        return house


class TestPrintFolderThatIsEmptiedAtOnce(PrintServiceSuite):
    @pytest.fixture
    def stage(self, tmp_path: Path) -> House:
        return House(tmp_path / "hot")

    @pytest.fixture(autouse=True)
    def eager(self, stage: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take away what was handed over right after each call, and say nothing about it."""
        submit = PrintFolder.submit

        async def and_take(self: PrintFolder, *, letters: list[PrintLetter]) -> Any:
            answers = await submit(self, letters=letters)
            if (stage.folder / "in").is_dir():
                stage.printer.step()
                for path in stage.folder.glob("reports/*.json"):
                    path.unlink()
            return answers

        monkeypatch.setattr(PrintFolder, "submit", and_take)


# ------------------------------------------------------------------------------------------------------ handing over


async def test_a_batch_is_a_directory_with_its_manifest(house: House) -> None:
    given = letters(2)
    answers = await house.service.submit(letters=given)
    name = str(given[0].batch)
    assert answers == [Placed(START, TimeSource.OUR_CLOCK, receipt=name)] * 2
    batch = house.folder / "in" / name
    manifest = json.loads((batch / "manifest.json").read_bytes())
    assert manifest == {
        "batch": name,
        "created": START.isoformat(),
        "letters": [
            {
                "id": str(one.id),
                "file": f"{one.id}.pdf",
                "sha256": one.sha256,
                "pages": 1,
                "kind": "notice",
                "sender": one.sender.oin,
            }
            for one in given
        ],
    }
    assert [(batch / entry["file"]).read_bytes() for entry in manifest["letters"]] == [one.pdf for one in given]
    assert house.names(".tmp") == []
    for path in house.folder.rglob("*"):
        if path.is_file() and path.suffix != ".pdf":
            assert PRIVATE.encode() not in path.read_bytes()


async def test_what_is_new_in_a_batch_goes_under_a_name_of_its_own(house: House) -> None:
    given = letters(3)
    receipts = []
    for upto in (1, 2, 3):
        house.time.now += timedelta(hours=1)
        answers = await house.service.submit(letters=given[:upto])
        receipts.append([answer.receipt for answer in answers if isinstance(answer, Placed)])
    name = str(given[0].batch)
    assert receipts[-1] == [name, f"{name}.2", f"{name}.3"]
    found = await house.service.lookup(letters=given)
    assert [answer.at for answer in found if isinstance(answer, Placed)] == [
        START + timedelta(hours=hours) for hours in (1, 2, 3)
    ]


async def test_a_letter_made_again_with_another_pdf_is_not_printed_again(house: House) -> None:
    first = letter()
    await house.service.submit(letters=[first])
    pdf = first.pdf + b"again"
    (answer,) = await house.service.submit(letters=[replace(first, pdf=pdf, sha256=sha256(pdf).hexdigest())])
    assert isinstance(answer, Placed)
    assert (answer.already, answer.code) == (True, "other_content")
    assert house.taken(first.id) == 1


async def test_two_services_at_the_same_time_hand_over_once(house: House) -> None:
    given = letters(20)
    other = PrintFolder(house.folder, clock=house.time)
    calls = [service.submit(letters=given) for service in (house.service, other) * 4]
    answers = await asyncio.gather(*calls)
    assert sum(isinstance(one, Placed) and not one.already for call in answers for one in call) == 20
    assert [house.taken(one.id) for one in given] == [1] * 20


# ----------------------------------------------------------------------------------------------------------- crashes


class Crash(BaseException):
    """The process is gone."""


class Disk:
    """Counts what is done to the disk, looks after each step, and crashes at one of them."""

    STEPS = (
        (disk, "write"),
        (disk, "append"),
        (disk, "write_whole"),
        (disk, "settle"),
        (disk, "move_aside"),
        (Path, "rename"),
        (Path, "unlink"),
        (Path, "mkdir"),
        (Path, "hardlink_to"),
        (shutil, "rmtree"),
    )

    def __init__(self, patch: pytest.MonkeyPatch, look: Callable[[], None]) -> None:
        self.left = -1
        self.after = False
        self.error: BaseException = Crash()
        self.look = look
        for owner, name in self.STEPS:
            patch.setattr(owner, name, self._watched(getattr(owner, name)))

    def _watched(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            crash = self.left == 0
            if crash and not self.after:
                raise self.error
            done = step(*args, **kwargs)
            self.look()
            if crash:
                raise self.error
            return done

        return watched


@pytest.fixture
def watched(house: House, monkeypatch: pytest.MonkeyPatch) -> Disk:
    def look() -> None:
        for batch in (house.folder / "in").iterdir():
            manifest = json.loads((batch / "manifest.json").read_bytes())
            files = {path.name: sha256(path.read_bytes()).hexdigest() for path in batch.glob("*.pdf")}
            assert files == {entry["file"]: entry["sha256"] for entry in manifest["letters"]}

    monkeypatch.setattr(os, "fsync", lambda _: None)  # processes die here, not the machine
    return Disk(monkeypatch, look)


async def crashing(house: House, disk: Disk, at: int, *, after: bool, given: list[PrintLetter]) -> bool:
    """Submit and crash at a step; tells whether there was such a step."""
    disk.left, disk.after = at, after
    try:
        await house.service.submit(letters=given)
    except Crash:
        await house.restart()
        return True
    finally:
        disk.left = -1
    return False


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("taken_away", [False, True])
async def test_a_crash_at_any_step_loses_nothing_and_prints_nothing_twice(
    house: House, watched: Disk, after: bool, taken_away: bool
) -> None:
    step, crashed = 0, True
    while crashed:
        step += 1
        given = letters(3)
        crashed = await crashing(house, watched, step, after=after, given=given)
        if taken_away:
            house.printer.step()
        before = {one.id: house.taken(one.id) for one in given}
        for one, found in zip(given, await house.service.lookup(letters=given), strict=True):
            assert isinstance(found, Placed if before[one.id] else Absent)
        for _ in range(2):
            answers = await house.service.submit(letters=given)
            assert all(isinstance(answer, Placed) for answer in answers)
            if taken_away:
                house.printer.step()
        assert [house.taken(one.id) for one in given] == [1, 1, 1]
        house.printer.step()
    assert step > 15
    assert house.printer.problems == []
    assert house.names(".tmp") == []


@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_during_the_repair_of_a_crash_loses_nothing_either(
    house: House, watched: Disk, after: bool
) -> None:
    await house.service.submit(letters=[letter()])  # the folders are there: their making has been crashed before
    first, crashed = 0, True
    while crashed:
        first += 1
        second, again = 0, True
        while again:
            second += 1
            given = [letter()]
            crashed = await crashing(house, watched, first, after=after, given=given)
            again = await crashing(house, watched, second, after=after, given=given)
            await house.service.submit(letters=given)
            assert house.taken(given[0].id) == 1
            house.printer.step()
    assert first > 10
    assert house.names(".tmp") == []


async def test_a_letter_left_behind_by_a_crash_is_not_handed_over_by_a_call_that_does_not_name_it(
    house: House, watched: Disk
) -> None:
    for step in range(1, 25):
        for after in (False, True):
            given = letters(2)
            await crashing(house, watched, step, after=after, given=given)
            before = house.taken(given[0].id)
            await house.service.submit(letters=[given[1]])
            assert house.taken(given[0].id) == before
            (found,) = await house.service.lookup(letters=given[:1])
            assert isinstance(found, Placed if before else Absent)
            await house.service.submit(letters=given)
            assert [house.taken(one.id) for one in given] == [1, 1]
            house.printer.step()


async def test_a_letter_of_a_half_undone_batch_does_not_pass_for_one_of_its_successor(
    house: House, watched: Disk
) -> None:
    await house.service.submit(letters=[letter()])  # the folders are there
    for first in range(5, 14):
        for second in range(1, 6):
            gone, stays = letters(2)
            await crashing(house, watched, first, after=True, given=[gone, stays])
            await crashing(house, watched, second, after=True, given=[stays])
            before = house.taken(gone.id)
            await house.service.submit(letters=[stays])
            (found,) = await house.service.lookup(letters=[gone])
            assert isinstance(found, Placed if before else Absent)
            await house.service.submit(letters=[gone])
            assert [house.taken(one.id) for one in (gone, stays)] == [1, 1]
            house.printer.step()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
async def test_a_disk_that_fails_at_any_step_is_unavailable_or_placed_and_nothing_in_between(
    house: House, watched: Disk, number: int
) -> None:
    await house.service.submit(letters=[letter()])
    for step in range(1, 30):
        for after in (False, True):
            given = letters(2)
            watched.left, watched.after, watched.error = step, after, OSError(number, os.strerror(number))
            answers = await house.service.submit(letters=given)
            failed = watched.left <= 0
            watched.left = -1
            code = f"folder:{errno.errorcode[number]}"
            for one, answer in zip(given, answers, strict=True):
                assert isinstance(answer, Placed) or answer == Unavailable(code)
                assert house.taken(one.id) == isinstance(answer, Placed)
            again = await house.service.submit(letters=given)
            assert all(isinstance(answer, Placed) for answer in again)
            assert [house.taken(one.id) for one in given] == [1, 1]
            house.printer.step()
            if not failed:
                return


async def test_two_file_systems_are_our_configuration(house: House, watched: Disk) -> None:
    await house.service.submit(letters=[letter()])
    watched.left, watched.error = 3, OSError(errno.EXDEV, "Invalid cross-device link")
    assert await house.service.submit(letters=[letter()]) == [Refused("folder:EXDEV", RefusalKind.CONFIGURATION)]


@pytest.mark.parametrize("loss", ["removed", "broken", "emptied"])
async def test_a_lost_ledger_stops_everything(house: House, loss: str) -> None:
    given = letter()
    await house.service.submit(letters=[given])
    ledger = house.folder / ".ledger"
    if loss == "removed":
        shutil.rmtree(ledger)
    elif loss == "broken":
        for path in ledger.glob("letters/*"):
            path.write_bytes(b"{")
    else:
        for path in ledger.glob("*/*"):
            path.unlink()
    lost = Refused("ledger_lost", RefusalKind.CONFIGURATION)
    assert await house.service.submit(letters=[given]) == [lost]
    if loss != "emptied":
        assert await house.service.lookup(letters=[given]) == [lost]
    assert house.taken(given.id) == 1


async def test_a_folder_without_in_is_away_and_is_not_made(house: House) -> None:
    (house.folder / "in").rmdir()
    assert await house.service.submit(letters=[letter()]) == [Unavailable("folder:away")]
    assert await house.service.lookup(letters=[letter()]) == [Unknown("folder:away")]
    await house.service.confirm(keys=["x"])
    assert not (house.folder / "in").exists()


async def test_something_else_in_the_way_is_left_alone(house: House) -> None:
    await house.service.submit(letters=[letter()])
    (house.folder / ".tmp" / "note.txt").write_text("x")
    (answer,) = await house.service.submit(letters=[letter()])
    assert isinstance(answer, Placed)


# ---------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"folder": None}, "folder"),
        ({"folder": "/nowhere/at/all"}, "folder"),
        ({"folder": 5}, "folder"),
        ({"ledger": "/nowhere/at/all"}, "ledger"),
        ({"printer": "x"}, "printer"),
    ],
)
def test_a_wrong_setting_is_named(house: House, changes: dict[str, object], key: str) -> None:
    with pytest.raises(SettingError) as caught:
        PrintFolder.from_settings({"folder": str(house.folder)} | changes, clock=house.time)
    assert caught.value.key == key


def test_a_folder_that_nobody_watches_is_not_accepted(tmp_path: Path, house: House) -> None:
    with pytest.raises(SettingError) as caught:
        PrintFolder.from_settings({"folder": str(tmp_path)}, clock=house.time)
    assert caught.value.key == "folder"


async def test_the_ledger_can_be_elsewhere(house: House, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    table = {"folder": str(house.folder), "ledger": str(ledger)}
    service = PrintFolder.from_settings(table, clock=house.time)
    given = letter()
    await service.submit(letters=[given])
    assert (ledger / "letters" / str(given.id)).exists()
    assert not (house.folder / ".ledger").exists()


# ----------------------------------------------------------------------------------------------------------- reports


def line(number: UUID | str, status: str = "DISPATCHED", **changes: object) -> str:
    return json.dumps({"letter": str(number), "status": status, "at": "2026-03-02T16:00:00+01:00"} | changes)


async def statuses(house: House) -> list[LetterStatus]:
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
        ("FORWARDED", LetterStatus.UNRECOGNISED),
        ("dispatched", LetterStatus.UNRECOGNISED),
        ("VERZONDEN", LetterStatus.UNRECOGNISED),
    ],
)
async def test_every_word_has_its_meaning_and_any_other_is_kept(house: House, word: str, status: LetterStatus) -> None:
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


def test_forwarded_is_left_out_of_the_table_on_purpose() -> None:
    assert "FORWARDED" not in STATUSES


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
async def test_every_shape_of_a_file_is_read(house: House, content: str) -> None:
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
async def test_a_file_that_is_being_written_is_left_alone(house: House, name: str, content: str) -> None:
    path = house.write_report(name, content)
    assert await statuses(house) == []
    await house.service.confirm(keys=[f"{name}:1:abc"])
    assert path.read_text() == content


async def test_a_file_that_grew_is_read_further(house: House) -> None:
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
async def test_a_file_that_cannot_be_read_is_set_aside_and_named(house: House, content: bytes) -> None:
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


async def test_good_lines_beside_a_bad_one_are_given_and_the_file_is_set_aside_afterwards(house: House) -> None:
    house.write_report("a.json", f"{line(uuid4())}\nbad\n{line(uuid4(), 'RETURNED')}\n")
    with structlog.testing.capture_logs() as logs:
        found = await house.service.reports()
        await house.service.reports()
    assert [report.status for report in found] == [LetterStatus.POSTED, LetterStatus.RETURNED]
    assert [(entry["event"], entry["lines"]) for entry in logs] == [("print_report_lines_unreadable", [2])]
    await house.service.confirm(keys=[report.key for report in found])
    assert house.names("reports/unreadable") == ["a.json"]
    assert await statuses(house) == []


async def test_an_array_without_reports_is_done_at_once(house: House) -> None:
    house.write_report("a.json", "[]")
    assert await statuses(house) == []
    assert house.names("reports/done") == ["a.json"]


async def test_the_same_line_twice_is_two_keys_and_the_same_file_twice_the_same_keys(house: House) -> None:
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


async def test_half_a_surrogate_pair_becomes_storable(house: House) -> None:
    house.write_report("a.json", line(uuid4(), "X\ud800", reason_text="\udfff") + "\n")
    (report,) = await house.service.reports()
    assert (report.code, report.reason) == ("X?", "?")


@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_while_confirming_brings_reports_again_or_not_and_never_loses_one(
    house: House, watched: Disk, after: bool
) -> None:
    for step in range(1, 12):
        name = f"{step}.json"
        house.write_report(name, f"{line(uuid4())}\n{line(uuid4(), 'RETURNED')}\n")
        keys = [report.key for report in await house.service.reports()]
        watched.left, watched.after, watched.error = step, after, Crash()
        try:
            await house.service.confirm(keys=keys)
        except Crash:
            await house.restart()
        finally:
            watched.left = -1
        again = [report.key for report in await house.service.reports()]
        assert again in ([], keys)
        await house.service.confirm(keys=again)
        assert await house.service.reports() == []
        assert name in house.names("reports/done")
    assert not [name for name in house.names("reports") if name.endswith(".json")]


async def test_a_key_that_was_half_written_at_a_crash_confirms_nothing(house: House) -> None:
    house.write_report("a.json", f"{line(uuid4())}\n{line(uuid4(), 'RETURNED')}\n")
    first, second = await house.service.reports()
    await house.service.confirm(keys=[first.key])
    (house.folder / "reports" / ".confirmed" / "a.json").write_text(f"{first.key}\n{second.key}")
    assert await house.service.reports() == [second]


async def test_one_file_that_cannot_be_opened_does_not_hide_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch
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


# ------------------------------------------------------------------------------------------------- the print service


async def test_the_print_service_reports_the_life_of_a_letter(house: House) -> None:
    plain, back, torn, bad = given = letters(4)
    house.printer.will(back.id, "RETURNED", "R04", "Addressee unknown")
    house.printer.will(torn.id, "FAILED", "F01", "Jammed")
    house.printer.will(bad.id, "REJECTED", "P01", "No address window")
    await house.service.submit(letters=given)
    said: dict[UUID, list[tuple[LetterStatus, timedelta]]] = {one.id: [] for one in given}
    for hours in (0, 2, 18, 200):
        house.time.now = START + timedelta(hours=hours)
        house.printer.step()
        found = await house.service.reports()
        for report in found:
            said[report.letter].append((report.status, report.at - START))
        await house.service.confirm(keys=[report.key for report in found])
    accepted = (LetterStatus.ACCEPTED, timedelta(0))
    printed, posted = (LetterStatus.PRINTED, timedelta(hours=2)), (LetterStatus.POSTED, timedelta(hours=18))
    assert said == {
        plain.id: [accepted, printed, posted],
        back.id: [accepted, printed, posted, (LetterStatus.RETURNED, timedelta(hours=18, days=5))],
        torn.id: [accepted, (LetterStatus.REJECTED, timedelta(hours=2))],
        bad.id: [(LetterStatus.REJECTED, timedelta(0))],
    }
    assert house.names("printed") == [str(plain.batch)]
    assert house.names("in") == []


async def test_the_print_service_can_have_a_rule_and_runs_by_itself(tmp_path: Path) -> None:
    time = Time()
    at_once = dict.fromkeys(("print_delay", "post_delay", "late_delay"), timedelta(0))
    printer = MockPrintService(tmp_path, clock=time, rule=lambda _: Fate("DELIVERED"), **at_once)
    service = PrintFolder(tmp_path, clock=time)
    running = asyncio.create_task(printer.run(every=0.001))
    await service.submit(letters=[letter()])
    async with asyncio.timeout(5):
        while len(await service.reports()) < 4:  # noqa: ASYNC110 - there is no event: the folder is looked at
            await asyncio.sleep(0.001)
    running.cancel()
    assert [report.status for report in await service.reports()][-1] is LetterStatus.DELIVERED


async def test_the_print_service_sees_what_came_over_damaged(house: House) -> None:
    good, changed, gone = given = letters(3)
    await house.service.submit(letters=given)
    batch = house.folder / "in" / str(good.batch)
    (batch / f"{changed.id}.pdf").write_bytes(b"x")
    (batch / f"{gone.id}.pdf").unlink()
    (batch / "extra.txt").write_text("x")
    (house.folder / "in" / "half").mkdir()
    house.printer.step()
    found = {report.letter: report.status for report in await house.service.reports()}
    rejected = LetterStatus.REJECTED
    assert found == {good.id: LetterStatus.ACCEPTED, changed.id: rejected, gone.id: rejected}
    assert len(house.printer.problems) == 4
    assert house.names("refused") == ["half"]
