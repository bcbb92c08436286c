"""Documents: really a PDF, not encrypted, nothing that runs, not too large. Checked before a message is accepted."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

import pikepdf
from pikepdf.settings import set_qpdf_limits

from bode.intake.body import DocumentIn
from bode.intake.faults import Fault

_MAX_OBJECTS = 200_000
_MAX_PACKED = 16 << 20
"""Bytes that one packed part may have when unpacked: tables of contents stay far under it, bombs do not."""
_END_WITHIN = 1024

_RUNS = frozenset({"/JavaScript", "/Launch", "/ImportData", "/SubmitForm", "/GoToE", "/Rendition", "/RichMediaExecute"})
_RUNS_BY_ITSELF = _RUNS | {"/GoToR", "/URI"}
"""What may stand under a link for a person to click, but not happen by itself when the document is opened."""
_TRIGGERS = frozenset({"/OpenAction", "/AA"})
_KINDS_THAT_RUN = frozenset({"/RichMedia", "/3D", "/Movie", "/Sound", "/Screen"})
_KEYS_THAT_RUN = frozenset({"/JS", "/JavaScript", "/XFA"})
_KEYS_OF_FILES = frozenset({"/EF", "/EmbeddedFiles"})
# A first look in what the reader writes back, in which every name has one spelling; most objects need no second.
_SUSPECT = re.compile(
    rb"/(JavaScript|JS|Launch|ImportData|SubmitForm|GoToE|Rendition|RichMedia\w*|3D|Movie|Sound|Screen|OpenAction|AA|"
    rb"XFA|EF|EmbeddedFiles?)(?![\w#-])"
)


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """The most that is taken in. Boxes have limits of their own, and a letter has none."""

    max_bytes: int = 10_000_000
    max_total_bytes: int = 20_000_000
    max_pages: int = 500
    max_seconds: float = 10.0
    """How long looking inside one document may take."""


def bound_reader() -> None:
    """Set, for this process, how much the PDF reader unpacks and how deep it reads. Call it once, at start."""
    set_qpdf_limits(flate_max_memory=_MAX_PACKED, run_length_max_memory=_MAX_PACKED, max_stream_filters=5)


def faults_of(documents: Sequence[DocumentIn], limits: DocumentLimits) -> list[Fault]:
    """Give what is wrong with the documents, each at its own place in the request. Never raises, whatever the bytes."""
    faults: list[Fault] = []
    total = sum(len(document.inhoud or b"") for document in documents)
    if total > limits.max_total_bytes:
        text = f"De documenten zijn samen te groot: {total} bytes, hoogstens {limits.max_total_bytes}."
        faults.append(Fault("#/documenten", "documenten_te_groot", text))
    for index, document in enumerate(documents):
        pointer = f"#/documenten/{index}/inhoud"
        if document.inhoud is None:
            continue
        size = len(document.inhoud)
        if size > limits.max_bytes:
            text = f"Dit document is te groot: {size} bytes, hoogstens {limits.max_bytes}."
            faults.append(Fault(pointer, "document_te_groot", text))
        elif total <= limits.max_total_bytes:
            faults += [Fault(pointer, code, detail) for code, detail in _inside(document.inhoud, limits)]
    return faults


class _TooMuch(Exception):  # noqa: N818 - no error, a limit
    """The document takes longer to look into than it may."""


def _inside(content: bytes, limits: DocumentLimits) -> Iterator[tuple[str, str]]:
    # From the first byte to the last: a file that is also something else (a web page, a ZIP) is not taken in.
    if not content.startswith(b"%PDF-"):
        yield "geen_pdf", "Dit is geen PDF."
        return
    if b"%%EOF" not in content[-_END_WITHIN:]:
        yield "pdf_kapot", "Deze PDF is kapot: het einde ontbreekt."
        return
    try:
        with pikepdf.open(BytesIO(content), attempt_recovery=False, suppress_warnings=True) as pdf:
            yield from _faults_in(pdf, limits)
    except pikepdf.PasswordError:
        yield "pdf_versleuteld", "Deze PDF is versleuteld. Lever hem zonder wachtwoord aan."
    except (_TooMuch, MemoryError):
        yield "pdf_te_groot", "Deze PDF heeft te veel onderdelen."
    except (
        *(pikepdf.PdfError, pikepdf.ForeignObjectError, pikepdf.DataDecodingError, pikepdf.DependencyError),
        *(RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, NotImplementedError),
    ):
        # The reader's own errors, and what odd objects make it raise: to the sender they are one thing.
        yield "pdf_kapot", "Deze PDF is kapot en kan niet gelezen worden."


def _faults_in(pdf: pikepdf.Pdf, limits: DocumentLimits) -> Iterator[tuple[str, str]]:
    until = time.monotonic() + limits.max_seconds
    if pdf.is_encrypted:
        # Opened with an empty password, but a box or a printer need not manage that.
        yield "pdf_versleuteld", "Deze PDF is versleuteld. Lever hem zonder wachtwoord aan."
        return
    found: set[str] = set()
    for item in _objects(pdf, until):
        clear = item.stream_dict if isinstance(item, pikepdf.Stream) else item
        if _is_container(clear) and _SUSPECT.search(clear.unparse(resolved=True)):
            found |= _findings(clear, until)
    pages = len(pdf.pages)
    if not 1 <= pages <= limits.max_pages:
        yield "paginas", f"Deze PDF heeft {pages} pagina's: minstens 1, hoogstens {limits.max_pages}."
    if "active" in found:
        yield "pdf_actief", "Deze PDF bevat scripts of acties. Lever hem zonder aan, het liefst als PDF/A."
    if "files" in found:
        yield "pdf_met_bestanden", "In deze PDF zitten andere bestanden. Lever ze apart aan, als PDF."


def _objects(pdf: pikepdf.Pdf, until: float) -> Iterator[pikepdf.Object]:
    """Give every numbered object. Unpacks one by one, so that it can be stopped: there may be a bomb in each."""
    size = int(pdf.trailer.get("/Size", 0))
    if size > _MAX_OBJECTS:
        raise _TooMuch
    for number in range(1, size):
        pdf.get_object(number, 0)
        _check(until)
    if len(pdf.objects) > _MAX_OBJECTS:
        raise _TooMuch
    for item in pdf.objects:
        _check(until)
        yield item


def _check(until: float) -> None:
    if time.monotonic() > until:
        raise _TooMuch


def _findings(whole: pikepdf.Object, until: float) -> set[str]:
    """Give what is in an object, and in what stands inside it: "active" and "files"."""
    found: set[str] = set()
    seen: set[tuple[int, int]] = set()
    todo: list[tuple[str, pikepdf.Object, bool]] = [("", whole, False)]
    while todo:
        _check(until)
        key, item, by_itself = todo.pop()
        if item.is_indirect:
            # What has a number of its own gets its own turn; only what happens by itself is followed to its end.
            action = key in _TRIGGERS or (by_itself and (isinstance(item, pikepdf.Array) or _name(item, "/S")))
            if item is not whole and (not action or item.objgen in seen):
                continue
            seen.add(item.objgen)
        by_itself = by_itself or key in _TRIGGERS
        if isinstance(item, pikepdf.Array):
            todo += [("", child, by_itself) for child in item if _is_container(child)]
            continue
        keys = set(item.keys())
        runs = _RUNS_BY_ITSELF if by_itself else _RUNS
        if keys & _KEYS_THAT_RUN or _name(item, "/S") in runs or _name(item, "/Subtype") in _KINDS_THAT_RUN:
            found.add("active")
        if keys & _KEYS_OF_FILES:
            found.add("files")
        todo += [(name, child, by_itself) for name, child in item.items() if _is_container(child)]
    return found


def _is_container(item: object) -> bool:
    return isinstance(item, (pikepdf.Dictionary, pikepdf.Array))


def _name(item: pikepdf.Object, key: str) -> str:
    value = item.get(key) if isinstance(item, pikepdf.Dictionary) else None
    return str(value) if isinstance(value, pikepdf.Name) else ""
