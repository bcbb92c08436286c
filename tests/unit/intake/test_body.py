"""Requests: every fault at once, in Dutch, at its place; whatever the bytes are; and what has no fault is a message."""

import copy
import json
import re
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bode.domain.message import Confidentiality, Nature, PostalAddress
from bode.domain.policy import Channel, ChannelKind
from bode.intake import body as request
from bode.intake.faults import Refused

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
OIN = "00000001999000010000"
CHANNELS = {
    "mijnoverheid": Channel("mijnoverheid", ChannelKind.BOX, "Berichtenbox", Confidentiality.HOOG, can_check=True),
    "mijndomein": Channel("mijndomein", ChannelKind.BOX, "Mijn Gemeente", Confidentiality.SUBSTANTIEEL),
    "email": Channel("email", ChannelKind.EMAIL, "e-mail", Confidentiality.LAAG),
}
VALID = {
    "afzender": OIN,
    "kenmerk": "MV-2026-0001",
    "zaak": "Z-00001",
    "aard": "beschikking",
    "rechtsgevolgen": "De gemeente heeft een besluit genomen over uw aanvraag. U kunt bezwaar maken.",
    "termijn": {"duur": "P6W"},
    "vertrouwelijkheid": "substantieel",
    "publicatieTijdstip": "2026-03-03T08:00:00+01:00",
    "geadresseerde": {
        "soort": "BSN",
        "nummer": "999990019",
        "naam": "Sanne de Vries",
        "adres": {"straat": "Dorpsstraat", "huisnummer": "1", "postcode": "1234 AB", "woonplaats": "Maasveld"},
    },
    "kanalen": [
        {"kanaal": "mijnoverheid", "grondslag": "controleren"},
        {"kanaal": "mijndomein", "grondslag": "aangemeld", "sindsDatum": "2024-03-01"},
    ],
    "kennisgeving": {
        "email": "sanne.de.vries@post.example.nl",
        "opgegevenDoor": "geadresseerde",
        "opgegevenTijdstip": "2025-06-01T10:00:00Z",
    },
    "onderwerp": "Besluit over uw dakkapel",
    "tekst": "Beste mevrouw,\n\nWij hebben een besluit genomen.",
    "documenten": [{"naam": "besluit.pdf", "mediatype": "application/pdf", "inhoud": "JVBERi0="}],
}
NOTHING = object()


def changed(changes):
    """The valid request with changes by path, as `geadresseerde.nummer` or `kanalen.0.kanaal`."""
    value = copy.deepcopy(VALID)
    for path, new in changes.items():
        *parents, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
        here = value
        for part in parents:
            here = here[part]
        if new is NOTHING:
            here.pop(last, None)
        else:
            here[last] = new
    return value


def found_in(raw):
    read = request.read(raw)
    return read.faults + request.faults_of(read, organisations=frozenset({OIN}), channels=CHANNELS, now=NOW)


def faults(changes):
    return found_in(json.dumps(changed(changes)).encode())


def told(changes):
    return {(fault.pointer, fault.code) for fault in faults(changes)}


def test_the_valid_request_has_no_fault():
    assert told({}) == set()


# -------------------------------------------------------------------------------------------- each fault, at its place

WITHDRAWAL = {"aard": "intrekking", "termijn": NOTHING, "betreft": "MV-2025-0009"}

