"""The letters say what L6 and L7 ask, as PDF/A for people and machines, and run nothing that comes from outside."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from shutil import copytree

import pikepdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bode.compose.letter import (
    DocumentError,
    Letter,
    LetterComposer,
    LetterReason,
    MessageLetterFacts,
    NoticeLetterFacts,
    NoticeLetterReason,
)
from bode.compose.templates import TemplateError
from bode.compose.typeset import STANDARDS
from bode.domain.message import Nature, PostalAddress, Term
from bode.domain.terms import Duration

FOLDER = Path(__file__).parents[2] / "config" / "letters"
COMPOSER = LetterComposer(FOLDER)

MESSAGE = MessageLetterFacts(
    organisation="Gemeente Voorbeeld",
    organisation_address=("Postbus 1", "1234 AB  VOORBEELD"),
    organisation_contact="telefoon 14 030",
    addressee_name="Ł. Żółć-Đorđević",
    address=PostalAddress("Kerkstraat", "12 a", "1234ab", "IJsselstein"),
    letter_date=date(2026, 11, 24),
    nature=Nature.BESCHIKKING,
    consequences="U krijgt geen toeslag meer. U kunt bezwaar maken.",
    term=Term(duration=Duration(weeks=6)),
    reference="Z-2026-4711",
    subject="Besluit over uw toeslag",
    text="Geachte mevrouw,\n\nU krijgt geen toeslag meer.\n\nMet vriendelijke groet,\nI. Ğ",
    why=LetterReason.NO_CHANNEL,
)
NOTICE = NoticeLetterFacts(
    organisation="Gemeente Voorbeeld",
    organisation_address=("Postbus 1", "1234 AB  VOORBEELD"),
    organisation_contact="telefoon 14 030",
    addressee_name="Ł. Żółć-Đorđević",
    address=PostalAddress("Kerkstraat", "12 a", "1234ab", "IJsselstein"),
    letter_date=date(2026, 11, 24),
    nature=Nature.BESCHIKKING,
    consequences="U krijgt geen toeslag meer. U kunt bezwaar maken.",
    term=Term(duration=Duration(weeks=6)),
    last_day=date(2027, 1, 5),
    box_label="Berichtenbox van MijnOverheid",
    box_url="https://mijn.overheid.nl",
    accessible_at=datetime(2026, 11, 20, 23, 30, tzinfo=UTC),
    failed_address="jan.jansen@voorbeeld.nl",
    why=NoticeLetterReason.NO_SUCH_ADDRESS,
)

ODD = (
    "#let x = 1",
    "#panic()",
    '#read("/etc/passwd")',
    "$x$",
    "@a",
    "<b>",
    "*a* _b_ `c` = d",
    '"]',
    "\\u{0}",
    "\ud800",
    "😀中",
)
odd_text = st.sampled_from(ODD) | st.text(st.characters(), max_size=60)


def words_of(letter: Letter) -> list[str]:
    """Give the words of each page, as the fonts' own tables say what their glyphs mean."""
    with pikepdf.open(BytesIO(letter.pdf)) as pdf:
        return [" ".join("".join(glyphs(page)).replace("\u200b", "").split()) for page in pdf.pages]


def glyphs(page: pikepdf.Page) -> Iterator[str]:
    meanings = {name: to_unicode(font) for name, font in page.obj.Resources.Font.items()}
    font = ""
    for operands, operator in pikepdf.parse_content_stream(page):
        match str(operator):
            case "Tf":
                font = str(operands[0])
            case "TJ" | "Tj":
                for part in operands[0] if str(operator) == "TJ" else operands:
                    if isinstance(part, pikepdf.String):
                        raw = bytes(part)
                        yield from (meanings[font][raw[at : at + 2]] for at in range(0, len(raw), 2))
            case "ET":
                yield " "
            case _:
                pass


