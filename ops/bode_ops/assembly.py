"""The composition root: the one place that makes real parts of a configuration."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from cryptography import x509
from sqlalchemy.engine import make_url

from bode.clock import Clock
from bode.compose.letter import LetterComposer
from bode.compose.notice import NoticeComposer
from bode.compose.paper import Paper
from bode.compose.wording import typed_address
from bode.domain.bounces import RuleBook
from bode.engine.acts import Acts
from bode.engine.attestors import TimestampAuthority, Witness
from bode.engine.box_results import BoxResults
from bode.engine.checkpoints import Attestor, Checkpoints
from bode.engine.doorbell import Doorbell, build_broker
from bode.engine.inbound import Inbound
from bode.engine.jobs import Jobs
from bode.engine.lanes import Lanes
from bode.engine.mail_health import MailHealth, Providers
from bode.engine.parts import Organisation, Parts
from bode.engine.profile_guard import ProfileLimits
from bode.engine.return_path import ReturnPath
from bode.engine.sequencer import Sequencer
from bode.engine.sweeper import Sweeper
from bode.engine.teller import Teller
from bode.engine.webhooks import Receiver, ReceiverError, Webhooks
from bode.evidence.note import VerifierKey
from bode.evidence.timestamp import TimestampError, read_roots
from bode.intake.accept import Intake
from bode.intake.feed import Feed
from bode.intake.queue import QueueIntake
from bode.intake.status import StatusReader
from bode.settings import ConfigError, EvidenceSettings, Settings, build_policy, config_folder
from bode.store.database import Database
from bode.store.evidence_keys import read_keyring
from bode.store.log_folder import LogFolder
from bode.store.vault import Vault, read_key_file
from bode_adapters.contract import Adapter, Box, Notifier, PrintService, ProfileService, SettingError, TellsReading
from bode_ops.bounce_routes import BounceRoutes


@dataclass(frozen=True, slots=True)
class Application:
    """Everything, made and wired; nothing opened or started yet."""

    settings: Settings
    database: Database
    clock: Clock
    parts: Parts
    lanes: Lanes
    doorbell: Doorbell
    sweeper: Sweeper
    sequencer: Sequencer
    teller: Teller
    webhooks: Webhooks
    inbound: Inbound
    box_results: BoxResults
    bounce_routes: BounceRoutes
    intake: Intake
    queue_intake: QueueIntake
    status: StatusReader
    feed: Feed
    acts: Acts
    jobs: Jobs

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """All adapters, to open and close."""
        own = (self.parts.notifier, self.parts.printer)
        return (*self.parts.boxes.values(), *own, *((self.parts.profile,) if self.parts.profile is not None else ()))

    async def open_adapters(self) -> None:
        """Open every adapter, in the loop that will make their calls."""
        for adapter in self.adapters:
            await adapter.open()

    async def close(self) -> None:
        """Close everything that was opened."""
        for adapter in self.adapters:
            await adapter.close()
        await self.doorbell.close()
        await self.database.close()


def build(settings: Settings) -> Application:
    """Make the application of a configuration. Raises `ConfigError`, `KeyFileError` or a template's error."""
    if not settings.channels:
        raise ConfigError("configuration: no channels: name a file with --config, or in BODE_CONFIG")
    clock = Clock(settings.clock.factor, settings.clock.origin)
    vault = Vault(read_key_file(settings.keys.file))
    database = build_database(settings)
    boxes = {
        name: _adapter(f"channels.{name}", channel.adapter, channel.settings, Box, clock)
        for name, channel in settings.channels.items()
    }
    if settings.notices is None or settings.print is None:
        raise ConfigError("configuration: notices and print each need an adapter")
    notifier = _adapter("notices", settings.notices.adapter, settings.notices.settings, Notifier, clock)
    printer = _adapter("print", settings.print.adapter, settings.print.settings, PrintService, clock)
    for name, channel in settings.channels.items():
        if boxes[name].capabilities.read_times and not isinstance(boxes[name], TellsReading):
            raise ConfigError(f"configuration: channels.{name}.adapter declares read_times and has no readings()")
        if channel.kind == "box":
            try:
                typed_address(channel.url)
            except ValueError as error:
                raise ConfigError(f"configuration: channels.{name}.url: {error}") from error
    profile, profile_limits = None, ProfileLimits()
    if settings.profile is not None:
        profile = _adapter("profile", settings.profile.adapter, settings.profile.settings, ProfileService, clock)
        profile_limits = ProfileLimits(settings.profile.missing_share, settings.profile.missing_least)
    policy = build_policy(settings, {name: box.capabilities for name, box in boxes.items()})
    parts = Parts(
        database=database,
        vault=vault,
        policy=policy,
        clock=clock,
        boxes=boxes,
        notifier=notifier,
        printer=printer,
        profile=profile,
        profile_limits=profile_limits,
        notice_composer=NoticeComposer(config_folder() / "notices"),
        letter_composer=LetterComposer(config_folder() / "letters", own=_own_letters(settings)),
        paper=Paper(settings.letters.paper_grams, settings.letters.both_sides, settings.letters.envelope_grams),
        rules=bounce_rules(),
        return_path=ReturnPath(
            vault.return_path_key,
            settings.bounces.domain,
            valid=settings.bounces.return_path_valid,
            now=clock.now,
        ),
        health=MailHealth(providers(vault), vault),
        organisations={
            oin: Organisation(oin, item.name, item.email, item.contact, item.address, dict(item.box_types))
            for oin, item in settings.organisations.items()
        },
        box_urls={name: channel.url for name, channel in settings.channels.items()},
        chunk=settings.engine.chunk,
        lane_concurrency=settings.engine.lane_concurrency,
        lease_seconds=settings.engine.lease_seconds,
    )
    doorbell = Doorbell(build_broker(settings.broker.url, settings.broker.namespace), chunk=parts.chunk)
    lanes = Lanes(parts, doorbell.ring)
    inbound = Inbound(parts, lanes)
    intake = Intake(
        database=database,
        vault=vault,
        policy=policy,
        clock=clock,
        organisations=frozenset(parts.organisations),
        ring=doorbell.ring,
    )
    acts = Acts(parts, lanes.announce)
    confirm_above = settings.console.confirm_above if settings.console is not None else 0
    webhooks = Webhooks(database, clock, _receivers(settings))
    return Application(
        settings=settings,
        database=database,
        clock=clock,
        parts=parts,
        lanes=lanes,
        doorbell=doorbell,
        sweeper=Sweeper(parts, lanes, doorbell.ring, inbound.work),
        sequencer=Sequencer(database),
        teller=Teller(database, clock, on_numbered=webhooks.add),
        webhooks=webhooks,
        inbound=inbound,
        bounce_routes=BounceRoutes(inbound, settings.bounces, is_ours=parts.return_path.is_ours, now=clock.real),
        box_results=BoxResults(parts, lanes, inbound),
        intake=intake,
        queue_intake=QueueIntake(intake, vault.intake_key),
        status=StatusReader(database, policy),
        feed=Feed(database),
        acts=acts,
        jobs=Jobs(parts, acts, lanes.announce, confirm_above=confirm_above),
    )


