"""Documents at intake: really a PDF, nothing that runs, nothing hidden, and bounded work whatever the bytes."""

import io
import random
import resource
import threading
import time
import zlib
from collections.abc import Callable
from itertools import pairwise

import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name, String

from bode.intake import documents
from bode.intake.body import DocumentIn
from bode.intake.documents import DocumentLimits
from bode.intake.faults import Fault


@pytest.fixture(autouse=True)
def bounded():
    """The limits of the reader, as an intake sets them."""
    documents.bound_reader()


def a_pdf(change: Callable[[pikepdf.Pdf], None] | None = None, *, pages: int = 1, **how) -> bytes:
    pdf = pikepdf.new()
    for _ in range(pages):
        pdf.add_blank_page(page_size=(595, 842))
    if change is not None:
        change(pdf)
    out = io.BytesIO()
    pdf.save(out, **how)
    return out.getvalue()


def looked_into(*contents: bytes, limits: DocumentLimits | None = None) -> list[Fault]:
    items = [
        DocumentIn.model_construct(naam=f"{number}.pdf", mediatype="application/pdf", inhoud=content)
        for number, content in enumerate(contents)
    ]
    return documents.faults_of(items, limits or DocumentLimits())


def codes(*contents: bytes, limits: DocumentLimits | None = None) -> list[str]:
    return [fault.code for fault in looked_into(*contents, limits=limits)]


def script(code: str = "app.alert(1)") -> Dictionary:
    return Dictionary(S=Name.JavaScript, JS=String(code))


