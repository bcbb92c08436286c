"""Configuration: validated once, at start. A message names the file, the key, what was found and what is needed.

Read from a TOML file (`--config`, or the environment variable `BODE_CONFIG`); environment variables such as
`BODE__DATABASE__URL` go before it, and so do files of that name in the folder that `BODE_SECRETS` names: Docker,
Kubernetes and systemd hand secrets over in files. A variable goes before a file of the same name.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from ipaddress import IPv4Network, IPv6Network
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
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from bode.domain.lane_rules import BOUNDS, LaneRules, QuietHours
from bode.domain.message import AddresseeKind, Confidentiality
from bode.domain.policy import Channel, ChannelKind, LetterWithoutAddress, NoticeBy, Policy
from bode.domain.retention import Terms
from bode.domain.terms import Holidays
from bode.domain.volume import VolumeLimits
from bode.evidence.note import KeyKind, NoteError, VerifierKey
from bode.intake.scopes import Scope
from bode.store.changes import Kind
from bode.store.key_source import KeySource

PREFIX = "BODE__"
"""How the names of variables and of secret files begin."""
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


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
HttpAddress = Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
Wait = Annotated[timedelta, BeforeValidator(_a_wait), AfterValidator(_positive)]
Waits = Annotated[tuple[Wait, ...], Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabaseSettings(_Section):
    """Where everything is kept."""

    url: str = "sqlite:///var/bode.db"
    pool_size: Annotated[int, Field(ge=1, le=100)] = 10
    transaction_seconds: Annotated[float, Field(ge=0.5, le=3600)] = 60.0
    """The longest that a change may take: a process that hangs or is stopped in one keeps others waiting."""


class BrokerSettings(_Section):
    """The doorbell. Without a URL the broker runs inside the process, for one machine."""

    url: str | None = None
    namespace: str = "bode"


class KeySourceSettings(_Section):
    """Where a key comes from: a file, a variable of the environment, or a command that prints it (64 hex digits)."""

    file: Path | None = None
    environment: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    command: tuple[str, ...] = ()

    @property
    def source(self) -> KeySource:
        """Where it comes from; the file of a fresh installation where nothing is named."""
        if self.environment is None and not self.command:
            return KeySource(file=self.file or Path("var/bode.key"))
        return KeySource(environment=self.environment, command=self.command)


class KeySettings(KeySourceSettings):
    """The key everything sealed depends on: keep a copy in a safe place. `others` open only, while one is replaced."""

    others: tuple[KeySourceSettings, ...] = ()


class TimestampSettings(_Section):
    """A time stamping authority (RFC 3161), and the file with the root certificate that its own must lead to (PEM)."""

    url: HttpAddress
    root: Path
    settings: dict[str, Any] = {}
    """How it is reached, as for webhooks."""


class WitnessSettings(_Section):
    """A witness of another organisation (C2SP tlog-witness): where checkpoints are submitted, and its public key."""

    url: HttpAddress
    key: Annotated[str, AfterValidator(_a_witness_key)]
    settings: dict[str, Any] = {}
    """How it is reached, as for webhooks."""


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


class ZgwClientSettings(_Section):
    """A client that signs its own tokens as ZGW has it: its `client_id`, and the files with its secret."""

    client_id: Annotated[str, Field(min_length=1, max_length=100)]
    secrets: Annotated[tuple[Path, ...], Field(min_length=1, max_length=2)]
    """Of 32 characters or more; two while one takes the other's place."""