def _receivers(settings: Settings) -> list[Receiver]:
    """Make who is called by webhook. Raises `ConfigError` for a secret or a setting that cannot be used."""
    made: list[Receiver] = []
    for name, hook in settings.webhooks.items():
        where = f"configuration: webhooks.{name}"
        try:
            made.append(
                Receiver.read(
                    name,
                    url=hook.url,
                    organisations=hook.organisations,
                    kinds=hook.kinds,
                    secrets=hook.secrets,
                    settings=hook.settings,
                )
            )
        except ReceiverError as error:
            raise ConfigError(f"{where}: {error}") from error
        except SettingError as error:
            key = "url" if error.key == "base_url" else f"settings.{error.key}"
            raise ConfigError(f"{where}.{key} is {error.value!r}: {error.needs}") from error
    return made


def _own_letters(settings: Settings) -> Mapping[str, Path]:
    """Give the folders of the organisations that have templates of their own, by OIN."""
    root = settings.letters.folder
    return {oin: root / oin for oin in settings.organisations if (root / oin).is_dir()} if root is not None else {}


def build_database(settings: Settings) -> Database:
    """Make the database of a configuration; for SQLite its folder too."""
    url = settings.database.url
    path = make_url(url).database
    if url.startswith("sqlite") and path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    return Database(url, pool_size=settings.database.pool_size)


def build_checkpoints(settings: EvidenceSettings, database: Database, clock: Clock) -> Checkpoints:
    """Make the part that signs and publishes the log. Only who does so has its key. Raises `KeyFileError`."""
    ring = read_keyring(settings.key_file, settings.origin)
    return Checkpoints(
        database,
        clock,
        LogFolder(settings.folder, settings.origin, ring.verifiers),
        ring.signing,
        every_seconds=settings.every_seconds,
        attestors=build_attestors(settings),
    )


def build_attestors(settings: EvidenceSettings) -> list[Attestor]:
    """Make the parts that ask others for their word on checkpoints, and know it again. Raises `KeyFileError`."""
    attestors: list[Attestor] = []
    if settings.tsa is not None:
        attestors.append(TimestampAuthority(settings.tsa.url, _roots(settings.tsa.root)))
    if settings.witness is not None:
        attestors.append(Witness(settings.witness.url, VerifierKey.parse(settings.witness.key)))
    return attestors


def _roots(file: Path) -> list[x509.Certificate]:
    try:
        return read_roots(file)
    except TimestampError as error:
        raise ConfigError(f"configuration: evidence.tsa.root: {error}") from error
    except OSError as error:
        raise ConfigError(f"configuration: evidence.tsa.root: {file}: {error.strerror}") from error


def bounce_rules() -> RuleBook:
    """Read the bounce rules of the shipped configuration."""
    files = sorted((config_folder() / "bounces").glob("*.toml"))
    return RuleBook.from_tables(tomllib.loads(file.read_text("utf-8")) for file in files)


def providers(vault: Vault) -> Providers:
    """Read which domains are one mail provider."""
    table = tomllib.loads((config_folder() / "providers.toml").read_text("utf-8"))
    return Providers(table["providers"], vault)


def _adapter(where: str, name: str, settings: Mapping[str, Any], kind: Any, clock: Clock) -> Any:
    """Make the adapter that a part of the configuration names, found by its entry point."""
    found = {point.name: point for point in entry_points(group="bode.adapters")}
    if name not in found:
        known = ", ".join(sorted(found))
        raise ConfigError(f"configuration: {where}.adapter is {name!r}; installed are {known}")
    made = found[name].load()
    try:
        adapter = made.from_settings(settings, clock=clock.now)
    except SettingError as error:
        raise ConfigError(f"configuration: {where}.settings.{error.key} is {error.value!r}: {error.needs}") from error
    if not isinstance(adapter, kind):
        raise ConfigError(f"configuration: {where}.adapter {name!r} is not a {kind.__name__}")
    return adapter