def to_unicode(font: pikepdf.Object) -> dict[bytes, str]:
    table = font.ToUnicode.read_bytes().decode()
    pairs = re.findall(r"<([0-9A-F]{4})> <((?:[0-9A-F]{4})+)>$", table, re.MULTILINE)
    return {bytes.fromhex(glyph): bytes.fromhex(text).decode("utf-16-be") for glyph, text in pairs}


def document(pages: int, width: int) -> bytes:
    """A foreign PDF, with tags of its own, to be known again by its width."""
    pdf = pikepdf.new()
    for number in range(pages):
        pdf.add_blank_page(page_size=(width, 842))
        pdf.pages[-1].obj.StructParents = number
        annotation = pikepdf.Dictionary(Type=pikepdf.Name.Annot, StructParent=7)
        pdf.pages[-1].obj.Annots = pikepdf.Array([annotation, 3])
    content = BytesIO()
    pdf.save(content)
    return content.getvalue()


@pytest.mark.law("L6")
def test_message_letter_holds_the_whole_message() -> None:
    letter = COMPOSER.message_letter(MESSAGE)
    (words,) = words_of(letter)
    for part in (
        "Retouradres: Gemeente Voorbeeld, Postbus 1, 1234 AB VOORBEELD",
        "Ł. Żółć-Đorđević Kerkstraat 12 a 1234 AB IJSSELSTEIN",
        "Datum 24 november 2026 Ons kenmerk Z-2026-4711",
        "Besluit over uw toeslag",
        "Soort bericht een besluit Gevolgen U krijgt geen toeslag meer. U kunt bezwaar maken.",
        "binnen 6 weken na de dag waarop deze brief is verstuurd",
        "Geachte mevrouw, U krijgt geen toeslag meer. Met vriendelijke groet, I. Ğ",
        "U krijgt dit bericht op papier, omdat",
        "Neem dan contact op met Gemeente Voorbeeld: telefoon 14 030",
        "pagina 1 van 1",
    ):
        assert part in words


@pytest.mark.law("L6")
def test_a_fixed_last_day_stands_on_the_message_letter() -> None:
    (words,) = words_of(COMPOSER.message_letter(replace(MESSAGE, term=Term(last_day=date(2027, 1, 5)))))
    assert "U hebt de tijd tot en met dinsdag 5 januari 2027 ." in words
    assert "verstuurd" not in words


def test_nothing_is_said_about_a_term_or_consequences_that_are_not_there() -> None:
    (message,) = words_of(COMPOSER.message_letter(replace(MESSAGE, term=None, consequences=None)))
    (notice,) = words_of(COMPOSER.notice_letter(replace(NOTICE, term=None, last_day=None, consequences=None)))
    for words in (message, notice):
        assert "Gevolgen" not in words
        assert "ermijn" not in words


@pytest.mark.law("L6")
def test_each_reason_for_paper_has_its_own_sentence() -> None:
    said = {reason: words_of(COMPOSER.message_letter(replace(MESSAGE, why=reason)))[0] for reason in LetterReason}
    assert len(set(said.values())) == len(LetterReason)
    assert "niet in uw digitale berichtenbox konden plaatsen" in said[LetterReason.BOX_REFUSED]
    assert "niet per e-mail bij u konden bezorgen" in said[LetterReason.EMAIL_FAILED]
    assert "een medewerker van Gemeente Voorbeeld" in said[LetterReason.STAFF]


@pytest.mark.law("L7")
def test_notice_letter_says_what_happened_and_what_to_do() -> None:
    (words,) = words_of(COMPOSER.notice_letter(NOTICE))
    for part in (
        "Op zaterdag 21 november 2026 heeft Gemeente Voorbeeld een bericht voor u geplaatst",
        "in uw Berichtenbox van MijnOverheid",
        "j…@voorbeeld.nl . Die is niet aangekomen: dit e-mailadres bestaat niet.",
        "Soort bericht een besluit Gevolgen U krijgt geen toeslag meer.",
        "tot en met dinsdag 5 januari 2027",
        "typ dit adres in: mijn.overheid.nl",
        "ga naar de instellingen",
        "zet de e-mailmeldingen aan",
        "De termijn is begonnen op de dag nadat het bericht",
        "Neem dan zo snel mogelijk contact met ons op",
    ):
        assert part in words


