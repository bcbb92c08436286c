"""`bode keys evidence`: the keys that sign the log of evidence."""

from __future__ import annotations

from cyclopts import App

from bode.settings import EvidenceSettings
from bode.store.evidence_keys import Keyring, make_keyring, read_keyring, rotate_keyring
from bode_ops.commands.base import Config, UsageError, console, load

keys_evidence_app = App(name="evidence", help="Make, replace and show the keys that sign the log of evidence.")


@keys_evidence_app.command(name="init")
def init(*, config: Config = None) -> None:
    """Make the key that signs checkpoints, and print its public key. Keep a copy of the file in a safe place."""
    found = the_evidence(config)
    ring = make_keyring(found.key_file, found.origin)
    console.print(f"made {found.key_file}: keep a copy in a safe place", markup=False)
    _publish(ring)


@keys_evidence_app.command(name="rotate")
def rotate(*, config: Config = None) -> None:
    """Replace the key that signs; what the old one signed keeps verifying. Then start the sweeper again."""
    found = the_evidence(config)
    ring = rotate_keyring(found.key_file, found.origin)
    console.print("start the sweeper again: it signs with the new key from then on")
    _publish(ring)


@keys_evidence_app.command(name="list")
def show(*, config: Config = None) -> None:
    """Print the public keys, to be published: the one that signs now, and those that signed before."""
    found = the_evidence(config)
    ring = read_keyring(found.key_file, found.origin)
    for key in reversed(ring.verifiers):
        state = "signs now" if key == ring.signing.verifier else "signed before"
        print(f"{key}  {state}")  # noqa: T201 - the answer itself


def _publish(ring: Keyring) -> None:
    console.print("publish its public key, where it cannot be changed together with the log:")
    print(ring.signing.verifier)  # noqa: T201 - the answer itself


def the_evidence(config: Config) -> EvidenceSettings:
    """Read the section on evidence; says what to add where there is none."""
    found = load(config).evidence
    if found is None:
        raise UsageError("the configuration has no [evidence]: see config/examples")
    return found
