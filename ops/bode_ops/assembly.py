"""The composition root: the one place that makes real parts of a configuration."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
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
from bode.domain.retention import Terms
from bode.engine import heartbeat
from bode.engine.acts import Acts
from bode.engine.attestors import Connect, TimestampAuthority, Witness
from bode.engine.box_results import BoxResults
from bode.engine.checkpoints import Attestor, Checkpoints
from bode.engine.documents import DocumentSweep
from bode.engine.doorbell import Doorbell, build_broker
from bode.engine.heartbeat import Heartbeat, Nowhere, with_heartbeat
from bode.engine.inbound import Inbound
from bode.engine.jobs import Jobs
from bode.engine.journal import Journal
from bode.engine.lanes import Lanes
from bode.engine.mail_health import MailHealth, Providers
from bode.engine.parts import Organisation, Parts
from bode.engine.profile_guard import ProfileLimits
from bode.engine.retention import Retention
from bode.engine.return_path import ReturnPath
from bode.engine.sequencer import Sequencer
from bode.engine.sweeper import Sweeper
from bode.engine.teller import Teller
from bode.engine.webhooks import Receiver, ReceiverError, Webhooks
from bode.engine.zgw import Source, Zgw
from bode.evidence.note import VerifierKey
from bode.evidence.timestamp import TimestampError, read_roots
from bode.intake import applications
from bode.intake.accept import Caller, Intake
from bode.intake.applications import Doorkeeper, Proxy
from bode.intake.feed import Feed
from bode.intake.fetching import DocumentSource, Fetcher
from bode.intake.queue import QueueIntake, connect
from bode.intake.sealed import private_key
from bode.intake.status import StatusReader
from bode.intake.tokens import Jwks, OAuthTokens, ZgwTokens
from bode.intake.zgw_mapping import MappingFileError, read_rules
from bode.settings import (
    ConfigError,
    EvidenceSettings,
    LimitSettings,
    Settings,
    build_policy,
    config_folder,
)
from bode.store.database import Database
from bode.store.evidence_keys import read_keyring
from bode.store.log_folder import LogFolder
from bode.store.vault import Vault
from bode_adapters.connection import Connection
from bode_adapters.contract import (
    Adapter,
    Box,
    KeepsJournal,
    Notifier,
    PrintService,
    ProfileService,
    SettingError,
    TellsReading,
)
from bode_adapters.rest import SettingsTable
from bode_adapters.secret_file import SecretFileError, read_secret
from bode_adapters.zgw import Registers
from bode_ops.bounce_routes import BounceRoutes
from bode_ops.document_store import build_documents
from bode_ops.traces import Sent, traces


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
    zgw: Zgw
    heartbeat: Heartbeat | None
    inbound: Inbound
    box_results: BoxResults
    bounce_routes: BounceRoutes
    doors: Doorkeeper
    intake: Intake
    queue_intake: QueueIntake | None
    """None where no sender is configured."""
    status: StatusReader
    feed: Feed
    retention: Retention
    document_sweep: DocumentSweep | None
    """None where no store of documents is configured."""
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
        if self.queue_intake is not None:
            await self.queue_intake.close()
        await self.doorbell.close()
        await self.database.close()
        if isinstance(self.parts.trace, Sent):
            await asyncio.to_thread(self.parts.trace.close)


def build(settings: Settings) -> Application:
    """Make the application of a configuration. Raises `ConfigError`, `KeyFileError` or a template's error."""
    if not settings.channels:
        raise ConfigError("configuration: no channels: name a file with --config, or in BODE_CONFIG")
    clock = Clock(settings.clock.factor, settings.clock.origin)
    vault = build_vault(settings)
    database = build_database(settings)
    boxes = {
        name: build_adapter(f"channels.{name}", channel.adapter, channel.settings, Box, clock)
        for name, channel in settings.channels.items()
    }
    if settings.notices is None or settings.print is None:
        raise ConfigError("configuration: notices and print each need an adapter")
    notifier = build_adapter("notices", settings.notices.adapter, settings.notices.settings, Notifier, clock)
    printer = build_adapter("print", settings.print.adapter, settings.print.settings, PrintService, clock)
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
        profile = build_adapter("profile", settings.profile.adapter, settings.profile.settings, ProfileService, clock)
        profile_limits = ProfileLimits(settings.profile.missing_share, settings.profile.missing_least)
    # What comes from outside cannot name the heartbeat's channel: intake does not know it.
    taken_in = build_policy(settings, {name: box.capabilities for name, box in boxes.items()})
    policy = with_heartbeat(taken_in) if settings.heartbeat is not None else taken_in
    own = {heartbeat.OIN: heartbeat.ORGANISATION} if settings.heartbeat is not None else {}
    none = LimitSettings()
    parts = Parts(
        database=database,
        vault=vault,
        policy=policy,
        clock=clock,
        boxes={**boxes, **({heartbeat.CHANNEL: Nowhere(clock=clock.now)} if own else {})},
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
        }
        | own,
        box_urls={name: channel.url for name, channel in settings.channels.items()},
        chunk=settings.engine.chunk,
        lane_concurrency=settings.engine.lane_concurrency,
        limits_of={oin: item.limits.limits for oin, item in settings.organisations.items() if item.limits != none},
        lane_rules={name: lane.rules(settings.engine.lane_concurrency) for name, lane in settings.lanes.items()},
        hold_seconds=settings.engine.hold_seconds,
        heartbeat_seconds=settings.engine.heartbeat_seconds,
        elsewhere=build_documents(settings),
        journal=_journal(settings, {**boxes, policy.notice_lane: notifier}),
        trace=traces(settings.tracing, settings.logboek),
    )
    if unknown := sorted(settings.lanes.keys() - set(parts.lanes)):
        known = ", ".join(parts.lanes)
        raise ConfigError(f"configuration: lanes.{unknown[0]}: there is no such lane; lanes are {known}")
    doorbell = Doorbell(build_broker(settings.broker.url, settings.broker.namespace), chunk=parts.chunk)
    lanes = Lanes(parts, doorbell.ring)
    inbound = Inbound(parts, lanes)
    take_in = partial(
        Intake,
        database=database,
        vault=vault,
        clock=clock,
        ring=doorbell.ring,
        fetcher=Fetcher(_document_sources(settings)),
        trace=parts.trace,
        limits_of=parts.limits_of,
        elsewhere=parts.elsewhere,
    )
    intake = take_in(policy=taken_in, organisations=frozenset(settings.organisations))
    beats = None
    if settings.heartbeat is not None:
        its_own = take_in(policy=policy, organisations=frozenset(own))
        beats = Heartbeat(its_own, clock, every=settings.heartbeat.every)
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
        zgw=Zgw(database, clock, intake, policy, _zgw_sources(settings, clock)),
        heartbeat=beats,
        inbound=inbound,
        bounce_routes=BounceRoutes(inbound, settings.bounces, is_ours=parts.return_path.is_ours, now=clock.real),
        box_results=BoxResults(parts, lanes, inbound),
        doors=_doors(settings, clock),
        intake=intake,
        queue_intake=_queue_intake(settings, intake, vault),
        status=StatusReader(database, policy),
        feed=Feed(database),
        retention=_retention(settings, parts),
        document_sweep=_document_sweep(settings, parts),
        acts=acts,
        jobs=Jobs(parts, acts, lanes.announce, confirm_above=confirm_above),
    )