class ApplicationSettings(_Section):
    """An application that may call the API: for which OINs, what, how often, and by which credentials it is known."""

    organisations: Annotated[tuple[str, ...], Field(min_length=1)]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)] = tuple(Scope)
    per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = 6000
    """Requests in a minute, and at once; counted by each process that runs the API."""
    keys: Annotated[tuple[Sha256, ...], Field(max_length=4)] = ()
    """The SHA-256 of its API keys, in hexadecimal: bode keys api."""
    oauth_client: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Its client in the tokens of `[api.oauth]`."""
    zgw: ZgwClientSettings | None = None
    certificates: Annotated[tuple[Sha256, ...], Field(max_length=4)] = ()
    """The SHA-256 of its client certificates, in hexadecimal: openssl x509 -outform der | sha256sum."""


class OAuthServerSettings(_Section):
    """The authorisation server whose access tokens are believed (RFC 9068), for the client-credentials flow."""

    issuer: HttpAddress
    audience: Annotated[str, Field(min_length=1)]
    jwks_url: HttpAddress
    algorithms: Annotated[
        tuple[Literal["RS256", "PS256", "ES256", "ES384", "RS512", "PS512", "ES512", "Ed25519"], ...],
        Field(min_length=1),
    ] = ("PS256", "RS256", "ES256")
    client_claim: Annotated[str, Field(min_length=1, max_length=100)] = "client_id"
    """Which claim names the client; Keycloak has it in `azp`."""
    settings: dict[str, Any] = {}
    """How its keys are fetched: timeout_seconds, allowed_networks, ca_file ..."""


class ProxySettings(_Section):
    """A proxy that asks for client certificates, and tells us which it saw. From elsewhere the header is not read."""

    addresses: Annotated[tuple[IPv4Network | IPv6Network, ...], Field(min_length=1)]
    certificate_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] = "Client-Cert"
    """RFC 9440, or PEM in percent-encoding as nginx has it in $ssl_client_escaped_cert."""


class DocumentSourceSettings(_Section):
    """Where documents may be fetched from: everything under one address, for messages of these organisations."""

    url: HttpAddress
    organisations: Annotated[tuple[str, ...], Field(min_length=1)]
    settings: dict[str, Any] = {}
    """How it is reached: timeout_seconds, concurrency, allowed_networks, headers, ca_file, client_certificate ..."""


class ContactSettings(_Section):
    """Whom developers can ask about the API, as the OpenAPI document names them."""

    name: str = "Beheer van Bode"
    email: str = "beheer@bode.example"
    url: HttpAddress = "https://bode.example"


class ApiSettings(_Section):
    """The HTTP API and the pages."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    public_url: str | None = None
    """How a browser reaches the pages; made of host and port when absent."""
    applications: dict[str, ApplicationSettings] = {}
    oauth: OAuthServerSettings | None = None
    proxy: ProxySettings | None = None
    documents: dict[str, DocumentSourceSettings] = {}
    contact: ContactSettings = ContactSettings()
    max_body_bytes: Annotated[int, Field(ge=10_000, le=100_000_000)] = 30_000_000
    """The most bytes of a message, and of a row of many."""
    security_contact: Annotated[str, Field(pattern=r"^(mailto:|https://|tel:)[!-~]+$")] | None = None
    """Where weaknesses are reported, for /.well-known/security.txt (RFC 9116); without one there is no such page."""
    client_timeout_seconds: Annotated[float, Field(ge=0.1, le=600)] = 30.0
    """How long a sender may send nothing while its request is not whole, or take nothing of its answer."""
    max_held_bytes: Annotated[int, Field(ge=1_000_000)] = 300_000_000
    """Bytes of requests held at once, of each process; one more gets 503. Memory in use is about four times this."""
    min_free_bytes: Annotated[int, Field(ge=0)] = 500_000_000
    """What must stay free on the disks of the SQLite database and of temporary files; with less, 503."""
    max_connections: Annotated[int, Field(ge=10, le=100_000)] = 1000
    """Connections and requests at once, of each process; one more gets 503."""


class QueueSenderSettings(_Section):
    """A zaaksystem that shares the broker, and the OINs it may send for."""

    organisations: Annotated[tuple[str, ...], Field(min_length=1)]


class QueueSettings(_Section):
    """Intake by queue: a stream per sender, in the broker."""

    senders: dict[str, QueueSenderSettings] = {}


class ZgwSettings(_Section):
    """A zaaksysteem whose decisions are fetched from its registers: docs/zgw.md."""

    registers: dict[str, Any]
    """besluiten_url, zaken_url, documenten_url, client_id, and how they are reached: allowed_networks, ca_file ..."""
    secret_file: Path
    """Signs the tokens that we show the registers."""
    notification_token_file: Path
    """What the subscription at the Notificaties API sends in Authorization, whole: `Bearer ...`."""
    mapping: Path
    organisations: Annotated[dict[Annotated[str, Field(pattern=r"^[0-9]{9}$")], str], Field(min_length=1)]
    """OIN by RSIN."""
    ceiling: Literal[
        "openbaar",
        "beperkt_openbaar",
        "intern",
        "zaakvertrouwelijk",
        "vertrouwelijk",
        "confidentieel",
        "geheim",
        "zeer_geheim",
    ] = "zaakvertrouwelijk"
    """The most confidential document that may be sent."""
    since: date
    """Decisions from before this day are not looked for."""
    poll: Wait = timedelta(minutes=15)
    mijn_overheid: tuple[str, ...] = ()
    """Channels that are MijnOverheid, for `mijnOverheid` in a verzending."""
    contact: HttpAddress | None = None
    """The contact person that a verzending names; the addressee's own role when left out."""


