"""Documents held against Logius' own schemas, where those are at hand (BODE_CONTRACTS names their folder)."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from lxml import etree
from mijnoverheid_sides import NOW, SENDER, ebms
from test_mijnoverheid_limits import WITHIN

from bode_adapters.mijnoverheid import globe
from bode_adapters.mijnoverheid.mock_berichtenbox import Batch, Outcome, Received
from bode_adapters.mijnoverheid.mock_globe import read_request, write_report
from bode_adapters.mijnoverheid.subscriptions import question
from bode_adapters.testing.box import new_document, new_identifier, new_message

BESIDE = [folder / "shared" / "contracts" for folder in Path(__file__).parents]
CONTRACTS = [Path(os.environ["BODE_CONTRACTS"])] if "BODE_CONTRACTS" in os.environ else BESIDE
LOGIUS = next((found for folder in CONTRACTS if (found := folder / "logius").is_dir()), None)
pytestmark = pytest.mark.skipif(
    LOGIUS is None, reason="Logius' schemas are not here: set BODE_CONTRACTS to their folder"
)
OIN = "00000001999000090000"


class Beside(etree.Resolver):
    """Finds what a schema imports beside it: Logius' import from a host of its own."""

    def resolve(self, url: str, _id: str, context: Any) -> Any:
        name = url.rpartition("=")[2].rpartition("/")[2]
        path = LOGIUS / "BerichtenboxValidatieService" / (name if name.endswith(".xsd") else f"{name}.xsd")
        return self.resolve_filename(str(path), context) if "rdw64825" in url else None


def schema(path: str) -> etree.XMLSchema:
    parser = etree.XMLParser()
    parser.resolvers.add(Beside())
    return etree.XMLSchema(etree.parse(LOGIUS / path, parser))


@pytest.fixture(scope="module")
def request_schema() -> etree.XMLSchema:
    return schema("BerichtVerwerkService/Request/GLOBEBatchRequest.xsd")


@pytest.fixture(scope="module")
def response_schema() -> etree.XMLSchema:
    return schema("BerichtVerwerkService/Response/GLOBEBatchResponse.xsd")


def batches(messages: list[Any], most_bytes: int = 10**8) -> list[globe.Batch]:
    return globe.batches(uuid4(), messages, leverancier=OIN, created=NOW, most_bytes=most_bytes)


@pytest.mark.parametrize(("number", "documents"), [(1, 1), (2, 1), (999, 1), (1000, 1), (1001, 2)])
def test_a_batch_of_so_many_messages_is_valid(request_schema: etree.XMLSchema, number: int, documents: int) -> None:
    addressee = new_identifier()  # One for all: the numbers published for tests are few.
    made = batches([new_message(SENDER, addressee=addressee, documents=(new_document(50),)) for _ in range(number)])
    assert len(made) == documents
    for one in made:
        request_schema.assertValid(etree.fromstring(one.xml))
        assert len(read_request(one.xml)[3]) == len(one.messages)


@pytest.mark.parametrize("changes", WITHIN, ids=",".join)
def test_a_message_at_every_limit_is_valid(request_schema: etree.XMLSchema, changes: dict[str, Any]) -> None:
    (one,) = batches([new_message(SENDER, **changes)])
    request_schema.assertValid(etree.fromstring(one.xml))
    read_request(one.xml)


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": ""},
        {"subject": "o" * 51},
        {"text": "t\n" * 800 + "t"},
        {"reference": "r" * 26},
        {"documents": (new_document(9),) * 3},
        {"documents": (new_document(9, "n" * 129),)},
    ],
    ids=",".join,
)
def test_what_the_adapter_refuses_the_schema_would_too(
    request_schema: etree.XMLSchema, changes: dict[str, Any]
) -> None:
    (one,) = batches([new_message(SENDER, **changes)])
    assert not request_schema.validate(etree.fromstring(one.xml))


def test_characters_that_mean_something_in_xml_are_text(request_schema: etree.XMLSchema) -> None:
    (one,) = batches([new_message(SENDER, subject="<b>&amp; \"x\" 'y'</b>", text="]]> é 😀 <!-- --> &#10;")])
    root = etree.fromstring(one.xml)
    request_schema.assertValid(root)
    (subject,) = root.iter("{*}Onderwerp")
    assert subject.text == "<b>&amp; \"x\" 'y'</b>"


async def test_what_is_really_sent_is_valid(request_schema: etree.XMLSchema) -> None:
    async with ebms({"batch_megabytes": 1}) as (side, mock):
        batch = uuid4()
        messages = [
            new_message(SENDER, batch=batch, text="een\ntwee", documents=(new_document(250_000), new_document(240_000)))
            for _ in range(3)
        ]
        await side.box.place(messages=messages)
        assert len(mock.sent) == 3
        for sent in mock.sent.values():
            request_schema.assertValid(etree.fromstring(sent.request.data_sources[0].content))


@pytest.mark.parametrize("number", [0, 1, 1000])
def test_a_report_of_the_mock_is_valid_and_read_whole(response_schema: etree.XMLSchema, number: int) -> None:
    messages = [Received(str(uuid4()), "BESLUIT", "999990019", None, 0) for _ in range(number)]
    outcomes = [Outcome(message.id, message.type, "Verwerkt") for message in messages]
    report = write_report(Batch(str(uuid4()), OIN, messages, NOW), outcomes, NOW + timedelta(hours=1))
    response_schema.assertValid(etree.fromstring(report))
    read = globe.read_report(report, now=NOW)
    assert {str(identity) for identity in read.results} == {message.id for message in messages}
    assert read.moment.at == NOW + timedelta(hours=1)


@pytest.mark.parametrize("number", [1, 250])
def test_a_question_about_subscriptions_is_valid(number: int) -> None:
    asked = etree.fromstring(question(["999990019"] * number, OIN, "BESLUIT"))
    (operation,) = asked[0]
    schema("BerichtenboxValidatieService/xsd0.xsd").assertValid(operation)


def test_the_sample_of_a_result_is_read_with_its_odd_code() -> None:
    sample = (LOGIUS / "fixtures" / "berichten_verwerk_response_sample.xml").read_bytes()
    report = globe.read_report(sample, now=NOW)
    assert [[(one.code, one.stage) for one in results] for results in report.results.values()] == [[("00", "NA")]] * 2
