"""The print service that tests and the demonstration use."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from bode_adapters.contract import LetterStatus
from bode_adapters.print_folder import PrintFolder
from bode_adapters.print_folder.mock import Fate, MockPrintService
from bode_adapters.testing.print_service import letter, letters

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


async def test_the_print_service_reports_the_life_of_a_letter(house: Any) -> None:
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
    at_once = dict.fromkeys(("print_delay", "post_delay", "late_delay"), timedelta(0))
    printer = MockPrintService(tmp_path, clock=lambda: START, rule=lambda _: Fate("DELIVERED"), **at_once)
    service = PrintFolder(tmp_path, clock=lambda: START)
    running = asyncio.create_task(printer.run(every=0.001))
    await service.submit(letters=[letter()])
    async with asyncio.timeout(5):
        while len(await service.reports()) < 4:  # noqa: ASYNC110 - there is no event: the folder is looked at
            await asyncio.sleep(0.001)
    running.cancel()
    assert [report.status for report in await service.reports()][-1] is LetterStatus.DELIVERED


async def test_the_print_service_sees_what_came_over_damaged(house: Any) -> None:
    good, changed, gone = given = letters(3)
    await house.service.submit(letters=given)
    batch = house.folder / "in" / str(good.batch)
    (batch / f"{changed.id}.pdf").write_bytes(b"x")
    (batch / f"{gone.id}.pdf").unlink()
    (batch / "extra.txt").write_text("x")
    (house.folder / "in" / "unfinished").mkdir()
    (house.folder / "in" / "half").mkdir()
    (house.folder / "in" / "half" / "manifest.json").write_text("{")
    house.printer.step()
    found = {report.letter: report.status for report in await house.service.reports()}
    rejected = LetterStatus.REJECTED
    assert found == {good.id: LetterStatus.ACCEPTED, changed.id: rejected, gone.id: rejected}
    assert len(house.printer.problems) == 4
    assert house.names("refused") == ["half"]
    assert house.names("in") == ["unfinished"], "a batch without its manifest is not finished"
