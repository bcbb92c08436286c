"""Known faults in what is locked, by pip-audit: `python -m bode_ops.audit`, `make audit`.

Told apart: nothing is known (0), a fault is known (1), and nobody could be asked (3). pip-audit itself says 0 when
the index has no advisories at all, as a mirror of PyPI has none: then nothing was looked at.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

NOTHING_KNOWN, FAULT_KNOWN, NOBODY_ASKED = 0, 1, 3
_OPTIONS = ("--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "10")
_LONGEST_SECONDS = 300


def judge(report: str) -> tuple[int, list[str]]:
    """Give the exit code and the lines that tell what pip-audit's report says; an empty one: it could not ask."""
    try:
        packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return NOBODY_ASKED, ["not audited: pip-audit gave no report, so nothing is known of any package"]
    faults = [
        f"{one['name']} {one['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'nothing yet'}"
        for one in packages
        for fault in one.get("vulns", ())
    ]
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    which = ", ".join(skipped) if len(skipped) < len(packages) else "all"
    unknown = [f"not audited: {len(skipped)} of {len(packages)} packages: {which}"] if skipped else []
    if faults:
        return FAULT_KNOWN, faults + unknown
    if skipped or not packages:
        return NOBODY_ASKED, unknown or ["not audited: the report names no package"]
    return NOTHING_KNOWN, [f"{len(packages)} packages: no fault is known"]


def main(locks: Sequence[str]) -> int:
    """Ask about each lock file; a fault in any goes before nobody to ask."""
    codes: set[int] = set()
    for lock in locks:
        command = [sys.executable, "-m", "pip_audit", *_OPTIONS, "-r", lock]
        try:
            report = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST_SECONDS)
            code, lines = judge(report.stdout)
        except (OSError, subprocess.TimeoutExpired) as error:
            code, lines = NOBODY_ASKED, [f"not audited: pip-audit could not run ({type(error).__name__})"]
        codes.add(code)
        for line in lines:
            sys.stdout.write(f"{lock}: {line}\n")
    return FAULT_KNOWN if FAULT_KNOWN in codes else max(codes, default=NOBODY_ASKED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["requirements/run.txt"]))
