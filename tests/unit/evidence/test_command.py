"""`bode evidence verify`: no database, no configuration; the exit code is the verdict."""

import sys
from datetime import UTC, datetime

import pytest

from bode.evidence.bundle import unpack
from bode.evidence.note import Checkpoint, SigningKey
from bode_ops import cli


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the command; gives its exit code and all it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["bode", "evidence", "verify", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, "".join(capsys.readouterr())

    return run


@pytest.fixture
def extract(log, tmp_path):
    file = tmp_path / "afschrift.zip"
    file.write_bytes(log.issue(2, 3))
    return file


def test_the_exit_code_is_the_verdict(run, extract, lab, tmp_path):
    key = lab.KEY.verifier
    code, told = run(extract.name, "--key", key)
    assert code == 0
    assert told.startswith("afschrift.zip: valid\n  message 0190b2c4-")
    altered = tmp_path / "altered.zip"
    altered.write_bytes(lab.replaced(extract.read_bytes(), "details/000003.json", b"sanne3", b"sanne4"))
    code, told = run(extract.name, altered.name, "--key", key)
    assert code == 1
    assert "altered.zip: ALTERED" in told
    assert f"event 3 of message {lab.MESSAGE}: its details do not match what was committed" in told
    assert run(extract.name, "--key", SigningKey.generate(lab.ORIGIN).verifier)[0] == 2
    assert run("niet-hier.zip", "--key", key) == (2, "niet-hier.zip: cannot be decided\n  there is no such file\n")


def test_the_details_themselves_are_not_printed(run, extract, lab):
    assert "sanne" not in run(extract.name, "--key", lab.KEY.verifier)[1]


def test_a_published_checkpoint_can_be_held_against_it(run, extract, lab, tmp_path):
    published = tmp_path / "checkpoint"
    published.write_bytes(unpack(extract.read_bytes()).files["checkpoint"])
    key = lab.KEY.verifier
    code, told = run(extract.name, "--key", key, "--checkpoint", published)
    assert code == 0
    assert "the checkpoint is the one that was published" in told
    published.write_bytes(Checkpoint(lab.ORIGIN, 17, bytes(32)).sign(lab.KEY).encode())
    code, told = run(extract.name, "--key", key, "--checkpoint", published)
    assert code == 1
    assert "two histories" in told


def test_what_cannot_be_used_is_told(run, extract, lab, tmp_path):
    key = lab.KEY.verifier
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "empty.pem").write_bytes(b"")
    for arguments, message in [
        (["--key", key], "name the extracts"),
        ([extract.name], "--key"),
        ([extract.name, "--key", "nothing"], "name+id+base64, and there is no file with this name"),
        ([extract.name, "--key", "binary"], "not one of public keys"),
        ([extract.name, "--key", lab.KEY.text()], "this is a private key"),
        ([extract.name, "--key", key, "--checkpoint", "none"], "none: No such file"),
        ([extract.name, "--key", key, "--tsa-root", "empty.pem"], "no certificates in PEM"),
    ]:
        code, told = run(*arguments)
        assert code == 2
        assert message in told
        assert lab.KEY.text()[-20:] not in told


def test_a_time_stamp_is_asked_for_with_the_root_of_its_authority(run, extract, lab, tmp_path):
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding

    key, name = Ed25519PrivateKey.generate(), x509.Name([])
    root = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
        .sign(key, None)
    )
    (tmp_path / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    code, told = run(extract.name, "--key", lab.KEY.verifier, "--tsa-root", "root.pem")
    assert code == 2
    assert "timestamp.tsr: there is none over this checkpoint by an authority that was given" in told