EACH = [
    ("", "leeg", b""),
    ("", "leeg", b" \r\n\t"),
    ("", "geen_utf8", json.dumps(changed({"onderwerp": "Besluit café"}), ensure_ascii=False).encode("latin-1")),
    ("", "geen_utf8", json.dumps(VALID).encode("utf-16")),
    ("", "json_invalid", json.dumps(VALID).encode("utf-8-sig")),
    ("", "json_invalid", b"{"),
    ("", "json_invalid", b'{"kenmerk": NaN}'),
    ("", "json_invalid", b'{"kenmerk": -Infinity}'),
    ("", "json_invalid", b'{"kenmerk": 1}{"kenmerk": 1}'),
    ("", "json_invalid", b"{'kenmerk': 'x'}"),
    ("", "json_invalid", b'{"kenmerk": "a\x00b"}'),
    ("", "json_invalid", b"[" * 5000 + b"]" * 5000),
    ("", "te_veel_onderdelen", b"[" * 1_000_000),
    ("", "te_veel_onderdelen", b"[" + b"{}," * 20_001),
    ("", "te_veel_fouten", json.dumps(dict.fromkeys(map(str, range(300)))).encode()),
    ("", "model_type", b"[]"),
    ("", "model_type", b"null"),
    ("", "model_type", b'"tekst"'),
    ("", "model_type", b"1e400"),
    ("/kenmerk", "veld_dubbel", b'{"kenmerk": "a", "kenmerk": "a"}'),
    ("/geadresseerde/naam", "veld_dubbel", b'{"geadresseerde": {"naam": "a", "soort": "x", "naam": "a"}}'),
    ("", "veld_dubbel", b'{"999990019": "a", "999990019": "a"}'),
    ("/afzender", "missing", {"afzender": NOTHING}),
    ("/afzender", "string_pattern_mismatch", {"afzender": "1"}),
    ("/afzender", "string_pattern_mismatch", {"afzender": "٠" * 20}),
    ("/afzender", "string_type", {"afzender": 10**19}),
    ("/afzender", "afzender_onbekend", {"afzender": "0" * 20}),
    ("/kenmerk", "too_short", {"kenmerk": " "}),
    ("/kenmerk", "too_long", {"kenmerk": "x" * 26}),
    ("/kenmerk", "stuurteken", {"kenmerk": "MV\x00"}),
    ("/kenmerk", "string_type", {"kenmerk": None}),
    ("/zaak", "too_short", {"zaak": ""}),
    ("/zaak", "too_long", {"zaak": "x" * 65}),
    ("/aard", "enum", {"aard": "vonnis"}),
    ("/aard", "enum", {"aard": ["beschikking"]}),
    ("/aard", "missing", {"aard": NOTHING}),
    ("/rechtsgevolgen", "rechtsgevolgen_ontbreken", {"rechtsgevolgen": NOTHING}),
    ("/rechtsgevolgen", "string_too_short", {"rechtsgevolgen": " \n"}),
    ("/rechtsgevolgen", "too_long", {"rechtsgevolgen": "x" * 501}),
    ("/rechtsgevolgen", "stuurteken", {"rechtsgevolgen": "a\u202eb"}),
    ("/termijn", "termijn_ontbreekt", {"termijn": NOTHING}),
    ("/termijn", "termijn", {"termijn": {}}),
    ("/termijn", "termijn", {"termijn": {"duur": "P6W", "laatsteDatum": "2026-05-01"}}),
    ("/termijn", "model_type", {"termijn": "P6W"}),
    ("/termijn/duur", "duur", {"termijn": {"duur": "zes weken"}}),
    ("/termijn/duur", "duur", {"termijn": {"duur": "P0D"}}),
    ("/termijn/duur", "duur", {"termijn": {"duur": "P1Y"}}),
    ("/termijn/laatsteDatum", "termijn_voorbij", {"termijn": {"laatsteDatum": "2026-03-01"}}),
    ("/termijn/laatsteDatum", "termijn_voorbij", {"termijn": {"laatsteDatum": "2026-03-02"}}),  # published on the 3rd
    ("/termijn/laatsteDatum", "date_parsing", {"termijn": {"laatsteDatum": "02-03-2027"}}),
    ("/termijn/laatsteDatum", "date_parsing", {"termijn": {"laatsteDatum": "9999-12-31"}}),
    ("/termijn/laatsteDatum", "string_type", {"termijn": {"laatsteDatum": 1893456000}}),
    ("/vertrouwelijkheid", "enum", {"vertrouwelijkheid": "geheim"}),
    ("/betreft", "betreft_ontbreekt", {**WITHDRAWAL, "betreft": NOTHING}),
    ("/betreft", "betreft_past_niet", {"betreft": "MV-2025-0009"}),
    ("/betreft", "betreft_zichzelf", {**WITHDRAWAL, "betreft": VALID["kenmerk"]}),
    ("/publicatieTijdstip", "timezone_aware", {"publicatieTijdstip": "2026-03-03T08:00:00"}),
    ("/publicatieTijdstip", "datetime_parsing", {"publicatieTijdstip": "1893456000"}),
    ("/publicatieTijdstip", "string_type", {"publicatieTijdstip": 1893456000}),
    ("/publicatieTijdstip", "date_parsing", {"publicatieTijdstip": "0001-01-01T00:00:00+14:00"}),
    ("/publicatieTijdstip", "publicatie_te_ver", {"publicatieTijdstip": "2026-02-20T08:00:00Z"}),
    ("/publicatieTijdstip", "publicatie_te_ver", {"publicatieTijdstip": "2027-04-01T08:00:00Z"}),
    ("/geadresseerde", "model_type", {"geadresseerde": "999990019"}),
    ("/geadresseerde/soort", "enum", {"geadresseerde.soort": "bsn"}),
    ("/geadresseerde/nummer", "nummer", {"geadresseerde.nummer": "999990018"}),
    ("/geadresseerde/nummer", "nummer", {"geadresseerde.nummer": "000000000"}),
    ("/geadresseerde/nummer", "nummer", {"geadresseerde.soort": "KVK"}),
    ("/geadresseerde/naam", "stuurteken", {"geadresseerde.naam": "Sanne\nBcc: x@y.nl"}),
    ("/geadresseerde/naam", "stuurteken", {"geadresseerde.naam": "Sanne\u2028de Vries"}),
    ("/geadresseerde/naam", "stuurteken", {"geadresseerde.naam": "Sanne\ud800"}),
    ("/geadresseerde/naam", "stuurteken", {"geadresseerde.naam": "Sanne\ufffe"}),
    ("/geadresseerde/adres/postcode", "postcode", {"geadresseerde.adres.postcode": "0123 AB"}),
    ("/geadresseerde/adres/postcode", "postcode", {"geadresseerde.adres.postcode": "1234 SS"}),
    ("/geadresseerde/adres/postcode", "postcode_ontbreekt", {"geadresseerde.adres.postcode": NOTHING}),
    (
        "/geadresseerde/adres/postcode",
        "postcode",
        {"geadresseerde.adres.land": "Nederland", "geadresseerde.adres.postcode": "B-1000"},
    ),
    ("/geadresseerde/adres/huisnummer", "huisnummer_ontbreekt", {"geadresseerde.adres.huisnummer": NOTHING}),
    ("/geadresseerde/adres/huisnummer", "huisnummer", {"geadresseerde.adres.huisnummer": "bis"}),
    ("/geadresseerde/adres/straat", "straat_zonder_letters", {"geadresseerde.adres.straat": "12"}),
    ("/geadresseerde/adres/woonplaats", "woonplaats_zonder_letters", {"geadresseerde.adres.woonplaats": "?"}),
    ("/geadresseerde/adres/straat", "geen_latijnse_letters", {"geadresseerde.adres.straat": "ул. Ленина"}),
    ("/geadresseerde/adres/regio", "regio_past_niet", {"geadresseerde.adres.regio": "Utrecht"}),
    ("/geadresseerde/adres/land", "land_voluit", {"geadresseerde.adres.land": "DE"}),
    ("/geadresseerde/adres/huisnummer", "string_type", {"geadresseerde.adres.huisnummer": 1}),
    ("/geadresseerde/adres/land", "too_short", {"geadresseerde.adres.land": ""}),
    ("/kanalen", "tuple_type", {"kanalen": {"kanaal": "mijnoverheid"}}),
    ("/kanalen", "too_long", {"kanalen": [{"kanaal": "mijnoverheid"}] * 11}),
    ("/kanalen/0", "model_type", {"kanalen.0": "mijnoverheid"}),
    ("/kanalen/1/kanaal", "kanaal_onbekend", {"kanalen.1.kanaal": "whatsapp"}),
    ("/kanalen/1/kanaal", "kanaal_dubbel", {"kanalen.1.kanaal": "mijnoverheid"}),
    ("/kanalen/1/grondslag", "kanaal_niet_te_controleren", {"kanalen.1.grondslag": "controleren"}),
    ("/kanalen/1/grondslag", "enum", {"kanalen.1.grondslag": "geraden"}),
    ("/kanalen/1/sindsDatum", "toekomst", {"kanalen.1.sindsDatum": "2026-03-03"}),
    ("/kennisgeving/email", "email", {"kennisgeving.email": "sanne"}),
    ("/kennisgeving/email", "email", {"kennisgeving.email": "a@b.nl, c@d.nl"}),
    ("/kennisgeving/email", "email", {"kennisgeving.email": "Sanne <a@b.nl>"}),
    ("/kennisgeving/email", "too_long", {"kennisgeving.email": "a" * 250 + "@b.nl"}),
    ("/kennisgeving/afgemeldTijdstip", "toekomst", {"kennisgeving.afgemeldTijdstip": "2026-03-02T10:00:00Z"}),
    ("/kennisgeving/opgegevenTijdstip", "toekomst", {"kennisgeving.opgegevenTijdstip": "2026-03-02T10:00:00Z"}),
    ("/onderwerp", "too_long", {"onderwerp": "x" * 51}),
    ("/onderwerp", "stuurteken", {"onderwerp": "a\tb"}),
    ("/tekst", "too_long", {"tekst": "x" * 4001}),
    ("/tekst", "string_too_short", {"tekst": "\n \n"}),
    ("/documenten/0/naam", "documentnaam", {"documenten.0.naam": "../../etc/passwd"}),
    ("/documenten/0/naam", "documentnaam", {"documenten.0.naam": "C:\\besluit.pdf"}),
    ("/documenten/1/naam", "document_dubbel", {"documenten": [VALID["documenten"][0]] * 2}),
    ("/documenten/0/mediatype", "literal_error", {"documenten.0.mediatype": "text/html"}),
    ("/documenten/0/inhoud", "base64_decode", {"documenten.0.inhoud": "JVBERi0"}),
    ("/documenten/0/inhoud", "base64_decode", {"documenten.0.inhoud": "JVBERi0=é"}),
    ("/documenten/0/inhoud", "base64_decode", {"documenten.0.inhoud": "!" * 8}),
    ("/documenten/0/inhoud", "bytes_too_short", {"documenten.0.inhoud": ""}),
    ("/extra", "extra_forbidden", {"extra": True}),
    ("/geadresseerde", "extra_forbidden", {"geadresseerde.a/b": True}),
    ("", "extra_forbidden", {"999990019": True}),
    ("", "string_unicode", {"\ud800": True}),
    ("/aard", "string_unicode", {"aard": "\ud800"}),
]


