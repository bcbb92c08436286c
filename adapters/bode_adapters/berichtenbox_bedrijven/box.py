"""The box adapter for companies and other organisations in the trade register."""

from typing import ClassVar, Final

from bode_adapters.contract import IdentifierKind
from bode_adapters.mijndomein import MijnDomeinBox

ADDRESSEES: Final = frozenset({IdentifierKind.KVK, IdentifierKind.RSIN})


class BerichtenboxBedrijvenBox(MijnDomeinBox):
    """Places messages for a KVK number or RSIN; a person's message (BSN) is refused before anything is sent.

    There is no public specification of the Berichtenbox voor bedrijven itself. This speaks its successor's contract,
    the FBS message store, as `MijnDomeinBox` does, with settings and a lane of its own. That contract addresses an
    organisation as a whole: it has no field for a vestigingsnummer.
    """

    ADDRESSEES: ClassVar[frozenset[IdentifierKind]] = ADDRESSEES
