"""Signed notes and checkpoints: the published examples, strict reading, rotation, witnesses."""

import pytest

from bode.evidence.note import (
    MAX_NOTE_BYTES,
    Checkpoint,
    KeyKind,
    Note,
    NoteError,
    Signature,
    SignatureError,
    SigningKey,
    UntrustedError,
    VerifierKey,
    cosign,
    open_checkpoint,
)

# The example of the specification (c2sp.org/signed-note), and that of Go's reference implementation.
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYj"
    "OBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
GO_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)

LOG = "gemeente.example/bode"
OLD, NEW = (SigningKey(LOG, KeyKind.LOG, bytes([number]) * 32) for number in (1, 2))
WITNESS = SigningKey("getuige.example/w", KeyKind.WITNESS, bytes([3]) * 32)
CHECKPOINT = Checkpoint(LOG, 5, bytes(range(32)))


def test_the_example_of_the_specification():
    key = VerifierKey.parse(EXAMPLE_KEY)
    note = Note.parse(EXAMPLE)
    assert note.text == "This is an example message.\n"
    assert [signer for signer, _ in note.verify([key])] == [key]
    assert (note.encode(), str(key)) == (EXAMPLE, EXAMPLE_KEY)


def test_the_example_of_go_is_signed_byte_for_byte():
    key = SigningKey.parse(GO_SECRET)
    assert str(key.sign(GO_TEXT)) == GO_LINE
    assert (str(key.verifier), key.text()) == (GO_KEY, GO_SECRET)


def test_a_changed_text_does_not_fit_its_signature():
    with pytest.raises(SignatureError):
        Note.parse(EXAMPLE.replace(b"example message", b"Example message")).verify([VerifierKey.parse(EXAMPLE_KEY)])


def test_a_signature_of_an_unknown_key_is_passed_over_even_with_a_known_name():
    stranger = SigningKey(LOG, KeyKind.LOG, bytes([9]) * 32)
    note = CHECKPOINT.sign(stranger, OLD)
    assert open_checkpoint(note.encode(), [OLD.verifier]).signed_by == [OLD.verifier]
    with pytest.raises(UntrustedError):
        open_checkpoint(CHECKPOINT.sign(stranger).encode(), [OLD.verifier])


def test_after_rotation_old_checkpoints_verify_with_the_old_key_and_new_ones_with_either():
    keys = [OLD.verifier, NEW.verifier]
    assert open_checkpoint(CHECKPOINT.sign(OLD).encode(), keys).signed_by == [OLD.verifier]
    assert open_checkpoint(CHECKPOINT.sign(NEW).encode(), keys).signed_by == [NEW.verifier]
    both = CHECKPOINT.sign(NEW, OLD).encode()
    assert open_checkpoint(both, [OLD.verifier]).checkpoint == open_checkpoint(both, [NEW.verifier]).checkpoint


def test_one_bad_signature_of_a_known_key_spoils_the_note():
    note = CHECKPOINT.sign(OLD)
    forged = Note(note.text, (*note.signatures, Signature(LOG, NEW.verifier.id, bytes(64))))
    assert open_checkpoint(forged.encode(), [OLD.verifier])
    with pytest.raises(SignatureError):
        open_checkpoint(forged.encode(), [OLD.verifier, NEW.verifier])


@pytest.mark.parametrize("length", [1, 32, 63, 65, 72, 200])
def test_a_signature_of_another_length_does_not_fit(length):
    for key in (OLD, WITNESS):
        forged = Note(str(CHECKPOINT), (Signature(key.name, key.verifier.id, bytes(length)),))
        with pytest.raises(SignatureError):
            forged.verify([key.verifier])


def test_a_key_of_another_log_does_not_vouch_for_this_one():
    other = SigningKey("andere.example/bode", KeyKind.LOG, bytes([1]) * 32)
    text = str(CHECKPOINT)
    with pytest.raises(UntrustedError):
        open_checkpoint(Note(text, (other.sign(text),)).encode(), [other.verifier])
    with pytest.raises(NoteError, match="bears the log's name"):
        CHECKPOINT.sign(other)


def test_a_witness_states_a_time_and_cannot_stand_in_for_the_log():
    note = cosign(CHECKPOINT.sign(OLD), WITNESS, at=1_788_256_800)
    opened = open_checkpoint(note.encode(), [OLD.verifier, WITNESS.verifier])
    assert [(witnessed.key, witnessed.at) for witnessed in opened.witnesses] == [(WITNESS.verifier, 1_788_256_800)]
    with pytest.raises(UntrustedError):
        open_checkpoint(note.encode(), [WITNESS.verifier])
    with pytest.raises(NoteError):
        cosign(note, OLD, at=0)