class MetricsSettings(_Section):
    """Where a process that has no API shows its own metrics (/metrics), a port per process; without one it does not.

    What the database knows is shown by the API's own /metrics alone.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] | None = None


class HeartbeatSettings(_Section):
    """How often a message of Bode's own goes through everything to nowhere; without this section none does."""

    every: Annotated[Wait, Field(ge=timedelta(minutes=1), le=timedelta(minutes=10))] = timedelta(minutes=5)


class TracingSettings(_Section):
    """Where traces go (OTLP over HTTP, as http://collector:4318/v1/traces); without this section none are made."""

    endpoint: HttpAddress


class ProcessingLogSettings(_Section):
    """The Logboek Dataverwerkingen (Logius) that what is done with whose data is written to, as OpenTelemetry spans."""

    endpoint: HttpAddress
    """OTLP over HTTP, as https://logboek.gemeente.example/v1/traces."""
    activities: Annotated[dict[str, HttpAddress], Field(min_length=1)]
    """By OIN, where the register of processing activities (AVG 30) tells of sending official messages."""


class WebhookSettings(_Section):
    """Who is called when something becomes of a message: where, for which bodies, signed with which secrets."""

    url: HttpAddress
    organisations: Annotated[tuple[str, ...], Field(min_length=1)]
    secrets: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,32}$")], Path], Field(min_length=1, max_length=2)
    ]
    """Files by the id of the key; two while one takes the other's place: each webhook is signed with both."""
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] = (Kind.NEEDS_PERSON, Kind.DONE, Kind.CANCELLED)
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
    client_secret_file: Path | None = None
    refresh_token: SecretStr | None = None
    refresh_token_file: Path | None = None
    scope: str | None = None
    ca_file: Path | None = None


class ImapSettings(_Section):
    """A mailbox that bounces come to. It is Bode's alone. A password, or `oauth` where the server takes none.

    A secret comes from the environment, or from the file that the setting of its name with `_file` names.
    """

    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 993
    tls: Literal["tls", "starttls", "none"] = "tls"
    ca_file: Path | None = None
    user: str
    password: SecretStr | None = None
    password_file: Path | None = None
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

    chunk: Annotated[int, Field(ge=1, le=1000)] = 200
    lane_concurrency: Annotated[int, Field(ge=1, le=32)] = 2
    hold_seconds: Annotated[float, Field(ge=1, le=3600)] = 120.0
    """The longest that a chunk is in a worker's hands; a call may take three quarters of it."""
    heartbeat_seconds: Annotated[float, Field(ge=0.05, le=60)] = 4.0
    """How often a worker says that it still has a chunk. After three times this without a word others take it over."""
    sweep_seconds: Annotated[float, Field(ge=0.02, le=60)] = 1.0
    report_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 30.0
    grace_seconds: Annotated[float, Field(ge=0, le=600)] = 20.0
    journal_folder: Path | None = None
    """On a disk of this machine, shared by its workers and sweeper: what a worker that dies was doing is found there.
    Without it all that it had in hand is in doubt."""
    threads: Annotated[int, Field(ge=1, le=64)] = 8


def _bounded(rule: str) -> Any:
    least, most = BOUNDS[rule]
    return Field(ge=least, le=most)


class LaneSettings(_Section):
    """How one lane may work; changed while it runs by `bode lane set`."""

    concurrency: Annotated[int, _bounded("concurrency")] | None = None
    """Chunks at a time in one worker; `engine.lane_concurrency` when left out."""
    per_minute: Annotated[int, _bounded("per_minute")] | None = None
    """Steps a minute, over all workers."""
    breaker: Annotated[int, _bounded("breaker")] = 20
    """More refusals about us than this in ten minutes stop the lane."""
    quiet_hours: Annotated[str, AfterValidator(lambda text: str(QuietHours.parse(text)))] | None = None
    """As "22:00-07:00", on the clock in the Netherlands. A deadline close by goes before them."""

    def rules(self, concurrency: int) -> LaneRules:
        """Make the rules; `concurrency` is what a lane has that says nothing of it."""
        given = self.model_dump()
        return LaneRules().changed(given | {"concurrency": self.concurrency or concurrency})


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


