"""The command line: every command explains itself, does its work on a real database, and says what a user can mend."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from itertools import count
from types import SimpleNamespace

import httpx
import pytest
import structlog
import toml_parts

from bode import settings
from bode.store.vault import Vault, read_key_file
from bode_ops import assembly, cli
from bode_ops.commands import base

OIN, OTHER = "00000001999000010000", "00000001999000020000"
CONFIG = (
    """
[database]
url = "sqlite:///{folder}/bode.db"
[keys]
file = "{folder}/bode.key"
[api]
port = 0
[bounces]
port = 0
"""
    + toml_parts.mijnoverheid(api_key="zeer-geheime-sleutel")
    + toml_parts.notices()
    + toml_parts.PRINT_FOLDER
    + toml_parts.MAASVELD
    + toml_parts.ZANDWIJK
)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run `bode` in this process; gives its exit code and what it printed."""
    monkeypatch.delenv("BODE_CONFIG", raising=False)
    monkeypatch.setattr(base.logs, "configure", lambda _: None)

    def run(*arguments, given: bytes = b"") -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["bode", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        capsys.readouterr()
        code = 0
        try:
            with structlog.testing.capture_logs():
                cli.main()
        except SystemExit as end:
            code = end.code or 0
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return SimpleNamespace(code=code, out=printed.out, err=printed.err)

    return run


@pytest.fixture
def config(tmp_path):
    """A configuration that works, not yet made ready."""
    (tmp_path / "print" / "in").mkdir(parents=True)
    path = tmp_path / "bode.toml"
    path.write_text(CONFIG.format(folder=tmp_path))
    return path


@pytest.fixture(scope="module")
def made_ready(tmp_path_factory):
    """A key and a database, made by the commands themselves."""
    folder = tmp_path_factory.mktemp("ready")
    (folder / "print" / "in").mkdir(parents=True)
    path = folder / "bode.toml"
    path.write_text(CONFIG.format(folder=folder))
    for command in (["keys", "init"], ["db", "upgrade"]):
        with _process(*command, "--config", path) as process:
            _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    return folder


@pytest.fixture
def bode(run, config, made_ready, tmp_path):
    """`bode` on a configuration that was made ready."""
    for name in ("bode.key", "bode.db"):
        shutil.copy(made_ready / name, tmp_path / name)

    def bode(*arguments, **how) -> SimpleNamespace:
        return run(*arguments, "--config", config, **how)

    return bode


def _process(*arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "bode_ops", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1"},
    )


_numbers = count(1)


def message(**changes):
    return {
        "afzender": OIN,
        "kenmerk": f"MV-{next(_numbers):06d}",
        "aard": "beschikking",
        "rechtsgevolgen": "U kunt bezwaar maken.",
        "termijn": {"duur": "P6W"},
        "geadresseerde": {
            "soort": "BSN",
            "nummer": "999990019",
            "naam": "Jantje Zonderbrief",
            "adres": {"straat": "Geheimepad", "huisnummer": "77", "postcode": "1234 AB", "woonplaats": "Verweg"},
        },
        "kanalen": [{"kanaal": "mijnoverheid"}],
        "onderwerp": "Besluit over uw zwembad",
        "tekst": "Beste mevrouw, uw zwembad mag er komen.",
        **changes,
    }


@pytest.fixture
def handed_in(bode, tmp_path):
    """Hand in a message, and give its reference."""

    def handed_in(**changes) -> str:
        made = message(**changes)
        path = tmp_path / "een.json"
        path.write_text(json.dumps(made))
        assert bode("enqueue", path).code == 0
        return made["kenmerk"]

    return handed_in


def _tomorrow() -> str:
    from datetime import UTC, datetime, timedelta

    return (datetime.now(UTC) + timedelta(days=1)).isoformat()


# ---------------------------------------------------------------------------------------------------------------- help

COMMANDS = [
    *("run", "enqueue", "status", "cancel", "retry", "letter", "stop-letter", "handled", "demo"),
    *("lane", "lane list", "lane stop", "lane start", "lane show", "lane set", "lane reset", "lane acts"),
    *("queue", "queue key", "queue seal", "queue list"),
    *("queue poison", "queue poison list", "queue poison show", "queue poison retry", "queue poison drop"),
    *("zgw", "zgw list", "zgw retry", "zgw handled", "zgw seen", "zgw reconcile"),
    *("policy", "policy show", "config", "config check", "config show", "doctor", "db restored"),
    *("mock", "mock mijnoverheid", "mock ebms", "mock mijndomein", "mock bedrijven", "mock profielservice"),
    *("mock smtp", "mock print"),
    *("db", "db upgrade", "keys", "keys init", "keys api"),
    *("evidence", "evidence verify", "evidence audit", "evidence republish", "evidence export"),
    *("evidence correct", "evidence erase", "evidence hold", "evidence release"),
    *("keys return-path", "keys return-path list", "keys return-path rotate", "keys return-path remove"),
    *("bounce", "bounce classify", "bounce classify-reply", "bounce held", "bounce decide"),
    *("bounce list", "bounce match", "bounce replay"),
    *("hold", "hold list", "hold release", "hold cancel"),
    *("webhook", "webhook list", "webhook replay"),
    *("keys list", "keys rotate", "keys rotate-lookup", "retention", "retention show", "retention run"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(run, command):
    told = run(*command.split(), "--help")
    assert told.code == 0
    assert f"bode {command}" in told.out
    text = told.out.split("\n\n", 1)[1]
    assert len(text.split()) > 5


def test_the_list_of_commands_is_whole(run):
    told = run("--help")
    assert told.code == 0
    for command in COMMANDS:
        if " " not in command:
            assert re.search(rf"^\W*{command} +\S", told.out, re.MULTILINE), command


def test_the_version(run):
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run("--version").out)


@pytest.mark.parametrize(
    "arguments",
    [["nergens"], ["enqueue"], ["retry", "X"], ["lane", "stop", "print"], ["run", "niets"], ["status", "a", "b", "c"]],
)
def test_a_command_given_wrongly_ends_with_2(run, arguments):
    told = run(*arguments)
    assert told.code == 2
    assert told.out + told.err


# ---------------------------------------------------------------------------------------------------------------- hold


def test_what_is_held_is_listed_and_a_person_lets_it_go_or_calls_it_back(bode, config, handed_in):
    assert "nothing is held" in bode("hold", "list").out
    config.write_text(config.read_text() + f"[organisations.{OIN}.limits]\nmessages_per_day = 1\n")
    one, two, three = handed_in(), handed_in(), handed_in()
    told = bode("hold", "list").out
    assert re.search(rf"{OIN} +│ messages +│ \S+ +│ 2 +│", told), told
    assert "waits too" in told
    assert "meer berichten van deze organisatie dan is afgesproken" in bode("status", two).out
    assert bode("retry", two, "--reason", "klopt").code == 0
    assert bode("hold", "release", OIN, "--rule", "letters", "--reason", "klopt").code == 2, "nothing is held so"
    told = bode("hold", "cancel", OIN, "--reason", "niet van ons", "--by", "Anna")
    assert (told.code, told.out.strip()) == (0, "1 messages: called back")
    assert "Geannuleerd door Anna" in bode("status", three).out
    assert "Geannuleerd" not in bode("status", one).out + bode("status", two).out
    assert "nothing is held" in bode("hold", "list").out
    assert bode("hold", "release", OIN, "--reason", "klopt").code == 2
    assert "volume_cancelled" in bode("lane", "acts").out


# ------------------------------------------------------------------------------------------------------------- enqueue


def test_one_message_and_the_same_again(bode, tmp_path):
    made, path = message(), tmp_path / "een.json"
    path.write_text(json.dumps(made))
    first = bode("enqueue", path)
    assert (first.code, first.out.split()[0]) == (0, made["kenmerk"])
    path.write_text(json.dumps(dict(reversed(made.items())), indent=4))
    again = bode("enqueue", path)
    assert (again.code, again.out) == (0, first.out.rstrip() + " (was aangenomen)\n")


def test_many_messages_good_and_bad(bode, tmp_path):
    good, bad = [message() for _ in range(3)], message(aard="vonnis", rechtsgevolgen="")
    bad["geadresseerde"] = bad["geadresseerde"] | {"nummer": "999990018"}
    lines = [json.dumps(good[0]), "", json.dumps(bad), json.dumps(good[1]), "{", json.dumps(good[2])]
    path = tmp_path / "veel.jsonl"
    path.write_text("\n".join(lines) + "\n\n")
    told = bode("enqueue", path)
    assert told.code == 1
    assert [line.split()[0] for line in told.out.splitlines() if line.startswith("MV")] == [
        made["kenmerk"] for made in good
    ]
    assert f"{path}:3: " in told.out
    assert f"{path}:5: " in told.out
    for pointer in ("#/aard", "#/rechtsgevolgen", "#/geadresseerde/nummer"):
        assert f"    {pointer}: " in told.out
    for secret in ("999990018", "Zonderbrief", "zwembad"):
        assert secret not in told.out + told.err
    again = bode("enqueue", path)
    assert again.code == 1
    assert again.out.count("(was aangenomen)") == 3


@pytest.mark.parametrize("content", [b"", b"\n", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_no_message_is_refused(bode, tmp_path, content):
    path = tmp_path / "een.json"
    path.write_bytes(content)
    told = bode("enqueue", path)
    assert told.code == 1
    assert "    #" in told.out


def test_a_file_that_is_not_there(bode, tmp_path):
    for path in (tmp_path / "nergens.json", tmp_path):
        told = bode("enqueue", path)
        assert (told.code, told.err) == (2, f"bode: there is no file {path}\n")


# ----------------------------------------------------------------------------------------------- what people ask and do


def test_status_tells_the_story_by_reference_or_id(bode, tmp_path):
    made, path = message(), tmp_path / "een.json"
    path.write_text(json.dumps(made))
    reference, identifier = bode("enqueue", path).out.split()[:2]
    told = bode("status", reference)
    assert told.code == 0
    assert reference in told.out.splitlines()[0]
    assert len(told.out.splitlines()) > 4
    assert bode("status", identifier).out == told.out
    for secret in ("Zonderbrief", "999990019", "zwembad", "Geheimepad"):
        assert secret not in told.out


def test_status_of_nothing_and_of_two(bode, handed_in):
    told = bode("status", "nooit-gezien")
    assert (told.code, told.out) == (2, "")
    assert "nooit-gezien" in told.err
    reference = handed_in(kenmerk="DUBBEL")
    handed_in(kenmerk="DUBBEL", afzender=OTHER)
    told = bode("status", reference)
    assert told.code == 2
    assert OIN in told.err
    assert OTHER in told.err
    assert bode("status", reference, "--organisation", OTHER).code == 0
    assert bode("status", reference, "--organisation", "x").code == 2


@pytest.mark.law("L9")
def test_cancel_a_scheduled_message(bode, handed_in):
    reference = handed_in(publicatieTijdstip=_tomorrow())
    told = bode("cancel", reference, "--reason", "Fout in het besluit", "--by", "j.jansen")
    assert (told.code, told.out) == (0, f"{reference}: geannuleerd\n")
    assert bode("cancel", reference, "--reason", "Nog eens").code == 0
    assert (
        "geannuleerd" in bode("status", reference).out.splitlines()[0].lower() + bode("status", reference).out.lower()
    )


@pytest.mark.law("L9")
def test_a_message_on_its_way_is_not_cancelled(bode, handed_in, tmp_path):
    reference = handed_in()
    with closing(sqlite3.connect(tmp_path / "bode.db")) as connection, connection:
        connection.execute("UPDATE step SET state = 'leased'")
    told = bode("cancel", reference, "--reason", "Te laat")
    assert told.code == 2
    assert "intrekking" in told.err


@pytest.mark.parametrize("command", ["cancel", "retry", "letter", "stop-letter", "handled"])
@pytest.mark.parametrize("reason", ["", "  ", "een\nander", "x" * 201, "\x1b[2J"])
def test_an_act_needs_a_reason_that_evidence_can_keep(bode, handed_in, command, reason):
    told = bode(command, handed_in(), "--reason", reason)
    assert told.code == 2
    assert "--reason" in told.err


@pytest.mark.parametrize("command", ["cancel", "retry", "letter", "stop-letter", "handled"])
def test_an_act_on_nothing(bode, command):
    told = bode(command, "nooit-gezien", "--reason", "Zomaar")
    assert told.code == 2
    assert "nooit-gezien" in told.err


def test_retry_and_letter_are_recorded_with_who_and_why(bode, handed_in, tmp_path):
    reference = handed_in()
    assert bode("retry", reference, "--reason", "Box doet het weer", "--by", "j.jansen").code == 0
    assert bode("letter", reference, "--reason", "Op verzoek", "--by", "j.jansen").code == 0
    told = bode("status", reference)
    assert "Op verzoek" in told.out
    assert "j.jansen" in told.out
    with closing(sqlite3.connect(tmp_path / "bode.db")) as connection:
        assert connection.execute("SELECT count(*) FROM step WHERE lane = 'print'").fetchone() == (1,)


def test_a_letter_is_stopped_once_and_can_be_ordered_again(bode, handed_in):
    reference = handed_in()
    told = bode("stop-letter", reference, "--reason", "Nog niet nodig")
    assert told.code == 2
    assert "no letter that was not handed over yet" in told.err
    bode("letter", reference, "--reason", "Op verzoek")
    told = bode("stop-letter", reference, "--reason", "Toch niet", "--by", "j.jansen")
    assert (told.code, told.out) == (0, f"{reference}: brief 0 is tegengehouden\n")
    told = bode("stop-letter", reference, "--number", "0", "--reason", "Nog eens")
    assert told.code == 2
    assert "letter 0 is cancelled" in told.err
    bode("letter", reference, "--reason", "Toch wel")
    assert bode("stop-letter", reference, "--number", "1", "--reason", "Toch niet").code == 0
    assert "j.jansen houdt een brief tegen" in bode("status", reference).out


def test_a_letter_in_a_workers_hand_is_not_stopped(bode, handed_in, tmp_path):
    reference = handed_in()
    bode("letter", reference, "--reason", "Op verzoek")
    with closing(sqlite3.connect(tmp_path / "bode.db")) as connection, connection:
        connection.execute("UPDATE step SET state = 'leased' WHERE part = 'letter/0'")
    told = bode("stop-letter", reference, "--reason", "Te laat")
    assert told.code == 2
    assert "being handed over" in told.err


def test_what_waits_for_nobody_cannot_be_dealt_with_by_hand(bode, handed_in):
    reference = handed_in()
    told = bode("handled", reference, "--reason", "Gebeld")
    assert told.code == 2
    assert "nothing of it waits" in told.err
    told = bode("handled", reference, "--part", "letter/0", "--reason", "Gebeld")
    assert told.code == 2
    assert "what waits is nothing" in told.err


def test_lanes_are_listed_stopped_and_started(bode):
    assert {line.split("│")[1].strip() for line in bode("lane", "list").out.splitlines() if "running" in line} == {
        "mijnoverheid",
        "kennisgeving",
        "print",
    }
    stop = ["lane", "stop", "print", "--reason", "Printer stuk", "--by", "j.jansen"]
    assert bode(*stop).out == "lane print: stopped\n"
    assert bode(*stop).out == "lane print: was stopped already\n"
    listed = bode("lane", "list").out
    assert "stopped since" in listed
    assert "Printer stuk" in listed
    assert "j.jansen" in listed
    assert bode("lane", "start", "print").out == "lane print: started\n"
    assert bode("lane", "start", "print").out == "lane print: was running already\n"
    # Each act is written down once, and what changed nothing is none.
    acts = [[cell.strip() for cell in line.split("│")[2:6]] for line in bode("lane", "acts").out.splitlines()]
    done = [act for act in acts if act and act[0] == "print"]
    assert [act[1] for act in done] == ["lane_started", "lane_stopped"]
    assert done[1][2:] == ["j.jansen", "Printer stuk"]
    told = bode("lane", "stop", "fax", "--reason", "Zomaar")
    assert told.code == 2
    assert "mijnoverheid" in told.err
    assert bode("lane", "stop", "print", "--reason", "").code == 2


def test_a_message_is_sealed_put_on_the_queue_set_apart_and_dealt_with(bode, run, config, redis, tmp_path):
    """The key goes to the sender, who needs no more than that and `XADD`."""
    assert "no intake by queue" in bode("queue", "list").err
    senders = f'[queue.senders.zaak]\norganisations = ["{OIN}"]\n'
    config.write_text(f'{config.read_text()}\n[broker]\nurl = "{redis.url}"\n{senders}')
    key, file = tmp_path / "bode.jwk.json", tmp_path / "bericht.json"
    key.write_text(bode("queue", "key").out)
    file.write_text(json.dumps(message(aard="onzin")))
    sealed = run("queue", "seal", file, "--key", key).out.strip()
    assert run("queue", "seal", file, "--key", file).code == 2
    redis.client.xadd("bode:intake:zaak", {"bericht": sealed})

    async def take() -> int:
        application = assembly.build(settings.load(config))
        try:
            assert application.queue_intake is not None
            return await application.queue_intake.work("zaak")
        finally:
            await application.close()

    assert asyncio.run(take()) == 1
    assert [cell.strip() for cell in bode("queue", "list").out.splitlines()[3].split("│")[1:4]] == ["zaak", "0", "1"]
    ((entry, _),) = redis.client.xrange("bode:intake:zaak:apart")
    listed = bode("queue", "poison", "list").out
    assert entry.decode() in listed
    assert "geweigerd" in listed
    shown = bode("queue", "poison", "show", "zaak", entry.decode()).out
    assert "#/aard" in shown
    assert "Jantje" not in shown
    assert bode("queue", "poison", "show", "zaak", "1-0").code == 2
    assert bode("queue", "poison", "drop", "zaak", "1-0", "--reason", "Weg").code == 2
    assert "there is no sender" in bode("queue", "poison", "drop", "niemand", "1-0", "--reason", "Weg").err
    assert bode("queue", "poison", "retry", "zaak", entry.decode(), "--reason", "Nog eens").out.endswith("put back\n")
    assert asyncio.run(take()) == 1
    ((entry, _),) = redis.client.xrange("bode:intake:zaak:apart")
    assert bode("queue", "poison", "drop", "zaak", entry.decode(), "--reason", "Nieuw").out.endswith("dropped\n")
    assert bode("queue", "poison", "list").out == "nothing\n"
    acts = bode("lane", "acts").out
    assert acts.count("queue_retried") == acts.count("queue_dropped") == 1


def test_rules_of_a_lane_are_changed_shown_written_down_and_reset(bode):
    why = ["--reason", "Storing", "--by", "j.jansen"]
    told = bode("lane", "set", "kennisgeving", "--per-minute", "60", "--quiet-hours", "22:00-07:00", *why)
    assert told.out.splitlines() == [
        "lane kennisgeving: per_minute none -> 60",
        "lane kennisgeving: quiet_hours none -> 22:00-07:00",
    ]
    shown = [
        [cell.strip() for cell in line.split("│")[1:5]] for line in bode("lane", "show", "kennisgeving").out.split("\n")
    ]
    assert ["per_minute", "none", "60", "60"] in shown
    assert ["concurrency", "2", "", "2"] in shown
    assert "per_minute=60" in bode("lane", "list").out
    assert bode("lane", "set", "kennisgeving", "--per-minute", "none", *why).out.endswith("per_minute 60 -> none\n")
    assert bode("lane", "reset", "kennisgeving", *why).out.endswith("quiet_hours 22:00-07:00 -> none\n")
    assert "so already" in bode("lane", "reset", "kennisgeving", *why).out
    acts = bode("lane", "acts").out
    assert acts.count("lane_set") == 2
    assert acts.count("lane_reset") == 1
    assert acts.count("Storing") == 3
    assert '"old":{' in acts
    for wrong, what in (
        (["kennisgeving"], "name a rule"),
        (["kennisgeving", "--concurrency", "0"], "concurrency is 0"),
        (["kennisgeving", "--per-minute", "veel"], "--per-minute"),
        (["kennisgeving", "--quiet-hours", "nacht"], "quiet_hours"),
        (["fax", "--breaker", "3"], "no lane"),
    ):
        told = bode("lane", "set", *wrong, *why)
        assert told.code == 2
        assert what in told.err


def test_the_policy_is_shown_against_the_48_hours(bode):
    told = bode("policy", "show")
    assert told.code == 0
    assert "100%" not in told.out, "the last attempt is within the 48 hours"
    assert "letter at 48 h" in told.out


# ------------------------------------------------------------------------------------------------------- configuration


def test_a_good_configuration_is_in_order_and_shows_no_secret(bode):
    told = bode("config", "check")
    assert (told.code, told.out.splitlines()[-1]) == (0, "in order")
    assert "zeer-geheime-sleutel" not in told.out + told.err


def test_the_environment_names_the_file_and_goes_before_it(bode, run, config, monkeypatch):
    monkeypatch.setenv("BODE_CONFIG", str(config))
    monkeypatch.setenv("BODE__DATABASE__URL", "postgresql://bode:geheim@db.example/bode")
    told = run("config", "check")
    assert told.code == 0
    assert "postgresql" in told.out
    assert "geheim" not in told.out


def test_what_is_in_force_is_shown_with_where_it_comes_from_and_without_secrets(run, config, tmp_path, monkeypatch):
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    outway = "BODE__CHANNELS__MIJNOVERHEID__SETTINGS__OUTWAY"
    (secrets / outway).write_text("stil")
    monkeypatch.setenv("BODE_SECRETS", str(secrets))
    monkeypatch.setenv("BODE__DATABASE__URL", "postgresql://bode:geheim@db.example/bode")
    monkeypatch.setenv("BODE__NOTICES__SETTINGS__HOST", "relay.example")
    told = run("config", "show", "--config", config)
    assert told.code == 0
    lines = dict(line.split(" = ", 1) for line in told.out.splitlines())
    assert lines["database.url"] == '"postgresql://bode:***@db.example/bode"  # environment BODE__DATABASE__URL'
    assert lines["engine.chunk"] == "200  # default"
    assert lines["channels.mijnoverheid.settings.api_key"] == f'"***"  # {config}'
    assert lines["channels.mijnoverheid.settings.leverancier_oin"] == f'"00000001999000090000"  # {config}'
    assert lines["channels.mijnoverheid.settings.outway"] == f'"***"  # file {secrets / outway}'
    # What an adapter's settings get from the environment may be a secret, whatever it is called.
    assert lines["notices.settings.host"] == '"***"  # environment BODE__NOTICES__SETTINGS__HOST'
    for secret in ("zeer-geheime-sleutel", "geheim@", "stil"):
        assert secret not in told.out


PRODUCTION = 'environment = "production"\n'
REDIS = '[broker]\nurl = "redis://127.0.0.1:9/0"\n'
MISTAKES = {
    "no TOML": ("[database", "[[database", "no TOML"),
    "unknown section": ("[database]", "[databse]", "databse"),
    "unknown key": ("[keys]\nfile", "[keys]\nflie", "keys.flie"),
    "unknown adapter": ('adapter = "print-folder"', 'adapter = "fax"', "print.adapter"),
    "adapter of another kind": ('adapter = "print-folder"', 'adapter = "mijnoverheid"', "print"),
    "adapter's unknown setting": ('tls = "none"', 'tls = "none"\ntsl = "on"', "notices.settings.tsl"),
    "adapter's wrong setting": (
        'base_url = "http://127.0.0.1:9"',
        "base_url = 9",
        "channels.mijnoverheid.settings.base_url",
    ),
    "no notices": ('[notices]\nadapter = "smtp-notifier"', "", "notices"),
    "a wait": ("[api]", '[policy]\nprimary_wait = "5 minutes"\n[api]', "policy.primary_wait"),
    "an endless wait": ("[api]", '[policy]\nprimary_wait = "999999999999d"\n[api]', "policy.primary_wait"),
    "no wait": ("[api]", '[policy]\nnotice_retries = ["0s"]\n[api]', "policy.notice_retries.0"),
    "past 48 hours": ("[api]", '[policy]\nnotice_last_attempt = "48h"\n[api]', "policy.notice_last_attempt"),
    "a port": ("[api]\nport = 0", "[api]\nport = 99999", "api.port"),
    "a type": ("[api]\nport = 0", '[api]\nport = "http"', "api.port"),
    "an OIN": ("[organisations.00000001999000020000]", "[organisations.1]", "organisations.1"),
    "two primary": (
        "[notices]",
        '[channels.twee]\nadapter = "x"\nkind = "box"\nlabel = "x"\nceiling = "hoog"\nprimary = true\n[notices]',
        "primary",
    ),
    "box address": ('url = "https://mijn.overheid.nl"', 'url = "mijn.overheid.nl"', "channels.mijnoverheid.url"),
    "e-mail too high": ('kind = "box"', 'kind = "email"', "channels.mijnoverheid.ceiling"),
    "channel name": ("[channels.mijnoverheid]", '[channels."Mijn Box"]\n[channels.mijnoverheid]', "channels.Mijn Box"),
    "database of another kind": ('url = "sqlite:///', 'url = "mysql:///', "database.url"),
    "no database address": ('url = "sqlite:///', 'url = "', "database.url"),
    "database in memory": ('url = "sqlite:///', 'url = "sqlite://"\n#', "database.url"),
    "broker of another kind": ("[api]", '[broker]\nurl = "amqp://x"\n[api]', "broker.url"),
    "key for nobody": (
        "[api]\nport = 0",
        f'[api]\nport = 0\n[api.applications.x]\nkeys = ["{"0" * 64}"]\norganisations = ["{"9" * 20}"]',
        "api.applications.x.organisations",
    ),
    "key that is none": (
        "[api]\nport = 0",
        '[api]\nport = 0\n[api.applications.x]\nkeys = ["x"]\norganisations = ["1"]',
        "api.applications.x.keys.0",
    ),
    "production on SQLite": ("[database]", PRODUCTION + REDIS + "[database]", "database.url"),
    "production without Redis": ("[database]", PRODUCTION + "[database]", "broker.url"),
    "production without evidence": ("[database]", PRODUCTION + "[database]", "evidence: none"),
    "a log's name": ("[api]", '[evidence]\norigin = "een log"\n[api]', "evidence.origin"),
    "a witness's key": (
        "[api]",
        '[evidence]\norigin = "log"\nwitness = { url = "https://w.example", key = "x" }\n[api]',
        "evidence.witness.key",
    ),
    "production open to all": ("[database]", PRODUCTION + "[database]", "api.applications"),
    "production in a hurry": ("[database]", PRODUCTION + "[clock]\nfactor = 60\n[database]", "clock"),
}


@pytest.mark.parametrize(
    ("command", "mistake"),
    [*(("config check", mistake) for mistake in MISTAKES), ("run", "unknown key"), ("run", "unknown adapter")],
)
def test_a_mistake_in_the_configuration_is_one_message_with_file_and_key(bode, config, mistake, command):
    before, after, names = MISTAKES[mistake]
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after, 1))
    told = bode(*command.split())
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith(f"bode: configuration {config}")
    assert told.err.count("bode: ") == 1
    assert names in told.err
    assert "zeer-geheime-sleutel" not in told.err
    assert "pydantic" not in told.err


def test_all_mistakes_are_told_at_once(bode, config):
    config.write_text(PRODUCTION + config.read_text())
    told = bode("config", "check")
    assert {"database.url", "broker.url", "api.applications"} <= set(re.findall(r"[a-z]+\.[a-z]+", told.err))


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00", b"a = " + b"[" * 100_000])
def test_a_configuration_of_odd_bytes(bode, config, content):
    config.write_bytes(content)
    told = bode("config", "check")
    assert told.code == 2
    assert str(config) in told.err


def test_a_configuration_that_is_not_there(run, tmp_path):
    for path in (tmp_path / "nergens.toml", tmp_path):
        told = run("config", "check", "--config", path)
        assert told.code == 2
        assert str(path) in told.err


@pytest.mark.parametrize(
    ("name", "value"),
    [("BODE__CHANNELS", "geen json"), ("BODE__API__PORT", "x"), ("BODE__POLICY__PRIMARY_WAIT", "5 minutes")],
)
def test_a_mistake_in_the_environment(bode, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    told = bode("config", "check")
    assert told.code == 2
    assert name.split("__")[1].lower() in told.err.lower()


# ---------------------------------------------------------------------------------------------------- keys and database


def test_a_key_file_is_made_once_for_its_owner_alone(run, config, tmp_path):
    assert run("keys", "init", "--config", config).code == 0
    path = tmp_path / "bode.key"
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    told = run("keys", "init", "--config", config)
    assert told.code == 2
    assert str(path) in told.err
    assert path.read_bytes() == before
    assert before.decode().strip() not in told.err


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(bode, tmp_path, mode):
    (tmp_path / "bode.key").chmod(mode)
    told = bode("config", "check")
    assert told.code == 2
    assert "chmod 600" in told.err


@pytest.mark.parametrize("content", [b"", b"kort", b"00" * 31, b"\xff" * 32, None])
@pytest.mark.parametrize("command", [["config", "check"], ["run"], ["queue", "key"]], ids=" ".join)
def test_a_key_file_that_holds_no_key(bode, tmp_path, content, command):
    path = tmp_path / "bode.key"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    told = bode(*command)
    assert (told.code, told.out) == (2, "")
    assert str(path) in told.err


def test_a_key_in_a_folder_that_cannot_be(run, config, tmp_path):
    (tmp_path / "bestand").touch()
    config.write_text(config.read_text().replace("/bode.key", "/bestand/bode.key"))
    told = run("keys", "init", "--config", config)
    assert told.code == 3
    assert "bestand" in told.err


def test_a_key_is_replaced_by_another_without_losing_anything(bode, run, config, tmp_path):
    intake = bode("queue", "key").out
    new = tmp_path / "new.key"
    assert run("keys", "init", "--file", new, "--config", config).code == 0
    old_line = f'file = "{tmp_path}/bode.key"'
    config.write_text(config.read_text().replace(old_line, f'file = "{new}"'))
    told = bode("keys", "list")
    assert told.code == 2
    assert "keys.others" in told.err
    config.write_text(
        config.read_text().replace(f'file = "{new}"', f'file = "{new}"\nothers = [{{ file = "{tmp_path}/bode.key" }}]')
    )
    told = bode("keys", "rotate", "--reason", "jaarlijks")
    assert told.code == 0, told.err
    assert told.out.startswith("4 sealed anew")
    config.write_text(config.read_text().replace(f'\nothers = [{{ file = "{tmp_path}/bode.key" }}]', ""))
    (tmp_path / "bode.key").unlink()
    assert bode("queue", "key").out == intake, "zaaksystemen keep theirs"
    told = bode("keys", "rotate-lookup", "--reason", "proef", "--wait-seconds", "0")
    assert told.code == 0, told.err
    assert "the older secret is gone" in told.out


def test_keys_for_others(bode, run):
    assert json.loads(bode("queue", "key").out)["use"] == "enc"
    told = run("keys", "api")
    key, digest = (line.split()[-1] for line in told.out.splitlines())
    from hashlib import sha256

    assert sha256(key.encode()).hexdigest() == digest
    assert run("keys", "api").out != told.out


def test_the_database_is_upgraded_again_without_harm(bode):
    told = bode("db", "upgrade")
    assert (told.code, told.out) == (0, "schema is current\n")


def test_what_an_upgrade_of_sqlite_would_do_cannot_be_told(bode):
    told = bode("db", "upgrade", "--dry-run")
    assert told.code == 2
    assert "upgrade the copy" in told.err


def test_a_restore_is_written_down_and_says_what_is_doubted(bode):
    told = bode("db", "restored", "--reason", "Schijf stuk", "--by", "j.jansen")
    assert told.code == 0
    assert re.search(r"steps that may have been done since: \d+\n$", told.out)
    assert "database_restored" in bode("lane", "acts").out


@pytest.mark.parametrize("command", [["status", "X"], ["lane", "list"], ["run"]], ids=" ".join)
def test_without_a_schema_it_says_what_to_do(run, config, command):
    run("keys", "init", "--config", config)
    told = run(*command, "--config", config)
    assert told.code == 2
    assert "bode db upgrade" in told.err


def _away(kind, config, tmp_path):
    text = config.read_text()
    url = f"sqlite:///{tmp_path}/bode.db"
    if kind == "directory":
        (tmp_path / "map").mkdir()
        config.write_text(text.replace(url, f"sqlite:///{tmp_path}/map"))
    elif kind == "no database":
        (tmp_path / "tekst").write_text("geen database, " * 100)
        config.write_text(text.replace(url, f"sqlite:///{tmp_path}/tekst"))
    elif kind == "file for a folder":
        (tmp_path / "bestand").touch()
        config.write_text(text.replace(url, f"sqlite:///{tmp_path}/bestand/bode.db"))
    else:
        config.write_text(text.replace(url, "postgresql://bode:geheim@127.0.0.1:9/bode"))


@pytest.mark.parametrize("kind", ["directory", "no database", "file for a folder", "nobody there"])
@pytest.mark.parametrize("command", [["db", "upgrade"], ["status", "X"], ["run"]], ids=" ".join)
def test_a_database_that_is_not_there(bode, config, tmp_path, kind, command):
    _away(kind, config, tmp_path)
    told = bode(*command)
    assert told.code == 3
    assert re.search(r"database|bestand", told.err)
    assert "geheim" not in told.err
    assert len(told.err.splitlines()) <= 4


def test_a_broker_that_is_not_there(bode, config):
    config.write_text(config.read_text() + REDIS)
    told = bode("run")
    assert told.code == 3
    assert "broker.url" in told.err
    assert bode("config", "check").code == 0, "the configuration itself is good"


@pytest.mark.parametrize("section", ["api", "bounces"])
def test_a_port_that_is_in_use(bode, config, section):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config.write_text(config.read_text().replace(f"[{section}]\nport = 0", f"[{section}]\nport = {port}"))
        told = bode("run")
    assert told.code == 3
    assert str(port) in told.err
    assert len(told.err.splitlines()) <= 2


def test_an_address_that_is_not_ours(bode, config):
    config.write_text(config.read_text().replace("[api]\n", '[api]\nhost = "192.0.2.1"\n'))
    told = bode("run")
    assert told.code == 3
    assert "192.0.2.1" in told.err


# ------------------------------------------------------------------------------------------------------------- bounces

BOUNCE = b"""From: MAILER-DAEMON@mx.example.nl
To: retour@example.nl
Subject: Undelivered Mail
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="x"

--x
Content-Type: text/plain

Sorry.

--x
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.nl

Final-Recipient: rfc822; weg@example.nl
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 user unknown

--x--
"""


def test_bounces_are_classified_a_line_each(run, tmp_path):
    (tmp_path / "een.eml").write_bytes(BOUNCE)
    (tmp_path / "leeg.eml").write_bytes(b"")
    (tmp_path / "raar.eml").write_bytes(b"\xff\x00" * 500)
    told = run("bounce", "classify", *(tmp_path / name for name in ("een.eml", "leeg.eml", "raar.eml")))
    assert told.code == 0
    lines = [json.loads(line) for line in told.out.splitlines()]
    assert lines[0]["verdict"] == "hard"
    assert run("bounce", "classify", tmp_path / "nergens.eml").code == 2
    assert run("bounce", "classify").code == 2


def test_replies_are_classified_a_line_each(run):
    given = b"550 5.1.1 user unknown\n\n452 4.2.2 mailbox full\nonzin \xff\xfe\n\xd9\xa3\xd9\xa3\xd9\xa3 x\n"
    told = run("bounce", "classify-reply", given=given)
    assert told.code == 0
    verdicts = [json.loads(line)["verdict"] for line in told.out.splitlines()]
    assert verdicts[:2] == ["hard", "soft"]
    assert len(verdicts) == 4
    assert run("bounce", "classify-reply", "--phase", "data", given=b"554 5.7.1 refused\n").code == 0
    assert run("bounce", "classify-reply", "--phase", "thuis").code == 2


# ------------------------------------------------------------------------------------------------------ the real thing


@pytest.mark.slow
def test_a_real_process_starts_takes_a_message_and_stops_at_a_signal(bode, config):
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    config.write_text(config.read_text().replace("[api]\nport = 0", f"[api]\nport = {port}"))
    with _process("run", "api", "--config", config) as process:
        try:
            until = time.monotonic() + 20
            while True:
                try:
                    assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
                    break
                except httpx.TransportError:
                    assert time.monotonic() < until
                    assert process.poll() is None
                    time.sleep(0.05)
            assert httpx.post(f"http://127.0.0.1:{port}/v1/berichten", json=message()).status_code == 202
            process.send_signal(signal.SIGTERM)
            _, logged = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    lines = [json.loads(line) for line in logged.splitlines()]
    assert lines[-1]["event"] == "process.stopped"
    for secret in (b"Zonderbrief", b"999990019", b"zwembad", b"Geheimepad"):
        assert secret not in logged


@pytest.mark.slow
def test_a_real_process_that_cannot_start_has_no_traceback(bode, config):
    config.write_text(config.read_text().replace("[database]", "[databse]"))
    with _process("run", "--config", config) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, b"")
    assert b"databse" in err
    assert b"Traceback" not in err


@pytest.fixture
def wide(monkeypatch):
    """Let tables be printed without breaking lines in their cells."""
    monkeypatch.setattr(base.console, "_width", 220)


def _table(text: str) -> list[list[str]]:
    """Give the cells of the rows of a printed table."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if line.startswith("│")]


@pytest.mark.usefixtures("wide")
def test_the_key_of_return_paths_is_rotated_and_an_old_generation_removed(bode):
    assert [row[:3] for row in _table(bode("keys", "return-path", "list").out)] == [["1", "from the start", "signs"]]
    told = bode("keys", "return-path", "rotate", "--reason", "jaarlijks", "--by", "Anna")
    assert (told.code, "generation 2 signs" in told.out) == (0, True)
    early = bode("keys", "return-path", "remove", "1", "--reason", "opruimen")
    assert early.code == 2
    assert "bounces are believed for 60 days" in early.err
    assert bode("keys", "return-path", "remove", "2", "--reason", "x").code == 2, "the one that signs stays"
    assert bode("keys", "return-path", "remove", "7", "--reason", "x").code == 2
    assert bode("keys", "return-path", "remove", "1", "--reason", "gelekt", "--in-use", "--by", "Anna").code == 0
    assert bode("keys", "return-path", "remove", "1", "--reason", "x", "--in-use").code == 2, "it is removed already"
    second, first = _table(bode("keys", "return-path", "list").out)
    assert (second[0], second[2:]) == ("2", ["signs", "Anna", "jaarlijks"])
    assert (first[0], first[2][:7], first[3:]) == ("1", "removed", ["Anna", "gelekt"])


@pytest.mark.usefixtures("wide")
def test_the_list_says_why_nothing_followed_and_what_it_is_perhaps_about(bode, handed_in, tmp_path):
    reference = handed_in()
    vault = Vault(read_key_file(tmp_path / "bode.key"))
    rows = [
        ("aaaa", "ignored", "forged", None),
        ("bbbb", "unmatched", "no_return_path", reference),
        ("cccc", "unmatched", "nothing_to_decide:ordinary", None),
        ("dddd", "matched", "hard", reference),
    ]
    with closing(sqlite3.connect(tmp_path / "bode.db")) as database, database:
        (known,) = database.execute("SELECT id FROM message").fetchone()
        for key, state, note, about in rows:
            sealed = vault.seal_inbound(key, b"x@y\nSubject: x\n\n")
            database.execute(
                "INSERT INTO inbound (key, route, state, note, message_id, received_at, sealed) VALUES (?,?,?,?,?,?,?)",
                (key, "imap", state, note, known if about else None, "2026-03-02 09:00:00.000000", sealed),
            )
    listed = {row[0]: row for row in _table(bode("bounce", "list").out)}
    assert listed.keys() == {"aaaa", "bbbb", "cccc"}
    assert listed["aaaa"][3:] == ["ignored", "forged: the return path was not signed by us", ""]
    assert listed["bbbb"][3:] == ["unmatched", "no return path of ours", reference]
    assert listed["cccc"][4] == "nothing_to_decide:ordinary"
    assert [row[0] for row in _table(bode("bounce", "list", "--state", "matched").out)] == ["dddd"]
    assert bode("bounce", "list", "--state", "new").out == "nothing\n"
    assert bode("bounce", "replay", "dddd").code == 2, "what was decided stays so"
    assert bode("bounce", "replay", "all").out == "3 decided again\n"
    assert {row[4] for row in _table(bode("bounce", "list").out)} == {"no return path of ours"}


def test_what_stands_for_a_person_in_the_log_of_data_processing_is_told_without_naming_them(bode, tmp_path):
    done = bode("logboek", "pseudonym", given=b"999990019\n")
    assert (done.code, done.out.split()) == (0, list(read_vault(tmp_path).pseudonyms("BSN", "999990019")))
    assert bode("logboek", "pseudonym", "KVK", given=b"12345678\n").out != done.out
    refused = bode("logboek", "pseudonym", given=b"Jansen\n")
    assert refused.code == 2
    assert "Jansen" not in refused.out + refused.err


def read_vault(folder) -> Vault:
    return Vault(read_key_file(folder / "bode.key"))
