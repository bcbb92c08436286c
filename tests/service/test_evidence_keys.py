"""Keys that sign evidence, and the database role that can only add to it."""

import stat

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from bode.evidence.note import KeyKind, SigningKey, VerifierKey
from bode.store import tables
from bode.store.evidence_keys import make_keyring, read_keyring, rotate_keyring
from bode.store.evidence_log import sequence
from bode.store.harden import HardenError, harden, hardening
from bode.store.vault import KeyFileError

ORIGIN = "gemeente.example/bode"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys" / "evidence.key"


def test_a_new_key_is_its_owners_alone_and_reads_back(path):
    ring = make_keyring(path, ORIGIN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_keyring(path, ORIGIN) == ring
    assert ring.verifiers == (ring.signing.verifier,)
    assert ring.signing.text() not in repr(ring)


def test_a_key_is_never_written_over(path):
    ring = make_keyring(path, ORIGIN)
    with pytest.raises(KeyFileError, match="rotate"):
        make_keyring(path, ORIGIN)
    assert read_keyring(path, ORIGIN) == ring


def test_a_rotated_key_keeps_verifying_and_can_no_longer_sign(path):
    first = make_keyring(path, ORIGIN)
    second = rotate_keyring(path, ORIGIN)
    third = rotate_keyring(path, ORIGIN)
    assert third.verifiers == (first.signing.verifier, second.signing.verifier, third.signing.verifier)
    assert read_keyring(path, ORIGIN) == third
    text = path.read_text()
    assert first.signing.text() not in text
    assert second.signing.text() not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in path.parent.iterdir()] == ["evidence.key"]


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (None, 0o600, "bode keys evidence init"),
        ("", 0o600, "is empty"),
        ("no key at all\n", 0o600, "does not hold keys"),
        ("KEY", 0o644, "chmod 600"),
        ("KEY", 0o640, "chmod 600"),
    ],
)
def test_a_key_file_that_cannot_be_used_says_why(path, content, mode, says):
    if content is not None:
        make_keyring(path, ORIGIN)
        if content != "KEY":
            path.write_text(content)
        path.chmod(mode)
    with pytest.raises(KeyFileError, match=says) as refused:
        read_keyring(path, ORIGIN)
    assert str(path) in str(refused.value)
    assert ORIGIN not in str(refused.value)


def test_a_key_of_another_log_is_refused(path):
    make_keyring(path, ORIGIN)
    with pytest.raises(KeyFileError, match="rotate"):
        read_keyring(path, f"{ORIGIN}/2")


def test_what_is_published_is_a_key_that_others_can_read(path):
    ring = make_keyring(path, ORIGIN)
    assert VerifierKey.parse(str(ring.signing.verifier)) == ring.signing.verifier
    assert ring.signing.kind is KeyKind.LOG
    assert SigningKey.parse(ring.signing.text()) == ring.signing


# ------------------------------------------------------------------------------------------------------------ the role


@pytest.fixture
async def role(postgres, postgres_url):
    """Give a database role of this test, and its URL."""
    postgres.do("DROP ROLE IF EXISTS bode_worker")
    postgres.do("CREATE ROLE bode_worker LOGIN PASSWORD 'test'")
    yield sa.make_url(postgres_url).set(username="bode_worker", password="test")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP OWNED BY bode_worker")
    postgres.do("DROP ROLE bode_worker")


async def test_a_hardened_role_does_all_of_bodes_work_and_cannot_touch_evidence(pg_app, make_app, role):
    await harden(pg_app.database, "bode_worker")
    await harden(pg_app.database, "bode_worker")
    worker = await make_app(role.render_as_string(hide_password=False))
    accepted = await worker.accept()
    await worker.settle()
    async with worker.database.write() as connection:
        assert await sequence(connection) == len(await worker.events(accepted.id))
    for statement in (
        "UPDATE event SET part = NULL",
        "DELETE FROM event",
        "TRUNCATE event",
        "DELETE FROM evidence_leaf",
        "UPDATE evidence_checkpoint SET size = 0",
        "UPDATE event_detail SET sealed = ''",
        "ALTER TABLE event DISABLE TRIGGER ALL",
        "DROP TRIGGER event_stays ON event",
        "DROP TABLE evidence_leaf",
        "CREATE TABLE mine (id int)",
        "SET session_replication_role = replica",
    ):
        with pytest.raises(ProgrammingError):
            async with worker.database.write() as connection:
                await connection.execute(sa.text(statement))
    assert len(await pg_app.rows(tables.evidence_leaf)) == len(await pg_app.rows(tables.event))


async def test_a_role_that_rights_do_not_bind_is_refused(pg_app, role):
    owner = pg_app.database.engine.url.username
    with pytest.raises(HardenError, match="superuser"):
        await harden(pg_app.database, owner)
    with pytest.raises(HardenError, match="CREATE ROLE nobody_here"):
        await harden(pg_app.database, "nobody_here")
    async with pg_app.database.write() as connection:
        await connection.execute(sa.text("ALTER TABLE lane OWNER TO bode_worker"))
    try:
        with pytest.raises(HardenError, match="owns the tables"):
            await harden(pg_app.database, "bode_worker")
    finally:
        async with pg_app.database.write() as connection:
            await connection.execute(sa.text(f"ALTER TABLE lane OWNER TO {owner}"))


@pytest.mark.parametrize("name", ["", "x; DROP TABLE event", 'x"', "Bode", "x" * 64])
def test_a_role_name_that_is_none_is_refused(name):
    with pytest.raises(HardenError, match="no plain role name"):
        hardening(name)