@pytest.mark.law("L7")
def test_each_reason_why_a_notice_failed_has_its_own_sentence() -> None:
    said = {why: words_of(COMPOSER.notice_letter(replace(NOTICE, why=why)))[0] for why in NoticeLetterReason}
    assert "bestaat niet" in said[NoticeLetterReason.NO_SUCH_ADDRESS]
    assert "binnen 48 uur niet bereikbaar" in said[NoticeLetterReason.UNREACHABLE]
    assert "wij hebben geen e-mailadres van u" in said[NoticeLetterReason.NO_ADDRESS]


@pytest.mark.law("L7")
def test_notice_letter_names_the_duration_when_no_last_day_is_known() -> None:
    (words,) = words_of(COMPOSER.notice_letter(replace(NOTICE, last_day=None)))
    assert "binnen 6 weken na zaterdag 21 november 2026" in words


@pytest.mark.law("L15")
def test_a_fixed_last_day_is_not_said_to_run_from_the_placement() -> None:
    (words,) = words_of(COMPOSER.notice_letter(replace(NOTICE, term=Term(last_day=date(2027, 3, 1)), last_day=None)))
    assert "tot en met maandag 1 maart 2027" in words
    assert "De termijn is begonnen" not in words
    assert "Door deze brief krijgt u niet meer tijd." in words


@pytest.mark.law("L7")
def test_there_is_no_place_for_content_in_a_notice_letter() -> None:
    assert not {field.name for field in fields(NoticeLetterFacts)} & {
        "subject",
        "text",
        "documents",
        "reference",
        "case",
    }


@pytest.mark.law("L7")
@settings(max_examples=25, deadline=None)
@given(odd=odd_text, local=st.from_regex(r"qz[a-z]{4,18}", fullmatch=True))
def test_no_bsn_and_no_whole_address_in_a_notice_letter(odd: str, local: str) -> None:
    facts = replace(NOTICE, consequences=f"{odd} 123456782 {odd}", failed_address=f"{local}@voorbeeld.nl")
    letter = COMPOSER.notice_letter(facts)
    words = " ".join(words_of(letter))
    assert "123456782" not in words
    assert local not in words
    assert local.encode() not in letter.pdf


@pytest.mark.parametrize("facts", [MESSAGE, NOTICE])
def test_letters_claim_pdfa_and_pdfua_and_have_what_these_ask(facts: MessageLetterFacts | NoticeLetterFacts) -> None:
    is_message = isinstance(facts, MessageLetterFacts)
    letter = COMPOSER.message_letter(facts) if is_message else COMPOSER.notice_letter(facts)
    with pikepdf.open(BytesIO(letter.pdf)) as pdf:
        metadata = pdf.open_metadata()
        assert (metadata["pdfaid:part"], metadata["pdfaid:conformance"]) == ("2", "A")
        assert metadata["pdfuaid:part"] == "1"
        assert metadata["dc:title"]
        assert pdf.Root.Lang == "nl-NL"
        assert pdf.Root.MarkInfo.Marked
        assert "/StructTreeRoot" in pdf.Root
        assert pdf.Root.ViewerPreferences.DisplayDocTitle
        assert len(pdf.pages) == letter.pages
        for font in (font for page in pdf.pages for font in page.obj.Resources.Font.values()):
            descriptor = font.DescendantFonts[0].FontDescriptor
            assert "/FontFile3" in descriptor or "/FontFile2" in descriptor
        assert not pdf.check_pdf_syntax()
    assert letter.standards == STANDARDS


