"""Configuration: validated once, at start. A message names the file, the key, what was found and what is needed.

Read from a TOML file (`--config`, or the environment variable `BODE_CONFIG`); environment variables such as
`BODE__DATABASE__URL` go before it, so that secrets need not stand in a file.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from bode.domain.message import AddresseeKind, Confidentiality
from bode.domain.policy import Channel, ChannelKind, LetterWithoutAddress, NoticeBy, Policy
from bode.domain.terms import Holidays
from bode.evidence.note import KeyKind, NoteError, VerifierKey

_WAIT = re.compile(r"([0-9]{1,12})(s|m|h|d)")
_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class ConfigError(Exception):
    """A configuration that cannot be used; the message lists every fault with its key."""


def config_folder() -> Path:
    """Give the folder of the shipped configuration: in the wheel, or beside the sources."""
    inside = Path(__file__).parent / "config"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[2] / "config"


def _a_wait(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    found = _WAIT.fullmatch(str(value))
    if found is None:
        raise ValueError("is no wait: write 30s, 15m, 4h or 3d")
    try:
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        raise ValueError("is longer than any calendar") from None


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return value


def _a_time_of_day(value: Any) -> time:
    if isinstance(value, time):  # TOML has times of its own: 16:00:00
        return value
    if not _TIME_OF_DAY.fullmatch(str(value)):
        raise ValueError('is no time of day: write "16:00"')
    return time.fromisoformat(str(value))


def _a_witness_key(value: str) -> str:
    try:
        key = VerifierKey.parse(value)
    except NoteError as error:
        raise ValueError(str(error)) from None
    if key.kind is not KeyKind.WITNESS:
        raise ValueError("is the key of a log, not of a witness")
    return value


HttpAddress = Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
Wait = Annotated[timedelta, BeforeValidator(_a_wait), AfterValidator(_positive)]
Waits = Annotated[tuple[Wait, ...], Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabaseSettings(_Section):
    """Where everything is kept."""

    url: str = "sqlite:///var/bode.db"
    pool_size: Annotated[int, Field(ge=1, le=100)] = 10


class BrokerSettings(_Section):
    """The doorbell. Without a URL the broker runs inside the process, for one machine."""

    url: str | None = None
    namespace: str = "bode"


class KeySettings(_Section):
    """The key everything sealed depends on: keep a copy of the file in a safe place."""

    file: Path = Path("var/bode.key")


class TimestampSettings(_Section):
    """A time stamping authority (RFC 3161), and the file with the root certificate that its own must lead to (PEM)."""

    url: HttpAddress
    root: Path


class WitnessSettings(_Section):
    """A witness of another organisation (C2SP tlog-witness): where checkpoints are submitted, and its public key."""

    url: HttpAddress
    key: Annotated[str, AfterValidator(_a_witness_key)]


class EvidenceSettings(_Section):
    """The log over all evidence: what signs its checkpoints, under which name, and where they are published."""

    key_file: Path = Path("var/evidence.key")
    origin: Annotated[str, Field(pattern=r"^[^\s+]{1,128}$")]
    """The name of the log, for ever: a domain of yours and a path, as `gemeente.example/bode`."""
    folder: Path = Path("var/evidence")
    """Not in the database's own backup: it is what a restored database is held against."""
    every_seconds: Annotated[float, Field(ge=0.05, le=86_400)] = 60.0
    tsa: TimestampSettings | None = None
    witness: WitnessSettings | None = None


class ClockSettings(_Section):
    """A clock that runs faster than life, for a demo; refused in production."""

    factor: Annotated[float, Field(ge=1, le=100_000)] = 1.0
    origin: AwareDatetime | None = None


class ApiKey(_Section):
    """A key for the API: its SHA-256 in hexadecimal, and the OINs it may send for."""

    name: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    organisations: tuple[str, ...]


class ApiSettings(_Section):
    """The HTTP API and the pages."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    public_url: str | None = None
    """How a browser reaches the pages; made of host and port when absent."""
    keys: tuple[ApiKey, ...] = ()
    max_body_bytes: Annotated[int, Field(ge=10_000, le=100_000_000)] = 30_000_000
    """The most bytes of a message, and of a row of many."""
    client_timeout_seconds: Annotated[float, Field(ge=0.1, le=600)] = 30.0
    """How long a sender may send nothing while its request is not whole."""


class MetricsSettings(_Section):
    """Where a process that has no API shows its own metrics (/metrics), a port per process; without one it does not.

    What the database knows is shown by the API's own /metrics alone.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] | None = None


