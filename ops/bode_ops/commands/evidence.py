"""`bode evidence`: what can be proven, and checking it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from bode.evidence.note import NoteError
from bode.evidence.timestamp import TimestampError, read_roots, trusting
from bode.evidence.verify import Trust, read_keys, verify_file, worst
from bode_ops.commands.base import UsageError, console

evidence_app = App(name="evidence", help="Check what can be proven: extracts, and the whole log.")


@evidence_app.command(name="verify")
def evidence_verify(
    *files: Path,
    key: Annotated[
        list[str], Parameter(help="A public key of a log or a witness, or a file of them; never from the extract.")
    ],
    checkpoint: Annotated[
        list[Path] | None, Parameter(help="A checkpoint that was published: the extract's must be the same.")
    ] = None,
    tsa_root: Annotated[
        list[Path] | None,
        Parameter(help="Root certificates (PEM) of time stamping authorities: one must have stamped it."),
    ] = None,
) -> None:
    """Check extracts (afschriften), without a database and without a network.

    Exits with 0: valid; 1: something was altered; 2: it cannot be decided. Says which statement fails.
    """
    if not files:
        raise UsageError("name the extracts to check")
    try:
        roots = [root for path in tsa_root or [] for root in read_roots(path)]
        published = [path.read_bytes() for path in checkpoint or []]
        trust = Trust(read_keys(key), published, trusting(roots) if roots else None)
    except UnicodeDecodeError:
        raise UsageError("--key: the file is not one of public keys") from None
    except (NoteError, TimestampError) as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None
    reports = [(path, verify_file(path, trust)) for path in files]
    for path, report in reports:
        first, *rest = report.lines()
        console.print(f"{path}: {first}", *rest, sep="\n", markup=False)
    raise SystemExit(worst(report.verdict for _, report in reports))