def _case(case):
    _, code, change = case
    what = change if isinstance(change, bytes) else " ".join(change)
    return f"{code} {what[:30]!r}"


@pytest.mark.parametrize(("pointer", "code", "change"), EACH, ids=map(_case, EACH))
def test_a_fault_is_told_at_its_place(pointer, code, change):
    got = found_in(change) if isinstance(change, bytes) else faults(change)
    assert (f"#{pointer}", code) in {(fault.pointer, fault.code) for fault in got}
    if not isinstance(change, bytes):
        others = {fault.code for fault in got} - {code}
        assert not others, "and nothing else is wrong"


SPILLS = {
    "kenmerk": "Zie mv-2026-0001 hierover.",
    "zaak": "Het gaat om zaak Z-00001: u kunt bezwaar maken.",
    "geadresseerde.nummer": "Uw nummer is 999990019.",
    "geadresseerde.naam": "Aan SANNE  de\nVries: u kunt bezwaar maken.",
    "kennisgeving.email": "Gemaild aan Sanne.de.Vries@post.example.nl.",
    "onderwerp": "Besluit over uw dakkapel: u kunt bezwaar maken.",
}


@pytest.mark.law("L4")
@pytest.mark.parametrize("what", SPILLS)
def test_consequences_repeat_nothing_that_tells_who_or_what_it_is_about(what):
    (fault,) = faults({"rechtsgevolgen": SPILLS[what]})
    assert (fault.pointer, fault.code) == ("#/rechtsgevolgen", "rechtsgevolgen_te_veel")


