"""The documents of the Berichtenbox as the mock reads and writes them: by the schemas of Logius, element by element.

Written apart from the adapter's, so that a mistake in one shows in the other.
"""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final
from xml.etree import ElementTree as ET

from bode_adapters.mijnoverheid.markup import UnreadableError, read, write
from bode_adapters.mijnoverheid.mock_berichtenbox import Batch, Outcome, Received

_BATCH: Final = "{http://schemas.rdw.nl/GEB/BerichtVerwerkService/Types/2009/01}"
_MESSAGE: Final = "{http://schemas.rdw.nl/GEB/BerichtenProsessor/Bericht/Types/2009/01}"
_RESULT: Final = "{http://schemas.rdw.nl/GEB/BerichtVerwerkService/BerichtResultaat/Types/2009/01}"
_MOST_MESSAGES: Final = 1000
_MOST_DOCUMENTS: Final = 2
_GUID: Final = re.compile(r"[\da-fA-F]{8}-[\da-fA-F]{4}-[\da-fA-F]{4}-[\da-fA-F]{4}-[\da-fA-F]{12}")

_Check = Callable[[str], bool]
_Form = Sequence[tuple[str, bool, _Check]]
"""The elements of a sequence: name, whether it must be there, and what its text must be."""


def _length(least: int, most: int) -> _Check:
    return lambda text: least <= len(text) <= most


def _moment(text: str) -> bool:
    # xs:dateTime allows a time without an offset; the mock does not: it would not know which moment is meant.
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _pdf(text: str) -> bool:
    try:
        return base64.b64decode(text, validate=True).startswith(b"%PDF-")
    except binascii.Error:
        return False


def _guid(text: str) -> bool:
    return _GUID.fullmatch(text) is not None


_BATCH_FORM: Final[_Form] = (
    ("BatchID", True, _guid),
    ("AanmaakDatum", True, _moment),
    ("BerichtLeverancierID", True, lambda text: re.fullmatch(r"[0-9]{20}", text) is not None),
)
_MESSAGE_FORM: Final[_Form] = (
    ("BatchID", True, _guid),
    ("BerichtID", True, _guid),
    ("BerichtType", True, _length(1, 8)),
    ("PublicatieDatum", False, _moment),
    ("EindDatumHandelingsTermijn", False, _moment),
    ("Onderwerp", True, _length(1, 50)),
    # A line break is four characters here; a real one would be shown as a blank.
    ("BerichtTekst", False, lambda text: len(text) <= 4000 and "\n" not in text and "\r" not in text),  # noqa: PLR2004
    ("Referentie", False, _length(0, 25)),
    ("GebruikerID", True, lambda text: re.fullmatch(r"[0-9]{9}", text) is not None),
    ("SoortGebruiker", True, lambda text: text == "Burger"),
)
_DOCUMENT_FORM: Final[_Form] = (
    ("Inhoud", True, _pdf),
    ("BijlageType", True, lambda text: text == "Pdf"),
    ("Omschrijving", True, _length(1, 128)),
    ("Volgorde", True, lambda text: text in {"1", "2"}),
)


def read_request(xml: bytes) -> tuple[str, str, datetime, list[Received]]:
    """Read a batch: its id, its supplier, its creation date and its messages. Raises `UnreadableError`."""
    root = read(xml)
    if root.tag != f"{_BATCH}Berichten" or len(root) == 0:
        raise UnreadableError("the root is not Berichten")
    about = _sequence(root[0], f"{_BATCH}BatchInformatie", _BATCH, _BATCH_FORM)
    messages = [_message(element, about["BatchID"]) for element in root[1:]]
    if not 1 <= len(messages) <= _MOST_MESSAGES:
        raise UnreadableError(f"{len(messages)} messages: 1 to {_MOST_MESSAGES} are taken")
    if len({message.id for message in messages}) < len(messages):
        raise UnreadableError("a BerichtID is in the batch twice")
    created = datetime.fromisoformat(about["AanmaakDatum"])
    return about["BatchID"], about["BerichtLeverancierID"], created, messages


