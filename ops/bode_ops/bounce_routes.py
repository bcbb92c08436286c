"""The routes by which bounces come in, as the configuration asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import structlog
from litestar.handlers import HTTPRouteHandler
from pydantic import SecretStr

from bode.engine.inbound import BounceListener, Inbound
from bode.engine.routes.imap import ImapRoute
from bode.engine.routes.imap_mailbox import ImapAccount, Tls
from bode.engine.routes.keeping import IsOurs
from bode.engine.routes.lmtp import LmtpListener
from bode.engine.routes.maildir import MaildirRoute
from bode.engine.routes.webhook import bounce_webhook
from bode.settings import BounceSettings, ConfigError, OAuthSettings
from bode_adapters.oauth import OAuthClient
from bode_adapters.secret_file import SecretFileError, read_secret

log = structlog.get_logger()


class BounceRoutes:
    """All routes of one process: the SMTP listener always, the others where they are configured."""

    def __init__(
        self, inbound: Inbound, settings: BounceSettings, *, is_ours: IsOurs, now: Callable[[], datetime]
    ) -> None:
        """Make them; nothing is opened yet. Raises `ConfigError` for what would be unsafe."""
        self._inbound = inbound
        self._settings = settings
        self._now = now
        self._smtp = BounceListener(inbound, domain=settings.domain, now=now)
        self._lmtp = LmtpListener(inbound, domain=settings.domain, now=now) if settings.lmtp is not None else None
        self._runs: list[MaildirRoute | ImapRoute] = []
        most = settings.max_bytes
        if (maildir := settings.maildir) is not None:
            route = MaildirRoute(
                inbound,
                folder=maildir.folder,
                is_ours=is_ours,
                now=now,
                max_bytes=most,
                poll_seconds=maildir.poll_seconds,
            )
            self._runs.append(route)
        if (imap := settings.imap) is not None:
            try:
                account = ImapAccount(
                    host=imap.host,
                    user=imap.user,
                    password=_secret(imap.password, "bounces.imap.password", imap.password_file),
                    oauth=_oauth(imap.oauth) if imap.oauth is not None else None,
                    port=imap.port,
                    tls=Tls(imap.tls),
                    ca_file=imap.ca_file,
                    folder=imap.folder,
                    done=imap.done,
                    apart=imap.apart,
                )
            except ValueError as error:
                raise ConfigError(f"configuration: bounces.imap: {error}") from error
            self._runs.append(
                ImapRoute(
                    inbound,
                    account,
                    is_ours=is_ours,
                    now=now,
                    max_bytes=most,
                    poll_seconds=imap.poll_seconds,
                    wait_seconds=imap.wait_seconds,
                    batch=imap.batch,
                )
            )

    async def start(self) -> list[asyncio.Task[None]]:
        """Listen, and give the tasks that read mailboxes."""
        settings = self._settings
        port = await self._smtp.start(settings.host, settings.port, max_bytes=settings.max_bytes)
        log.info("inbound.listening", route="smtp", host=settings.host, port=port)
        if self._lmtp is not None and (lmtp := settings.lmtp) is not None:
            if lmtp.socket is not None:
                await self._lmtp.start_socket(lmtp.socket, max_bytes=settings.max_bytes)
            else:
                try:
                    await self._lmtp.start(lmtp.host, lmtp.port, max_bytes=settings.max_bytes)
                except ValueError as error:
                    raise ConfigError(f"configuration: bounces.lmtp.host: {error}") from error
            log.info("inbound.listening", route="lmtp", host=lmtp.host, port=lmtp.port)
        return [asyncio.create_task(route.run()) for route in self._runs]

    async def stop(self) -> None:
        """Listen no more. The tasks are the caller's to cancel."""
        await self._smtp.stop()
        if self._lmtp is not None:
            await self._lmtp.stop()

    def webhook(self) -> HTTPRouteHandler | None:
        """Give the route for relays that post bounces; none where none is configured."""
        relays = self._settings.relays
        if not relays:
            return None
        secrets = {
            name: [secret.get_secret_value().encode() for secret in relay.secrets] for name, relay in relays.items()
        }
        try:
            return bounce_webhook(
                self._inbound, secrets=secrets, now=self._now, max_body_bytes=self._settings.max_bytes
            )
        except ValueError as error:
            raise ConfigError(f"configuration: bounces.relays: {error}") from error


def _oauth(settings: OAuthSettings) -> OAuthClient:
    return OAuthClient(
        token_url=settings.token_url,
        client_id=settings.client_id,
        client_secret=_secret(settings.client_secret, "bounces.imap.oauth.client_secret", settings.client_secret_file),
        refresh_token=_secret(settings.refresh_token, "bounces.imap.oauth.refresh_token", settings.refresh_token_file),
        scope=settings.scope,
        ca_file=settings.ca_file,
    )


def _secret(value: SecretStr | None, key: str, file: Path | None) -> str | None:
    """Give a secret of the configuration, or the one line of its file. Raises `ConfigError`."""
    if file is None:
        return value.get_secret_value() if value is not None else None
    if value is not None:
        raise ConfigError(f"configuration: {key}_file: {key} is given too; leave one out")
    try:
        return read_secret(file)
    except SecretFileError as error:
        raise ConfigError(f"configuration: {key}_file: {file} {error}") from error
