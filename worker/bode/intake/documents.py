"""Documents: really a PDF, not encrypted, nothing that runs, not too large. Checked before a message is accepted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

import pikepdf

from bode.domain.message import Document
from bode.intake.faults import Fault

_MAX_OBJECTS = 200_000
_ACTIONS = ("/JavaScript", "/Launch", "/ImportData", "/SubmitForm", "/GoToR")


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """The most that is taken in. Boxes have limits of their own, and a letter has none."""

    max_bytes: int = 10_000_000
    max_total_bytes: int = 20_000_000
    max_pages: int = 500


def faults_of(documents: Sequence[Document], limits: DocumentLimits) -> list[Fault]:
    """Give what is wrong with the documents, each at its own place in the request. Never raises, whatever the bytes."""
    faults: list[Fault] = []
    total = sum(len(document.content) for document in documents)
    if total > limits.max_total_bytes:
        text = f"De documenten zijn samen te groot: {total} bytes, hoogstens {limits.max_total_bytes}."
        faults.append(Fault("#/documenten", "documenten_te_groot", text))
    for index, document in enumerate(documents):
        pointer = f"#/documenten/{index}/inhoud"
        size = len(document.content)
        if size > limits.max_bytes:
            text = f"Dit document is te groot: {size} bytes, hoogstens {limits.max_bytes}."
            faults.append(Fault(pointer, "document_te_groot", text))
        elif total <= limits.max_total_bytes:
            faults += [Fault(pointer, code, detail) for code, detail in _inside(document.content, limits)]
    return faults


def _inside(content: bytes, limits: DocumentLimits) -> Iterator[tuple[str, str]]:
    if not content[:1024].lstrip().startswith(b"%PDF-"):
        yield "geen_pdf", "Dit is geen PDF."
        return
    try:
        with pikepdf.open(BytesIO(content), attempt_recovery=False, suppress_warnings=True) as pdf:
            if len(pdf.objects) > _MAX_OBJECTS:
                yield "pdf_te_groot", "Deze PDF heeft te veel onderdelen."
                return
            pages = len(pdf.pages)
            if not 1 <= pages <= limits.max_pages:
                yield "paginas", f"Deze PDF heeft {pages} pagina's: minstens 1, hoogstens {limits.max_pages}."
            if _runs(pdf):
                yield "pdf_actief", "Deze PDF bevat scripts of acties. Lever hem zonder aan, het liefst als PDF/A."
    except pikepdf.PasswordError:
        yield "pdf_versleuteld", "Deze PDF is versleuteld. Lever hem zonder wachtwoord aan."
    except (pikepdf.PdfError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        # The reader's own errors, and what odd objects make it raise: to the sender they are one thing.
        yield "pdf_kapot", "Deze PDF is kapot en kan niet gelezen worden."


def _runs(pdf: pikepdf.Pdf) -> bool:
    """Tell whether anything in the file would run when it is opened."""
    if pikepdf.Name.OpenAction in pdf.Root and isinstance(pdf.Root.OpenAction, pikepdf.Dictionary):
        action = pdf.Root.OpenAction
        if str(action.get("/S", "")) in _ACTIONS:
            return True
    names = pdf.Root.get("/Names")
    if isinstance(names, pikepdf.Dictionary) and "/JavaScript" in names:
        return True
    for item in pdf.objects:
        if isinstance(item, pikepdf.Dictionary):
            if "/JS" in item and str(item.get("/S", "")) == "/JavaScript":
                return True
            if str(item.get("/S", "")) == "/Launch":
                return True
    return False
