"""`bode evidence audit`: the whole log against the database and what was published."""

from __future__ import annotations

from typing import Annotated, NoReturn

from cyclopts import Parameter
from sqlalchemy.exc import SQLAlchemyError

from bode.engine.checkpoints import Attestor
from bode.engine.evidence_audit import Audit, Fault, Report
from bode.store.database import SchemaError
from bode.store.evidence_keys import read_keyring
from bode.store.log_folder import LogFolder
from bode.store.vault import KeyFileError
from bode_ops import assembly
from bode_ops.assembly import Application
from bode_ops.commands.base import AwayError, Config, UsageError, console, errors, with_application
from bode_ops.commands.evidence_keys import the_evidence

_MOST = 1000
"""Faults printed one by one; a log that was replaced has as many as it has events."""


def audit(
    *,
    details: Annotated[
        bool, Parameter(help="Open the sealed details too, and hold them to their commitments.")
    ] = False,
    config: Config = None,
) -> None:
    """Hold every event, delivery, leaf and checkpoint against each other and against what was published.

    Reads only, while Bode works. Exits with 0 when all is as it was written, with 1 when something was changed, left
    out or added (a line for each, with its message and event), with 2 when that cannot be decided.
    """
    seen = 0

    def found(fault: Fault) -> None:
        nonlocal seen
        seen += 1
        if seen <= _MOST:
            console.print(str(fault), markup=False)
        elif seen == _MOST + 1:
            console.print(f"... and more than {_MOST}")

    async def work(application: Application) -> Report:
        evidence = application.settings.evidence
        folder, attestors = None, list[Attestor]()
        if evidence is not None:
            ring = read_keyring(evidence.key_file, evidence.origin)
            folder = LogFolder(evidence.folder, evidence.origin, ring.verifiers)
            attestors = assembly.build_attestors(evidence)
        vault = application.parts.vault if details else None
        return await Audit(application.database, found, folder=folder, vault=vault, attestors=attestors).run()

    try:
        report = with_application(config, work)
    except (SQLAlchemyError, SchemaError, KeyFileError, AwayError, OSError) as error:
        what = str(error) if not isinstance(error, SQLAlchemyError) else type(error).__name__
        _cannot_decide(f"cannot decide: {what}")
    said = report.attestations + report.attestations_of_others
    attested = f", {said} time stamps and signatures of others ({report.attestations} checked)" if said else ""
    opened = f", {report.details} details" if details else ""
    console.print(
        f"{report.events} events of {report.messages} messages, {report.leaves} in the log, {report.pending} waiting, "
        f"{report.checkpoints} checkpoints ({report.published} published){attested}{opened}: "
        f"{report.seconds:.1f} s, {report.seconds / max(report.events, 1) * 1e6:.0f} us per event"
    )
    if report.faults:
        errors.print(f"bode: {report.faults} faults: evidence is not as it was written")
        raise SystemExit(1)
    if report.undecided is not None:
        _cannot_decide(f"cannot decide: {report.undecided}")
    console.print("in order")


def _cannot_decide(why: str) -> NoReturn:
    errors.print(f"bode: {why}", markup=False)
    raise SystemExit(2) from None


def republish(*, config: Config = None) -> None:
    """Write the published folder anew from the database, where it was lost. The database is believed."""

    async def work(application: Application) -> int:
        evidence = application.settings.evidence
        if evidence is None:
            raise UsageError("the configuration has no [evidence]: see config/examples")
        return await assembly.build_checkpoints(evidence, application.database, application.clock).republish()

    the_evidence(config)
    console.print(f"published the log anew, up to the signed checkpoint of {with_application(config, work)} events")