@pytest.mark.law("L4")
def test_consequences_that_repeat_everything_are_told_everything():
    assert len(faults({"rechtsgevolgen": " ".join(SPILLS.values())})) == len(SPILLS)


@pytest.mark.parametrize(
    "written", ["999 990 019", "9999.90.019", "999-990-019", "999\u00a0990\u00a0019", "９９９９９００１９"]
)
def test_a_number_in_groups_is_the_same_number(written):
    assert told({"rechtsgevolgen": f"Uw nummer is {written}."}) == {("#/rechtsgevolgen", "rechtsgevolgen_te_veel")}


@pytest.mark.parametrize(
    "changes",
    [
        {"rechtsgevolgen": "Het besluit geldt vanaf 1 mei.", "onderwerp": "Besluit"},
        {"rechtsgevolgen": "U betaalt 1999990019 cent of 9999900191 cent."},
        {"rechtsgevolgen": "Op 1 mei 2026 vervalt dit.", "kenmerk": "1", "zaak": "202"},
        {"rechtsgevolgen": "Een besluit over uw dakkapellen.", "onderwerp": "over uw dakkapel"},
        {"rechtsgevolgen": "U kunt bezwaar maken bij de bakkerij.", "geadresseerde.naam": "Bak"},
    ],
)
def test_ordinary_words_are_no_spill(changes):
    assert told(changes) == set()


