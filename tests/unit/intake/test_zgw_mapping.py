"""From a decision to a message: what a rule says, nothing guessed, and every reason a word without a value."""

from datetime import date
from pathlib import Path

import msgspec
import pytest

from bode.intake.zgw_mapping import (
    CONFIDENTIALITY,
    Found,
    MappingFileError,
    NoticeFrom,
    Rule,
    Unmapped,
    addressee,
    message_of,
    not_yet,
    read_rules,
    reference,
    rule_for,
    too_confidential,
)
from bode.settings import config_folder
from bode_adapters.zgw import wire

OIN = "00000001999000010000"
RULE = Rule(besluittype="*", aard="beschikking", onderwerp="{zaak.omschrijving}", tekst="{besluit.datum}.")
BESLUIT = wire.Besluit(
    url="https://x.example/besluiten/1",
    verantwoordelijke_organisatie="123456782",
    besluittype="https://x.example/kinds/1",
    datum=date(2026, 3, 2),
    identificatie="BESLUIT-1",
    uiterlijke_reactiedatum=date(2026, 4, 13),
)
HERE = wire.VerblijfsAdres("Maasveld", "Kade", "1234AB", 17, "a", "bis")
PERSON = wire.Betrokkene(
    inp_bsn="999990019", geslachtsnaam="Brief", voorvoegsel_geslachtsnaam="van", voorletters="J.", verblijfsadres=HERE
)
FIRM = wire.Betrokkene(kvk_nummer="12345678", handelsnaam=["Bakker"])
DOCUMENT = wire.Document("https://x.example/d/1", "Besluit: 1/2", 1, status="definitief", formaat="application/pdf")


def role(kind="natuurlijk_persoon", who=PERSON, part="initiator", email="jan@post.example.nl"):
    return wire.Rol(
        url="https://x.example/rollen/1",
        betrokkene_type=kind,
        omschrijving_generiek=part,
        contactpersoon_rol=wire.ContactPersoon(email),
        betrokkene_identificatie=who,
    )


def found(*rollen, documents=((DOCUMENT, b"%PDF"),), besluit=BESLUIT, zaak="Aanvraag dakkapel"):
    return Found(besluit, wire.Zaak("https://x.example/zaken/1", "Z-1", zaak), rollen or (role(),), documents)


def changed_struct(struct, **values):
    return msgspec.structs.replace(struct, **values)


def test_a_decision_becomes_a_message():
    body = message_of(RULE, found(), oin=OIN)
    assert body == {
        "afzender": OIN,
        "kenmerk": "BESLUIT-1",
        "zaak": "Z-1",
        "aard": "beschikking",
        "vertrouwelijkheid": "substantieel",
        "geadresseerde": {
            "soort": "BSN",
            "nummer": "999990019",
            "naam": "J. van Brief",
            "adres": {"straat": "Kade", "huisnummer": "17a-bis", "postcode": "1234AB", "woonplaats": "Maasveld"},
        },
        "kanalen": [],
        "kennisgeving": {"email": "jan@post.example.nl", "opgegevenDoor": "zaaksysteem"},
        "onderwerp": "Aanvraag dakkapel",
        "tekst": "02-03-2026.",
        "documenten": [{"naam": "Besluit- 1-2.pdf", "mediatype": "application/pdf", "inhoud": "JVBERg=="}],
    }


@pytest.mark.parametrize(
    ("kind", "who", "expected"),
    [
        ("vestiging", FIRM, ("KVK", "12345678", "Bakker")),
        (
            "niet_natuurlijk_persoon",
            wire.Betrokkene(inn_nnp_id="123456782", statutaire_naam="BV"),
            ("RSIN", "123456782", "BV"),
        ),
    ],
)
def test_an_organisation_is_addressed_by_its_number(kind, who, expected):
    given = message_of(RULE, found(role(kind, who)), oin=OIN)["geadresseerde"]
    assert (given["soort"], given["nummer"], given["naam"]) == expected
    assert "adres" not in given


def test_an_address_abroad_is_taken_where_it_is_whole():
    abroad = wire.Buitenland("België", "Kerkstraat 1", "2000 Antwerpen")
    given = message_of(RULE, found(role(who=changed_struct(PERSON, sub_verblijf_buitenland=abroad))), oin=OIN)
    assert given["geadresseerde"]["adres"] == {
        "straat": "Kerkstraat 1",
        "woonplaats": "2000 Antwerpen",
        "land": "België",
    }


@pytest.mark.parametrize(
    ("rol", "code"),
    [
        (role("medewerker"), "geadresseerde_van_andere_soort"),
        (role(who=wire.Betrokkene()), "geadresseerde_zonder_nummer"),
        (role(who=None), "geadresseerde_zonder_gegevens"),
    ],
)
def test_an_addressee_that_is_not_known_is_not_guessed(rol, code):
    with pytest.raises(Unmapped, match=code):
        message_of(RULE, found(rol), oin=OIN)


