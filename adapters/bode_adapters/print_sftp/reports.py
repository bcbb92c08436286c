"""What the print service says about letters: files in `reports/` (see `bode_adapters.printing.report_files`).

What is confirmed is kept per file in the ledger, before the file moves to `reports/done` or is deleted when all of it
is: a crash in between is finished by the next reading. Where the account may do neither, the file stays, and stays
remembered: each report counts once either way.
"""

from __future__ import annotations

import stat
from collections import defaultdict
from collections.abc import Sequence

import asyncssh

from bode_adapters.contract import LetterReport
from bode_adapters.print_sftp.connection import read_file
from bode_adapters.print_sftp.settings import SftpSettings
from bode_adapters.printing.report_files import ReportFile, Teller, UnreadableError, file_of, is_report, read_content

_Version = tuple[int | None, int | None]
"""Size and time of change of a file."""


class Reports:
    """The directory `reports/` of one account."""

    def __init__(self, settings: SftpSettings) -> None:
        """Name the places; nothing is made or read yet."""
        self._folder = f"{settings.folder}/reports"
        self._confirmed = f"{settings.ledger}/confirmed"
        self._keep = settings.keep_reports
        self._through: dict[str, _Version] = {}
        """Files that stay though nothing in them is new, as they were: not read again until they change."""
        self._teller = Teller()

    async def read(self, client: asyncssh.SFTPClient) -> list[LetterReport]:
        """Give what is not confirmed, in the order of the files' names."""
        found: list[LetterReport] = []
        for name, version in await self._files(client):
            if self._through.get(name) == version:
                continue
            try:
                found += await self._unconfirmed(client, name, version)
            except UnreadableError as error:
                self._teller.tell("print_report_unreadable", name, reason=str(error))
                await self._put_away(client, name, "unreadable", version)
            except asyncssh.SFTPNoSuchFile:
                continue  # taken away while we looked
            except asyncssh.SFTPPermissionDenied as error:  # this file alone
                self._teller.tell("print_report_unavailable", name, reason=type(error).__name__)
        self._teller.tell_unrecognised(found)
        return found

    async def confirm(self, client: asyncssh.SFTPClient, keys: Sequence[str]) -> None:
        """Keep that these are stored, and put away the files that are through."""
        by_file: defaultdict[str, set[str]] = defaultdict(set)
        for key in keys:
            by_file[file_of(key)].add(key)
        for name, version in await self._files(client):
            if name not in by_file:
                continue
            try:
                file = read_content(name, await read_file(client, f"{self._folder}/{name}"))
            except UnreadableError:
                continue  # changed since; the next reading sets it aside
            if file is None:
                continue
            known = await self._confirmed_of(client, name)
            new = (by_file[name] & file.keys) - known
            if new:
                await _make(client, self._confirmed)
                async with client.open(f"{self._confirmed}/{name}", "ab") as remembered:
                    await remembered.write("".join(f"{key}\n" for key in sorted(new)).encode())
            if file.keys <= known | new:
                await self._finish(client, file, version)

    async def _files(self, client: asyncssh.SFTPClient) -> list[tuple[str, _Version]]:
        try:
            entries = await client.readdir(self._folder)
        except asyncssh.SFTPNoSuchFile:
            return []
        return sorted(
            (str(entry.filename), (entry.attrs.size, entry.attrs.mtime))
            for entry in entries
            if is_report(str(entry.filename)) and _is_file(entry)
        )

    async def _unconfirmed(self, client: asyncssh.SFTPClient, name: str, version: _Version) -> list[LetterReport]:
        file = read_content(name, await read_file(client, f"{self._folder}/{name}"))
        if file is None:
            return []
        if file.bad_lines:
            self._teller.tell("print_report_lines_unreadable", name, lines=list(file.bad_lines))
        confirmed = await self._confirmed_of(client, name)
        if file.keys <= confirmed:
            await self._finish(client, file, version)
        return [report for report in file.reports if report.key not in confirmed]

    async def _finish(self, client: asyncssh.SFTPClient, file: ReportFile, version: _Version) -> None:
        if await self._put_away(client, file.name, "unreadable" if file.bad_lines else "done", version):
            remembered = f"{self._confirmed}/{file.name}"
            if await client.exists(remembered):
                await client.remove(remembered)

    async def _put_away(self, client: asyncssh.SFTPClient, name: str, where: str, version: _Version) -> bool:
        """Move a file, or delete it; where that is not allowed it is remembered as it is now."""
        path = f"{self._folder}/{name}"
        try:
            if where == "done" and not self._keep:
                await client.remove(path)
            else:
                await _make(client, f"{self._folder}/{where}")
                await client.rename(path, await _free(client, f"{self._folder}/{where}/{name}"))
        except (asyncssh.SFTPPermissionDenied, asyncssh.SFTPFailure, asyncssh.SFTPOpUnsupported) as error:
            self._teller.tell("print_report_stays", name, reason=type(error).__name__)
            self._through[name] = version
            return False
        return True

    async def _confirmed_of(self, client: asyncssh.SFTPClient, name: str) -> set[str]:
        try:
            lines = (await read_file(client, f"{self._confirmed}/{name}")).decode("utf-8", "replace").split("\n")
        except asyncssh.SFTPNoSuchFile:
            return set()
        return set(lines[:-1])  # a last line without its end was cut off by a crash and confirms nothing


async def _make(client: asyncssh.SFTPClient, folder: str) -> None:
    if not await client.isdir(folder):
        await client.mkdir(folder)


async def _free(client: asyncssh.SFTPClient, path: str) -> str:
    """Give the path, with a number where that name is taken."""
    target, number = path, 1
    while await client.exists(target):
        number += 1
        target = f"{path}.{number}"
    return target


def _is_file(entry: asyncssh.SFTPName) -> bool:
    mode = entry.attrs.permissions
    return mode is None or stat.S_ISREG(mode) or not stat.S_IFMT(mode)
