"""`bode keys`: make and show keys, and put one in another's place while the work goes on."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.progress import Progress
from rich.table import Table
from sqlalchemy.exc import IntegrityError

from bode.store import keyring, return_path_keys, staff
from bode.store.return_path_keys import Generation
from bode.store.vault import Vault, write_key_file
from bode_ops.assembly import Application
from bode_ops.commands.base import By, Config, Reason, UsageError, a_reason, console, errors, load, me, with_application

keys_app = App(name="keys", help="Make and show keys.")
return_path_app = App(name="return-path", help="See and change the key that signs return paths, without a restart.")
keys_app.command(return_path_app)


@keys_app.command(name="init")
def keys_init(
    *,
    file: Annotated[Path | None, Parameter(help="Make this file instead: a key to rotate to.")] = None,
    config: Config = None,
) -> None:
    """Make the key file that everything sealed depends on. Keep a copy in a safe place."""
    path = file or load(config).keys.source.file
    if path is None:
        raise UsageError("[keys] names no file: make the key where it says, or name a file with --file")
    write_key_file(path)
    console.print(f"made {path}: keep a copy in a safe place", markup=False)


@keys_app.command(name="list")
def keys_list(*, config: Config = None) -> None:
    """List the keys of the configuration, by their ids, with how much stands under each."""
    settings = load(config)
    sources = [settings.keys.source, *(other.source for other in settings.keys.others)]

    async def work(application: Application) -> Mapping[str, keyring.Use]:
        async with application.database.read() as connection:
            return await keyring.uses(connection)

    used = with_application(config, work)
    table = Table("key", "from", "does", "messages", "received", "secrets")
    for number, source in enumerate(sources):
        key_id = Vault(source.read()).key_id
        use = used.get(key_id, keyring.Use(0, 0, 0))
        does = "opens" if number else "seals and opens"
        table.add_row(key_id, str(source), does, str(use.messages), str(use.received), str(use.secrets))
    console.print(table)


@keys_app.command(name="rotate")
def keys_rotate(*, reason: Reason, by: By | None = None, config: Config = None) -> None:
    """Seal everything under the key that seals now, while the work goes on. Run it again after an interruption."""
    who, why = by or me(), a_reason(reason)

    async def work(application: Application) -> tuple[int, str]:
        database, vault = application.database, application.parts.vault
        async with database.read() as connection:
            todo = sum(
                use.messages + use.received + use.secrets
                for key_id, use in (await keyring.uses(connection)).items()
                if key_id != vault.key_id
            )
        with Progress(console=errors, disable=not sys.stderr.isatty(), transient=True) as bar:
            task = bar.add_task("keys", total=todo)
            done = await keyring.rotate(database, vault, lambda count: bar.advance(task, count))
        if done:
            now = application.clock.now()
            async with database.write() as connection:
                act = staff.StaffAct(now, who, "key_rotated", vault.key_id, why)
                await staff.record_act(connection, vault, act)
        return done, vault.key_id

    done, key_id = with_application(config, work)
    console.print(f"{done} sealed anew under {key_id}; nothing stands under another key")
    console.print("once every process has it as its first key, keys.others can go; a start that is too early says so")


@keys_app.command(name="rotate-lookup")
def keys_rotate_lookup(
    *,
    reason: Reason,
    wait_seconds: Annotated[
        float, Parameter(help="How long until every process has read the new secret; at least three of its rounds.")
    ] = 3 * keyring.REFRESH_SECONDS,
    by: By | None = None,
    config: Config = None,
) -> None:
    """Change the secret that keyed hashes of people and addresses are made with, while the work goes on."""
    who, why = by or me(), a_reason(reason)

    async def work(application: Application) -> int:
        database, vault = application.database, application.parts.vault
        generation = await keyring.new_lookup_secret(database, vault, application.clock.now())
        with Progress(console=errors, disable=not sys.stderr.isatty(), transient=True) as bar:
            task = bar.add_task("hashes", total=None)
            done = await keyring.rehash(database, vault, lambda count: bar.advance(task, count))
            await asyncio.sleep(wait_seconds)
            # What processes that had not read the new secret yet wrote meanwhile.
            done += await keyring.rehash(database, vault, lambda count: bar.advance(task, count))
        await keyring.drop_older_lookup_secrets(database, vault)
        act = staff.StaffAct(application.clock.now(), who, "lookup_rotated", f"generation {generation}", why)
        async with database.write() as connection:
            await staff.record_act(connection, vault, act)
        return done

    console.print(f"{with_application(config, work)} hashes made anew; the older secret is gone")


@keys_app.command(name="api")
def keys_api() -> None:
    """Make a key for a zaaksysteem: the key for them, its SHA-256 for the configuration."""
    key = secrets.token_urlsafe(32)
    console.print(f"key for the zaaksysteem                {key}", markup=False)
    console.print(f"for keys in [api.applications.NAME]    {sha256(key.encode()).hexdigest()}", markup=False)


@return_path_app.command(name="list")
def return_path_list(*, config: Config = None) -> None:
    """List the generations of the key: the newest signs, the others are believed until they are removed."""

    async def work(application: Application) -> Sequence[Generation]:
        async with application.database.read() as connection:
            return await return_path_keys.known(connection)

    table = Table("generation", "made", "state", "by", "why")
    for number, item in enumerate(with_application(config, work)):
        made = f"{item.made_at:%Y-%m-%d %H:%M}Z" if item.made_at is not None else "from the start"
        state = "believed" if number else "signs"
        if item.removed_at is not None:
            state = f"removed {item.removed_at:%Y-%m-%d %H:%M}Z"
        table.add_row(str(item.number), made, state, item.removed_by or item.made_by or "", item.reason or "")
    console.print(table)


@return_path_app.command(name="rotate")
def return_path_rotate(*, reason: Reason, by: By | None = None, config: Config = None) -> None:
    """Make a new generation of the key. Every process signs with it from its next mail on; older ones stay believed."""
    who, why = by or me(), a_reason(reason)

    async def work(application: Application) -> int:
        async with application.database.write() as connection:
            return await return_path_keys.rotate(connection, by=who, reason=why, now=application.clock.now())

    try:
        number = with_application(config, work)
    except IntegrityError:
        raise UsageError("somebody else rotated the key just now: see 'bode keys return-path list'") from None
    console.print(f"generation {number} signs from now on; the others are believed until they are removed")


@return_path_app.command(name="remove")
def return_path_remove(
    generation: int,
    /,
    *,
    reason: Reason,
    in_use: Annotated[
        bool, Parameter(negative="", help="Remove it though bounces of mails it signed can still come: it leaked.")
    ] = False,
    by: By | None = None,
    config: Config = None,
) -> None:
    """Believe a generation of the key no longer. What was signed with it is then ignored: see 'bode bounce list'."""
    who, why = by or me(), a_reason(reason)

    async def work(application: Application) -> None:
        now, valid = application.clock.now(), application.settings.bounces.return_path_valid
        async with application.database.write() as connection:
            known = await return_path_keys.known(connection)
            if generation == known[0].number:
                raise UsageError(f"generation {generation} signs: make another first (bode keys return-path rotate)")
            successors = {older.number: newer.made_at for newer, older in pairwise(known) if older.removed_at is None}
            if generation not in successors:
                raise UsageError(f"there is no generation {generation} to remove: see 'bode keys return-path list'")
            succeeded_at = successors[generation]
            if succeeded_at is not None and succeeded_at + valid > now and not in_use:
                raise UsageError(
                    f"generation {generation} signed until {succeeded_at:%Y-%m-%d}, and bounces are believed for "
                    f"{valid.days} days: wait until {succeeded_at + valid:%Y-%m-%d}, or add --in-use when it leaked"
                )
            await return_path_keys.remove(connection, generation, by=who, reason=why, now=now)

    with_application(config, work)
    console.print(f"generation {generation} is believed no longer")