class WebhookSettings(_Section):
    """Who is called when something becomes of a message: where, for which bodies, signed with which secrets."""

    url: HttpAddress
    organisations: Annotated[tuple[str, ...], Field(min_length=1)]
    secrets: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,32}$")], Path], Field(min_length=1, max_length=2)
    ]
    """Files by the id of the key; two while one takes the other's place: each webhook is signed with both."""
    kinds: Annotated[
        tuple[Literal["aangenomen", "verzonden", "wacht-op-medewerker", "afgerond", "geannuleerd", "gewijzigd"], ...],
        Field(min_length=1),
    ] = ("wacht-op-medewerker", "afgerond", "geannuleerd")
    settings: dict[str, Any] = {}
    """How it is reached: timeout_seconds, concurrency, allowed_networks, allow_http, ca_file, client_certificate ..."""


class MaildirSettings(_Section):
    """A maildir that a mail server on this machine delivers bounces in. It is Bode's alone."""

    folder: Path
    poll_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 5.0


class OAuthSettings(_Section):
    """Where access tokens for a mailbox come from (RFC 6749): with a refresh token, else as the client itself."""

    token_url: str
    client_id: str
    client_secret: SecretStr | None = None
    refresh_token: SecretStr | None = None
    scope: str | None = None
    ca_file: Path | None = None


class ImapSettings(_Section):
    """A mailbox that bounces come to. It is Bode's alone. A password, or `oauth` where the server takes none."""

    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 993
    tls: Literal["tls", "starttls", "none"] = "tls"
    ca_file: Path | None = None
    user: str
    password: SecretStr | None = None
    oauth: OAuthSettings | None = None
    folder: str = "INBOX"
    done: str | None = None
    """The folder that decided mails move to; without one they are marked as seen."""
    apart: str | None = None
    """The folder for mails that cannot be fetched."""
    poll_seconds: Annotated[float, Field(ge=5, le=3600)] = 60.0
    wait_seconds: Annotated[float, Field(ge=5, lt=1740)] = 300.0
    batch: Annotated[int, Field(ge=1, le=500)] = 50


class LmtpSettings(_Section):
    """LMTP from this machine: a port on loopback, or a socket instead."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8024
    socket: Path | None = None


class RelaySettings(_Section):
    """A relay that posts bounces to /inbound/bounces/NAME; two secrets while one is changed."""

    secrets: Annotated[tuple[Annotated[SecretStr, Field(min_length=16)], ...], Field(min_length=1, max_length=4)]


class BounceSettings(_Section):
    """The domain that return paths carry, the SMTP listener for bounces, and the other routes they may come by."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8025
    domain: str = "bounces.localhost"
    return_path_valid: Annotated[Wait, Field(ge=timedelta(days=7), le=timedelta(days=366))] = timedelta(days=60)
    """How long after a mail its bounce is believed. A late one is a fact the law turns on (L7, L11): the default spans
    the six weeks of an objection term. Mail servers give up within days, so that a week is the least."""
    max_bytes: Annotated[int, Field(ge=10_000, le=100_000_000)] = 30_000_000
    maildir: MaildirSettings | None = None
    imap: ImapSettings | None = None
    lmtp: LmtpSettings | None = None
    relays: dict[str, RelaySettings] = {}


class EngineSettings(_Section):
    """How the worker works. Times are on the wall, not on the demo's clock."""

    chunk: Annotated[int, Field(ge=1, le=1000)] = 100
    lane_concurrency: Annotated[int, Field(ge=1, le=32)] = 2
    lease_seconds: Annotated[float, Field(ge=1, le=3600)] = 120.0
    sweep_seconds: Annotated[float, Field(ge=0.02, le=60)] = 1.0
    report_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 30.0
    grace_seconds: Annotated[float, Field(ge=0, le=600)] = 20.0
    threads: Annotated[int, Field(ge=1, le=64)] = 8


