"""`bode doctor` names the fault in ten broken set-ups: which part, what is wrong with it, and what to do."""

from __future__ import annotations

import json
import sqlite3
from collections import namedtuple
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
import toml_parts
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bode import settings as configuration
from bode.settings import config_folder
from bode.store.database import Database
from bode.store.evidence_keys import make_keyring
from bode.store.vault import write_key_file
from bode_adapters.email.mock import MockMailServer
from bode_adapters.mijndomein import mock as mijndomein
from bode_adapters.mijnoverheid import mock as mijnoverheid
from bode_adapters.serving import serve
from bode_ops import cli, doctor
from bode_ops.commands import base
from bode_ops.doctor import Verdict, examine

CONFIG = (
    """
[database]
url = "{database}"
[keys]
file = "{folder}/bode.key"
[evidence]
key_file = "{folder}/evidence.key"
origin = "doctor.example"
folder = "{folder}/evidence"
[engine]
journal_folder = "{folder}/journal"
"""
    + toml_parts.mijnoverheid(base_url="{mijnoverheid}", api_key="zeer-geheime-sleutel")
    + toml_parts.mijndomein("{mijndomein}")
    + toml_parts.notices("{smtp}")
    + toml_parts.PRINT_FOLDER
    + toml_parts.MAASVELD
)


class Installation:
    """An installation where nothing is wrong, until a test breaks it."""

    def __init__(self, folder, values, mail) -> None:
        self.folder = folder
        self.config = folder / "bode.toml"
        self.values = values
        self.mail = mail
        self.more = ""

    async def findings(self):
        self.config.write_text(CONFIG.format(**self.values) + self.more)
        return {finding.part: finding for finding in await examine(self.config)}

    async def faults(self):
        found = await self.findings()
        faults = {part: finding for part, finding in found.items() if finding.verdict is Verdict.FAULT}
        told = "".join(f"{finding.what} {finding.do}" for finding in found.values())
        assert "zeer-geheime-sleutel" not in told
        assert all(finding.what and finding.do for finding in faults.values())
        return faults


