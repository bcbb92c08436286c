"""The vault: another key, another row or changed bytes open nothing; and who may read the key file."""

import os
from uuid import uuid4

import pytest
import sqlalchemy as sa

from bode.store import messages, tables
from bode.store.vault import KeyFileError, Vault, VaultError, read_key_file, write_key_file

MESSAGE = uuid4()


@pytest.fixture
def vault():
    return Vault(os.urandom(32))


def changed(sealed, place):
    return sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]


def test_what_was_sealed_is_opened_again(vault):
    key = vault.new_key(MESSAGE)
    again = vault.unwrap(MESSAGE, key.wrapped)
    assert vault.open(again, MESSAGE, "content", vault.seal(key, MESSAGE, "content", b"tekst")) == b"tekst"
    assert vault.open_inbound("k", vault.seal_inbound("k", b"mail")) == b"mail"


def test_sealing_the_same_twice_gives_other_bytes(vault):
    key = vault.new_key(MESSAGE)
    assert vault.seal(key, MESSAGE, "content", b"x") != vault.seal(key, MESSAGE, "content", b"x")


def test_another_key_opens_nothing(vault):
    other, key = Vault(os.urandom(32)), vault.new_key(MESSAGE)
    with pytest.raises(VaultError):
        other.unwrap(MESSAGE, key.wrapped)
    with pytest.raises(VaultError):
        other.open(other.new_key(MESSAGE), MESSAGE, "content", vault.seal(key, MESSAGE, "content", b"tekst"))
    with pytest.raises(VaultError):
        other.open_inbound("k", vault.seal_inbound("k", b"mail"))
    assert other.key_id != vault.key_id
    assert other.lookup_hash("BSN", "1") != vault.lookup_hash("BSN", "1")


def test_rows_that_were_swapped_open_nothing(vault):
    other, key = uuid4(), vault.new_key(MESSAGE)
    sealed = vault.seal(key, MESSAGE, "document 0", b"tekst")
    for message, purpose in ((other, "document 0"), (MESSAGE, "document 1"), (MESSAGE, "content")):
        with pytest.raises(VaultError) as wrong:
            vault.open(key, message, purpose, sealed)
        assert (wrong.value.message_id, wrong.value.purpose) == (message, purpose)
    with pytest.raises(VaultError):
        vault.unwrap(other, key.wrapped)
    with pytest.raises(VaultError):
        vault.open_inbound("other", vault.seal_inbound("k", b"mail"))


def test_changed_bytes_open_nothing(vault):
    key = vault.new_key(MESSAGE)
    sealed = vault.seal(key, MESSAGE, "content", b"tekst")
    for place in range(len(sealed)):
        with pytest.raises(VaultError):
            vault.open(key, MESSAGE, "content", changed(sealed, place))
    for length in (0, 1, 12, 27, len(sealed) - 1):
        with pytest.raises(VaultError):
            vault.open(key, MESSAGE, "content", sealed[:length])


def test_neither_the_error_nor_the_key_shows_a_secret(vault):
    key = vault.new_key(MESSAGE)
    assert key.clear.hex() not in repr(key)
    with pytest.raises(VaultError) as wrong:
        vault.open(key, MESSAGE, "content", b"geheim")
    assert "geheim" not in str(wrong.value)


def test_a_key_file_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "keys" / "bode.key"
    write_key_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(read_key_file(path)) == 32
    with pytest.raises(KeyFileError, match="exists"):
        write_key_file(path)
    for mode in (0o640, 0o604, 0o660):
        path.chmod(mode)
        with pytest.raises(KeyFileError, match="chmod 600"):
            read_key_file(path)


@pytest.mark.parametrize("text", ["", "zz" * 32, "00" * 31, "00" * 33])
def test_a_file_that_holds_no_key_is_refused_without_showing_it(tmp_path, text):
    path = tmp_path / "bode.key"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(KeyFileError) as wrong:
        read_key_file(path)
    assert not text or text not in str(wrong.value)


def test_a_missing_key_file_says_what_to_do(tmp_path):
    with pytest.raises(KeyFileError, match="bode keys init"):
        read_key_file(tmp_path / "none.key")


async def test_letters_that_were_swapped_in_the_table_are_not_opened(app, body):
    ids = [(await app.accept(body(channels=()))).id for _ in range(2)]
    await app.settle()
    first, second = await app.rows(tables.letter)
    async with app.database.write() as connection:
        await connection.execute(
            sa.update(tables.letter).where(tables.letter.c.message_id == first.message_id).values(sealed=second.sealed)
        )
    async with app.database.read() as connection:
        with pytest.raises(VaultError):
            await messages.load_letter(connection, first.message_id, 0, app.vault)
    assert set(ids) == {first.message_id, second.message_id}
