"""Large documents outside the database: sealed all the same, there before anything names them, gone when that ends."""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import msgspec
import pytest
import sqlalchemy as sa
from obstore.store import LocalStore, MemoryStore
from s3_server import BUCKET, s3_server
from structlog.testing import capture_logs

from bode import settings as configuration
from bode.domain.parts import LetterState as L
from bode.domain.parts import Outcome
from bode.domain.parts import PlacementState as P
from bode.domain.retention import Terms
from bode.engine.copies import Copies
from bode.engine.documents import DocumentSweep
from bode.engine.retention import Retention
from bode.settings import BucketSettings, ConfigError, DocumentSettings, Settings
from bode.store import keyring, tables
from bode.store.documents import (
    BucketDocuments,
    DocumentsAwayError,
    Elsewhere,
    FolderDocuments,
    NoDocuments,
    new_name,
)
from bode.store.vault import Vault
from bode_ops.document_store import build_documents

OLD, NEW = bytes(range(32)), bytes(range(1, 33))


# ---- every store does the same ---------------------------------------------------------------------------------------


def bucket_at(server, **changes) -> Settings:
    keys = {"access_key_id": "wie", "secret_access_key": "geheim-van-de-emmer", "region": "eu-west-1"}
    s3 = BucketSettings(bucket=BUCKET, endpoint=server.endpoint, prefix="bode/maasveld/", **keys, timeout_seconds=2)
    return Settings(documents=DocumentSettings(s3=s3.model_copy(update=changes)))


@pytest.fixture(params=["folder", "memory", "local", "s3"])
def store(request, tmp_path):
    if request.param == "folder":
        yield FolderDocuments(tmp_path / "documents")
    elif request.param == "memory":
        yield BucketDocuments(MemoryStore(), "bode")
    elif request.param == "local":
        yield BucketDocuments(LocalStore(prefix=tmp_path))
    else:
        with s3_server() as server:
            yield build_documents(bucket_at(server)).documents


async def names(store):
    return {item.name for some in [some async for some in store.listed()] for item in some}


async def test_what_is_put_is_there_until_it_is_removed(store):
    await store.probe()
    assert await names(store) == set()
    one, other = new_name(), new_name()
    before = datetime.now(UTC) - timedelta(seconds=2)
    await store.put(one, b"\x00sealed" * 1000)
    await store.put(other, b"")
    assert (await store.get(one), await store.get(other)) == (b"\x00sealed" * 1000, b"")
    assert await names(store) == {one, other}
    listed = [item async for some in store.listed() for item in some]
    assert all(before <= item.modified_at <= datetime.now(UTC) + timedelta(seconds=2) for item in listed)
    await store.remove([new_name(), one, new_name()])
    await store.remove([])
    assert await store.get(one) is None
    assert await names(store) == {other}
    await store.probe()


async def test_nothing_is_ever_changed(store):
    name = new_name()
    await store.put(name, b"first")
    with pytest.raises(DocumentsAwayError):
        await store.put(name, b"second")
    assert await store.get(name) == b"first"


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 32, "0" * 31, "0" * 33, "/" + "0" * 31])
async def test_only_our_own_names_are_used(store, name):
    for call in (store.put(name, b""), store.get(name), store.remove([name])):
        with pytest.raises((ValueError, DocumentsAwayError)):
            await call


async def test_what_is_not_ours_is_not_seen(tmp_path):
    folder = FolderDocuments(tmp_path)
    name = new_name()
    await folder.put(name, b"ours")
    (tmp_path / "00").mkdir(exist_ok=True)
    (tmp_path / "00" / "readme.txt").write_text("theirs")
    (tmp_path / "lost+found").mkdir()
    assert await names(folder) == {name}
    memory = MemoryStore()
    memory.put("bode/readme", b"theirs")
    memory.put(f"elders/{new_name()}", b"theirs")
    assert await names(BucketDocuments(memory, "bode")) == set()