def utc_now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def bode(tmp_path, sqlite_url, monkeypatch):
    for name in ("BODE_CONFIG", "BODE_SECRETS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "print" / "in").mkdir(parents=True)
    (tmp_path / "evidence").mkdir()
    write_key_file(tmp_path / "bode.key")
    make_keyring(tmp_path / "evidence.key", "doctor.example")
    first = mijnoverheid.create_mock(clock=utc_now, api_key="zeer-geheime-sleutel")
    second = mijndomein.create_mock(clock=utc_now)
    async with MockMailServer() as mail, serve(first) as first_url, serve(second) as second_url:
        yield Installation(
            tmp_path,
            {
                "folder": tmp_path,
                "database": sqlite_url,
                "mijnoverheid": first_url,
                "mijndomein": f"{second_url}/api/v1",
                "smtp": mail.port,
            },
            mail,
        )


async def test_where_nothing_is_wrong_nothing_is_named(bode):
    found = await bode.findings()
    assert {finding.verdict for finding in found.values()} == {Verdict.WELL}
    assert {"database.url", "clock", "broker.url", "channels.mijnoverheid", "channels.mijndomein"} <= set(found)


async def test_1_a_wrong_password_of_the_database(bode, own_postgres):
    own_postgres.do("CREATE ROLE clerk LOGIN PASSWORD 'right'")
    hba = own_postgres.folder / "data" / "pg_hba.conf"
    hba.write_text("local all clerk scram-sha-256\n" + hba.read_text())
    own_postgres.do("SELECT pg_reload_conf()")
    url = sa.make_url(own_postgres.fresh()).set(username="clerk", password="mis-geraden")
    bode.values["database"] = url.render_as_string(hide_password=False)
    (fault,) = (await bode.faults()).items()
    assert fault[0] == "database.url"
    assert 'password authentication failed for user "clerk"' in fault[1].what
    assert "PGPASSWORD" in fault[1].do
    assert "mis-geraden" not in fault[1].what + fault[1].do


async def test_2_redis_that_is_down(bode):
    bode.more = '[broker]\nurl = "redis://bode:zeer-geheime-sleutel@127.0.0.1:9/0"\n'
    (fault,) = (await bode.faults()).values()
    assert (fault.part, fault.what) == ("broker.url", "Redis at 127.0.0.1:9 cannot be reached (ConnectionError)")


async def test_3_an_old_schema(bode):
    with closing(sqlite3.connect(bode.folder / "bode.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
        connection.commit()
    (fault,) = (await bode.faults()).values()
    assert fault.part == "database schema"
    assert "the database has 0001, this version of Bode works with " in fault.what
    assert "bode db upgrade" in fault.do


async def test_4_a_certificate_that_ran_out(bode):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bode")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(utc_now() - timedelta(days=90))
    made = made.not_valid_after(utc_now() - timedelta(days=3)).sign(key, hashes.SHA256())
    (bode.folder / "own.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (bode.folder / "own.key").write_bytes(private)
    table = f"""[channels.mijndomein.settings]
base_url = "{bode.values["mijndomein"]}"
client_certificate = "{bode.folder}/own.pem"
client_key = "{bode.folder}/own.key"
"""
    text = CONFIG.format(**bode.values)
    start = text.index("[channels.mijndomein.settings]")
    end = text.index("[notices]")
    bode.config.write_text(text[:start] + table + text[end:])
    faults = [finding for finding in await examine(bode.config) if finding.verdict is Verdict.FAULT]
    assert [fault.part for fault in faults] == ["certificate channels.mijndomein"]
    assert "own.pem ran out 3 days ago" in faults[0].what or "own.pem ran out 4 days ago" in faults[0].what


async def test_5_a_full_disk(bode, monkeypatch):
    usage = namedtuple("usage", "total used free")  # noqa: PYI024  as shutil's own
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage(1000, 995, 5))
    faults = await bode.faults()
    assert set(faults) == {"disk database", "disk evidence"}
    assert "0.5% of the disk" in faults["disk evidence"].what
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage(1000, 950, 50))
    assert (await bode.findings())["disk evidence"].verdict is Verdict.WARNING


async def test_6_a_relay_that_refuses(bode):
    bode.mail.replies["connect"] = "554 5.7.1 Your address is on a list"
    (fault,) = (await bode.faults()).values()
    assert fault.part == "notices"
    assert "127.0.0.1: connect:554" in fault.what
    assert "Your address is on a list" in fault.what


async def test_7_a_clock_that_is_off(bode, monkeypatch):
    async def early(_self):
        return utc_now() - timedelta(minutes=4)

    monkeypatch.setattr(Database, "time", early)
    (fault,) = (await bode.faults()).values()
    assert fault.part == "clock"
    assert "240 s ahead of the database's" in fault.what


async def test_8_a_missing_key(bode):
    (bode.folder / "bode.key").unlink()
    (fault,) = (await bode.faults()).values()
    assert fault.part == "keys.file"
    assert fault.what.endswith("bode.key: No such file or directory")
    assert fault.do.startswith("put it back from its copy")


@pytest.mark.parametrize(("box", "what"), [("mijndomein", "message store"), ("mijnoverheid", "gateway")])
async def test_9_a_wrong_base_path(bode, box, what):
    bode.values[box] += "/v2"
    (fault,) = (await bode.faults()).values()
    assert (fault.part, fault.what) == (f"channels.{box}", f"http_404: there is no {what} at base_url")


@pytest.mark.parametrize("how", ["a folder", "no file", "no text", "no setting"])
async def test_10_a_configuration_that_cannot_be_read(bode, how):
    if how == "a folder":
        bode.config.mkdir()
    elif how == "no text":
        bode.config.write_bytes(b"\xff\xfe")
    elif how == "no setting":
        bode.config.write_text('[api]\nprot = "8080"')
    (fault,) = await examine(bode.config)
    assert (fault.part, fault.verdict) == ("configuration", Verdict.FAULT)
    assert "bode.toml" in fault.what
    if how == "no setting":
        assert "api.prot: there is no setting of this name" in fault.what


async def test_what_the_other_side_thinks_of_our_key_is_told(bode):
    bode.values["mijnoverheid"] += '"\napi_key = "een-andere'
    text = CONFIG.format(**bode.values).replace('\napi_key = "zeer-geheime-sleutel"', "")
    bode.config.write_text(text)
    faults = [finding for finding in await examine(bode.config) if finding.verdict is Verdict.FAULT]
    assert [(fault.part, fault.what) for fault in faults] == [
        ("channels.mijnoverheid", "http_401: it does not accept our key, token or certificate")
    ]


async def test_a_part_that_never_answers_does_not_hold_up_the_others(bode, monkeypatch):
    monkeypatch.setattr(doctor, "PATIENCE_SECONDS", 3.0)
    bode.mail.replies["connect"] = None
    (fault,) = (await bode.faults()).values()
    assert (fault.part, fault.what) == ("notices", "gives no answer within 3 seconds")


async def test_a_stopped_lane_is_a_warning(bode):
    with closing(sqlite3.connect(bode.folder / "bode.db")) as connection:
        connection.execute(
            "INSERT INTO lane (name, stopped_at, reason) VALUES ('print', '2026-03-02 09:00:00.000000', 'Printer stuk')"
        )
        connection.commit()
    found = await bode.findings()
    assert found["lane print"].verdict is Verdict.WARNING
    assert found["lane print"].do == "when that is mended: bode lane start print"


@pytest.fixture
def command(monkeypatch, capsys):
    """Run `bode doctor` in this process; gives its exit code and what it printed."""
    monkeypatch.setattr(base.logs, "configure", lambda _: None)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["bode", "doctor", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr().out

    return run


def test_the_exit_code_and_the_words_for_people_and_machines(command, tmp_path, sqlite_url, monkeypatch):
    monkeypatch.delenv("BODE_CONFIG", raising=False)
    (tmp_path / "print" / "in").mkdir(parents=True)
    config = tmp_path / "bode.toml"
    values = {"folder": tmp_path, "database": sqlite_url, "smtp": 9}
    config.write_text(CONFIG.format(**values, mijnoverheid="http://127.0.0.1:9", mijndomein="http://127.0.0.1:9"))
    code, out = command("--config", config)
    assert code == 1
    assert "FAULT    keys.file: key file" in out
    assert out.splitlines()[-1] == "4 of 14 wrong"
    code, out = command("--json", "--config", config)
    told = {finding["part"]: finding for finding in json.loads(out)["findings"]}
    assert (code, told["broker.url"]["verdict"], told["notices"]["verdict"]) == (1, "well", "fault")
    code, out = command("--config", tmp_path / "none.toml")
    assert (code, out.splitlines()[-1]) == (2, "1 of 1 wrong")


def test_in_production_a_body_without_limits_is_a_warning():
    """A stolen key could send without end, and nobody would see it."""
    example = config_folder() / "examples" / "production.toml"
    assert doctor._limits(configuration.load(example)) == []
    found = configuration.load(example)
    unlimited = {
        oin: body.model_copy(update={"limits": configuration.LimitSettings(messages_per_day=5)})
        for oin, body in found.organisations.items()
    }
    (warning,) = doctor._limits(found.model_copy(update={"organisations": unlimited}))
    assert (warning.part, warning.verdict) == ("organisations.00000001999000010000.limits", Verdict.WARNING)
    assert "letters_per_day" in warning.do


async def test_a_store_of_documents_that_cannot_be_used_is_named(bode):
    bode.more = f'[documents]\nfolder = "{bode.folder}/documents"\n'
    assert (await bode.findings())["documents"].verdict is Verdict.WELL
    bode.more = f'[documents]\nfolder = "{bode.folder}/not/mounted/documents"\n'
    assert "documents" in await bode.faults()
    keys = 'region = "nl", access_key_id = "a", secret_access_key = "b", timeout_seconds = 1'
    bode.more = f'[documents]\ns3 = {{ bucket = "stukken", endpoint = "http://127.0.0.1:9", {keys} }}\n'
    faults = await bode.faults()
    assert "127.0.0.1" not in faults["documents"].what


async def test_documents_in_a_store_that_is_no_longer_configured_are_a_fault(bode):
    assert "documents" not in await bode.findings()
    with closing(sqlite3.connect(bode.values["database"].removeprefix("sqlite:///"))) as database, database:
        database.execute("INSERT INTO document VALUES (?, 0, x'', ?)", ("0" * 32, "0" * 32))
    assert "does not name" in (await bode.faults())["documents"].what