class ChannelSettings(_Section):
    """A channel: what it is in law, which adapter places through it, and that adapter's own settings."""

    adapter: str
    kind: ChannelKind
    label: str
    url: str = ""
    ceiling: Confidentiality
    primary: bool = False
    notice: NoticeBy = NoticeBy.WORKER
    settings: dict[str, Any] = {}


class ServiceSettings(_Section):
    """The notifier or the print service: its adapter, and that adapter's own settings."""

    adapter: str
    settings: dict[str, Any] = {}


class ProfileSettings(ServiceSettings):
    """The profile service, and from when on it seems to know nobody: then its lane stops, and no letters go."""

    missing_share: Annotated[float, Field(gt=0, le=1)] = 0.95
    missing_least: Annotated[int, Field(ge=5, le=100_000)] = 50


class LetterSettings(_Section):
    """What letters look like and weigh: a folder with a letterhead or templates per organisation, and the paper."""

    folder: Path | None = None
    """Holds a folder per OIN; what is not in it comes from the shipped templates."""
    paper_grams: Annotated[float, Field(ge=40, le=250)] = 80.0
    """Per square metre."""
    both_sides: bool = True
    envelope_grams: Annotated[float, Field(ge=0, le=100)] = 7.0


class OrganisationSettings(_Section):
    """An administrative body (bestuursorgaan) that sends, by its OIN."""

    name: str
    email: str
    contact: str
    address: tuple[str, ...]
    box_types: dict[str, str] = {}


class PolicySettings(_Section):
    """The choices of `domain.policy.Policy`, as written in TOML."""

    notice_retries: Waits | None = None
    notice_last_attempt: Wait | None = None
    notice_alarms: Waits | None = None
    notice_unknown_wait: Wait | None = None
    relay_retry: Wait | None = None
    primary_wait: Wait | None = None
    letter_without_address: LetterWithoutAddress | None = None
    placement_retries: Waits | None = None
    placement_patience: Wait | None = None
    result_polls: Waits | None = None
    result_overdue: Wait | None = None
    reachability_valid: Wait | None = None
    read_polls: Waits | None = None
    read_within: Wait | None = None
    print_retries: Waits | None = None
    print_patience: Wait | None = None
    print_cutoff: Annotated[time, BeforeValidator(_a_time_of_day)] | None = None
    posting_overdue: Wait | None = None


class OidcSettings(_Section):
    """Who staff log in with (OpenID Connect, authorization code with PKCE), and what its claims mean here."""

    issuer: HttpAddress
    client_id: str
    client_secret: SecretStr | None = None
    scope: str = "openid profile"
    who_claim: str = "preferred_username"
    """Names the person in evidence and audit; never changes, and is no BSN."""
    name_claim: str = "name"
    roles_claim: str = "roles"
    roles: dict[Literal["lezen", "behandelen", "beheren"], tuple[str, ...]] = {
        "lezen": ("lezen",),
        "behandelen": ("behandelen",),
        "beheren": ("beheren",),
    }
    """The values of that claim that give a role; each role may do what the one before it may."""
    organisations_claim: str | None = None
    """Lists the OINs of the bodies somebody works for; without one everybody works for all of this installation."""
    ca_file: Path | None = None


class ConsoleSettings(_Section):
    """The console for support staff. Without this table there is none."""

    oidc: OidcSettings | None = None
    demo_login: bool = False
    """Anybody on this machine logs in as an invented person; refused in production, and on any other address."""
    idle: Wait = timedelta(minutes=15)
    """Without a click for this long somebody is logged out."""
    longest: Wait = timedelta(hours=10)
    personal_for: Wait = timedelta(minutes=10)
    """How long personal data of a message stay open to who gave a reason."""
    confirm_above: Annotated[int, Field(ge=0)] = 25
    """An act on more messages than this waits for a second person."""