async def test_a_file_of_the_folder_is_its_owners_alone(tmp_path):
    folder, name = FolderDocuments(tmp_path / "documents"), new_name()
    await folder.put(name, b"sealed")
    path = tmp_path / "documents" / name[:2] / name
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


async def test_a_folder_that_is_not_mounted_lost_nothing(tmp_path):
    with pytest.raises(DocumentsAwayError):
        await FolderDocuments(tmp_path / "not" / "there").get(new_name())
    with pytest.raises(DocumentsAwayError):
        await FolderDocuments(tmp_path / "not" / "there").probe()


async def test_a_bucket_that_refuses_is_away_and_tells_no_secret():
    with s3_server() as server:
        server.refuses = 403
        documents = build_documents(bucket_at(server)).documents
        for call in (documents.get(new_name()), documents.put(new_name(), b"x"), documents.probe()):
            with pytest.raises(DocumentsAwayError) as away:
                await call
            assert not {"geheim-van-de-emmer", server.endpoint, "wie"} & set(str(away.value).split())
            assert server.endpoint not in str(away.value)


async def test_objects_lie_under_the_prefix_and_nothing_personal_is_asked_for():
    with s3_server() as server:
        documents, name = build_documents(bucket_at(server)).documents, new_name()
        await documents.put(name, b"sealed")
        assert list(server.objects) == [f"bode/maasveld/{name}"]


# ---- the configuration -----------------------------------------------------------------------------------------------


def faults_of(tmp_path, text):
    file = tmp_path / "bode.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        configuration.load(file)
    return str(error.value)


def test_a_configuration_names_one_place(tmp_path):
    assert "documents: name one of folder and s3" in faults_of(tmp_path, "[documents]\nabove_bytes = 5\n")
    both = '[documents]\nfolder = "x"\ns3 = { bucket = "stukken" }\n'
    assert "documents: name one of folder and s3" in faults_of(tmp_path, both)
    plain = 'environment = "production"\n[documents]\ns3 = { bucket = "stukken", endpoint = "http://s3.example" }\n'
    assert "documents.s3.endpoint: production needs https://" in faults_of(tmp_path, plain)
    soon = '[documents]\nfolder = "x"\norphan_after = "5m"\n'
    assert "documents.orphan_after" in faults_of(tmp_path, soon)


def test_unless_said_everything_is_in_the_database():
    elsewhere = build_documents(Settings())
    assert isinstance(elsewhere.documents, NoDocuments)
    assert elsewhere.above_bytes > 1 << 60


def test_an_authority_that_is_not_there_is_told_at_the_start(tmp_path):
    missing = SimpleNamespace(endpoint="https://s3.example")
    with pytest.raises(ConfigError, match=r"documents.s3: cannot be used \(FileNotFoundError\)"):
        build_documents(bucket_at(missing, ca_file=tmp_path / "none.pem"))


# ---- messages --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def app(make_app, database_url, tmp_path):
    """Give a process that keeps documents above a hundred bytes in a folder."""
    return await make_app(database_url, elsewhere=Elsewhere(FolderDocuments(tmp_path / "documents"), 100))


@pytest.fixture
def folder(app):
    return app.parts.elsewhere.documents


@pytest.fixture
def sweep(app, folder):
    def _sweep(*, grace=timedelta(days=1)):
        return DocumentSweep(folder, app.database, SimpleNamespace(real=lambda: datetime.now(UTC)), grace=grace)

    return _sweep


def files(folder):
    return [path for path in folder.folder.rglob("*") if path.is_file()]


async def test_a_large_document_stands_elsewhere_sealed_and_arrives_whole(app, body, attachment, pdf, folder):
    accepted = await app.accept(body(documenten=[attachment, attachment | {"naam": "bijlage.pdf"}]))
    rows = await app.rows(tables.document)
    assert [(row.number, bytes(row.sealed)) for row in rows] == [(0, b""), (1, b"")]
    assert {path.name for path in files(folder)} == {row.object for row in rows}
    assert all(pdf[:20] not in path.read_bytes() and b"PDF" not in path.read_bytes()[:64] for path in files(folder))
    await app.settle()
    assert (await app.delivery(accepted.id)).outcome is Outcome.NOTICED
    placed = app.box.messages[accepted.id]
    assert [document.content for document in placed.documents] == [pdf, pdf]


