"""Keys change in the middle of the work: nothing becomes unreadable, and nothing is left under the old one."""

import asyncio
import os
import sys
from dataclasses import replace

import pytest
import sqlalchemy as sa

from bode.engine.inbound import Raw
from bode.store import keyring, mail_health, messages, tables
from bode.store.key_source import KeySource
from bode.store.vault import KeyFileError, Purpose, Vault, VaultError

OLD, NEW = bytes(range(32)), bytes(range(1, 33))  # OLD is the one that the application of these tests has


async def opened(database, vault):
    """Open everything that stands in the database; gives how much."""
    async with database.read() as connection:
        ids = list((await connection.execute(sa.select(tables.message.c.id))).scalars())
        found = await messages.load(connection, ids, vault, with_documents=True)
        letters = list(await connection.execute(sa.select(tables.letter.c.message_id, tables.letter.c.number)))
        for letter in letters:
            assert await messages.load_letter(connection, letter.message_id, letter.number, vault)
        rows = list(await connection.execute(sa.select(tables.inbound.c.key, tables.inbound.c.sealed)))
        mails = [vault.open_inbound(row.key, row.sealed) for row in rows]
    assert found.keys() == set(ids)
    return len(found), len(mails)


async def key_ids(database):
    async with database.read() as connection:
        return set(await keyring.uses(connection))


async def test_what_is_sealed_under_the_old_key_is_moved_to_the_new_one_and_the_old_one_is_gone(app, body, attachment):
    old, both, new = Vault(OLD), Vault(NEW, OLD), Vault(NEW)
    await keyring.open_vault(app.database, old, app.clock.now())
    for _ in range(7):
        await app.accept(body(documenten=[attachment]))
    await app.settle()
    await app.inbound.store(Raw("k" * 64, "smtp", app.clock.now(), b"a@b\nmail"))
    await keyring.open_vault(app.database, both, app.clock.now())
    before = await opened(app.database, both)
    moved = []
    assert await keyring.rotate(app.database, both, moved.append, batch=3) == sum(moved) == 7 + 1 + len(Purpose)
    assert await key_ids(app.database) == {new.key_id}
    await keyring.open_vault(app.database, new, app.clock.now())
    assert await opened(app.database, new) == before
    assert new.intake_seed == old.intake_seed, "zaaksystemen need not change theirs"
    assert new.return_path_key(1) == old.return_path_key(1), "bounces of mails on their way are still believed"
    assert new.lookup_hash("BSN", "1") == old.lookup_hash("BSN", "1")
    assert await keyring.rotate(app.database, both) == 0
    with pytest.raises(KeyFileError, match=new.key_id):
        await keyring.open_vault(app.database, Vault(OLD), app.clock.now())


