"""A mock of the Berichtenbox voor bedrijven: the FBS message store, for organisations only."""

from litestar import Litestar

from bode_adapters.berichtenbox_bedrijven.box import ADDRESSEES
from bode_adapters.contract import Clock
from bode_adapters.mijndomein.mock import create_mock as create_store


def create_mock(*, clock: Clock, token: str | None = None, text_in_list: bool = True) -> Litestar:
    """Give the mock as an ASGI app, commanded as that of MijnDomein; a BSN is refused as `ontvanger-onbekend`."""
    return create_store(clock=clock, token=token, text_in_list=text_in_list, addressees=ADDRESSEES)