def test_the_first_kind_of_role_that_somebody_has_is_the_addressee():
    rule = changed_rule(rollen=("belanghebbende", "initiator"))
    one, other = role(), role(part="belanghebbende")
    assert addressee(rule, [one, other]) is other
    assert addressee(rule, [one]) is one
    for rollen, code in (([], "geen_geadresseerde"), ([other, other], "meer_geadresseerden")):
        with pytest.raises(Unmapped, match=code):
            addressee(rule, rollen)


def changed_rule(**values):
    return RULE.model_copy(update=values)


def test_the_notice_goes_where_the_rule_says():
    assert message_of(changed_rule(kennisgeving=NoticeFrom.PROFILE), found(), oin=OIN)["kennisgeving"] == {
        "uitProfiel": True
    }
    assert message_of(changed_rule(kennisgeving=NoticeFrom.NONE), found(), oin=OIN)["kennisgeving"] == {}
    assert message_of(RULE, found(role(email="")), oin=OIN)["kennisgeving"] == {}


@pytest.mark.law("L4")
def test_a_term_is_a_duration_or_the_day_that_the_decision_names():
    assert message_of(changed_rule(termijn="P6W"), found(), oin=OIN)["termijn"] == {"duur": "P6W"}
    latest = changed_rule(termijn="uiterlijkeReactiedatum")
    assert message_of(latest, found(), oin=OIN)["termijn"] == {"laatsteDatum": "2026-04-13"}
    with pytest.raises(Unmapped, match="geen_uiterlijke_reactiedatum"):
        message_of(latest, found(besluit=changed_struct(BESLUIT, uiterlijke_reactiedatum=None)), oin=OIN)


def test_a_long_subject_is_cut_and_a_long_reference_replaced_by_one_that_stays_the_same():
    assert len(message_of(RULE, found(zaak="x" * 80), oin=OIN)["onderwerp"]) == 50
    long = changed_struct(BESLUIT, identificatie="B" * 26)
    assert reference(long) == reference(long)
    assert len(reference(long)) <= 25
    assert reference(changed_struct(long, url="https://x.example/besluiten/2")) != reference(long)


def test_documents_have_different_names():
    body = message_of(RULE, found(documents=((DOCUMENT, b"a"), (DOCUMENT, b"b"))), oin=OIN)
    assert [item["naam"] for item in body["documenten"]] == ["Besluit- 1-2.pdf", "Besluit- 1-2 (2).pdf"]
    with pytest.raises(Unmapped, match="document_geen_pdf"):
        message_of(RULE, found(documents=((changed_struct(DOCUMENT, formaat="image/png"), b""),)), oin=OIN)


@pytest.mark.law("L2")
def test_no_document_above_the_ceiling_goes_nor_one_that_does_not_say():
    for number, ceiling in enumerate(CONFIDENTIALITY):
        allowed = [
            word
            for word in (*CONFIDENTIALITY, "", "onbekend")
            if not too_confidential(changed_struct(DOCUMENT, vertrouwelijkheidaanduiding=word), ceiling)
        ]
        assert allowed == list(CONFIDENTIALITY[: number + 1])


def test_only_what_is_final_goes():
    words = ("in_bewerking", "ter_vaststelling", "", "definitief", "gearchiveerd", "anders")
    assert [word for word in words if not not_yet(changed_struct(DOCUMENT, status=word))] == [
        "definitief",
        "gearchiveerd",
    ]


def test_the_rule_of_a_kind_goes_before_the_one_for_others():
    own = changed_rule(besluittype=BESLUIT.besluittype)
    assert rule_for([RULE, own], BESLUIT.besluittype) is own
    assert rule_for([RULE, own], "https://x.example/kinds/2") is RULE
    with pytest.raises(Unmapped, match="geen_regel"):
        rule_for([own], "https://x.example/kinds/2")


def test_the_example_can_be_used():
    (rule,) = read_rules(config_folder() / "zgw" / "voorbeeld.toml")
    assert message_of(rule, found(), oin=OIN)["termijn"] == {"duur": "P6W"}


GOOD = 'versie = 1\n[[besluit]]\nbesluittype = "*"\naard = "beschikking"\nonderwerp = "x"\ntekst = "x"\n'


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("versie = 2", "versie"),
        ("versie = 1", "besluit"),
        ("= 1", "no TOML"),
        (GOOD + 'kleur = "rood"', "kleur"),
        (GOOD + GOOD.removeprefix("versie = 1\n"), "once"),
        (GOOD.replace('tekst = "x"', 'tekst = "{besluit.bsn}"'), "besluit.bsn"),
    ],
)
def test_a_mapping_that_cannot_be_used_is_refused_by_name(tmp_path: Path, text, what):
    file = tmp_path / "mapping.toml"
    file.write_text(text)
    with pytest.raises(MappingFileError, match=what) as raised:
        read_rules(file)
    assert str(file) in str(raised.value)
    with pytest.raises(MappingFileError, match="No such file"):
        read_rules(tmp_path / "nergens.toml")
