"""`bode doctor`: is everything there that Bode needs, and if not, what is wrong and what to do."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from bode_ops.commands.base import Config, console
from bode_ops.doctor import Finding, Verdict, examine

_MARKS = {Verdict.WELL: "ok", Verdict.WARNING: "WARNING", Verdict.FAULT: "FAULT", Verdict.NOT_ASKED: "-"}


def doctor(
    *,
    json_output: Annotated[bool, Parameter(name="--json", negative="", help="For a machine: one JSON object.")] = False,
    config: Config = None,
) -> None:
    """Look at every part: configuration, keys, certificates, disks, database, clock, broker, and each other side.

    Changes nothing and sends nothing. Exits with 0 when nothing is wrong, 1 when something is, and 2 when the
    configuration cannot be used, so that nothing else could be looked at. Warnings alone are a 0.
    """
    findings = asyncio.run(examine(config))
    if json_output:
        print(json.dumps({"findings": [dataclasses.asdict(finding) for finding in findings]}, indent=2))  # noqa: T201 - the answer itself
    else:
        _say(findings)
    raise SystemExit(_code(findings))


def _say(findings: Sequence[Finding]) -> None:
    for finding in findings:
        console.print(f"{_MARKS[finding.verdict]:8} {finding.part}{_after(': ', finding.what)}", markup=False)
        if finding.do:
            console.print(f"{'':8} -> {finding.do}", markup=False)
    wrong = sum(finding.verdict is Verdict.FAULT for finding in findings)
    warnings = sum(finding.verdict is Verdict.WARNING for finding in findings)
    more = f"; {warnings} {'warning' if warnings == 1 else 'warnings'}" if warnings else ""
    console.print((f"{wrong} of {len(findings)} wrong" if wrong else "nothing is wrong") + more)


def _after(mark: str, text: str) -> str:
    return mark + text if text else ""


def _code(findings: Sequence[Finding]) -> int:
    wrong = [finding.part for finding in findings if finding.verdict is Verdict.FAULT]
    if "configuration" in wrong:
        return 2
    return 1 if wrong else 0