class RetentionSettings(_Section):
    """How long each kind of data is kept, from the end of a message's delivery on: see `bode.domain.retention`."""

    content: Wait | None = None
    personal: Wait | None = None
    evidence: Wait | None = None

    def terms(self, base: Terms) -> Terms:
        """Give the terms of `base`, with what is set here in their place."""
        return replace(base, **{kind: term for kind, term in self if term is not None and hasattr(base, kind)})


class RetentionForAllSettings(RetentionSettings):
    """The terms for all organisations, and for what belongs to none."""

    received: Wait | None = None
    audit: Wait | None = None
    every_seconds: Annotated[float, Field(ge=1, le=86_400)] = 3600.0
    """How often the sweeper looks what is due."""


class LimitSettings(_Section):
    """How much a body may send before a person looks: see `bode.domain.volume`. What is left out holds nothing."""

    messages_per_day: Annotated[int, Field(ge=1)] | None = None
    letters_per_day: Annotated[int, Field(ge=1)] | None = None
    addressee_per_hour: Annotated[int, Field(ge=1)] | None = None
    """Messages to one addressee; a mapping that gives everybody the same number is seen by it."""
    sudden_times: Annotated[float, Field(ge=1.5, le=1000)] | None = None
    """So many times the median of the last four weeks' days is sudden, ..."""
    sudden_floor: Annotated[int, Field(ge=1)] = 500
    """... but never so few messages or fewer."""

    @property
    def limits(self) -> VolumeLimits:
        """The limits of the rules."""
        return VolumeLimits(**self.model_dump())


class BucketSettings(_Section):
    """A bucket of an S3-compatible store. What is left out comes from the environment, as AWS's own tools read it."""

    bucket: Annotated[str, Field(min_length=3, max_length=63)]
    prefix: str = ""
    """What stands before the names: what lies under it is Bode's alone."""
    endpoint: HttpAddress | None = None
    region: str | None = None
    access_key_id: SecretStr | None = None
    secret_access_key: SecretStr | None = None
    ca_file: Path | None = None
    timeout_seconds: Annotated[float, Field(ge=1, le=600)] = 30.0


class DocumentSettings(_Section):
    """Where documents above a size are kept, sealed as ever: in a folder that all processes share, or in a bucket."""

    folder: Path | None = None
    s3: BucketSettings | None = None
    above_bytes: Annotated[int, Field(ge=0, le=100_000_000)] = 1_000_000
    orphan_after: Annotated[Wait, Field(ge=timedelta(hours=1))] = timedelta(days=1)
    """How old an object is that no message names, before it is swept away."""


class OrganisationSettings(_Section):
    """An administrative body (bestuursorgaan) that sends, by its OIN."""

    name: str
    email: str
    contact: str
    address: tuple[str, ...]
    box_types: dict[str, str] = {}
    retention: RetentionSettings = RetentionSettings()
    limits: LimitSettings = LimitSettings()


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


class _Environment(EnvSettingsSource):
    """What the environment sets, and under it the files of the folder of secrets."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        files: dict[str, str | None] = {name.lower(): path.read_text("utf-8") for name, path in secret_files().items()}
        return {name: text and text.rstrip("\r\n") for name, text in files.items()} | dict(super()._load_env_vars())


class Settings(BaseSettings):
    """Everything an installation sets."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, toml_file=None
    )

    environment: Literal["embedded", "production"] = "embedded"
    database: DatabaseSettings = DatabaseSettings()
    broker: BrokerSettings = BrokerSettings()
    keys: KeySettings = KeySettings()
    evidence: EvidenceSettings | None = None
    clock: ClockSettings = ClockSettings()
    api: ApiSettings = ApiSettings()
    queue: QueueSettings = QueueSettings()
    zgw: dict[str, ZgwSettings] = {}
    metrics: MetricsSettings = MetricsSettings()
    heartbeat: HeartbeatSettings | None = None
    tracing: TracingSettings | None = None
    logboek: ProcessingLogSettings | None = None
    bounces: BounceSettings = BounceSettings()
    engine: EngineSettings = EngineSettings()
    lanes: dict[str, LaneSettings] = {}
    channels: dict[str, ChannelSettings] = {}
    notices: ServiceSettings | None = None
    print: ServiceSettings | None = None
    profile: ProfileSettings | None = None
    letters: LetterSettings = LetterSettings()
    organisations: dict[str, OrganisationSettings] = {}
    policy: PolicySettings = PolicySettings()
    webhooks: dict[str, WebhookSettings] = {}
    retention: RetentionForAllSettings = RetentionForAllSettings()
    console: ConsoleSettings | None = None
    documents: DocumentSettings | None = None
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
        del env_settings, dotenv_settings, file_secret_settings
        return _Environment(settings_cls), init_settings


