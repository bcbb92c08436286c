"""The API held against its own description: the API Design Rules, and every answer that schemathesis can provoke."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_server import Server

RULES = "https://static.developer.overheid.nl/adr/2.1/ruleset.yaml"
SPECTRAL = "@stoplight/spectral-cli@6.16.3"
LINES = """
import json
import schemathesis

@schemathesis.serializer("application/x-ndjson", "application/jsonl")
def lines(ctx, value):
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "surrogatepass")
"""
"""How schemathesis is to send JSON Lines."""


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("rules")) as running:
        yield running


@pytest.fixture(scope="module")
def document(server) -> dict[str, Any]:
    return httpx.get(f"{server.url}/openapi.json").json()


def _operations(document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _resolved(document, value: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in value:
        found = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        value = found
    return value


def test_the_document_keeps_to_the_api_design_rules(document):
    """Those of the linter's rules that matter here, so that a slip is found without the network."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", document["info"]["version"])
    assert set(document["info"]["contact"]) == {"name", "email", "url"}
    assert all(re.search(r"/v\d+$", server["url"]) for server in document["servers"])
    for path, method, operation in _operations(document):
        assert re.fullmatch(r"(/([a-z0-9-]+|\{[a-z_]+\}))+", path), path
        assert method in {"get", "post"}
        for parameter in operation.get("parameters", []):
            found = _resolved(document, parameter)
            assert found["in"] != "query" or re.fullmatch(r"[a-z]+([A-Z][a-z]*)*", found["name"])
        assert "400" in operation["responses"], (path, method)
        assert {"401", "403", "429", "500", "503"} <= set(operation["responses"])
        for status, answer in operation["responses"].items():
            told = _resolved(document, answer)
            assert "API-Version" in told["headers"]
            assert ("Retry-After" in told["headers"]) == (status in {"409", "429", "503"})
            assert ("Location" in told["headers"]) == (status == "202")
            if status[0] in "45":
                assert list(told["content"]) == ["application/problem+json"]
    for schema in document["components"]["schemas"].values():
        for name, shape in schema.get("properties", {}).items():
            if name.endswith("Datum"):
                assert shape["format"] == "date", name
            if name.endswith("Tijdstip"):
                assert shape["format"] == "date-time", name


def test_every_operation_says_which_scope_and_which_credentials_it_needs(document):
    schemes = set(document["components"]["securitySchemes"])
    for path, method, operation in _operations(document):
        assert {name for one in operation["security"] for name in one} == schemes, (path, method)
        assert "Scope: `" in operation["description"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_linter_of_the_api_design_rules_finds_nothing(document, tmp_path):
    """Needs Node.js with npm. `ADR_RULESET` names a file with the rules; else they are fetched from their publisher."""
    npx, curl = shutil.which("npx"), shutil.which("curl")
    assert npx is not None, "Node.js with npm is needed: on Debian, apt-get install npm"
    assert curl is not None, "curl is needed: on Debian, apt-get install curl"
    rules = tmp_path / "ruleset.yaml"
    if "ADR_RULESET" in os.environ:
        rules.write_text(Path(os.environ["ADR_RULESET"]).read_text("utf-8"))
    elif subprocess.run([curl, "-fsSLo", rules, "--max-time", "20", RULES], check=False).returncode:
        pytest.skip(f"{RULES}, where the rules are published, cannot be reached")
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    done = subprocess.run(
        [npx, "--yes", SPECTRAL, "lint", "--fail-severity", "warn", "-r", "ruleset.yaml", "openapi.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_no_request_that_can_be_made_up_has_a_5xx_or_an_answer_that_is_not_described(
    server, document, tmp_path, capsys
):
    """A minute of it; `SCHEMATHESIS_SECONDS` asks for more."""
    seconds = int(os.environ.get("SCHEMATHESIS_SECONDS", "60"))
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,"
        "response_headers_conformance,response_schema_conformance,ignored_auth"
    )
    (tmp_path / "lines.py").write_text(LINES)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", f"{server.url}/v1"),
        *("-H", "Authorization: Bearer samen", "--max-time", str(seconds), "--checks", checks),
        *("--phases", "examples,coverage,fuzzing,stateful", "--continue-on-failure", "--no-color"),
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "lines", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 600,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    every = sum(1 for _ in _operations(document))
    assert f"Selected: {every}/{every}\n  Tested: {every}\n" in done.stdout, done.stdout[-6000:]
    with capsys.disabled():
        print(done.stdout[done.stdout.index("API Operations:") :])  # noqa: T201 - how many requests it made up