def test_the_same_facts_give_the_same_bytes_and_another_letterhead_another_version(tmp_path: Path) -> None:
    letter = COMPOSER.message_letter(MESSAGE)
    assert letter.sha256 == sha256(letter.pdf).hexdigest()
    copytree(FOLDER, tmp_path / "letters")
    assert LetterComposer(tmp_path / "letters").message_letter(MESSAGE) == letter
    letterhead = tmp_path / "letters" / "briefhoofd.typ"
    letterhead.write_text(letterhead.read_text() + "\n// ander briefhoofd\n")
    changed = LetterComposer(tmp_path / "letters").message_letter(MESSAGE)
    assert changed.template.startswith("bericht@")
    assert changed.template != letter.template


@settings(max_examples=60, deadline=None)
@given(odd=odd_text, other=odd_text)
def test_what_comes_from_outside_is_shown_and_never_run(odd: str, other: str) -> None:
    facts = replace(
        MESSAGE,
        organisation=odd,
        organisation_contact=other,
        addressee_name=odd,
        address=PostalAddress(odd, other, odd, other, odd),
        consequences=other,
        reference=odd,
        subject=other,
        text=odd,
    )
    assert COMPOSER.message_letter(facts).standards == STANDARDS


@pytest.mark.parametrize("code", ["#let x = 1", "#panic()", '#read("x")', "$x^2$", "@ref", "*vet*", "= Kop", "a -- b"])
def test_typst_code_is_printed_as_it_was_written(code: str) -> None:
    letter = COMPOSER.message_letter(replace(MESSAGE, text=f"voor {code} na", subject=code))
    assert f"voor {code} na" in words_of(letter)[0]


def test_characters_that_no_font_has_are_printed_as_a_box_and_reported() -> None:
    letter = COMPOSER.message_letter(replace(MESSAGE, text="lach 😀 中", addressee_name="中"))
    assert letter.unprintable == "中😀"
    assert "lach □ □" in words_of(letter)[0]
    assert letter.standards == STANDARDS


def test_a_twelve_page_text_has_its_number_and_sender_on_every_page() -> None:
    paragraph = "Deze alinea staat in een heel lange brief. " * 12
    letter = COMPOSER.message_letter(replace(MESSAGE, text="\n\n".join([paragraph] * 77)))
    pages = words_of(letter)
    assert letter.pages == len(pages) == 12
    for number, words in enumerate(pages, 1):
        assert f"pagina {number} van 12" in words
    for words in pages[1:]:
        assert words.startswith("Gemeente Voorbeeld 24 november 2026 · Z-2026-4711")


@pytest.mark.parametrize(
    "name",
    [
        "Stichting tot Behoud van het Cultuurhistorisch Erfgoed en de Natuurwaarden van de Utrechtse Heuvelrug",
        "Hottentottententententoonstellingsterreintoegangskaartenverkoopster " * 2,
    ],
)
def test_a_long_name_stays_in_the_window_with_the_whole_address(name: str) -> None:
    address = PostalAddress("Burgemeester van Bernuthstraat", "1", "10117", "Berlin", "Duitsland")
    letter = COMPOSER.message_letter(replace(MESSAGE, addressee_name=name, address=address))
    (words,) = words_of(letter)
    assert "Burgemeester van Bernuthstraat 1 10117 BERLIN DUITSLAND" in words
    with pikepdf.open(BytesIO(letter.pdf)) as pdf:
        sizes = [
            float(operands[1])
            for operands, operator in pikepdf.parse_content_stream(pdf.pages[0])
            if str(operator) == "Tf"
        ]
    assert min(size for size in sizes if size >= 8) < 10.5


@pytest.mark.law("L6")
def test_documents_follow_the_letter_in_their_order_and_end_the_claims() -> None:
    documents = (("Tekening.pdf", document(2, 500)), ("Voorwaarden.pdf", document(1, 600)))
    letter = COMPOSER.message_letter(replace(MESSAGE, documents=documents))
    with pikepdf.open(BytesIO(letter.pdf)) as pdf:
        assert [int(page.mediabox[2]) for page in pdf.pages] == [595, 500, 500, 600]
        metadata = pdf.open_metadata()
        assert not {"pdfaid:part", "pdfaid:conformance", "pdfuaid:part"} & set(metadata)
        assert metadata["dc:title"] == "Besluit over uw toeslag"
        for page in pdf.pages[1:]:
            assert "/StructParents" not in page.obj
            assert "/StructParent" not in page.obj.Annots[0]
        assert not pdf.check_pdf_syntax()
    assert letter.pages == 4
    assert letter.standards == ()
    assert COMPOSER.message_letter(replace(MESSAGE, documents=documents)) == letter


