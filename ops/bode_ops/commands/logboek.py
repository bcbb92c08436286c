"""`bode logboek`: what stands for a person in the Logboek Dataverwerkingen, to answer who asks after theirs."""

from __future__ import annotations

import sys
from getpass import getpass

from cyclopts import App

from bode.domain.message import AddresseeKind
from bode_ops.assembly import Application
from bode_ops.commands.base import Config, UsageError, console, with_application

logboek_app = App(name="logboek", help="The log of data processing (Logboek Dataverwerkingen).")


@logboek_app.command(name="pseudonym")
def logboek_pseudonym(kind: AddresseeKind = AddresseeKind.BSN, /, *, config: Config = None) -> None:
    """Print what stands for a person in `dpl.core.data_subject_id`; two lines while the key of look-ups is changed.

    The number is asked for, or read from standard input: on the command line others would see it.
    """
    number = (getpass("Number: ") if sys.stdin.isatty() else sys.stdin.readline()).strip()
    if not number.isdigit():
        raise UsageError("a number is digits only, on the first line of standard input")

    async def work(application: Application) -> tuple[str, ...]:
        return application.parts.vault.pseudonyms(kind, number)

    for pseudonym in with_application(config, work):
        console.print(pseudonym)
