"""The notice says what L4 asks, and never what it forbids, whatever the facts hold."""

from dataclasses import fields, replace
from datetime import UTC, date, datetime
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from shutil import copytree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bode.compose.notice import NoticeComposer, NoticeFacts
from bode.compose.plain import one_line, paragraphs, without_bsn
from bode.compose.templates import TemplateError
from bode.compose.wording import duration_words, masked_email, typed_address, weekday_words
from bode.domain.message import Nature, Term, passes_eleven_test
from bode.domain.terms import Duration

FOLDER = Path(__file__).parents[2] / "config" / "notices"
COMPOSER = NoticeComposer(FOLDER)

FACTS = NoticeFacts(
    organisation="Gemeente Voorbeeld",
    nature=Nature.BESCHIKKING,
    consequences="U krijgt geen toeslag meer.\nU moet € 120 terugbetalen.\n\nU kunt bezwaar maken.",
    term=Term(duration=Duration(weeks=6)),
    last_day=date(2027, 1, 5),
    box_label="Berichtenbox van MijnOverheid",
    box_url="https://mijn.overheid.nl/",
    accessible_at=datetime(2026, 11, 23, 23, 30, tzinfo=UTC),
    organisation_contact="telefoon 14 030",
)

BSN = "123456782"
WRITTEN = (BSN, "123.456.782", "123 456 782", "1234.56.782", "123-456-782", "12345\u202e6782", "12345\x006782")
ODD = (
    "<script>alert(1)</script>",
    "#let x = 1",
    "$x$ @a",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "&amp;",
    "a\r\nBcc: b@c.nl",
    "\ud800",
)
odd_text = st.sampled_from(ODD) | st.text(st.characters(), max_size=80)


