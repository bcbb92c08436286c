"""XML, written whole and read with distrust: no document type, no entities, and no text of a document in an error."""

from xml.etree import ElementTree as ET

from defusedxml import DefusedXmlException, ElementTree  # type: ignore[import-untyped]


class UnreadableError(ValueError):
    """A document that is not what its sender's schema says; its text names the fault, never what was in it."""


def write(root: ET.Element, *, declaration: bool = True) -> bytes:
    """Write an element as UTF-8."""
    written: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=declaration)
    return written


def read(document: bytes) -> ET.Element:
    """Read a document that came in. Raises `UnreadableError`."""
    try:
        root: ET.Element = ElementTree.fromstring(document, forbid_dtd=True)
    except (ET.ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise UnreadableError(f"not XML: {type(error).__name__}") from None
    return root