class Settings(BaseSettings):
    """Everything an installation sets."""

    model_config = SettingsConfigDict(
        env_prefix="BODE__", env_nested_delimiter="__", extra="forbid", frozen=True, toml_file=None
    )

    environment: Literal["embedded", "production"] = "embedded"
    database: DatabaseSettings = DatabaseSettings()
    broker: BrokerSettings = BrokerSettings()
    keys: KeySettings = KeySettings()
    evidence: EvidenceSettings | None = None
    clock: ClockSettings = ClockSettings()
    api: ApiSettings = ApiSettings()
    metrics: MetricsSettings = MetricsSettings()
    bounces: BounceSettings = BounceSettings()
    engine: EngineSettings = EngineSettings()
    channels: dict[str, ChannelSettings] = {}
    notices: ServiceSettings | None = None
    print: ServiceSettings | None = None
    profile: ProfileSettings | None = None
    letters: LetterSettings = LetterSettings()
    organisations: dict[str, OrganisationSettings] = {}
    policy: PolicySettings = PolicySettings()
    webhooks: dict[str, WebhookSettings] = {}
    console: ConsoleSettings | None = None
    log_format: Literal["json", "console"] = "json"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment go before the file (which comes in as initial values)."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


def named(path: Path | None) -> Path | None:
    """Give the file that the configuration is read from: the one named, or the one of the environment."""
    return path or (Path(found) if (found := os.environ.get("BODE_CONFIG")) else None)


def load(path: Path | None) -> Settings:
    """Read and validate the configuration. Raises `ConfigError` naming the file and every key that is wrong."""
    file = named(path)
    raw: dict[str, Any] = {}
    if file is not None:
        try:
            raw = tomllib.loads(file.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"configuration {file}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"configuration {file} is no TOML: {error}") from error
    try:
        settings = Settings(**raw)
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_url=False, include_input=False)
        ]
    except SettingsError as error:
        faults = [f"the environment: {error}"]
    else:
        faults = _faults(settings)
        if not faults:
            return settings
    raise ConfigError("\n".join([f"configuration {file or '(environment)'}:", *(f"  {fault}" for fault in faults)]))


def _faults(settings: Settings) -> list[str]:
    """Give what is wrong between keys, and what is unsafe in production."""
    faults = [
        f"organisations.{oin}: an OIN has 20 digits"
        for oin in settings.organisations
        if not re.fullmatch(r"[0-9]{20}", oin)
    ]
    primaries = [name for name, channel in settings.channels.items() if channel.primary]
    if len(primaries) > 1:
        faults.append(f"channels: {', '.join(primaries)} are primary; one can be (Awb 2:10, third paragraph)")
    for name, channel in settings.channels.items():
        if channel.kind is ChannelKind.EMAIL and channel.ceiling is not Confidentiality.LAAG:
            faults.append(f"channels.{name}.ceiling is {channel.ceiling}: e-mail carries 'laag' only (Awb 2:9)")
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name):
            faults.append(f"channels.{name}: a name is lower case letters, digits and dashes, at most 32")
    faults += _address_faults(settings)
    faults += _webhook_faults(settings)
    faults += _console_faults(settings)
    wanted = settings.policy.notice_last_attempt
    if wanted is not None and wanted >= timedelta(hours=48):
        faults.append("policy.notice_last_attempt: lies within the 48 hours, so shorter than 48h")
    folder = settings.letters.folder
    if folder is not None and not folder.is_dir():
        faults.append(f"letters.folder: there is no folder {folder}")
    elif folder is not None:
        faults += [
            f"letters.folder: {path.name} is not the OIN of one of organisations"
            for path in sorted(folder.iterdir())
            if path.is_dir() and path.name not in settings.organisations
        ]
    if settings.environment == "production":
        faults += _unsafe(settings)
    return faults


def _console_faults(settings: Settings) -> list[str]:
    """Give what is wrong with how staff log in."""
    console = settings.console
    if console is None:
        return []
    faults: list[str] = []
    if (console.oidc is None) is not console.demo_login:
        faults.append("console: has either oidc or demo_login, so that there is one way in")
    if console.demo_login and settings.api.host not in {"127.0.0.1", "::1", "localhost"}:
        faults.append("console.demo_login: everybody who reaches api.host could log in; it is for this machine alone")
    return faults