def named(path: Path | None) -> Path | None:
    """Give the file that the configuration is read from: the one named, or the one of the environment."""
    return path or (Path(found) if (found := os.environ.get("BODE_CONFIG")) else None)


def secret_files() -> dict[str, Path]:
    """Give the files of the folder that `BODE_SECRETS` names which set something, by the name of their variable."""
    folder = os.environ.get("BODE_SECRETS")
    if folder is None:
        return {}
    return {path.name: path for path in sorted(Path(folder).iterdir()) if path.name.upper().startswith(PREFIX)}


def read_file(file: Path | None) -> dict[str, Any]:
    """Read the configuration file as it stands; nothing without one. Raises `ConfigError` where it cannot be read."""
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"configuration {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"configuration {file} is no TOML: {error}") from error


def load(path: Path | None) -> Settings:
    """Read and validate the configuration. Raises `ConfigError` naming the file and every key that is wrong."""
    file = named(path)
    raw = read_file(file)
    try:
        settings = Settings(**raw)
    except (OSError, UnicodeDecodeError) as error:
        faults = [f"BODE_SECRETS: a file of the folder of secrets cannot be read: {_why(error)}"]
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in item['loc'])}: {_said(item['type'], item['msg'])}"
            for item in error.errors(include_url=False, include_input=False)
        ]
    except SettingsError as error:
        faults = [f"the environment: {error}"]
    else:
        faults = _faults(settings)
        if not faults:
            return settings
    raise ConfigError("\n".join([f"configuration {file or '(environment)'}:", *(f"  {fault}" for fault in faults)]))


def _said(kind: str, message: str) -> str:
    """Put pydantic's words into an operator's."""
    return "there is no setting of this name" if kind == "extra_forbidden" else message.removeprefix("Value error, ")


def _why(error: OSError | UnicodeDecodeError) -> str:
    """Say which file, and why; never what is in it."""
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else "it is not UTF-8"


def _faults(settings: Settings) -> list[str]:
    """Give what is wrong between keys, and what is unsafe in production."""
    faults = [
        f"organisations.{oin}: an OIN has 20 digits, not all 0"
        for oin in settings.organisations
        if not re.fullmatch(r"(?!0{20})[0-9]{20}", oin)
    ]
    primaries = [name for name, channel in settings.channels.items() if channel.primary]
    if len(primaries) > 1:
        faults.append(f"channels: {', '.join(primaries)} are primary; one can be (Awb 2:10, third paragraph)")
    for name, channel in settings.channels.items():
        if channel.kind is ChannelKind.EMAIL and channel.ceiling is not Confidentiality.LAAG:
            faults.append(f"channels.{name}.ceiling is {channel.ceiling}: e-mail carries 'laag' only (Awb 2:9)")
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name) or name == "hartslag":
            what = "lower case letters, digits and dashes, at most 32; 'hartslag' is Bode's own"
            faults.append(f"channels.{name}: a name is {what}")
    faults += _address_faults(settings)
    faults += _application_faults(settings)
    faults += _document_source_faults(settings)
    faults += _webhook_faults(settings)
    faults += _logboek_faults(settings)
    faults += _queue_faults(settings)
    faults += _zgw_faults(settings)
    faults += _key_faults(settings.keys)
    faults += _retention_faults(settings)
    faults += _console_faults(settings)
    faults += _documents_faults(settings)
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


def _key_faults(keys: KeySettings) -> list[str]:
    """Give the keys that come from nowhere, or from more than one place."""
    faults: list[str] = []
    for where, key in [("keys", keys), *((f"keys.others.{n}", other) for n, other in enumerate(keys.others))]:
        named = sum((key.file is not None, key.environment is not None, bool(key.command)))
        if named > 1 or (named == 0 and key is not keys):
            faults.append(f"{where}: name one of file, environment and command")
    return faults


def _retention_faults(settings: Settings) -> list[str]:
    """Give the terms below what the law, or the work, needs."""
    believed = settings.bounces.return_path_valid
    base = settings.retention.terms(Terms())
    faults = [f"retention.{fault}" for fault in base.faults(bounces_believed=believed)]
    for oin, organisation in settings.organisations.items():
        terms = organisation.retention.terms(base)
        own = terms.faults(bounces_believed=believed) if terms != base else []
        faults += [f"organisations.{oin}.retention.{fault}" for fault in own]
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