class Page(HTMLParser):
    """The tags, and the words as a person reads them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, dict[str, str | None]] = {}
        self.read: list[str] = []
        self._silent = False
        self.feed(html)
        self.words = " ".join(" ".join(self.read).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.setdefault(tag, dict(attrs))
        self._silent = tag in {"style", "title"}

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.read.append(data)


@pytest.mark.law("L4")
def test_notice_states_organisation_nature_consequences_and_last_day() -> None:
    notice = COMPOSER.compose(FACTS)
    for words in (" ".join(notice.text.split()), Page(notice.html).words):
        assert "Gemeente Voorbeeld heeft een bericht voor u" in words
        assert "Het is een besluit." in words
        assert "U krijgt geen toeslag meer. U moet € 120 terugbetalen. U kunt bezwaar maken." in words
        assert "U hebt de tijd tot en met dinsdag 5 januari 2027" in words
        assert "6 weken" not in words


@pytest.mark.law("L3")
def test_notice_says_which_box_holds_the_message_since_which_dutch_day() -> None:
    notice = COMPOSER.compose(FACTS)
    assert "sinds dinsdag 24 november 2026 in uw Berichtenbox van MijnOverheid" in notice.text
    assert notice.subject == "Gemeente Voorbeeld: er staat een bericht voor u in uw Berichtenbox van MijnOverheid"


@pytest.mark.law("L4")
def test_a_duration_is_named_when_no_last_day_is_known() -> None:
    text = COMPOSER.compose(replace(FACTS, last_day=None)).text
    assert "Doe dat binnen 6 weken. Deze termijn begint op de dag nadat het bericht in uw Berichtenbox" in text


@pytest.mark.law("L4")
def test_the_day_of_the_term_itself_is_named_when_none_was_computed() -> None:
    text = COMPOSER.compose(replace(FACTS, last_day=None, term=Term(last_day=date(2027, 3, 1)))).text
    assert "tot en met maandag 1 maart 2027" in text


@pytest.mark.law("L14")
def test_a_receipt_has_no_consequences_and_no_term() -> None:
    facts = replace(FACTS, nature=Nature.ONTVANGSTBEVESTIGING, consequences=None, term=None, last_day=None)
    notice = COMPOSER.compose(facts)
    for words in (notice.text, Page(notice.html).words):
        assert "Het is een ontvangstbevestiging." in words
        assert "gevolgen" not in words
        assert "Tot wanneer" not in words


@pytest.mark.law("L4")
@pytest.mark.parametrize("nature", Nature)
def test_every_nature_has_its_words(nature: Nature) -> None:
    assert f"Het is {nature.rules.label}." in COMPOSER.compose(replace(FACTS, nature=nature)).text


@pytest.mark.law("L5")
def test_other_boxes_with_the_same_message_are_named() -> None:
    text = COMPOSER.compose(replace(FACTS, placed_elsewhere=("MijnDomein", "MijnLoket"))).text
    assert "Hetzelfde bericht staat ook in uw MijnDomein en in uw MijnLoket." in text


def test_notice_tells_how_to_read_without_a_link_and_how_to_switch_off() -> None:
    notice = COMPOSER.compose(FACTS)
    for words in (notice.text, Page(notice.html).words):
        assert "typ zelf dit adres in: mijn.overheid.nl" in words
        assert "nooit om uw wachtwoord" in words
        assert "bij de instellingen" in words
        assert "Neem dan contact op met Gemeente Voorbeeld: telefoon 14 030" in words
        assert "://" not in words


def test_html_is_accessible_and_loads_nothing() -> None:
    html = COMPOSER.compose(FACTS).html
    page = Page(html)
    assert page.attributes["html"]["lang"] == "nl"
    assert page.tags.count("h1") == 1
    assert {"main", "h2", "ol", "li", "title"} <= set(page.tags)
    assert not {"a", "img", "link", "script", "iframe", "table"} & set(page.tags)
    assert "url(" not in html
    assert "background" not in html


@pytest.mark.parametrize("changes", [{}, {"term": None, "last_day": None}, {"consequences": None}, {"last_day": None}])
@pytest.mark.parametrize("elsewhere", [(), ("MijnDomein", "MijnLoket")])
def test_text_and_html_say_the_same_words_in_the_same_order(
    changes: dict[str, object], elsewhere: tuple[str, ...]
) -> None:
    notice = COMPOSER.compose(replace(FACTS, placed_elsewhere=elsewhere, **changes))
    plain = "".join(word for word in notice.text.split() if word not in {"1.", "2.", "3."})
    shown = "".join(Page(notice.html).words.split())
    # The heading says without a full stop what the text says with one.
    assert shown.replace(".", "") == plain.replace(".", "")


@pytest.mark.law("L4")
def test_there_is_no_place_for_what_a_notice_must_not_say() -> None:
    assert {field.name for field in fields(NoticeFacts)} == {
        "organisation",
        "nature",
        "consequences",
        "term",
        "last_day",
        "box_label",
        "box_url",
        "accessible_at",
        "placed_elsewhere",
        "organisation_contact",
    }


@pytest.mark.law("L4")
@given(before=odd_text, after=odd_text, written=st.sampled_from(WRITTEN))
@example(before="0", after="", written=BSN)  # ten digits are another number
def test_a_bsn_in_the_consequences_is_never_in_the_notice(before: str, after: str, written: str) -> None:
    consequences = f"{before} (BSN {written}) {after}"
    notice = COMPOSER.compose(replace(FACTS, consequences=consequences))
    for text in (notice.subject, notice.text, notice.html):
        assert f"(BSN {written})" not in text
    assert "(BSN *********)" in " ".join(notice.text.split())


@pytest.mark.parametrize("other", ["123456789", "0123456782", "1.123.456.782", "123.456.782,50", "12345678", "14 030"])
def test_numbers_that_are_no_bsn_stay(other: str) -> None:
    assert without_bsn(f"nummer {other}.") == f"nummer {other}."


@given(number=st.integers(0, 999_999_999))
def test_only_numbers_that_pass_the_eleven_test_are_hidden(number: int) -> None:
    digits = f"{number:09}"
    assert (digits in without_bsn(f"Zie {digits}.")) is not passes_eleven_test(digits)


@given(
    organisation=odd_text, consequences=odd_text, contact=odd_text, elsewhere=odd_text, nature=st.sampled_from(Nature)
)
def test_odd_facts_are_shown_and_never_run(
    organisation: str, consequences: str, contact: str, elsewhere: str, nature: Nature
) -> None:
    facts = replace(
        FACTS,
        organisation=organisation,
        consequences=consequences,
        organisation_contact=contact,
        placed_elsewhere=(elsewhere,),
        nature=nature,
    )
    notice = COMPOSER.compose(facts)
    plain = Page(COMPOSER.compose(FACTS).html)
    page = Page(notice.html)
    assert "\n" not in notice.subject
    assert "\r" not in notice.subject
    assert set(page.tags) <= {*plain.tags, "br"}
    hidden = [line for paragraph in paragraphs(without_bsn(consequences)) for line in paragraph]
    assert " ".join(" ".join(hidden).split()) in page.words
    assert one_line(organisation) in notice.text


def test_jinja_in_the_facts_is_text() -> None:
    notice = COMPOSER.compose(replace(FACTS, consequences="{{ 7 * 7 }} {% include 'x' %}"))
    assert "{{ 7 * 7 }} {% include 'x' %}" in notice.text
    assert "49" not in notice.text


def test_control_and_reordering_characters_disappear() -> None:
    assert one_line("Ge\u202emeente\x00\tX\r\nBcc: y\ufeff") == "Gemeente X Bcc: y"
    assert paragraphs("een\ntwee\r\n\r\n \n\x0bdrie\n") == [["een", "twee"], ["drie"]]
    assert one_line("e\u0301\ue000") == "é□"


@pytest.mark.law("L4")
def test_the_hash_is_of_exactly_what_is_sent_and_the_version_of_the_templates(tmp_path: Path) -> None:
    notice = COMPOSER.compose(FACTS)
    assert notice.sha256 == sha256(f"{notice.subject}{notice.text}{notice.html}".encode()).hexdigest()
    assert COMPOSER.compose(replace(FACTS, accessible_at=datetime(2026, 11, 24, 8, tzinfo=UTC))) == notice
    copytree(FOLDER, tmp_path / "notices")
    assert NoticeComposer(tmp_path / "notices").compose(FACTS).template == notice.template
    changed = tmp_path / "notices" / "onderwerp.txt.j2"
    changed.write_text(changed.read_text() + "!")
    name, _, version = NoticeComposer(tmp_path / "notices").compose(FACTS).template.partition("@")
    assert name == "kennisgeving"
    assert version != notice.template.partition("@")[2]


@pytest.mark.parametrize("name", ["onderwerp.txt.j2", "kennisgeving.txt.j2", "kennisgeving.html.j2"])
@pytest.mark.parametrize("source", [None, b"{{ organisation", b"{{ bsn }}", b"\xff"])
def test_a_template_that_cannot_be_used_stops_the_start_and_is_named(
    tmp_path: Path, name: str, source: bytes | None
) -> None:
    copytree(FOLDER, tmp_path / "notices")
    file = tmp_path / "notices" / name
    if source is None:
        file.unlink()
    else:
        file.write_bytes(source)
    with pytest.raises(TemplateError) as raised:
        NoticeComposer(tmp_path / "notices")
    assert raised.value.file == file
    assert str(file) in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "mijn.overheid.nl",
        "ftp://mijn.overheid.nl",
        "https://mijn.overheid.nl/?bericht=7",
        "https://mijn.overheid.nl/#7",
        "https://jan@mijn.overheid.nl/",
    ],
)
def test_an_address_that_is_no_plain_address_of_a_box_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        COMPOSER.compose(replace(FACTS, box_url=url))


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        COMPOSER.compose(replace(FACTS, accessible_at=datetime(2026, 11, 24, 9)))  # noqa: DTZ001


def test_dates_and_lengths_are_written_as_people_say_them() -> None:
    assert weekday_words(date(2027, 1, 5)) == "dinsdag 5 januari 2027"
    assert [duration_words(Duration.parse(text)) for text in ("P1W", "P6W", "P1M", "P3M", "P1D", "P14D")] == [
        "1 week",
        "6 weken",
        "1 maand",
        "3 maanden",
        "1 dag",
        "14 dagen",
    ]
    assert typed_address("https://www.voorbeeld.nl/mijn/") == "www.voorbeeld.nl/mijn"


@pytest.mark.law("L7")
@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("jan.jansen@voorbeeld.nl", "j…@voorbeeld.nl"),
        ("j@voorbeeld.nl", "…@voorbeeld.nl"),
        ('"a@b"@voorbeeld.nl', '"…@voorbeeld.nl'),
        ("geen adres", "…"),
        ("@voorbeeld.nl", "…"),
        ("", "…"),
    ],
)
def test_a_failed_address_is_shown_so_that_only_its_owner_knows_it(address: str, shown: str) -> None:
    assert masked_email(address) == shown