async def test_a_small_document_stays_in_the_database(make_app, database_url, body, attachment, tmp_path):
    pdf = base64.b64decode(attachment["inhoud"])
    elsewhere = Elsewhere(FolderDocuments(tmp_path / "documents"), len(pdf))
    app = await make_app(database_url, elsewhere=elsewhere)
    accepted = await app.accept(body(documenten=[attachment]))
    (row,) = await app.rows(tables.document)
    assert (row.object, len(row.sealed) > len(pdf)) == (None, True)
    assert not (tmp_path / "documents").exists()
    await app.settle()
    assert (await app.delivery(accepted.id)).outcome is Outcome.NOTICED


async def test_a_letter_holds_its_documents_too(app, body, attachment):
    accepted = await app.accept(body(channels=(), documenten=[attachment]))
    await app.settle()
    assert (await app.delivery(accepted.id)).letters[0].state is L.SUBMITTED


async def test_while_the_store_is_away_nothing_is_accepted_and_nothing_stored(make_app, database_url, body, attachment):
    app = await make_app(database_url, elsewhere=Elsewhere(NoDocuments(), 100))
    request = msgspec.json.encode(body(documenten=[attachment]))
    with pytest.raises(OSError, match="documents"):
        await app.accept(request)
    assert await app.rows(tables.message) == []


async def test_while_the_store_is_away_its_messages_wait_and_others_go(app, body, attachment, folder):
    large = await app.accept(body(documenten=[attachment]))
    letter = await app.accept(body(channels=(), documenten=[attachment]))
    small = await app.accept(body())
    folder.folder.rename(folder.folder.with_name("not-mounted"))
    with capture_logs() as logs:
        await app.settle()
    assert (await app.delivery(small.id)).outcome is Outcome.NOTICED
    assert (await app.delivery(large.id)).placements[0].state is P.PLANNED
    assert (await app.delivery(letter.id)).letters[0].state is L.PLANNED
    assert {line["message"] for line in logs if line["event"] == "document.away"} == {str(large.id), str(letter.id)}
    folder.folder.with_name("not-mounted").rename(folder.folder)
    await app.pass_time(hours=3)
    assert (await app.delivery(large.id)).outcome is Outcome.NOTICED
    assert (await app.delivery(letter.id)).letters[0].state is L.SUBMITTED
    assert (app.box.placements[large.id], app.printer.printed.total()) == (1, 1)


@pytest.mark.parametrize("harm", ["gone", "changed", "swapped"])
async def test_a_document_that_was_harmed_holds_its_message_and_no_other(app, body, attachment, folder, harm):
    one, other = [await app.accept(body(documenten=[attachment])) for _ in range(2)]
    (row,) = await app.rows(tables.document, tables.document.c.message_id == one.id)
    (others,) = await app.rows(tables.document, tables.document.c.message_id == other.id)
    path = folder.folder / row.object[:2] / row.object
    if harm == "gone":
        path.unlink()
    elif harm == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    else:
        path.write_bytes((folder.folder / others.object[:2] / others.object).read_bytes())
    await app.settle()
    assert (await app.delivery(one.id)).placements[0].state is P.HELD
    assert (await app.delivery(other.id)).outcome is Outcome.NOTICED


async def test_a_process_without_the_setting_gives_up_no_message(app, make_app, database_url, body, attachment):
    accepted = await app.accept(body(documenten=[attachment]))
    bare = await make_app(database_url, beside=app)
    await bare.settle()
    assert (await app.delivery(accepted.id)).placements[0].state is P.PLANNED


