"""A mock of the subscription check (BerichtenboxValidatieService), strict about its WSDL; part of both mock servers."""

from http import HTTPStatus
from typing import Any, Final
from xml.etree import ElementTree as ET

from litestar import Request, Response, post
from litestar.datastructures import State

from bode_adapters.mijnoverheid.markup import UnreadableError, read, write
from bode_adapters.mijnoverheid.mock_berichtenbox import box_of

PATH: Final = "/BerichtenboxValidatieService"
_SOAP: Final = "{http://schemas.xmlsoap.org/soap/envelope/}"
_SERVICE: Final = "{http://schemas.rdw.nl/GEB/BerichtenboxValidatieService/2009/01}"
_TYPES: Final = "{http://schemas.rdw.nl/GEB/BerichtenboxValidatieService/Types/2009/01}"
_SHARED: Final = "{http://schemas.rdw.nl/GEB/Shared/Types/2009/01}"
_ACTION: Final = '"http://schemas.rdw.nl/GEB/BerichtenboxValidatieService/2009/01/IBerichtenboxValidatieService/ValidateAbonnementen"'
_MOST: Final = 250


@post(PATH, status_code=200)
async def check_subscriptions(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    """Answer ValidateAbonnementen."""
    box = box_of(state)
    if (order := box.misbehaviour.take(ontvangers=(), prefixes=("vraag-http-",))) is not None:
        return Response(b"", status_code=order.status, headers=order.headers)
    try:
        if request.headers.get("SOAPAction") != _ACTION:
            raise UnreadableError("SOAPAction is not ValidateAbonnementen")  # noqa: TRY301  a refusal as the others
        numbers = _asked(await request.body())
    except UnreadableError as fault:
        return _fault(str(fault))
    envelope = ET.Element(f"{_SOAP}Envelope")
    answer = ET.SubElement(ET.SubElement(envelope, f"{_SOAP}Body"), f"{_SERVICE}ValidateAbonnementenResponse")
    result = ET.SubElement(answer, f"{_SERVICE}ValidateAbonnementenResult")
    # Real answers need not come in the order asked.
    for number in reversed(numbers):
        if (subscribed := box.is_subscribed(number)) is None:
            continue
        one = ET.SubElement(result, f"{_TYPES}Abonnement")
        customer = ET.SubElement(one, f"{_TYPES}klant")
        ET.SubElement(customer, f"{_SHARED}Key").text = number
        ET.SubElement(customer, f"{_SHARED}Rol").text = "Burger"
        ET.SubElement(one, f"{_TYPES}isBerichtSturen").text = "true" if subscribed else "false"
    return Response(write(envelope), media_type="text/xml")


def _asked(body: bytes) -> list[str]:
    """Read the BSNs of a question, element by element."""
    envelope = read(body)
    (inner,) = _exactly(envelope, f"{_SOAP}Envelope", f"{_SOAP}Body")
    (operation,) = _exactly(inner, f"{_SOAP}Body", f"{_SERVICE}ValidateAbonnementen")
    (asked,) = _exactly(operation, operation.tag, f"{_SERVICE}validateAbonnementenAanvraag")
    supplier, kind, customers = _exactly(
        asked, asked.tag, f"{_TYPES}berichtleverancierCode", f"{_TYPES}berichtTypeCode", f"{_TYPES}klanten"
    )
    if not (supplier.text and kind.text):
        raise UnreadableError("berichtleverancierCode and berichtTypeCode are asked for")
    numbers: list[str] = []
    for customer in customers:
        key, role = _exactly(customer, f"{_SHARED}Klant", f"{_SHARED}Key", f"{_SHARED}Rol")
        if role.text != "Burger" or not (key.text or "").isdigit():
            raise UnreadableError("a Klant is a Burger with a number")
        numbers.append(key.text or "")
    if not 1 <= len(numbers) <= _MOST:
        raise UnreadableError(f"{len(numbers)} klanten: 1 to {_MOST} are taken")
    return numbers


def _exactly(element: ET.Element, tag: str, *children: str) -> list[ET.Element]:
    if element.tag != tag or [child.tag for child in element] != list(children):
        raise UnreadableError(f"not the schema's order of elements in {element.tag.rpartition('}')[2]}")
    return list(element)


def _fault(words: str) -> Response[bytes]:
    envelope = ET.Element(f"{_SOAP}Envelope")
    fault = ET.SubElement(ET.SubElement(envelope, f"{_SOAP}Body"), f"{_SOAP}Fault")
    ET.SubElement(fault, "faultcode").text = "s:Client"
    ET.SubElement(fault, "faultstring").text = "ApplicationFault"
    detail = ET.SubElement(ET.SubElement(fault, "detail"), f"{_SHARED}ApplicationFault")
    ET.SubElement(detail, f"{_SHARED}Message").text = words
    return Response(write(envelope), media_type="text/xml", status_code=HTTPStatus.INTERNAL_SERVER_ERROR)