def _documents_faults(settings: Settings) -> list[str]:
    """Give what is wrong with where large documents are kept."""
    documents = settings.documents
    if documents is None:
        return []
    if (documents.folder is None) is (documents.s3 is None):
        return ["documents: name one of folder and s3"]
    endpoint = documents.s3.endpoint if documents.s3 is not None else None
    if settings.environment == "production" and endpoint is not None and not endpoint.startswith("https://"):
        return ["documents.s3.endpoint: production needs https://"]
    return []


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


def _queue_faults(settings: Settings) -> list[str]:
    """Give what is wrong with the senders of the queue."""
    faults: list[str] = []
    if settings.queue.senders and settings.broker.url is None:
        faults.append("queue.senders: a queue needs broker.url")
    for name, sender in settings.queue.senders.items():
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name):
            faults.append(f"queue.senders.{name}: a name is lower case letters, digits and dashes, at most 32")
        unknown = sorted(set(sender.organisations) - set(settings.organisations))
        if unknown:
            faults.append(f"queue.senders.{name}.organisations: {', '.join(unknown)} is not among organisations")
    return faults


def _zgw_faults(settings: Settings) -> list[str]:
    """Give what is wrong with the names, organisations and channels of zaaksystemen."""
    faults: list[str] = []
    for name, source in settings.zgw.items():
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name):
            faults.append(f"zgw.{name}: a name is lower case letters, digits and dashes, at most 32")
        unknown = sorted(set(source.organisations.values()) - set(settings.organisations))
        if unknown:
            faults.append(f"zgw.{name}.organisations: {', '.join(unknown)} is not among organisations")
        others = sorted(set(source.mijn_overheid) - set(settings.channels))
        if others:
            faults.append(f"zgw.{name}.mijn_overheid: {', '.join(others)} is not among channels")
    return faults


def _address_faults(settings: Settings) -> list[str]:
    """Give what is wrong with the addresses of the database and the broker."""
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
    return faults


def _application_faults(settings: Settings) -> list[str]:
    """Give what is wrong with the applications, of which none may be taken for another."""
    faults: list[str] = []
    shown: dict[tuple[str, str], str] = {}
    for name, one in settings.api.applications.items():
        at = f"api.applications.{name}"
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name):
            faults.append(f"{at}: a name is lower case letters, digits and dashes, at most 32")
        unknown = sorted(set(one.organisations) - set(settings.organisations))
        if unknown:
            faults.append(f"{at}.organisations: {', '.join(unknown)} is not among organisations")
        credentials = [
            *(("keys", key) for key in one.keys),
            *(("certificates", digest) for digest in one.certificates),
            *([("oauth_client", one.oauth_client)] if one.oauth_client is not None else []),
            *([("zgw.client_id", one.zgw.client_id)] if one.zgw is not None else []),
        ]
        if not credentials:
            faults.append(f"{at}: has no keys, oauth_client, zgw or certificates, so that it could never call")
        for kind, value in credentials:
            if (other := shown.setdefault((kind, value), name)) != name:
                faults.append(f"{at}.{kind}: is that of {other} too; each application has its own")
        if one.oauth_client is not None and settings.api.oauth is None:
            faults.append(f"{at}.oauth_client: there is no [api.oauth] whose tokens would name it")
        if one.certificates and settings.api.proxy is None:
            faults.append(f"{at}.certificates: there is no [api.proxy] that would tell of them")
    return faults


def _document_source_faults(settings: Settings) -> list[str]:
    """Give what is wrong with the organisations of sources of documents."""
    known = set(settings.organisations)
    return [
        f"api.documents.{name}.organisations: {', '.join(unknown)} is not among organisations"
        for name, source in settings.api.documents.items()
        if (unknown := sorted(set(source.organisations) - known))
    ]


def _logboek_faults(settings: Settings) -> list[str]:
    """Give the organisations whose processing would not be written down, and an end that the standard forbids."""
    if settings.logboek is None:
        return []
    named, known = set(settings.logboek.activities), set(settings.organisations)
    faults = [f"logboek.activities: {oin} is not among organisations" for oin in sorted(named - known)]
    faults += [f"logboek.activities: none for organisation {oin}" for oin in sorted(known - named)]
    if settings.environment == "production" and not settings.logboek.endpoint.startswith("https://"):
        faults.append("logboek.endpoint: production needs https://, as the standard does")
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
    if not settings.api.applications:
        faults.append("api.applications: none, so that everybody could send: add one (see config/examples)")
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