def identities(xml: bytes) -> tuple[str | None, list[Received]]:
    """Read what can be read of a batch that is not valid: its id, and the ids of its messages."""
    try:
        root = read(xml)
    except UnreadableError:
        return None, []
    batch = root.findtext(f"{_BATCH}BatchInformatie/{_BATCH}BatchID")
    found = [element.text or "" for element in root.iter(f"{_MESSAGE}BerichtID")]
    return batch, [Received(one, "", "", None, 0, "XmlValidatieTegenXsdValtNegatiefUit") for one in found]


def _message(element: ET.Element, batch: str) -> Received:
    if element.tag != f"{_MESSAGE}Bericht" or not 1 <= len(element) <= 2:  # noqa: PLR2004  with documents or without
        raise UnreadableError("not a Bericht")
    about = _sequence(element[0], f"{_MESSAGE}BerichtInformatie", _MESSAGE, _MESSAGE_FORM)
    if about["BatchID"] != batch:
        raise UnreadableError("the BatchID of a message is not that of its batch")
    documents = list(element[1]) if len(element) > 1 else []
    if len(element) > 1 and (element[1].tag != f"{_MESSAGE}Bijlagen" or not 1 <= len(documents) <= _MOST_DOCUMENTS):
        raise UnreadableError("not Bijlagen of one or two")
    contents = [_sequence(one, f"{_MESSAGE}Bijlage", _MESSAGE, _DOCUMENT_FORM)["Inhoud"] for one in documents]
    publication = about.get("PublicatieDatum")
    return Received(
        id=about["BerichtID"],
        type=about["BerichtType"],
        user=about["GebruikerID"],
        publish_at=datetime.fromisoformat(publication) if publication is not None else None,
        documents_bytes=sum(len(base64.b64decode(content)) for content in contents),
    )


def _sequence(element: ET.Element, tag: str, namespace: str, form: _Form) -> dict[str, str]:
    """Read a sequence of texts; the order is the schema's, and nothing else may stand in it."""
    if element.tag != tag:
        raise UnreadableError(f"{tag.rpartition('}')[2]} is not there")
    left, found = list(element), dict[str, str]()
    for name, required, fits in form:
        if left and left[0].tag == f"{namespace}{name}":
            text = left.pop(0).text or ""
            if not fits(text):
                raise UnreadableError(f"{name} is not what the schema says")
            found[name] = text
        elif required:
            raise UnreadableError(f"{name} is not where it should be")
    if left:
        raise UnreadableError(f"{left[0].tag.rpartition('}')[2]} should not be there")
    return found


def write_report(batch: Batch, outcomes: Sequence[Outcome], processed: datetime) -> bytes:
    """Write a report on (a part of) a batch."""
    codes = [outcome.code for outcome in outcomes]
    root = ET.Element(f"{_BATCH}BerichtVerwerkResponse")
    about = ET.SubElement(root, "BatchInformatie")
    for name, text in (
        ("BerichtLeverancierCode", batch.supplier),
        ("BatchID", batch.id),
        ("TotaalAantalOntvangenBerichten", str(len(batch.messages))),
        ("AantalBerichtenSuccesvolVerwerkt", str(codes.count("Verwerkt"))),
        ("AantalBerichtenGeenActieveBoxOfGeabonneertOpLeverancier", str(codes.count("NietActiefOfGeabonneerd"))),
        ("AantalBerichtenMetTechnischProbleem", str(codes.count("TechnischProbleem"))),
        ("AantalBerichtenBerichtTypeNietCorrect", str(codes.count("BerichtTypeNietOndersteund"))),
        ("AantalBerichtenPublicatieDatumNietCorrect", str(codes.count("PublicatieDatumLigtTeVerInDeToekomst"))),
        ("AantalBerichtenAanmaakDatumNietCorrect", str(codes.count("AanmaakDatumLigtTeVerInHetVerleden"))),
        ("DatumOntvangen", _written(batch.created)),
        ("DatumVerwerkt", _written(processed)),
    ):
        ET.SubElement(about, name).text = text
    lines = ET.SubElement(root, "Berichten")
    for outcome in outcomes:
        line = ET.SubElement(lines, f"{_RESULT}Bericht")
        for name, text in (
            ("BerichtID", outcome.id),
            ("BerichtType", outcome.type),
            ("VerwerkingsCode", outcome.code),
            ("Stadium", outcome.stage),
        ):
            ET.SubElement(line, name).text = text
    return write(root)


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