async def test_a_change_of_keys_rewraps_and_leaves_the_objects_as_they_are(
    app, make_app, database_url, body, attachment
):
    old, both, new = Vault(OLD), Vault(NEW, OLD), Vault(NEW)
    await keyring.open_vault(app.database, old, app.clock.now())
    accepted = await app.accept(body(documenten=[attachment]))
    before = {path: path.read_bytes() for path in files(app.parts.elsewhere.documents)}
    await keyring.open_vault(app.database, both, app.clock.now())
    await keyring.rotate(app.database, both)
    await keyring.open_vault(app.database, new, app.clock.now())
    later = await make_app(database_url, beside=app, vault=new, elsewhere=app.parts.elsewhere)
    await later.settle()
    assert (await app.delivery(accepted.id)).outcome is Outcome.NOTICED
    assert {path: path.read_bytes() for path in files(app.parts.elsewhere.documents)} == before


# ---- the end ---------------------------------------------------------------------------------------------------------


def keeper(app, documents):
    return Retention(app.database, app.vault, app.parts.policy, app.clock, terms=Terms(), own={}, documents=documents)


async def placed(app, body, attachment):
    accepted = await app.accept(body(documenten=[attachment]))
    await app.settle()
    return accepted.id


async def test_when_the_term_of_content_is_over_the_object_goes_with_it(app, body, attachment, folder):
    await placed(app, body, attachment)
    app.clock.move(days=89)
    await keeper(app, folder).purge()
    assert len(files(folder)) == 1
    app.clock.move(days=2)
    await keeper(app, folder).purge()
    assert files(folder) == []
    assert await app.rows(tables.document) == []


async def test_an_erasure_takes_the_object_at_once(app, body, attachment, folder):
    message = await placed(app, body, attachment)
    copies = Copies(app.database, app.vault, app.parts.policy, app.clock, "log.example", documents=folder)
    await copies.erase(message, by="Anna", reason="verzoek", before_term=True)
    assert files(folder) == []


async def test_what_could_not_be_removed_then_is_swept_away_later(app, body, attachment, folder, sweep):
    await placed(app, body, attachment)
    app.clock.move(days=91)
    with capture_logs() as logs:
        await keeper(app, NoDocuments()).purge()
    assert [line["count"] for line in logs if line["event"] == "documents.not_removed"] == [1]
    (left,) = files(folder)
    assert await sweep().sweep() == 0, "not before the grace is over"
    old = datetime.now(UTC) - timedelta(days=2)
    os.utime(left, (old.timestamp(), old.timestamp()))
    assert await sweep().sweep() == 1
    assert files(folder) == []


async def test_the_sweep_leaves_what_a_message_names_and_what_is_on_its_way(app, body, attachment, folder, sweep):
    message = await placed(app, body, attachment)
    (named,) = files(folder)
    orphan, on_its_way = new_name(), new_name()
    await folder.put(orphan, b"of a transaction that did not commit")
    await folder.put(on_its_way, b"of one that will")
    old = (datetime.now(UTC) - timedelta(days=30)).timestamp()
    for path in (named, folder.folder / orphan[:2] / orphan):
        os.utime(path, (old, old))
    assert await sweep().sweep() == 1
    assert {path.name for path in files(folder)} == {named.name, on_its_way}
    (row,) = await app.rows(tables.document, tables.document.c.message_id == message)
    assert row.object == named.name


async def test_a_message_that_was_not_stored_leaves_an_orphan_and_no_row(app, body, attachment, folder, monkeypatch):
    """The object is there before the transaction that names it; when that does not commit, the sweep takes it."""

    async def fails(*_, **__):
        raise sa.exc.OperationalError("INSERT", {}, Exception("the disk is full"))

    monkeypatch.setattr("bode.intake.accept.write", fails)
    with pytest.raises(sa.exc.OperationalError):
        await app.accept(body(documenten=[attachment]))
    assert len(files(folder)) == 1
    assert await app.rows(tables.document) == []