def test_documents_are_named_on_the_letter() -> None:
    facts = replace(MESSAGE, documents=(("Tekening #1.pdf", document(1, 500)),))
    with pikepdf.open(BytesIO(COMPOSER.message_letter(facts).pdf)) as pdf:
        assert "Bijlagen Tekening #1.pdf" in " ".join("".join(glyphs(pdf.pages[0])).split())


def test_a_document_that_is_no_pdf_or_has_a_password_is_named() -> None:
    with pytest.raises(DocumentError) as raised:
        COMPOSER.message_letter(replace(MESSAGE, documents=(("Foto.pdf", b"JFIF"),)))
    assert raised.value.name == "Foto.pdf"
    locked = BytesIO()
    with pikepdf.open(BytesIO(document(1, 500))) as pdf:
        pdf.save(locked, encryption=pikepdf.Encryption(owner="a", user="b"))
    with pytest.raises(DocumentError, match=r"'Slot\.pdf'.*password"):
        COMPOSER.message_letter(replace(MESSAGE, documents=(("Slot.pdf", locked.getvalue()),)))


def test_letters_can_be_written_from_several_threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        letters = list(pool.map(COMPOSER.notice_letter, [NOTICE] * 24))
    assert set(letters) == {COMPOSER.notice_letter(NOTICE)}


@pytest.mark.parametrize("name", ["briefhoofd.typ", "bericht.typ", "kennisgeving-mislukt.typ"])
def test_a_missing_template_stops_the_start_and_is_named(tmp_path: Path, name: str) -> None:
    copytree(FOLDER, tmp_path / "letters")
    (tmp_path / "letters" / name).unlink()
    with pytest.raises(TemplateError) as raised:
        LetterComposer(tmp_path / "letters")
    assert raised.value.file == tmp_path / "letters" / name


@pytest.mark.parametrize("name", ["briefhoofd.typ", "bericht.typ", "kennisgeving-mislukt.typ"])
@pytest.mark.parametrize("broken", ["#nergens", "#facts.bsn", "#(", '#text(font: "Nergens")[x]'])
def test_a_broken_template_stops_the_start_and_is_named_with_its_line(tmp_path: Path, name: str, broken: str) -> None:
    copytree(FOLDER, tmp_path / "letters")
    file = tmp_path / "letters" / name
    source = file.read_text()
    file.write_text(f"{source}{broken}\n")
    with pytest.raises(TemplateError) as raised:
        LetterComposer(tmp_path / "letters")
    assert raised.value.file == file
    assert f"line {source.count(chr(10)) + 1}:" in raised.value.fault


def test_a_fault_above_the_letterhead_is_named_with_its_own_line(tmp_path: Path) -> None:
    copytree(FOLDER, tmp_path / "letters")
    file = tmp_path / "letters" / "bericht.typ"
    file.write_text(f"#nergens\n{file.read_text()}")
    with pytest.raises(TemplateError, match=r"bericht\.typ cannot be used: line 1: unknown variable"):
        LetterComposer(tmp_path / "letters")


def test_a_letterhead_that_breaks_the_standards_stops_the_start(tmp_path: Path) -> None:
    copytree(FOLDER, tmp_path / "letters")
    file = tmp_path / "letters" / "briefhoofd.typ"
    file.write_text(file.read_text().replace("title: subject, ", ""))
    with pytest.raises(TemplateError, match="title"):
        LetterComposer(tmp_path / "letters")


