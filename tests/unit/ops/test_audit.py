"""The audit of what is locked: a known fault fails a build, a database that cannot be asked does not, and says so."""

import json
import subprocess

import pytest

from bode_ops import audit

CLEAN = {"name": "redis", "version": "8.1.0", "vulns": []}
SKIPPED = {"name": "typst", "skip_reason": "Dependency not found on PyPI and could not be audited: typst (0.15.2)"}
FAULTY = {
    "name": "multipart",
    "version": "2.0",
    "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["2.1"], "aliases": [], "description": "..."}],
}


def report(*packages):
    return json.dumps({"dependencies": list(packages), "fixes": []})


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        (report(CLEAN), audit.NOTHING_KNOWN, "1 packages: no fault is known"),
        (report(CLEAN, FAULTY), audit.FAULT_KNOWN, "multipart 2.0: PYSEC-2026-1, mended in 2.1"),
        (report(SKIPPED, FAULTY), audit.FAULT_KNOWN, "multipart 2.0: PYSEC-2026-1, mended in 2.1"),
        (report(CLEAN, SKIPPED), audit.NOBODY_ASKED, "not audited: 1 of 2 packages: typst"),
        (report(), audit.NOBODY_ASKED, "not audited: the report names no package"),
        ("", audit.NOBODY_ASKED, "not audited: pip-audit gave no report, so nothing is known of any package"),
        ("[]", audit.NOBODY_ASKED, "not audited: pip-audit gave no report, so nothing is known of any package"),
    ],
)
def test_what_a_report_means(text, code, told):
    found, lines = audit.judge(text)
    assert (found, lines[0]) == (code, told)


@pytest.mark.parametrize(
    ("reports", "code"),
    [
        ([report(CLEAN), report(CLEAN)], 0),
        ([report(SKIPPED), report(FAULTY)], 1),
        ([report(FAULTY), ""], 1),
        ([report(CLEAN), ""], 3),
    ],
)
def test_a_fault_in_one_lock_file_goes_before_all_else(monkeypatch, reports, code):
    given = iter(reports)
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, stdout=next(given))
    )
    assert audit.main(["a.txt", "b.txt"]) == code


def test_without_the_tool_nobody_was_asked(monkeypatch, capsys):
    def gone(*_, **__):
        raise FileNotFoundError("uv")

    monkeypatch.setattr(subprocess, "run", gone)
    assert audit.main(["a.txt"]) == audit.NOBODY_ASKED
    assert "pip-audit could not run" in capsys.readouterr().out
