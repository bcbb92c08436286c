"""What the print service says about letters: files in `reports/` (see `bode_adapters.printing.report_files`).

What is confirmed is kept per file in `.confirmed/`, before the file moves to `done/` when all of it is: a crash in
between is finished by the next reading.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from bode_adapters.contract import LetterReport
from bode_adapters.print_folder import disk
from bode_adapters.printing.report_files import ReportFile, Teller, UnreadableError, file_of, is_report, read_content


class Reports:
    """The folder `reports/`. Called under the ledger's lock."""

    def __init__(self, folder: Path) -> None:
        """Name the places; nothing is made or read yet."""
        self._folder = folder / "reports"
        self._done = self._folder / "done"
        self._unreadable = self._folder / "unreadable"
        self._confirmed = self._folder / ".confirmed"
        self._teller = Teller()

    def read(self) -> list[LetterReport]:
        """Give what is not confirmed, in the order of the files' names. Raises `OSError`."""
        found: list[LetterReport] = []
        if not self._folder.is_dir():
            return found
        for path in sorted(self._folder.iterdir()):
            if not is_report(path.name) or path.is_symlink() or not path.is_file():
                continue
            try:
                found += self._unconfirmed(path)
            except UnreadableError as error:
                self._teller.tell("print_report_unreadable", path.name, reason=str(error))
                disk.move_aside(path, self._unreadable)
            except OSError as error:  # this file alone: a right that is missing, or moved while we looked
                self._teller.tell("print_report_unavailable", path.name, reason=type(error).__name__)
        self._teller.tell_unrecognised(found)
        return found

    def confirm(self, keys: Sequence[str]) -> None:
        """Keep that these are stored, and put away the files that are through. Raises `OSError`."""
        by_file: defaultdict[str, set[str]] = defaultdict(set)
        for key in keys:
            by_file[file_of(key)].add(key)
        for name, told in by_file.items():
            path = self._folder / name
            if not is_report(name) or not path.is_file():
                continue  # put away before, or never one of ours
            try:
                file = read_content(name, path.read_bytes())
            except UnreadableError:
                continue  # changed since; the next reading sets it aside
            if file is None:
                continue
            known = self._confirmed_of(name)
            new = (told & file.keys) - known
            if new:
                self._confirmed.mkdir(exist_ok=True)
                disk.append(self._confirmed / name, "".join(f"{key}\n" for key in sorted(new)).encode())
                disk.settle(self._confirmed)
            if file.keys <= known | new:
                self._finish(file)

    def _unconfirmed(self, path: Path) -> list[LetterReport]:
        file = read_content(path.name, path.read_bytes())
        if file is None:
            return []
        if file.bad_lines:
            self._teller.tell("print_report_lines_unreadable", path.name, lines=list(file.bad_lines))
        confirmed = self._confirmed_of(path.name)
        if file.keys <= confirmed:
            self._finish(file)
        return [report for report in file.reports if report.key not in confirmed]

    def _finish(self, file: ReportFile) -> None:
        disk.move_aside(self._folder / file.name, self._unreadable if file.bad_lines else self._done)
        disk.settle(self._folder)
        (self._confirmed / file.name).unlink(missing_ok=True)

    def _confirmed_of(self, name: str) -> set[str]:
        try:
            lines = (self._confirmed / name).read_text("utf-8").split("\n")
        except FileNotFoundError:
            return set()
        return set(lines[:-1])  # a last line without its end was cut off by a crash and confirms nothing