def test_a_template_that_fails_on_some_facts_only_is_named_when_it_does(tmp_path: Path) -> None:
    copytree(FOLDER, tmp_path / "letters")
    file = tmp_path / "letters" / "bericht.typ"
    file.write_text(f'{file.read_text()}#if facts.subject == "Kapot" {{ panic("nee") }}\n')
    composer = LetterComposer(tmp_path / "letters")
    assert composer.message_letter(MESSAGE).pages == 1
    with pytest.raises(TemplateError, match=r"bericht\.typ cannot be used: line \d+: .*nee"):
        composer.message_letter(replace(MESSAGE, subject="Kapot"))


def test_a_template_without_the_letterhead_is_refused(tmp_path: Path) -> None:
    copytree(FOLDER, tmp_path / "letters")
    file = tmp_path / "letters" / "bericht.typ"
    file.write_text("Hallo")
    with pytest.raises(TemplateError, match=r'must have the line #import "briefhoofd\.typ"'):
        LetterComposer(tmp_path / "letters")


@pytest.mark.parametrize("reason", [*LetterReason, *NoticeLetterReason])
def test_a_reason_without_a_sentence_stops_the_start(tmp_path: Path, reason: LetterReason | NoticeLetterReason) -> None:
    copytree(FOLDER, tmp_path / "letters")
    name = "bericht.typ" if isinstance(reason, LetterReason) else "kennisgeving-mislukt.typ"
    file = tmp_path / "letters" / name
    file.write_text(file.read_text().replace(f"{reason.value}:", "iets-anders:"))
    with pytest.raises(TemplateError, match=reason.value):
        LetterComposer(tmp_path / "letters")


def test_a_document_that_does_not_hold_its_fonts_is_printed_and_counted() -> None:
    pdf = pikepdf.new()
    pdf.add_blank_page(page_size=(595, 842))
    font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
    pdf.pages[0].obj.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
    content = BytesIO()
    pdf.save(content)
    good = COMPOSER.message_letter(MESSAGE).pdf
    letter = COMPOSER.message_letter(replace(MESSAGE, documents=(("a.pdf", content.getvalue()), ("b.pdf", good))))
    assert (letter.pages, letter.fonts_missing, letter.standards) == (3, 1, ())


LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 60"><rect width="60" height="60" fill="#0b6"/></svg>'


def test_an_organisation_has_its_own_letterhead_and_the_rest_falls_back(tmp_path: Path) -> None:
    own = tmp_path / "00000001999000010000"
    own.mkdir()
    letterhead = (FOLDER / "briefhoofd.typ").read_text().replace("Retouradres: ", "Afzender: ")
    (own / "briefhoofd.typ").write_text(letterhead)
    composer = LetterComposer(FOLDER, own={own.name: own})
    assert "Afzender: " in words_of(composer.of(own.name).message_letter(MESSAGE))[0]
    assert composer.of("00000001999000020000").message_letter(MESSAGE) == COMPOSER.message_letter(MESSAGE)
    assert composer.of(own.name).message_letter(MESSAGE).template != COMPOSER.message_letter(MESSAGE).template


def test_a_logo_stands_on_the_letter_with_the_name_as_its_text_and_the_claims_hold(tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_text(LOGO)
    letter = LetterComposer(FOLDER, own={"1": tmp_path}).of("1").message_letter(MESSAGE)
    assert letter.standards == STANDARDS
    assert letter.template != COMPOSER.message_letter(MESSAGE).template
    with pikepdf.open(BytesIO(letter.pdf)) as pdf:
        said = [str(item.Alt) for item in pdf.objects if isinstance(item, pikepdf.Dictionary) and "/Alt" in item]
    assert said == ["Gemeente Voorbeeld"]


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("breifhoofd.typ", "", "it is none of"),
        ("logo.svg", "<svg", "line"),
        ("bericht.typ", "Hallo", "must have the line"),
    ],
)
def test_a_mistake_in_an_organisations_folder_stops_the_start(
    tmp_path: Path, name: str, content: str, fault: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(TemplateError, match=fault):
        LetterComposer(FOLDER, own={"1": tmp_path})