def by_hand(objects: dict[int, bytes]) -> bytes:
    """Write a PDF as it would be written by hand: whatever stands in its objects."""
    out, at = b"%PDF-1.4\n", {}
    for number, body in objects.items():
        at[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (max(objects) + 1)
    for number in range(1, max(objects) + 1):
        out += b"%010d 00000 n \n" % at[number] if number in at else b"0000000000 00000 f \n"
    return out + b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (max(objects) + 1, table)


CATALOG, PAGES, PAGE = (
    b"<</Type/Catalog/Pages 2 0 R>>",
    b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
    b"<</Type/Page/Parent 2 0 R>>",
)

# ------------------------------------------------------------------------------------------------------- what is fine


def test_an_ordinary_pdf_is_fine():
    assert codes(a_pdf(), a_pdf(pages=12)) == []
    assert codes(by_hand({1: CATALOG, 2: PAGES, 3: PAGE})) == []


@pytest.mark.parametrize("mode", list(pikepdf.ObjectStreamMode))
def test_packed_objects_and_numbers_with_an_id_of_their_own_are_fine(mode):
    def change(pdf: pikepdf.Pdf) -> None:
        pdf.Root.Number = pdf.make_indirect(5)
        pdf.Root.Real = pdf.make_indirect(Array([1, 2.5, True, None, String("x"), Name.Launch]))
        pdf.pages[0].Contents = pdf.make_stream(b"BT ET")

    assert codes(a_pdf(change, object_stream_mode=mode)) == []


def test_words_of_danger_in_a_text_are_fine():
    def change(pdf: pikepdf.Pdf) -> None:
        pdf.docinfo["/Title"] = String("Over /JavaScript, /Launch, /OpenAction en /EmbeddedFiles")
        pdf.pages[0].Contents = pdf.make_stream(b"BT (/S /JavaScript /JS) Tj ET")

    assert codes(a_pdf(change)) == []


def test_links_and_a_page_to_open_at_are_fine():
    def change(pdf: pikepdf.Pdf) -> None:
        link = Dictionary(
            Type=Name.Annot, Subtype=Name.Link, Rect=[0, 0, 9, 9], A=Dictionary(S=Name.URI, URI=String("https://a.nl"))
        )
        pdf.pages[0].Annots = pdf.make_indirect(Array([pdf.make_indirect(link)]))
        pdf.Root.OpenAction = Array([pdf.pages[0].obj, Name.Fit])

    assert codes(a_pdf(change)) == []


# ------------------------------------------------------------------------------------------------ what is no good PDF


@pytest.mark.parametrize(
    "content",
    [
        b"-",
        b"<html>%PDF-1.4</html>",
        b"PK\x03\x04",
        b"\n" + a_pdf(),
        b"GIF89a" + a_pdf(),
        b"\xef\xbb\xbf" + a_pdf(),
        b"%!PS-Adobe-3.0 PDF-1.4",
    ],
    ids=["byte", "html", "zip", "line-first", "gif-first", "bom", "postscript"],
)
def test_what_does_not_start_as_a_pdf_is_none(content):
    assert codes(content) == ["geen_pdf"]


@pytest.mark.parametrize(
    "content",
    [
        b"%PDF-1.7",
        b"%PDF-1.7\n%%EOF",
        a_pdf()[:200],
        a_pdf()[:-30],
        a_pdf() + b"PK\x03\x04" + bytes(5000),
        a_pdf() + b"<script>" * 500,
        b"%PDF-1.4\nstartxref\n99999999999999999999\n%%EOF",
        b"%PDF-1.4\nstartxref\n9\n%%EOF",
        by_hand({1: b"<</Type/Catalog>>"}),
        by_hand({1: b"[1 2]", 2: PAGES, 3: PAGE}),
        by_hand({1: CATALOG, 2: b"<</Type/Pages/Kids[2 0 R]/Count 1>>"}),
        by_hand({1: CATALOG, 2: PAGES, 3: b"[" * 600 + b"]" * 600}),
    ],
    ids=[
        *("header", "no-table", "first-half", "no-end", "zip-after", "html-after", "far", "itself", "no-pages"),
        *("odd-root", "loop", "nested"),
    ],
)
def test_a_broken_pdf_is_named_as_such(content):
    assert set(codes(content)) <= {"pdf_kapot", "paginas"}
    assert codes(content)


def test_page_trees_that_multiply_are_refused_at_once():
    kids = {n: b"<</Type/Pages/Count 1/Kids[%s]>>" % (b"%d 0 R " % (n + 1) * 50) for n in range(2, 12)}
    started = time.monotonic()
    assert codes(by_hand({1: CATALOG, **kids, 12: b"<</Type/Page/Parent 11 0 R>>"})) == ["pdf_kapot"]
    assert time.monotonic() - started < 5


def test_zero_pages_and_too_many_pages():
    assert codes(a_pdf(pages=0)) == ["paginas"]
    assert codes(a_pdf(pages=4), limits=DocumentLimits(max_pages=3)) == ["paginas"]
    assert codes(a_pdf(pages=3), limits=DocumentLimits(max_pages=3)) == []


@pytest.mark.parametrize("password", ["geheim", ""], ids=["with a password", "with an empty one"])
@pytest.mark.parametrize("method", [6, 4])
def test_an_encrypted_pdf_is_refused_even_when_it_opens(password, method):
    how = pikepdf.Encryption(owner="eigenaar", user=password, R=method)
    assert codes(a_pdf(encryption=how)) == ["pdf_versleuteld"]


def test_sizes_of_one_and_of_all():
    small = a_pdf()
    one = DocumentLimits(max_bytes=len(small) - 1)
    assert codes(small, limits=one) == ["document_te_groot"]
    both = looked_into(small, b"geen pdf", limits=DocumentLimits(max_total_bytes=len(small)))
    assert [(fault.pointer, fault.code) for fault in both] == [("#/documenten", "documenten_te_groot")]


def test_every_document_is_told_at_its_own_place():
    found = looked_into(b"nee", a_pdf(), a_pdf(pages=0))
    assert [(fault.pointer, fault.code) for fault in found] == [
        ("#/documenten/0/inhoud", "geen_pdf"),
        ("#/documenten/2/inhoud", "paginas"),
    ]


# ------------------------------------------------------------------------------------------------------- what may run


def _page(pdf: pikepdf.Pdf) -> pikepdf.Object:
    return pdf.pages[0].obj


def _opens_with(action: Dictionary) -> Callable[[pikepdf.Pdf], None]:
    def change(pdf: pikepdf.Pdf) -> None:
        pdf.Root.OpenAction = action

    return change


def _opens_with_numbered(action: Dictionary) -> Callable[[pikepdf.Pdf], None]:
    def change(pdf: pikepdf.Pdf) -> None:
        pdf.Root.OpenAction = pdf.make_indirect(Dictionary(dict(action.items())))

    return change


def _names(pdf: pikepdf.Pdf) -> None:
    pdf.Root.Names = Dictionary(JavaScript=Dictionary(Names=Array([String("a"), script()])))


def _names_numbered(pdf: pikepdf.Pdf) -> None:
    tree = pdf.make_indirect(Dictionary(Names=Array([String("a"), pdf.make_indirect(script())])))
    pdf.Root.Names = pdf.make_indirect(Dictionary(JavaScript=tree))


def _on_page_open(pdf: pikepdf.Pdf) -> None:
    _page(pdf).AA = Dictionary(O=Dictionary(S=Name.URI, URI=String("https://kwaad.example")))


def _after_another(pdf: pikepdf.Pdf) -> None:
    after = pdf.make_indirect(Array([pdf.make_indirect(Dictionary(S=Name.URI, URI=String("https://kwaad.example")))]))
    pdf.Root.OpenAction = Dictionary(S=Name.GoTo, D=Array([_page(pdf), Name.Fit]), Next=after)


def _in_a_link(pdf: pikepdf.Pdf) -> None:
    link = Dictionary(Subtype=Name.Link, A=Dictionary(S=Name.Launch, F=String("cmd.exe")))
    _page(pdf).Annots = Array([link])


def _in_a_field(pdf: pikepdf.Pdf) -> None:
    field = Dictionary(FT=Name.Tx, AA=Dictionary(K=script()))
    pdf.Root.AcroForm = Dictionary(Fields=Array([pdf.make_indirect(field)]))


def _sends_a_form(pdf: pikepdf.Pdf) -> None:
    button = Dictionary(Subtype=Name.Widget, A=Dictionary(S=Name.SubmitForm, F=String("https://kwaad.example")))
    field = pdf.make_indirect(button)
    _page(pdf).Annots = Array([field])
    pdf.Root.AcroForm = Dictionary(Fields=Array([field]))


def _xfa(pdf: pikepdf.Pdf) -> None:
    pdf.Root.AcroForm = Dictionary(Fields=Array([]), XFA=pdf.make_stream(b"<xdp/>"))


def _script_in_a_stream(pdf: pikepdf.Pdf) -> None:
    hidden = Dictionary(S=Name.JavaScript, JS=pdf.make_stream(b"app.alert(1)"))
    pdf.Root.Elsewhere = Array([Array([Dictionary(Deep=hidden)])])


def _in_the_dictionary_of_a_stream(pdf: pikepdf.Pdf) -> None:
    stream = pdf.make_stream(b"x")
    stream.Extra = script()
    pdf.Root.Elsewhere = stream


def _rich_media(pdf: pikepdf.Pdf) -> None:
    _page(pdf).Annots = Array([Dictionary(Subtype=Name.RichMedia)])


@pytest.mark.parametrize(
    "change",
    [
        _opens_with(script()),
        _opens_with_numbered(script()),
        _opens_with(Dictionary(S=Name.Launch, F=String("cmd.exe"))),
        _opens_with(Dictionary(S=Name.GoToR, F=String("//kwaad/x.pdf"))),
        _opens_with_numbered(Dictionary(S=Name.URI, URI=String("https://kwaad.example"))),
        _opens_with(Dictionary(S=Name.ImportData, F=String("x.fdf"))),
        *(_names, _names_numbered, _on_page_open, _after_another, _in_a_link, _in_a_field, _sends_a_form, _xfa),
        *(_script_in_a_stream, _in_the_dictionary_of_a_stream, _rich_media),
    ],
)
@pytest.mark.parametrize("mode", [pikepdf.ObjectStreamMode.disable, pikepdf.ObjectStreamMode.generate])
def test_what_runs_is_refused_wherever_it_hides(change, mode):
    assert codes(a_pdf(change, object_stream_mode=mode)) == ["pdf_actief"]


def test_a_name_spelled_with_hexadecimal_is_the_same_name():
    catalog = b"<</Type/Catalog/Pages 2 0 R/Open#41ction<</S/J#61vaScript/J#53(app.alert\\(1\\))>>>>"
    assert codes(by_hand({1: catalog, 2: PAGES, 3: PAGE})) == ["pdf_actief"]


def test_an_object_of_another_generation_is_seen():
    good = by_hand({1: CATALOG, 2: PAGES, 3: PAGE, 4: b"<</S/JavaScript/JS(x)>>"})
    other = good.replace(b"4 0 obj", b"4 7 obj").replace(b"00000 n \ntrailer", b"00007 n \ntrailer")
    assert codes(other) == ["pdf_actief"]


def test_actions_that_follow_each_other_in_a_circle_end():
    def change(pdf: pikepdf.Pdf) -> None:
        first = pdf.make_indirect(Dictionary(S=Name.GoTo))
        first.Next = pdf.make_indirect(Dictionary(S=Name.GoTo, Next=first))
        pdf.Root.OpenAction = first

    assert codes(a_pdf(change)) == []


def test_files_inside_a_pdf_are_refused():
    def change(pdf: pikepdf.Pdf) -> None:
        pdf.attachments["virus.exe"] = pikepdf.AttachedFileSpec(pdf, b"MZ", filename="virus.exe")

    assert codes(a_pdf(change)) == ["pdf_met_bestanden"]


# ------------------------------------------------------------------------------------------------------- bounded work


def a_bomb(streams: int, megabytes: int) -> bytes:
    """A PDF with packed objects that unpack to so many megabytes each, a thousand times their size."""
    out = bytearray(b"%PDF-1.5\n")
    entries = [(0, 0, 255)]

    def add(body: bytes) -> None:
        entries.append((1, len(out), 0))
        out.extend(b"%d 0 obj\n%s\nendobj\n" % (len(entries) - 1, body))

    for body in (CATALOG, PAGES, PAGE):
        add(body)
    first = len(entries)
    for number in range(first + streams, first + 2 * streams):
        packer = zlib.compressobj(9)
        head = (b"%d 0" % number).ljust(12) + b"<</A 1>>"
        packed = packer.compress(head) + b"".join(packer.compress(b" " * 1_048_576) for _ in range(megabytes))
        packed += packer.flush()
        add(
            b"<</Type/ObjStm/N 1/First 12/Filter/FlateDecode/Length %d>>\nstream\n%s\nendstream" % (len(packed), packed)
        )
    entries.extend((2, number, 0) for number in range(first, first + streams))
    at = len(out)
    entries.append((1, at, 0))
    table = zlib.compress(b"".join(bytes([kind]) + a.to_bytes(4, "big") + bytes([b]) for kind, a, b in entries))
    head = b"<</Type/XRef/Size %d/W[1 4 1]/Root 1 0 R/Filter/FlateDecode/Length %d>>" % (len(entries), len(table))
    out += b"%d 0 obj\n%s\nstream\n%s\nendstream\nendobj\n" % (len(entries) - 1, head, table)
    out += b"startxref\n%d\n%%%%EOF\n" % at
    return bytes(out)


def test_the_bomb_itself_is_a_good_pdf_when_it_is_small():
    assert codes(a_bomb(3, 0)) == []


def test_a_packed_part_that_unpacks_to_hundreds_of_megabytes_takes_no_such_memory():
    bomb = a_bomb(1, 300)
    assert len(bomb) < 600_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert set(codes(bomb)) <= {"pdf_kapot", "pdf_te_groot"}
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 150_000, f"{grown} kB"


def test_many_small_bombs_are_stopped_in_time_and_others_go_on_meanwhile():
    bomb = a_bomb(25, 15)
    ticks: list[float] = []
    done = threading.Event()

    def beat() -> None:
        while not done.wait(0.01):
            ticks.append(time.monotonic())

    other = threading.Thread(target=beat)
    other.start()
    started = time.monotonic()
    found = codes(bomb, limits=DocumentLimits(max_seconds=0.5))
    took = time.monotonic() - started
    done.set()
    other.join()
    assert found == ["pdf_te_groot"]
    assert took < 3
    assert max(later - earlier for earlier, later in pairwise(ticks)) < 1


def test_a_table_that_says_it_has_a_milliard_objects_costs_nothing():
    huge = by_hand({1: CATALOG, 2: PAGES, 3: PAGE}).replace(b"/Size 4", b"/Size 999999999")
    started = time.monotonic()
    assert set(codes(huge)) <= {"pdf_te_groot", "pdf_kapot"}
    assert codes(huge)
    assert time.monotonic() - started < 2


def test_bytes_changed_anywhere_never_raise():
    rng = random.Random(7)
    seeds = [a_pdf(_names), a_pdf(_in_a_field, object_stream_mode=pikepdf.ObjectStreamMode.generate), a_bomb(2, 0)]
    seen: set[str] = set()
    for turn in range(1500):
        content = bytearray(seeds[turn % len(seeds)])
        for _ in range(rng.choice((1, 2, 5, 20))):
            at = rng.randrange(9, len(content))
            match rng.randrange(3):
                case 0:
                    content[at] = rng.randrange(256)
                case 1:
                    del content[at : at + rng.randrange(1, 9)]
                case _:
                    content[at:at] = rng.choice((b"[", b"<<", b"null", b"/S/Launch", b"999999999", b"\0", b"9 0 R"))
        seen |= set(codes(bytes(content)))
    assert {"pdf_kapot", "pdf_actief"} <= seen
    assert "MemoryError" not in seen


def test_the_texts_are_dutch_and_hold_nothing_of_the_file():
    secret = b"999990019"
    for content in (secret, b"%PDF-" + secret, a_pdf(_names) + secret, a_pdf(pages=0)):
        for fault in looked_into(content):
            assert secret.decode() not in fault.detail
            assert fault.detail.endswith(".")
            assert fault.detail.split()[0] in {"Dit", "Deze", "In", "De"}
