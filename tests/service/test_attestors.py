"""A time stamping authority and a witness over HTTP: what they say is kept, and nothing waits for them."""

import asyncio
import base64
import subprocess

import httpx
import pytest
import sqlalchemy as sa
import structlog
from cryptography import x509

from bode.engine.attestors import TimestampAuthority, Witness
from bode.engine.checkpoints import AttestationError, Checkpoints
from bode.engine.sequencer import Sequencer
from bode.evidence.merkle import EMPTY_ROOT, verify_consistency
from bode.evidence.note import Checkpoint, KeyKind, Note, SigningKey, open_checkpoint
from bode.store import tables
from bode.store.evidence_log import latest_checkpoint
from bode.store.log_folder import LogFolder

ORIGIN = "gemeente.example/test"


@pytest.fixture
async def log(app, tmp_path):
    """Give a log, and a way to grow and publish it."""
    key = SigningKey.generate(ORIGIN)
    folder = LogFolder(tmp_path / "evidence", ORIGIN, [key.verifier])
    return Checkpoints(app.database, app.clock, folder, key, every_seconds=0.01)


async def grow(app, log, many_events, count):
    await many_events(app, count)
    await Sequencer(app.database).work()
    return await log.publish()


class FakeWitness:
    """Does what tlog-witness asks: checks the log's signature and that it grew, and signs."""

    def __init__(self, log_key):
        self.key = SigningKey.generate("getuige.example", KeyKind.WITNESS)
        self.log_key = log_key
        self.size, self.root = 0, EMPTY_ROOT
        self.calls = 0

    def __call__(self, request):
        self.calls += 1
        assert request.url.path == "/getuige/add-checkpoint"
        head, _, note = request.content.partition(b"\n\n")
        first, *proof = head.decode().splitlines()
        stated = open_checkpoint(note, [self.log_key]).checkpoint
        if first != f"old {self.size}":
            return httpx.Response(409, text=f"{self.size}\n", headers={"Content-Type": "text/x.tlog.size"})
        hashes = [base64.b64decode(line) for line in proof]
        assert verify_consistency(
            old=self.size, old_root=self.root, new=stated.size, new_root=stated.root, proof=hashes
        )
        self.size, self.root = stated.size, stated.root
        return httpx.Response(200, text=str(self.key.sign(Note.parse(note).text, at=1_770_000_000)))

    def attestor(self, key=None):
        client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        return Witness("https://getuige.example/getuige/", (key or self.key).verifier, client=client)


async def test_a_witness_signs_what_grew_and_its_word_is_kept_beside_the_checkpoint(app, log, many_events):
    witness = FakeWitness(log._key.verifier)
    attestor = witness.attestor()
    size = await grow(app, log, many_events, 150)
    assert await log.attest(attestor)
    assert not await log.attest(attestor), "once for a checkpoint"
    size = await grow(app, log, many_events, 7)
    assert await log.attest(attestor)
    assert (witness.size, witness.calls) == (size, 2)
    async with app.database.read() as connection:
        kept = await latest_checkpoint(connection, ORIGIN)
    whole = kept.note.encode() + kept.attestations["witness"]
    opened = open_checkpoint(whole, [log._key.verifier, witness.key.verifier])
    assert [(seen.key, seen.at) for seen in opened.witnesses] == [(witness.key.verifier, 1_770_000_000)]
    beside = log._folder.path / f"checkpoint.{size}.witness"
    assert beside.read_bytes() == kept.attestations["witness"]


async def test_a_witness_that_knows_an_earlier_size_is_given_the_proof_from_there(app, log, many_events):
    """This process was started again and does not know what the witness saw last."""
    witness = FakeWitness(log._key.verifier)
    await grow(app, log, many_events, 20)
    assert await log.attest(witness.attestor())
    await grow(app, log, many_events, 20)
    assert await log.attest(witness.attestor())
    assert (witness.size, witness.calls) == (80, 3)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(403), "answered 403"),
        (httpx.Response(409, text="9000\n"), "larger log"),
        (httpx.Response(409, text="wat?\n"), "larger log"),
        (httpx.Response(200, text="dank u"), "not with the key"),
        (httpx.Response(200, text="x" * 100_000), "longer than"),
        (httpx.ConnectError("weg"), "cannot be reached"),
    ],
)
async def test_what_a_witness_does_wrong_is_said_and_not_kept(app, log, many_events, answer, said):
    def handler(_request):
        if isinstance(answer, Exception):
            raise answer
        return answer

    await grow(app, log, many_events, 2)
    client = httpx.AsyncClient(transport=httpx.MockTransport(handler))
    key = SigningKey.generate("getuige.example", KeyKind.WITNESS).verifier
    with pytest.raises(AttestationError, match=said):
        await log.attest(Witness("https://getuige.example", key, client=client))
    assert await app.rows(tables.evidence_attestation) == []