def _journal(settings: Settings, adapters: Mapping[str, Adapter]) -> Journal | None:
    """Make the journal around calls, and tell the adapters that write to it themselves."""
    if settings.engine.journal_folder is None:
        return None
    journal = Journal(settings.engine.journal_folder)
    for lane, adapter in adapters.items():
        if isinstance(adapter, KeepsJournal):
            adapter.keep_journal(journal.of(lane))
    return journal


def _queue_intake(settings: Settings, intake: Intake, vault: Vault) -> QueueIntake | None:
    if settings.broker.url is None or not settings.queue.senders:
        return None
    return QueueIntake(
        intake,
        lambda: private_key(vault.intake_seed),
        connect(settings.broker.url),
        namespace=settings.broker.namespace,
        senders={name: frozenset(sender.organisations) for name, sender in settings.queue.senders.items()},
        most_bytes=settings.api.max_body_bytes,
    )


def _zgw_sources(settings: Settings, clock: Clock) -> list[Source]:
    """Make the zaaksystemen. Raises `ConfigError` for a file or a setting that cannot be used."""
    made: list[Source] = []
    for name, zgw in settings.zgw.items():
        where = f"configuration: zgw.{name}"
        try:
            secret = read_secret(zgw.secret_file)
            registers = Registers.from_settings(zgw.registers, secret=secret, clock=clock.real)
            rules = read_rules(zgw.mapping)
        except SecretFileError as error:
            raise ConfigError(f"{where}.secret_file: {zgw.secret_file} {error}") from error
        except SettingError as error:
            raise ConfigError(f"{where}.registers.{error.key} is {error.value!r}: {error.needs}") from error
        except MappingFileError as error:
            raise ConfigError(f"{where}.mapping: {error}") from error
        made.append(
            Source(
                name,
                registers,
                rules,
                zgw.organisations,
                zgw.ceiling,
                zgw.since,
                frozenset(zgw.mijn_overheid),
                zgw.contact,
                zgw.poll,
                Caller(f"zgw:{name}", frozenset(zgw.organisations.values())),
            )
        )
    return made


