"""The documents of the Berichtenbox: a batch of messages (GLOBE batch request), and its results (GLOBE batch response).

Written and read by Logius' schemas of 2026 (GLOBEBatchRequest.xsd, GLOBEBatchResponse.xsd). `ebms-adapter-client` has a
builder for one message and a parser that demands a stage where the schema lets it be absent; batches are made here.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid5
from xml.etree import ElementTree as ET

from ebms_adapter_client.berichtenbox.builder import NS_BERICHT, NS_BERICHTEN

from bode_adapters.contract import BoxMessage, TimeSource
from bode_adapters.mijnoverheid import limits, markup
from bode_adapters.mijnoverheid.markup import UnreadableError
from bode_adapters.mijnoverheid.results import Moment, Result
from bode_adapters.rest import moment_of, written


@dataclass(frozen=True, slots=True)
class Batch:
    """One document to hand over: its batch id and its messages."""

    id: UUID
    messages: tuple[BoxMessage, ...]
    xml: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """What a result document says: about which batch, when it was processed, and a result or more per message."""

    batch: str
    moment: Moment
    results: Mapping[UUID, Sequence[Result]]


# ------------------------------------------------------------------------------------------------------------- writing


def batches(
    batch: UUID, messages: Sequence[BoxMessage], *, leverancier: str, created: datetime, most_bytes: int
) -> list[Batch]:
    """Give the documents that a batch is handed over in: one, or more when it is over 1000 messages or `most_bytes`.

    The same members make the same documents, in whatever order they come. The first has the id of the batch itself.
    """
    made: list[Batch] = []
    left = sorted(messages, key=lambda message: message.id)
    while left:
        part = batch if not made else uuid5(batch, f"part {len(made)}")
        head, tail = _head(part, leverancier, created), b"</Berichten>"
        size, parts = len(head) + len(tail), list[bytes]()
        for message in left[: limits.MESSAGES]:
            one = _bericht(part, message)
            if parts and size + len(one) > most_bytes:
                break
            parts.append(one)
            size += len(one)
        made.append(Batch(part, tuple(left[: len(parts)]), b"".join([head, *parts, tail])))
        del left[: len(parts)]
    return made


def members(xml: bytes) -> set[UUID]:
    """Give the ids of the messages in a batch that was written before. Raises `UnreadableError`."""
    found = (_id(element.text) for element in markup.read(xml).iter(f"{{{NS_BERICHT}}}BerichtID"))
    return {identity for identity in found if identity is not None}


def _head(batch: UUID, leverancier: str, created: datetime) -> bytes:
    root = ET.Element("Berichten", {"xmlns": NS_BERICHTEN})
    about = ET.SubElement(root, "BatchInformatie")
    _add(about, "BatchID", str(batch))
    _add(about, "AanmaakDatum", created.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))
    _add(about, "BerichtLeverancierID", leverancier)
    return markup.write(root).removesuffix(b"</Berichten>")


def _bericht(batch: UUID, message: BoxMessage) -> bytes:
    root = ET.Element("Bericht", {"xmlns": NS_BERICHT})
    about = ET.SubElement(root, "BerichtInformatie")
    _add(about, "BatchID", str(batch))
    _add(about, "BerichtID", str(message.id))
    _add(about, "BerichtType", message.sender.box_types[limits.CHANNEL])
    if message.publish_at is not None:
        _add(about, "PublicatieDatum", written(message.publish_at))
    _add(about, "Onderwerp", message.subject)
    _add(about, "BerichtTekst", limits.text_as_sent(message))
    if message.reference:
        _add(about, "Referentie", message.reference)
    _add(about, "GebruikerID", message.addressee.number)
    _add(about, "SoortGebruiker", "Burger")
    if message.documents:
        added = ET.SubElement(root, "Bijlagen")
        for place, document in enumerate(message.documents, start=1):
            one = ET.SubElement(added, "Bijlage")
            _add(one, "Inhoud", base64.b64encode(document.content).decode())
            _add(one, "BijlageType", "Pdf")
            _add(one, "Omschrijving", document.name)
            _add(one, "Volgorde", str(place))
    return markup.write(root, declaration=False)


def _add(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text


# ------------------------------------------------------------------------------------------------------------- reading


_RESPONSE: Final = "BerichtVerwerkResponse"


def read_report(xml: bytes, *, now: datetime) -> Report:
    """Read a result document. Raises `UnreadableError`.

    Names count without their namespace: the schema leaves the inner ones without any, and other makers give them one.
    """
    root = markup.read(xml)
    if _local(root) != _RESPONSE:
        raise UnreadableError(f"not a {_RESPONSE}")
    about = {_local(element): element.text or "" for element in _inside(root, "BatchInformatie")}
    at = moment_of(about.get("DatumVerwerkt"))
    moment = Moment(at, TimeSource.OTHER_SIDE) if at is not None else Moment(now, TimeSource.OUR_CLOCK)
    results: dict[UUID, list[Result]] = {}
    for element in _inside(root, "Berichten"):
        said = {_local(part): (part.text or "").strip() for part in element}
        identity = _id(said.get("BerichtID"))
        if identity is not None:
            results.setdefault(identity, []).append(
                Result(said.get("VerwerkingsCode", ""), said.get("Stadium") or None)
            )
    return Report(about.get("BatchID", ""), moment, results)


def _inside(root: ET.Element, name: str) -> Iterator[ET.Element]:
    return (child for element in root if _local(element) == name for child in element)


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _id(text: str | None) -> UUID | None:
    try:
        return UUID((text or "").strip())
    except ValueError:
        return None
