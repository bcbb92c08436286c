"""A "Mijn" portal of one's own, on the Federatief Berichtenstelsel's message store (FBS Berichtenmagazijn 0.2.0)."""

from bode_adapters.mijndomein.box import MijnDomeinBox, MijnDomeinSettings

__all__ = ["MijnDomeinBox", "MijnDomeinSettings"]