def zgw_tokens(settings: Settings) -> dict[str, str]:
    """Give what each zaaksysteem's subscription sends in `Authorization`. Raises `ConfigError`."""
    tokens: dict[str, str] = {}
    for name, zgw in settings.zgw.items():
        try:
            tokens[name] = read_secret(zgw.notification_token_file)
        except SecretFileError as error:
            file = zgw.notification_token_file
            raise ConfigError(f"configuration: zgw.{name}.notification_token_file: {file} {error}") from error
    return tokens


def terms_of(settings: Settings) -> tuple[Terms, Mapping[str, Terms]]:
    """Give the terms of retention, and those of the organisations that have their own."""
    base = settings.retention.terms(Terms())
    own = {oin: item.retention.terms(base) for oin, item in settings.organisations.items()}
    return base, {oin: terms for oin, terms in own.items() if terms != base}


def _retention(settings: Settings, parts: Parts) -> Retention:
    base, own = terms_of(settings)
    return Retention(
        parts.database, parts.vault, parts.policy, parts.clock, terms=base, own=own, documents=parts.elsewhere.documents
    )


def _document_sweep(settings: Settings, parts: Parts) -> DocumentSweep | None:
    if settings.documents is None:
        return None
    grace = settings.documents.orphan_after
    return DocumentSweep(parts.elsewhere.documents, parts.database, parts.clock, grace=grace)


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


_SHORTEST_SECRET = 32


def _document_sources(settings: Settings) -> list[DocumentSource]:
    """Make where documents may be fetched from. Raises `ConfigError`."""
    made: list[DocumentSource] = []
    for name, one in settings.api.documents.items():
        try:
            made.append(DocumentSource.read(name, url=one.url, organisations=one.organisations, settings=one.settings))
        except SettingError as error:
            key = "url" if error.key == "base_url" else f"settings.{error.key}"
            raise ConfigError(f"configuration: api.documents.{name}.{key} is {error.value!r}: {error.needs}") from error
    return made


