"""`bode demo`: hand in the scenarios, show what happens, and say for each whether it ended as it must."""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import httpx
from cyclopts import Parameter
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bode.clock import Clock
from bode_ops.demo import scenarios
from bode_ops.demo.processes import DemoError, Options, Stage
from bode_ops.demo.scenarios import Expected, Scenario

console = Console(highlight=False, soft_wrap=True)

_LONGEST = timedelta(hours=72)
_FINAL = frozenset({"afgerond", "geannuleerd"})


def demo(
    *,
    exit: Annotated[bool, Parameter(help="End after the last message, with 0 only if all ended as they must.")] = False,  # noqa: A002 - the option is called --exit
    production_parts: Annotated[bool, Parameter(help="On PostgreSQL and Redis, a process per role.")] = False,
    kill: Annotated[bool, Parameter(help="Kill the worker (SIGKILL) half-way, and start it again.")] = False,
    speed: Annotated[float, Parameter(help="How many times as fast as life the clock runs.")] = 3600.0,
    port: Annotated[int, Parameter(help="Port of the pages.")] = 8080,
    folder: Annotated[Path, Parameter(help="Where everything of the demonstration goes; emptied first.")] = Path(
        "var/demo"
    ),
) -> None:
    """Show the whole job: 36 messages of two municipalities over every route, an hour of theirs a second."""
    folder = folder.resolve()
    if folder.exists() and not (folder / ".bode-demo").exists() and any(folder.iterdir()):
        raise DemoError(f"{folder} has files that are not a demonstration's: name another --folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / ".bode-demo").touch()
    parts = "PostgreSQL en Redis" if production_parts else "SQLite, alles in één proces"
    console.print(f"Bode, demonstratie ({parts}). Eén uur duurt hier {3600 / speed:.2g} seconde.")
    with Stage(Options(folder, speed, port, production_parts)) as stage:
        console.print(f"Kijk mee in de browser: {stage.url} (kies daar wie u bent)\n")
        show = _Show(stage)
        right = show.run(kill=kill)
        console.print(f"\nBrieven als PDF: {_short(folder / 'print' / 'printed')}")
        console.print(f"Tijdlijn van een bericht: {_command()} status KENMERK --config {_short(stage.config)}")
        if exit:
            raise SystemExit(0 if right else 1)
        console.print(f"\nDe pagina's blijven staan op {stage.url}; stop met Ctrl-C.")
        try:
            while True:
                stage.check_alive()
                time.sleep(1)
        except KeyboardInterrupt:
            console.print("\nGestopt.")


@dataclass(slots=True)
class _Message:
    scenario: Scenario
    id: str | None = None
    answer: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        return self.answer is not None and self.answer["status"] in _FINAL

    @property
    def right(self) -> bool:
        return self.answer is not None and Expected.got(self.answer) == self.scenario.expected


class _Show:
    """One run of the scenarios."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._clock = Clock(stage.options.speed, stage.origin)
        self._started = self._clock.now()
        self._messages = [_Message(scenario) for scenario in scenarios.build(self._started)]
        self._by_reference = {message.scenario.reference: message for message in self._messages}
        self._http = httpx.Client(timeout=10)
        self._killed = False

    def run(self, *, kill: bool) -> bool:
        """Hand in everything, watch until all ended, and print what came of it; tells whether all is right."""
        with self._http:
            self._misbehave()
            self._watch(kill=kill)
            return self._conclude()

    def _watch(self, *, kill: bool) -> None:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            while True:
                self._stage.check_alive()
                self._hand_in()
                self._look()
                live.update(self._progress())
                if kill and not self._killed and self._half_way():
                    self._stage.kill_worker()
                    self._killed = True
                if all(self._settled(message) for message in self._messages):
                    break
                if self._clock.now() - self._started > _LONGEST:
                    break
                time.sleep(0.25)

    def _settled(self, message: _Message) -> bool:
        """Tell whether a message ended as it must; a late bounce can still be on its way to one that did not."""
        return message.ended and message.right

    def _half_way(self) -> bool:
        return sum(message.answer is not None and message.ended for message in self._messages) > len(self._messages) / 4

    def _misbehave(self) -> None:
        for message in self._messages:
            for channel, order in message.scenario.behaviour:
                self._http.post(f"{self._stage.addresses[channel]}/_mock/gedrag", json=order).raise_for_status()

    def _hand_in(self) -> None:
        for message in self._messages:
            if message.id is not None or not self._may_go(message.scenario):
                continue
            try:
                answer = self._http.post(f"{self._stage.url}/v1/berichten", json=message.scenario.body)
            except httpx.TransportError:
                return  # Bode is being killed or started: the same again later is safe.
            if answer.status_code != HTTPStatus.ACCEPTED:
                raise DemoError(f"{message.scenario.title}: {answer.status_code} {answer.text}")
            message.id = answer.json()["id"]
            if message.scenario.cancel:
                self._http.post(
                    f"{self._stage.url}/v1/berichten/{message.id}/annulering", json={"reden": "Fout in het besluit"}
                ).raise_for_status()

    def _may_go(self, scenario: Scenario) -> bool:
        if scenario.after is None:
            return True
        earlier = self._by_reference[scenario.after]
        return earlier.ended

    def _look(self) -> None:
        for message in self._messages:
            if message.id is None:
                continue
            try:
                answer = self._http.get(f"{self._stage.url}/v1/berichten/{message.id}")
            except httpx.TransportError:
                return
            if answer.is_success:
                message.answer = answer.json()

    def _progress(self) -> Group:
        passed = self._clock.now() - self._started
        counts = Counter(message.answer["status"] if message.answer else "aangeboden" for message in self._messages)
        states = ", ".join(f"{state} {count}" for state, count in sorted(counts.items()))
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for message in self._messages:
            if not self._settled(message):
                table.add_row(message.scenario.reference, message.scenario.title, _now(message.answer))
        return Group(Text(f"Uur {passed.total_seconds() / 3600:.0f}: {states}"), table)

    def _conclude(self) -> bool:
        table = Table("kenmerk", "scenario", "verwacht", "gekregen", "", title="Wat ervan kwam")
        for message in self._messages:
            got = str(Expected.got(message.answer)) if message.answer else "niets"
            expected = str(message.scenario.expected)
            good = message.right
            table.add_row(
                message.scenario.reference,
                message.scenario.title,
                expected,
                "zoals verwacht" if good else got,
                "goed" if good else "FOUT",
            )
        if console.is_terminal:
            console.print(table)
        else:
            for message in self._messages:
                got = str(Expected.got(message.answer)) if message.answer else "niets"
                word = "goed" if message.right else "FOUT"
                console.print(
                    f"{word}  {message.scenario.reference}  {message.scenario.title}: "
                    f"verwacht {message.scenario.expected}; gekregen {got}"
                )
        wrong = sum(not message.right for message in self._messages)
        doubles = self._doubles()
        total = len(self._messages)
        console.print(f"\n{total - wrong} van {total} berichten zoals verwacht; {_said(doubles)}.")
        if self._killed:
            console.print("De werker is halverwege met SIGKILL gestopt en opnieuw gestart.")
        return wrong == 0 and not doubles

    def _doubles(self) -> list[str]:
        """Give what the outside world got twice: a placement or a letter."""
        found: list[str] = []
        for channel in ("mijnoverheid", "mijndomein"):
            placed = self._http.get(f"{self._stage.addresses[channel]}/_mock/plaatsingen").json()
            found += [f"{channel} {item['id']}" for item in placed if item["count"] > 1]
        printed = list((self._stage.options.folder / "print" / "printed").rglob("*.pdf"))
        letters = Counter(file.name for file in printed)
        return found + [f"brief {name}" for name, times in letters.items() if times > 1]


def _now(answer: dict[str, Any] | None) -> str:
    """Say in a few words where a message stands."""
    if answer is None:
        return "aangeboden"
    words = [answer["status"].replace("_", " ")]
    for placement in answer["plaatsingen"]:
        notice = placement["kennisgeving"]
        words.append(
            f"{placement['kanaal']} {placement['status']}" + (f", kennisgeving {notice['status']}" if notice else "")
        )
    words += [f"brief {letter['status']}" for letter in answer["brieven"]]
    return "; ".join(words)


def _command() -> Path:
    """Give the command that started this, as it can be typed here."""
    return _short(Path(sys.argv[0]).absolute())


def _short(path: Path) -> Path:
    """Give a path as seen from here, where that is shorter."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _said(doubles: Sequence[str]) -> str:
    return f"DUBBEL: {', '.join(doubles)}" if doubles else "niets twee keer geplaatst of geprint"