# ------------------------------------------------------------------------------------------------------- all at once


def test_faults_of_shape_and_of_meaning_are_told_together():
    assert told(
        {
            "afzender": "0" * 20,
            "kenmerk": NOTHING,
            "aard": "intrekking",
            "rechtsgevolgen": NOTHING,
            "termijn.duur": 6,
            "geadresseerde.nummer": "1",
            "geadresseerde.adres.woonplaats": None,
            "kanalen.0": 5,
            "kanalen.1.kanaal": "duif",
            "kennisgeving.email": "x",
            "kennisgeving.afgemeldTijdstip": "2030-01-01T00:00:00Z",
            "documenten.0.inhoud": "!",
            "geheim": 1,
            "een ander": 2,
        }
    ) == {
        ("#/afzender", "afzender_onbekend"),
        ("#/kenmerk", "missing"),
        ("#/rechtsgevolgen", "rechtsgevolgen_ontbreken"),
        ("#/termijn/duur", "string_type"),
        ("#/betreft", "betreft_ontbreekt"),
        ("#/geadresseerde/nummer", "nummer"),
        ("#/geadresseerde/adres/woonplaats", "string_type"),
        ("#/kanalen/0", "model_type"),
        ("#/kanalen/1/kanaal", "kanaal_onbekend"),
        ("#/kennisgeving/email", "email"),
        ("#/kennisgeving/afgemeldTijdstip", "toekomst"),
        ("#/documenten/0/inhoud", "base64_decode"),
        ("#/geheim", "extra_forbidden"),
        ("#", "extra_forbidden"),
    }


@pytest.mark.parametrize(
    ("change", "only"),
    [
        ({"aard": "x", "rechtsgevolgen": NOTHING, "termijn": NOTHING}, "#/aard"),
        ({"geadresseerde.soort": "x", "geadresseerde.nummer": "1"}, "#/geadresseerde/soort"),
        ({"geadresseerde.adres.land": 5, "geadresseerde.adres.postcode": "B-1000"}, "#/geadresseerde/adres/land"),
        ({"rechtsgevolgen": 5}, "#/rechtsgevolgen"),
        ({"termijn": []}, "#/termijn"),
        ({"kanalen.1.kanaal": 5, "kanalen.1.grondslag": "controleren"}, "#/kanalen/1/kanaal"),
    ],
)
def test_what_hangs_on_a_fault_is_not_told_as_a_fault(change, only):
    assert {fault.pointer for fault in faults(change)} == {only}


