"""Letters over SFTP: whole or not at all, on the server that is in the settings and on no other."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import asyncssh
import pytest
import structlog

from bode_adapters.contract import (
    Absent,
    LetterStatus,
    Placed,
    RefusalKind,
    Refused,
    SettingError,
    Unavailable,
    Unknown,
)
from bode_adapters.print_sftp import PrintSftp
from bode_adapters.print_sftp.mock import MockSftpServer
from bode_adapters.testing.print_service import PRIVATE, PrintServiceSuite, letter, letters


class TestPrintSftp(PrintServiceSuite):
    @pytest.fixture
    def stage(self, drop):
        return drop


class TestPrintSftpThatIsEmptiedAtOnce(PrintServiceSuite):
    @pytest.fixture
    def stage(self, drop):
        return drop

    @pytest.fixture(autouse=True)
    def eager(self, stage, monkeypatch):
        """Take away what was handed over right after each call, and say nothing about it."""
        submit = PrintSftp.submit

        async def and_take(self: PrintSftp, *, letters: Any) -> Any:
            answers = await submit(self, letters=letters)
            stage.printer.step()
            for path in stage.folder.glob("reports/*.json"):
                path.unlink()
            return answers

        monkeypatch.setattr(PrintSftp, "submit", and_take)


LINE = '{{"letter": "{}", "status": "DISPATCHED", "at": "2026-03-02T16:00:00+01:00"}}'

# ---- interrupted ----------------------------------------------------------------------------------------------------


def big() -> Any:
    """A letter that travels in several packets."""
    return letter(pdf=b"%PDF-1.7\n" + PRIVATE.encode() + bytes(400_000) + b"\n%%EOF\n")


def shown(drop: Any) -> list[str]:
    """Give what the print service can take for a letter: PDFs under their own name, and manifests."""
    return [path.name for path in drop.folder.glob("in/*/*") if path.suffix != ".part"]


async def test_an_upload_that_is_cut_leaves_no_half_letter_and_is_made_good(drop):
    for cut_after in (0, 1, 10_000, 200_000, 399_999, 400_300):
        given = big()
        drop.server.cut_after_bytes = cut_after
        (answer,) = await drop.service.submit(letters=[given])
        assert answer == Unavailable("connection_lost")
        for path in drop.folder.glob("in/*/*.pdf"):
            assert sha256(path.read_bytes()).hexdigest() == given.sha256, "whole, though its batch is not"
        assert not list(drop.folder.glob("in/*/manifest.json"))
        drop.printer.step()
        assert drop.taken(given.id) == 0
        assert await drop.service.lookup(letters=[given]) == [Absent()]
        # Worth another try, in a new call: what the first left is cleared away.
        (again,) = await drop.service.submit(letters=[replace(given, batch=letter().batch)])
        assert isinstance(again, Placed)
        assert not again.already
        drop.printer.step()
        assert drop.taken(given.id) == 1
        assert drop.names("in") == []


@pytest.mark.parametrize(("when", "copies"), [("before", 0), ("after", 1)])
async def test_a_line_that_breaks_at_the_moment_of_handing_over_is_unknown_and_asked_again(drop, when, copies):
    given = letters(2)
    drop.server.cut_at_rename = when
    assert await drop.service.submit(letters=given) == [Unknown("connection_lost")] * 2
    assert [drop.taken(one.id) for one in given] == [copies] * 2
    drop.printer.step()
    found = await drop.service.lookup(letters=given)
    assert all(isinstance(answer, Placed if copies else Absent) for answer in found)
    again = await drop.service.submit(letters=given)
    assert [answer.already for answer in again] == [bool(copies)] * 2
    drop.printer.step()
    assert [drop.taken(one.id) for one in given] == [1, 1]


async def test_a_worker_that_died_at_any_packet_is_succeeded_by_one_that_makes_the_same_call(drop):
    for cut_after in range(0, 3000, 150):
        given = letters(2)
        drop.server.cut_after_bytes = cut_after
        await drop.service.submit(letters=given)
        drop.server.cut_after_bytes = None
        await drop.restart()
        drop.printer.step()
        for _ in range(2):
            answers = await drop.service.submit(letters=given)
            assert all(isinstance(answer, Placed) for answer in answers)
            drop.printer.step()
        assert [drop.taken(one.id) for one in given] == [1, 1]
        assert drop.names("in") == []
    assert drop.printer.problems == []


async def test_a_letter_left_behind_is_not_handed_over_by_a_call_that_does_not_name_it(drop):
    gone, stays = letters(2)
    drop.server.cut_at_rename = "before"
    await drop.service.submit(letters=[gone, stays])
    await drop.restart()
    (answer,) = await drop.service.submit(letters=[stays])
    assert isinstance(answer, Placed)
    drop.printer.step()
    assert [drop.taken(gone.id), drop.taken(stays.id)] == [0, 1]
    assert drop.printer.problems == []


async def test_a_disk_that_is_full_is_unavailable(drop):
    given = letter()
    drop.server.full = True
    assert await drop.service.submit(letters=[given]) == [Unavailable("sftp:Failure")]
    drop.server.full = False
    (answer,) = await drop.service.submit(letters=[given])
    assert isinstance(answer, Placed)


async def test_the_connection_is_kept(drop):
    for _ in range(5):
        await drop.service.submit(letters=[letter()])
        await drop.service.reports()
    assert drop.server.connections == 1


# ---- the right server -----------------------------------------------------------------------------------------------


async def test_a_server_with_another_host_key_is_refused_and_gets_nothing(drop):
    await drop.server.stop()
    drop.server.host_key = asyncssh.generate_private_key("ssh-ed25519")
    await drop.server.start()
    given = letter()
    await drop.restart()
    refused = Refused("host_key", RefusalKind.CONFIGURATION)
    assert await drop.service.submit(letters=[given]) == [refused]
    assert await drop.service.lookup(letters=[given]) == [refused]
    assert await drop.service.reports() == []
    assert drop.names("in") == []


async def test_a_host_key_of_another_kind_is_refused_too(drop):
    await drop.server.stop()
    drop.server.host_key = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    await drop.server.start()
    (answer,) = await drop.service.submit(letters=[letter()])
    assert isinstance(answer, Refused)
    assert answer.kind is RefusalKind.CONFIGURATION


async def test_a_host_key_can_be_changed_with_both_in_the_settings(drop):
    old = drop.settings["host_key"]
    await drop.server.stop()
    drop.server.host_key = asyncssh.generate_private_key("ssh-ed25519")
    await drop.server.start()
    drop.settings["host_key"] = f"{old}\n{drop.server.settings['host_key']}\n"
    await drop.restart()
    (answer,) = await drop.service.submit(letters=[letter()])
    assert isinstance(answer, Placed)


async def test_a_login_that_is_refused_is_our_configuration(tmp_path, drop):
    other = tmp_path / "other-key"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(other)
    drop.settings["key_file"] = str(other)
    await drop.restart()
    assert await drop.service.submit(letters=[letter()]) == [Refused("login", RefusalKind.CONFIGURATION)]


async def test_a_password_opens_the_door_as_well(tmp_path, drop):
    async with MockSftpServer(drop.folder, password="een-lang-wachtwoord") as server:
        for password, kind in (("een-lang-wachtwoord", Placed), ("een-ander-wachtwoord", Refused)):
            service = PrintSftp.from_settings(dict(server.settings) | {"password": password}, clock=drop.time)
            (answer,) = await service.submit(letters=[letter()])
            assert isinstance(answer, kind)
            await service.close()


async def test_a_lost_ledger_stops_everything(drop):
    await drop.service.submit(letters=[letter()])
    (drop.folder / ".bode").rename(drop.folder / "moved")
    lost = Refused("ledger_lost", RefusalKind.CONFIGURATION)
    assert await drop.service.submit(letters=[letter()]) == [lost]
    assert await drop.service.lookup(letters=[letter()]) == [lost]


async def test_an_account_without_in_is_away(drop):
    (drop.folder / "in").rmdir()
    assert await drop.service.submit(letters=[letter()]) == [Unavailable("folder:away")]


# ---- reports --------------------------------------------------------------------------------------------------------


async def reported(drop: Any, count: int) -> list[Any]:
    given = letters(count)
    await drop.service.submit(letters=given)
    for one in given:
        await drop.report(one.id, LetterStatus.POSTED)
    return given


async def test_a_report_file_that_is_through_is_moved_away(drop):
    await reported(drop, 2)
    found = await drop.service.reports()
    await drop.service.confirm(keys=[report.key for report in found])
    assert len(found) == len(drop.names("reports/done")) == 2
    assert await drop.service.reports() == []
    assert drop.names(".bode/confirmed") == []


async def test_a_report_file_can_be_deleted_instead(drop):
    drop.settings["after_report"] = "delete"
    await drop.restart()
    await reported(drop, 2)
    await drop.service.confirm(keys=[report.key for report in await drop.service.reports()])
    assert drop.names("reports") == []


async def test_where_nothing_can_be_moved_each_report_still_counts_once(drop):
    drop.server.nothing_moves = True
    await reported(drop, 2)
    with structlog.testing.capture_logs() as logs:
        found = await drop.service.reports()
        await drop.service.confirm(keys=[report.key for report in found])
        assert await drop.service.reports() == []
        await drop.restart()
        assert await drop.service.reports() == []
    assert {entry["event"] for entry in logs} == {"print_report_stays"}
    drop.server.nothing_moves = False
    await drop.restart()
    assert await drop.service.reports() == []
    assert len(drop.names("reports/done")) == 2


async def test_a_file_that_cannot_be_read_is_set_aside_and_one_that_is_written_is_left_alone(drop):
    good = letter().id
    drop.write_report("a.json", "no json\n")
    drop.write_report("b.json", f"{LINE.format(good)}\nbad\n")
    half = drop.write_report("c.json", LINE.format(good))
    with structlog.testing.capture_logs() as logs:
        (report,) = await drop.service.reports()
    assert report.letter == good
    assert {entry["event"] for entry in logs} == {"print_report_unreadable", "print_report_lines_unreadable"}
    await drop.service.confirm(keys=[report.key])
    assert drop.names("reports/unreadable") == ["a.json", "b.json"]
    assert half.exists()


# ---- what is handed over ---------------------------------------------------------------------------------------------


async def test_a_batch_has_its_manifest_and_nothing_personal_but_the_letters(drop):
    given = letters(2)
    await drop.service.submit(letters=given)
    batch = drop.folder / "in" / str(given[0].batch)
    manifest = json.loads((batch / "manifest.json").read_bytes())
    assert [entry["file"] for entry in manifest["letters"]] == [f"{one.id}.pdf" for one in given]
    assert {entry["grams"] for entry in manifest["letters"]} == {12}
    for path in drop.folder.rglob("*"):
        if path.is_file() and path.suffix != ".pdf":
            assert PRIVATE.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"host_key": None}, "host_key"),
        ({"host_key": "SHA256:abc"}, "host_key"),
        ({"host_key": "\n"}, "host_key"),
        ({"host": "a b"}, "host"),
        ({"port": 0}, "port"),
        ({"key_file": "/nowhere/at/all"}, "key_file"),
        ({"password": "both"}, "key_file"),
        ({"after_report": "keep"}, "after_report"),
        ({"known_hosts": "x"}, "known_hosts"),
    ],
)
def test_a_wrong_setting_is_named(drop, changes, key):
    with pytest.raises(SettingError) as caught:
        PrintSftp.from_settings(drop.settings | changes, clock=drop.time)
    assert caught.value.key == key


def test_neither_key_nor_password_is_no_login(drop):
    table = {name: value for name, value in drop.settings.items() if name != "key_file"}
    with pytest.raises(SettingError, match="one of the two"):
        PrintSftp.from_settings(table, clock=drop.time)