async def test_a_rotation_that_was_cut_off_goes_on(app, body):
    both = Vault(NEW, OLD)
    await keyring.open_vault(app.database, app.vault, app.clock.now())
    for _ in range(5):
        await app.accept(body())

    def cut_off(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await keyring.rotate(app.database, both, cut_off, batch=2)
    assert await key_ids(app.database) == {both.key_id, app.vault.key_id}
    assert (await opened(app.database, both))[0] == 5
    assert await keyring.rotate(app.database, both, batch=2) == 3 + len(Purpose)
    assert await key_ids(app.database) == {both.key_id}


async def test_a_message_that_is_erased_during_the_rotation_stays_erased(app, body):
    both = Vault(NEW, OLD)
    accepted = await app.accept(body())
    content = tables.content
    async with app.database.read() as connection:
        (row,) = await connection.execute(sa.select(content.c.message_id, content.c.wrapped_key))
    wrapped = both.rewrap(accepted.id, row.wrapped_key).wrapped
    change = {"of": accepted.id, "was": row.wrapped_key, "wrapped_key": wrapped, "key_id": both.key_id}
    async with app.database.write() as connection:
        await connection.execute(sa.update(content).values(wrapped_key=None, sealed=None))
    await keyring._replace(app.database, content.c.message_id, content.c.wrapped_key, [change])
    (left,) = await app.rows(content)
    assert left.wrapped_key is None


async def test_a_wrong_key_is_refused_at_the_start_and_changes_nothing(app, body):
    await keyring.open_vault(app.database, app.vault, app.clock.now())
    await app.accept(body())
    before = [await app.rows(table) for table in (tables.content, tables.vault_secret, tables.message)]
    for wrong in (Vault(NEW), Vault(os.urandom(32), os.urandom(32))):
        with pytest.raises(KeyFileError, match="not the one") as refused:
            await keyring.open_vault(app.database, wrong, app.clock.now())
        assert app.vault.key_id in str(refused.value)
        assert OLD.hex() not in str(refused.value)
    assert [await app.rows(table) for table in (tables.content, tables.vault_secret, tables.message)] == before


async def test_an_installation_from_before_keys_could_change_keeps_its_hashes(app, body):
    """Its first start on this version may already have the new key in front."""
    await app.accept(body())
    both = Vault(NEW, OLD)
    await keyring.open_vault(app.database, both, app.clock.now())
    assert both.lookup_hash("BSN", "1") == app.vault.lookup_hash("BSN", "1")
    assert both.intake_seed == app.vault.intake_seed


async def test_the_secret_of_keyed_hashes_changes_and_addresses_are_still_found(app, body):
    await keyring.open_vault(app.database, app.vault, app.clock.now())
    request = body(email="weg.jan@post.example.nl")
    accepted = await app.accept(request)
    email, oin = "weg.jan@post.example.nl", request["afzender"]
    bounce = mail_health.HardBounce(
        accepted.id, "mijnoverheid", oin, "x", app.vault.email_hashes(email)[0], "r", "r", app.clock.now()
    )
    stranger = replace(bounce, address_hash=os.urandom(32), channel="mijndomein")
    async with app.database.write() as connection:
        await mail_health.keep_hard(connection, [bounce, stranger])
    other = Vault(OLD)  # another process, which goes on with the old secret for a while
    await keyring.open_vault(app.database, other, app.clock.now())

    assert await keyring.new_lookup_secret(app.database, app.vault, app.clock.now()) == 2
    assert await keyring.new_lookup_secret(app.database, app.vault, app.clock.now()) == 2, "it goes on, it does not add"
    late = await app.accept(body())
    for vault in (app.vault, other):
        async with app.database.read() as connection:
            assert await mail_health.failing(connection, oin, vault.email_hashes(email)) is not None
    assert await keyring.rehash(app.database, app.vault, batch=1) == 1 + 2
    await keyring.refresh(app.database, other)
    await keyring.drop_older_lookup_secrets(app.database, app.vault)
    await keyring.refresh(app.database, other)
    assert other.lookup_hashes("BSN", "1") == app.vault.lookup_hashes("BSN", "1")
    assert len(app.vault.lookup_hashes("BSN", "1")) == 1
    rows = {row.id: row for row in await app.rows(tables.message)}
    assert {row.lookup_generation for row in rows.values()} == {2}
    assert bytes(rows[accepted.id].addressee_hash) == app.vault.lookup_hash("BSN", request["geadresseerde"]["nummer"])
    assert late.id in rows
    kept = [bytes(row.address_hash) for row in await app.rows(tables.failing_address)]
    assert kept == [app.vault.email_hashes(email)[0]], "what nobody can tell the address of is forgotten"


@pytest.mark.slow
async def test_a_rotation_in_the_middle_of_traffic_leaves_nothing_unreadable(pg_app, make_app, body, attachment, until):
    """PostgreSQL; one process with the old key in front, one with the new, messages coming in all the time."""
    app = pg_app
    await keyring.open_vault(app.database, app.vault, app.clock.now())
    both = Vault(NEW, OLD)
    accepted = []
    stop = asyncio.Event()

    async def traffic(process):
        while not stop.is_set():
            accepted.append((await process.accept(body(documenten=[attachment]))).id)
            await process.settle()

    url = app.database.engine.url.render_as_string(hide_password=False)
    # Both know both keys, as after the first of the two restarts of docs/runbooks.
    first = await make_app(url, beside=app, vault=Vault(OLD, NEW))
    second = await make_app(url, beside=app, vault=both)
    for process in (first, second):
        process.intake._vault = process.parts.vault
    running = [asyncio.create_task(traffic(process)) for process in (first, second)]
    try:
        for wanted in range(4, 24, 4):
            await keyring.rotate(app.database, both, batch=5)
            await until(lambda wanted=wanted: len(accepted) >= wanted, seconds=60)
        running.pop(0).cancel()  # The second restart: nobody seals under the old key any more.
        await until(lambda: len(accepted) >= 26, seconds=60)
    finally:
        stop.set()
        await asyncio.gather(*running, return_exceptions=True)
    await keyring.rotate(app.database, both)
    new = Vault(NEW)
    await keyring.open_vault(app.database, new, app.clock.now())
    count, _ = await opened(app.database, new)
    assert count >= len(accepted) >= 26
    assert await key_ids(app.database) == {new.key_id}
    assert not await app.stopped()


# ------------------------------------------------------------------------------------------------------- where from


def test_a_key_comes_from_a_file_the_environment_or_a_command(tmp_path, monkeypatch):
    path = tmp_path / "k"
    path.touch(0o600)
    path.write_text(OLD.hex() + "\n")
    monkeypatch.setenv("BODE_TEST_KEY", OLD.hex())
    assert KeySource(file=path).read() == OLD
    assert KeySource(environment="BODE_TEST_KEY").read() == OLD
    assert KeySource(command=(sys.executable, "-c", f"print('{OLD.hex()}')")).read() == OLD


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("print('geheim' * 9)", "gives no key"),
        ("print('00' * 31)", "gives no key"),
        ("pass", "gives no key"),
        ("print('00' * 32); raise SystemExit(3)", "ended with 3"),
    ],
)
def test_a_command_that_gives_no_key_is_refused_without_showing_what_it_said(program, says):
    with pytest.raises(KeyFileError, match=says) as refused:
        KeySource(command=(sys.executable, "-c", program)).read()
    assert "geheim" not in str(refused.value)
    assert "print" not in str(refused.value), "what stands after the program may be a secret"


def test_a_command_or_variable_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("BODE_TEST_KEY", raising=False)
    with pytest.raises(KeyFileError, match="BODE_TEST_KEY gives no key"):
        KeySource(environment="BODE_TEST_KEY").read()
    with pytest.raises(KeyFileError, match="cannot be started"):
        KeySource(command=(str(tmp_path / "none"),)).read()


def test_a_secret_opens_only_as_what_it_is():
    old, new = Vault(OLD), Vault(NEW)
    wrapped = old.wrap_secret(Purpose.LOOKUP, 1, b"x" * 32)
    assert Vault(NEW, OLD).unwrap_secret(Purpose.LOOKUP, 1, wrapped) == b"x" * 32
    for vault, purpose, generation in ((new, Purpose.LOOKUP, 1), (old, Purpose.INTAKE, 1), (old, Purpose.LOOKUP, 2)):
        with pytest.raises(VaultError):
            vault.unwrap_secret(purpose, generation, wrapped)