@pytest.mark.parametrize(
    ("aard", "without", "codes"),
    [
        (nature, without, codes)
        for nature in Nature
        for without, codes in (
            ({"rechtsgevolgen"}, {"rechtsgevolgen_ontbreken"} if nature.rules.needs_consequences else set()),
            ({"termijn"}, {"termijn_ontbreekt"} if nature.rules.needs_term else set()),
        )
    ],
)
@pytest.mark.law("L4", "L14")
def test_each_nature_asks_for_what_the_law_asks(aard, without, codes):
    changes = {"aard": str(aard), **dict.fromkeys(without, NOTHING)}
    if aard.rules.names_earlier:
        changes["betreft"] = "MV-2025-0009"
    assert {code for _, code in told(changes)} == codes


def test_times_of_the_sender_may_be_a_little_ahead_of_ours():
    near = (NOW + timedelta(minutes=4)).isoformat()
    assert told({"kennisgeving.opgegevenTijdstip": near, "kennisgeving.afgemeldTijdstip": near}) == set()


def test_an_address_abroad_needs_no_house_number_or_postcode():
    changes = {
        "geadresseerde.adres.land": "Ierland",
        "geadresseerde.adres.huisnummer": NOTHING,
        "geadresseerde.adres.postcode": NOTHING,
        "geadresseerde.adres.regio": "County Kerry",
        "geadresseerde.adres.toevoeging": "The Old Schoolhouse",
    }
    assert told(changes) == set()
    message = request.to_message(request.read(json.dumps(changed(changes)).encode()).body, uuid4())
    assert message.addressee.address == PostalAddress(
        "Dorpsstraat", "", "", "Maasveld", "Ierland", "The Old Schoolhouse", "County Kerry"
    )


def test_the_netherlands_by_name_is_no_country_on_the_envelope():
    message = request.to_message(
        request.read(json.dumps(changed({"geadresseerde.adres.land": "Nederland"})).encode()).body, uuid4()
    )
    assert message.addressee.address.country is None


def test_an_address_abroad_has_its_own_postcode():
    assert told({"geadresseerde.adres.land": "België", "geadresseerde.adres.postcode": "B-1000"}) == set()


def test_a_last_day_today_is_a_last_day():
    assert told({"publicatieTijdstip": NOTHING, "termijn": {"laatsteDatum": "2026-03-02"}}) == set()


def test_line_ends_in_base64_are_let_through():
    assert told({"documenten.0.inhoud": "JVBE\r\nRi0=\n"}) == set()


# -------------------------------------------------------------------------------------------------- reason to call back


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"reden": ""}', b'{"reden": 5}', b'{"reden":"x","reden":"x"}'])
def test_a_reason_is_read_as_strictly(raw):
    with pytest.raises(Refused) as refused:
        request.read_reason(raw)
    assert refused.value.faults


def test_a_reason_with_an_unknown_field_names_both_faults():
    with pytest.raises(Refused) as refused:
        request.read_reason(json.dumps({"reden": "x" * 201, "door": "mij"}).encode())
    assert {fault.pointer for fault in refused.value.faults} == {"#/reden", "#/door"}


def test_a_good_reason():
    assert request.read_reason(b'{"reden": " Fout in het besluit "}') == "Fout in het besluit"


# -------------------------------------------------------------------------------------------------------------- hashes


def test_the_hash_is_of_what_is_said():
    one = json.dumps(VALID).encode()
    other = json.dumps(dict(reversed(VALID.items())), indent=4, ensure_ascii=False).encode()
    assert request.read(one).hash() == request.read(other).hash()
    assert request.read(one).hash() != request.read(json.dumps(changed({"onderwerp": "Iets"})).encode()).hash()


def test_the_hash_sees_an_order_that_means_something():
    other = changed({"kanalen": VALID["kanalen"][::-1]})
    assert request.read(json.dumps(VALID).encode()).hash() != request.read(json.dumps(other).encode()).hash()


# ---------------------------------------------------------------------------------------------------------------- fuzz

