"""Letters through a hot folder: handed over once, whatever happened to the folder or its ledger."""

from __future__ import annotations

import asyncio
import errno
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from bode_adapters.contract import (
    Placed,
    PrintLetter,
    RefusalKind,
    Refused,
    SettingError,
    TimeSource,
    Unavailable,
    Unknown,
)
from bode_adapters.print_folder import PrintFolder
from bode_adapters.testing.print_service import PRIVATE, PrintServiceSuite, letter, letters

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class TestPrintFolder(PrintServiceSuite):
    @pytest.fixture
    def stage(self, house: Any) -> Any:
        return house


class TestPrintFolderThatIsEmptiedAtOnce(PrintServiceSuite):
    @pytest.fixture
    def stage(self, tmp_path: Path, hot_folder: Any) -> Any:
        return hot_folder(tmp_path / "hot")

    @pytest.fixture(autouse=True)
    def eager(self, stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_a_batch_is_a_directory_with_its_manifest(house: Any) -> None:
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
                "sheets": 1,
                "grams": 12,
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


async def test_what_is_new_in_a_batch_goes_under_a_name_of_its_own(house: Any) -> None:
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


async def test_a_letter_made_again_with_another_pdf_is_not_printed_again(house: Any) -> None:
    first = letter()
    await house.service.submit(letters=[first])
    pdf = first.pdf + b"again"
    (answer,) = await house.service.submit(letters=[replace(first, pdf=pdf, sha256=sha256(pdf).hexdigest())])
    assert isinstance(answer, Placed)
    assert (answer.already, answer.code) == (True, "other_content")
    assert house.taken(first.id) == 1


async def test_two_services_at_the_same_time_hand_over_once(house: Any) -> None:
    given = letters(20)
    other = PrintFolder(house.folder, clock=house.time)
    calls = [service.submit(letters=given) for service in (house.service, other) * 4]
    answers = await asyncio.gather(*calls)
    assert sum(isinstance(one, Placed) and not one.already for call in answers for one in call) == 20
    assert [house.taken(one.id) for one in given] == [1] * 20


async def test_two_file_systems_are_our_configuration(house: Any, watched: Any) -> None:
    await house.service.submit(letters=[letter()])
    watched.left, watched.error = 3, OSError(errno.EXDEV, "Invalid cross-device link")
    assert await house.service.submit(letters=[letter()]) == [Refused("folder:EXDEV", RefusalKind.CONFIGURATION)]


@pytest.mark.parametrize("loss", ["removed", "broken", "emptied"])
async def test_a_lost_ledger_stops_everything(house: Any, loss: str) -> None:
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


async def test_a_folder_without_in_is_away_and_is_not_made(house: Any) -> None:
    (house.folder / "in").rmdir()
    assert await house.service.submit(letters=[letter()]) == [Unavailable("folder:away")]
    assert await house.service.lookup(letters=[letter()]) == [Unknown("folder:away")]
    await house.service.confirm(keys=["x"])
    assert not (house.folder / "in").exists()


async def test_something_else_in_the_way_is_left_alone(house: Any) -> None:
    await house.service.submit(letters=[letter()])
    (house.folder / ".tmp" / "note.txt").write_text("x")
    (answer,) = await house.service.submit(letters=[letter()])
    assert isinstance(answer, Placed)


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
def test_a_wrong_setting_is_named(house: Any, changes: dict[str, object], key: str) -> None:
    with pytest.raises(SettingError) as caught:
        PrintFolder.from_settings({"folder": str(house.folder)} | changes, clock=house.time)
    assert caught.value.key == key


def test_a_folder_that_nobody_watches_is_not_accepted(tmp_path: Path, house: Any) -> None:
    with pytest.raises(SettingError) as caught:
        PrintFolder.from_settings({"folder": str(tmp_path)}, clock=house.time)
    assert caught.value.key == "folder"


async def test_the_ledger_can_be_elsewhere(house: Any, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    table = {"folder": str(house.folder), "ledger": str(ledger)}
    service = PrintFolder.from_settings(table, clock=house.time)
    given = letter()
    await service.submit(letters=[given])
    assert (ledger / "letters" / str(given.id)).exists()
    assert not (house.folder / ".ledger").exists()
