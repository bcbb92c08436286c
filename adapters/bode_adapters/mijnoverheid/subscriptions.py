"""The subscription check: who takes messages of this type from this sender (operation ValidateAbonnementen).

SOAP 1.1 by Logius' BerichtenboxValidatieService.wsdl, the same for both transports. An answer is good for seven days:
Bode keeps when it was given, and asks again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final
from xml.etree import ElementTree as ET

import httpx

from bode_adapters.contract import Clock, Identifier, IdentifierKind, Reachability, Sender
from bode_adapters.mijnoverheid import limits, markup
from bode_adapters.mijnoverheid.settings import MijnOverheidSettings
from bode_adapters.rest import send

_SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
SERVICE: Final = "http://schemas.rdw.nl/GEB/BerichtenboxValidatieService/2009/01"
_TYPES: Final = "http://schemas.rdw.nl/GEB/BerichtenboxValidatieService/Types/2009/01"
_SHARED: Final = "http://schemas.rdw.nl/GEB/Shared/Types/2009/01"
_ACTION: Final = f"{SERVICE}/IBerichtenboxValidatieService/ValidateAbonnementen"
_TRUTH: Final[Mapping[str, bool]] = {"true": True, "1": True, "false": False, "0": False}
"""The words of xs:boolean."""

REACHABLE: Final[Mapping[bool, str]] = {True: "isBerichtSturen=true", False: "isBerichtSturen=false"}
"""The code of an answer: what the Berichtenbox said."""


class Subscriptions:
    """Asks the Berichtenbox, 250 addressees a call."""

    def __init__(
        self, settings: MijnOverheidSettings, *, clock: Clock, transport: httpx.AsyncBaseTransport | None
    ) -> None:
        """Keep the settings; `transport` stands in for the network in a test."""
        self._settings = settings
        self._clock = clock
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Make the client, where there is somebody to ask."""
        if self._settings.subscriptions is not None:
            headers = {"Accept": "text/xml", "SOAPAction": f'"{_ACTION}"'}
            self._client = self._settings.subscriptions.client(headers=headers, transport=self._transport)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def check(self, addressees: Sequence[Identifier], sender: Sender) -> Sequence[Reachability]:
        """Tell who is reachable, in the order asked; `None` where that could not be found out now."""
        numbers = list(dict.fromkeys(one.number for one in addressees if one.kind is IdentifierKind.BSN))
        most = limits.CHECKED
        calls = [self._ask(numbers[first : first + most], sender) for first in range(0, len(numbers), most)]
        said = {number: answer for found in await asyncio.gather(*calls) for number, answer in found.items()}
        # Companies and other legal persons have no MijnOverheid.
        no = Reachability(reachable=False, checked_at=self._clock(), code="addressee_kind")
        return [said[one.number] if one.kind is IdentifierKind.BSN else no for one in addressees]

    async def _ask(self, numbers: Sequence[str], sender: Sender) -> Mapping[str, Reachability]:
        """Make one call. Whoever is not in its answer is not known to be reachable, nor not to be."""
        found: Mapping[str, bool] = {}
        code = "not_offered"
        if self._client is not None:
            request = self._client.build_request(
                "POST",
                "",
                content=question(numbers, self._settings.leverancier_oin, sender.box_types.get(limits.CHANNEL, "")),
                headers={"Content-Type": "text/xml; charset=utf-8"},
            )
            response = await send(self._client, request)
            if not isinstance(response, httpx.Response):
                code = response.code
            elif response.status_code == HTTPStatus.OK:
                found, code = _answers(response.content), "not_in_answer"
            else:
                code = f"http_{response.status_code}"
        now = self._clock()
        return {
            number: Reachability(found.get(number), now, REACHABLE[found[number]] if number in found else code)
            for number in numbers
        }


def question(numbers: Sequence[str], leverancier: str, message_type: str) -> bytes:
    """Write the question about these BSNs."""
    envelope = ET.Element(f"{{{_SOAP}}}Envelope")
    body = ET.SubElement(envelope, f"{{{_SOAP}}}Body")
    asked = ET.SubElement(ET.SubElement(body, f"{{{SERVICE}}}ValidateAbonnementen"), f"{{{SERVICE}}}{_REQUEST}")
    ET.SubElement(asked, f"{{{_TYPES}}}berichtleverancierCode").text = leverancier
    ET.SubElement(asked, f"{{{_TYPES}}}berichtTypeCode").text = message_type
    customers = ET.SubElement(asked, f"{{{_TYPES}}}klanten")
    for number in numbers:
        customer = ET.SubElement(customers, f"{{{_SHARED}}}Klant")
        ET.SubElement(customer, f"{{{_SHARED}}}Key").text = number
        ET.SubElement(customer, f"{{{_SHARED}}}Rol").text = "Burger"
    return markup.write(envelope)


_REQUEST: Final = "validateAbonnementenAanvraag"


def _answers(content: bytes) -> Mapping[str, bool]:
    """Read who takes messages; nothing from an answer that cannot be read."""
    try:
        root = markup.read(content)
    except markup.UnreadableError:
        return {}
    found: dict[str, bool] = {}
    for one in root.iter(f"{{{_TYPES}}}Abonnement"):
        number = one.findtext(f"{{{_TYPES}}}klant/{{{_SHARED}}}Key")
        said = _TRUTH.get((one.findtext(f"{{{_TYPES}}}isBerichtSturen") or "").strip())
        if number is not None and said is not None:
            found[number.strip()] = said
    return found