async def test_the_signature_of_another_witness_is_not_kept(app, log, many_events):
    witness = FakeWitness(log._key.verifier)
    await grow(app, log, many_events, 2)
    other = SigningKey.generate("getuige.example", KeyKind.WITNESS)
    with pytest.raises(AttestationError, match="not with the key"):
        await log.attest(witness.attestor(other))


async def test_signing_goes_on_while_a_witness_and_an_authority_are_away(app, log, many_events, until):
    def hangs(_request):
        raise httpx.ConnectTimeout("weg")

    client = httpx.AsyncClient(transport=httpx.MockTransport(hangs))
    key = SigningKey.generate("getuige.example", KeyKind.WITNESS).verifier
    log._attestors = (Witness("https://getuige.example", key, client=client),)
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(log.run())
        for number in (1, 2, 3):
            await many_events(app, 1)
            await Sequencer(app.database).work()
            await until(lambda size=2 * number: log._folder.newest() and log._folder.newest().checkpoint.size == size)
        await until(lambda: any(line["event"] == "evidence.not_attested" for line in logs))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


# ---------------------------------------------------------------------------------------------------------- time stamps


class Authority:
    """A time stamping authority of openssl, with a root of its own."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        (folder / "ext").write_text("extendedKeyUsage=critical,timeStamping\nbasicConstraints=CA:FALSE\n")
        (folder / "tsa.cnf").write_text(
            "[tsa]\ndefault_tsa=t\n[t]\nserial=serial\nsigner_cert=tsa.pem\nsigner_key=tsa.key\n"
            "signer_digest=sha256\ndefault_policy=1.2.3.4\ndigests=sha256,sha384,sha512\nordering=yes\ntsa_name=yes\n"
            "ess_cert_id_chain=no\naccuracy=secs:1\n"
        )
        (folder / "serial").write_text("01\n")
        new = ("req", "-new", "-nodes", "-newkey", "rsa:2048", "-batch")
        self._do(*new, "-x509", "-subj", "/CN=root", "-days", "30", "-keyout", "root.key", "-out", "root.pem")
        self._do(*new, "-subj", "/CN=tsa", "-keyout", "tsa.key", "-out", "tsa.csr")
        sign = ("x509", "-req", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "20")
        self._do(*sign, "-in", "tsa.csr", "-extfile", "ext", "-out", "tsa.pem")
        self.root = x509.load_pem_x509_certificate((folder / "root.pem").read_bytes())

    def _do(self, *words):
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

    def __call__(self, request):
        assert request.headers["Content-Type"] == "application/timestamp-query"
        (self.folder / "query").write_bytes(request.content)
        self._do("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-out", "reply")
        return httpx.Response(200, content=(self.folder / "reply").read_bytes())

    def attestor(self, root=None):
        client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        return TimestampAuthority("https://tsa.example", [root or self.root], client=client)


@pytest.mark.slow
async def test_a_time_stamp_of_the_authority_that_was_named_is_kept(app, log, many_events, tmp_path):
    authority = Authority(tmp_path / "tsa")
    size = await grow(app, log, many_events, 3)
    assert await log.attest(authority.attestor())
    async with app.database.read() as connection:
        kept = await latest_checkpoint(connection, ORIGIN)
    assert (log._folder.path / f"checkpoint.{size}.timestamp").read_bytes() == kept.attestations["timestamp"]


@pytest.mark.slow
async def test_a_time_stamp_under_another_root_or_of_another_question_is_not_kept(app, log, many_events, tmp_path):
    authority, other = Authority(tmp_path / "tsa"), Authority(tmp_path / "other")
    await grow(app, log, many_events, 3)
    with pytest.raises(AttestationError, match=r"evidence\.tsa"):
        await log.attest(other.attestor(authority.root))
    old = Checkpoint(ORIGIN, 1, bytes(32)).sign(log._key).encode()
    attestor = authority.attestor()
    await attestor.attest(old, None, None)
    replayed = httpx.Response(200, content=(authority.folder / "reply").read_bytes())
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: replayed))
    with pytest.raises(AttestationError, match=r"evidence\.tsa"):
        await log.attest(TimestampAuthority("https://tsa.example", [authority.root], client=client))
    assert await app.rows(tables.evidence_attestation) == []


@pytest.mark.parametrize("status", [200, 404])
async def test_an_answer_without_end_is_read_no_further_than_it_could_be_one(status, app, log, many_events):
    given = 0

    async def endless():
        nonlocal given
        while given < 10_000_000:
            given += 4096
            yield b"x" * 4096

    witness = FakeWitness(log._key.verifier)
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(status, content=endless())))
    attestor = Witness("https://getuige.example", witness.key.verifier, client=client)
    await grow(app, log, many_events, 1)
    async with app.database.read() as connection:
        note = (await connection.execute(sa.select(tables.evidence_checkpoint.c.note))).scalar_one().encode()

    async def prove(old):
        assert old == 0
        return []

    with pytest.raises(AttestationError, match="longer than any attestation"):
        await attestor.attest(note, open_checkpoint(note, [log._key.verifier]).checkpoint, prove)
    assert given <= 16 * 4096 + 4096 * 2