def _webhook_faults(settings: Settings) -> list[str]:
    """Give what is wrong with the names and organisations of webhooks."""
    faults: list[str] = []
    for name, hook in settings.webhooks.items():
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name):
            faults.append(f"webhooks.{name}: a name is lower case letters, digits and dashes, at most 32")
        unknown = sorted(set(hook.organisations) - set(settings.organisations))
        if unknown:
            faults.append(f"webhooks.{name}.organisations: {', '.join(unknown)} is not among organisations")
    return faults


def _address_faults(settings: Settings) -> list[str]:
    """Give what is wrong with the addresses of the database and the broker, and with the keys of the API."""
    faults: list[str] = []
    try:
        database = make_url(settings.database.url)
    except ArgumentError:
        faults.append("database.url: is no address of a database: write postgresql://... or sqlite:///path")
    else:
        if database.drivername not in {"postgresql", "postgresql+psycopg", "sqlite", "sqlite+aiosqlite"}:
            faults.append(
                f"database.url: starts with {database.drivername!r}: write postgresql://... or sqlite:///path"
            )
        elif database.drivername.startswith("sqlite") and database.database in {None, "", ":memory:"}:
            faults.append("database.url: names no file: write sqlite:///path")
    if settings.broker.url is not None and not settings.broker.url.startswith(("redis://", "rediss://", "unix://")):
        faults.append("broker.url: starts with redis://, rediss:// or unix://, or is left out")
    for number, key in enumerate(settings.api.keys):
        unknown = sorted(set(key.organisations) - set(settings.organisations))
        if unknown:
            faults.append(f"api.keys.{number}.organisations: {', '.join(unknown)} is not among organisations")
    if len({key.sha256 for key in settings.api.keys}) < len(settings.api.keys):
        faults.append("api.keys: two have the same sha256; each caller has a key of its own")
    return faults


def _unsafe(settings: Settings) -> list[str]:
    faults: list[str] = []
    if settings.clock.factor != 1.0 or settings.clock.origin is not None:
        faults.append("clock: runs faster than life; production has the real time")
    if not settings.database.url.startswith("postgresql"):
        faults.append("database.url: production needs postgresql://")
    if not (settings.broker.url or "").startswith(("redis://", "rediss://", "unix://")):
        faults.append("broker.url: production needs redis://")
    if settings.evidence is None:
        faults.append("evidence: none, so that nobody could check it: add [evidence] (see config/examples)")
    if not settings.api.keys:
        faults.append("api.keys: none, so that everybody could send: add one (bode keys api)")
    if settings.console is not None:
        if settings.console.demo_login:
            faults.append("console.demo_login: anybody would be let in; production has console.oidc")
        if settings.console.oidc is not None and not settings.console.oidc.issuer.startswith("https://"):
            faults.append("console.oidc.issuer: production needs https://")
        if not (settings.api.public_url or "").startswith("https://"):
            faults.append("api.public_url: the console needs the https:// address that a browser reaches it at")
    return faults


def holidays() -> Holidays:
    """Give the Dutch holidays for terms, with the decreed days of config/holidays.toml."""
    path = config_folder() / "holidays.toml"
    table = tomllib.loads(path.read_text())
    decreed = [day for decree in table["decree"] for day in decree["days"]]
    if not all(isinstance(day, date) and not isinstance(day, datetime) for day in decreed):
        raise ConfigError(f"{path}: days are dates, written as 2026-05-15")
    return Holidays(decreed)


def build_policy(settings: Settings, capabilities: Mapping[str, Any]) -> Policy:
    """Make the policy of the settings; `capabilities` are what each channel's adapter declares, by channel."""
    channels = {
        name: Channel(
            name=name,
            kind=channel.kind,
            label=channel.label,
            ceiling=channel.ceiling,
            primary=channel.primary,
            notice=channel.notice,
            repeat_is_recognised=capabilities[name].repeat_is_recognised,
            can_lookup=capabilities[name].can_lookup,
            can_check=capabilities[name].can_check,
            read_times=capabilities[name].read_times,
            addressees=frozenset(AddresseeKind(kind) for kind in capabilities[name].addressees),
        )
        for name, channel in settings.channels.items()
    }
    chosen = {key: value for key, value in settings.policy.model_dump().items() if value is not None}
    return Policy(channels=channels, is_holiday=holidays(), has_profile=settings.profile is not None, **chosen)