def _doors(settings: Settings, clock: Clock) -> Doorkeeper:
    """Make who lets applications in. Raises `ConfigError` for a secret or an address that cannot be used."""
    found, oauth, zgw = settings.api.applications, settings.api.oauth, dict[str, tuple[bytes, ...]]()
    for name, one in found.items():
        if one.zgw is not None:
            where = f"configuration: api.applications.{name}.zgw.secrets"
            zgw[one.zgw.client_id] = tuple(_secret(where, file) for file in one.zgw.secrets)
    tokens: OAuthTokens | None = None
    if oauth is not None:
        try:
            table = SettingsTable(
                {"timeout_seconds": 5, "concurrency": 1, **oauth.settings, "base_url": oauth.jwks_url}
            )
            connection = Connection.read(table)
            table.finish()
        except SettingError as error:
            key = "jwks_url" if error.key == "base_url" else f"settings.{error.key}"
            raise ConfigError(f"configuration: api.oauth.{key} is {error.value!r}: {error.needs}") from error
        tokens = OAuthTokens(
            Jwks(connection),
            issuer=oauth.issuer,
            audience=oauth.audience,
            algorithms=oauth.algorithms,
            client_claim=oauth.client_claim,
            now=clock.real,
        )
    proxy = settings.api.proxy
    return Doorkeeper(
        [
            applications.Application(
                name=name,
                organisations=frozenset(one.organisations),
                scopes=frozenset(one.scopes),
                per_minute=one.per_minute,
                keys=one.keys,
                oauth_client=one.oauth_client,
                zgw_client=one.zgw.client_id if one.zgw is not None else None,
                certificates=one.certificates,
            )
            for name, one in found.items()
        ],
        now=clock.real,
        oauth=tokens,
        zgw=ZgwTokens(zgw, clock.real),
        proxy=Proxy(proxy.addresses, proxy.certificate_header) if proxy is not None else None,
    )


def _secret(where: str, file: Path) -> bytes:
    try:
        secret = file.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"{where}: {file}: {error.strerror}") from error
    if len(secret) < _SHORTEST_SECRET:
        raise ConfigError(f"{where}: {file}: a secret has {_SHORTEST_SECRET} characters or more")
    return secret


def _own_letters(settings: Settings) -> Mapping[str, Path]:
    """Give the folders of the organisations that have templates of their own, by OIN."""
    root = settings.letters.folder
    return {oin: root / oin for oin in settings.organisations if (root / oin).is_dir()} if root is not None else {}


def build_vault(settings: Settings) -> Vault:
    """Make the vault of a configuration. Raises `KeyFileError`."""
    return Vault(settings.keys.source.read(), *(other.source.read() for other in settings.keys.others))


def build_database(settings: Settings) -> Database:
    """Make the database of a configuration; for SQLite its folder too."""
    url = settings.database.url
    path = make_url(url).database
    if url.startswith("sqlite") and path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    return Database(
        url, pool_size=settings.database.pool_size, transaction_seconds=settings.database.transaction_seconds
    )


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
        connect = _connect("tsa", settings.tsa.url, settings.tsa.settings)
        attestors.append(TimestampAuthority(settings.tsa.url, _roots(settings.tsa.root), connect=connect))
    if settings.witness is not None:
        connect = _connect("witness", settings.witness.url, settings.witness.settings)
        attestors.append(Witness(settings.witness.url, VerifierKey.parse(settings.witness.key), connect=connect))
    return attestors


def _connect(name: str, url: str, settings: Mapping[str, Any]) -> Connect:
    """Give what makes a client for an attestor: what it says is signed, so that http is no risk."""
    try:
        connection = Connection.read(
            SettingsTable({"timeout_seconds": 20, "allow_http": True, **settings, "base_url": url})
        )
    except SettingError as error:
        key = "url" if error.key == "base_url" else f"settings.{error.key}"
        raise ConfigError(f"configuration: evidence.{name}.{key} is {error.value!r}: {error.needs}") from error
    return lambda: connection.client(headers={})


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


def build_adapter(where: str, name: str, settings: Mapping[str, Any], kind: Any, clock: Clock) -> Any:
    """Make the adapter that a part of the configuration names, found by its entry point. Raises `ConfigError`."""
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