_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(list(Nature)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def _paths(value, path=()):
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from _paths(child, (*path, key))


PATHS = [path for path in _paths(VALID) if path]


def _mutated(mutations):
    value = copy.deepcopy(VALID)
    for path, new, drop in mutations:
        here = value
        try:
            for part in path[:-1]:
                here = here[part]
            if drop:
                del here[path[-1]]
            else:
                here[path[-1]] = new
        except (KeyError, IndexError, TypeError):
            continue
    return value


def _check(raw, value=None):
    """Whatever it is: no exception, Dutch texts, places that are there or in which something belongs."""
    got = found_in(raw)
    assert len(got) <= 150
    for fault in got:
        assert fault.pointer == "#" or fault.pointer.startswith("#/")
        assert re.fullmatch(r"[a-z0-9_]+", fault.code)
        assert fault.detail[0].isupper()
        assert fault.detail.endswith((".", ")."))
        assert "{" not in fault.detail
        json.dumps([fault.pointer, fault.detail], ensure_ascii=False).encode()
        if value is not None:
            _there(value, fault.pointer)
    if not got:
        message = request.to_message(request.read(raw).body, uuid4())
        assert message.reference
        request.read(raw).hash()


def _there(value, pointer):
    """A pointer leads to something, or to the place in something where a field should be."""
    *parents, _last = pointer.removeprefix("#").split("/") if pointer != "#" else ["", ""]
    here = value
    for part in parents[1:]:
        here = here[int(part)] if isinstance(here, list) else here[part.replace("~1", "/").replace("~0", "~")]
    assert isinstance(here, dict | list) or pointer == "#"


@_FUZZ
@given(st.lists(st.tuples(st.sampled_from(PATHS), _ANYTHING, st.booleans()), min_size=1, max_size=6))
def test_a_valid_request_changed_in_any_way(mutations):
    value = _mutated(mutations)
    _check(json.dumps(value).encode(), json.loads(json.dumps(value)))


@_FUZZ
@given(_ANYTHING)
def test_any_json(value):
    _check(json.dumps(value).encode())


@_FUZZ
@given(st.binary(max_size=200))
def test_any_bytes(raw):
    _check(raw)


@_FUZZ
@given(st.data())
def test_a_valid_request_with_bytes_changed(data):
    raw = bytearray(json.dumps(VALID).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    _check(bytes(raw))


@_FUZZ
@given(
    st.builds(
        dict,
        onderwerp=st.text(min_size=1, max_size=50),
        tekst=st.text(min_size=1, max_size=300),
        kenmerk=st.text(min_size=1, max_size=25),
        rechtsgevolgen=st.text(min_size=1, max_size=100),
        publicatieTijdstip=st.datetimes(min_value=datetime(2026, 2, 1), max_value=datetime(2027, 5, 1)).map(  # noqa: DTZ001
            lambda moment: moment.isoformat() + "-12:00"
        ),
        termijn=st.builds(lambda n, unit: {"duur": f"P{n}{unit}"}, st.integers(0, 999), st.sampled_from("WMD")),
        aard=st.sampled_from([str(nature) for nature in Nature if not nature.rules.names_earlier]),
    )
)
def test_texts_of_any_letters_are_refused_or_become_a_message(changes):
    _check(json.dumps(VALID | changes).encode())


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps(changed({"tekst": "x" * 10_000_000})).encode(),
        json.dumps(changed({"kennisgeving.email": "a@" * 3_000_000})).encode(),
        json.dumps(changed({"rechtsgevolgen": "1 " * 3_000_000})).encode(),
        json.dumps(changed({"documenten.0.inhoud": "A" * 20_000_001})).encode(),
        json.dumps(changed({"geadresseerde.nummer": "9" * 5_000_000})).encode(),
        b'{"kenmerk": ' + b"9" * 5_000_000 + b"}",
        b'{"kenmerk": "' + b"\\u0000" * 2_000_000 + b'"}',
        b" " * 20_000_000 + b"{}",
    ],
    ids=["text", "address", "consequences", "base64", "number", "digits", "escapes", "spaces"],
)
def test_something_huge_is_refused_soon(raw):
    started = time.monotonic()
    assert found_in(raw)
    assert time.monotonic() - started < 3
