"""The Berichtenbox voor bedrijven, on the Federatief Berichtenstelsel's message store (FBS Berichtenmagazijn 0.2.0)."""

from bode_adapters.berichtenbox_bedrijven.box import BerichtenboxBedrijvenBox

__all__ = ["BerichtenboxBedrijvenBox"]