def test_the_time_of_a_witness_is_signed():
    line = cosign(CHECKPOINT.sign(OLD), WITNESS, at=1_788_256_800).signatures[-1]
    later = Signature(line.name, line.key_id, (1_788_256_801).to_bytes(8, "big") + line.value[8:])
    with pytest.raises(SignatureError):
        Note(str(CHECKPOINT), (later,)).verify([WITNESS.verifier])


def test_a_witness_key_is_another_key_than_a_log_key_with_the_same_bytes():
    log, witness = SigningKey("a", KeyKind.LOG, bytes(32)), SigningKey("a", KeyKind.WITNESS, bytes(32))
    assert log.verifier.id != witness.verifier.id
    assert VerifierKey.parse(str(witness.verifier)) == witness.verifier
    assert SigningKey.parse(f"  {witness.text()}\n") == witness


def test_a_generated_key_survives_being_written():
    key = SigningKey.generate(LOG)
    assert SigningKey.parse(key.text()) == key
    assert repr(key.seed) not in repr(key)
    with pytest.raises(NoteError):
        SigningKey.generate("met spatie")


GOOD = CHECKPOINT.sign(OLD).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty line"),
        (GOOD[:-1], "ended by a newline"),
        (GOOD.replace(b"\n\n", b"\n"), "empty line"),
        (GOOD.replace("— ".encode(), b"- "), "a dash"),
        (GOOD.replace("— ".encode(), "—  ".encode()), "a dash|base64|no spaces"),
        (GOOD.replace(b"\n5\n", b"\n5\r\n"), "control characters"),
        (GOOD.replace(b"\n5\n", b"\n\x005\n"), "control characters"),
        (b"\xff" + GOOD, "UTF-8"),
        (GOOD.replace(b"=\n", b"\n"), "base64"),
        (GOOD[:-2] + b"!\n", "base64"),
        (GOOD + GOOD.rpartition(b"\n\n")[2] * 100, "more signatures"),
        (b"x" * (MAX_NOTE_BYTES + 1), "longer"),
        (GOOD + "— naam AAAA\n".encode(), "key's id and a signature"),
        (GOOD + "— na+am AAAAAAAA\n".encode(), "no plus"),
        (GOOD + "— \u202enaam AAAAAAAA\n".encode(), "cannot be printed"),
    ],
)
def test_a_note_is_read_strictly(data, message):
    with pytest.raises(NoteError, match=message):
        Note.parse(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{LOG}\n5\n", "three lines"),
        (f"{LOG}\n5\nAAAA\nmore\n", "three lines"),
        (f"{LOG}\n05\nAAAA\n", "leading zeros"),
        (f"{LOG}\n+5\nAAAA\n", "leading zeros"),
        (f"{LOG}\n٥\nAAAA\n", "leading zeros"),
        (f"{LOG}\n\nAAAA\n", "leading zeros"),
        (f"{LOG}\n{'9' * 5000}\nAAAA\n", "leading zeros"),
        (f"{LOG}\n{1 << 63}\nAAAA\n", "larger"),
        (f"{LOG}\n5\nAAAA\n", "32 bytes"),
        ("\n5\nAAAA\n", "name"),
        (str(CHECKPOINT).replace("8=\n", "9=\n"), "another writing"),
    ],
)
def test_a_checkpoint_is_read_strictly(text, message):
    with pytest.raises(NoteError, match=message):
        Checkpoint.parse(text)


def test_an_empty_log_has_a_checkpoint_too():
    empty = Checkpoint(LOG, 0, bytes(32))
    assert Checkpoint.parse(str(empty)) == empty


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        GO_SECRET,
        GO_KEY.replace("c74f20a3", "c74f20a4"),
        GO_KEY.replace("c74f20a3", "C74F20A3"),
        GO_KEY.replace("PeterNeumann", "PeterNewman"),
        GO_KEY[:-4],
        GO_KEY.replace("+ARpc", "+ZRpc"),
        GO_KEY.replace("Neumann", " Neumann"),
    ],
)
def test_a_public_key_is_read_strictly(text):
    with pytest.raises(NoteError) as refused:
        VerifierKey.parse(text)
    assert "AYEKFALVFGy" not in str(refused.value), "a private key is never repeated"


@pytest.mark.parametrize("text", ["", GO_KEY, GO_SECRET.replace("c74f20a3", "c74f20a4"), GO_SECRET[:-4]])
def test_a_private_key_is_read_strictly(text):
    with pytest.raises(NoteError):
        SigningKey.parse(text)
